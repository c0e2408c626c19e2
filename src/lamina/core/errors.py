"""Every error Lamina answers with: its HTTP status, its type and whether a retry helps.

They are raised where the cause is known and turned into the contract's envelope in one place,
`lamina.api.errors`.
"""

from typing import ClassVar, Literal

from lamina.core.types import Json, JsonObject


class LaminaError(Exception):
    """A failure that the caller should be told about, in words that say what would be accepted."""

    status: ClassVar[int] = 500
    type: ClassVar[str] = "InternalServerError"
    retryable: ClassVar[bool] = False

    def __init__(self, message: str, *, code: str | None = None, **details: Json) -> None:
        super().__init__(message)
        self.message = message
        self.code = code
        self.details: JsonObject = dict(details)


class BadRequestError(LaminaError):
    """The request makes no sense as a whole."""

    status = 400
    type = "BadRequestError"


class UnauthorizedError(LaminaError):
    """No key, or a key that is unknown, revoked or expired."""

    status = 401
    type = "UnauthorizedError"


class ForbiddenError(LaminaError):
    """The key is good but may not do this."""

    status = 403
    type = "ForbiddenError"


class NotFoundError(LaminaError):
    """The resource does not exist, or not for this caller: both read the same."""

    status = 404
    type = "NotFoundError"

    def __init__(self, resource: str, identifier: str, *, code: str | None = None) -> None:
        super().__init__(
            f"{resource.replace('_', ' ').capitalize()} '{identifier}' was not found.",
            code=code,
            resource=resource,
            id=identifier,
        )


class AlreadyExistsError(LaminaError):
    """The name or the key is taken, or the resource is not in a state that allows this."""

    status = 409
    type = "AlreadyExistsError"


class PayloadTooLargeError(LaminaError):
    """A body or a blob is over its limit."""

    status = 413
    type = "BadRequestError"


class ValidationError(LaminaError):
    """A field is wrong. Names the field and says what is accepted."""

    status = 422
    type = "ValidationError"

    def __init__(
        self,
        message: str,
        *,
        field: str | None = None,
        place: Literal["body", "query", "header", "path"] = "body",
        code: str | None = None,
        **details: Json,
    ) -> None:
        """`field` is a dot path, and `place` the part of the request that it is in."""
        if (field is not None or place != "body") and "validation_errors" not in details:
            steps = [int(step) if step.isdigit() else step for step in field.split(".")] if field else []
            details["validation_errors"] = [
                {"type": code or "value_error", "location": [place, *steps], "message": message}
            ]
        super().__init__(message, code=code, **details)

    def inside(self, path: str) -> "ValidationError":
        """The same error of something that stands at a dot path of the body."""
        known = self.details.get("validation_errors")
        first = known[0] if isinstance(known, list) and known else None
        location = first.get("location") if isinstance(first, dict) else None
        steps = [str(step) for step in location[1:]] if isinstance(location, list) else []
        return ValidationError(self.message, field=".".join([path, *steps]), code=self.code)


class TooManyRequestsError(LaminaError):
    """The key used up its requests for this minute."""

    status = 429
    type = "TooManyRequestsError"
    retryable = True


class NotEnabledError(LaminaError):
    """The contract has this operation; this installation does not serve it (yet)."""

    status = 501
    type = "NotEnabledError"


class UnavailableError(LaminaError):
    """An engine or a model cannot be reached at the moment."""

    status = 503
    type = "InferenceServiceUnavailableError"
    retryable = True


class RecordsUnavailableError(UnavailableError):
    """The record store cannot be reached, or cannot write. Until it can, nothing can be remembered."""


class ClusterUnavailableError(UnavailableError):
    """The cluster that extraction runs on is lost. Batches wait for it."""


class ExtractionError(LaminaError):
    """One object could not be taken apart; the batch records it and goes on."""

    status = 422
    type = "FeatureExtractionError"


class MissingExtraError(LaminaError):
    """An optional dependency is not installed. Says what to install."""

    status = 501
    type = "NotEnabledError"

    def __init__(self, purpose: str, extra: str) -> None:
        super().__init__(f"{purpose} needs an extra: pip install 'lamina[{extra}]'", extra=extra)

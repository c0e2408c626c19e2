"""The base of every pydantic model, and the pieces that many of them share."""

from datetime import UTC, datetime
from functools import lru_cache
from typing import Annotated, ClassVar, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, PlainSerializer, StringConstraints


def now() -> datetime:
    """The current time in UTC."""
    return datetime.now(UTC)


def as_utc(moment: datetime) -> datetime:
    """The same moment in UTC; a time without a zone is read as UTC."""
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)


@lru_cache(64)  # records that are written together tell the same moment
def isoformat(moment: datetime) -> str:
    """ISO 8601 in UTC with microseconds and `Z`, whatever its year: sorts as text in order of time."""
    return f"{as_utc(moment).replace(tzinfo=None).isoformat(timespec='microseconds')}Z"


Timestamp = Annotated[
    datetime, AfterValidator(as_utc), PlainSerializer(isoformat, return_type=str, when_used="json")
]
"""A moment, kept in UTC and written as ISO 8601 with `Z`."""


class Model(BaseModel):
    """A resource or a part of one. Unknown keys are dropped."""

    model_config = ConfigDict(extra="ignore", populate_by_name=True, use_enum_values=False)


class Request(BaseModel):
    """A request body. Unknown keys are kept aside, so that the answer can name them in `warnings`."""

    model_config = ConfigDict(extra="allow", populate_by_name=True)

    extra_is_content: ClassVar[bool] = False
    """Whether further keys are the user's own fields, not mistakes."""


FieldPath = Annotated[str, StringConstraints(min_length=1, max_length=500, pattern=r"^[^.]+(\.[^.]+){0,31}$")]
"""A field by its dot path, at most 32 steps deep."""


def _addressable(name: str) -> str:
    if "/" in name or name in {".", ".."}:
        raise ValueError("a name is part of URLs: it must not contain '/', nor be '.' or '..'")
    return name


ResourceName = Annotated[str, AfterValidator(_addressable)]
"""A name that can stand in a path in place of the id."""


class Sort(Model):
    """One field to order by."""

    field: FieldPath
    direction: Literal["asc", "desc"] = "asc"


class Deleted(Model):
    """Answer to a deletion that is done."""

    message: str = "Successfully deleted"
    success: bool = True


class Success(Model):
    """Answer to an action that returns nothing else."""

    message: str = "Successfully completed"
    success: bool = True

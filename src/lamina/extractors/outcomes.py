"""What comes of a source of which some could be read and some could not."""

from collections.abc import Iterator, Sequence
from typing import Final, TypeVar

from lamina.core.errors import ExtractionError
from lamina.extractors.base import Part, PartialExtractionError

T = TypeVar("T")

_NAMED: Final = 3
"""Errors that are told in words; of more it is said how many they are."""


def told(items: Iterator[T]) -> Iterator[T | ExtractionError]:
    """The items; an error that is raised on the way comes as the last of them."""
    try:
        yield from items
    except ExtractionError as error:
        yield error


def outcome(parts: Sequence[Part], failure: ExtractionError | None) -> list[Part] | ExtractionError:
    """The documents of a source; with a `failure` of some of it, the failure that carries them."""
    if failure is None:
        return list(parts)
    if not parts:
        return failure
    return PartialExtractionError(failure.message, parts=parts, code=failure.code, **failure.details)


def joined(errors: Sequence[ExtractionError]) -> ExtractionError | None:
    """One error that tells them all, with code and details of the first; None where there are none."""
    if len(errors) < 2:
        return errors[0] if errors else None
    named = "; ".join(error.message.rstrip(".") for error in errors[:_NAMED])
    more = f"; and {len(errors) - _NAMED} more" if len(errors) > _NAMED else ""
    return ExtractionError(f"{named}{more}.", code=errors[0].code, **errors[0].details)

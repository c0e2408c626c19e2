"""One paging for every list: limit and offset, page numbers, or a cursor.

Limits follow the contract: 1 to 1,000 results a page, offsets up to 10,000; a cursor goes on
from the last result of the page before, at any depth.
"""

import base64
import binascii
from collections.abc import Sequence
from dataclasses import dataclass
from types import UnionType
from typing import Any, Generic, TypeVar

import orjson
from pydantic import Field

from lamina.core.errors import ValidationError
from lamina.core.models import Model, Request, Sort
from lamina.core.types import Json

T = TypeVar("T")

MAX_LIMIT = 1000
MAX_OFFSET = 10_000


class Listing(Request):
    """What the body of every list may say about the page."""

    limit: int | None = Field(default=None, ge=1, le=MAX_LIMIT)
    page_size: int | None = Field(default=None, ge=1, le=MAX_LIMIT)
    offset: int | None = Field(default=None, ge=0, le=MAX_OFFSET)
    page: int | None = Field(default=None, ge=1)
    cursor: str | None = None
    next_cursor: str | None = None
    after: str | None = None
    include_total: bool | None = None


class ResourceList(Listing):
    """Body of the lists of namespaces, buckets, collections and retrievers."""

    filters: Json = None
    sort: Sort | None = None
    sorts: list[Sort] | None = None
    search: str | None = None
    case_sensitive: bool = False

    @property
    def order(self) -> Sort | None:
        """The sort asked for, in either spelling."""
        return self.sort or (self.sorts[0] if self.sorts else None)


@dataclass(frozen=True, slots=True)
class PageRequest:
    """What part of a list is asked for."""

    limit: int = 10
    offset: int = 0
    cursor: str | None = None
    include_total: bool = False

    @property
    def number(self) -> int:
        """The page's number, from 1."""
        return self.offset // self.limit + 1


@dataclass(frozen=True, slots=True)
class Slice(Generic[T]):
    """One page of a list. `total` is None where it was not asked for."""

    items: Sequence[T]
    next_cursor: str | None = None
    total: int | None = None


class Pagination(Model):
    """`PaginationResponse` of the contract."""

    total: int | None = Field(default=None, description="Number of results over all pages, where asked for.")
    page: int | None = None
    page_size: int | None = None
    total_pages: int | None = None
    next_page: str | None = None
    previous_page: str | None = None
    next_cursor: str | None = Field(default=None, description="Pass as `cursor` to go on after this page.")


def pagination(asked: PageRequest, got: Slice[T]) -> Pagination:
    """Describe a page that was read."""
    total = got.total
    return Pagination(
        total=total,
        page=asked.number,
        page_size=asked.limit,
        total_pages=None if total is None else -(-total // asked.limit),
        next_cursor=got.next_cursor,
    )


def encode_cursor(*position: Json) -> str:
    """An opaque cursor that holds where a page ended."""
    return base64.urlsafe_b64encode(orjson.dumps(position)).rstrip(b"=").decode()


def decode_cursor(cursor: str, *kinds: type | UnionType) -> list[Any]:
    """Read a cursor back: values of the kinds given, numbers not below 0.

    Raises `ValidationError` when it is not one of ours.
    """
    try:
        position = orjson.loads(base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)))
    except (binascii.Error, ValueError):
        position = None
    if not isinstance(position, list) or len(position) != len(kinds) or not all(map(_is, position, kinds)):
        raise ValidationError(
            "The cursor is not one that this list returned; start again without it.",
            field="cursor",
            place="query",
        )
    return position


def _is(value: Json, kind: type | UnionType) -> bool:
    if isinstance(value, bool) or not isinstance(value, kind):
        return False
    return not isinstance(value, int) or 0 <= value < 1 << 62

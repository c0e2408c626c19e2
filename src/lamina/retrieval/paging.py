"""The page of an execution's documents: four methods, one way of finding where a page begins.

Every marker of a next page says where the last one ended: its position, and the score and id of
its last document. The document is looked for first, so that a page goes on after it even when
documents were written in between; the position helps where it is gone.
"""

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from types import NoneType, UnionType
from typing import Final, Literal

from lamina.core.errors import ValidationError
from lamina.core.paging import decode_cursor, encode_cursor
from lamina.core.types import Json, JsonObject
from lamina.retrieval.paths import number_at
from lamina.retrieval.retrievers import (
    CursorPagination,
    Execution,
    KeysetPagination,
    OffsetPagination,
    ScrollPagination,
)

Method = Literal["offset", "cursor", "keyset", "scroll"]

MAX_DEPTH: Final = 10_000


@dataclass(frozen=True, slots=True)
class PageAsked:
    """What page is asked for: `limit` documents from `start` on, after the document `after_id`."""

    method: Method
    limit: int
    start: int = 0
    after_id: str | None = None
    after_score: float | None = None
    number: int = 1
    expires_in: int | None = None

    @property
    def end(self) -> int:
        """Position after the page's last document."""
        return self.start + self.limit

    @property
    def is_later(self) -> bool:
        """Whether it is not the first page."""
        return self.start > 0 or self.after_id is not None


def page_asked(request: Execution, breadth: int, warnings: list[str]) -> PageAsked:
    """The page that a request asks for; `breadth` is the page size when it does not say.

    Raises `ValidationError` for sizes that contradict each other and for markers that are not ours.
    """
    short = _short_limit(request)
    asked = request.pagination
    if asked is None:
        return PageAsked("cursor", short or breadth)
    limit = asked.page_size if isinstance(asked, OffsetPagination) else asked.limit
    if short is not None and short != limit:
        warnings.append(f"limit {short} was not used: pagination asks for {limit}.")
    if isinstance(asked, OffsetPagination):
        start = (asked.page_number - 1) * limit
        return PageAsked("offset", limit, start=start, number=asked.page_number)
    if isinstance(asked, KeysetPagination):
        return _after_key(PageAsked("keyset", limit), asked)
    if isinstance(asked, ScrollPagination):
        return _after_scroll(PageAsked("scroll", limit, expires_in=asked.scroll_ttl), asked)
    return _after_cursor(PageAsked("cursor", limit), asked)


def begins(asked: PageAsked, documents: Sequence[JsonObject]) -> int:
    """Where the page begins among the documents that were found."""
    if asked.after_id is None:
        return asked.start
    if 0 < asked.start <= len(documents) and _id(documents[asked.start - 1]) == asked.after_id:
        return asked.start
    for place, document in enumerate(documents):
        if _id(document) == asked.after_id:
            return place + 1
    if asked.after_score is not None:
        for place, document in enumerate(documents):
            score = number_at(document, "score")
            if score is not None and (score, asked.after_id) < (asked.after_score, _id(document) or ""):
                return place
    return min(asked.start, len(documents)) if asked.start else len(documents)


def described(
    asked: PageAsked, start: int, page: Sequence[JsonObject], total: int, has_next: bool
) -> JsonObject:
    """The `pagination` of the answer, with the marker of the next page if there is one."""
    answer: JsonObject = {"method": asked.method}
    if asked.method == "offset":
        answer.update(page_number=asked.number, page_size=asked.limit)
    else:
        answer["limit"] = asked.limit
    answer.update(returned=len(page), total=total, has_next=has_next)
    if has_next and page:
        answer.update(_next(asked, start + len(page), page[-1]))
    return answer


def _short_limit(request: Execution) -> int | None:
    if request.limit is not None and request.page_size not in (None, request.limit):
        raise ValidationError("limit and page_size name different sizes; send one of them.", field="limit")
    short = request.limit or request.page_size
    if short is None and request.settings is not None and request.settings.get("limit") is not None:
        limit = request.settings["limit"]
        if not isinstance(limit, int) or not 1 <= limit <= 500:
            raise ValidationError("settings.limit is a number from 1 to 500.", field="settings.limit")
        return limit
    return short


def _after_cursor(asked: PageAsked, pagination: CursorPagination) -> PageAsked:
    if pagination.cursor is None:
        return asked
    position, score, identifier = _decoded(
        pagination.cursor, "pagination.cursor", int, float | int | NoneType, str | NoneType
    )
    return _after(asked, position, score, identifier, "pagination.cursor")


def _after_scroll(asked: PageAsked, pagination: ScrollPagination) -> PageAsked:
    if pagination.scroll_id is None:
        return asked
    position, score, identifier, until = _decoded(
        pagination.scroll_id, "pagination.scroll_id", int, float | int | NoneType, str | NoneType, float | int
    )
    if not isinstance(until, int | float) or until < time.time():
        raise ValidationError(
            "The scroll_id has expired; begin anew without it.",
            field="pagination.scroll_id",
            code="scroll_expired",
        )
    return _after(asked, position, score, identifier, "pagination.scroll_id")


def _after_key(asked: PageAsked, pagination: KeysetPagination) -> PageAsked:
    if not pagination.after:
        return asked
    key = pagination.after
    identifier = key.get("id") or key.get("document_id")
    if not isinstance(identifier, str) and not key.get("position"):
        raise ValidationError(
            'after holds the last document\'s score and id: {"score": 0.73, "id": "doc_20"}.',
            field="pagination.after",
        )
    return _after(asked, key.get("position", 0), key.get("score"), identifier, "pagination.after")


def _decoded(cursor: str, field: str, *kinds: type | UnionType) -> list[Json]:
    """A marker's parts; the error says where in the body it stood."""
    try:
        return decode_cursor(cursor, *kinds)
    except ValidationError as error:
        raise ValidationError(error.message, field=field) from error


def _after(asked: PageAsked, position: Json, score: Json, identifier: Json, field: str) -> PageAsked:
    if (
        not isinstance(position, int)
        or not 0 <= position <= MAX_DEPTH
        or not isinstance(score, int | float | None)
        or not isinstance(identifier, str | None)
    ):
        raise ValidationError("This is not where a page of this retriever ended.", field=field)
    return replace(
        asked,
        start=position,
        after_id=identifier,
        after_score=None if score is None else float(score),
    )


def _next(asked: PageAsked, position: int, last: JsonObject) -> JsonObject:
    score, identifier = number_at(last, "score"), _id(last)
    if asked.method == "offset":
        return {"next_page": asked.number + 1}
    if asked.method == "keyset":
        after: JsonObject = {"position": position}
        if identifier is not None:
            after["id"] = identifier
        if score is not None:
            after["score"] = score
        return {"after": after, "next_cursor": after}
    if asked.method == "scroll":
        until = time.time() + (asked.expires_in or 0)
        return {"scroll_id": encode_cursor(position, score, identifier, until)}
    cursor = encode_cursor(position, score, identifier)
    return {"cursor": cursor, "next_cursor": cursor}


def _id(document: JsonObject) -> str | None:
    identifier = document.get("document_id")
    return identifier if isinstance(identifier, str) else None

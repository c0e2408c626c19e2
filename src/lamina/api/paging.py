"""What page a request asks for: query parameters, and the body's, which win."""

from typing import Annotated

from fastapi import Depends, Query

from lamina.core.paging import MAX_LIMIT, MAX_OFFSET, Listing, PageRequest

Limit = Annotated[int | None, Query(ge=1, le=MAX_LIMIT, description="Results on a page.")]
Offset = Annotated[int | None, Query(ge=0, le=MAX_OFFSET, description="Results to skip.")]
Number = Annotated[int | None, Query(ge=1, description="Page number from 1; `offset` wins over it.")]
Cursor = Annotated[str | None, Query(description="`next_cursor` of the page before.")]


class PageQuery:
    """The paging parameters that every list takes in its query."""

    def __init__(
        self,
        limit: Limit = None,
        page_size: Limit = None,
        offset: Offset = None,
        page: Number = None,
        cursor: Cursor = None,
        next_cursor: Cursor = None,
        after: Cursor = None,
        include_total: Annotated[bool | None, Query(description="Count all results too.")] = None,
    ) -> None:
        self.limit = limit or page_size
        self.offset = offset
        self.page = page
        self.cursor = cursor or next_cursor or after
        self.include_total = include_total

    def merged(self, body: Listing | None = None, *, default: int = 10) -> PageRequest:
        """The page asked for: the body's wishes before those of the query."""
        asked = body or Listing()
        limit = asked.limit or asked.page_size or self.limit or default
        number = asked.page or self.page
        offset = asked.offset if asked.offset is not None else self.offset
        if offset is None:
            offset = min((number - 1) * limit, MAX_OFFSET) if number else 0
        total = asked.include_total
        return PageRequest(
            limit=limit,
            offset=offset,
            cursor=asked.cursor or asked.next_cursor or asked.after or self.cursor,
            include_total=bool(self.include_total if total is None else total),
        )


Paging = Annotated[PageQuery, Depends()]
"""The paging parameters of a list route."""

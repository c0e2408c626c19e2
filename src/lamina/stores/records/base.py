"""The record store: resources as JSON records that all share one life.

A resource is a pydantic model. Its `Kind` says what is special about it; `Repository` gives it
the life that all share: create, get by id or name, list with filters, sort, search and paging,
update, delete.
"""

from collections.abc import AsyncIterator, Callable, Hashable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from typing import Any, Final, Generic, Protocol, TypeVar

from pydantic import BaseModel

from lamina.core.filters import ALL, Filter
from lamina.core.models import Sort
from lamina.core.paging import PageRequest, Slice
from lamina.core.scope import Scope
from lamina.core.types import Json

M = TypeVar("M", bound=BaseModel)


EVERYTHING: Final = "*"
"""As a kind's search field: free-text search looks at the whole record."""


@dataclass(frozen=True, slots=True)
class Kind(Generic[M]):
    """What is special about one kind of resource.

    `id_field` and `name_field` name the model's own fields. `columns` are further fields that get
    a column and an index; those in `unique` may occur once within a parent. `search` are the
    fields that free-text search looks into. `indexed` says that PostgreSQL has an index of
    all that the records hold, for fields that clients make up. `cached` kinds are kept in memory
    once read, until a record of one is written, here or elsewhere: for what is small, read on every
    request and written seldom.
    """

    name: str
    model: type[M]
    id_field: str
    name_field: str | None = None
    columns: Sequence[str] = ()
    unique: Sequence[str] = ()
    search: Sequence[str] = ()
    indexed: bool = False
    cached: bool = False
    default_sort: Sort = field(default_factory=lambda: Sort(field="created_at"))


class Repository(Protocol[M]):
    """The records of one kind. A scope limits every call; what lies outside does not exist.

    Filters and sorts address the model's fields by dot path. `created_at` and `updated_at` are
    the model's; `update` sets the latter. Raises `NotFoundError` and `AlreadyExistsError`.
    """

    kind: Kind[M]

    async def add(self, scope: Scope, *items: M) -> None:
        """Store new records; a taken id, name or unique field is an `AlreadyExistsError`."""

    async def put(self, scope: Scope, *items: M) -> None:
        """Store records, in place of those with the same ids."""

    async def get(self, scope: Scope, identifier: str) -> M:
        """The record with that id or name."""

    async def find(self, scope: Scope, identifier: str) -> M | None:
        """The record with that id or name, or None."""

    async def get_many(self, scope: Scope, ids: Sequence[str]) -> dict[str, M]:
        """The records with those ids that exist, by id."""

    async def versions(self, scope: Scope, ids: Sequence[str]) -> dict[str, str]:
        """`updated_at` of the records with those ids that exist, by id."""

    async def list_page(
        self,
        scope: Scope,
        page: PageRequest,
        *,
        where: Filter = ALL,
        sort: Sort | None = None,
        search: str | None = None,
        case_sensitive: bool = False,
    ) -> Slice[M]:
        """One page of the records that match."""

    def iterate(self, scope: Scope, *, where: Filter = ALL, batch: int = 500) -> AsyncIterator[list[M]]:
        """All records that match, oldest first, some at a time."""

    async def first(self, scope: Scope, where: Filter) -> M | None:
        """The oldest record that matches, or None."""

    async def count(self, scope: Scope, where: Filter = ALL) -> int:
        """How many records match."""

    async def count_by(self, scope: Scope, field: str) -> dict[str, int]:
        """How many records have each value of a column or `status`."""

    async def sum(self, scope: Scope, field: str) -> float:
        """The total of a numeric field."""

    async def update(self, scope: Scope, *items: M) -> None:
        """Write records back whole. `NotFoundError` when one is gone."""

    async def change(self, scope: Scope, identifier: str, change: Callable[[M], M]) -> M:
        """Read a record, write back what `change` makes of it, and return that; nothing comes between."""

    async def patch(self, scope: Scope, ids: Sequence[str], fields: Mapping[str, Json]) -> None:
        """Set the same fields at the root of many records; ids that are gone are no error."""

    async def delete(self, scope: Scope, *ids: str) -> int:
        """Remove records by id; how many there were."""

    async def delete_all(self, scope: Scope, where: Filter = ALL) -> int:
        """Remove every record that matches; how many there were."""


class RecordStore(Protocol):
    """Where repositories keep their records. Migrations run when it is opened."""

    def repository(self, kind: Kind[M]) -> Repository[M]:
        """The repository of a kind."""

    async def delete_namespace(self, scope: Scope) -> None:
        """Remove every record of the scope's namespace, of whatever kind."""

    @property
    def cache(self) -> dict[Hashable, Any] | None:
        """Where to keep what follows from records of cached kinds: it is dropped when one of them changes.

        Taken before they are read. None where the records have to be read anew.
        """

    def caching(self) -> AbstractAsyncContextManager[None]:
        """Inside, in this task, cached records are as the store held them at the beginning, or newer.

        Outside they are read anew, where other processes may write to the store too.
        """

    def transaction(self, scope: Scope) -> AbstractAsyncContextManager[None]:
        """Everything written inside, in this task, is kept together or not at all.

        Nothing of another transaction of the same namespace, in whatever process, comes between, so
        that what was read inside still holds when it is written. `EVERYWHERE` is such a scope too.
        """

    def atomic(self) -> AbstractAsyncContextManager[object]:
        """Everything written inside, in this task, is kept together or not at all; others write meanwhile."""

    async def close(self) -> None:
        """Let go of connections."""

"""The mark in a database while an installation is copied there, for processes of whatever data folder."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import orjson
import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

TABLE: Final = "unfinished_copy"
"""Has one row while a copy is under way, or was cut off."""

_MARK: Final = sa.table(TABLE, *map(sa.column, ("copy_id", "command", "target", "stays")))


@dataclass(frozen=True, slots=True)
class Mark:
    """A copy that is not complete.

    `copy_id` tells it from every other, `command` makes it, and `target` says in words where to. `stays`
    tells where the stores lie that are moved without these records; a process that still uses those may
    run. None: nobody may, the records are half a copy themselves.
    """

    copy_id: str
    command: str
    target: str
    stays: Mapping[str, str | None] | None = None

    def concerns(self, used: Mapping[str, str | None]) -> bool:
        """Whether a process that uses these stores would use half a copy."""
        return self.stays is None or any(used[name] != url for name, url in self.stays.items())


async def put(connection: AsyncConnection, mark: Mark) -> None:
    """Leave a mark, in place of one that is there."""
    await remove(connection)
    stays = None if mark.stays is None else orjson.dumps(dict(mark.stays)).decode()
    await connection.execute(
        sa.insert(_MARK).values(copy_id=mark.copy_id, command=mark.command, target=mark.target, stays=stays)
    )


async def find(connection: AsyncConnection) -> Mark | None:
    """The mark, if there is one."""
    row = (await connection.execute(sa.select(_MARK))).first()
    if row is None:
        return None
    stays = None if row.stays is None else orjson.loads(row.stays)
    return Mark(row.copy_id, row.command, row.target, stays)


async def remove(connection: AsyncConnection) -> None:
    """Say that the copy is complete."""
    await connection.execute(sa.delete(_MARK))

"""The disk below the shards: how much room it has, and how much a write must find.

Qdrant Edge writes through memory that it maps. A page that the disk has no room for ends the process
(SIGBUS), so nothing is written on a disk that is almost full.
"""

import shutil
from pathlib import Path
from typing import Final

from lamina.core.errors import UnavailableError

ROOM: Final = 64 << 20
"""Free bytes that a write must find. The engine takes 32 MiB at once for its log."""


def room(folder: Path) -> int:
    """Free bytes of the disk that holds a folder."""
    return shutil.disk_usage(folder).free


def check_room(folder: Path, more: int = 0) -> None:
    """Raise `UnavailableError` when the disk has no room for a write, of so many bytes more than most."""
    if room(folder) < ROOM + more:
        raise UnavailableError("The vector store cannot be used at the moment: its disk is full.")


def size_of(folder: Path) -> int:
    """Bytes of the files below a folder."""
    return sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())

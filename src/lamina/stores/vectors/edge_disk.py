"""The disk below the shards: how much room it has, how much a write must find, what of it is in memory.

Qdrant Edge works on memory that it maps. A page that the disk has no room for ends the process
(SIGBUS), so nothing is written on a disk that is almost full. And when it closes files it has the
kernel forget them, so that what opens them next fetches them page by page, where points lie apart:
to read 100,000 points of 384 took 142 µs each, and takes 25 of those that are in memory.
"""

import shutil
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Final

import psutil

from lamina.core.errors import UnavailableError

ROOM: Final = 64 << 20
"""Free bytes that a write must find. The engine takes 32 MiB at once for its log."""

_READ: Final = 1 << 20
"""Bytes that are read at once."""


def room(folder: Path) -> int:
    """Free bytes of the disk that holds a folder."""
    return shutil.disk_usage(folder).free


def check_room(folder: Path, more: int = 0) -> None:
    """Raise `UnavailableError` when the disk has no room for a write, of so many bytes more than most."""
    if room(folder) < ROOM + more:
        raise UnavailableError("The vector store cannot be used at the moment: its disk is full.")


def size_of(folder: Path) -> int:
    """Bytes of the files below a folder."""
    return sum(_size(file) for file in folder.rglob("*") if file.is_file())


def _size(file: Path) -> int:
    with suppress(FileNotFoundError):
        return file.stat().st_size
    return 0


def read_into_memory(folder: Path, stopping: Callable[[], bool] = lambda: False) -> None:
    """Read the files below a folder, one after the other, so that the kernel has them in memory.

    Those that would take more than half of what is free are left alone, and so is one that goes meanwhile.
    """
    files = [path for path in folder.rglob("*") if path.is_file()]
    if sum(map(_size, files)) > psutil.virtual_memory().available // 2:
        return
    buffer = bytearray(_READ)
    for path in files:
        with suppress(OSError), path.open("rb", buffering=0) as file:
            while not stopping() and file.readinto(buffer):
                pass

"""The progress of downloads: a bar of bytes for people, a line for each archive elsewhere."""

import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from rich.console import Console
from rich.progress import (
    BarColumn,
    DownloadColumn,
    Progress,
    TextColumn,
    TimeRemainingColumn,
    TransferSpeedColumn,
)

from lamina.cli.output import say
from lamina.inference.packages import Archive
from lamina.inference.pulling import Progress as Told


@contextmanager
def showing(archives: Sequence[Archive], *, quiet: bool = False) -> Iterator[Told]:
    """What `pull` is to tell its progress: shown on stderr while the block lasts."""
    if quiet:
        yield lambda archive, done: None
    elif sys.stderr.isatty():
        with _bars() as bars:
            tasks = {one: bars.add_task(_title(one), total=one.size_bytes, start=False) for one in archives}

            def show(archive: Archive, done: int) -> None:
                bars.start_task(tasks[archive])
                bars.update(tasks[archive], completed=done)

            yield show
    else:
        yield _lines()


def _bars() -> Progress:
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        DownloadColumn(),
        TransferSpeedColumn(),
        TimeRemainingColumn(compact=True),
        console=Console(stderr=True),
    )


def _lines() -> Told:
    begun: set[Archive] = set()

    def show(archive: Archive, done: int) -> None:
        if archive not in begun:
            begun.add(archive)
            say(f"fetching {_title(archive)}: {archive.size_bytes / 1e6:,.1f} MB")

    return show


def _title(archive: Archive) -> str:
    return f"{archive.package} {archive.version}"

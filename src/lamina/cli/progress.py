"""Live progress: a bar for people, a line now and then for logs. Both go to stderr."""

import sys
import time
from types import TracebackType
from typing import Final, Protocol, Self

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    Task,
    TaskID,
    TextColumn,
    TimeRemainingColumn,
)
from rich.text import Text

from lamina.cli.output import say

_SECONDS_BETWEEN_LINES: Final = 5.0


class Watch(Protocol):
    """What is told how work goes on. `done` counts the failed as well."""

    def begin(self, work: str, total: int | None) -> None:
        """A new piece of work starts, of so many objects."""

    def at(self, done: int, failed: int, total: int | None = None) -> None:
        """So many of its objects are through."""

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...


def watch(*, quiet: bool = False) -> Watch:
    """A bar where stderr is a terminal, lines where it is not, nothing where it should be quiet."""
    if quiet:
        return Silence()
    return Bar() if sys.stderr.isatty() else Lines()


class Silence:
    """Says nothing."""

    def begin(self, work: str, total: int | None) -> None:
        """Nothing."""

    def at(self, done: int, failed: int, total: int | None = None) -> None:
        """Nothing."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        return None


class Lines(Silence):
    """A line at the start, every five seconds, and at the end of each piece of work."""

    def __init__(self) -> None:
        self._work = ""
        self._total: int | None = None
        self._done = self._failed = 0
        self._started = self._said = 0.0

    def begin(self, work: str, total: int | None) -> None:
        """Say what starts."""
        self._end()
        self._work, self._total, self._done, self._failed = work, total, 0, 0
        self._started = self._said = time.monotonic()
        say(f"{work}: {total} objects" if total is not None else work)

    def at(self, done: int, failed: int, total: int | None = None) -> None:
        """Say so, if the last line is old enough."""
        self._done, self._failed, self._total = done, failed, total or self._total
        if time.monotonic() - self._said >= _SECONDS_BETWEEN_LINES:
            self._said = time.monotonic()
            self._say()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._end()

    def _end(self) -> None:
        if self._work:
            self._say()
            self._work = ""

    def _say(self) -> None:
        rate = self._done / max(time.monotonic() - self._started, 1e-3)
        of = f"/{self._total}" if self._total is not None else ""
        say(f"{self._work}: {self._done}{of} done, {self._failed} failed, {rate:.0f}/s")


class Bar(Silence):
    """A progress bar with counts, rate, failures and the time that is left."""

    def __init__(self) -> None:
        self._progress = Progress(
            TextColumn("{task.description:<10}"),
            BarColumn(),
            MofNCompleteColumn(),
            _Rate(),
            TextColumn("{task.fields[failed]} failed"),
            TimeRemainingColumn(compact=True),
            console=Console(stderr=True),
        )
        self._task = TaskID(0)

    def begin(self, work: str, total: int | None) -> None:
        """A new bar under those before it."""
        self._task = self._progress.add_task(work, total=total, failed=0)

    def at(self, done: int, failed: int, total: int | None = None) -> None:
        """Move the bar."""
        self._progress.update(self._task, completed=done, failed=failed, total=total)

    def __enter__(self) -> Self:
        self._progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._progress.stop()


class _Rate(ProgressColumn):
    """Objects a second, over all the time of the work."""

    def render(self, task: Task) -> Text:
        rate = task.finished_speed or task.speed or 0.0
        return Text(f"{rate:,.0f}/s")

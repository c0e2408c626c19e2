"""What the commands write: results on stdout, messages on stderr, decoration only for people.

On a terminal, results are tables and colours. Anywhere else they are lines of tab-separated
columns, so that `cut` and `awk` read them; with `--json`, one JSON document.
"""

import sys
from collections.abc import Mapping, Sequence

import orjson
import typer
from rich.console import Console
from rich.table import Table

Cell = str | int | float | None


def on_terminal() -> bool:
    """Whether a person reads stdout."""
    return sys.stdout.isatty()


def say(message: str) -> None:
    """A message about progress, which is no part of the result."""
    typer.echo(message, err=True)


def complain(message: str) -> None:
    """An error, in one line."""
    typer.secho("error: ", fg=typer.colors.RED, bold=True, nl=False, err=True)
    typer.echo(" ".join(message.split()), err=True)


def put(line: str = "") -> None:
    """One line of result."""
    typer.echo(line)


def put_json(value: object) -> None:
    """The result as one JSON document."""
    typer.echo(orjson.dumps(value, option=orjson.OPT_INDENT_2).decode())


def put_rows(columns: Sequence[str], rows: Sequence[Sequence[Cell]]) -> None:
    """A table for people; a header line and tab-separated lines for programs."""
    texts = [["" if cell is None else str(cell) for cell in row] for row in rows]
    if not on_terminal():
        for line in [list(columns), *texts]:
            put("\t".join(" ".join(cell.split()) for cell in line))
        return
    table = Table(box=None, header_style="bold", pad_edge=False)
    for column in columns:
        table.add_column(column, overflow="fold")
    for line in texts:
        table.add_row(*line)
    Console(highlight=False, markup=False).print(table)


def put_fields(fields: Mapping[str, Cell]) -> None:
    """Names and values, one pair to a line."""
    width = max(map(len, fields), default=0)
    for name, value in fields.items():
        text = "" if value is None else str(value)
        put(f"{name:<{width}}  {text}" if on_terminal() else f"{name}\t{text}")

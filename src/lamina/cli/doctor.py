"""`lamina doctor`: whether this machine can run a server, and how to mend what is wrong."""

from typing import Annotated

import typer

from lamina.cli import options
from lamina.cli.checks import Level, examine
from lamina.cli.failures import Failure
from lamina.cli.output import put, put_json


def doctor(
    data_dir: options.DataDir = None,
    port: Annotated[
        int | None, typer.Option(help="Port that the server is to have.  [default: 8000]")
    ] = None,
    repair: Annotated[
        bool, typer.Option("--repair", help="Remove documents and blobs that belong to nothing.")
    ] = False,
    as_json: options.AsJson = False,
) -> None:
    """Check Python, engines, models, settings, disk, data and port, and say how to mend what is wrong."""
    findings = list(examine(data_dir=data_dir, port=port, repair=repair))
    if as_json:
        put_json(
            [{name: getattr(one, name) for name in ("check", "level", "found", "mend")} for one in findings]
        )
    else:
        for one in findings:
            put(f"{one.level.upper():<8} {one.check:<24} {one.found}")
            if one.mend is not None:
                put(f"{'':<8} {'':<24} to mend: {one.mend}")
    if failed := [one.check for one in findings if one.level is Level.FAILED]:
        raise Failure(f"failed: {', '.join(failed)}")

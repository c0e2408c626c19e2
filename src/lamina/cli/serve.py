"""`lamina serve` and `lamina worker`: the server, or what runs its batches, in the foreground."""

from pathlib import Path
from typing import Annotated

import typer

from lamina.cli.checks import Level, data_folder
from lamina.cli.connection import settings
from lamina.cli.failures import UsageFailure
from lamina.core.settings import Settings

_Workers = Annotated[
    int | None, typer.Option(help="Worker processes for extraction.  [default: one per core]")
]
_Extractors = Annotated[
    Path | None, typer.Option(help="Folder of extractors of your own: `lamina extractors new`.")
]
_LogLevel = Annotated[str | None, typer.Option(help="debug, info, warning or error.  [default: info]")]


def serve(
    host: Annotated[str | None, typer.Option(help="Address to listen on.  [default: 127.0.0.1]")] = None,
    port: Annotated[int | None, typer.Option(help="Port; 0 takes a free one.  [default: 8000]")] = None,
    data_dir: Annotated[
        Path | None, typer.Option(help="Folder that holds all state.  [default: lamina-data]")
    ] = None,
    workers: _Workers = None,
    extractors: _Extractors = None,
    log_level: _LogLevel = None,
) -> None:
    """Start the server and run until SIGTERM or Ctrl-C. Every LAMINA_… setting applies."""
    chosen = _usable(
        host=host, port=port, data_dir=data_dir, workers=workers, extractors=extractors, log_level=log_level
    )
    # The server's packages load here, so that the other commands start without them.
    from lamina.serving import serve as run

    run(chosen)


def worker(
    data_dir: Annotated[
        Path | None, typer.Option(help="Folder for this process's own files.  [default: lamina-data]")
    ] = None,
    workers: _Workers = None,
    extractors: _Extractors = None,
    health_port: Annotated[int | None, typer.Option(help="Port that answers /v1/liveness to probes.")] = None,
    log_level: _LogLevel = None,
) -> None:
    """Run batches for servers on the same PostgreSQL, Qdrant and bucket, until SIGTERM or Ctrl-C."""
    chosen = _usable(data_dir=data_dir, workers=workers, extractors=extractors, log_level=log_level)
    # The server's packages load here, so that the other commands start without them.
    from lamina.serving import work

    work(chosen, health_port)


def _usable(**given: object) -> Settings:
    """The settings, with those given in their place, once their folder was found fit to hold data."""
    chosen = settings(**given)
    place = data_folder(chosen.data_dir)
    if place.level is Level.FAILED:
        raise UsageFailure(f"{place.found}; {place.mend}")
    return chosen

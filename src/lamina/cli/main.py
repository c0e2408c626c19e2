"""The `lamina` command: its commands, its version and its exit codes."""

from typing import Annotated

import typer
from typer import core

from lamina import __version__
from lamina.cli import demo, doctor, extractors, ingest, keys, models, moving, search, serve, status
from lamina.cli.failures import Failure
from lamina.cli.output import complain

EXIT_CODES = """Exit codes: 0 done, 1 done but something in it failed, 2 wrong usage or settings,
3 server not reached, 4 key missing or refused, 5 request refused, 6 server error, 130 interrupted."""


class Commands(core.TyperGroup):
    """Tells every failure that has a known cause in one line, and ends with its exit code."""

    def invoke(self, ctx: typer.Context) -> object:  # type: ignore[override]
        """Run the command that was asked for."""
        try:
            return super().invoke(ctx)
        except Failure as failure:
            complain(str(failure))
            raise typer.Exit(failure.exit_code) from failure


app = typer.Typer(
    name="lamina",
    cls=Commands,
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_show_locals=False,
    help="Lamina: an open, self-hosted multimodal data warehouse.",
    epilog=EXIT_CODES,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _version(asked: bool) -> None:
    if asked:
        typer.echo(f"lamina {__version__}")
        raise typer.Exit


@app.callback()
def main(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version and end.")
    ] = False,
) -> None:
    """Lamina: an open, self-hosted multimodal data warehouse."""


app.command("serve")(serve.serve)
app.command("worker")(serve.worker)
app.command("ingest")(ingest.ingest)
app.command("search")(search.search)
app.command("status")(status.status)
app.command("doctor")(doctor.doctor)
app.command("demo")(demo.demo)
app.command("migrate")(moving.migrate)
app.command("backup")(moving.backup)
app.command("restore")(moving.restore)
app.add_typer(keys.app, name="keys")
app.add_typer(models.app, name="models")
app.add_typer(extractors.app, name="extractors")


def run() -> None:
    """Entry point of the installed command."""
    app(prog_name="lamina")

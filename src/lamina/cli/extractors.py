"""`lamina extractors`: those of this machine, a template for one of your own, and checks."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from lamina.cli import options
from lamina.cli.connection import settings
from lamina.cli.failures import Failure, UsageFailure
from lamina.cli.output import put, put_json, put_rows, say
from lamina.core.types import JsonObject

if TYPE_CHECKING:  # extractors take a while to import, which the other commands need not wait for
    from lamina.extractors.base import Extractor
    from lamina.inference.registry import Models

app = typer.Typer(no_args_is_help=True, help="List, write and check extractors.")

Folder = Annotated[
    Path | None,
    typer.Option(
        "--extractors",
        envvar="LAMINA_EXTRACTORS",
        help="Folder of your own extractors, each in a folder.",
    ),
]


@app.command("list")
def list_(
    extractors: Folder = None, data_dir: options.DataDir = None, as_json: options.AsJson = False
) -> None:
    """Every extractor, built-in or not, whether its models are there, and those that cannot be loaded."""
    from lamina.extractors import registry
    from lamina.extractors.readiness import readiness

    models = _models(extractors, data_dir)
    shown: list[JsonObject] = []
    for _, kind in sorted(registry.all_extractors().items()):
        here = readiness(kind, kind.Parameters(), models)
        shown.append(
            {
                "name": kind.name,
                "version": kind.version,
                "source": "custom" if registry.is_own(kind) else "builtin",
                "usable": here.usable,
                "models": [one.card.name for one in here.models],
                "state": here.lacks or kind.description,
            }
        )
    shown += [
        {"name": one.where, "source": "custom", "usable": False, "state": one.reason}
        for one in registry.refused()
    ]
    if as_json:
        put_json(shown)
        return
    columns = ["name", "version", "source", "usable", "models", "state"]
    put_rows(columns, [[_cell(one.get(column)) for column in columns] for one in shown])


@app.command("new")
def new(
    name: Annotated[str, typer.Argument(help="Its name: lower-case letters, digits and '_'.")],
    into: Annotated[Path, typer.Option(help="Folder of your extractors.")] = Path("extractors"),
    as_json: options.AsJson = False,
) -> None:
    """Write a folder with a working extractor, its parameters, README and tests, to make yours of it."""
    from lamina.extractors import registry
    from lamina.extractors.own import NAME

    if not NAME.fullmatch(name):
        raise UsageFailure(f"'{name}' must be 3 to 64 lower-case letters, digits and '_', a letter first")
    if name in registry.names():
        raise UsageFailure(f"the name '{name}' belongs to a built-in extractor")
    folder = into / name
    if folder.exists():
        raise UsageFailure(f"{folder} is there already")
    folder.mkdir(parents=True)
    for target, text in _template(name):
        (folder / target).write_text(text, "utf-8")
    if as_json:
        put_json({"name": name, "folder": str(folder)})
        return
    put(str(folder))
    say(f"Try it with `lamina extractors check {folder}`, use it with `lamina serve --extractors {into}`.")


@app.command("check")
def check(
    which: Annotated[
        list[str] | None, typer.Argument(metavar="[NAME|FOLDER]…", help="Which; all of your own by default.")
    ] = None,
    extractors: Folder = None,
    data_dir: options.DataDir = None,
    as_json: options.AsJson = False,
) -> None:
    """Hold extractors to what every one promises, with small inputs made for the purpose."""
    from lamina.extractors import registry
    from lamina.extractors.testing import CHECKS, Trial, check_name

    models = _models(extractors, data_dir)
    kinds = [_found(one) for one in which or ()] or list(registry.own_extractors())
    results: list[JsonObject] = []
    for kind in kinds:
        trial = Trial(kind, models)
        for each in CHECKS:
            said = _failure(each, trial)
            results.append(
                {"extractor": kind.id(), "check": check_name(each), "ok": said is None, "found": said}
            )
    if not which:
        results += [
            {"extractor": one.where, "check": "it can be loaded", "ok": False, "found": one.reason}
            for one in registry.refused()
        ]
    if as_json:
        put_json(results)
    else:
        columns = ["extractor", "check", "ok", "found"]
        put_rows(columns, [[_cell(one[column]) for column in columns] for one in results])
    if not results:
        raise UsageFailure("there is no extractor of your own: name one, or its folder with --extractors")
    if failed := sorted({str(one["extractor"]) for one in results if not one["ok"]}):
        raise Failure(f"failed: {', '.join(failed)}")


def _models(folder: Path | None, data_dir: Path | None) -> Models:
    """The registry of models of a server with these settings; its own extractors are known from now on."""
    from lamina.extractors.registry import use_folder
    from lamina.inference.registry import Models, ModelSettings

    chosen = settings(extractors=folder, data_dir=data_dir)
    use_folder(chosen.extractors.absolute() if chosen.extractors else None)
    return Models(ModelSettings.of(chosen))


def _found(which: str) -> type[Extractor]:
    """An extractor by its name or its folder."""
    from lamina.core.errors import NotFoundError
    from lamina.extractors.own import load_folder
    from lamina.extractors.registry import extractor_by_id

    if Path(which).is_dir():
        try:
            return load_folder(Path(which))
        except (Exception, SystemExit) as error:  # it is somebody's code, and may do anything
            raise Failure(f"{which} cannot be loaded: {type(error).__name__}: {error}") from error
    try:
        return extractor_by_id(which)
    except NotFoundError as error:
        raise UsageFailure(f"there is no extractor and no folder '{which}'") from error


def _failure(check: object, trial: object) -> str | None:
    """Why a check does not hold, or None."""
    assert callable(check)
    try:
        check(trial)
    except Exception as error:  # whatever an extractor raises is what is asked for here
        return str(error) if isinstance(error, AssertionError) else f"{type(error).__name__}: {error}"
    return None


def _template(name: str) -> Iterator[tuple[str, str]]:
    """The files of a new extractor: their names and texts."""
    folder = files("lamina.cli") / "extractor_template"
    for file in sorted(folder.iterdir(), key=lambda one: one.name):
        target = file.name.removesuffix(".txt").replace("NAME", name)
        yield target, file.read_text("utf-8").replace("NAME", name).replace("NewExtractor", _class(name))


def _class(name: str) -> str:
    words: Sequence[str] = name.split("_")
    title = "".join(word.capitalize() for word in words)
    return title if title.endswith("Extractor") else f"{title}Extractor"


def _cell(value: object) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list):
        return ", ".join(map(str, value))
    return "" if value is None else str(value)

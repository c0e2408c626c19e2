"""A data folder as the first release wrote it: `python -m tests.first_release` made the archive, once.

It holds two of the poems with a photo each, their documents, and a retriever, with the tables of the
first release. It is not to be made again: that later releases open it is the point.
"""

import asyncio
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path
from typing import Final

from alembic import command
from sqlalchemy import Connection
from sqlalchemy.ext.asyncio import create_async_engine

from lamina.stores.records.migrate import _config
from tests.server import RunningServer
from tests.steps import (
    PHOTO_SCHEMA,
    POEMS,
    create_bucket,
    create_collection,
    create_objects,
    create_retriever,
    ok,
    poem_with_photo,
    process,
    search_stage,
)

ARCHIVE: Final = Path(__file__).parent / "journeys" / "first-release.tar.xz"
BUCKET, COLLECTION, RETRIEVER = "poems", "lines", "by-meaning"
HELD = POEMS[:2]


def unpacked(folder: Path) -> Path:
    """The data folder, below a folder."""
    with tarfile.open(ARCHIVE) as archive:
        archive.extractall(folder, filter="data")
    return folder / "data"


def main() -> None:
    """Write the archive."""
    with tempfile.TemporaryDirectory() as temporary:
        data_dir = Path(temporary) / "data"
        with RunningServer(data_dir, generated_key=True) as server, server.client() as api:
            bucket_id = create_bucket(api, PHOTO_SCHEMA, bucket_name=BUCKET)["bucket_id"]
            made = create_collection(api, bucket_id, collection_name=COLLECTION)["collection_id"]
            process(api, bucket_id, create_objects(api, bucket_id, HELD, poem_with_photo))
            uri = ok(api.get(f"/v1/collections/{made}"))["vector_indexes"][0]["feature_uri"]
            create_retriever(api, made, search_stage(uri), retriever_name=RETRIEVER)
            server.stop()
        asyncio.run(_first_tables(data_dir / "records.sqlite"))
        pack = ["tar", "--create", "--sparse", "--xz", f"--file={ARCHIVE}", "--owner=0", "--group=0"]
        subprocess.run([*pack, f"--directory={temporary}", "data"], check=True)


async def _first_tables(file: Path) -> None:
    def downgrade(connection: Connection) -> None:
        config = _config()
        config.attributes["connection"] = connection
        command.downgrade(config, "0001")

    engine = create_async_engine(f"sqlite+aiosqlite:///{file}")
    async with engine.begin() as connection:
        await connection.run_sync(downgrade)
    await engine.dispose()


if __name__ == "__main__":
    if ARCHIVE.exists():
        sys.exit(f"{ARCHIVE} is there: it stays as the first release wrote it.")
    main()

"""What several Lamina processes share: a database, a Qdrant server, a bucket, and keys."""

import secrets
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path

import sqlalchemy as sa

from tests.databases import fresh_database
from tests.qdrant import QdrantServer
from tests.s3 import S3, variables
from tests.server import RunningServer

Engines = Callable[[], AbstractContextManager[dict[str, str]]]
"""Opens empty stores for a server; what it gives are the variables that lead the server to them."""


@dataclass(frozen=True)
class Shared:
    """The servers, and the variables that lead a process to them."""

    database: str
    qdrant: QdrantServer
    s3: S3
    env: dict[str, str]


@contextmanager
def shared_stores(folder: Path, postgres: sa.URL | None = None) -> Iterator[Shared]:
    """All of it, made for a test and ended after it; `postgres` may be a server of the test's own."""
    with fresh_database(postgres) as database, QdrantServer(folder / "qdrant") as qdrant, S3(folder) as s3:
        bucket = s3.bucket(f"lamina-{secrets.token_hex(6)}")
        env = {
            **variables(s3.url),
            "LAMINA_RECORDS_URL": database,
            "LAMINA_VECTORS_URL": qdrant.url,
            "LAMINA_BLOBS_URL": f"s3://{bucket}/lamina",
            "LAMINA_PRESIGN_KEY": "the presign key of the tests",
            "LAMINA_SECRETS_KEY": "the secrets key of the tests",
            "LAMINA_WORKERS": "1",
        }
        yield Shared(database, qdrant, s3, env)


class RunningWorker(RunningServer):
    """`lamina worker` in a subprocess, known by its probe."""

    def command(self) -> list[str]:
        """The command line that starts it."""
        given = super().command()
        return [*given[:3], "worker", "--health-port", str(self.port), "--data-dir", str(self.data_dir)]

"""Settings: `LAMINA_…` variables, or the options of `lamina serve`. Each is described in docs/settings.md."""

import binascii
import hashlib
import os
import re
from base64 import b64decode
from pathlib import Path
from typing import Final, Literal
from urllib.parse import urlsplit

from pydantic import Field, SecretStr, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

API_KEY: Final = re.compile(r"sk_[A-Za-z0-9_-]{8,200}")
"""What an API key looks like that somebody chooses."""


_BYTES: Final = "base64:"
_KEY_BYTES: Final = 32


def key_of(chosen: SecretStr) -> bytes:
    """The 32 bytes that a setting stands for: those of a file of keys after `base64:`, or else its SHA-256.

    Raises `ValueError` when what follows `base64:` is not that.
    """
    text = chosen.get_secret_value()
    if not text.startswith(_BYTES):
        return hashlib.sha256(text.encode()).digest()
    try:
        key = b64decode(text.removeprefix(_BYTES), validate=True)
    except binascii.Error as error:
        raise ValueError("what follows base64: cannot be read") from error
    if len(key) != _KEY_BYTES:
        raise ValueError(f"what follows base64: are {len(key)} bytes in place of {_KEY_BYTES}")
    return key


class Settings(BaseSettings):
    """How this installation runs. Sizes are bytes, times are seconds unless the name says otherwise."""

    model_config = SettingsConfigDict(env_prefix="LAMINA_", extra="ignore")

    host: str = Field(default="127.0.0.1", description="Address to listen on.")
    port: int = Field(default=8000, ge=0, le=65535, description="Port to listen on; 0 takes a free one.")
    data_dir: Path = Field(default=Path("lamina-data"), description="Folder that holds all state.")
    records_url: SecretStr | None = Field(
        default=None,
        description="PostgreSQL database for records and durable work, as `postgresql+psycopg://…`; "
        "SQLite files in the data folder if not set.",
    )
    records_connections: int = Field(
        default=16,
        ge=3,
        le=1000,
        description="Most connections that the server keeps to PostgreSQL for records; durable work "
        "takes up to eleven more, locks two and one for each group that is stored.",
    )
    public_url: str | None = Field(
        default=None, description="URL that clients reach the server under; presigned URLs begin with it."
    )
    bootstrap_api_key: SecretStr | None = Field(
        default=None, description="Admin key (`sk_…`) to create at first start in place of a random one."
    )
    default_namespace: str = Field(
        default="default",
        min_length=3,
        max_length=64,
        description="Namespace of requests that name none and could mean several.",
    )

    process_batches: bool = Field(
        default=True,
        description="Run batches in this process; where several share their records, an API process may "
        "leave that to workers.",
    )
    batches_per_process: int | None = Field(
        default=None,
        ge=1,
        le=64,
        description="Batches that a process of several runs at once; those of two namespaces if not set.",
    )
    batches_per_namespace: int = Field(
        default=4,
        ge=1,
        description="Batches of one namespace that run at once in all processes that share their records.",
    )
    share_objects: int | None = Field(
        default=None,
        ge=1,
        description="Objects of a batch, at least, that one process is given at once; "
        "what the extractor finds worth it if not set.",
    )
    presign_key: SecretStr | None = Field(
        default=None,
        min_length=16,
        description="What presigned URLs are signed with: the same for all processes that share their "
        "records. `presign.key` in the data folder if not set.",
    )
    secrets_key: SecretStr | None = Field(
        default=None,
        min_length=16,
        description="What secrets are sealed with, likewise; `secrets.key` in the data folder if not set.",
    )

    workers: int = Field(
        default_factory=lambda: max(1, os.cpu_count() or 1),
        ge=1,
        description="Worker processes for extraction.",
    )
    compute: Literal["local", "ray"] = Field(
        default="local",
        description="Where extraction runs: in processes of this machine, or on a Ray cluster.",
    )
    ray_address: str | None = Field(
        default=None,
        description="Ray cluster: `host:port`, `auto` or `ray://…`; one of this machine alone if not set.",
    )
    ray_gpus: float = Field(
        default=0.0, ge=0, description="Share of a GPU that each worker on a Ray cluster is given."
    )
    worker_idle_seconds: float = Field(
        default=60.0, gt=0, description="Idle worker processes end after this time and free their memory."
    )
    chunk_objects: int = Field(
        default=8192,
        ge=1,
        le=50_000,
        description="Objects that a batch takes up at once; processes that share work have parts of them.",
    )
    extraction_timeout: float = Field(
        default=600.0, gt=0, description="Longest time that one extraction call may take."
    )

    worker_memory: int = Field(
        default=3 << 30,
        ge=256 << 20,
        description="Memory that one worker process may use; an object that needs more fails alone.",
    )

    vectors_url: str | None = Field(
        default=None,
        description="URL of a Qdrant server that keeps the documents; without one the data folder does.",
    )
    vectors_api_key: SecretStr | None = Field(default=None, description="API key of the Qdrant server.")
    vectors_timeout: float = Field(
        default=60.0, ge=1, description="Longest time that one request to the Qdrant server may take."
    )
    vectors_replication_factor: int = Field(
        default=1, ge=1, description="Nodes of a Qdrant cluster that hold each point."
    )
    vectors_shard_number: int | None = Field(
        default=None, ge=1, description="Shards of a namespace on the Qdrant server; one per node if not set."
    )
    vectors_quantization: Literal["none", "scalar", "binary"] = Field(
        default="scalar",
        description="How vectors are kept in the Qdrant server's memory: `scalar` in 8 bits a number, "
        "`binary` in one, `none` as they are.",
    )
    vectors_hnsw_m: int = Field(
        default=16, ge=0, description="Edges of a vector in the Qdrant server's graphs; 0 makes no graphs."
    )
    vectors_hnsw_ef_construct: int = Field(
        default=128, ge=4, description="Candidates that are looked at for each edge when a graph is made."
    )
    vectors_hnsw_ef: int = Field(default=128, ge=1, description="Candidates that a search of a graph keeps.")

    text_embedding_model: str = Field(
        default="all_minilm_l6_v2_v1",
        description="Model that text extractors use unless a parameter names one.",
    )
    models: dict[str, str] = Field(
        default={},
        description="Models of other capabilities in place of their defaults, as JSON: "
        '`{"transcribe": "…"}`. `lamina models list` names them.',
    )
    extractors: Path | None = Field(
        default=None, description="Folder of the installation's own extractors, each in a folder."
    )
    models_dir: Path | None = Field(
        default=None,
        description="Folder of weights that were fetched; `models` in the data folder if not set.",
    )
    embedding_endpoint: str | None = Field(
        default=None, description="Base URL of an OpenAI-compatible or TEI server for remote text models."
    )
    embedding_endpoint_key: SecretStr | None = Field(default=None, description="Its API key.")
    chat_endpoint: str | None = Field(
        default=None,
        description="Base URL of an OpenAI-compatible server for language models, up to `/v1` or the like.",
    )
    chat_key: SecretStr | None = Field(default=None, description="Its API key.")
    chat_model: str | None = Field(
        default=None, description="Name of the model there; the first that it lists if not set."
    )
    chat_providers: dict[str, str] = Field(
        default={
            "openai": "https://api.openai.com/v1",
            "google": "https://generativelanguage.googleapis.com/v1beta/openai",
            "anthropic": "https://api.anthropic.com/v1",
        },
        description="Chat endpoints of the providers that parameters may name together with a key of "
        "their own, as JSON.",
    )
    rerank_endpoint: str | None = Field(
        default=None, description="Base URL of a TEI, Infinity, vLLM, Cohere or like server for reranking."
    )
    rerank_key: SecretStr | None = Field(default=None, description="Its API key.")
    rerank_model: str | None = Field(
        default=None, description="Name of the model there, where it has several."
    )
    inference_cache_bytes: int = Field(
        default=64 << 20,
        ge=0,
        description="What each process remembers of vectors, so that the same content is not embedded "
        "twice; 0 remembers none.",
    )
    inference_threads: int = Field(
        default=1, ge=1, description="Threads that a model uses in a process for one call."
    )

    blobs_url: str | None = Field(
        default=None,
        description="Bucket that holds the blobs: `s3://bucket/prefix`, `gs://…` or `az://…`; "
        "the data folder does if not set.",
    )
    blobs_public_endpoint: str | None = Field(
        default=None,
        description="URL under which clients reach the S3 endpoint, where it is not the server's own.",
    )
    blobs_copies_bytes: int = Field(
        default=10 << 30,
        ge=0,
        description="What copies of large blobs may take in the data folder, for workers to read.",
    )

    max_request_bytes: int = Field(default=32 << 20, ge=1024, description="Largest JSON request body.")
    max_blob_bytes: int = Field(default=5 << 30, ge=1024, description="Largest blob, uploaded or fetched.")
    inline_bytes: int = Field(
        default=64 << 10, ge=0, description="Text and JSON up to this size is kept in the record itself."
    )

    fetch_private_addresses: bool = Field(
        default=False, description="Let blob URLs point to private, loopback and link-local addresses."
    )
    fetch_timeout: float = Field(default=30.0, gt=0, description="Longest time to fetch one URL.")
    fetch_max_redirects: int = Field(default=5, ge=0, description="Redirects followed for one URL.")

    rate_limits: Literal["auto", "on", "off"] = Field(
        default="auto", description="Limit requests per key; `auto` is off when listening on loopback."
    )
    rate_limit_per_minute: int = Field(
        default=600, ge=1, description="Requests a minute, for a key and category, when limits are on."
    )
    cors_origins: list[str] = Field(default=["*"], description="Origins that browsers may call from.")

    log_level: Literal["debug", "info", "warning", "error"] = Field(default="info", description="Log level.")
    log_format: Literal["auto", "console", "json"] = Field(
        default="auto", description="`auto` writes for people on a terminal and JSON elsewhere."
    )

    @field_validator("bootstrap_api_key")
    @classmethod
    def _looks_like_a_key(cls, key: SecretStr | None) -> SecretStr | None:
        if key is not None and not API_KEY.fullmatch(key.get_secret_value()):
            raise ValueError("must be sk_ and 8 to 200 letters, digits, '_' or '-'")
        return key

    @field_validator("presign_key", "secrets_key")
    @classmethod
    def _is_key(cls, chosen: SecretStr | None) -> SecretStr | None:
        if chosen is not None:
            key_of(chosen)
        return chosen

    @field_validator("vectors_api_key")
    @classmethod
    def _fits_a_header(cls, key: SecretStr | None) -> SecretStr | None:
        text = key.get_secret_value() if key else ""
        if not (text.isascii() and text.isprintable()):
            raise ValueError("must be letters, digits and signs of ASCII, on one line")
        return key

    @field_validator("vectors_url")
    @classmethod
    def _looks_like_http(cls, url: str | None) -> str | None:
        if url is None:
            return None
        parts = urlsplit(url if "://" in url else f"http://{url}")
        try:
            usable = parts.scheme in {"http", "https"} and bool(parts.hostname) and parts.port != 0
        except ValueError:  # of a port that is none
            usable = False
        if not usable:
            raise ValueError("must be http://host:port of a Qdrant server, or https://")
        return url

    @field_validator("records_url")
    @classmethod
    def _looks_like_postgresql(cls, url: SecretStr | None) -> SecretStr | None:
        if url is None:
            return None
        scheme, colon, rest = url.get_secret_value().partition("://")
        if not colon or scheme not in {"postgresql+psycopg", "postgresql", "postgres"}:
            raise ValueError("must be postgresql+psycopg://user:password@host:port/database")
        parts = urlsplit(f"postgresql://{rest}")
        try:
            parts.port  # noqa: B018 raises for what is none
        except ValueError as error:
            raise ValueError(
                "names no port between 1 and 65535 after the host; in a password, write %23 for #, "
                "%2F for / and %3F for ?"
            ) from error
        if parts.netloc.count("@") > 1:
            raise ValueError("has a second @; in a user's name or password, write %40 for it")
        if not parts.path.strip("/"):
            raise ValueError("names no database: end it with /database")
        return SecretStr(f"postgresql+psycopg://{rest}")

    @property
    def sqlite_file(self) -> Path:
        """Where the records lie, if not on a server."""
        return self.data_dir / "records.sqlite"

    @property
    def servers(self) -> tuple[str | None, str | None, str | None]:
        """URLs of where records, points and blobs lie; None for what lies in the data folder."""
        records = self.records_url.get_secret_value() if self.records_url else None
        return records, self.vectors_url, self.blobs_url

    @property
    def at_once(self) -> int:
        """Groups, shares and batches under way at once: a worker has the next while another is stored."""
        return self.workers + 1

    @property
    def loopback(self) -> bool:
        """Whether only this machine can reach the server."""
        return self.host in {"127.0.0.1", "::1", "localhost"}

"""Structured logs: for people on a terminal, JSON elsewhere; never a secret in them."""

import logging
import re
import sys
from collections.abc import Mapping, MutableMapping
from contextlib import suppress
from typing import Any, Final, TextIO, cast

import orjson
import structlog

from lamina.core.settings import Settings

_SECRET: Final = re.compile(
    r"\b((?:ret_)?sk[_-])[A-Za-z0-9_-]{6,}|((?i:signature)=)[0-9A-Za-z%+/=_-]{16,}|((?i:bearer) )\S+"
)


def configure_logs(settings: Settings) -> None:
    """Send structlog's and the standard library's records to stderr, in one form."""
    people = settings.log_format == "console" or (settings.log_format == "auto" and sys.stderr.isatty())
    renderer: structlog.typing.Processor = (
        structlog.dev.ConsoleRenderer() if people else structlog.processors.JSONRenderer(_json)
    )
    shared: list[structlog.typing.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        # As text, in both forms: what shows local variables shows secrets.
        structlog.processors.format_exc_info,
    ]
    level = getattr(logging, settings.log_level.upper())
    structlog.configure(
        processors=[*shared, redacted, renderer],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=structlog.PrintLoggerFactory(cast("TextIO", _Lossy(sys.stderr))),
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(foreign_pre_chain=shared, processors=[_plain, redacted, renderer])
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(max(level, logging.WARNING))


class _Lossy:
    """A stream whose full disk costs its records, and not the request that they are about."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, text: str) -> None:
        """Write it, or lose it."""
        with suppress(OSError):
            self._stream.write(text)

    def flush(self) -> None:
        """The same for what is buffered."""
        with suppress(OSError):
            self._stream.flush()


def _json(event: Mapping[str, Any], **_: Any) -> str:
    return orjson.dumps(event, default=str, option=orjson.OPT_NON_STR_KEYS).decode(errors="replace")


def _plain(_: Any, __: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """Drop what structlog adds to standard records for its own use."""
    event.pop("_record", None)
    event.pop("_from_structlog", None)
    return event


def redacted(_: Any, __: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """Blot out keys, signatures and bearer tokens, wherever they got into a record."""
    for name, value in event.items():
        event[name] = _blotted(value)
    return event


def _blotted(value: Any) -> Any:
    match value:
        case str():
            return _SECRET.sub(lambda found: next(one for one in found.groups() if one) + "…", value)
        case Mapping():
            return {name: _blotted(one) for name, one in value.items()}
        case list() | tuple() | set():
            return [_blotted(one) for one in value]
        case bool() | int() | float() | None:
            return value
        case _:
            return _blotted(str(value))

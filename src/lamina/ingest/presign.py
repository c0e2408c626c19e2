"""URLs that let whoever holds them read or write one blob for a while, without an API key."""

import hashlib
import hmac
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final, Literal
from urllib.parse import quote, urlencode

import orjson

from lamina.core.errors import ForbiddenError

Method = Literal["GET", "PUT"]


@dataclass(frozen=True, slots=True)
class Grant:
    """What a presigned URL allows. None means that nothing was fixed."""

    method: Method
    key: str
    content_type: str | None = None
    filename: str | None = None
    max_size: int | None = None


class Presigner:
    """Makes and checks presigned URLs.

    The signature is HMAC-SHA256 over everything that the URL grants. `itsdangerous` would sign the
    same with the same primitive, but puts it all in one opaque token; here the query stays readable,
    and a client or a log shows what a URL is for and when it ends.
    """

    def __init__(self, secret: bytes, base_url: str, *, clock: Callable[[], float] = time.time) -> None:
        if len(secret) < 16:
            raise ValueError("the secret of presigned URLs needs at least 16 bytes")
        self._secret = secret
        self._base_url = base_url
        self._clock = clock

    def url(
        self,
        key: str,
        *,
        method: Method,
        expires_in: int,
        content_type: str | None = None,
        filename: str | None = None,
        max_size: int | None = None,
        base_url: str | None = None,
    ) -> str:
        """A URL for one blob and one method, good for `expires_in` seconds.

        `content_type` is what a PUT must send and a GET will answer with, `filename` the name that a
        GET suggests, `max_size` the most bytes that a PUT may send. `base_url` stands in for the
        configured one. A URL for GET is good for HEAD too.
        """
        grant = Grant(method, key, content_type, filename, max_size)
        expires = int(self._clock()) + expires_in
        query: dict[str, str | int] = {"method": method, "expires": expires}
        for name in _OPTIONAL:
            value = getattr(grant, name)
            if value is not None:
                query[name] = value
        query["signature"] = self._signature(grant, expires)
        base = (self._base_url if base_url is None else base_url).rstrip("/")
        return f"{base}/storage/{quote(key)}?{urlencode(query, quote_via=quote)}"

    def check(self, method: str, key: str, query: Mapping[str, str]) -> Grant:
        """What the URL with this query allows; `ForbiddenError` when it does not allow this, or no longer."""
        grant, expires, signature = _read(key, query)
        if not hmac.compare_digest(self._signature(grant, expires).encode(), signature.encode()):
            raise _invalid()
        if method not in _ALLOWED[grant.method]:
            raise ForbiddenError(f"This URL is for {grant.method} only.")
        if self._clock() >= expires:
            ended = datetime.fromtimestamp(expires, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
            raise ForbiddenError(f"This URL expired at {ended}; ask for a new one.")
        return grant

    def _signature(self, grant: Grant, expires: int) -> str:
        # JSON keeps the parts apart: no two different grants read the same.
        parts = [grant.method, grant.key, expires, grant.content_type, grant.filename, grant.max_size]
        return hmac.new(self._secret, orjson.dumps(parts), hashlib.sha256).hexdigest()


_OPTIONAL: Final = ("content_type", "filename", "max_size")

_ALLOWED: Final[Mapping[Method, frozenset[str]]] = {
    "GET": frozenset({"GET", "HEAD"}),
    "PUT": frozenset({"PUT"}),
}

_METHODS: Final[Mapping[str, Method]] = {"GET": "GET", "PUT": "PUT"}

_DIGITS: Final = 15  # of a number in the query; more than any time or size has


def _read(key: str, query: Mapping[str, str]) -> tuple[Grant, int, str]:
    method = query.get("method", "")
    expires = query.get("expires", "")
    max_size = query.get("max_size")
    if (
        method not in _METHODS
        or not _is_number(expires)
        or (max_size is not None and not _is_number(max_size))
    ):
        raise _invalid()
    grant = Grant(
        _METHODS[method],
        key,
        query.get("content_type"),
        query.get("filename"),
        None if max_size is None else int(max_size),
    )
    return grant, int(expires), query.get("signature", "")


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) <= _DIGITS


def _invalid() -> ForbiddenError:
    return ForbiddenError(
        "The signature of this URL is missing or wrong; use the URL exactly as it was given."
    )

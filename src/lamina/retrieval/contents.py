"""What a query shows instead of saying it: the text or the bytes behind a content query's value."""

import base64
import re
from typing import Final
from urllib.parse import unquote_to_bytes

from lamina.core.errors import NotEnabledError, NotFoundError, ValidationError
from lamina.core.scope import Scope
from lamina.ingest.blobs import SCHEME
from lamina.ingest.fetch import Fetcher
from lamina.ingest.sniffing import sniff
from lamina.stores.blobs.base import BlobStore

MAX_BYTES: Final = 32 << 20
"""Of a file that is searched by."""

_PLAIN_ALPHABET: Final = str.maketrans("-_", "+/")
_HTTP: Final = ("http://", "https://")
_BASE64: Final = re.compile(r"[A-Za-z0-9+/_\-\r\n]{64,}={0,2}")
"""So long a word is taken for encoded bytes, if they turn out to be a picture."""


class ContentReader:
    """Reads the value of a content query, in all the forms that the contract has for it."""

    def __init__(self, fetcher: Fetcher, blobs: BlobStore) -> None:
        self._fetcher = fetcher
        self._blobs = blobs

    async def read(self, scope: Scope, value: str, field: str) -> str | bytes:
        """The text, or the bytes of a picture; whether it is a sound one is not looked at here.

        `value` is a data URI, an http(s) URL, the `lamina://` URL of a blob of this namespace, base64,
        or a text as it is. Raises `ValidationError` for what is neither text nor picture or cannot be
        fetched, `NotFoundError` for a blob that is not there, `NotEnabledError` for sound, video, pages
        and s3:// URLs.
        """
        if value.startswith(_HTTP):
            fetched = await self._fetcher.fetch(value, accept=None, max_bytes=MAX_BYTES, field=field)
            kind = sniff(fetched.content, fetched.filename) or fetched.mime_type
            return _told(fetched.content, kind, field)
        if value.startswith(SCHEME):
            content = await self._stored(scope, value.removeprefix(SCHEME), field)
            return _told(content, sniff(content), field)
        return written_content(value, field)

    async def _stored(self, scope: Scope, key: str, field: str) -> bytes:
        if not key.startswith(f"{scope.namespace}/"):  # reads like one that is not there
            raise NotFoundError("blob", f"{SCHEME}{key}")
        found = await self._blobs.head(key)
        if found.size > MAX_BYTES:
            raise _too_large(field)
        return await self._blobs.get(key)


def written_content(value: str, field: str) -> str | bytes:
    """The content of a value that holds it itself: a data URI, base64, or a text.

    What needs fetching is left as it is. Raises as `ContentReader.read` does.
    """
    if value.startswith("s3://"):
        raise NotEnabledError(
            "Searching by the content behind an s3:// URL is not available; send it as a data URI.",
            field=field,
        )
    if not value.startswith("data:"):
        return _picture_in_base64(value) or value
    head, comma, body = value[len("data:") :].partition(",")
    kind = head.partition(";")[0].lower() or "text/plain"
    if not comma:
        raise ValidationError("The data URI has no comma, after which its data begins.", field=field)
    encoded = head.lower().endswith(";base64")
    try:
        content = _from_base64(body) if encoded else unquote_to_bytes(body)
    except ValueError as error:
        raise ValidationError("The data URI does not hold valid base64.", field=field) from error
    if len(content) > MAX_BYTES:
        raise _too_large(field)
    return _told(content, kind if "*" not in kind else sniff(content) or kind, field)


def _told(content: bytes, kind: str | None, field: str) -> str | bytes:
    """A text or the bytes of a picture; refuses what is neither."""
    kind = kind or sniff(content) or "application/octet-stream"
    if kind.startswith("image/"):
        return content
    if kind.startswith("text/"):
        try:
            return content.decode()
        except UnicodeDecodeError as error:
            raise ValidationError("The content is not UTF-8 text.", field=field) from error
    if kind.startswith(("video/", "audio/")) or kind == "application/pdf":
        raise NotEnabledError(f"Searching by {kind} content is not available; send a picture.", field=field)
    raise ValidationError(
        f"The content is {kind}: neither text nor a picture.", field=field, code="not_an_image"
    )


def _picture_in_base64(value: str) -> bytes | None:
    if not _BASE64.fullmatch(value.strip()):
        return None
    try:
        content = _from_base64(value)
    except ValueError:
        return None
    return content if (sniff(content) or "").startswith("image/") else None


def _from_base64(text: str) -> bytes:
    """The bytes behind base64 in its plain or its URL alphabet; `ValueError` where it is neither."""
    plain = "".join(text.split()).translate(_PLAIN_ALPHABET)
    return base64.b64decode(plain, validate=True)


def _too_large(field: str) -> ValidationError:
    return ValidationError(
        f"The content has more than the {MAX_BYTES >> 20} MB that a search takes.",
        field=field,
        code="too_large",
    )

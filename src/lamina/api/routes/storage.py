"""Stored bytes behind presigned URLs: GET with ranges, HEAD, and PUT for uploads."""

import re
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass
from typing import Final
from urllib.parse import quote

from fastapi import APIRouter, Request, Response
from fastapi.responses import StreamingResponse

from lamina.api.calls import GuardedRoute, Public
from lamina.api.errors import envelope
from lamina.api.services import Services
from lamina.core.errors import BadRequestError, ForbiddenError, NotFoundError, PayloadTooLargeError
from lamina.ingest.sniffing import sniff

router = APIRouter(
    prefix="/storage", include_in_schema=False, dependencies=[Public], route_class=GuardedRoute
)

_RANGE: Final = re.compile(r"^bytes=(\d{0,18})-(\d{0,18})$")
_SNIFFED_BYTES: Final = 4096
_POLICY: Final = "sandbox; default-src 'none'; style-src 'unsafe-inline'; media-src 'self'; img-src 'self'"
_RUNS: Final = ("image/svg",)
_INLINE: Final = ("image/", "video/", "audio/", "text/plain", "application/pdf", "application/json")


@dataclass(frozen=True, slots=True)
class _Stored:
    """Bytes under a key: from the blob store, or small ones from their object's record."""

    size: int
    head: bytes
    stream: Callable[[int, int], AsyncIterator[bytes]]
    headers: Mapping[str, str]


@router.get("/{key:path}")
@router.head("/{key:path}")
async def read(key: str, request: Request) -> Response:
    """The bytes, or the range of them that is asked for."""
    services: Services = request.app.state.services
    grant = services.presigner.check(request.method, key, request.query_params)
    stored = await _opened(services, key)
    try:
        span = _span(request.headers.get("range", ""), stored.size)
    except RangeError as error:
        return envelope(
            error.status, error.message, error.type, headers={"Content-Range": f"bytes */{stored.size}"}
        )
    start, end = span or (0, stored.size)
    content_type = grant.content_type or sniff(stored.head, _leaf(key)) or "application/octet-stream"
    # What a browser might run in our name is only ever offered for download.
    safe = content_type.startswith(_INLINE) and not content_type.startswith(_RUNS)
    shown = "inline" if safe else "attachment"
    headers = {
        **stored.headers,
        "Accept-Ranges": "bytes",
        "Content-Length": str(end - start),
        "Content-Disposition": f"{shown}; filename*=UTF-8''{quote(grant.filename or _leaf(key))}",
        "X-Content-Type-Options": "nosniff",
        "Content-Security-Policy": _POLICY,
    }
    if span is not None:
        headers["Content-Range"] = f"bytes {start}-{end - 1}/{stored.size}"
    status = 200 if span is None else 206
    if request.method == "HEAD" or start == end:
        return Response(status_code=status, headers=headers, media_type=content_type)
    return StreamingResponse(stored.stream(start, end), status, headers, content_type)


async def _opened(services: Services, key: str) -> _Stored:
    store = services.blobs.store
    try:
        blob = await store.head(key)
    except NotFoundError:
        return _held(await services.objects.inline(key))
    head = b""
    if blob.size:
        head = b"".join([piece async for piece in store.stream(key, 0, min(blob.size, _SNIFFED_BYTES))])
    headers = {"Last-Modified": blob.modified_at.strftime("%a, %d %b %Y %H:%M:%S GMT")}
    if blob.etag:
        headers["ETag"] = f'"{blob.etag.strip(chr(34))}"'
    return _Stored(blob.size, head, lambda start, end: store.stream(key, start, end), headers)


def _held(content: bytes) -> _Stored:
    async def stream(start: int, end: int) -> AsyncIterator[bytes]:
        yield content[start:end]

    return _Stored(len(content), content[:_SNIFFED_BYTES], stream, {})


def _leaf(key: str) -> str:
    return key.rsplit("/", 1)[-1]


def _span(header: str, size: int) -> tuple[int, int] | None:
    """First byte and the byte after the last; None for no range, or none that we know (RFC 9110, 14.2)."""
    found = _RANGE.match(header.strip())
    if found is None or found.groups() == ("", ""):
        return None
    first, last = found.groups()
    if not first:
        start, end = max(0, size - int(last)), size
    else:
        start, end = int(first), min(int(last) + 1, size) if last else size
    if start >= end:
        raise RangeError(size)
    return start, end


class RangeError(BadRequestError):
    """The range lies outside of the blob."""

    status = 416

    def __init__(self, size: int) -> None:
        super().__init__(f"The range is not within the blob's {size} bytes.", size=size)


@router.put("/{key:path}")
async def write(key: str, request: Request) -> Response:
    """Take an upload's bytes, streamed to the store."""
    services: Services = request.app.state.services
    grant = services.presigner.check("PUT", key, request.query_params)
    if not await services.uploads.expected(key):
        raise ForbiddenError("This upload is confirmed or cancelled; create another one.")
    sent = request.headers.get("content-type")
    if grant.content_type is not None and sent != grant.content_type:
        raise BadRequestError(f"Send Content-Type: {grant.content_type}, as the upload announced.")
    largest = grant.max_size or services.settings.max_blob_bytes
    length = request.headers.get("content-length")
    if length is not None and length.isdigit() and int(length) > largest:
        raise PayloadTooLargeError(f"A file may have {largest} bytes at most.", limit=largest)
    stored = await services.blobs.store.put(key, _bounded(request.stream(), largest))
    return Response(status_code=200, headers={"ETag": f'"{(stored.etag or "").strip(chr(34))}"'})


async def _bounded(pieces: AsyncIterator[bytes], largest: int) -> AsyncIterator[bytes]:
    size = 0
    async for piece in pieces:
        size += len(piece)
        if size > largest:
            raise PayloadTooLargeError(f"A file may have {largest} bytes at most.", limit=largest)
        yield piece

"""Objects on their way to a bucket: requests of a hundred, uploads for files, several at a time."""

import hashlib
import mimetypes
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import orjson

from lamina.cli.answers import ObjectsWritten, Upload
from lamina.cli.connection import Answer, Api
from lamina.cli.failures import ApiFailure
from lamina.cli.sources import Entry, Item, Unreadable, readable
from lamina.core.fields import FieldType
from lamina.core.types import Json, JsonObject

_REQUEST_OBJECTS: Final = 100
_REQUEST_CHARACTERS: Final = 4_000_000
_CONNECTIONS: Final = 4
_REFUSED_AS_A_WHOLE: Final = frozenset({413, 422})


@dataclass(frozen=True, slots=True)
class Sent:
    """What became of one entry: the id of its object, or why there is none."""

    source: str
    kind: FieldType | None = None
    object_id: str | None = None
    found: bool = False
    """The object was there already."""
    error: str | None = None


def send(
    api: Api, bucket_id: str, entries: Iterator[Entry], properties: Mapping[FieldType, str]
) -> Iterator[Sent]:
    """Write entries as objects, in no certain order. `properties` names the blob's property by kind."""
    under_way: set[Future[list[Sent]]] = set()
    with ThreadPoolExecutor(_CONNECTIONS) as pool:
        for request in _requests(entries):
            under_way.add(pool.submit(_write, api, bucket_id, request, properties))
            if len(under_way) == _CONNECTIONS:
                done, under_way = wait(under_way, return_when=FIRST_COMPLETED)
                yield from _results(done)
        yield from _results(under_way)


def _results(requests: set[Future[list[Sent]]]) -> Iterator[Sent]:
    for request in requests:
        yield from request.result()


def _requests(entries: Iterator[Entry]) -> Iterator[list[Entry]]:
    request: list[Entry] = []
    characters = 0
    for entry in entries:
        request.append(entry)
        characters += _size(entry)
        if len(request) == _REQUEST_OBJECTS or characters >= _REQUEST_CHARACTERS:
            yield request
            request, characters = [], 0
    if request:
        yield request


def _size(entry: Entry) -> int:
    if isinstance(entry, Unreadable):
        return 0
    return len(entry.text or "") + sum(len(one) for one in entry.fields.values() if isinstance(one, str))


def _write(
    api: Api, bucket_id: str, request: Sequence[Entry], properties: Mapping[FieldType, str]
) -> list[Sent]:
    sent: list[Sent] = []
    items: list[Item] = []
    bodies: list[JsonObject] = []
    for entry in request:
        if isinstance(entry, Unreadable):
            sent.append(Sent(entry.source, error=entry.reason))
            continue
        try:
            bodies.append(_body(api, bucket_id, entry, properties))
            items.append(entry)
        except (ApiFailure, OSError) as error:
            sent.append(Sent(entry.source, error=str(error)))
    return sent + (_create(api, bucket_id, items, bodies) if items else [])


def _create(api: Api, bucket_id: str, items: Sequence[Item], bodies: Sequence[JsonObject]) -> list[Sent]:
    """Write objects in one request, or in smaller ones where it is refused as a whole.

    So a server that cannot say which object it refuses, or takes less at once, costs that object alone.
    """
    try:
        answer = api.post(
            f"/buckets/{bucket_id}/objects/batch", {"objects": bodies}, ObjectsWritten, response="envelope"
        )
    except ApiFailure as failure:
        # When no object of a request is good, its answer is an error with the same body.
        if isinstance(failure.body, dict) and failure.body.get("failed"):
            answer = ObjectsWritten.model_validate(failure.body)
        elif failure.status not in _REFUSED_AS_A_WHOLE:
            raise
        elif len(items) == 1:
            return [Sent(items[0].source, error=str(failure))]
        else:
            half = len(items) // 2
            return [
                *_create(api, bucket_id, items[:half], bodies[:half]),
                *_create(api, bucket_id, items[half:], bodies[half:]),
            ]
    sent = [Sent(items[one.object_index].source, error=one.error) for one in answer.failed]
    for one in answer.succeeded:
        item = items[one.object_index]
        sent.append(Sent(item.source, item.kind, one.object_id, found=one.replayed))
    return sent


def _body(api: Api, bucket_id: str, item: Item, properties: Mapping[FieldType, str]) -> JsonObject:
    body: JsonObject = dict(item.fields)
    digest = None
    if item.text is not None:
        body["blobs"] = [{"property": properties[item.kind], "type": item.kind.value, "data": item.text}]
    elif item.file is not None:
        digest = _sha256(item.file)
        upload_id = _upload(api, bucket_id, item.file, digest)
        blob: Json = {"property": properties[item.kind], "type": item.kind.value, "upload_id": upload_id}
        body["blobs"] = [blob]
    # The same source with the same content is the same object, however often it is sent.
    identity = orjson.dumps([item.source, item.fields, item.text, digest], option=orjson.OPT_SORT_KEYS)
    body["idempotency_key"] = f"lamina-cli-{hashlib.sha256(identity).hexdigest()}"
    return body


def _upload(api: Api, bucket_id: str, file: Path, digest: str) -> str:
    """Upload a file, unless the server has the same bytes; the upload's id."""
    content_type = mimetypes.guess_type(file.name)[0] or "application/octet-stream"
    asked: JsonObject = {
        "filename": readable(Path(file.name)),
        "content_type": content_type,
        "file_size_bytes": file.stat().st_size or None,
        "file_hash": digest,
        "create_object_on_confirm": False,
    }
    upload = api.post(f"/buckets/{bucket_id}/uploads", asked, Upload)
    if upload.is_duplicate:
        return upload.duplicate_of_upload_id or upload.upload_id
    if upload.presigned_url is None:
        raise ApiFailure(f"no place to upload {file.name} to was given", 500)
    api.put_file(upload.presigned_url, file, content_type)
    api.post(f"/buckets/{bucket_id}/uploads/{upload.upload_id}/confirm", {}, Answer)
    return upload.upload_id


def _sha256(file: Path) -> str:
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()

"""What only a blob store in a bucket does."""

import asyncio
import os
import secrets
import time
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path

import httpx
import pytest

from lamina.core.errors import NotFoundError, PayloadTooLargeError, UnavailableError, ValidationError
from lamina.stores.blobs import cloud
from lamina.stores.blobs.cloud import CloudBlobStore
from tests.s3 import S3, variables
from tests.server import free_port

MB = 1 << 20


@pytest.fixture
def bucket(s3: S3, monkeypatch: pytest.MonkeyPatch) -> str:
    """An empty bucket of its own, with the variables to reach it."""
    for name, value in variables(s3.url).items():
        monkeypatch.setenv(name, value)
    return s3.bucket(f"bucket-{secrets.token_hex(8)}")


@pytest.fixture
def store(bucket: str, tmp_path: Path) -> CloudBlobStore:
    return CloudBlobStore(f"s3://{bucket}/under/this", copies=tmp_path / "copies")


async def endless() -> AsyncIterator[bytes]:
    while True:
        yield b"x" * MB
        await asyncio.sleep(0.001)


async def parts(count: int) -> AsyncIterator[bytes]:
    for number in range(count):
        yield bytes([number]) * MB


async def test_a_large_file_goes_in_parts_and_reads_as_it_was_written(
    store: CloudBlobStore, s3: S3, bucket: str
) -> None:
    stored = await store.put("a/film.mp4", parts(20))
    assert stored.size == 20 * MB
    assert stored.etag is not None
    assert stored.etag.strip('"').endswith("-3")  # S3 says that it came in three parts
    whole = await store.get("a/film.mp4")
    assert whole == b"".join([piece async for piece in parts(20)])
    assert (
        b"".join([piece async for piece in store.stream("a/film.mp4", 8 * MB - 2, 8 * MB + 2)])
        == (whole[8 * MB - 2 : 8 * MB + 2])
    )
    assert (await store.put("a/bytes", whole)).size == 20 * MB
    assert s3.uploads_under_way(bucket) == 0


async def test_a_large_write_that_its_feeder_breaks_leaves_neither_blob_nor_parts(
    store: CloudBlobStore, s3: S3, bucket: str
) -> None:
    async def breaks() -> AsyncIterator[bytes]:
        async for part in parts(20):
            yield part
        raise PayloadTooLargeError("too much")

    await store.put("a/b", b"as it was")
    with pytest.raises(PayloadTooLargeError):
        await store.put("a/b", breaks())
    assert await store.get("a/b") == b"as it was"
    assert s3.uploads_under_way(bucket) == 0


async def test_a_large_write_that_is_cancelled_leaves_no_blob(store: CloudBlobStore) -> None:
    writing = asyncio.create_task(store.put("a/b", endless()))
    await asyncio.sleep(0.5)
    writing.cancel()
    with pytest.raises(asyncio.CancelledError):
        await writing
    with pytest.raises(NotFoundError):
        await store.head("a/b")


async def test_blobs_lie_under_the_prefix_and_what_lies_beside_it_is_left_alone(
    store: CloudBlobStore, bucket: str, tmp_path: Path
) -> None:
    whole = CloudBlobStore(f"s3://{bucket}", copies=tmp_path / "copies")
    await whole.put("under/thisandthat", b"another's")
    await store.put("a/b", b"1")
    assert await whole.get("under/this/a/b") == b"1"
    assert [blob.key async for blob in store.list("")] == ["a/b"]
    assert await store.delete_prefix("") == 1
    assert [blob.key async for blob in whole.list("")] == ["under/thisandthat"]


async def test_more_blobs_than_one_request_takes_are_deleted(store: CloudBlobStore) -> None:
    keys = [f"n/{number}" for number in range(1050)]
    for start in range(0, len(keys), 50):
        await asyncio.gather(*(store.put(key, b"1") for key in keys[start : start + 50]))
    await store.delete(*keys[:10], "n/none")
    assert await store.delete_prefix("n") == 1040
    assert [blob.key async for blob in store.list("")] == []


# Presigned URLs


async def test_a_presigned_url_reads_a_blob_and_ranges_of_it_for_a_while(store: CloudBlobStore) -> None:
    await store.put("ns/Grüße #1 100%.pdf", b"0123456789")
    url = store.presigned("ns/Grüße #1 100%.pdf", "GET", 3600)
    assert url is not None
    async with httpx.AsyncClient() as http:
        whole = await http.get(url)
        assert (whole.status_code, whole.content) == (200, b"0123456789")
        assert whole.headers["content-type"] == "application/pdf"
        part = await http.get(url, headers={"Range": "bytes=2-4"})
        assert (part.status_code, part.content) == (206, b"234")
        assert part.headers["content-range"] == "bytes 2-4/10"
    asked = httpx.URL(url).params
    assert asked["X-Amz-Expires"] == "3600"
    assert asked["X-Amz-Signature"]


async def test_a_presigned_put_stores_a_blob(store: CloudBlobStore) -> None:
    url = store.presigned("ns/new.txt", "PUT", 60)
    assert url is not None
    async with httpx.AsyncClient() as http:
        assert (await http.put(url, content=b"sent", headers={"Content-Type": "text/plain"})).is_success
    assert await store.get("ns/new.txt") == b"sent"


def test_azure_signs_urls_to_read_and_leaves_writing_to_the_server(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AZURE_STORAGE_ACCOUNT_NAME", "acme")
    monkeypatch.setenv("AZURE_STORAGE_ACCOUNT_KEY", "c2VjcmV0")
    store = CloudBlobStore("az://files/x", copies=tmp_path)
    url = store.presigned("ns/a", "GET", 60)
    assert url is not None
    assert url.startswith("https://acme.blob.core.windows.net/files/x/ns/a?")
    assert store.presigned("ns/a", "PUT", 60) is None


@pytest.mark.parametrize("variable", ["AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_S3"])
async def test_presigned_urls_name_the_endpoint_that_clients_reach(
    bucket: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, variable: str
) -> None:
    monkeypatch.setenv(variable, "http://inside.example:9000")
    store = CloudBlobStore(f"s3://{bucket}/x", copies=tmp_path, public_endpoint="https://files.example.com")
    url = store.presigned("ns/a", "GET", 60)
    assert url is not None
    assert url.startswith(f"https://files.example.com/{bucket}/x/ns/a?")


async def test_no_url_is_signed_for_a_key_that_leads_elsewhere(store: CloudBlobStore) -> None:
    for key in ("ns_1/../ns_2/x", "ns_1//x", ".partial/x", ""):
        with pytest.raises(ValidationError):
            store.presigned(key, "GET", 60)


# Copies that workers read as files


async def test_a_copy_is_made_once_for_each_version(store: CloudBlobStore) -> None:
    await store.put("a/b", b"one")
    first, same = await asyncio.gather(store.file("a/b"), store.file("a/b"))
    assert first == same
    assert first.read_bytes() == b"one"
    await store.put("a/b", b"two")
    second = await store.file("a/b")
    assert (first.read_bytes(), second.read_bytes()) == (b"one", b"two")
    with pytest.raises(NotFoundError):
        await store.file("a/none")


async def test_copies_make_room_for_others_but_not_while_they_may_be_needed(
    bucket: str, tmp_path: Path
) -> None:
    store = CloudBlobStore(f"s3://{bucket}", copies=tmp_path / "copies", copies_bytes=250)
    for name in "abcd":
        await store.put(name, name.encode() * 100)
    copies = [await store.file(name) for name in "abc"]
    assert all(copy.exists() for copy in copies)
    long_ago = time.time() - 2 * 3600
    for age, copy in enumerate(copies[:2]):
        os.utime(copy, (long_ago + age, long_ago + age))
    await store.file("d")
    assert [copy.exists() for copy in copies] == [False, False, True]


# Failures


async def test_a_check_passes_and_leaves_nothing(store: CloudBlobStore, bucket: str, tmp_path: Path) -> None:
    await store.check()
    assert await CloudBlobStore(f"s3://{bucket}", copies=tmp_path).delete_prefix("") == 0


async def test_a_check_says_what_is_wrong_and_how_to_mend_it(
    bucket: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(UnavailableError, match=r"s3://no-such-bucket/x .*does not exist.*create it"):
        await CloudBlobStore("s3://no-such-bucket/x", copies=tmp_path).check()
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{free_port()}")
    with pytest.raises(UnavailableError, match=r"cannot be reached.*AWS_ENDPOINT_URL"):
        await CloudBlobStore(f"s3://{bucket}", copies=tmp_path).check()


@pytest.mark.parametrize(
    "url",
    [
        "bucket",
        "http://a/b",
        "s3://",
        "s3://a@b/c",
        "s3://b/x?y=1",
        "s3://b/a/../c",
        "s3://hidden:hidden@b",
        "s3://k:hidden#hidden@b",
        "s3://k:hidden/hidden@b",
        "s3://b?secret_access_key=hidden",
    ],
)
def test_a_url_of_no_bucket_is_refused(url: str, tmp_path: Path) -> None:
    with pytest.raises(ValidationError, match="LAMINA_BLOBS_URL to s3://bucket/prefix") as told:
        CloudBlobStore(url, copies=tmp_path)
    assert "hidden" not in str(told.value)


async def test_a_store_that_is_away_is_unavailable_and_comes_back(
    s3: S3, bucket: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    door = s3.door()
    monkeypatch.setenv("AWS_ENDPOINT_URL", door.url)
    store = CloudBlobStore(f"s3://{bucket}/x", copies=tmp_path)
    await store.put("a/b", b"1")
    door.kill()
    for ask in (
        store.put("a/c", b"2"),
        store.get("a/b"),
        store.head("a/b"),
        store.file("a/b"),
        store.delete("a/b"),
        store.delete_prefix("a"),
    ):
        with pytest.raises(UnavailableError, match="cannot be reached") as raised:
            await ask
        assert str(door.port) not in raised.value.message
    door.start()
    assert await store.get("a/b") == b"1"


async def test_a_store_that_goes_away_in_the_middle_of_a_blob_is_unavailable(
    s3: S3, bucket: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    door = s3.door()
    monkeypatch.setenv("AWS_ENDPOINT_URL", door.url)
    store = CloudBlobStore(f"s3://{bucket}/x", copies=tmp_path / "copies")
    await store.put("a/b", parts(64))
    stream = store.stream("a/b")
    await anext(stream)
    door.kill()
    with pytest.raises(UnavailableError):
        async for _ in stream:
            pass
    door.start()
    copying = asyncio.create_task(store.file("a/b"))
    writing = asyncio.create_task(store.put("a/c", parts(64)))
    await asyncio.sleep(0.1)
    door.kill()
    for task in (copying, writing):
        with pytest.raises(UnavailableError):
            await task
    assert not (tmp_path / "copies").exists() or list((tmp_path / "copies").iterdir()) == []
    door.start()
    assert (await store.file("a/b")).stat().st_size == 64 * MB
    with pytest.raises(NotFoundError):
        await store.head("a/c")


async def test_a_store_that_falls_silent_is_given_up(
    s3: S3, bucket: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    door = s3.door()
    monkeypatch.setenv("AWS_ENDPOINT_URL", door.url)
    monkeypatch.setitem(cloud.CLIENT, "read_timeout", "500ms")
    monkeypatch.setitem(cloud.RETRY, "retry_timeout", timedelta(seconds=1))
    store = CloudBlobStore(f"s3://{bucket}/x", copies=tmp_path)
    await store.put("a/b", b"1")
    door.pause()
    began = time.monotonic()
    try:
        with pytest.raises(UnavailableError):
            await store.get("a/b")
        with pytest.raises(UnavailableError):
            await store.put("a/b", b"2")
    finally:
        door.go_on()
    assert time.monotonic() - began < 20


@pytest.mark.parametrize(
    ("url", "variable"), [("az://files", "AZURE_STORAGE_ENDPOINT"), ("gs://files", "GOOGLE_BASE_URL")]
)
async def test_an_endpoint_without_tls_is_spoken_to(
    url: str, variable: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def refuse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        received = b""
        while not received.endswith(b"lamina") and (piece := await reader.read(1 << 16)):
            received += piece  # until the body of the first request is there
        writer.write(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
        await writer.drain()
        writer.close()

    async with await asyncio.start_server(refuse, "127.0.0.1", 0) as server:
        monkeypatch.setenv(variable, f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}")
        monkeypatch.setenv("AZURE_STORAGE_ACCOUNT_NAME", "acme")
        monkeypatch.setenv("AZURE_STORAGE_ACCOUNT_KEY", "c2VjcmV0")
        monkeypatch.setenv("GOOGLE_SKIP_SIGNATURE", "true")
        store = CloudBlobStore(url, copies=tmp_path)
        with pytest.raises(UnavailableError, match="does not allow this"):
            await store.check()

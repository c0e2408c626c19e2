"""What every blob store promises, and what only the folder does."""

import asyncio
import os
import resource
import secrets
import sys
import time
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from lamina.core.errors import NotFoundError, PayloadTooLargeError, UnavailableError, ValidationError
from lamina.stores.blobs.base import BlobStore
from lamina.stores.blobs.cloud import CloudBlobStore
from lamina.stores.blobs.folder import FolderBlobStore
from lamina.stores.blobs.keys import NAME_BYTES, canonical_key
from tests.s3 import S3, variables

GIVEN = os.environ.get("LAMINA_TEST_BLOBS_URL")
"""A bucket of any provider that the suite may write to, `az://…` or `gs://…` say, with its variables."""


@pytest.fixture(params=["folder", "s3", *(["given"] if GIVEN else [])])
async def blobs(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[BlobStore]:
    """An empty store of each engine."""
    store: BlobStore
    if request.param == "folder":
        store = FolderBlobStore(tmp_path / "blobs")
    elif request.param == "given":
        store = CloudBlobStore(f"{GIVEN}/{secrets.token_hex(8)}", copies=tmp_path / "copies")
    else:
        s3: S3 = request.getfixturevalue("s3")
        for name, value in variables(s3.url).items():
            monkeypatch.setenv(name, value)
        prefix = secrets.token_hex(8)
        store = CloudBlobStore(f"s3://{s3.bucket('blobs')}/{prefix}", copies=tmp_path / "copies")
    yield store
    await store.close()


async def pieces(*parts: bytes) -> AsyncIterator[bytes]:
    for part in parts:
        yield part


async def read(store: BlobStore, key: str, start: int = 0, end: int | None = None) -> bytes:
    return b"".join([piece async for piece in store.stream(key, start, end)])


def everything(folder: Path) -> list[Path]:
    return sorted(folder.rglob("*"))


async def keys(store: BlobStore, prefix: str) -> list[str]:
    return sorted([blob.key async for blob in store.list(prefix)])


async def test_a_blob_reads_as_it_was_written(blobs: BlobStore) -> None:
    stored = await blobs.put("ns_1/bkt_2/photo.jpg", b"\x00\xff bytes")

    assert stored.key == "ns_1/bkt_2/photo.jpg"
    assert stored.size == 8
    assert abs(stored.modified_at - datetime.now(UTC)) < timedelta(seconds=10)
    assert await blobs.get("ns_1/bkt_2/photo.jpg") == b"\x00\xff bytes"
    assert await blobs.head("ns_1/bkt_2/photo.jpg") == stored


async def test_a_blob_can_be_streamed_in_and_out_in_any_pieces(blobs: BlobStore) -> None:
    parts = [os.urandom(size) for size in (0, 1, 3 << 20, 700_001, 12)]
    stored = await blobs.put("a/stream", pieces(*parts))

    whole = b"".join(parts)
    assert stored.size == len(whole)
    assert await read(blobs, "a/stream") == whole


@pytest.mark.parametrize("data", [b"", pieces()])
async def test_an_empty_blob_is_a_blob(blobs: BlobStore, data: bytes | AsyncIterator[bytes]) -> None:
    assert (await blobs.put("a/empty", data)).size == 0
    assert await blobs.get("a/empty") == b""
    assert await read(blobs, "a/empty") == b""


@pytest.mark.parametrize(
    ("start", "end", "expected"),
    [
        (0, 3, b"012"),
        (3, None, b"3456789"),
        (9, 10, b"9"),
        (5, 100, b"56789"),
        (4, 4, b""),
        (10, None, b""),
        (50, 60, b""),
        (6, 2, b""),
    ],
)
async def test_a_range_gives_those_bytes_and_nothing_beyond_the_end(
    blobs: BlobStore, start: int, end: int | None, expected: bytes
) -> None:
    await blobs.put("digits", b"0123456789")
    assert await read(blobs, "digits", start, end) == expected


async def test_writing_again_replaces_the_whole_blob(blobs: BlobStore) -> None:
    await blobs.put("a/b", b"long first version")
    await blobs.put("a/b", pieces(b"short"))
    assert await blobs.get("a/b") == b"short"
    assert await keys(blobs, "a") == ["a/b"]


async def test_a_missing_blob_is_named_in_the_error(blobs: BlobStore) -> None:
    await blobs.put("a/b/c", b"1")
    for missing in ("a/x", "a", "a/b", "a/b/c/d", "nowhere/at/all"):
        for ask in (blobs.head, blobs.get, lambda key: read(blobs, key)):
            with pytest.raises(NotFoundError) as raised:
                await ask(missing)
            assert raised.value.details["id"] == missing


async def test_deleting_is_quiet_about_what_is_not_there(blobs: BlobStore) -> None:
    await blobs.put("a/1", b"1")
    await blobs.put("a/2", b"2")
    await blobs.delete("a/1", "a/none", "b/none", "a", "a/2/below")
    await blobs.delete()
    assert await keys(blobs, "") == ["a/2"]


async def test_deleting_a_prefix_takes_all_below_it_and_nothing_beside_it(blobs: BlobStore) -> None:
    for key in ("n/a/1", "n/a/x/y/2", "n/ab/3", "n/a.txt", "m/4"):
        await blobs.put(key, b"1")
    assert await blobs.delete_prefix("n/a") == 2
    assert await keys(blobs, "") == ["m/4", "n/a.txt", "n/ab/3"]
    assert await blobs.delete_prefix("n/a/") == 0
    assert await blobs.delete_prefix("m/4") == 0
    assert await blobs.delete_prefix("") == 3
    assert await keys(blobs, "") == []


async def test_a_list_has_every_blob_below_the_prefix_with_its_size(blobs: BlobStore) -> None:
    for number in range(120):
        await blobs.put(f"n/{number % 7}/{number}", b"x" * number)
    await blobs.put("nn/other", b"1")

    found = {blob.key: blob.size async for blob in blobs.list("n")}
    assert found == {f"n/{number % 7}/{number}": number for number in range(120)}
    assert await keys(blobs, "n/3/") == sorted(f"n/3/{number}" for number in range(3, 120, 7))
    assert await keys(blobs, "none") == []


@pytest.mark.parametrize(
    "name",
    [
        "with space.txt",
        "Grüße aus Köln.pdf",
        "日本語のファイル.jpg",
        "e\u0301 decomposed",
        "🎬 clip.mp4",
        "100%.txt",
        "%2e%2e%2fetc",
        "%00",
        "draft#1",
        "a#12.txt",
        "tab\tline\nbell\x07del\x7fnel\x85",
        "back\\slash",
        '<>:"|?*^`{}[]~',
        "~",
        "...",
        ".hidden",
        "-rf",
        "CON",
    ],
)
async def test_any_name_works(blobs: BlobStore, name: str) -> None:
    key = f"ns/obj/{name}"
    assert (await blobs.put(key, name.encode())).key == key
    assert await blobs.get(key) == name.encode()
    assert await keys(blobs, "ns/obj") == [key]
    await blobs.delete(key)
    assert await keys(blobs, "") == []


@pytest.mark.parametrize(
    "name", ["x" * 255, "日" * 300 + ".jpeg", "%" * 250, "\x01é#" * 90 + ".a.b", "." + "y" * 500]
)
async def test_a_long_name_is_cut_keeps_its_extension_and_stays_itself(blobs: BlobStore, name: str) -> None:
    key, sibling = f"ns/{name}", f"ns/A{name}"
    stored = await blobs.put(key, b"1")
    await blobs.put(sibling, b"2")

    assert stored.key != key
    assert len(stored.key.removeprefix("ns/").encode()) <= NAME_BYTES
    if "." in name[1:]:
        assert stored.key.rpartition(".")[2] == name.rpartition(".")[2]
    assert canonical_key(stored.key) == stored.key
    assert await blobs.get(key) == await blobs.get(stored.key) == b"1"
    assert await blobs.get(sibling) == b"2"
    assert stored.key in await keys(blobs, "ns")


@pytest.mark.parametrize(
    "key",
    [
        "",
        "/",
        "/etc/passwd",
        "..",
        ".",
        "../up",
        "a/../../up",
        "a/./b",
        "a//b",
        "a/",
        "a\0b",
        "a/\ud800",
        ".partial/x",
        "/".join(["x" * 100] * 11),
    ],
)
async def test_a_key_that_could_lead_elsewhere_is_refused_everywhere(blobs: BlobStore, key: str) -> None:
    with pytest.raises(ValidationError, match="key"):
        await blobs.put(key, b"1")
    for ask in (blobs.head, blobs.get, blobs.delete, lambda key: read(blobs, key)):
        with pytest.raises(ValidationError, match="key"):
            await ask(key)
    if key not in {"", "/", "a/"}:
        with pytest.raises(ValidationError, match="key"):
            await blobs.delete_prefix(key)
        with pytest.raises(ValidationError, match="key"):
            await keys(blobs, key)
    assert await keys(blobs, "") == []


async def test_a_write_that_fails_half_way_changes_nothing(blobs: BlobStore) -> None:
    await blobs.put("a/b", b"as it was")

    async def breaks() -> AsyncIterator[bytes]:
        yield b"x" * (3 << 20)
        raise PayloadTooLargeError("too much")

    for key in ("a/b", "a/new"):
        with pytest.raises(PayloadTooLargeError):
            await blobs.put(key, breaks())
    assert await blobs.get("a/b") == b"as it was"
    assert await keys(blobs, "") == ["a/b"]


async def test_an_error_of_the_feeder_is_not_taken_for_one_of_the_store(blobs: BlobStore) -> None:
    async def lost() -> AsyncIterator[bytes]:
        yield b"x"
        raise ConnectionResetError("the client went away")

    with pytest.raises(ConnectionResetError):
        await blobs.put("a/b", lost())


async def test_a_cancelled_write_leaves_nothing(blobs: BlobStore) -> None:
    async def endless() -> AsyncIterator[bytes]:
        while True:
            yield b"x" * (1 << 20)
            await asyncio.sleep(0.05)

    writing = asyncio.create_task(blobs.put("a/b", endless()))
    await asyncio.sleep(0.2)
    assert await keys(blobs, "") == []
    writing.cancel()
    with pytest.raises(asyncio.CancelledError):
        await writing
    assert await keys(blobs, "") == []


async def test_readers_of_a_blob_that_is_rewritten_see_one_version_whole(blobs: BlobStore) -> None:
    versions = [bytes([number]) * 400_000 for number in range(8)]
    await blobs.put("a", versions[0])

    async def rewrite() -> None:
        for version in versions * 3:
            await blobs.put("a", pieces(version[:150_000], version[150_000:]))

    writing = asyncio.create_task(rewrite())
    while not writing.done():
        assert await blobs.get("a") in versions
    await writing


async def test_many_writers_at_once_do_not_disturb_each_other(blobs: BlobStore) -> None:
    async def one(number: int) -> None:
        await blobs.put(f"a/{number % 5}/{number}", str(number).encode())
        if number % 2:
            await blobs.delete(f"a/{number % 5}/{number}")

    await asyncio.gather(*(one(number) for number in range(200)))
    assert await keys(blobs, "a") == sorted(f"a/{number % 5}/{number}" for number in range(0, 200, 2))


# The folder engine alone.


async def test_no_empty_folders_and_no_partial_files_stay_behind(tmp_path: Path) -> None:
    store = FolderBlobStore(tmp_path)
    for key in ("a/b/c/1", "a/b/2", "x/y/3"):
        await store.put(key, b"1")
    await store.delete("a/b/c/1")
    assert not (tmp_path / "a/b/c").exists()
    await store.delete_prefix("a/b")
    await store.delete_prefix("x/y")
    assert everything(tmp_path) == [tmp_path / ".partial"]


async def test_a_full_disk_is_said_to_be_one_and_no_path_is_told(tmp_path: Path) -> None:
    store = FolderBlobStore(tmp_path / "secret-place")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    for data in (b"x" * 100_000, pieces(b"x" * 100_000)):
        resource.setrlimit(resource.RLIMIT_FSIZE, (1000, hard))
        try:
            with pytest.raises(UnavailableError) as raised:
                await store.put("a/b", data)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        assert "larger than the system allows" in raised.value.message
        assert "secret-place" not in raised.value.message
    assert await keys(store, "") == []
    assert list((tmp_path / "secret-place/.partial").iterdir()) == []


async def test_a_folder_that_cannot_be_written_is_unavailable(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises((UnavailableError, ValidationError)):
        FolderBlobStore(tmp_path / "file" / "blobs")


async def test_a_key_above_or_below_a_blob_is_refused(tmp_path: Path) -> None:
    store = FolderBlobStore(tmp_path)
    await store.put("a/b", b"1")
    for key in ("a/b/c", "a"):
        with pytest.raises(ValidationError, match="another blob"):
            await store.put(key, b"2")
    assert await keys(store, "") == ["a/b"]
    assert list((tmp_path / ".partial").iterdir()) == []


async def test_what_a_killed_writer_left_is_removed_a_day_later_and_not_before(tmp_path: Path) -> None:
    FolderBlobStore(tmp_path)
    yesterday = time.time() - 25 * 3600
    for name, moment in (("old", yesterday), ("new", time.time())):
        (tmp_path / ".partial" / name).write_bytes(b"x")
        os.utime(tmp_path / ".partial" / name, (moment, moment))
    (tmp_path / ".partial" / "folder" / "deep").mkdir(parents=True)
    os.utime(tmp_path / ".partial" / "folder", (yesterday, yesterday))

    store = FolderBlobStore(tmp_path)
    assert [entry.name for entry in (tmp_path / ".partial").iterdir()] == ["new"]
    assert await keys(store, "") == []


WRITER = """
import asyncio, os, pathlib, sys
from lamina.stores.blobs.cloud import CloudBlobStore
from lamina.stores.blobs.folder import FolderBlobStore

async def main():
    store = FolderBlobStore(pathlib.Path(sys.argv[1]))
    async def data(number):
        for _ in range(8):
            yield bytes([number % 256]) * 65536
            await asyncio.sleep(0)
    for number in range(100_000):
        await store.put(f"a/{number}", data(number))
        print(number, flush=True)

asyncio.run(main())
"""


async def test_a_killed_writer_leaves_whole_blobs_and_every_acknowledged_one(tmp_path: Path) -> None:
    writer = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", WRITER, str(tmp_path)),
        stdout=asyncio.subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )
    assert writer.stdout is not None
    while int(await writer.stdout.readline()) < 20:
        pass
    writer.kill()
    rest = (await writer.stdout.read()).split()
    await writer.wait()
    acknowledged = int(rest[-1]) if rest else 20

    store = FolderBlobStore(tmp_path)
    found = {blob.key: blob.size async for blob in store.list("")}
    assert set(found.values()) == {8 * 65536}
    assert all(f"a/{number}" in found for number in range(acknowledged + 1))
    assert set(await store.get(f"a/{acknowledged}")) == {acknowledged % 256}

"""A blob's `data` is read as its type asks, and bad data is named for what it is."""

import asyncio
import base64
import hashlib
import time
from collections.abc import AsyncIterator
from typing import Literal

import pytest

from lamina.core.errors import NotEnabledError, ValidationError
from lamina.core.fields import FieldType
from lamina.core.types import Json
from lamina.ingest.fetch import Fetcher
from lamina.ingest.fetch_settings import FetchSettings
from lamina.ingest.values import Resolved, resolve
from tests.unit.files import FILES, PNG, XLSX, XLSX_TYPE

PNG64 = base64.b64encode(PNG).decode()


@pytest.fixture(scope="module")
def fetcher() -> Fetcher:
    return Fetcher(FetchSettings(private_addresses=True, timeout=5, max_bytes=1_000_000))


@pytest.fixture
async def site() -> AsyncIterator[str]:
    """A server that sends back what its path asks for."""
    pages = {
        "/photo.png": ("image/png", PNG),
        "/raw": ("application/octet-stream", PNG),
        "/page": ("text/html; charset=iso-8859-1", "<html>Grüße".encode("latin-1")),
        "/data.json": ("application/json", b'{"a": [1, 2]}'),
        "/fake.png": ("image/png", b"<html>not found</html>"),
        "/rows.csv": ("text/csv", b"a,b\n1,2\n"),
        "/sheet.xlsx": ("application/octet-stream", XLSX),
    }

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        path = (await reader.readuntil(b"\r\n\r\n")).split()[1].decode().partition("?")[0]
        mime_type, body = pages[path]
        head = f"HTTP/1.1 200 OK\r\nContent-Type: {mime_type}\r\nContent-Length: {len(body)}\r\n\r\n"
        writer.write(head.encode() + body)
        await writer.drain()
        writer.close()

    async with await asyncio.start_server(answer, "127.0.0.1", 0) as server:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"


async def read(data: Json, type: str, fetcher: Fetcher, metadata: dict[str, Json] | None = None) -> Resolved:
    return await resolve(
        data, type=FieldType.read(type), field="blobs.0.data", fetcher=fetcher, metadata=metadata
    )


PNG_FORMS: list[Json] = [
    PNG64,
    PNG64 + "\n",
    "\r\n".join(PNG64[start : start + 76] for start in range(0, len(PNG64), 76)),
    base64.urlsafe_b64encode(PNG).decode().rstrip("="),
    f"data:image/png;base64,{PNG64}",
    f"DATA:image/png;name=a.png;base64,{PNG64}",
    f"data:;base64,{PNG64.replace('=', '%3D')}",
    {"base64": PNG64},
    {"base64": PNG64, "mime_type": "image/png", "filename": "folder/photo.png"},
    {"url": f"data:image/png;base64,{PNG64}"},
]


@pytest.mark.parametrize("data", PNG_FORMS)
async def test_a_file_is_the_same_in_every_form(fetcher: Fetcher, data: Json) -> None:
    found = await read(data, "image", fetcher)
    assert found.content == PNG
    assert found.inline is None
    assert found.mime_type == "image/png"
    assert found.size_bytes == len(PNG)
    assert found.sha256 == hashlib.sha256(PNG).hexdigest()
    assert found.filename == ("photo.png" if isinstance(data, dict) and "filename" in data else None)


async def test_a_file_behind_a_url_is_the_same_too_and_named_by_it(fetcher: Fetcher, site: str) -> None:
    forms: list[tuple[Json, str]] = [
        (f"{site}/photo.png", "photo.png"),
        (f"  {site}/photo.png?size=large#top\n", "photo.png"),
        ({"url": f"{site}/photo.png"}, "photo.png"),
        ({"url": f"{site}/raw", "filename": "mine.png", "mime_type": "image/png"}, "mine.png"),
        ({"filename": f"{site}/photo.png", "mime_type": "image/png"}, "photo.png"),
        (f"{site}/raw", "raw"),
    ]
    for data, filename in forms:
        found = await read(data, "image", fetcher)
        assert (found.content, found.filename, found.mime_type) == (PNG, filename, "image/png")


async def test_a_name_in_the_metadata_is_used_when_the_data_has_none(fetcher: Fetcher) -> None:
    found = await read(PNG64, "image", fetcher, metadata={"filename": "../../shown.png", "other": 1})
    assert found.filename == "shown.png"
    found = await read(
        {"base64": PNG64, "filename": "own.png"}, "image", fetcher, metadata={"filename": "x.png"}
    )
    assert found.filename == "own.png"


@pytest.mark.parametrize(
    "text",
    [
        "Hello",
        "Grüße 日本語 🎬",
        "",
        "https://example.com is a fine site",
        "see https://example.com",
        "http is a protocol",
        "data: the new oil",
        "data:,short",
        "s3://bucket holds more than one",
        "ftp://example.com/file",
        "file:///etc/passwd",
        PNG64,
        "line one\nline two",
    ],
)
async def test_text_is_itself(fetcher: Fetcher, text: str) -> None:
    found = await read(text, "text", fetcher)
    assert found.content is None
    assert found.inline == text
    assert found.mime_type == "text/plain"
    assert found.size_bytes == len(text.encode())
    assert found.sha256 == hashlib.sha256(text.encode()).hexdigest()


async def test_text_comes_from_uris_urls_and_base64_in_its_charset(fetcher: Fetcher, site: str) -> None:
    wide = base64.b64encode("Grüße".encode("utf-16")).decode()
    forms: list[tuple[Json, str, str]] = [
        ("data:text/plain,Gr%C3%BC%C3%9Fe", "Grüße", "text/plain"),
        ("data:text/plain;charset=latin-1,Gr%FC%DFe", "Grüße", "text/plain"),
        ("data:text/markdown;base64,IyBIaQ==", "# Hi", "text/markdown"),
        ({"base64": wide}, "Grüße", "text/plain"),
        ({"base64": "77u/SGk=", "filename": "a.md"}, "Hi", "text/markdown"),
        (f"{site}/page", "<html>Grüße", "text/html"),
        (f"{site}/data.json", '{"a": [1, 2]}', "application/json"),
    ]
    for data, text, mime_type in forms:
        found = await read(data, "text", fetcher)
        assert (found.content, found.inline, found.mime_type) == (None, text, mime_type)
        assert found.size_bytes == len(text.encode())


async def test_a_string_stays_a_string_whatever_it_looks_like(fetcher: Fetcher) -> None:
    for text in ("https://example.com/a.png", "s3://bucket/key", f"data:image/png;base64,{PNG64}", "42"):
        assert (await read(text, "string", fetcher)).inline == text


@pytest.mark.parametrize(
    ("type", "data", "expected"),
    [
        ("number", 3.5, 3.5),
        ("number", 3, 3),
        ("number", "3.5e2", 350.0),
        ("float", "-7", -7),
        ("integer", 42, 42),
        ("integer", 42.0, 42),
        ("integer", " 42 ", 42),
        ("boolean", False, False),
        ("boolean", "TRUE", True),
        ("date", "2026-01-31", "2026-01-31"),
        ("datetime", "2026-01-31T12:00:00Z", "2026-01-31T12:00:00Z"),
        ("datetime", "2026-01-31T12:00:00+02:00", "2026-01-31T12:00:00+02:00"),
        ("object", {"url": "https://example.com"}, {"url": "https://example.com"}),
        ("object", {"base64": "not really"}, {"base64": "not really"}),
        ("json", {"a": None}, {"a": None}),
        ("json", [1, 2], [1, 2]),
        ("JSON", '{"a": 1}', {"a": 1}),
        ("object", "data:application/json,%7B%22a%22:1%7D", {"a": 1}),
        ("array", [1, "a", None], [1, "a", None]),
        ("array", "[1, 2]", [1, 2]),
        ("array", {"base64": "WzEsMl0="}, [1, 2]),
    ],
)
async def test_values_are_read_as_their_type(fetcher: Fetcher, type: str, data: Json, expected: Json) -> None:
    found = await read(data, type, fetcher)
    assert found.inline == expected
    assert found.inline.__class__ is expected.__class__
    assert found.content is None
    assert found.mime_type == "application/json"


async def test_an_object_can_lie_behind_a_url(fetcher: Fetcher, site: str) -> None:
    assert (await read(f"{site}/data.json", "object", fetcher)).inline == {"a": [1, 2]}
    with pytest.raises(ValidationError, match="must be of type array"):
        await read(f"{site}/data.json", "array", fetcher)


async def test_a_spreadsheet_may_be_a_csv_when_it_is_said_to_be(fetcher: Fetcher, site: str) -> None:
    assert (await read(f"{site}/rows.csv", "excel", fetcher)).mime_type == "text/csv"
    assert (await read(f"{site}/sheet.xlsx", "excel", fetcher)).mime_type == XLSX_TYPE
    assert (await read("data:text/csv,a%2Cb", "excel", fetcher)).content == b"a,b"
    with pytest.raises(ValidationError, match="text/plain"):
        await read({"base64": base64.b64encode(b"plain words").decode()}, "excel", fetcher)


def encoded(name: str) -> str:
    return base64.b64encode(FILES[name][0]).decode()


@pytest.mark.parametrize(
    ("type", "data", "claimed", "found"),
    [
        ("video", PNG64, "video", "image/png"),
        ("image", encoded("mp4"), "image", "video/mp4"),
        ("image", encoded("pdf"), "image", "application/pdf"),
        ("image", encoded("html"), "image", "text/html"),
        ("audio", PNG64, "audio", "image/png"),
        ("video", encoded("m4a"), "video", "audio/mp4"),
        ("pdf", base64.b64encode(b"just some text").decode(), "pdf", "text/plain"),
        ("pdf", encoded("docx"), "pdf", "wordprocessingml"),
        ("excel", encoded("docx"), "excel", "wordprocessingml"),
        ("excel", encoded("zip"), "excel", "application/zip"),
        ("image", encoded("windows program"), "image", "application/x-msdownload"),
        ("image", encoded("random"), "image", "no format that is known"),
        ("text", f"data:text/plain;base64,{PNG64}", "text", "image/png"),
        ("text", {"base64": encoded("pdf")}, "text", "application/pdf"),
        ("string", {"base64": PNG64}, "string", "image/png"),
        ("object", f"data:application/json;base64,{PNG64}", "object", "image/png"),
        ("image", f"data:video/mp4;base64,{PNG64}", "video/mp4", "image/png"),
        ("image", {"base64": PNG64, "mime_type": "application/pdf"}, "application/pdf", "image/png"),
    ],
)
async def test_bytes_that_are_not_what_they_claim_are_named(
    fetcher: Fetcher, type: str, data: Json, claimed: str, found: str
) -> None:
    with pytest.raises(ValidationError) as raised:
        await read(data, type, fetcher)
    assert f"is said to be {claimed}, but" in raised.value.message
    assert found in raised.value.message
    assert "Accepted for" in raised.value.message
    assert location(raised.value) == ["blobs", "0", "data"]


def location(error: ValidationError) -> Json:
    errors = error.details["validation_errors"]
    assert isinstance(errors, list) and isinstance(errors[0], dict)
    return [str(step) for step in errors[0]["location"][1:]]


async def test_an_error_page_in_place_of_an_image_is_noticed(fetcher: Fetcher, site: str) -> None:
    with pytest.raises(ValidationError, match="but its bytes are text/html"):
        await read(f"{site}/fake.png", "image", fetcher)
    with pytest.raises(ValidationError, match=r"serves text/html\. Accepted: image/\*"):
        await read(f"{site}/page", "image", fetcher)


@pytest.mark.parametrize("type", ["image", "audio", "video", "pdf", "excel"])
@pytest.mark.parametrize(
    "data", ["not base64!", "abcde", "QUJD*", "ÄÖÜ=", "QQ==QQ==", "=", {"base64": "%%%"}]
)
async def test_broken_base64_is_named_and_told_what_is_accepted(
    fetcher: Fetcher, type: str, data: Json
) -> None:
    with pytest.raises(ValidationError, match=f"base64|no bytes.*Accepted for {type}: ") as raised:
        await read(data, type, fetcher)
    expected = ["blobs", "0", "data", "base64"] if isinstance(data, dict) else ["blobs", "0", "data"]
    assert location(raised.value) == expected


@pytest.mark.parametrize(
    ("type", "data"),
    [
        ("image", ""),
        ("image", 5),
        ("image", True),
        ("image", ["a"]),
        ("image", None),
        ("image", {}),
        ("image", {"base64": PNG64, "url": "https://example.com"}),
        ("image", {"base64": 5}),
        ("image", {"url": 5}),
        ("image", {"url": "ftp://example.com/a.png"}),
        ("image", {"url": "javascript:alert(1)"}),
        ("image", {"filename": "photo.png"}),
        ("image", {"base64": PNG64, "filename": ["a"]}),
        ("image", {"base64": PNG64, "mime_type": 7}),
        ("image", "data:image/png;base64,"),
        ("image", "data:image/png;base64,???"),
        ("image", "ftp://example.com/a.png"),
        ("image", "file:///etc/passwd"),
        ("image", "gs://bucket/a.png"),
        ("text", 5),
        ("text", ["a"]),
        ("text", None),
        ("text", {"text": "hi"}),
        ("text", "lone \ud800 surrogate"),
        ("text", "data:text/plain;charset=ascii,Gr%FC"),
        ("text", "data:text/plain;charset=nonsense,Gr"),
        ("text", {"base64": "4fXs6w=="}),
        ("string", 5),
        ("string", None),
        ("number", "five"),
        ("number", "nan"),
        ("number", "1e999"),
        ("number", float("inf")),
        ("number", float("nan")),
        ("number", True),
        ("number", [1]),
        ("number", {"url": "https://example.com"}),
        ("number", 10**400),
        ("number", "٣"),
        ("integer", 1.5),
        ("integer", "1.5"),
        ("integer", 10**400),
        ("integer", "9" * 5000),
        ("boolean", 1),
        ("boolean", "yes"),
        ("date", "31.01.2026"),
        ("date", 20260131),
        ("datetime", "soon"),
        ("object", 5),
        ("object", "no json"),
        ("object", '"text"'),
        ("object", {"big": 10**30}),
        ("object", {"bad": "\ud800"}),
        ("array", {"a": 1}),
        ("array", '{"a": 1}'),
        ("array", "https:// nothing"),
    ],
)
async def test_wrong_data_is_refused_at_its_field(fetcher: Fetcher, type: str, data: Json) -> None:
    with pytest.raises(ValidationError) as raised:
        await read(data, type, fetcher)
    where = location(raised.value)
    assert isinstance(where, list)
    assert where[:3] == ["blobs", "0", "data"]


def nested(kind: Literal["list", "text"]) -> Json:
    value: Json = 1
    for _ in range(2000):
        value = [value]
    return value if kind == "list" else "[" * 2000 + "]" * 2000


@pytest.mark.parametrize("kind", ["list", "text"])
async def test_json_that_is_nested_too_deep_is_refused(
    fetcher: Fetcher, kind: Literal["list", "text"]
) -> None:
    with pytest.raises(ValidationError):
        await read(nested(kind), "array", fetcher)


@pytest.mark.parametrize("type", ["image", "text", "array"])
@pytest.mark.parametrize("data", ["s3://bucket/key.png", {"url": "S3://bucket/key"}])
async def test_an_s3_source_says_what_it_would_need(fetcher: Fetcher, type: str, data: Json) -> None:
    with pytest.raises(NotEnabledError, match="storage connection"):
        await read(data, type, fetcher)


@pytest.mark.parametrize(
    "data", ["A" * 2_000_000, {"base64": "A" * 2_000_000}, "data:image/png;base64," + "A" * 2_000_000]
)
async def test_too_many_bytes_are_refused(fetcher: Fetcher, data: Json) -> None:
    with pytest.raises(ValidationError, match="more than the 1000000 bytes"):
        await read(data, "image", fetcher)
    with pytest.raises(ValidationError, match="more than the 1000000 bytes"):
        await read("a" * 1_000_001, "text", fetcher)


async def test_a_large_file_is_read_as_well() -> None:
    content = PNG + b"\0" * (3 << 20)
    fetcher = Fetcher(FetchSettings())
    found = await read(base64.b64encode(content).decode(), "image", fetcher)
    assert found.content == content
    assert found.sha256 == hashlib.sha256(content).hexdigest()


async def test_short_text_costs_almost_nothing(fetcher: Fetcher) -> None:
    text = "A short description of a product, as most of them are. " * 4
    rounds = 500
    best = float("inf")
    for _ in range(5):
        started = time.perf_counter()
        for _ in range(rounds):
            await resolve(text, type=FieldType.TEXT, field="blobs.0.data", fetcher=fetcher)
        best = min(best, (time.perf_counter() - started) / rounds)
    assert best < 50e-6

"""Presigned URLs open one file, for one purpose, for a while."""

import base64
import re
import time
from typing import Any
from urllib.parse import parse_qs, quote, unquote, urlencode, urlsplit

import httpx
import pytest

from lamina.ingest.presign import Presigner
from tests.security import matrix
from tests.security.estates import LARGEST, TEXT, Estate, Neighbours
from tests.steps import ok, refused, unique

pytestmark = pytest.mark.xdist_group("security-neighbours")  # one server for all of them


@pytest.fixture
def home(neighbours: Neighbours) -> Estate:
    """The estate whose files are wanted."""
    return neighbours.home


@pytest.fixture
def nobody(neighbours: Neighbours) -> httpx.Client:
    """Whoever got hold of a URL."""
    return neighbours.nobody


def store(api: httpx.Client, content: bytes, filename: str, type: str = "text", **data: Any) -> str:
    """Put a file into a new object; the URL to read it."""
    schema = {"properties": {"file": {"type": type}}}
    asked = {"bucket_name": unique("files"), "bucket_schema": schema}
    bucket = ok(api.post("/v1/buckets", json=asked))["bucket_id"]
    encoded = {"base64": base64.b64encode(content).decode(), "filename": filename, **data}
    blob = {"property": "file", "type": type, "data": encoded}
    made = ok(api.post(f"/v1/buckets/{bucket}/objects", json={"blobs": [blob]}))
    return read_url(api, bucket, made["object_id"])


def read_url(api: httpx.Client, bucket: str, object_id: str) -> str:
    shown = ok(api.get(f"/v1/buckets/{bucket}/objects/{object_id}", params={"return_presigned_urls": True}))
    url: str = shown["blobs"][0]["presigned_url"]
    return url


@pytest.fixture(scope="module")
def url(neighbours: Neighbours) -> str:
    """Opens TEXT."""
    return store(neighbours.home.api, TEXT, "notes.txt")


def changed(url: str, **query: str | None) -> str:
    """The URL with other query parameters; None takes one away."""
    parts = urlsplit(url)
    old = {name: values[0] for name, values in parse_qs(parts.query).items()}
    new = {name: value for name, value in {**old, **query}.items() if value is not None}
    return f"{parts.scheme}://{parts.netloc}{parts.path}?{urlencode(new, quote_via=quote)}"


def resigned(neighbours: Neighbours, url: str, **grant: Any) -> str:
    """What the server would have signed, with the secret of its data folder."""
    secret = (neighbours.server.data_dir / "presign.key").read_bytes()
    clock = grant.pop("clock", time.time)
    key = unquote(urlsplit(url).path.removeprefix("/storage/"))
    wish = {"method": "GET", "expires_in": 60, **grant}
    return Presigner(secret, neighbours.server.url, clock=clock).url(wish.pop("key", key), **wish)


# Signatures


def test_a_url_opens_its_file_without_a_key(url: str, nobody: httpx.Client) -> None:
    answer = nobody.get(url)
    assert answer.status_code == 200
    assert answer.content == TEXT
    assert answer.headers["content-type"].startswith("text/plain")
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["accept-ranges"] == "bytes"
    assert answer.headers["content-disposition"] == "inline; filename*=UTF-8''notes.txt"


def test_a_url_that_was_tampered_with_opens_nothing(url: str, nobody: httpx.Client) -> None:
    signature = parse_qs(urlsplit(url).query)["signature"][0]
    other = "0" if signature[0] != "0" else "1"
    parts = urlsplit(url)
    for tampered in (
        changed(url, signature=None),
        changed(url, signature=""),
        changed(url, signature=other + signature[1:]),
        changed(url, signature=signature[:-1]),
        changed(url, signature=signature + "0"),
        changed(url, signature=signature.upper()),
        changed(url, signature="0" * 64),
        changed(url, signature="💥"),
        changed(url, expires=None),
        changed(url, expires="99999999999"),
        changed(url, expires="-1"),
        changed(url, expires="1e99"),
        changed(url, expires="9" * 5_000),
        changed(url, expires=" 99999999999"),
        changed(url, expires="٩٩٩٩٩٩٩٩٩٩٩"),
        changed(url, method=None),
        changed(url, method="PUT"),
        changed(url, method="get"),
        changed(url, filename="other.txt"),
        changed(url, filename=None),
        changed(url, content_type="text/html"),
        changed(url, max_size="5"),
        url.replace("notes.txt", "others.txt"),
        url.replace("/storage/", "/storage//"),
        url.replace("/storage/", "/storage/%2e/"),
        url.replace("notes.txt", "..%2fnotes.txt"),
        url.replace("notes.txt", "notes.txt/"),
        url.replace("notes.txt", "notes.txt%00"),
        f"{parts.scheme}://{parts.netloc}{parts.path}",
        f"{parts.scheme}://{parts.netloc}/storage/?{parts.query}",
        f"{parts.scheme}://{parts.netloc}/storage/admin.key?{parts.query}",
        f"{parts.scheme}://{parts.netloc}/storage/..%2f..%2fadmin.key?{parts.query}",
    ):
        answer = nobody.get(tampered)
        assert answer.status_code in {403, 404, 422}, (tampered, answer.status_code)
        refused(answer, answer.status_code)
        assert TEXT[:50] not in answer.content


def test_an_admin_key_opens_no_file(url: str, home: Estate) -> None:
    parts = urlsplit(url)
    refused(home.api.get(f"{parts.scheme}://{parts.netloc}{parts.path}"), 403, "ForbiddenError")


def test_a_url_ends_with_its_time(neighbours: Neighbours, url: str, nobody: httpx.Client) -> None:
    ended = resigned(neighbours, url, clock=lambda: time.time() - 61)
    error = refused(nobody.get(ended), 403, "ForbiddenError")
    assert "expired" in error["message"]
    assert nobody.get(resigned(neighbours, url)).content == TEXT
    expires = int(parse_qs(urlsplit(url).query)["expires"][0])
    assert 3_500 < expires - time.time() <= 3_600


def test_a_url_for_reading_writes_nothing(url: str, nobody: httpx.Client) -> None:
    for method in ("PUT", "POST", "PATCH", "DELETE"):
        answer = nobody.request(method, url, content=b"overwritten")
        refused(answer, answer.status_code)
        assert answer.status_code in {403, 405}
    assert nobody.get(url).content == TEXT


def test_a_url_signed_with_another_secret_opens_nothing(url: str, nobody: httpx.Client) -> None:
    key = unquote(urlsplit(url).path.removeprefix("/storage/"))
    base = f"{urlsplit(url).scheme}://{urlsplit(url).netloc}"
    for secret in (b"\0" * 32, b"sk_" + b"0" * 32):
        forged = Presigner(secret, base).url(key, method="GET", expires_in=60)
        refused(nobody.get(forged), 403, "ForbiddenError")


def test_the_secret_is_the_owners_only(neighbours: Neighbours) -> None:
    assert (neighbours.server.data_dir / "presign.key").stat().st_mode & 0o777 == 0o600
    assert len((neighbours.server.data_dir / "presign.key").read_bytes()) >= 32


# Ranges


@pytest.mark.parametrize(
    ("header", "first", "last"),
    [
        ("bytes=0-0", 0, 0),
        ("bytes=0-99", 0, 99),
        ("bytes=100-199", 100, 199),
        ("bytes=1000-", 1000, len(TEXT) - 1),
        ("bytes=-10", len(TEXT) - 10, len(TEXT) - 1),
        ("bytes=-999999999", 0, len(TEXT) - 1),
        (f"bytes={len(TEXT) - 1}-", len(TEXT) - 1, len(TEXT) - 1),
        ("bytes=0-999999999", 0, len(TEXT) - 1),
    ],
)
def test_a_range_is_answered_with_just_that(
    url: str, nobody: httpx.Client, header: str, first: int, last: int
) -> None:
    answer = nobody.get(url, headers={"Range": header})
    assert answer.status_code == 206
    assert answer.content == TEXT[first : last + 1]
    assert answer.headers["content-range"] == f"bytes {first}-{last}/{len(TEXT)}"
    assert int(answer.headers["content-length"]) == last - first + 1


@pytest.mark.parametrize(
    "header",
    [f"bytes={len(TEXT)}-", "bytes=999999999-", "bytes=999999998-999999999", "bytes=-0", "bytes=5-4"],
)
def test_a_range_outside_of_the_file_is_416(url: str, nobody: httpx.Client, header: str) -> None:
    answer = nobody.get(url, headers={"Range": header})
    refused(answer, 416)
    assert answer.headers["content-range"] == f"bytes */{len(TEXT)}"


@pytest.mark.parametrize(
    "header",
    [
        "bytes=0-1,5-9", "bytes=", "bytes=-", "bytes=a-b", "lines=0-5", "bytes 0-5", "bytes=0-5-9", "0-5",
        "bytes=--5",
        "bytes=0x0-0xf", "bytes=1.0-2", f"bytes=0-{'9' * 5_000}", f"bytes={'9' * 5_000}-",
        f"bytes=-{'9' * 5_000}",
        "bytes=" + ",".join(f"{n}-{n}" for n in range(1_000)),
    ],
    ids=lambda one: one[:20],
)  # fmt: skip
def test_a_range_that_is_none_is_no_failure(url: str, nobody: httpx.Client, header: str) -> None:
    answer = nobody.get(url, headers={"Range": header})
    if answer.status_code == 200:
        assert answer.content == TEXT
    elif answer.status_code != 206:
        assert answer.status_code in {400, 416}, answer.text
        refused(answer, answer.status_code)


def test_a_head_tells_of_the_file_without_it(url: str, nobody: httpx.Client) -> None:
    head, whole = nobody.head(url), nobody.get(url)
    assert head.status_code == 200
    assert head.content == b""
    for name in ("content-length", "content-type", "content-disposition", "etag", "last-modified"):
        assert head.headers[name] == whole.headers[name], name
    part = nobody.head(url, headers={"Range": "bytes=0-9"})
    assert (part.status_code, part.headers["content-length"], part.content) == (206, "10", b"")


# What a browser makes of it


SCRIPT = b"<script>alert(document.domain)</script>"


@pytest.mark.parametrize(
    ("filename", "content"),
    [
        ("page.html", b"<!doctype html><html><body>" + SCRIPT),
        ("page.txt", b"<!doctype html><html><body>" + SCRIPT),
        ("page", b"<html>" + SCRIPT),
        ("picture.png", b"<html>" + SCRIPT),
        ("picture.svg", b'<svg xmlns="http://www.w3.org/2000/svg">' + SCRIPT + b"</svg>"),
        ("picture.svg",
        b'<?xml version="1.0"?><svg xmlns="http://www.w3.org/2000/svg">' + SCRIPT + b"</svg>"),
        ("page.xhtml",
        b'<?xml version="1.0"?><html xmlns="http://www.w3.org/1999/xhtml">' + SCRIPT + b"</html>"),
        ("feed.xml", b'<?xml version="1.0"?><a xmlns:x="http://www.w3.org/1999/xhtml"><x:script/></a>'),
        ("code.js", b"alert(1)"),
        ("page.shtml", b"\n\n  <HTML>" + SCRIPT),
        ("page.htm", b"GIF89a<html>" + SCRIPT),
        ("sheet.css", b"body { background: url('javascript:alert(1)') }"),
    ],
)  # fmt: skip
def test_what_could_run_is_never_shown_in_our_name(
    home: Estate, nobody: httpx.Client, filename: str, content: bytes
) -> None:
    bucket = f"/v1/buckets/{home.ids['bucket_identifier']}"
    for content_type in ("text/html", "text/plain", "image/svg+xml"):
        wish = {**matrix.upload(), "filename": filename, "content_type": content_type, "blob_type": "text"}
        made = ok(home.api.post(f"{bucket}/uploads", json={**wish, "create_object_on_confirm": False}))
        ok(nobody.put(made["presigned_url"], content=content, headers={"Content-Type": content_type}))
        ok(home.api.post(f"{bucket}/uploads/{made['upload_id']}/confirm"))
        shown = ok(
            home.api.get(f"{bucket}/uploads/{made['upload_id']}", params={"return_presigned_urls": True})
        )
        answer = nobody.get(shown["presigned_url"])
        assert answer.content == content
        assert answer.headers["x-content-type-options"] == "nosniff"
        served = answer.headers["content-type"].partition(";")[0]
        inline = answer.headers["content-disposition"].startswith("inline")
        assert not inline or served in {"text/plain", "image/gif", "application/json"}, answer.headers


@pytest.mark.parametrize(
    "filename", ['a"b.txt', "a;b.txt", "a b.txt", "ä💥.txt", "a'b.txt", "a%22b.txt", "a,b=c.txt",
    "x" * 200 + ".txt"]
)  # fmt: skip
def test_a_file_keeps_its_name_and_nothing_more(home: Estate, nobody: httpx.Client, filename: str) -> None:
    answer = nobody.get(store(home.api, TEXT, filename))
    assert answer.content == TEXT
    shown = answer.headers["content-disposition"]
    assert re.fullmatch(r"inline; filename\*=UTF-8''[A-Za-z0-9._~%/-]+", shown), shown
    assert unquote(shown.partition("''")[2]) == filename


# Uploads


def upload(home: Estate, **fields: Any) -> dict[str, Any]:
    made = ok(
        home.api.post(
            f"/v1/buckets/{home.ids['bucket_identifier']}/uploads", json={**matrix.upload(), **fields}
        )
    )
    assert isinstance(made, dict)
    return made


def confirmed(home: Estate, made: dict[str, Any]) -> httpx.Response:
    return home.api.post(
        f"/v1/buckets/{home.ids['bucket_identifier']}/uploads/{made['upload_id']}/confirm", json={}
    )


PLAIN = {"Content-Type": "text/plain"}


def test_a_url_for_writing_reads_nothing(home: Estate, nobody: httpx.Client) -> None:
    made = upload(home)
    ok(nobody.put(made["presigned_url"], content=b"secret", headers=PLAIN))
    for method in ("GET", "HEAD", "POST", "DELETE", "PATCH"):
        answer = nobody.request(method, made["presigned_url"])
        assert answer.status_code in {403, 405}
        assert b"secret" not in answer.content
    refused(nobody.get(changed(made["presigned_url"], method="GET")), 403, "ForbiddenError")


def test_an_upload_takes_the_content_type_that_was_announced(home: Estate, nobody: httpx.Client) -> None:
    made = upload(home)
    for headers in ({"Content-Type": "text/html"}, {"Content-Type": "text/plain; charset=x"}, {}):
        refused(nobody.put(made["presigned_url"], content=b"x", headers=headers), 400, "BadRequestError")
    refused(confirmed(home, made), 400, "BadRequestError")
    ok(nobody.put(made["presigned_url"], content=b"x", headers=PLAIN))
    ok(confirmed(home, made))


def test_an_upload_larger_than_announced_is_refused(home: Estate, nobody: httpx.Client) -> None:
    made = upload(home, file_size_bytes=5)
    refused(nobody.put(made["presigned_url"], content=b"123456", headers=PLAIN), 413, "BadRequestError")
    refused(nobody.put(made["presigned_url"], content=iter([b"123", b"456"]), headers=PLAIN), 413)
    refused(confirmed(home, made), 400, "BadRequestError")
    ok(nobody.put(made["presigned_url"], content=b"12345", headers=PLAIN))
    ok(confirmed(home, made))


def test_an_upload_larger_than_any_file_leaves_nothing(
    neighbours: Neighbours, home: Estate, nobody: httpx.Client
) -> None:
    made = upload(home)
    for content in (b"x" * (LARGEST + 1), iter([b"x" * LARGEST, b"x"])):
        refused(nobody.put(made["presigned_url"], content=content, headers=PLAIN), 413, "BadRequestError")
    assert not [one for one in neighbours.server.data_dir.rglob("*") if made["upload_id"] in str(one)]
    refused(confirmed(home, made), 400, "BadRequestError")


def test_a_confirmed_upload_takes_no_other_bytes(home: Estate, nobody: httpx.Client) -> None:
    made = upload(home)
    ok(nobody.put(made["presigned_url"], content=b"first", headers=PLAIN))
    done = ok(confirmed(home, made))
    refused(nobody.put(made["presigned_url"], content=b"other", headers=PLAIN), 403, "ForbiddenError")
    answer = nobody.get(read_url(home.api, home.ids["bucket_identifier"], done["object_id"]))
    assert answer.content == b"first"


def test_a_cancelled_upload_takes_no_bytes(home: Estate, nobody: httpx.Client) -> None:
    made = upload(home)
    path = f"/v1/buckets/{home.ids['bucket_identifier']}/uploads/{made['upload_id']}"
    assert home.api.delete(path).status_code == 204
    refused(nobody.put(made["presigned_url"], content=b"x", headers=PLAIN), 403, "ForbiddenError")


def test_an_upload_fills_its_own_place_only(home: Estate, nobody: httpx.Client, url: str) -> None:
    made = upload(home)
    query = urlsplit(made["presigned_url"]).query
    for path in (urlsplit(url).path, urlsplit(made["presigned_url"]).path + "x", "/storage/presign.key"):
        answer = nobody.put(f"{path}?{query}", content=b"x", headers=PLAIN)
        refused(answer, 403, "ForbiddenError")
    assert nobody.get(url).content == TEXT


def test_urls_lead_to_the_server_that_was_asked(home: Estate, neighbours: Neighbours, url: str) -> None:
    assert url.startswith(f"{neighbours.server.url}/storage/{home.namespace}/")

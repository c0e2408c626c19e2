"""Presigned URLs allow what they say, for as long as they say, and nothing else."""

from collections.abc import Callable
from urllib.parse import parse_qsl, unquote, urlsplit

import pytest

from lamina.core.errors import ForbiddenError
from lamina.ingest.presign import Grant, Presigner

SECRET = b"a secret of thirty-two bytes, yes"
NOW = 1_800_000_000.0


@pytest.fixture
def clock() -> list[float]:
    return [NOW]


@pytest.fixture
def presigner(clock: list[float]) -> Presigner:
    return Presigner(SECRET, "https://lamina.example/api/", clock=lambda: clock[0])


def taken_apart(url: str) -> tuple[str, dict[str, str]]:
    """Key and query, as a server sees them."""
    parts = urlsplit(url)
    return unquote(parts.path).partition("/storage/")[2], dict(parse_qsl(parts.query, keep_blank_values=True))


def test_a_url_lies_under_the_configured_base_or_the_one_of_the_request(presigner: Presigner) -> None:
    configured = presigner.url("ns/a.txt", method="GET", expires_in=60)
    assert configured.startswith(
        "https://lamina.example/api/storage/ns/a.txt?method=GET&expires=1800000060&signature="
    )
    other = presigner.url("ns/a.txt", method="GET", expires_in=60, base_url="http://10.0.0.5:8000")
    assert other.startswith("http://10.0.0.5:8000/storage/ns/a.txt?")
    presigner.check("GET", *taken_apart(other))


@pytest.mark.parametrize(
    "key", ["ns/a.txt", "ns/b c/100%.txt", "ns/日本?x=1&y#z.jpg", "ns/+plus%2F", 'ns/"q"']
)
def test_a_url_survives_any_key(presigner: Presigner, key: str) -> None:
    url = presigner.url(key, method="GET", expires_in=60, filename="ä & b.txt")
    found, query = taken_apart(url)
    assert url.isascii() and " " not in url
    assert found == key
    assert presigner.check("GET", found, query) == Grant("GET", key, filename="ä & b.txt")


def test_the_grant_tells_what_a_put_must_keep_to(presigner: Presigner) -> None:
    url = presigner.url("ns/a", method="PUT", expires_in=60, content_type="image/png", max_size=1000)
    assert presigner.check("PUT", *taken_apart(url)) == Grant("PUT", "ns/a", "image/png", None, 1000)


def test_a_url_ends_when_it_says(presigner: Presigner, clock: list[float]) -> None:
    key, query = taken_apart(presigner.url("ns/a", method="GET", expires_in=60))
    clock[0] = NOW + 59
    presigner.check("GET", key, query)
    clock[0] = NOW + 60
    with pytest.raises(ForbiddenError, match="expired at 2027-01-15T08:01:00Z"):
        presigner.check("GET", key, query)


def test_a_url_for_reading_answers_head_and_does_not_write(presigner: Presigner) -> None:
    key, query = taken_apart(presigner.url("ns/a", method="GET", expires_in=60))
    presigner.check("HEAD", key, query)
    for method in ("PUT", "DELETE", "POST", "get", ""):
        with pytest.raises(ForbiddenError, match="for GET only"):
            presigner.check(method, key, query)


def test_a_url_for_writing_does_not_read(presigner: Presigner) -> None:
    key, query = taken_apart(presigner.url("ns/a", method="PUT", expires_in=60))
    for method in ("GET", "HEAD", "DELETE"):
        with pytest.raises(ForbiddenError, match="for PUT only"):
            presigner.check(method, key, query)


CHANGES: list[Callable[[dict[str, str]], object]] = [
    lambda query: query.update(expires=str(int(query["expires"]) + 1)),
    lambda query: query.update(method="GET"),
    lambda query: query.update(content_type="text/html"),
    lambda query: query.pop("content_type"),
    lambda query: query.update(max_size="1001"),
    lambda query: query.pop("max_size"),
    lambda query: query.update(filename="other.exe"),
    lambda query: query.update(content_type=query["filename"], filename=query["content_type"]),
    lambda query: query.pop("signature"),
    lambda query: query.update(signature=""),
    lambda query: query.update(signature="0" * 64),
    lambda query: query.update(signature="ünïcode"),
    lambda query: query.update(signature=query["signature"][:-1]),
    lambda query: query.pop("expires"),
    lambda query: query.update(expires="never"),
    lambda query: query.update(expires="9" * 400),
    lambda query: query.update(expires="-1"),
    lambda query: query.update(expires="١٢٣"),
    lambda query: query.update(max_size="1e3"),
    lambda query: query.pop("method"),
    lambda query: query.update(method="DELETE"),
    lambda query: query.clear(),
]


@pytest.mark.parametrize("change", CHANGES)
def test_a_changed_url_is_refused(presigner: Presigner, change: Callable[[dict[str, str]], object]) -> None:
    url = presigner.url(
        "ns/a", method="PUT", expires_in=60, content_type="image/png", filename="a.png", max_size=1000
    )
    key, query = taken_apart(url)
    change(query)
    with pytest.raises(ForbiddenError, match="signature"):
        presigner.check("PUT", key, query)


def test_a_url_opens_no_other_key_and_no_other_server(presigner: Presigner) -> None:
    key, query = taken_apart(presigner.url("ns/a", method="GET", expires_in=60))
    for other in ("ns/b", "ns/a/", "ns/A", "ns", ""):
        with pytest.raises(ForbiddenError):
            presigner.check("GET", other, query)
    with pytest.raises(ForbiddenError):
        Presigner(b"another secret of enough bytes", "", clock=lambda: NOW).check("GET", key, query)


def test_a_short_secret_is_a_mistake() -> None:
    with pytest.raises(ValueError, match="16 bytes"):
        Presigner(b"short", "")

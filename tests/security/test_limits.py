"""Rate limits, and secrets that stay where they belong."""

import json
import re
import time
from collections.abc import Iterator
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest

from tests.security.estates import ADMIN, Estate, estate
from tests.security.matrix import upload
from tests.server import RunningServer
from tests.steps import eventually, ok, refused, unique

pytestmark = pytest.mark.xdist_group("security-limits")  # one server for all of them

KEYS = f"/v1/organizations/users/{ADMIN}/api-keys"

PER_MINUTE = 25


@pytest.fixture(scope="module")
def limited(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    """A server that counts."""
    env = {"LAMINA_RATE_LIMITS": "on", "LAMINA_RATE_LIMIT_PER_MINUTE": str(PER_MINUTE)}
    with RunningServer(tmp_path_factory.mktemp("limits") / "data", env=env) as running:
        yield running


@pytest.fixture(scope="module")
def quiet(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    """A server as it comes, that made up its admin key itself."""
    with RunningServer(tmp_path_factory.mktemp("secrets") / "data", generated_key=True) as running:
        yield running


def make_key(api: httpx.Client, **fields: Any) -> str:
    wish = {"name": unique("key"), "permissions": ["admin"], **fields}
    key: str = ok(api.post(KEYS, json=wish))["key"]
    return key


@pytest.fixture(scope="module")
def maker(limited: RunningServer) -> Iterator[httpx.Client]:
    """Makes keys, and never reaches its own limit."""
    with limited.client() as api:
        key = make_key(api, rate_limit_override=1_000_000)
    with limited.client(api_key=key) as client:
        yield client


@pytest.fixture
def key(maker: httpx.Client) -> str:
    """A key that nobody has used yet."""
    return make_key(maker)


# Rate limits


def test_nothing_is_limited_on_loopback(quiet: RunningServer) -> None:
    with quiet.client() as api:
        for _ in range(PER_MINUTE * 3):
            answer = api.get("/v1/me")
            ok(answer)
            assert not [name for name in answer.headers if name.startswith("x-ratelimit")]


def test_an_answer_tells_what_is_left(limited: RunningServer, key: str) -> None:
    with limited.client(api_key=key) as holder:
        for used in range(1, 4):
            answer = holder.get("/v1/me")
            ok(answer)
            assert answer.headers["x-ratelimit-limit"] == str(PER_MINUTE)
            assert answer.headers["x-ratelimit-remaining"] == str(PER_MINUTE - used)
            assert answer.headers["x-ratelimit-window"] == "60s"
            assert 0 <= int(answer.headers["x-ratelimit-reset"]) - time.time() <= 61


def used_up(holder: httpx.Client, path: str = "/v1/me") -> httpx.Response:
    """The first answer beyond the limit."""
    for _ in range(PER_MINUTE):
        assert holder.get(path).status_code != 429
    return holder.get(path)


def test_too_many_requests_are_refused_and_told_when_to_come_again(limited: RunningServer, key: str) -> None:
    with limited.client(api_key=key) as holder:
        answer = used_up(holder, "/v1/buckets/bkt_00000000")
        error = refused(answer, 429, "TooManyRequestsError")
        details = error["details"]
        assert details["limit"] == PER_MINUTE
        assert details["window"] == "60s"
        assert details["api_name"] == "GET /v1/buckets/{bucket_identifier}"
        assert 1 <= details["retry_after"] <= 61
        assert answer.headers["retry-after"] == str(details["retry_after"])
        assert answer.headers["x-ratelimit-limit"] == str(PER_MINUTE)
        assert answer.headers["x-ratelimit-remaining"] == "0"
        assert answer.headers["x-request-id"]


def test_each_category_is_counted_by_itself(limited: RunningServer, key: str) -> None:
    with limited.client(api_key=key) as holder:
        refused(used_up(holder), 429)
        for method, path in (
            ("POST", "/v1/retrievers/ret_0/execute"),
            ("POST", "/v1/features/search"),
            ("GET", "/v1/documents/doc_0"),
            ("GET", "/v1/buckets/bkt_0/objects"),
            ("GET", "/v1/buckets/bkt_0/uploads/upl_0"),
            ("POST", "/v1/collections/col_0/trigger"),
            ("POST", "/v1/buckets/bkt_0/batches/btch_0/submit"),
        ):
            assert holder.request(method, path, json={}).status_code in {404, 422}, path
        for method, path in (
            ("GET", "/v1/buckets"),
            ("GET", "/v1/collections/execute"),  # a name is no category
            ("GET", "/v1/buckets/objects"),
            ("GET", "/v1/namespaces"),
        ):
            refused(holder.request(method, path), 429)


def test_each_key_is_counted_by_itself(limited: RunningServer, maker: httpx.Client) -> None:
    one, other = make_key(maker), make_key(maker)
    with limited.client(api_key=one) as first, limited.client(api_key=other) as second:
        refused(used_up(first), 429)
        ok(second.get("/v1/me"))


def test_refusals_count_too(limited: RunningServer, maker: httpx.Client) -> None:
    weak = make_key(maker, permissions=["read"])
    with limited.client(api_key=weak) as holder:
        for _ in range(PER_MINUTE):
            refused(holder.post("/v1/buckets", json={}), 403)
        refused(holder.post("/v1/buckets", json={}), 429)


def test_a_key_can_have_a_limit_of_its_own(limited: RunningServer, quiet: RunningServer) -> None:
    for server, limit in ((limited, 3), (limited, PER_MINUTE + 10), (quiet, 2)):
        with server.client() as api:
            key = make_key(api, rate_limit_override=limit)
        with server.client(api_key=key) as holder:
            for left in range(limit - 1, -1, -1):
                assert holder.get("/v1/me").headers["x-ratelimit-remaining"] == str(left)
            refused(holder.get("/v1/me"), 429, "TooManyRequestsError")


def test_health_and_files_are_never_limited(limited: RunningServer, key: str) -> None:
    with limited.client(api_key=key) as holder:
        refused(used_up(holder), 429)
        for path in ("/v1/health", "/v1/liveness", "/metrics", "/openapi.json"):
            assert holder.get(path).status_code == 200


# Secrets


@pytest.fixture(scope="module")
def busy(quiet: RunningServer) -> Iterator[tuple[RunningServer, Estate, list[str]]]:
    """The server after requests with keys and presigned URLs of all kinds; and every secret in them."""
    with quiet.client() as api, quiet.anonymous() as nobody:
        made = estate(api, "default")
        keys = [make_key(api) for _ in range(3)]
        secrets = [*keys, quiet.admin_key, *(f"sk_{'z' * 40}{number}" for number in range(3))]
        for number, secret in enumerate(secrets):
            sent = {"Authorization": f"Bearer {secret}", "X-Request-Id": f"trace-{number}"}
            nobody.get("/v1/me", headers=sent)
            nobody.get(f"/v1/buckets/{secret}", headers=sent)
            nobody.get("/v1/me", params={"api_key": secret}, headers=sent)
            nobody.get("/v1/me", headers={"Authorization": f"Basic {secret}"})
            nobody.post("/v1/buckets", json={"bucket_name": secret}, headers=sent)
            nobody.post("/v1/buckets", content=f'{{"{secret}'.encode(), headers=sent)
        bucket = made.ids["bucket_identifier"]
        for _ in range(3):
            url = ok(api.post(f"/v1/buckets/{bucket}/uploads", json=upload()))["presigned_url"]
            secrets.append(parse_qs(urlsplit(url).query)["signature"][0])
            ok(nobody.put(url, content=b"x", headers={"Content-Type": "text/plain"}))
            nobody.get(url)
            nobody.get(url + "0")
        path = f"/v1/buckets/{bucket}/objects/{made.ids['object_identifier']}"
        shown = ok(api.get(path, params={"return_presigned_urls": True}))["blobs"][0]["presigned_url"]
        assert nobody.get(shown).status_code == 200
        secrets.append(parse_qs(urlsplit(shown).query)["signature"][0])
        yield quiet, made, secrets


def test_the_log_holds_no_secret(busy: tuple[RunningServer, Estate, list[str]]) -> None:
    server, _, secrets = busy
    told, *rest = [line for line in server.log.splitlines() if server.admin_key in line]
    assert told.startswith("Admin API key: ")
    assert not rest
    log = server.log.replace(told, "")
    found = [secret for secret in secrets if secret in log]
    assert not found
    assert "signature=" not in log
    assert not re.search(r"\bsk_[A-Za-z0-9_-]{6,}", log)
    assert "Bearer" not in log


def test_the_log_is_json_with_the_ids_of_requests(busy: tuple[RunningServer, Estate, list[str]]) -> None:
    server, _, _ = busy
    with server.client() as api:
        given = api.get("/v1/me").headers["x-request-id"]
        failed = api.get("/v1/buckets/nothing", headers={"X-Request-Id": "mine-404"}).headers["x-request-id"]
        lost = api.get("/nothing-at-all").headers["x-request-id"]
    assert given.startswith("req_")
    assert failed == "mine-404"
    eventually(lambda: lost in server.log, "the last request in the log")  # it is written after the answer
    lines = [json.loads(line) for line in server.log.splitlines() if line.startswith("{")]
    requests = {line["request_id"]: line for line in lines if line["event"] == "request"}
    assert requests[given]["path"] == "/v1/me"
    assert requests[given]["status"] == 200
    assert requests[failed]["status"] == 404
    assert requests[lost]["path"] == "/nothing-at-all"
    assert requests["trace-0"]["method"] in {"GET", "POST"}
    for line in lines:
        assert {"event", "level", "timestamp"} <= set(line)
    others = [line for line in server.log.splitlines() if not line.startswith("{")]
    assert [line.split(":")[0] for line in others] == ["Admin API key", "Lamina listens on http"]


def test_the_admin_key_is_the_owners_only(quiet: RunningServer) -> None:
    path = quiet.data_dir / "admin.key"
    assert path.stat().st_mode & 0o777 == 0o600
    assert re.fullmatch(r"sk_[A-Za-z0-9]{40,}\n", path.read_text())


def test_keys_are_stored_as_hashes_only(busy: tuple[RunningServer, Estate, list[str]]) -> None:
    server, _, secrets = busy
    keys = [secret.encode() for secret in secrets if secret.startswith("sk_")]
    hits = [
        (str(path), key)
        for path in server.data_dir.rglob("*")
        if path.is_file() and path.name != "admin.key"
        for content in (path.read_bytes(),)
        for key in keys
        if key in content
    ]
    assert not hits


def test_no_list_or_answer_shows_a_key_again(busy: tuple[RunningServer, Estate, list[str]]) -> None:
    server, _, secrets = busy
    with server.client() as api:
        for path in (
            KEYS,
            f"{KEYS}?include_revoked=true",
            "/v1/me",
            "/v1/organizations",
            "/v1/organizations/users",
        ):
            text = api.get(path).text
            assert not [secret for secret in secrets if secret in text], path
        assert "internal_id" not in api.get("/v1/organizations").json()


def test_a_first_start_that_was_cut_short_is_finished_with_the_key_it_wrote(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    folder = tmp_path_factory.mktemp("short") / "data"
    folder.mkdir()
    written = f"sk_{'k' * 48}"
    (folder / "admin.key").write_text(f"{written}\n")
    (folder / "admin.key").chmod(0o644)
    with RunningServer(folder, generated_key=True) as server:
        assert server.admin_key == written
        assert (folder / "admin.key").stat().st_mode & 0o777 == 0o600
        server.restart()
        assert server.admin_key == written
        assert server.log.count(written) == 1  # told once, not again
        with server.client() as api:
            ok(api.get("/v1/me"))

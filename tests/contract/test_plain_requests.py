"""A plain request, which FastAPI's reading of parameters is spared, is answered like any other."""

from typing import Any

import httpx
import pytest

from tests.steps import Corpus, search_stage

PLAIN = {"Content-Type": "application/json"}
ORDINARY = {"Content-Type": "application/json; charset=utf-8"}
BODIES = (
    b"",
    b"{",
    b"[]",
    b"null",
    b'"text"',
    b"{}",
    b'{"stages": []}',
    b'{"stages": 1, "limit": 0, "unheard": true}',
    b'{"stages": [{"stage_name": "a", "config": {"stage_id": "unheard_of"}}]}',
    b'{"inputs": {"query": "a\\u0000b"}}',
    b'{"inputs": NaN}',
    b'{"inputs": {}, "limit": "many"}',
    b'{"limit": 3, "page_size": 4, "expand": null}',
)
PATHS = (
    "/v1/retrievers/execute",
    "/v1/retrievers/ret_unknown/execute",
    "/v1/buckets",
    "/v1/documents/batch-get",
)


def told(answer: httpx.Response) -> Any:
    """What an answer says, without what differs every time."""
    return answer.status_code, answer.headers["content-type"], answer.json()


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("body", BODIES)
def test_errors_read_the_same(api: httpx.Client, path: str, body: bytes) -> None:
    plain, ordinary = (api.post(path, content=body, headers=headers) for headers in (PLAIN, ORDINARY))
    assert told(plain) == told(ordinary)
    assert plain.status_code >= 400


@pytest.mark.parametrize("change", [{"X-Namespace": "nowhere"}, {"Authorization": "Bearer sk_wrong"}])
def test_refusals_read_the_same(api: httpx.Client, change: dict[str, str]) -> None:
    for path in PATHS:
        plain, ordinary = (
            api.post(path, content=b"{}", headers={**headers, **change}) for headers in (PLAIN, ORDINARY)
        )
        assert told(plain) == told(ordinary)


def test_a_search_finds_the_same(api: httpx.Client, corpus: Corpus) -> None:
    body = {
        "collection_identifiers": [corpus.collection_id],
        "stages": [search_stage(corpus.feature_uri)],
        "inputs": {"query": "music"},
        "unheard": 1,
    }
    plain, asked = (api.post(f"/v1/retrievers/execute{query}", json=body).json() for query in ("", "?a=b"))
    for differs in ("execution_id", "stage_statistics", "budget"):
        del plain[differs], asked[differs]
    assert plain == asked
    assert plain["warnings"] == ["Unknown key 'unheard' was ignored."]

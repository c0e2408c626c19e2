"""Bad bodies get a clear error: a 4xx in the envelope, quickly, and nothing is half-written."""

import json
from typing import Any
from urllib.parse import quote

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.security.estates import MISSING, Estate
from tests.security.matrix import GUARDED, Operation
from tests.security.nonsense import (
    BODIES,
    DESTRUCTIVE,
    HOSTILE,
    every,
    full,
    places,
    rejected,
    replaced,
    survived,
)
from tests.steps import invalid, ok, unique

pytestmark = pytest.mark.xdist_group("security-nonsense")  # one server for all of them

# Bodies that are not JSON


UNREADABLE: dict[str, bytes] = {
    "cut short": b'{"a": ',
    "no JSON": b"hello",
    "trailing": b'{"a": 1} x',
    "single quotes": b"{'a': 1}",
    "invalid UTF-8": b'{"a": "\xff\xfe"}',
    "UTF-16": '{"a": 1}'.encode("utf-16"),
    "byte order mark": b'\xef\xbb\xbf{"a": 1}',
    "NaN": b'{"a": NaN}',
    "Infinity": b'{"a": Infinity}',
    "minus Infinity": b'{"a": -Infinity}',
    "overflow": b'{"a": 1e999}',
    "lone surrogate": b'{"a": "\\ud800"}',
    "reversed surrogates": b'{"a": "\\udc00\\ud800"}',
    "lone surrogate as bytes": b'{"a": "\xed\xa0\x80"}',
    "NUL": b'{"a": "\\u0000"}',
    "NUL in a key": b'{"a\\u0000b": 1}',
    "raw NUL": b'{"a": "\x00"}',
    "control character": b'{"a": "\x01"}',
    "10,000 arrays": b'{"a": ' + b"[" * 10_000 + b"]" * 10_000 + b"}",
    "10,000 objects": b'{"a": ' + b'{"a":' * 10_000 + b"1" + b"}" * 10_000 + b"}",
    "10,000 arrays, open": b"[" * 10_000,
    "101 levels": b'{"a": ' + b"[" * 100 + b"]" * 100 + b"}",
    "250 levels": b'{"a": ' + b"[" * 249 + b"]" * 249 + b"}",
    "5,000 digits and a half": b'{"a": ' + b"9" * 5_000 + b".e}",
}


@every(*BODIES)
def test_a_body_that_is_not_json_is_refused(home: Estate, operation: Operation) -> None:
    # A third for each operation: one place reads the bodies of all of them.
    for name in list(UNREADABLE)[BODIES.index(operation) % 3 :: 3]:
        body = UNREADABLE[name]
        answer = home.api.request(
            operation.method,
            operation.url(home.ids),
            content=body,
            headers={"Content-Type": "application/json"},
        )
        problems = invalid(answer)
        assert problems[0]["location"][0] == "body", name
        assert "JSON" in problems[0]["message"], name


def test_a_body_of_100_levels_is_stored_and_read_again(home: Estate) -> None:
    deep: Any = "end"
    for _ in range(98):
        deep = [deep]
    documents = f"/v1/collections/{home.ids['collection_identifier']}/documents"
    made = ok(home.api.post(documents, json={"deep": deep}))
    assert ok(home.api.get(f"{documents}/{made['document_id']}"))["deep"] == deep
    assert ok(home.api.post("/v1/documents/list", json={"limit": 1000}))["results"]
    ok(home.api.delete(f"{documents}/{made['document_id']}"))


def test_a_backslash_before_u0000_is_no_nul(home: Estate) -> None:
    documents = f"/v1/collections/{home.ids['collection_identifier']}/documents"
    text = r"\u0000 and \\u0000"
    made = ok(home.api.post(documents, json={"text": text}))
    assert ok(home.api.get(f"{documents}/{made['document_id']}"))["text"] == text


@pytest.mark.parametrize(
    "content_type",
    [
        "text/plain",
        "application/x-www-form-urlencoded",
        "multipart/form-data; boundary=x",
        "application/xml",
        "?",
    ],
)
@every(*[one for one in BODIES if one.method == "POST"][::3])
def test_a_body_of_another_type_is_refused_and_told_so(
    home: Estate, operation: Operation, content_type: str
) -> None:
    answer = home.api.request(
        operation.method, operation.url(MISSING), content=b'{"a": 1}', headers={"Content-Type": content_type}
    )
    error = rejected(answer)
    assert answer.status_code == 404 or "application/json" in error["message"]


@every(*BODIES)
def test_a_body_of_another_shape_is_no_failure(home: Estate, operation: Operation) -> None:
    shapes: list[Any] = [[], [1], "text", "", 0, 1.5, True, None, [{}], [[[]]], {"": ""}, {"a" * 10_000: {}}]
    for body in shapes:
        survived(home.api.request(operation.method, operation.url(MISSING), json=body))


# Values that are not what is expected


@every(*BODIES)
def test_no_value_anywhere_in_a_body_is_a_failure(home: Estate, operation: Operation) -> None:
    body = full(operation, home.ids)
    paths = [path for path in places(body) if path]
    for number, path in enumerate(paths):
        # Every value everywhere would take minutes: each place gets an eighth, its neighbour another.
        for value in HOSTILE[number % 8 :: 8]:
            name = {"retriever_name", "collection_name", "bucket_name", "namespace_name", "name"} & set(body)
            sent = {**replaced(body, path, value), **({path[0]: value} if len(path) == 1 else {})}
            for field in name:
                if path != (field,):
                    sent[field] = unique("fuzz")
            content = json.dumps(sent).encode()
            answer = home.api.request(
                operation.method,
                operation.url(home.ids),
                content=content,
                headers={"Content-Type": "application/json"},
            )
            survived(answer)


@every(*[one for one in GUARDED if one.addresses and str(one) not in DESTRUCTIVE])
def test_no_identifier_in_a_path_is_a_failure(home: Estate, operation: Operation) -> None:
    names = [part[1:-1] for part in operation.path.split("/") if part.startswith("{")]
    for name in names:
        for value in (
            "..%2f..%2fetc%2fpasswd", "%2e%2e", "%00", "a%00b", "%ff%fe", "%ed%a0%80", "%0d%0aX-Injected:1",
            "%25",
            quote("💥" * 50), quote("ä" * 500), "a" * 8_000, "*", "'", "%27%3B%20DROP%20TABLE%20buckets%3B--",
            "null", "-1", "{}", "{{7*7}}", "_internal", ".", "%20", "%5c..%5c", "~", "lamina:%2f%2fx",
        ):  # fmt: skip
            url = operation.path.format_map({**home.ids, name: value})
            answer = survived(home.api.request(operation.method, url, json=operation.content(home.ids)))
            assert "x-injected" not in answer.headers
            if "%00" in value:
                invalid(answer, "path")


QUERIES = [
    "", " ", "-1", "0", "1001", "99999999999999999999", "1e9", "NaN", "true", "null", "[]", "{}", "{",
    '{"a":', "%ff",
    "%00", "%ed%a0%80", "a" * 8_000, "..%2f", "%0d%0aSet-Cookie:a=b", "'", "%27;--", "*" * 500, "*", "%25",
    "_", "💥",
    "title:sideways", "title:desc:asc", '{"field":1}', '{"field":"x","direction":"up"}', "_internal.x:asc",
    '{"field":"a","operator":"regex","value":"("}', '{"AND":[]}', '{"AND":1}', "x" * 600 + ":asc",
]  # fmt: skip


def test_no_value_in_a_query_is_a_failure(home: Estate) -> None:
    described = ok(home.api.get("/openapi.json"))["paths"]
    for operation in GUARDED:
        if str(operation) in DESTRUCTIVE or operation.path not in described:
            continue
        told = described[operation.path][operation.method.lower()].get("parameters", [])
        names = [one["name"] for one in told if one["in"] == "query"]
        for number, name in enumerate([*names, "namespace"]):
            for value in QUERIES[number % 4 :: 4]:
                url = f"{operation.url(MISSING)}?{name}={quote(value, safe='%')}"
                headers = {"X-Namespace": ""} if name == "namespace" else {}
                answer = home.api.request(
                    operation.method, url, json=operation.content(MISSING), headers=headers
                )
                survived(answer)
                assert "set-cookie" not in answer.headers
                if value == "%00":
                    assert answer.status_code in {404, 422}


# Anything at all


anything = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=30)
    | st.sampled_from([one for one in HOSTILE if isinstance(one, str) and len(one) < 100]),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=12), inner, max_size=4),
    max_leaves=12,
)

FIELDS = st.sampled_from(
    ["filters", "sort", "search", "select", "expand", "group_by", "stages", "inputs", "pagination",
    "metadata", "query",
     "vectors", "documents", "payload", "blobs", "data", "cursor", "collection_ids", "update_data",
     "features"]
)  # fmt: skip


@settings(
    max_examples=25, deadline=None, derandomize=True, database=None, suppress_health_check=list(HealthCheck)
)
@given(
    body=st.dictionaries(FIELDS | st.text(max_size=10), anything, max_size=5), number=st.integers(0, 10**6)
)
def test_no_body_whatsoever_is_a_failure(home: Estate, body: dict[str, Any], number: int) -> None:
    content = json.dumps(body, ensure_ascii=False).encode("utf-8", "replace")
    for step in range(6):
        operation = BODIES[(number + step * 7) % len(BODIES)]
        mixed = {**(operation.content(home.ids) or {}), **json.loads(content)}
        survived(
            home.api.request(operation.method, operation.url(home.ids), content=json.dumps(mixed).encode())
        )

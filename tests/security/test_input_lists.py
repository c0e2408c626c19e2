"""Cursors, filters, sorts, searches and templates are never code, and never much work."""

import base64
import json
from typing import Any

import pytest

from tests.security import matrix
from tests.security.estates import Estate
from tests.security.matrix import GUARDED, Operation
from tests.security.nonsense import (
    every,
    rejected,
    survived,
)
from tests.steps import invalid, ok, unique

pytestmark = pytest.mark.xdist_group("security-nonsense")  # one server for all of them

LISTS = [one for one in GUARDED if one.path.endswith("/list") and one.method == "POST"]


@every(*LISTS)
def test_a_limit_outside_of_its_range_is_refused(home: Estate, operation: Operation) -> None:
    url = operation.url(home.ids)
    for field, value in (
        ("limit", 0), ("limit", -1), ("limit", 1001), ("limit", 10**30), ("limit", "ten"), ("limit", 1.5),
        ("page_size", -1), ("page_size", 10**9), ("offset", -1), ("offset", 10_001), ("page", 0), ("page",
        -5),
        ("cursor", 5), ("cursor", ["a"]), ("include_total", "perhaps"),
    ):  # fmt: skip
        invalid(home.api.post(url, json={field: value}), field)
        if not isinstance(value, list) and field != "cursor":
            invalid(home.api.post(url, params={field: str(value)}), field)
    ok(home.api.post(url, json={"page": 10**9}))


@every(*LISTS)
def test_a_page_that_is_honoured_is_not_warned_about(home: Estate, operation: Operation) -> None:
    page = {"limit": 1, "page_size": 1, "offset": 0, "page": 1, "include_total": True}
    listed = ok(home.api.post(operation.url(home.ids), json=page))
    assert len(listed["results"]) <= 1
    assert "warnings" not in listed


def cursors() -> list[str]:
    """Texts that are no cursor of ours, and some that nearly are."""
    positions: list[Any] = [
        [], [None], [None, None], ["a", None], [0, 5], [0, {"a": 1}], [-1, None], [10**30, None], [1e308,
        None],
        ["seq", "x"], ["seq", -1], ["seq", 10**30], ["offset", -5], ["offset", 10**18], ["offset", None],
        ["x", 1],
        [True, True], [[], []], {"a": 1}, "text", 5, [0, "x", 1], ["seq", 1.5], [0.5, "x"], [0, "a" * 5_000],
        [5, None], [0, "\ud83d\udca5"],
    ]  # fmt: skip
    made = [base64.urlsafe_b64encode(json.dumps(one).encode()).decode().rstrip("=") for one in positions]
    return ["x", "====", "a" * 10_000, "💥", "..", "/", " ", "eyJ", "WzBd\n", "[0,null]", *made]


@every(*LISTS)
def test_a_cursor_that_no_list_returned_is_no_failure(home: Estate, operation: Operation) -> None:
    for cursor in cursors():
        for extra in (
            {},
            {"sort": {"field": "title", "direction": "desc"}},
            {"filters": {"title": "letter"}},
        ):
            asked = {"cursor": cursor, "limit": 1, **extra}
            answer = survived(home.api.post(operation.url(home.ids), json=asked))
            assert answer.status_code in {200, 422}
    for cursor in ("x", "💥", "[0,null]"):
        invalid(home.api.post(operation.url(home.ids), json={"cursor": cursor}), "cursor")


@pytest.mark.parametrize("method", ["offset", "cursor", "keyset", "scroll"])
def test_paging_of_retrievers_takes_no_nonsense(home: Estate, method: str) -> None:
    execute = f"/v1/retrievers/{home.ids['retriever_id']}/execute"
    for field in ("cursor", "after", "scroll_id"):
        for cursor in (
            *cursors(),
            None,
            5,
            {"score": "x"},
            {"score": None, "id": 5},
            {"score": 1e308, "id": "x"},
        ):
            survived(home.api.post(execute, json={"pagination": {"method": method, field: cursor}}))
    for field in ("limit", "page_size", "page_number", "scroll_ttl"):
        for value in (-1, 0, 10**30, "x", 1.5, None, 10**6):
            survived(home.api.post(execute, json={"pagination": {"method": method, field: value}}))


INJECTIONS = [
    "x' OR '1'='1", "x'; DROP TABLE buckets; --", 'x" OR ""="', "x') OR 1=1 --", "title' --", "body->>'a'",
    "title\\", "title`", "json_extract(body,'$')", "a.b'", "a['b']", "$.title", "created_at; SELECT 1", "1=1",
    "title) UNION SELECT body FROM api_keys --", "organization_id", "seq", "body", "key_hash", "namespace_id",
    "a" * 400, "a." * 200 + "a", "💥", " ", "%", "_", "[*]", "a[0]", "a.0.b", "..", ".a", "a.", "a..b",
]  # fmt: skip


@every(*LISTS)
def test_no_field_or_search_is_ever_code(home: Estate, operation: Operation) -> None:
    url = operation.url(home.ids)
    for text in INJECTIONS:
        survived(home.api.post(url, json={"sort": {"field": text, "direction": "desc"}, "limit": 1}))
        survived(home.api.post(url, json={"search": text, "limit": 1}))
        for filters in (
            {text: "x"},
            {"field": text, "operator": "eq", "value": text},
            {"field": text, "operator": "regex", "value": ".*"},
            {"field": text, "operator": "in", "value": [text, 1, None]},
            {"field": "title", "operator": text, "value": "x"},
            {"NOT": {"field": text, "operator": "exists", "value": True}},
        ):
            survived(home.api.post(url, json={"filters": filters, "limit": 1}))
    for table in ("buckets", "collections", "retrievers"):
        ok(home.api.get(f"/v1/{table}"))
    found = ok(home.api.post("/v1/buckets/list", json={"search": "x' OR '1'='1"}))["results"]
    assert found == []


def test_a_filter_that_is_too_much_is_refused(home: Estate) -> None:
    one = {"field": "title", "operator": "eq", "value": "x"}
    deep: dict[str, Any] = one
    for _ in range(90):
        deep = {"AND": [deep]}
    for filters in (
        deep,
        {"OR": [one] * 501},
        {"field": "title", "operator": "in", "value": ["x"] * 10_001},
        {"field": "title", "operator": "regex", "value": "a" * 1_001},
        {"field": "title", "operator": "regex", "value": "("},
        {"field": "title", "operator": "regex", "value": "(?=a)"},
        {"field": "a" * 501, "operator": "eq", "value": "x"},
        {"field": "title", "operator": "geo_radius", "value": {"center": {"lat": 1e308, "lon": "x"}}},
        {"field": "title", "operator": "gt", "value": {"a": 1}},
        {"field": ".".join("a" * 33), "operator": "eq", "value": "x"},
        {"AND": {"a": 1, "OR": 5}},
        "title = x",
    ):
        for path in (
            "/v1/documents/list",
            "/v1/buckets/list",
            f"/v1/buckets/{home.ids['bucket_identifier']}/objects/list",
        ):
            rejected(home.api.post(path, json={"filters": filters}))


def test_a_regex_takes_no_longer_than_its_text(home: Estate) -> None:
    documents = f"/v1/collections/{home.ids['collection_identifier']}/documents"
    bait = {"text": "a" * 50_000 + "!", "title": "bait"}
    made = ok(home.api.post(documents, json=bait))
    bucket = home.ids["bucket_identifier"]
    stored = ok(home.api.post(f"/v1/buckets/{bucket}/objects", json={"title": bait["text"]}))
    for bomb in (
        "^(a+)+$",
        "^(a|aa)+$",
        "^(a|a?)+$",
        "(.*a){25}b",
        "^(([a-z])+.)+[A-Z]([a-z])+$",
        "(a{1,50}){1,20}$",
    ):
        where = {"field": "text", "operator": "regex", "value": bomb}
        survived(home.api.post(f"{documents}/list", json={"filters": where}))
        survived(home.api.post(f"{documents}/list", json={"filters": {"AND": [where] * 20}}))
        survived(
            home.api.post("/v1/retrievers/execute", json={**matrix.retriever(home.ids), "filters": where})
        )
        titled = {**where, "field": "title"}
        survived(home.api.post(f"/v1/buckets/{bucket}/objects/list", json={"filters": titled}))
    ok(home.api.delete(f"{documents}/{made['document_id']}"))
    assert home.api.delete(f"/v1/buckets/{bucket}/objects/{stored['object_id']}").status_code == 204


TEMPLATES = [
    "{{ range(1000000000) | list }}",
    "{{ 'a' * 1000000000 }}",
    "{{ 10 ** 10 ** 10 }}",
    "{{ '%999999999d' % 1 }}",
    "{{ '{:>999999999}'.format(1) }}",
    "{% for a in range(9999) %}{% for b in range(9999) %}{{ a * b }}{% endfor %}{% endfor %}",
    "{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}",
    "{% set x = 'aaaaaaaaaa' %}" + "{% set x = x ~ x ~ x ~ x %}" * 40 + "{{ x }}",
    "{{ [1] * 999999999 }}",
    "{{ ('a' | center(999999999)) }}",
    "{{ ''.__class__.__mro__[1].__subclasses__() }}",
    "{{ INPUT.__init__.__globals__ }}",
    "{{ self._TemplateReference__context }}",
    "{{ cycler.__init__.__globals__.os.environ }}",
    "{{ lipsum.__globals__['os'].popen('id').read() }}",
    "{{ DOC | attr('__class__') }}",
    "{{ DOC['__class__'] }}",
    "{{ config }}{{ request }}{{ g }}",
    "{% include '/etc/passwd' %}",
    "{% import 'os' as os %}",
    "{{ '\\x5f\\x5fclass\\x5f\\x5f' }}",
    "{{" * 2_000,
    "{{ " + "(" * 2_000 + "1" + ")" * 2_000 + " }}",
    "{% if " + "not " * 5_000 + "1 %}x{% endif %}",
    "{{ a" + ".a" * 20_000 + " }}",
    "{% raw %}",
    "{{ }}",
]


def test_a_template_does_little_work_and_sees_nothing_of_the_server(home: Estate) -> None:
    for text in TEMPLATES:
        for template in (text, '{"x": "' + text.replace("\\", "\\\\").replace('"', "'") + '"}'):
            stage = {
                "stage_id": "json_transform",
                "parameters": {"template": template, "fail_on_error": True},
            }
            asked = matrix.retriever(home.ids)
            asked["stages"].append({"stage_name": "bomb", "config": stage})
            for url in ("/v1/retrievers/execute", "/v1/retrievers"):
                answer = survived(home.api.post(url, json={**asked, "retriever_name": unique("bomb")}))
                for leak in ("root:x:0", "uid=", "<class", "subclasses", "LAMINA_", "PATH=", "sk_"):
                    shown = answer.json().get("documents") or answer.json().get("error")
                    assert leak not in str(shown) or leak in template, (template, shown)
        where = {"field": "title", "operator": "eq", "value": text}
        stage = {"stage_id": "attribute_filter", "parameters": where}
        asked = {**matrix.retriever(home.ids), "stages": [{"stage_name": "bomb", "config": stage}]}
        survived(home.api.post("/v1/retrievers/execute", json=asked))
        survived(
            home.api.post(
                "/v1/retrievers/execute", json={**matrix.retriever(home.ids), "inputs": {"q": text}}
            )
        )

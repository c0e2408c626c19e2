"""Templates: native values, names in any case, and no way out of the sandbox."""

import time
from typing import Any

import pytest

from lamina.core.errors import ValidationError
from lamina.retrieval.templates import TemplateTree, template
from tests.stages.world import places

NAMES: dict[str, Any] = {
    "input": {
        "query": "red car",
        "vector": [0.1, 0.2],
        "k": 5,
        "items": ["x", "y"],
        "big": "x" * 1_000_000,
        "on": False,
    },
    "doc": {
        "document_id": "d1",
        "tags": ["a", "b"],
        "_internal": {"lineage": {"path": "b/c"}},
        "title": 'a "b"',
    },
    "context": {"namespace_id": "ns_1"},
    "stage": {"search": {"count": 3}},
}


def rendered(source: str) -> Any:
    return template(source, field="f").render(NAMES, field="f")


@pytest.mark.parametrize(
    ("source", "value"),
    [
        ("{{INPUT.query}}", "red car"),
        ("{{ inputs.query }}", "red car"),
        ("{{input.vector}}", [0.1, 0.2]),
        ("{{INPUT.k}}", 5),
        (" {{ INPUT.k + 1 }} ", 6),
        ("{{INPUT.on}}", False),
        ("{{INPUT.items}}", ["x", "y"]),
        ("{{INPUT['items'][1]}}", "y"),
        ("{{INPUT.missing}}", None),
        ("{{INPUT.missing.deeper.still}}", None),
        ("{{ INPUT.missing | default(3) }}", 3),
        ("{{ doc.tags | map('upper') | list }}", ["A", "B"]),
        ("{{ doc.tags[:1] }}", ["a"]),
        ("{{DOC._internal.lineage.path}}", "b/c"),
        ("{{Context.namespace_id}}", "ns_1"),
        ("{{STAGE.search.count}}", 3),
        ("{{ 'yes' if INPUT.on else 'no' }}", "no"),
        ("{{ max(INPUT.k, 7) }}", 7),
        ("{{ INPUT.query.upper() }}", "RED CAR"),
    ],
)
def test_a_text_that_is_one_expression_keeps_its_values_type(source: str, value: Any) -> None:
    found = rendered(source)
    assert found == value
    assert type(found) is type(value)


@pytest.mark.parametrize(
    ("source", "text"),
    [
        ("a {{INPUT.query}}!", "a red car!"),
        ("<{{INPUT.missing.x}}>", "<>"),
        ("{% for tag in DOC.tags %}{{ tag }}{% if not loop.last %},{% endif %}{% endfor %}", "a,b"),
        ('{"t": {{ DOC.title | tojson }}, "n": {{ DOC.none | tojson }}}', '{"t": "a \\"b\\"", "n": null}'),
        ("{INPUT.query}", "{INPUT.query}"),
        ("{{ DOC.tags | join('-') }} ", "a-b"),
    ],
)
def test_any_other_text_renders_to_text(source: str, text: str) -> None:
    assert rendered(source) == text


ESCAPES = [
    "{{ ''.__class__ }}",
    "{{ ''.__class__.__mro__[1].__subclasses__() }}",
    "{{ INPUT.__class__ }}",
    "{{ INPUT['__class__'] }}",
    "{{ INPUT.query.__init__.__globals__ }}",
    "{{ (1).__class__ }}",
    "{{ ''|attr('__class__') }}",
    "{{ DOC.tags|map(attribute='__class__')|list }}",
    "{{ self }}",
    "{{ self.__init__ }}",
    "{{ cycler.__init__ }}",
    "{{ lipsum.__globals__ }}",
    "{{ joiner }}",
    "{{ namespace() }}",
    "{{ config }}",
    "{{ secrets.key }}",
    "{{ _budget }}",
    "{{ loop.__class__ }}",
    "{{ range.__globals__ }}",
    "{{ '{0.__class__}'.format(1) }}",
    "{{ '%s' % INPUT }}",
    "{{ INPUT.items.append(3) }}",
    "{{ INPUT.update({}) }}",
    "{% include '/etc/passwd' %}",
    "{% import 'os' as os %}",
    "{% extends 'x' %}",
    "{% macro f() %}{{ f() }}{% endmacro %}",
    "{% set x %}a{% endset %}",
    "{% filter upper %}a{% endfilter %}",
    "{% for a in INPUT.items recursive %}{{ loop(INPUT.items) }}{% endfor %}",
]


@pytest.mark.parametrize("source", ESCAPES)
def test_nothing_leads_out_of_the_sandbox(source: str) -> None:
    with pytest.raises(ValidationError) as refusal:
        rendered(source)
    assert places(refusal) == ["f"]


BOMBS = [
    "{% for i in range(10**9) %}x{% endfor %}",
    "{% for i in range(10000) %}{% for j in range(10000) %}{% endfor %}{% endfor %}",
    "{% for i in range(10000) %}{{ INPUT.big }}{% endfor %}",
    "{% for i in range(10000) %}{{ INPUT.big|length }}{% endfor %}",
    "{% for i in range(10000) %}{{ INPUT.big == 'y' }}{% endfor %}",
    "{% for i in range(10000) %}{{ INPUT.big[1:]|length }}{% endfor %}",
    "{{ 'a' * 10**9 }}",
    "{{ [1] * 10**9 }}",
    "{{ (10 ** 999) ** 999 }}",
    "{% for i in range(10000) %}{{ INPUT.big == INPUT.big ~ '' }}{% endfor %}",
    "{{ 10 ** (10 ** 10) }}",
    "{% set a = INPUT.big ~ INPUT.big %}{% set b = a ~ a ~ a ~ a %}{{ b ~ b }}",
    "{{ INPUT.big|replace('x', 'yyyyyyyyyyyyyyyyyyyyyyyyyyy')|length }}",
    "{{ INPUT.big|list|join('yyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyy')|length }}",
    "{{ 'a'|center(1000000000) }}",
    "{{ range(3)|map('center', 1000000000)|list }}",
    "{{ 'a'.ljust(10**9) }}",
    "{{ '%1000000000d' % 1 }}",
    "{{ '{:>1000000000}'.format(1) }}",
    "{{ 1|round(10**9, 'ceil') }}",
    "{{ [1]|batch(10**9, 0)|list }}",
    "{{ [1]|sum(start=[]) }}",
    "{{" + "(" * 5000 + "1" + ")" * 5000 + "}}",
    "{{" + "-" * 5000 + "1}}",
    "x" * 100_000 + "{{INPUT.k}}",
]


@pytest.mark.parametrize("source", BOMBS, ids=range(len(BOMBS)))
def test_no_template_can_hold_up_the_server(source: str) -> None:
    began = time.process_time()
    with pytest.raises(ValidationError):
        rendered(source)
    assert time.process_time() - began < 1.5


@pytest.mark.parametrize("source", ["{{", "{{ INPUT.query", "{% if %}", "{{ nothing }}", "{{ INPUT. }}"])
def test_what_is_no_template_is_refused_with_its_place(source: str) -> None:
    with pytest.raises(ValidationError, match="not valid"):
        template(source, field="stages.0.config.parameters.value")


def test_a_tree_renders_only_what_is_a_template() -> None:
    fixed = {"AND": [1, 2]}
    tree = TemplateTree(
        {"a": "{{INPUT.k}}", "b": [{"c": "{{INPUT.query}}"}, "plain"], "fixed": fixed, "own": "{{DOC.x}}"},
        field="p",
        keep=frozenset({"own"}),
    )
    found = tree.render(NAMES)
    assert found == {"a": 5, "b": [{"c": "red car"}, "plain"], "fixed": fixed, "own": "{{DOC.x}}"}
    assert found["fixed"] is fixed
    assert tree.reads == {"input"}


def test_a_tree_without_templates_hands_out_its_value() -> None:
    value = {"a": [1, {"b": "c"}]}
    tree = TemplateTree(value, field="p")  # type: ignore[arg-type]
    assert tree.render(NAMES) is value


def test_errors_name_the_place_in_the_tree() -> None:
    with pytest.raises(ValidationError) as refusal:
        TemplateTree({"searches": [{"query": "{{ 1/0 }}"}]}, field="p").render(NAMES)
    assert places(refusal) == ["p.searches.0.query"]

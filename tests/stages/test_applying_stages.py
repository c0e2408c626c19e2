"""`json_transform` and `unwind`, and `attribute_filter` on documents that are there."""

from typing import Any

import pytest

from lamina.core.errors import NotEnabledError, ValidationError
from tests.stages.world import World, applied, ids, numbered, places, search, stage


async def test_a_template_writes_documents_anew() -> None:
    written = '{"id": "{{ DOC.document_id }}", "tags": {{ doc.tags | tojson }}, "word": "{{ INPUT.word }}"}'
    found = await applied("json_transform", numbered({"tags": ["a"]}, {}), template=written)
    assert found == [{"id": "1", "tags": ["a"], "word": "hi"}, {"id": "2", "tags": None, "word": "hi"}]


async def test_a_document_that_fails_is_left_out_and_told(world: World) -> None:
    written = '{"title": "{{ DOC.text }}"{% if DOC.year == 2003 %},{% endif %}}'
    answer = await world.run(search(), stage("json_transform", template=written))
    assert len(answer["documents"]) == 4
    assert answer["stage_statistics"]["stages"]["json_transform"]["metadata"] == {"failed": 1}
    assert "left out 1" in answer["warnings"][0]
    strict = stage("json_transform", template=written, fail_on_error=True)
    with pytest.raises(ValidationError, match="valid JSON"):
        await world.run(search(), strict)


async def test_a_template_has_to_make_an_object() -> None:
    with pytest.raises(ValidationError, match="JSON object"):
        await applied("json_transform", numbered({}), template="[1]", fail_on_error=True)


async def test_a_broken_template_is_refused_when_it_is_written() -> None:
    with pytest.raises(ValidationError) as refusal:
        await applied("json_transform", [], template="{{ DOC.x")
    assert places(refusal) == ["stages.0.config.parameters.template"]


async def test_unwinding_repeats_the_other_fields() -> None:
    documents = numbered({"m": {"tags": ["a", "b"], "k": 1}})
    found = await applied("unwind", documents, field="m.tags", include_array_index="place")
    assert found == [
        {"document_id": "1", "m": {"tags": "a", "k": 1}, "place": 0},
        {"document_id": "1", "m": {"tags": "b", "k": 1}, "place": 1},
    ]
    assert documents[0]["m"]["tags"] == ["a", "b"]


async def test_unwinding_into_a_field_keeps_the_array() -> None:
    found = await applied("unwind", numbered({"tags": ["a", "b"]}), field="tags", output_field="m.tag")
    assert [(each["m"]["tag"], each["tags"]) for each in found] == [("a", ["a", "b"]), ("b", ["a", "b"])]


@pytest.mark.parametrize("empty", [{}, {"tags": None}, {"tags": []}])
async def test_empty_arrays_are_dropped_or_kept_with_null(empty: dict[str, Any]) -> None:
    assert await applied("unwind", numbered(empty), field="tags") == []
    kept = await applied("unwind", numbered(empty), field="tags", preserve_null_and_empty=True)
    assert kept == [{"document_id": "1", "tags": None}]


async def test_what_is_no_array_passes_through() -> None:
    documents = numbered({"tags": "alone"})
    assert await applied("unwind", documents, field="tags") == documents


FRUIT = [{"kind": "Apple", "n": 3}, {"kind": "pear", "n": 5}, {"n": 7}]


@pytest.mark.parametrize(
    ("parameters", "expected"),
    [
        ({"field": "kind", "operator": "eq", "value": "Apple"}, ["1"]),
        ({"field": "kind", "operator": "eq", "value": "apple"}, []),
        ({"field": "kind", "value": "apple", "case_insensitive": True}, ["1"]),
        ({"field": "n", "operator": "gte", "value": 5}, ["2", "3"]),
        ({"field": "kind", "operator": "exists"}, ["1", "2"]),
        ({"field": "kind", "operator": "is_null"}, ["3"]),
        (
            {"conditions": {"OR": [{"field": "n", "operator": "eq", "value": 3}, {"kind": "pear"}]}},
            ["1", "2"],
        ),
        ({"NOT": [{"field": "n", "operator": "gt", "value": 4}]}, ["1"]),
        ({"conditions": {"kind": "APPLE", "case_sensitive": False}}, ["1"]),
        ({"field": "kind", "operator": "in", "value": ["pear", "plum"]}, ["2"]),
    ],
)
async def test_documents_are_kept_by_their_fields(parameters: dict[str, Any], expected: list[str]) -> None:
    found = await applied("attribute_filter", numbered(*FRUIT), **parameters)
    assert [document["document_id"] for document in found] == expected


@pytest.mark.parametrize(
    "wrong",
    [
        {"field": "n"},
        {"field": "n", "operator": "near", "value": 3},
        {"conditions": {"AND": [{"field": "n", "operator": "almost", "value": 3}]}},
        {"field": "n", "operator": "in", "value": 3},
    ],
)
async def test_a_filter_that_is_none_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValidationError) as refusal:
        await applied("attribute_filter", [], **wrong)
    assert places(refusal)[0].startswith("stages.0.config.parameters")


async def test_a_filter_in_plain_words_is_refused_not_ignored() -> None:
    with pytest.raises(NotEnabledError, match="language model"):
        await applied("attribute_filter", [], natural_language="only red ones")


async def test_a_filter_may_compare_fields_of_one_document(world: World) -> None:
    same = stage("attribute_filter", field="text", operator="starts_with", value="{{DOC.color}} w")
    assert ids(await world.run(search(), same)) == ["1"]


async def test_a_filter_at_the_start_fetches_what_matches(world: World) -> None:
    red = stage("attribute_filter", field="color", operator="eq", value="{{INPUT.color}}")
    answer = await world.run(red, inputs={"color": "red"}, collection_identifiers=["colors", "more"])
    assert sorted(ids(answer)) == ["1", "2", "6"]
    assert "score" not in answer["documents"][0]
    narrowed = await world.run(red, inputs={"color": "red"}, filters={"year": 2003})
    assert ids(narrowed) == ["2"]


async def test_document_fields_are_not_known_before_there_are_documents(world: World) -> None:
    with pytest.raises(ValidationError, match="DOC"):
        await world.run(stage("attribute_filter", field="text", operator="eq", value="{{DOC.color}}"))
    with pytest.raises(ValidationError, match="DOC"):
        await world.run(search("{{DOC.color}}"))


async def test_all_that_unwinding_makes_is_on_the_page(world: World) -> None:
    spread = stage("json_transform", template='{"letters": ["a", "b", "c", "d"]}')
    answer = await world.run(search(final_top_k=2), spread, stage("unwind", field="letters"))
    assert len(answer["documents"]) == answer["pagination"]["total"] == 8
    assert not answer["pagination"]["has_next"]

"""`limit`, `deduplicate`, `sample` and `group_by`."""

from collections import Counter
from random import Random
from typing import Any

import pytest

from lamina.core.errors import ValidationError
from lamina.retrieval.stages.reduce.deduplicate.similarity import NearDuplicates, trigrams
from lamina.retrieval.stages.reduce.sample.stage import allotted
from tests.stages.world import applied, numbered


def order(documents: list[dict[str, Any]]) -> str:
    return "".join(document["document_id"] for document in documents)


TEN = [{"v": n} for n in range(1, 10)]


@pytest.mark.parametrize(
    ("limit", "offset", "expected"), [(3, 0, "123"), (3, 7, "89"), (3, 20, ""), (100, 0, "123456789")]
)
async def test_limit_keeps_a_stretch(limit: int, offset: int, expected: str) -> None:
    assert order(await applied("limit", numbered(*TEN), limit=limit, offset=offset)) == expected


@pytest.mark.parametrize(("keep", "expected"), [("first", "124"), ("last", "345")])
async def test_one_of_each_set_of_equal_fields_stays(keep: str, expected: str) -> None:
    documents = numbered(
        {"a": 1, "b": "x"}, {"a": 1, "b": "y"}, {"a": 1, "b": "x"}, {"a": 2, "b": "x"}, {"a": 1, "b": "y"}
    )
    assert order(await applied("deduplicate", documents, fields=["a", "b"], keep=keep)) == expected


async def test_case_and_kind_make_values_different() -> None:
    documents = numbered({"a": "X"}, {"a": "x"}, {"a": 1}, {"a": True}, {"a": [1]}, {"a": [1]})
    assert order(await applied("deduplicate", documents, fields=["a"])) == "12345"
    assert order(await applied("deduplicate", documents, fields=["a"], case_sensitive=False)) == "1345"


async def test_documents_without_the_field_are_equal() -> None:
    assert order(await applied("deduplicate", numbered({}, {"a": None}, {"a": 1}), fields=["a"])) == "13"


async def test_similar_texts_are_duplicates_and_missing_ones_are_not() -> None:
    text = "the quick brown fox jumps over the lazy dog by the river bank"
    documents = numbered(
        {"content": text}, {"content": text + "s"}, {"content": "something else entirely"}, {}, {}
    )
    found = await applied("deduplicate", documents, strategy="content", similarity_threshold=0.9)
    assert order(found) == "1345"
    last = await applied("deduplicate", documents, strategy="content", similarity_threshold=0.9, keep="last")
    assert order(last) == "2345"


@pytest.mark.parametrize("threshold", [0.0, 0.3, 0.6, 0.8, 0.95, 1.0])
def test_near_duplicates_are_those_of_a_comparison_of_all_pairs(threshold: float) -> None:
    random = Random(5)
    words = ["red", "green", "blue", "wine", "glass", "leaf"]
    texts = [" ".join(random.choices(words, k=random.randint(0, 6))) for _ in range(150)]
    kept: list[frozenset[str]] = []
    expected = []
    for text in texts:
        grams = trigrams(text)
        new = all(len(grams & one) / len(grams | one) < threshold for one in kept)
        expected.append(new)
        if new:
            kept.append(grams)
    found = NearDuplicates(threshold)
    assert [found.is_new(text) for text in texts] == expected


async def test_deduplicating_by_field_needs_fields() -> None:
    with pytest.raises(ValidationError, match="needs fields"):
        await applied("deduplicate", [], strategy="field")


@pytest.mark.parametrize("strategy", ["random", "reservoir", "stratified"])
async def test_a_seeded_sample_repeats_and_keeps_the_order(strategy: str) -> None:
    documents = [{"document_id": f"{n:03}", "score": n / 100, "kind": n % 4} for n in range(100)]
    wanted = {"count": 20, "strategy": strategy, "stratify_by": "kind", "seed": 3, "preserve_top_k": 2}
    first = await applied("sample", documents, **wanted)
    assert first == await applied("sample", documents, **wanted)
    assert first != await applied("sample", documents, **{**wanted, "seed": 4})
    found = [document["document_id"] for document in first]
    assert found == sorted(found)
    assert len(set(found)) == 20
    assert {"099", "098"} <= set(found)


@pytest.mark.parametrize("strategy", ["random", "reservoir"])
async def test_every_document_is_equally_likely(strategy: str) -> None:
    documents = numbered(*[{} for _ in range(8)])
    counts: Counter[str] = Counter()
    for seed in range(2000):
        counts.update(order(await applied("sample", documents, count=2, strategy=strategy, seed=seed)))
    assert all(400 < counts[str(n)] < 600 for n in range(1, 9))


async def test_a_sample_larger_than_what_there_is_is_all() -> None:
    assert order(await applied("sample", numbered(*TEN), count=50)) == "123456789"


@pytest.mark.parametrize(
    ("sizes", "count", "minimum", "expected"),
    [
        ([80, 15, 5], 20, 0, [16, 3, 1]),
        ([80, 15, 5], 20, 1, [15, 3, 2]),
        ([98, 1, 1], 10, 1, [8, 1, 1]),
        ([5, 5, 5], 2, 1, [1, 1, 0]),
        ([2, 2], 10, 1, [2, 2]),
    ],
)
def test_strata_get_their_minimum_and_then_their_proportion(
    sizes: list[int], count: int, minimum: int, expected: list[int]
) -> None:
    found = allotted(sizes, count, minimum)
    assert sum(found) == min(count, sum(sizes))
    assert found == expected


@pytest.mark.parametrize("wrong", [{"strategy": "stratified"}, {"count": 2, "preserve_top_k": 3}])
async def test_a_sample_that_contradicts_itself_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        await applied("sample", [], **wrong)


GROUPED = [
    {"score": 0.4, "_internal": {"lineage": {"source_object_id": "a"}}},
    {"score": 0.9, "_internal": {"lineage": {"source_object_id": "b"}}},
    {"score": 0.7, "_internal": {"lineage": {"source_object_id": "a"}}},
    {"score": 0.1, "_internal": {"lineage": {"source_object_id": "a"}}},
    {"score": 0.2},
]


async def test_groups_come_with_their_best_documents_first() -> None:
    found = await applied("group_by", numbered(*GROUPED), max_per_group=2)
    shown = [(each.get("group_key"), each["count"], order(each["documents"])) for each in found]
    assert shown == [("b", 1, "2"), ("a", 2, "31"), (None, 1, "5")]
    assert [(each["document_id"], each["score"]) for each in found] == [("2", 0.9), ("3", 0.7), ("5", 0.2)]


async def test_the_other_modes_show_documents() -> None:
    documents = numbered(*GROUPED)
    assert order(await applied("group_by", documents, output_mode="first")) == "235"
    assert order(await applied("group_by", documents, output_mode="flatten", max_per_group=2)) == "2315"


async def test_without_scores_groups_keep_their_order() -> None:
    documents = numbered({"k": "x"}, {"k": "y"}, {"k": "x"})
    assert order(await applied("group_by", documents, group_by_field="k", output_mode="flatten")) == "132"

"""What every vector store promises."""

import asyncio
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest

from lamina.core.errors import NotFoundError, ValidationError
from lamina.core.filters import ALL, NONE, And, Condition, Not, equals
from lamina.core.types import JsonObject
from lamina.stores.vectors.base import (
    CollectionInfo,
    CollectionRef,
    Lexical,
    Nearest,
    OrderBy,
    Point,
    PointPage,
    SparseVector,
    VectorQuery,
    VectorSpec,
    VectorStore,
)
from tests.stores.vector_points import AT, ELSEWHERE, SIZE, document, every_page, filled, ids

# Collections


async def test_a_collection_that_was_never_created_reads_as_empty(vectors: VectorStore) -> None:
    assert await vectors.get(AT, ["doc_1"]) == []
    assert await vectors.search(AT, VectorQuery(Nearest([1.0], "any"), limit=5)) == []
    assert await vectors.scroll(AT, limit=5) == PointPage([])
    assert await vectors.scroll(AT, limit=5, order=OrderBy("n")) == PointPage([])
    assert await vectors.count(AT) == 0
    assert await vectors.facet(AT, "parity", limit=5) == []
    assert await vectors.info(AT) == CollectionInfo(0, (), {})
    assert await vectors.delete_where(AT, ALL) == 0
    await vectors.delete(AT, ["doc_1"])
    await vectors.drop(AT)
    assert await vectors.collections("ns_1") == []


async def test_writing_to_a_collection_that_was_never_created_is_refused(vectors: VectorStore) -> None:
    with pytest.raises(NotFoundError):
        await vectors.upsert(AT, [document(1)])
    with pytest.raises(NotFoundError):
        await vectors.index(AT, "number", "integer")


async def test_creating_twice_is_creating_once(vectors: VectorStore) -> None:
    await filled(vectors)
    await vectors.create(AT, [VectorSpec("dense", SIZE)])
    assert await vectors.count(AT) == 20


async def test_collections_are_listed_by_namespace(vectors: VectorStore) -> None:
    for at in (ELSEWHERE, AT, CollectionRef("ns_2", "col_9")):
        await vectors.create(at, [])
    assert await vectors.collections("ns_1") == ["col_1", "col_2"]
    assert await vectors.collections("ns_2") == ["col_9"]
    assert await vectors.collections("ns_3") == []


async def test_collections_do_not_see_each_other(vectors: VectorStore) -> None:
    await filled(vectors)
    await filled(vectors, [100], ELSEWHERE)
    assert ids(await vectors.scroll(ELSEWHERE, limit=10)) == ["doc_100"]
    assert await vectors.get(AT, ["doc_100"]) == []
    await vectors.delete_where(ELSEWHERE, ALL)
    assert await vectors.count(AT) == 20


async def test_a_dropped_collection_is_gone_and_can_be_made_anew(vectors: VectorStore) -> None:
    await filled(vectors)
    await vectors.drop(AT)
    assert await vectors.collections("ns_1") == []
    assert await vectors.count(AT) == 0
    with pytest.raises(NotFoundError):
        await vectors.upsert(AT, [document(1)])
    await vectors.create(AT, [VectorSpec("other", 2)])
    assert await vectors.count(AT) == 0
    assert [spec.name for spec in (await vectors.info(AT)).vectors] == ["other"]


async def test_dropping_a_namespace_drops_its_collections_only(vectors: VectorStore) -> None:
    other = CollectionRef("ns_2", "col_1")
    for at in (AT, ELSEWHERE, other):
        await filled(vectors, range(3), at)
    await vectors.drop_namespace("ns_1")
    assert await vectors.collections("ns_1") == []
    assert await vectors.count(AT) == 0
    assert await vectors.count(other) == 3


async def test_info_tells_size_vectors_and_indexes(vectors: VectorStore) -> None:
    specs = [
        VectorSpec("dense", SIZE),
        VectorSpec("multi", 3, "dot", "multi"),
        VectorSpec("words", kind="sparse"),
    ]
    await vectors.create(AT, specs)
    await vectors.upsert(AT, [document(1), document(2)])
    info = await vectors.info(AT)
    assert info.points == 2
    assert list(info.vectors) == specs
    assert info.indexes["_internal.lineage.root_object_id"] == "keyword"
    assert info.indexes["_internal.created_at"] == "datetime"


@pytest.mark.parametrize("id", ["", "../up", "a/b", "a b", ".hidden", "x" * 129, "ü"])
async def test_ids_that_could_leave_the_folder_are_refused(id: str, vectors: VectorStore) -> None:
    with pytest.raises(ValidationError, match="is no id"):
        await vectors.create(CollectionRef("ns_1", id), [])
    with pytest.raises(ValidationError, match="is no id"):
        await vectors.create(CollectionRef(id, "col_1"), [])
    with pytest.raises(ValidationError, match="is no id"):
        await vectors.collections(id)


async def test_a_collection_can_gain_vectors_and_keeps_all_it_had(vectors: VectorStore) -> None:
    await filled(vectors)
    await vectors.upsert(
        AT, [Point("doc_text", {"number": 99}, {"dense": [0, 0, 0, 1]}, lexical="gained vectors")]
    )
    await vectors.index(AT, "number", "integer")
    await vectors.create(AT, [VectorSpec("later", 2, "dot"), VectorSpec("words", kind="sparse")])
    info = await vectors.info(AT)
    assert (info.points, info.indexes["number"]) == (21, "integer")
    assert [spec.name for spec in info.vectors] == ["dense", "later", "words"]
    await vectors.upsert(AT, [Point("doc_new", {}, {"later": [3, 4], "words": SparseVector([7], [1.0])})])
    assert ids(await vectors.search(AT, VectorQuery(Nearest([1, 1], "later"), limit=5))) == ["doc_new"]
    assert ids(await vectors.search(AT, VectorQuery(Lexical("vector"), limit=5))) == ["doc_text"]
    assert ids(await vectors.search(AT, VectorQuery(Nearest([1, 0, 0, 0], "dense"), limit=1))) == ["doc_000"]
    [old, new] = await vectors.get(AT, ["doc_003", "doc_new"], with_vectors=True)
    assert (list(old.vector_names), list(old.vectors)) == (["dense"], ["dense"])
    assert sorted(new.vector_names) == ["later", "words"]


async def test_a_vector_cannot_change_its_size_or_distance(vectors: VectorStore) -> None:
    await filled(vectors, range(2))
    with pytest.raises(ValidationError, match=r"dense \(4\), cosine"):
        await vectors.create(AT, [VectorSpec("dense", 5)])
    with pytest.raises(ValidationError):
        await vectors.create(AT, [VectorSpec("dense", SIZE, "dot")])


@pytest.mark.parametrize(
    "spec", [VectorSpec("", 4), VectorSpec("bm25", 4), VectorSpec("v"), VectorSpec("v", 0)]
)
async def test_impossible_vectors_are_refused(spec: VectorSpec, vectors: VectorStore) -> None:
    with pytest.raises(ValidationError):
        await vectors.create(AT, [spec])
    assert await vectors.collections("ns_1") == []


async def test_a_vector_may_have_any_name(vectors: VectorStore) -> None:
    names = ["a/b é", "mixpeek://x@v1/y", "100%", "UPPER"]
    await vectors.create(AT, [VectorSpec(name, 2) for name in names])
    await vectors.upsert(AT, [Point("doc_1", {}, {name: [1.0, 0.0] for name in names})])
    assert len(await vectors.search(AT, VectorQuery(Nearest([1, 0], "a/b é"), limit=1))) == 1
    [point] = await vectors.get(AT, ["doc_1"], with_vectors=["a/b é"])
    assert list(point.vectors) == ["a/b é"]
    assert sorted(point.vector_names) == sorted(names)


# Writing and reading


async def test_what_is_read_is_what_was_written(vectors: VectorStore) -> None:
    payload: JsonObject = {
        "text": "ünïcödé 日本語 \u0000 \"quoted\"",
        "numbers": [0, -1, 1.5, 1e300, 2**53 + 1, -(2**62)],
        "nested": {"list": [{"a": None}, [], {}, [[1]]], "": "empty key", "a.b": 1},
        "flags": [True, False, None],
        "float": 1.0,
        "_internal": {"created_at": "2026-01-01T00:00:00.000000Z"},
    }  # fmt: skip
    await vectors.create(AT, [VectorSpec("dense", SIZE)])
    await vectors.upsert(AT, [Point("doc_1", payload, {"dense": [1, 2, 3, 4]})])
    [point] = await vectors.get(AT, ["doc_1"])
    assert point.payload == {**payload, "document_id": "doc_1", "collection_id": "col_1"}
    assert isinstance(point.payload["float"], float)
    assert point.vectors == {}
    assert list(point.vector_names) == ["dense"]


async def test_the_next_read_sees_the_last_write(vectors: VectorStore) -> None:
    await filled(vectors, [])
    for number in range(30):
        await vectors.upsert(AT, [document(number)])
        assert len(await vectors.get(AT, [f"doc_{number:03d}"])) == 1
        assert await vectors.count(AT, equals("number", number)) == 1
        assert await vectors.count(AT, Condition("parity", "eq", "even")) == number // 2 + 1


async def test_points_come_in_the_order_asked_for_and_unknown_ones_not_at_all(vectors: VectorStore) -> None:
    await filled(vectors)
    wanted = ["doc_007", "doc_nope", "doc_001", "doc_019"]
    assert ids(await vectors.get(AT, wanted)) == ["doc_007", "doc_001", "doc_019"]
    assert await vectors.get(AT, []) == []


async def test_writing_a_point_again_replaces_it_whole(vectors: VectorStore) -> None:
    await vectors.create(AT, [VectorSpec("a", 2), VectorSpec("b", 2)])
    await vectors.upsert(AT, [Point("doc_1", {"x": 1, "y": 2}, {"a": [1, 0], "b": [0, 1]}, lexical="first")])
    await vectors.upsert(AT, [Point("doc_1", {"x": 3}, {"a": [0, 1]})])
    [point] = await vectors.get(AT, ["doc_1"], with_vectors=True)
    assert point.payload == {"x": 3, "document_id": "doc_1", "collection_id": "col_1"}
    assert (list(point.vectors), list(point.vector_names)) == (["a"], ["a"])
    assert await vectors.search(AT, VectorQuery(Lexical("first"), limit=5)) == []
    assert await vectors.count(AT) == 1


async def test_the_last_of_equal_ids_in_one_write_counts(vectors: VectorStore) -> None:
    await vectors.create(AT, [])
    await vectors.upsert(AT, [Point("doc_1", {"x": 1}), Point("doc_1", {"x": 2})])
    assert [point.payload["x"] for point in (await vectors.scroll(AT, limit=5)).points] == [2]


async def test_payloads_are_replaced_and_vectors_stay(vectors: VectorStore) -> None:
    await filled(vectors, range(5))
    await vectors.replace_payloads(AT, {"doc_001": {"fresh": True}, "doc_nope": {"fresh": True}})
    [point] = await vectors.get(AT, ["doc_001"], with_vectors=True)
    assert point.payload == {"fresh": True, "document_id": "doc_001", "collection_id": "col_1"}
    assert list(point.vectors) == list(point.vector_names) == ["dense"]
    assert await vectors.count(AT) == 5
    assert await vectors.count(AT, equals("fresh", True)) == 1
    assert await vectors.count(AT, equals("number", 1)) == 0


async def test_deleting_by_id_removes_those_that_exist(vectors: VectorStore) -> None:
    await filled(vectors, range(5))
    await vectors.delete(AT, ["doc_001", "doc_nope", "doc_003"])
    assert await every_page(vectors, 10, order=OrderBy("number")) == ["doc_000", "doc_002", "doc_004"]
    assert await vectors.count(AT) == 3


async def test_deleting_by_filter_tells_how_many_there_were(vectors: VectorStore) -> None:
    await filled(vectors)
    assert await vectors.delete_where(AT, Condition("parity", "eq", "odd")) == 10
    assert await vectors.delete_where(AT, Condition("parity", "eq", "odd")) == 0
    assert await vectors.delete_where(AT, Condition("parity", "regex", "^E")) == 10
    assert await vectors.count(AT) == 0


async def test_a_collection_needs_no_vectors(vectors: VectorStore) -> None:
    await vectors.create(AT, [])
    await vectors.upsert(AT, [Point("doc_1", {"a": 1}), Point("doc_2", {"a": 2}, lexical="only words")])
    assert ids(await vectors.get(AT, ["doc_1"], with_vectors=True)) == ["doc_1"]
    assert ids(await vectors.search(AT, VectorQuery(Lexical("word"), limit=5))) == ["doc_2"]
    assert await vectors.count(AT, equals("a", 1)) == 1


async def test_vectors_are_read_only_when_asked_for(vectors: VectorStore) -> None:
    await vectors.create(
        AT,
        [
            VectorSpec("dense", 2, "dot"),
            VectorSpec("multi", 2, "dot", "multi"),
            VectorSpec("words", kind="sparse"),
        ],
    )
    written = {
        "dense": [1.5, -2.0],
        "multi": [[1.0, 0.0], [0.5, 0.5]],
        "words": SparseVector([3, 70_000], [0.5, 2.0]),
    }
    await vectors.upsert(AT, [Point("doc_1", {}, cast(Any, written), lexical="never read back")])
    [point] = await vectors.get(AT, ["doc_1"], with_vectors=True)
    assert dict(point.vectors) == written
    [point] = await vectors.get(AT, ["doc_1"], with_vectors=["multi"])
    assert dict(point.vectors) == {"multi": written["multi"]}
    [point] = (await vectors.scroll(AT, limit=1, with_vectors=True)).points
    assert set(point.vectors) == set(point.vector_names) == set(written)
    [point] = (await vectors.scroll(AT, limit=1)).points
    assert point.vectors == {}
    with pytest.raises(ValidationError, match="It has: dense"):
        await vectors.get(AT, ["doc_1"], with_vectors=["nope"])


async def test_numpy_vectors_are_as_good_as_lists(vectors: VectorStore) -> None:
    await vectors.create(AT, [VectorSpec("dense", 3, "dot"), VectorSpec("multi", 3, "dot", "multi")])
    rows = np.arange(6, dtype=np.float32).reshape(2, 3)
    await vectors.upsert(AT, [Point("doc_1", {}, {"dense": rows[1], "multi": rows})])
    [point] = await vectors.get(AT, ["doc_1"], with_vectors=True)
    assert dict(point.vectors) == {"dense": [3.0, 4.0, 5.0], "multi": rows.tolist()}
    [hit] = await vectors.search(AT, VectorQuery(Nearest(rows[0], "dense"), limit=1))
    assert hit.score == pytest.approx(14.0)


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"nope": [1, 2, 3, 4]}, r"no vector 'nope'. It has: dense \(4\), multi \(2\), words \(sparse\)"),
        ({"dense": [1, 2, 3]}, r"of shape 3; .*dense \(4\)"),
        ({"dense": []}, "of shape 0"),
        ({"dense": [[1, 2, 3, 4]]}, "of shape 1 x 4"),
        ({"dense": [1, 2, float("nan"), 4]}, "not finite"),
        ({"dense": [1, 2, 1e39, 4]}, "not finite"),
        ({"dense": ["a", 2, 3, 4]}, "no array of numbers"),
        ({"multi": [1, 2]}, "of shape 2"),
        ({"multi": [[1, 2], [3]]}, "no array of numbers"),
        ({"words": [1.0, 2.0]}, "no pair"),
        ({"words": SparseVector([1, 1], [1.0, 1.0])}, "must differ"),
        ({"words": SparseVector([-1], [1.0])}, "lie between"),
        ({"words": SparseVector([1], [float("inf")])}, "not finite"),
        ({"words": SparseVector([1], [1e39])}, "not finite"),
        ({"words": SparseVector([1], [1.0, 2.0])}, "no pair"),
    ],
)
async def test_a_wrong_vector_is_refused_and_nothing_is_half_written(
    wrong: dict[str, Any], words: str, vectors: VectorStore
) -> None:
    specs = [VectorSpec("dense", 4), VectorSpec("multi", 2, kind="multi"), VectorSpec("words", kind="sparse")]
    await vectors.create(AT, specs)
    with pytest.raises(ValidationError, match=words):
        await vectors.upsert(AT, [document(1), Point("doc_bad", {}, wrong)])
    assert await vectors.count(AT) == 0
    [(name, vector)] = wrong.items()
    with pytest.raises(ValidationError, match=words):
        await vectors.search(AT, VectorQuery(Nearest(vector, name), limit=5))


@pytest.mark.parametrize("payload", [{"x": float("nan")}, {"x": object()}, {"x": {1: 2}}, {"x": "\ud800"}])
async def test_a_payload_that_is_no_json_is_refused(payload: Any, vectors: VectorStore) -> None:
    await filled(vectors, range(2))
    with pytest.raises(ValidationError, match="JSON"):
        await vectors.upsert(AT, [document(5), Point("doc_bad", payload)])
    with pytest.raises(ValidationError, match="JSON"):
        await vectors.replace_payloads(AT, {"doc_001": payload})
    assert await vectors.count(AT) == 2


# Search


async def test_the_nearest_come_first_with_their_similarity(vectors: VectorStore) -> None:
    await filled(vectors)
    hits = await vectors.search(AT, VectorQuery(Nearest([2.0, 0.0, 0.0, 0.0], "dense"), limit=3))
    assert ids(hits) == ["doc_000", "doc_001", "doc_002"]
    assert [hit.score for hit in hits] == pytest.approx([1, np.cos(1 / 50), np.cos(2 / 50)], abs=1e-5)
    assert hits[0].point.payload["number"] == 0
    assert list(hits[0].point.vector_names) == ["dense"]


@pytest.mark.parametrize("exact", [False, True])
async def test_search_finds_what_comparing_all_would_find(exact: bool, vectors: VectorStore) -> None:
    rows = np.random.default_rng(3).normal(size=(800, 64)).astype(np.float32)
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    await vectors.create(AT, [VectorSpec("dense", 64)])
    await vectors.upsert(AT, [Point(f"doc_{n:03d}", {"n": n}, {"dense": row}) for n, row in enumerate(rows)])
    found = 0
    for query in rows[:30]:
        hits = await vectors.search(AT, VectorQuery(Nearest(query, "dense"), limit=10, exact=exact))
        best = np.argsort(-(rows @ query))[:10]
        found += len(set(ids(hits)) & {f"doc_{n:03d}" for n in best})
        assert hits[0].score == pytest.approx(1.0, abs=1e-5)
    assert found >= (300 if exact else 295)


async def test_dot_product_scores_are_not_normalised(vectors: VectorStore) -> None:
    await vectors.create(AT, [VectorSpec("dense", 2, "dot")])
    await vectors.upsert(AT, [Point("doc_1", {}, {"dense": [1, 1]}), Point("doc_2", {}, {"dense": [3, 3]})])
    hits = await vectors.search(AT, VectorQuery(Nearest([1, 2], "dense"), limit=5))
    assert [(hit.point.document_id, hit.score) for hit in hits] == [("doc_2", 9.0), ("doc_1", 3.0)]


async def test_euclidean_scores_are_higher_for_nearer_points(vectors: VectorStore) -> None:
    await vectors.create(AT, [VectorSpec("dense", 2, "euclidean")])
    points = [Point(f"doc_{n}", {}, {"dense": [float(n), 0.0]}) for n in range(5)]
    await vectors.upsert(AT, points)
    hits = await vectors.search(AT, VectorQuery(Nearest([0, 0], "dense"), limit=3, exact=True))
    assert ids(hits) == ["doc_0", "doc_1", "doc_2"]
    assert [hit.score for hit in hits] == pytest.approx([1, 1 / 2, 1 / 3])
    near = VectorQuery(Nearest([0, 0], "dense"), limit=5, min_score=0.5)
    assert ids(await vectors.search(AT, near)) == ["doc_0", "doc_1"]


async def test_multi_vectors_are_compared_by_the_best_match_of_each_row(vectors: VectorStore) -> None:
    await vectors.create(AT, [VectorSpec("multi", 2, "dot", "multi")])
    await vectors.upsert(
        AT,
        [
            Point("doc_1", {}, {"multi": [[1, 0], [0, 1]]}),
            Point("doc_2", {}, {"multi": [[1, 0], [1, 0], [1, 0]]}),
        ],
    )
    hits = await vectors.search(AT, VectorQuery(Nearest([[1, 0], [0, 2]], "multi"), limit=5))
    assert [(hit.point.document_id, hit.score) for hit in hits] == [("doc_1", 3.0), ("doc_2", 1.0)]


async def test_sparse_vectors_find_what_shares_an_index(vectors: VectorStore) -> None:
    await vectors.create(AT, [VectorSpec("words", kind="sparse")])
    await vectors.upsert(AT, [
        Point("doc_1", {}, {"words": SparseVector([1, 5], [1.0, 2.0])}),
        Point("doc_2", {}, {"words": SparseVector([5], [1.0])}),
        Point("doc_3", {}, {"words": SparseVector([9], [1.0])}),
    ])  # fmt: skip
    hits = await vectors.search(AT, VectorQuery(Nearest(SparseVector([5, 1], [1.0, 1.0]), "words"), limit=5))
    assert [(hit.point.document_id, hit.score) for hit in hits] == [("doc_1", 3.0), ("doc_2", 1.0)]


async def test_lexical_search_ranks_rare_words_and_stems(vectors: VectorStore) -> None:
    await vectors.create(AT, [])
    texts = ["The cat was running", "A dog and a cat", "Cats, cats and zebras", "Nothing of this"]
    await vectors.upsert(AT, [Point(f"doc_{n}", {}, lexical=text) for n, text in enumerate(texts)])
    hits = await vectors.search(AT, VectorQuery(Lexical("zebra cat"), limit=5))
    assert ids(hits)[0] == "doc_2"
    assert sorted(ids(hits)) == ["doc_0", "doc_1", "doc_2"]
    assert ids(await vectors.search(AT, VectorQuery(Lexical("RUNS"), limit=5))) == ["doc_0"]
    assert await vectors.search(AT, VectorQuery(Lexical("the and"), limit=5)) == []
    assert await vectors.search(AT, VectorQuery(Lexical(""), limit=5)) == []


async def test_a_search_never_gives_more_than_its_limit(vectors: VectorStore) -> None:
    await filled(vectors)
    for limit in (0, 1, 7, 20, 500):
        found = await vectors.search(AT, VectorQuery(Nearest([1, 0, 0, 0], "dense"), limit=limit))
        assert len(found) == min(limit, 20)


async def test_equal_scores_come_in_order_of_document_id(vectors: VectorStore) -> None:
    await vectors.create(AT, [VectorSpec("dense", 2)])
    names = [f"doc_{n:03d}" for n in random.Random(1).sample(range(300), 300)]
    await vectors.upsert(AT, [Point(name, {}, {"dense": [1, 0]}, lexical="same words") for name in names])
    for query in (Nearest([1.0, 0.0], "dense"), Lexical("words")):
        for limit in (1, 10, 299):
            hits = await vectors.search(AT, VectorQuery(query, limit=limit))
            assert ids(hits) == sorted(names)[:limit]


async def test_a_least_score_leaves_out_what_lies_below(vectors: VectorStore) -> None:
    await filled(vectors)
    query = Nearest([1.0, 0.0, 0.0, 0.0], "dense")
    hits = await vectors.search(AT, VectorQuery(query, limit=20, min_score=float(np.cos(4.5 / 50))))
    assert ids(hits) == [f"doc_{n:03d}" for n in range(5)]
    assert await vectors.search(AT, VectorQuery(query, limit=20, min_score=1.1)) == []


async def test_a_filter_is_applied_before_the_limit(vectors: VectorStore) -> None:
    await filled(vectors)
    nearest = Nearest([1.0, 0.0, 0.0, 0.0], "dense")
    for where in (
        Condition("parity", "eq", "odd"),
        Condition("parity", "regex", "^O"),
        And((Condition("parity", "starts_with", "o"), Condition("number", "gte", 0))),
        Not(equals("parity", "Even")),
    ):
        hits = await vectors.search(AT, VectorQuery(nearest, limit=3, where=where))
        assert ids(hits) == ["doc_001", "doc_003", "doc_005"]
    assert await vectors.search(AT, VectorQuery(nearest, limit=3, where=NONE)) == []


async def test_documents_are_found_by_their_own_ids_and_collections(vectors: VectorStore) -> None:
    await filled(vectors)
    assert await vectors.count(AT, equals("collection_id", "col_1")) == 20
    assert await vectors.count(AT, equals("collection_id", "col_2")) == 0
    some = Condition("document_id", "in", ["doc_003", "DOC_004", "doc_nope"])
    assert sorted(ids(await vectors.scroll(AT, limit=9, where=some))) == ["doc_003", "doc_004"]


async def test_search_reads_vectors_when_asked_for(vectors: VectorStore) -> None:
    await filled(vectors, range(3))
    [hit] = await vectors.search(AT, VectorQuery(Nearest([1, 0, 0, 0], "dense"), limit=1, with_vectors=True))
    assert hit.point.vectors["dense"] == pytest.approx([1, 0, 0, 0])


async def test_points_without_the_vector_are_not_found_by_it(vectors: VectorStore) -> None:
    await vectors.create(AT, [VectorSpec("a", 2), VectorSpec("b", 2)])
    await vectors.upsert(
        AT, [Point("doc_1", {}, {"a": [1, 0]}), Point("doc_2", {}, {"b": [1, 0]}), Point("doc_3", {})]
    )
    assert ids(await vectors.search(AT, VectorQuery(Nearest([1, 0], "a"), limit=5))) == ["doc_1"]
    assert await vectors.count(AT) == 3


# At once, and again


async def test_many_may_read_and_write_at_once(vectors: VectorStore) -> None:
    await filled(vectors, range(50))

    async def write(start: int) -> None:
        for number in range(start, start + 40, 10):
            await vectors.upsert(AT, [document(n) for n in range(number, number + 10)])

    async def read() -> None:
        for _ in range(20):
            assert len(await vectors.search(AT, VectorQuery(Nearest([1, 0, 0, 0], "dense"), limit=5))) == 5
            assert await vectors.count(AT, Condition("parity", "eq", "even")) >= 25
            assert len(await vectors.get(AT, ["doc_000", "doc_049"])) == 2

    async def grow() -> None:
        await vectors.create(AT, [VectorSpec("grown", 2)])

    await asyncio.gather(*(write(100 * n) for n in range(1, 6)), *(read() for _ in range(5)), grow())
    assert await vectors.count(AT) == 50 + 5 * 40
    assert len(await every_page(vectors, 33)) == 250


async def test_everything_is_there_after_closing_and_opening(
    open_vectors: Callable[[Path], VectorStore], tmp_path: Path
) -> None:
    store = await filled(open_vectors(tmp_path), range(50))
    await store.index(AT, "number", "integer")
    before = await store.scroll(AT, limit=100, with_vectors=True)
    assert await store.count(AT, Condition("parity", "eq", "ODD")) == 25
    await store.close()
    store = open_vectors(tmp_path)
    assert await store.collections("ns_1") == ["col_1"]
    assert await store.scroll(AT, limit=100, with_vectors=True) == before
    assert (await store.info(AT)).indexes["number"] == "integer"
    assert await store.count(AT, Condition("parity", "eq", "ODD")) == 25
    await store.close()


async def test_what_is_exported_makes_the_same_points_elsewhere(vectors: VectorStore) -> None:
    specs = [
        VectorSpec("dense", 4),
        VectorSpec("tokens", 2, kind="multi"),
        VectorSpec("words", kind="sparse"),
    ]
    await vectors.create(AT, specs)
    await vectors.create(ELSEWHERE, specs)
    made = [
        Point(
            f"doc_{n}",
            {"n": n, "tags": ["a", None, {"b": 1.5}]},
            {
                "dense": [n + 1, 2, 3, 4],
                "tokens": [[n, 1], [1, 0]],
                "words": SparseVector([n, 90], [1.0, 0.5]),
            }
            if n % 3
            else {},
            lexical=f"the word{n} flies" if n % 2 else None,
        )
        for n in range(25)
    ]
    await vectors.upsert(AT, made)
    after = None
    while True:
        page = await vectors.export(AT, limit=7, after=after)
        await vectors.upsert(ELSEWHERE, page.points)
        if (after := page.after) is None:
            break
    for n in range(25):
        (one,) = await vectors.get(AT, [f"doc_{n}"], with_vectors=True)
        (other,) = await vectors.get(ELSEWHERE, [f"doc_{n}"], with_vectors=True)
        assert one.payload | {"collection_id": ""} == other.payload | {"collection_id": ""}
        assert set(one.vectors) == set(other.vectors)
        if n % 3:
            assert np.allclose(one.vectors["dense"], other.vectors["dense"], atol=1e-6)  # type: ignore[arg-type]
            assert np.allclose(one.vectors["tokens"], other.vectors["tokens"], atol=1e-6)  # type: ignore[arg-type]
    for text in ("word3", "flying", "word4"):
        found = [await vectors.search(at, VectorQuery(Lexical(text), limit=20)) for at in (AT, ELSEWHERE)]
        assert ids(found[0]) == ids(found[1])
        assert [hit.score for hit in found[0]] == pytest.approx([hit.score for hit in found[1]])
    assert ids(await vectors.search(AT, VectorQuery(Lexical("word3"), limit=20))) == ["doc_3"]

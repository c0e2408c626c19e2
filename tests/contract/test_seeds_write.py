"""Golden tests of the two writing pages: create document (002) and patch document (003)."""

import re
from typing import Any

import httpx
import pytest

from tests.steps import Corpus, create_bucket, create_collection, ingest, invalid, ok, refused, unique

NESTED = {"document_id", "collection_id", "_internal"}

CHAIN = [
    {
        "collection_id": "col_articles",
        "feature_extractor_id": "text_extractor_v1",
        "timestamp": "2025-10-31T10:00:00Z",
    }
]

ORIGIN = {
    "root_object_id": "obj_article_001",
    "root_bucket_id": "bkt_content",
    "source_type": "bucket",
    "source_object_id": "obj_article_001",
    "lineage_path": "bkt_content/col_articles",
}


@pytest.fixture(scope="module")
def collection(api: httpx.Client) -> Any:
    """A collection without documents of its own making, shared by this module."""
    return create_collection(api, create_bucket(api)["bucket_id"])


def create(api: httpx.Client, collection: Any, **fields: Any) -> Any:
    """A new document."""
    path = f"/v1/collections/{collection['collection_id']}/documents"
    return ok(api.post(path, json={"collection_id": collection["collection_id"], **fields}))


def read(api: httpx.Client, collection: Any, document_id: str, **query: Any) -> Any:
    """The document as GET shows it."""
    return ok(api.get(f"/v1/collections/{collection['collection_id']}/documents/{document_id}", params=query))


def patch(api: httpx.Client, collection: Any, document_id: str, body: Any) -> Any:
    """The document as PATCH shows it."""
    return ok(api.patch(f"/v1/collections/{collection['collection_id']}/documents/{document_id}", json=body))


# Page 002 ----------------------------------------------------------------------------------------------


def test_a_created_document_comes_in_the_nested_form(api: httpx.Client, collection: Any) -> None:
    made = create(api, collection, title="T", metadata={"author": "A"}, lineage_chain=CHAIN, **ORIGIN)
    assert set(made) - {"document_blobs"} == NESTED | {"title", "metadata"}
    assert re.fullmatch(r"doc_[0-9a-f]{24}", made["document_id"])
    assert made["collection_id"] == collection["collection_id"]
    assert made["title"] == "T"
    assert made["metadata"] == {"author": "A"}
    internal = made["_internal"]
    assert internal["document_id"] == made["document_id"]
    assert internal["collection_id"] == made["collection_id"]
    lineage = internal["lineage"]
    assert lineage["root_object_id"] == "obj_article_001"
    assert lineage["root_bucket_id"] == "bkt_content"
    assert lineage["source_type"] == "bucket"
    assert lineage["source_object_id"] == "obj_article_001"
    assert lineage["path"] == "bkt_content/col_articles"
    (step,) = lineage["chain"]
    assert step["collection_id"] == "col_articles"
    assert step["feature_extractor_id"] == "text_extractor_v1"
    assert step["timestamp"].startswith("2025-10-31T10:00:00")


def test_a_created_document_reads_back_as_it_was_written(api: httpx.Client, collection: Any) -> None:
    fields = {
        "title": "T",
        "n": 1,
        "ratio": 0.5,
        "on": True,
        "tags": ["a", "b"],
        "deep": {"er": {"est": [1, {"x": 2}]}},
    }
    made = create(api, collection, metadata={"k": "v"}, **fields)
    found = read(api, collection, made["document_id"])
    for name, value in fields.items():
        assert made[name] == found[name] == value
    assert found["metadata"] == {"k": "v"}


def test_only_the_collection_id_is_needed(api: httpx.Client, collection: Any) -> None:
    made = create(api, collection)
    assert set(made) - {"document_blobs"} <= NESTED | {"metadata"}
    found = read(api, collection, made["document_id"])
    assert "source_type" not in found
    assert "root_object_id" not in found


def test_the_collection_id_may_be_left_to_the_path(api: httpx.Client, collection: Any) -> None:
    made = ok(api.post(f"/v1/collections/{collection['collection_id']}/documents", json={"title": "T"}))
    assert made["collection_id"] == collection["collection_id"]


@pytest.mark.parametrize(
    ("in_path", "in_body"), [("id", "id"), ("name", "id"), ("id", "name"), ("name", "name")]
)
def test_the_path_may_name_the_collection(
    api: httpx.Client, collection: Any, in_path: str, in_body: str
) -> None:
    path, body = collection[f"collection_{in_path}"], collection[f"collection_{in_body}"]
    answer = api.post(f"/v1/collections/{path}/documents", json={"collection_id": body})
    if in_body == "id":
        assert ok(answer)["collection_id"] == collection["collection_id"]
    else:
        assert answer.status_code in {200, 422}


def test_another_collection_in_the_body_is_refused(
    api: httpx.Client, collection: Any, corpus: Corpus
) -> None:
    path = f"/v1/collections/{collection['collection_id']}/documents"
    invalid(api.post(path, json={"collection_id": corpus.collection_id}), "collection_id")
    invalid(api.post(path, json={"collection_id": "col_0000000000"}), "collection_id")


def test_the_server_makes_the_document_id(api: httpx.Client, collection: Any) -> None:
    made = create(api, collection, title="mine")
    again = create(api, collection, title="mine")
    assert made["document_id"] != again["document_id"]


def test_an_id_that_a_document_has_is_refused_anywhere_in_the_namespace(
    api: httpx.Client, collection: Any
) -> None:
    own = {"document_id": unique("doc"), "v": 1}
    ok(api.post(f"/v1/collections/{collection['collection_id']}/documents", json=own))
    bucket = create_bucket(api)["bucket_id"]
    for place in (collection["collection_id"], create_collection(api, bucket)["collection_id"]):
        again = api.post(f"/v1/collections/{place}/documents", json={**own, "v": 2})
        refused(again, 409, "AlreadyExistsError")
    assert ok(api.get(f"/v1/documents/{own['document_id']}"))["v"] == 1


@pytest.mark.parametrize("kind", ["bucket", "collection", "direct_upsert", "signal"])
def test_source_types(api: httpx.Client, collection: Any, kind: str) -> None:
    parent = {"source_collection_id": "col_frames", "source_document_id": "doc_frame_050"}
    made = create(api, collection, source_type=kind, **(parent if kind == "collection" else {}))
    lineage = made["_internal"]["lineage"]
    assert lineage["source_type"] == kind
    if kind == "collection":
        assert lineage["source_collection_id"] == "col_frames"
        assert lineage["source_document_id"] == "doc_frame_050"


@pytest.mark.parametrize(
    ("wrong", "field"),
    [
        ({"source_type": "cloud"}, "source_type"),
        ({"lineage_chain": [{"collection_id": "col_a"}]}, "lineage_chain"),
        ({"lineage_chain": "col_a/col_b"}, "lineage_chain"),
        ({"metadata": [1, 2]}, "metadata"),
        ({"features": [{"payload": {}}]}, "features"),
        ({"root_object_id": 7}, "root_object_id"),
    ],
    ids=["source_type", "step", "chain", "metadata", "feature", "root_object_id"],
)
def test_wrong_fields_are_refused_by_name(
    api: httpx.Client, collection: Any, wrong: dict[str, Any], field: str
) -> None:
    path = f"/v1/collections/{collection['collection_id']}/documents"
    invalid(api.post(path, json={"collection_id": collection["collection_id"], **wrong}), field)


def test_an_unknown_collection_is_not_found(api: httpx.Client) -> None:
    body = {"collection_id": "col_0000000000"}
    error = refused(api.post("/v1/collections/col_0000000000/documents", json=body), 404, "NotFoundError")
    assert error["details"] == {"resource": "collection", "id": "col_0000000000"}


# Vectors of page 002 -------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def vectors(api: httpx.Client) -> Corpus:
    """A corpus whose collection gets documents with vectors of all sorts."""
    return ingest(api)


def unit(dimensions: int, at: int) -> list[float]:
    """A vector along one axis."""
    return [1.0 if n == at else 0.0 for n in range(dimensions)]


def with_feature(api: httpx.Client, corpus: Corpus, value: Any) -> httpx.Response:
    """Create a document with one feature, whose vectors are the value."""
    features = [{"feature_extractor_id": "text_extractor_v1", "payload": {"part": 1}, "vectors": value}]
    body = {"collection_id": corpus.collection_id, "features": features, "title": "Vectors"}
    return api.post(f"/v1/collections/{corpus.collection_id}/documents", json=body)


def with_vectors(api: httpx.Client, corpus: Corpus, value: Any) -> httpx.Response:
    """Create a document whose vectors are given by index name."""
    body = {"collection_id": corpus.collection_id, "vectors": value}
    return api.post(f"/v1/collections/{corpus.collection_id}/documents", json=body)


def stored(api: httpx.Client, corpus: Corpus, made: Any) -> Any:
    """The document with its vectors."""
    path = f"/v1/collections/{corpus.collection_id}/documents/{made['document_id']}"
    return ok(api.get(path, params={"return_vectors": "true"}))


def test_vectors_that_are_refused_leave_no_index_behind(api: httpx.Client, vectors: Corpus) -> None:
    twice = {"own": {"indices": [1, 1], "values": [1.0, 2.0]}}
    refused(with_feature(api, vectors, twice), 422, "ValidationError")
    collection = ok(api.get(f"/v1/collections/{vectors.collection_id}"))
    assert "own" not in {one["index"]["name"] for one in collection["vector_indexes"]}


@pytest.mark.parametrize("create_with", [with_feature, with_vectors])
def test_a_dense_vector_under_its_indexs_name_is_stored(
    api: httpx.Client, vectors: Corpus, create_with: Any
) -> None:
    vector = unit(vectors.dimensions, 3)
    found = stored(api, vectors, ok(create_with(api, vectors, {vectors.vector_name: vector})))
    assert found[vectors.vector_name] == pytest.approx(vector)
    assert found["vector"] == pytest.approx(vector)


@pytest.mark.parametrize(
    "value",
    [
        {"any": [0.0, 1.0, 0.0]},
        {"a": [1.0, 0.0], "b": [0.0, 1.0, 0.0]},
        {"words": [[1.0, 0.0], [0.0, 1.0]]},
        {"indices": [1, 2], "values": [0.5, 2.0]},
        {"indices": [1.0, 2.0], "values": [0.5, 2]},
    ],
    ids=["dense", "named", "multi", "sparse", "sparse-numbers"],
)
def test_every_form_of_vectors_is_stored_or_refused_never_dropped(
    api: httpx.Client, vectors: Corpus, value: dict[str, Any]
) -> None:
    answer = with_feature(api, vectors, value)
    if answer.status_code == 200:
        found = stored(api, vectors, answer.json())
        if "indices" in value:
            assert value in list(found.values())
        else:
            assert {name: found[name] for name in value} == value
    else:
        error = refused(answer, 422, "ValidationError")
        assert vectors.vector_name in error["message"], "the indexes that there are"


def test_no_vectors_at_all_are_fine(api: httpx.Client, vectors: Corpus) -> None:
    found = stored(api, vectors, ok(with_feature(api, vectors, None)))
    assert "vector" not in found
    assert vectors.vector_name not in found


def test_an_unknown_index_is_refused_with_those_there_are(api: httpx.Client, vectors: Corpus) -> None:
    value = {"no_such_index": unit(vectors.dimensions, 5)}
    error = refused(with_vectors(api, vectors, value), 422, "ValidationError")
    assert "no_such_index" in error["message"]
    assert vectors.vector_name in error["message"]
    assert str(vectors.dimensions) in error["message"]


@pytest.mark.parametrize("create_with", [with_feature, with_vectors])
def test_a_vector_of_another_length_is_refused(api: httpx.Client, vectors: Corpus, create_with: Any) -> None:
    error = refused(create_with(api, vectors, {vectors.vector_name: [0.1, 0.2]}), 422, "ValidationError")
    assert str(vectors.dimensions) in str(error)


@pytest.mark.parametrize(
    "value",
    [
        "words",
        [0.1, 0.2],
        {"a": "words"},
        {"a": [[0.1], ["x"]]},
        {"indices": [1], "values": [0.1, 0.2]},
        {"a": 1},
    ],
    ids=["string", "bare-list", "string-value", "mixed", "unequal", "number"],
)
def test_what_is_no_form_of_vectors_is_refused(api: httpx.Client, vectors: Corpus, value: Any) -> None:
    invalid(with_feature(api, vectors, value))


# Page 003 ----------------------------------------------------------------------------------------------


def test_a_patch_answers_in_its_own_form(api: httpx.Client, collection: Any) -> None:
    made = create(api, collection, title="T", metadata={"author": "A"}, lineage_chain=CHAIN, **ORIGIN)
    found = patch(api, collection, made["document_id"], {"metadata": {"read": True}})
    assert found["document_id"] == made["document_id"]
    assert found["collection_id"] == collection["collection_id"]
    assert found["document_schema_version"] in {"v1", "v2"}
    for name, value in ORIGIN.items():
        assert found[name] == value
    assert found["metadata"] == {"author": "A", "read": True}
    assert found["internal_metadata"] == found["_internal"]["metadata"]
    assert found["source_blobs"] == []
    assert found["document_blobs"] == []
    assert found["title"] == "T"
    lineage = found["lineage"]
    assert set(lineage) == {
        "root_object_id",
        "root_bucket_id",
        "source_type",
        "source_object_id",
        "lineage_chain",
    }
    assert lineage["root_object_id"] == "obj_article_001"
    assert lineage["root_bucket_id"] == "bkt_content"
    assert lineage["source_type"] == "bucket"
    assert lineage["lineage_chain"][0]["feature_extractor_id"] == "text_extractor_v1"


@pytest.mark.parametrize("version", ["v1", "v2"])
def test_the_schema_version_is_kept(api: httpx.Client, collection: Any, version: str) -> None:
    made = create(api, collection, document_schema_version=version)
    assert patch(api, collection, made["document_id"], {"n": 1})["document_schema_version"] == version


def test_the_default_schema_version_is_v1(api: httpx.Client, collection: Any) -> None:
    made = create(api, collection)
    assert patch(api, collection, made["document_id"], {})["document_schema_version"] == "v1"


def test_metadata_is_merged_key_by_key(api: httpx.Client, collection: Any) -> None:
    made = create(api, collection, metadata={"kept": 1, "changed": 1, "removed": 1, "deep": {"a": 1}})
    change = {"metadata": {"changed": 2, "removed": None, "added": [1], "deep": {"b": 2}}}
    found = patch(api, collection, made["document_id"], change)
    assert found["metadata"] == {"kept": 1, "changed": 2, "added": [1], "deep": {"b": 2}}
    assert read(api, collection, made["document_id"])["metadata"] == found["metadata"]


def test_null_metadata_changes_nothing(api: httpx.Client, collection: Any) -> None:
    made = create(api, collection, metadata={"kept": 1})
    assert patch(api, collection, made["document_id"], {"metadata": None})["metadata"] == {"kept": 1}


def test_other_keys_are_set_at_the_root(api: httpx.Client, collection: Any) -> None:
    made = create(api, collection, title="T")
    found = patch(api, collection, made["document_id"], {"title": "U", "new": {"x": 1}})
    assert found["title"] == "U"
    assert found["new"] == {"x": 1}
    assert read(api, collection, made["document_id"])["new"] == {"x": 1}


@pytest.mark.parametrize(
    "change", [{"document_id": "doc_x"}, {"collection_id": "col_x"}, {"_internal": {"modality": "video"}}]
)
def test_ids_and_internal_cannot_be_patched(
    api: httpx.Client, collection: Any, change: dict[str, Any]
) -> None:
    made = create(api, collection)
    path = f"/v1/collections/{collection['collection_id']}/documents/{made['document_id']}"
    answer = api.patch(path, json=change)
    assert answer.status_code in {200, 422}, answer.text
    found = read(api, collection, made["document_id"])
    assert found["document_id"] == made["document_id"]
    assert found["collection_id"] == collection["collection_id"]
    assert found["_internal"].get("modality") == made["_internal"].get("modality")


def test_vectors_survive_a_patch(api: httpx.Client, vectors: Corpus) -> None:
    vector = unit(vectors.dimensions, 2)
    made = ok(with_vectors(api, vectors, {vectors.vector_name: vector}))
    path = f"/v1/collections/{vectors.collection_id}/documents/{made['document_id']}"
    ok(api.patch(path, json={"metadata": {"a": 1}}))
    assert stored(api, vectors, made)[vectors.vector_name] == pytest.approx(vector)


def test_a_patch_of_what_is_not_there_is_not_found(api: httpx.Client, collection: Any) -> None:
    path = f"/v1/collections/{collection['collection_id']}/documents/doc_{'0' * 24}"
    refused(api.patch(path, json={"metadata": {}}), 404, "NotFoundError")
    refused(api.patch(f"/v1/collections/{unique('none')}/documents/doc_x", json={}), 404, "NotFoundError")


@pytest.mark.parametrize("body", [[], "x", 1, {"metadata": [1]}, {"metadata": "x"}])
def test_a_patch_needs_an_object(api: httpx.Client, collection: Any, body: Any) -> None:
    made = create(api, collection)
    path = f"/v1/collections/{collection['collection_id']}/documents/{made['document_id']}"
    invalid(api.patch(path, json=body))

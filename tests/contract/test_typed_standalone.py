"""Standalone namespaces, which hold vectors that the caller brings, through the typed SDK."""

from typing import Any

import mixpeek
import pytest
from mixpeek.exceptions import ApiException, NotFoundException

from tests.contract.sdk import Sdk
from tests.server import RunningServer
from tests.steps import invalid, ok, search_stage, unique

VECTORS: dict[str, list[float]] = {"north": [1.0, 0.0, 0.0], "east": [0.0, 1.0, 0.0], "up": [0.0, 0.0, 1.0]}


@pytest.fixture
def name(sdk: Sdk) -> str:
    """A standalone namespace with one index of three dimensions, for one test."""
    identifier = unique("vectors")
    configs = [{"name": "direction", "dimension": 3, "metric": "cosine"}]
    asked = mixpeek.CreateStandaloneNamespaceRequestModel.from_dict(
        {"namespace_id": identifier, "vector_configs": configs}
    )
    made = sdk.standalone.create_standalone_namespace(asked)
    assert made.namespace_id == identifier
    assert made.mode == "standalone"
    assert made.status == "active"
    assert made.document_count == 0
    return identifier


def upsert(sdk: Sdk, name: str, *documents: dict[str, Any]) -> mixpeek.BYOUpsertResponse:
    """Write documents with their vectors."""
    asked = mixpeek.BYOUpsertRequest.from_dict({"documents": list(documents)})
    return sdk.standalone.upsert_documents_byo_namespaces(name, asked)


def directions() -> list[dict[str, Any]]:
    """Three documents, each along one axis."""
    return [
        {"document_id": key, "vectors": {"direction": vector}, "payload": {"label": key, "n": n}}
        for n, (key, vector) in enumerate(VECTORS.items())
    ]


def search(
    sdk: Sdk, server: RunningServer, name: str, vector: Any, index: str = "direction", **more: Any
) -> list[dict[str, Any]]:
    """Documents nearest to the vector."""
    asked = mixpeek.AdhocExecuteRequest.from_dict(
        {"stages": [search_stage(index, {"input_mode": "vector", "value": vector})], "inputs": {}, **more}
    )
    answer = Sdk(server.url, server.admin_key, name).adhoc_retrievers.execute_adhoc_retriever(asked)
    found: list[dict[str, Any]] = answer["documents"]
    return found


def test_upserted_documents_are_read_back_and_found(sdk: Sdk, server: RunningServer, name: str) -> None:
    answer = upsert(sdk, name, *directions())
    assert answer.inserted == 3
    assert answer.document_ids == list(VECTORS)
    found = sdk.standalone.get_document_byo_namespaces(name, "east", return_vectors=True)
    assert found["document_id"] == "east"
    assert found["label"] == "east"
    assert found["direction"] == pytest.approx(VECTORS["east"])
    hits = search(sdk, server, name, [0.9, 0.1, 0.0])
    assert [hit["document_id"] for hit in hits] == ["north", "east", "up"]
    assert hits[0]["score"] == pytest.approx(0.9939, abs=1e-3)
    where = {"AND": [{"field": "n", "operator": "gte", "value": 1}]}
    assert [hit["document_id"] for hit in search(sdk, server, name, [0.9, 0.1, 0.0], filters=where)] == [
        "east",
        "up",
    ]


def test_the_same_id_replaces(sdk: Sdk, server: RunningServer, name: str) -> None:
    upsert(sdk, name, *directions())
    upsert(
        sdk,
        name,
        {"document_id": "up", "vectors": {"direction": [1.0, 0.0, 0.0]}, "payload": {"label": "new"}},
    )
    found = sdk.standalone.get_document_byo_namespaces(name, "up")
    assert found["label"] == "new"
    assert "n" not in found
    assert len(search(sdk, server, name, [1.0, 0.0, 0.0])) == 3


def test_an_index_is_inferred_from_the_first_vectors(sdk: Sdk, server: RunningServer) -> None:
    name = unique("inferred")
    sdk.standalone.create_standalone_namespace(
        mixpeek.CreateStandaloneNamespaceRequestModel(namespace_id=name)
    )
    upsert(sdk, name, {"document_id": "a", "vectors": {"v": [1.0, 0.0]}, "payload": {}})
    assert search(sdk, server, name, [1.0, 0.0], "v")[0]["document_id"] == "a"


def test_sparse_and_multi_vectors_are_kept(sdk: Sdk) -> None:
    name = unique("kinds")
    sdk.standalone.create_standalone_namespace(
        mixpeek.CreateStandaloneNamespaceRequestModel(namespace_id=name)
    )
    vectors = {
        "dense": [1.0, 0.0],
        "multi": [[1.0, 0.0], [0.0, 1.0]],
        "sparse": {"indices": [3, 9], "values": [0.5, 1]},
    }
    upsert(sdk, name, {"document_id": "a", "vectors": vectors, "payload": {"x": 1}})
    found = sdk.standalone.get_document_byo_namespaces(name, "a", return_vectors=True)
    assert found["dense"] == pytest.approx([1.0, 0.0])
    assert found["multi"] == [[1.0, 0.0], [0.0, 1.0]]
    assert found["sparse"]["indices"] == [3, 9]
    assert found["sparse"]["values"] == pytest.approx([0.5, 1.0])


def test_metadata_and_lineage_go_where_they_belong(sdk: Sdk, name: str) -> None:
    lineage = {"source_type": "bucket", "root_object_id": "obj_1", "lineage_path": "bkt_1/col_1"}
    upsert(sdk, name, {**directions()[0], "metadata": {"from": "test"}, **lineage})
    internal = sdk.standalone.get_document_byo_namespaces(name, "north")["_internal"]
    assert internal["metadata"]["from"] == "test"
    assert internal["lineage"]["source_type"] == "bucket"
    assert internal["lineage"]["root_object_id"] == "obj_1"
    assert internal["lineage"]["path"] == "bkt_1/col_1"


def test_a_vector_of_another_length_is_refused_as_a_whole(sdk: Sdk, name: str) -> None:
    short = {"document_id": "short", "vectors": {"direction": [1.0, 0.0]}, "payload": {}}
    with pytest.raises(ApiException) as refusal:
        upsert(sdk, name, directions()[0], short)
    assert refusal.value.status in {400, 422}
    assert "direction" in refusal.value.body
    with pytest.raises(NotFoundException):
        sdk.standalone.get_document_byo_namespaces(name, "north")


def test_a_refused_upsert_leaves_no_index_behind(sdk: Sdk, server: RunningServer, name: str) -> None:
    with server.client(namespace=name) as api:
        path = f"/v1/namespaces/{name}/documents/upsert"

        def document(key: str, vector: Any) -> dict[str, Any]:
            return {"document_id": key, "vectors": {"fresh": vector}}

        both = {"documents": [document("one", [1.0] * 4), document("two", [1.0])]}
        (problem,) = invalid(api.post(path, json=both))
        assert problem["location"] == ["body", "documents", 1, "vectors", "fresh"]
        twice = {"documents": [document("one", {"indices": [1, 1], "values": [1.0, 2.0]})]}
        invalid(api.post(path, json=twice), "fresh")
        ok(api.post(path, json={"documents": [document("one", [1.0, 2.0, 3.0])]}))


def test_an_unknown_document_or_namespace_is_not_found(sdk: Sdk, name: str) -> None:
    with pytest.raises(NotFoundException):
        sdk.standalone.get_document_byo_namespaces(name, "nobody")
    with pytest.raises(NotFoundException):
        sdk.standalone.get_document_byo_namespaces(unique("nowhere"), "north")


def test_a_namespaces_id_is_taken_once_and_has_a_form(sdk: Sdk, name: str) -> None:
    with pytest.raises(ApiException) as taken:
        sdk.standalone.create_standalone_namespace(
            mixpeek.CreateStandaloneNamespaceRequestModel(namespace_id=name)
        )
    assert taken.value.status == 409
    body = {"namespace_id": "-not/allowed"}
    with pytest.raises(ApiException) as form:
        sdk.standalone.create_standalone_namespace(
            mixpeek.CreateStandaloneNamespaceRequestModel.model_construct(**body)
        )
    assert form.value.status == 422

"""Documents through the typed SDK: of one collection, and of the whole namespace."""

import base64
import json

import httpx
import mixpeek
import pytest
from mixpeek.exceptions import ApiException, NotFoundException, UnprocessableEntityException

from tests.contract.sdk import Sdk
from tests.contract.typed_steps import fields_of, make_bucket, make_collection, make_document, task_finished
from tests.steps import PIXEL, POEMS, Corpus, ok

YEARS = [poem["year"] for poem in POEMS]


@pytest.fixture
def collection_id(sdk: Sdk) -> str:
    """A collection without documents that belongs to one test."""
    return str(make_collection(sdk, make_bucket(sdk).bucket_id).collection_id)


def test_a_processed_document_has_its_fields_and_its_lineage(sdk: Sdk, corpus: Corpus) -> None:
    found = sdk.collection_documents.get_document(corpus.collection_id, corpus.document("Violin"))
    assert found.document_id.startswith("doc_")
    assert found.collection_id == corpus.collection_id
    assert fields_of(found)["title"] == "Violin"
    assert fields_of(found)["year"] == 1931
    assert fields_of(found)["text"] == POEMS[3]["text"]
    internal = found.internal
    assert internal.document_id == found.document_id
    assert internal.collection_id == corpus.collection_id
    assert internal.modality == "text"
    assert internal.metadata["ingestion_status"] == "COMPLETED"
    lineage = internal.lineage
    assert lineage.root_object_id == lineage.source_object_id == corpus.object("Violin")
    assert lineage.root_bucket_id == corpus.bucket_id
    assert lineage.source_type == "bucket"
    assert lineage.path == f"{corpus.bucket_id}/{corpus.collection_id}"
    (step,) = lineage.chain
    assert step["collection_id"] == corpus.collection_id
    assert step["feature_extractor_id"] == "text_extractor_v1"


def test_a_document_is_found_by_its_collections_name_and_without_it(sdk: Sdk, corpus: Corpus) -> None:
    by_id = sdk.collection_documents.get_document(corpus.collection_id, corpus.document())
    by_name = sdk.collection_documents.get_document(corpus.collection_name, corpus.document())
    in_namespace = sdk.documents.get_document_ns(corpus.document())
    assert by_id.to_dict() == by_name.to_dict() == in_namespace.to_dict()


def test_vectors_come_only_when_asked_for(sdk: Sdk, corpus: Corpus) -> None:
    get = sdk.collection_documents.get_document
    bare = fields_of(get(corpus.collection_id, corpus.document()))
    assert "vector" not in bare
    assert corpus.vector_name not in bare
    whole = fields_of(get(corpus.collection_id, corpus.document(), return_vectors=True))
    assert len(whole["vector"]) == corpus.dimensions
    assert whole[corpus.vector_name] == whole["vector"]
    names = fields_of(get(corpus.collection_id, corpus.document(), return_vector_names="true"))
    assert corpus.vector_name in names["_vectors"]
    assert corpus.vector_name not in names
    named = fields_of(get(corpus.collection_id, corpus.document(), return_vector_names=corpus.vector_name))
    assert named[corpus.vector_name] == whole["vector"]


def test_lineage_is_expanded_inline(sdk: Sdk, corpus: Corpus) -> None:
    found = sdk.collection_documents.get_document(
        corpus.collection_id, corpus.document(), expand="root_object"
    )
    assert fields_of(found)["_expanded"]["root_object"]["object_id"] == corpus.object()


def test_documents_are_listed_with_filters_sort_and_total(sdk: Sdk, corpus: Corpus) -> None:
    asked = mixpeek.ListDocumentsRequest.from_dict(
        {
            "filters": {"AND": [{"field": "year", "operator": "gt", "value": 1905}]},
            "sort": {"field": "year", "direction": "desc"},
            "limit": 3,
            "include_total": True,
        }
    )
    page = sdk.collection_documents.list_documents(corpus.collection_id, list_documents_request=asked)
    assert [fields_of(each)["year"] for each in page.results] == [1947, 1931, 1931]
    assert page.pagination.total == 4
    assert page.pagination.total_pages == 2
    assert page.stats is not None
    assert page.stats.total_documents == 4


def test_a_page_without_a_count_tells_none(api: httpx.Client, corpus: Corpus) -> None:
    listed = ok(api.post(f"/v1/collections/{corpus.collection_id}/documents/list", json={"limit": 2}))
    assert len(listed["results"]) == 2
    assert "total_documents" not in listed["stats"]


@pytest.mark.parametrize(
    ("where", "titles"),
    [
        (
            {"OR": [{"field": "year", "value": 1901}, {"field": "title", "value": "Violin"}]},
            {"Lighthouse", "Violin"},
        ),
        ({"NOT": [{"field": "year", "operator": "gte", "value": 1923}]}, {"Lighthouse", "Orchard"}),
        ({"AND": [{"field": "title", "operator": "in", "value": ["Bakery", "None"]}]}, {"Bakery"}),
        ({"AND": [{"field": "title", "operator": "starts_with", "value": "Rail"}]}, {"Railway"}),
        ({"AND": [{"field": "title", "operator": "contains", "value": "chard"}]}, {"Orchard"}),
        ({"AND": [{"field": "_internal.lineage.source_type", "value": "collection"}]}, set()),
        ({"AND": [{"field": "mood", "operator": "exists", "value": True}]}, set()),
    ],
    ids=["or", "not", "in", "starts_with", "contains", "internal", "exists"],
)
def test_documents_are_filtered(sdk: Sdk, corpus: Corpus, where: dict[str, object], titles: set[str]) -> None:
    asked = mixpeek.ListDocumentsRequest.from_dict({"filters": where})
    page = sdk.collection_documents.list_documents(corpus.collection_id, list_documents_request=asked)
    assert {fields_of(each)["title"] for each in page.results} == titles


def test_documents_are_listed_by_get_with_query_parameters(sdk: Sdk, corpus: Corpus) -> None:
    page = sdk.collection_documents.list_documents_0(
        corpus.collection_id,
        filters=json.dumps({"AND": [{"field": "year", "operator": "lt", "value": 1931}]}),
        sort="year:desc",
        limit=2,
    )
    assert [fields_of(each)["year"] for each in page.results] == [1923, 1905]
    searched = sdk.collection_documents.list_documents_0(corpus.collection_id, search="croissants")
    assert [fields_of(each)["title"] for each in searched.results] == ["Bakery"]
    with pytest.raises(UnprocessableEntityException):
        sdk.collection_documents.list_documents_0(corpus.collection_id, filters="{not json")


def test_a_cursor_and_partitions_each_see_every_document_once(sdk: Sdk, corpus: Corpus) -> None:
    seen: list[str] = []
    cursor = None
    while True:
        asked = mixpeek.ListDocumentsRequest(limit=4, cursor=cursor)
        page = sdk.collection_documents.list_documents(corpus.collection_id, list_documents_request=asked)
        seen += [each.document_id for each in page.results]
        cursor = page.pagination.next_cursor
        if cursor is None or len(seen) > len(POEMS):
            break
    assert sorted(seen) == sorted(corpus.documents.values())

    parts: list[str] = []
    for index in range(3):
        asked = mixpeek.ListDocumentsRequest.from_dict(
            {"partition": {"index": index, "count": 3}, "limit": 100}
        )
        page = sdk.collection_documents.list_documents(corpus.collection_id, list_documents_request=asked)
        parts += [each.document_id for each in page.results]
    assert sorted(parts) == sorted(corpus.documents.values())


def test_documents_are_grouped_by_a_field(sdk: Sdk, corpus: Corpus) -> None:
    asked = mixpeek.ListDocumentsRequest(group_by="year", limit=100)
    page = sdk.collection_documents.list_documents(corpus.collection_id, list_documents_request=asked)
    assert page.group_by_field == "year"
    assert {group.group_key: group.count for group in page.groups} == {
        year: YEARS.count(year) for year in YEARS
    }
    assert {
        fields_of(each)["title"]
        for group in page.groups
        for each in group.documents
        if group.group_key == 1931
    } == {
        "Violin",
        "Glacier",
    }


def test_select_keeps_ids_and_the_selected_fields(sdk: Sdk, corpus: Corpus) -> None:
    asked = mixpeek.ListDocumentsRequest.from_dict({"select": ["title"], "limit": 1})
    (found,) = sdk.collection_documents.list_documents(
        corpus.collection_id, list_documents_request=asked
    ).results
    assert found.document_id
    assert found.collection_id == corpus.collection_id
    assert "title" in fields_of(found)
    assert "text" not in fields_of(found)


def test_a_namespaces_documents_are_listed_across_collections(sdk: Sdk, corpus: Corpus) -> None:
    asked = mixpeek.NamespaceListDocumentsRequest(collection_ids=[corpus.collection_id, "col_0000000000"])
    page = sdk.documents.list_documents_ns(namespace_list_documents_request=asked)
    assert {each.document_id for each in page.results} == set(corpus.documents.values())
    assert page.unknown_collection_ids == ["col_0000000000"]
    with pytest.raises(NotFoundException):
        sdk.documents.list_documents_ns(
            namespace_list_documents_request=mixpeek.NamespaceListDocumentsRequest(
                collection_ids=["col_0000000000"]
            )
        )
    assert len(sdk.documents.list_documents_ns(limit=2).results) == 2


def test_documents_are_counted(sdk: Sdk, corpus: Corpus) -> None:
    counted = sdk.collection_documents.count_documents(corpus.collection_name)
    assert counted.collection_id == corpus.collection_id
    assert counted.count == len(POEMS)


def test_batch_get_keeps_the_order_and_names_what_is_missing(sdk: Sdk, corpus: Corpus) -> None:
    ids = [corpus.document("Violin"), "doc_" + "0" * 24, corpus.document("Bakery"), corpus.document("Violin")]
    answer = sdk.documents.batch_get(
        mixpeek.BatchGetDocumentsRequest(document_ids=ids, return_presigned_urls=False)
    )
    assert [each.document_id for each in answer.documents] == [ids[0], ids[2]]
    assert answer.not_found == [ids[1]]
    assert fields_of(answer.documents[0])["title"] == "Violin"
    assert corpus.vector_name in fields_of(answer.documents[0])["_vectors"]
    assert answer.documents[0].internal.lineage.root_object_id == corpus.object("Violin")


def test_a_document_can_be_created_directly(sdk: Sdk, collection_id: str) -> None:
    made = make_document(sdk, collection_id, title="Direct", metadata={"a": 1}, source_type="bucket")
    assert made.document_id.startswith("doc_")
    assert len(made.document_id) == len("doc_") + 24
    assert fields_of(made) == {"title": "Direct", "metadata": {"a": 1}}
    assert made.internal.lineage.source_type == "bucket"
    found = sdk.collection_documents.get_document(collection_id, made.document_id)
    assert fields_of(found)["title"] == "Direct"
    assert fields_of(found)["metadata"] == {"a": 1}
    assert sdk.collection_documents.count_documents(collection_id).count == 1


@pytest.mark.parametrize("scope", ["collection", "namespace"])
@pytest.mark.parametrize("verb", ["patch", "put"])
def test_patch_and_put_merge(sdk: Sdk, collection_id: str, scope: str, verb: str) -> None:
    made = make_document(sdk, collection_id, title="Old", year=1, metadata={"a": 1, "b": 2})
    change = {"year": 2, "metadata": {"b": 3, "c": 4, "a": None}}
    if scope == "collection":
        within = sdk.collection_documents
        call = within.patch_document if verb == "patch" else within.update_document
        changed = call(collection_id, made.document_id, change)
    else:
        anywhere = sdk.documents
        call = anywhere.patch_document_ns if verb == "patch" else anywhere.update_document_ns
        changed = call(made.document_id, change)
    for document in (changed, sdk.documents.get_document_ns(made.document_id)):
        assert fields_of(document)["title"] == "Old"
        assert fields_of(document)["year"] == 2
        assert fields_of(document)["metadata"] == {"b": 3, "c": 4}
    assert changed.internal.updated_at >= made.internal.updated_at


def test_many_documents_are_updated_by_id(sdk: Sdk, collection_id: str) -> None:
    made = [make_document(sdk, collection_id, year=n).document_id for n in range(2)]
    updates = [
        {"document_id": each, "update_data": {"year": 10 + n}} for n, each in enumerate([*made, "doc_none"])
    ]
    asked = mixpeek.BatchUpdateDocumentsRequest.from_dict({"updates": updates})
    answer = sdk.collection_documents.batch_update(collection_id, asked)
    assert (answer.updated_count, answer.failed_count) == (2, 1)
    assert [(each.document_id, each.success) for each in answer.results] == [
        (made[0], True),
        (made[1], True),
        ("doc_none", False),
    ]
    assert [fields_of(sdk.documents.get_document_ns(each))["year"] for each in made] == [10, 11]


def test_documents_are_updated_by_filter(sdk: Sdk, collection_id: str) -> None:
    old, new = (make_document(sdk, collection_id, year=year).document_id for year in (1900, 2000))
    asked = mixpeek.BatchUpdateDocumentsRequest.from_dict(
        {
            "filters": {"AND": [{"field": "year", "operator": "lt", "value": 1950}]},
            "update_data": {"era": "old"},
        }
    )
    assert sdk.collection_documents.batch_update(collection_id, asked).updated_count == 1
    assert fields_of(sdk.documents.get_document_ns(old))["era"] == "old"
    assert "era" not in fields_of(sdk.documents.get_document_ns(new))


def test_a_bulk_update_changes_all_that_match(sdk: Sdk, collection_id: str) -> None:
    ids = [make_document(sdk, collection_id, year=year).document_id for year in (1900, 1910, 2000)]
    asked = mixpeek.BulkUpdateDocumentsRequest.from_dict(
        {
            "filters": {"AND": [{"field": "year", "operator": "lt", "value": 1950}]},
            "update_data": {"era": "old"},
        }
    )
    answer = sdk.collection_documents.bulk_update(collection_id, asked)
    if answer.task_id is not None:
        task_finished(sdk, answer.task_id)
    else:
        assert answer.updated_count == 2
    eras = [fields_of(sdk.documents.get_document_ns(each)).get("era") for each in ids]
    assert eras == ["old", "old", None]


def test_a_document_is_deleted_once(sdk: Sdk, collection_id: str) -> None:
    made = make_document(sdk, collection_id, title="Short").document_id
    assert sdk.collection_documents.delete_document(collection_id, made).success is True
    with pytest.raises(NotFoundException) as refusal:
        sdk.collection_documents.get_document(collection_id, made)
    assert made in refusal.value.data.error.message
    with pytest.raises(NotFoundException):
        sdk.collection_documents.delete_document(collection_id, made)


def test_many_documents_are_deleted_by_id_or_by_filter(sdk: Sdk, collection_id: str) -> None:
    ids = [make_document(sdk, collection_id, year=n).document_id for n in range(4)]
    asked = mixpeek.BatchDeleteDocumentsRequest(document_ids=[ids[0], "doc_none"])
    answer = sdk.collection_documents.batch_delete(collection_id, asked)
    assert (answer.deleted_count, answer.failed_count) == (1, 1)
    assert {each.document_id: each.success for each in answer.results} == {ids[0]: True, "doc_none": False}
    asked = mixpeek.BatchDeleteDocumentsRequest.from_dict(
        {"filters": {"AND": [{"field": "year", "operator": "gte", "value": 2}]}}
    )
    answer = sdk.collection_documents.batch_delete(collection_id, asked)
    if answer.task_id is not None:
        task_finished(sdk, answer.task_id)
    left = sdk.collection_documents.list_documents(collection_id).results
    assert [each.document_id for each in left] == [ids[1]]


def test_a_documents_source_blob_can_be_downloaded(sdk: Sdk, files: Corpus) -> None:
    found = sdk.collection_documents.get_document(
        files.collection_id, files.document(), return_presigned_urls=True
    )
    (blob,) = found.document_blobs
    assert blob.var_field == "photo"
    assert blob.role == "source"
    assert blob.type == "image"
    assert blob.filename == "Lighthouse.png"
    assert blob.size_bytes == len(base64.b64decode(PIXEL))
    assert blob.content_type == "image/png"
    for url in (blob.presigned_url, fields_of(found)["presigned_url"]):
        answer = httpx.get(url)
        assert answer.status_code == 200
        assert answer.content == base64.b64decode(PIXEL)


def test_another_collections_document_is_not_found(sdk: Sdk, corpus: Corpus, collection_id: str) -> None:
    with pytest.raises(NotFoundException):
        sdk.collection_documents.get_document(collection_id, corpus.document())
    with pytest.raises(ApiException) as refusal:
        sdk.collection_documents.patch_document(collection_id, corpus.document(), {"title": "Mine"})
    assert refusal.value.status == 404
    assert fields_of(sdk.documents.get_document_ns(corpus.document()))["title"] == "Lighthouse"

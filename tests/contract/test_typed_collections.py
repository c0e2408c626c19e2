"""Collections and the catalogue of extractors through the typed SDK."""

import re

import mixpeek
import pytest
from mixpeek.exceptions import ApiException, NotFoundException, UnprocessableEntityException

from tests.contract.sdk import Sdk
from tests.contract.typed_steps import make_bucket, make_collection, make_object, task_finished
from tests.steps import POEMS, Corpus, text_extractor, unique

FEATURE_URI = re.compile(r"^mixpeek://text_extractor@v1/[A-Za-z0-9_.-]+$")


@pytest.fixture(scope="module")
def bucket_id(sdk: Sdk) -> str:
    """A bucket for poems, shared by this module."""
    return str(make_bucket(sdk).bucket_id)


def test_a_created_collection_knows_its_schemas_and_vectors(sdk: Sdk, bucket_id: str) -> None:
    parameters = {"extractor_type": "text_extractor", "split_by": "sentences", "chunk_size": 2}
    made = make_collection(
        sdk,
        bucket_id,
        description="Poems by sentence",
        metadata={"team": "one"},
        feature_extractor=text_extractor(parameters=parameters),
    )
    assert made.collection_id.startswith("col_")
    assert len(made.collection_id) == len("col_") + 10
    for identifier in (made.collection_id, made.collection_name):
        found = sdk.collections.get_collection(identifier)
        assert found.collection_id == made.collection_id
        assert found.description == "Poems by sentence"
        assert found.metadata == {"team": "one"}
        assert found.enabled is True
        assert found.source.type == mixpeek.SourceType.BUCKET
        assert found.source.bucket_ids == [bucket_id]
        assert found.document_count in {0, None}
        extractor = found.feature_extractor
        assert extractor.feature_extractor_id == "text_extractor_v1"
        assert isinstance(extractor.parameters.actual_instance, mixpeek.TextExtractorParams)
        assert extractor.parameters.actual_instance.split_by == mixpeek.TextSplitStrategy.SENTENCES
        assert extractor.parameters.actual_instance.chunk_size == 2
        assert extractor.input_mappings.actual_instance == {"text": "text"}
        assert [each.source_path for each in extractor.field_passthrough] == ["title", "year", "text"]
        assert set(found.input_schema.properties) >= {"text", "title", "year"}
        assert found.output_schema.properties["title"].type == "string"
        assert found.output_schema.properties["year"].type == "integer"
        (index,) = found.vector_indexes
        assert FEATURE_URI.match(index.feature_uri)
        assert index.index["dimensions"] >= 1
        assert index.feature_uri.endswith("/" + index.index["inference_name"])


def test_a_collections_features_can_be_searched_by_their_uris(sdk: Sdk, corpus: Corpus) -> None:
    described = sdk.collections.describe_collection_features(corpus.collection_id).features
    (feature,) = (each for each in described if each.primary)
    assert feature.feature_uri == corpus.feature_uri
    assert feature.feature_extractor_name == "text_extractor"
    assert feature.version == "v1"
    assert feature.primary is True
    assert feature.vector_index.dimensions == corpus.dimensions
    assert feature.vector_index.type == mixpeek.VectorType.DENSE
    asked = mixpeek.FeatureSearchRequest.from_dict(
        {
            "collection_identifiers": [corpus.collection_id],
            "feature_uri": feature.feature_uri,
            "query": {"input_mode": "text", "text": "a train at the station"},
            "top_k": 1,
        }
    )
    found = sdk.feature_search.feature_search(asked)
    assert [each["document_id"] for each in found["results"]] == [corpus.document("Railway")]


def test_collections_are_listed_by_post_and_by_get(sdk: Sdk, bucket_id: str) -> None:
    mark = unique("mark")
    made = {make_collection(sdk, bucket_id, collection_name=f"{mark}-{n}").collection_id for n in range(3)}
    asked = mixpeek.ListCollectionsRequest.from_dict(
        {"search": mark, "sort": {"field": "collection_name", "direction": "desc"}}
    )
    posted = sdk.collections.list_collections(list_collections_request=asked, include_total=True)
    assert {each.collection_id for each in posted.results} == made
    assert [each.collection_name[-1] for each in posted.results] == ["2", "1", "0"]
    assert posted.total_count == posted.pagination.total == 3
    got = sdk.collections.list_collections_get(search=mark, limit=2)
    assert len(got.results) == 2
    rest = sdk.collections.list_collections_get(search=mark, limit=2, cursor=got.pagination.next_cursor)
    assert {each.collection_id for each in [*got.results, *rest.results]} == made


def test_a_patch_changes_name_description_metadata_and_enabled(sdk: Sdk, bucket_id: str) -> None:
    made = make_collection(sdk, bucket_id, description="before")
    renamed = unique("renamed")
    patched = sdk.collections.update_collection(
        made.collection_id, {"collection_name": renamed, "metadata": {"a": 1}, "enabled": False}
    )
    assert patched.collection_name == renamed
    assert patched.description == "before"
    assert patched.metadata == {"a": 1}
    assert patched.enabled is False
    assert sdk.collections.get_collection(renamed).collection_id == made.collection_id


def test_a_disabled_collection_is_not_processed(sdk: Sdk) -> None:
    bucket_id = make_bucket(sdk).bucket_id
    off, on = (make_collection(sdk, bucket_id).collection_id for _ in range(2))
    sdk.collections.update_collection(off, {"enabled": False})
    batch = sdk.bucket_batches.create_batch_buckets_batches(
        bucket_id, mixpeek.CreateBatchRequest(object_ids=[make_object(sdk, bucket_id).object_id])
    )
    task_finished(sdk, sdk.bucket_batches.submit_batch_buckets_batches(bucket_id, batch.batch_id).task_id)
    assert sdk.collection_documents.count_documents(on).count == 1
    assert sdk.collection_documents.count_documents(off).count == 0


def test_a_trigger_processes_what_the_bucket_holds(sdk: Sdk) -> None:
    bucket_id = make_bucket(sdk).bucket_id
    for poem in POEMS:
        make_object(sdk, bucket_id, poem)
    collection_id = make_collection(sdk, bucket_id).collection_id
    answer = sdk.collections.trigger_collection_with_http_info(collection_id)
    assert answer.status_code == 202
    assert answer.data.collection_id == collection_id
    assert answer.data.total_tiers == 1
    assert answer.data.message
    task_finished(sdk, answer.data.task_id)
    assert sdk.collection_documents.count_documents(collection_id).count == len(POEMS)
    batch = sdk.batches.get_batch_by_id_batches(answer.data.batch_id)
    assert batch.status == mixpeek.TaskStatusEnum.COMPLETED
    assert sdk.collections.get_collection(collection_id).document_count == len(POEMS)


def test_a_trigger_can_take_a_part_of_the_bucket(sdk: Sdk) -> None:
    bucket_id = make_bucket(sdk).bucket_id
    for poem in POEMS:
        make_object(sdk, bucket_id, poem)
    collection_id = make_collection(sdk, bucket_id).collection_id
    asked = mixpeek.TriggerCollectionRequest.from_dict(
        {"source_filters": {"AND": [{"field": "year", "operator": "eq", "value": 1931}]}}
    )
    answer = sdk.collections.trigger_collection(collection_id, trigger_collection_request=asked)
    task_finished(sdk, answer.task_id)
    found = sdk.collection_documents.list_documents(collection_id).results
    assert {each.additional_properties["title"] for each in found} == {"Violin", "Glacier"}


def test_a_deleted_collection_is_gone_with_its_documents(sdk: Sdk) -> None:
    bucket_id = make_bucket(sdk).bucket_id
    make_object(sdk, bucket_id)
    collection_id = make_collection(sdk, bucket_id).collection_id
    task_finished(sdk, sdk.collections.trigger_collection(collection_id).task_id)
    (document,) = sdk.collection_documents.list_documents(collection_id).results
    sdk.collections.delete_collection(collection_id)
    with pytest.raises(NotFoundException):
        sdk.collections.get_collection(collection_id)
    asked = mixpeek.BatchGetDocumentsRequest(document_ids=[document.document_id])
    answer = sdk.documents.batch_get(asked)
    assert answer.documents == []
    assert answer.not_found == [document.document_id]
    assert sdk.buckets.get_bucket(bucket_id).object_count == 1


def test_a_passthrough_collection_copies_fields(sdk: Sdk) -> None:
    bucket_id = make_bucket(sdk).bucket_id
    make_object(sdk, bucket_id, POEMS[4])
    extractor = {
        "feature_extractor_name": "passthrough_extractor",
        "version": "v1",
        "field_passthrough": [
            {"source_path": "title", "target_path": "name"},
            {"source_path": "mood", "default": "cold"},
        ],
    }
    made = make_collection(sdk, bucket_id, feature_extractor=extractor)
    assert made.vector_indexes in ([], None)
    task_finished(sdk, sdk.collections.trigger_collection(made.collection_id).task_id)
    (document,) = sdk.collection_documents.list_documents(made.collection_id).results
    assert document.additional_properties["name"] == "Glacier"
    assert document.additional_properties["mood"] == "cold"


@pytest.mark.parametrize("name", ["ab", "x" * 101])
def test_names_have_three_to_a_hundred_characters(sdk: Sdk, bucket_id: str, name: str) -> None:
    with pytest.raises(UnprocessableEntityException):
        make_collection(sdk, bucket_id, collection_name=name)


def test_a_collection_needs_a_bucket_and_an_extractor_that_exist(sdk: Sdk, bucket_id: str) -> None:
    with pytest.raises(ApiException) as bucket:
        make_collection(sdk, "bkt_00000000")
    assert bucket.value.status in {404, 422}
    assert "bkt_00000000" in bucket.value.data.error.message
    with pytest.raises(ApiException) as extractor:
        make_collection(sdk, bucket_id, feature_extractor=text_extractor(feature_extractor_name="nothing"))
    assert extractor.value.status in {404, 422}
    assert "nothing" in extractor.value.data.error.message
    with pytest.raises(ApiException) as mapping:
        make_collection(sdk, bucket_id, feature_extractor=text_extractor(input_mappings={"text": "nowhere"}))
    assert mapping.value.status == 422
    assert "nowhere" in mapping.value.body


def test_the_catalogue_describes_every_extractor(sdk: Sdk) -> None:
    listed = {each.feature_extractor_id: each for each in sdk.extractors.list_feature_extractors()}
    assert {"text_extractor_v1", "passthrough_extractor_v1"} <= set(listed)
    for identifier, entry in listed.items():
        assert identifier == f"{entry.feature_extractor_name}_{entry.version}"
        assert entry.description
        assert entry.source == mixpeek.ExtractorSource.BUILTIN
        assert sdk.extractors.get_feature_extractor_by(identifier).to_dict() == entry.to_dict()
    text = listed["text_extractor_v1"]
    assert {"text", "string"} & set(text.supported_input_types)
    assert {"split_by", "chunk_size", "chunk_overlap"} <= set(text.parameter_schema["properties"])
    assert text.default_parameters["split_by"] == "none"
    assert text.required_vector_indexes[0].index.actual_instance.dimensions >= 1


def test_an_unknown_extractor_is_not_found(sdk: Sdk) -> None:
    with pytest.raises(NotFoundException) as refusal:
        sdk.extractors.get_feature_extractor_by("nothing_v1")
    assert refusal.value.data.error.code == "feature_extractor_not_found"


def test_extractors_are_discovered_with_their_models_and_an_example(sdk: Sdk) -> None:
    found = {each.name: each for each in sdk.discovery.list_extractors_discovery()}
    text = found["text_extractor"]
    assert text.version == "v1"
    assert text.supported_modalities == ["text"]
    assert text.inference_type == "embedding"
    assert text.realtime_available is True
    assert [each.status for each in text.serve_apps] == ["RUNNING"]
    assert text.default_parameters["split_by"] == "none"
    assert found["passthrough_extractor"].capabilities == ["batch"]

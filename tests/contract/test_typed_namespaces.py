"""Namespaces through the typed SDK."""

import json

import mixpeek
import pytest
from mixpeek.exceptions import ConflictException, NotFoundException, UnprocessableEntityException

from tests.contract.sdk import Sdk
from tests.contract.typed_steps import task_finished
from tests.server import RunningServer
from tests.steps import unique


def create(sdk: Sdk, **fields: object) -> mixpeek.NamespaceModel:
    """A new namespace."""
    return sdk.namespaces.create_namespace(
        mixpeek.CreateNamespaceRequest.from_dict({"namespace_name": unique("space"), **fields})
    )


def test_a_created_namespace_is_found_by_id_and_by_name(sdk: Sdk) -> None:
    made = create(sdk, description="For tests")
    assert made.object == "namespace"
    assert made.namespace_id.startswith("ns_")
    assert len(made.namespace_id) == len("ns_") + 10
    assert made.description == "For tests"
    assert made.namespace_ready is True
    for identifier in (made.namespace_id, made.namespace_name):
        found = sdk.namespaces.get_namespace(identifier)
        assert found.namespace_id == made.namespace_id
        assert found.namespace_name == made.namespace_name
        assert found.created_at == made.created_at


def test_a_namespace_keeps_its_extractors_and_payload_indexes(sdk: Sdk) -> None:
    made = create(
        sdk,
        feature_extractors=[{"feature_extractor_name": "text_extractor", "version": "v1"}],
        payload_indexes=[{"field_name": "metadata.year", "type": "integer"}],
    )
    found = sdk.namespaces.get_namespace(made.namespace_id)
    assert [each.feature_extractor_id for each in found.feature_extractors] == ["text_extractor_v1"]
    assert "metadata.year" in [index.field_name for index in found.payload_indexes]


def test_namespaces_are_listed_by_post_and_by_get(sdk: Sdk) -> None:
    made = create(sdk)
    posted = sdk.namespaces.list_namespaces(limit=1000, include_total=True)
    got = sdk.namespaces.list_namespaces_get(limit=1000)
    for listed in (posted, got):
        ids = [each.namespace_id for each in listed.results]
        assert made.namespace_id in ids
        assert len(set(ids)) == len(ids)
    assert posted.total_count == len(posted.results)
    assert posted.pagination.total == len(posted.results)


def test_a_namespace_list_can_be_searched_and_paged(sdk: Sdk) -> None:
    made = [create(sdk, namespace_name=f"{unique('paged')}") for _ in range(3)]
    search = mixpeek.ListNamespacesRequest(search=made[1].namespace_name)
    found = sdk.namespaces.list_namespaces(list_namespaces_request=search)
    assert [each.namespace_id for each in found.results] == [made[1].namespace_id]
    first = sdk.namespaces.list_namespaces(limit=1, offset=0)
    second = sdk.namespaces.list_namespaces(limit=1, offset=1)
    assert len(first.results) == len(second.results) == 1
    assert first.results[0].namespace_id != second.results[0].namespace_id


def test_a_patch_changes_only_what_it_names(sdk: Sdk) -> None:
    made = create(sdk, description="before")
    renamed = unique("renamed")
    patched = sdk.namespaces.patch_namespace(
        made.namespace_id, mixpeek.PatchNamespaceRequest(namespace_name=renamed)
    )
    assert patched.namespace_name == renamed
    assert patched.description == "before"
    assert patched.updated_at >= made.updated_at
    assert sdk.namespaces.get_namespace(renamed).namespace_id == made.namespace_id
    with pytest.raises(NotFoundException):
        sdk.namespaces.get_namespace(made.namespace_name)


def test_a_name_is_taken_once(sdk: Sdk) -> None:
    made = create(sdk)
    with pytest.raises(ConflictException) as refusal:
        create(sdk, namespace_name=made.namespace_name)
    error = json.loads(refusal.value.body)["error"]
    assert error["type"] == "AlreadyExistsError"
    assert error["code"] == "namespace_name_taken"


@pytest.mark.parametrize("name", ["ab", "x" * 65])
def test_names_have_three_to_sixty_four_characters(sdk: Sdk, name: str) -> None:
    body = {"namespace_name": name}
    with pytest.raises(UnprocessableEntityException):
        sdk.namespaces.create_namespace(mixpeek.CreateNamespaceRequest.model_construct(**body))


def test_a_deleted_namespace_is_gone_with_all_it_held(sdk: Sdk, server: RunningServer) -> None:
    made = create(sdk)
    inside = Sdk(server.url, server.admin_key, made.namespace_id)
    bucket = inside.buckets.create_bucket(
        mixpeek.BucketCreateRequest.from_dict(
            {"bucket_name": unique("b"), "bucket_schema": {"properties": {"text": {"type": "text"}}}}
        )
    )
    answer = sdk.namespaces.delete_namespace(made.namespace_id)
    task_finished(sdk, answer["task_id"])
    with pytest.raises(NotFoundException):
        sdk.namespaces.get_namespace(made.namespace_id)
    with pytest.raises(NotFoundException):
        inside.buckets.get_bucket(bucket.bucket_id)

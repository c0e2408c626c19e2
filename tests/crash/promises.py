"""The promises, checked over HTTP against what a client was told before the crashes."""

from functools import partial
from typing import Any

import httpx

from tests.crash.world import BLANK, World, pages, vector_index
from tests.steps import TERMINAL, eventually, ok, search_stage


def finish(api: httpx.Client, world: World, *, seconds: float = 120.0) -> list[dict[str, Any]]:
    """Submit what was left a draft, then wait until every batch and every deletion has ended.

    Fails when no batch has ended for so many seconds: how long all of them take is the machine's business.
    """
    for batch_id in list(world.drafts):
        url = f"/v1/buckets/{world.tree.bucket_id}/batches/{batch_id}"
        if ok(api.get(url))["status"] == "DRAFT":
            ok(api.post(f"{url}/submit"))
        world.batches[batch_id] = world.drafts.pop(batch_id)

    def running() -> int:
        return sum(one["status"] not in TERMINAL | {"DRAFT"} for one in all_batches(api))

    def fewer(than: int) -> bool:
        return running() < than

    while left := running():
        eventually(partial(fewer, left), "every batch ends by itself", seconds=seconds)
    for bucket_id in world.doomed:
        gone = lambda bucket_id=bucket_id: api.get(f"/v1/buckets/{bucket_id}").status_code == 404  # noqa: E731
        eventually(gone, f"bucket {bucket_id} is deleted")
    return all_batches(api)


def end_deletions(api: httpx.Client, world: World) -> None:
    """Ask again for the deletions that were not acknowledged, as a client does."""
    for object_id in world.maybe_deleted - world.deleted:
        url = f"/v1/buckets/{world.tree.bucket_id}/objects/{object_id}"
        assert api.delete(url).status_code in {204, 404}
        world.deleted.add(object_id)


def retry(api: httpx.Client, batches: list[dict[str, Any]], batch_ids: set[str]) -> None:
    """Have batches process what failed in them once more."""
    for batch in batches:
        if batch["batch_id"] in batch_ids:
            ok(api.post(f"/v1/buckets/{batch['bucket_id']}/batches/{batch['batch_id']}/retry"))


def all_batches(api: httpx.Client) -> list[dict[str, Any]]:
    """Every batch of the namespace."""
    return pages(
        lambda start: ok(api.post("/v1/batches/list", json={"limit": 100, "offset": start}))["results"], 100
    )


def stored_texts(api: httpx.Client, world: World) -> dict[str, str]:
    """Text of every object that the tree's bucket holds, by id."""
    url = f"/v1/buckets/{world.tree.bucket_id}/objects/list"
    listed = pages(lambda start: ok(api.post(url, json={"limit": 500, "offset": start}))["results"], 500)
    return {one["object_id"]: one["blobs"][0]["properties"]["data"] for one in listed}


def check_reads(api: httpx.Client, world: World) -> None:
    """3: what was acknowledged is read back."""
    stored = stored_texts(api, world)
    for object_id, text in world.texts.items():
        if object_id in world.deleted:
            assert object_id not in stored, "a deleted object is back"
        elif object_id not in world.maybe_deleted:
            assert stored.get(object_id) == text, f"object {object_id} is not as it was acknowledged"
    for document_id, fields in world.documents.items():
        found = ok(api.get(f"/v1/documents/{document_id}"))
        if document_id not in world.unsure:
            assert {name: found.get(name) for name in fields} == fields, document_id
    for retriever_id, made in world.retrievers.items():
        found = ok(api.get(f"/v1/retrievers/{retriever_id}"))
        same = ("retriever_name", "stages", "input_schema", "collection_identifiers")
        assert {name: found[name] for name in same} == {name: made[name] for name in same}
    for bucket_id in world.doomed:
        answer = api.get(f"/v1/buckets/{bucket_id}")
        assert answer.status_code == 404 or answer.json()["is_locked"], "a deleted bucket is open again"


def check_accounts(
    api: httpx.Client, world: World, batches: list[dict[str, Any]], *, excused: bool = False
) -> set[str]:
    """1 and 7: every batch has ended, and its objects are its documented objects and its listed failures.

    Failures of what can be processed are no mistake where they are `excused`: batches that have some.
    """
    lacking = set[str]()
    by_id = {one["batch_id"]: one for one in batches}
    assert set(world.batches) | world.triggered <= set(by_id), "an acknowledged batch is gone"
    processed = {one for batch in batches if batch["status"] != "DRAFT" for one in batch["object_ids"]}
    assert world.at_once <= processed, "an object that should have been processed at once never was"
    stored = stored_texts(api, world)
    present = {
        collection_id: {one["_internal"]["lineage"]["root_object_id"] for one in listed(api, collection_id)}
        for collection_id in world.tree.collections
    }
    for batch in batches:
        if batch["bucket_id"] != world.tree.bucket_id or batch["status"] == "DRAFT":
            continue
        where = f"batch {batch['batch_id']}: {batch['status']} {batch.get('error')}"
        objects = set(batch["object_ids"])
        assert objects == set(world.batches.get(batch["batch_id"], objects)), where
        url = f"/v1/buckets/{batch['bucket_id']}/batches/{batch['batch_id']}/failed-documents"

        def page(start: int, url: str = url) -> Any:
            return ok(api.get(url, params={"limit": 500, "offset": start}))["results"]

        failures = pages(page, 500)
        failed = {one["object_id"] for one in failures}
        assert batch["failed_object_count"] == len(failed), where
        bad = {one for one in objects if stored.get(one) == BLANK}
        gone = objects - set(stored)
        assert bad <= failed, f"{where}: {sorted(bad - failed)} cannot be processed and are not listed"
        if failed - bad - gone:
            assert excused, f"{where}: {sorted(failed - bad - gone)} are listed and should not be"
            lacking.add(batch["batch_id"])
        for object_id in objects - failed - gone:
            missing = [one for one, roots in present.items() if object_id not in roots]
            assert not missing, f"{where}: {object_id} is neither documented nor listed in {missing}"
        expected = {True: {"COMPLETED_WITH_ERRORS", "FAILED"}, False: {"COMPLETED"}}[bool(failed)]
        if not objects:
            expected = {"FAILED"}  # a trigger that found nothing
        assert batch["status"] in expected, where
        task = ok(api.get(f"/v1/tasks/{batch['task_id']}"))
        assert task["status"] == batch["status"], where
    return lacking


def check_documents(api: httpx.Client, world: World, batches: list[dict[str, Any]]) -> None:
    """4: exactly the documents that objects have to become; none twice, none missing, none left over."""
    stored = stored_texts(api, world)
    processed = {
        one
        for batch in batches
        for one in batch["object_ids"]
        if batch["status"] not in {"DRAFT", "CANCELED"}
    }
    expected: dict[str, set[str]] = {one: set() for one in world.tree.collections}
    for object_id in processed & set(stored):
        for collection_id, ids in world.tree.documents(object_id, stored[object_id]).items():
            expected[collection_id].update(ids)
    for collection_id, wanted in expected.items():
        found = [one["document_id"] for one in listed(api, collection_id)]
        assert len(found) == len(set(found)), f"documents of {collection_id} are listed twice"
        assert set(found) == wanted, (
            f"{collection_id}: missing {sorted(wanted - set(found))[:5]}, "
            f"left over {sorted(set(found) - wanted)[:5]}"
        )
        count = ok(api.get(f"/v1/collections/{collection_id}/documents/count"))["count"]
        assert count == len(wanted)


def check_uploads(api: httpx.Client, world: World) -> None:
    """Confirmed uploads are objects, and the objects documents."""
    for upload_id, (object_id, _) in world.confirmed.items():
        uploads = f"/v1/buckets/{world.uploads_bucket}/uploads/{upload_id}"
        assert ok(api.get(uploads))["object_id"] == object_id
        found = ok(api.get(f"/v1/buckets/{world.uploads_bucket}/objects/{object_id}"))
        assert found["document_count"] == 1, found


def check_search(api: httpx.Client, world: World, *, most: int = 60) -> None:
    """2: what is documented is found, by its meaning and by its words."""
    for collection_id in (world.tree.sentences, world.tree.again):
        uri = vector_index(api, collection_id)
        texts = {one["document_id"]: one["text"] for one in listed(api, collection_id)}
        for document_id, text in list(texts.items())[:most]:
            for how in (
                {"input_mode": "text", "value": text},
                {"input_mode": "text", "value": text.split()[2]},
            ):
                stage = search_stage(uri, how, final_top_k=5)
                if how["value"] != text:
                    search = stage["config"]["parameters"]["searches"][0]
                    search["lexical"] = True
                answer = ok(
                    api.post(
                        "/v1/retrievers/execute",
                        json={"collection_identifiers": [collection_id], "stages": [stage], "inputs": {}},
                    )
                )
                found = [one["document_id"] for one in answer["documents"]]
                assert document_id in found, f"{document_id} ({text!r}) is not found by {how}"


def listed(api: httpx.Client, collection_id: str) -> list[dict[str, Any]]:
    """All documents of a collection."""
    found: list[dict[str, Any]] = []
    cursor: str | None = None
    while True:
        url = f"/v1/collections/{collection_id}/documents/list"
        answer = ok(api.post(url, json={"limit": 1000, **({"cursor": cursor} if cursor else {})}))
        found += answer["results"]
        cursor = answer["pagination"].get("next_cursor")
        if cursor is None:
            return found

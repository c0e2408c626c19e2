"""Objects become documents: lineage, fields, splitting, failures, retries and progress, over HTTP."""

import itertools
import threading
from typing import Any

import httpx
import pytest

from lamina.core.ids import document_id
from tests.server import RunningServer
from tests.steps import (
    POEMS,
    TERMINAL,
    create_bucket,
    create_collection,
    create_objects,
    create_retriever,
    documents,
    eventually,
    finished,
    ok,
    poem_object,
    process,
    refused,
    search_stage,
    text_extractor,
)
from tests.unit.served import serving

STORY = "The fox runs. The owl sleeps. The mole digs."
SENTENCES = {"split_by": "sentences", "chunk_size": 1, "chunk_overlap": 0}


def reading(*collection_ids: str) -> dict[str, Any]:
    """The source of a collection that reads others."""
    return {"type": "collection", "collection_ids": list(collection_ids)}


def passthrough(**config: Any) -> dict[str, Any]:
    """A `feature_extractor` that makes one document of each source."""
    return {"feature_extractor_name": "passthrough_extractor", "version": "v1", **config}


def story(text: Any = STORY, **fields: Any) -> dict[str, Any]:
    """The request for one object with a text blob."""
    return {"blobs": [{"property": "text", "type": "text", "data": text}], **fields}


def add(api: httpx.Client, bucket_id: str, *objects: dict[str, Any]) -> list[str]:
    """New objects; their ids."""
    return [ok(api.post(f"/v1/buckets/{bucket_id}/objects", json=one))["object_id"] for one in objects]


def submitted(api: httpx.Client, bucket_id: str, object_ids: list[str], **batch: Any) -> tuple[str, str]:
    """A batch that runs: its id and its task's."""
    batches = f"/v1/buckets/{bucket_id}/batches"
    batch_id = ok(api.post(batches, json={"object_ids": object_ids, **batch}))["batch_id"]
    return batch_id, ok(api.post(f"{batches}/{batch_id}/submit"))["task_id"]


def uploaded(api: httpx.Client, bucket_id: str, content: bytes) -> str:
    """An object of an uploaded file, which is not looked into before it is processed."""
    wish = {"filename": "note.txt", "content_type": "text/plain", "blob_property": "text"}
    upload = ok(api.post(f"/v1/buckets/{bucket_id}/uploads", json=wish))
    put = httpx.put(upload["presigned_url"], content=content, headers={"Content-Type": "text/plain"})
    assert put.status_code == 200, put.text
    confirmed = ok(api.post(f"/v1/buckets/{bucket_id}/uploads/{upload['upload_id']}/confirm"))
    return str(confirmed["object_id"])


def run(
    api: httpx.Client, bucket_id: str, object_ids: list[str], status: str = "COMPLETED", **batch: Any
) -> Any:
    """A batch that has ended as expected."""
    batch_id, task_id = submitted(api, bucket_id, object_ids, **batch)
    finished(api, task_id, status=status)
    return ok(api.get(f"/v1/batches/{batch_id}"))


def by_text(api: httpx.Client, collection_id: str) -> dict[str, Any]:
    """Documents of a collection by their text."""
    return {one["text"]: one for one in documents(api, collection_id)}


# Lineage and fields


def test_every_tier_carries_the_whole_lineage(api: httpx.Client) -> None:
    bucket_id = create_bucket(api)["bucket_id"]
    first = create_collection(api, bucket_id, feature_extractor=text_extractor(parameters=SENTENCES))
    second = create_collection(api, bucket_id, source=reading(first["collection_id"]))
    keep = passthrough(field_passthrough=["text"])
    third = create_collection(api, bucket_id, source=reading(second["collection_id"]), feature_extractor=keep)
    (object_id,) = add(api, bucket_id, story(title="Wood"))
    batch = run(api, bucket_id, [object_id])
    assert batch["dag_tiers"] == [[one["collection_id"]] for one in (first, second, third)]
    assert [tier["status"] for tier in batch["tier_tasks"]] == ["COMPLETED"] * 3
    assert [tier["documents_written"] for tier in batch["tier_tasks"]] == [3, 3, 3]

    ids = [one["collection_id"] for one in (first, second, third)]
    extractors = ["text_extractor_v1", "text_extractor_v1", "passthrough_extractor_v1"]
    tiers = [by_text(api, one) for one in ids]
    for text in ("The fox runs.", "The owl sleeps.", "The mole digs."):
        made = [tier[text] for tier in tiers]
        for depth, document in enumerate(made):
            lineage = document["_internal"]["lineage"]
            assert lineage["root_object_id"] == object_id
            assert lineage["root_bucket_id"] == bucket_id
            assert lineage["path"] == "/".join([bucket_id, *ids[: depth + 1]])
            chain = lineage["chain"]
            assert [step["collection_id"] for step in chain] == ids[: depth + 1]
            assert [step["feature_extractor_id"] for step in chain] == extractors[: depth + 1]
            assert [step.get("document_id") for step in chain] == [
                *(one["document_id"] for one in made[:depth]), None
            ]  # fmt: skip
            if depth == 0:
                assert lineage["source_type"] == "bucket"
                assert lineage["source_object_id"] == object_id
                assert "source_document_id" not in lineage
            else:
                assert lineage["source_type"] == "collection"
                assert lineage["source_document_id"] == made[depth - 1]["document_id"]
                assert lineage["source_collection_id"] == ids[depth - 1]


def test_a_documents_id_follows_from_collection_source_extractor_and_part(api: httpx.Client) -> None:
    bucket_id = create_bucket(api)["bucket_id"]
    made = create_collection(api, bucket_id, feature_extractor=text_extractor(parameters=SENTENCES))
    (object_id,) = add(api, bucket_id, story())
    run(api, bucket_id, [object_id])
    expected = {
        document_id(made["collection_id"], object_id, "text_extractor_v1", str(part)) for part in range(3)
    }
    before = documents(api, made["collection_id"])
    assert {one["document_id"] for one in before} == expected
    run(api, bucket_id, [object_id])
    assert {one["document_id"] for one in documents(api, made["collection_id"])} == expected


def test_fields_are_passed_through_by_name_or_with_target_and_default(api: httpx.Client) -> None:
    schema = {
        "properties": {
            "text": {"type": "text"},
            "title": {"type": "string"},
            "about": {"type": "object"},
            "year": {"type": "integer"},
        }
    }
    bucket_id = create_bucket(api, schema)["bucket_id"]
    named = create_collection(
        api, bucket_id, feature_extractor=text_extractor(field_passthrough=["title", "year"])
    )
    mapped = [
        {"source_path": "title", "target_path": "heading"},
        {"source_path": "about.author", "target_path": "meta.author"},
        {"source_path": "year", "default": 1900},
    ]
    placed = create_collection(api, bucket_id, feature_extractor=text_extractor(field_passthrough=mapped))
    run(api, bucket_id, add(api, bucket_id, story(title="Wood", about={"author": "Ann", "age": 7})))
    (document,) = documents(api, named["collection_id"])
    assert document["title"] == "Wood"
    assert "year" not in document
    assert "about" not in document
    (document,) = documents(api, placed["collection_id"])
    assert document["heading"] == "Wood"
    assert document["meta"] == {"author": "Ann"}
    assert document["year"] == 1900


def test_an_object_without_a_required_passthrough_fails_alone(api: httpx.Client) -> None:
    bucket_id = create_bucket(api)["bucket_id"]
    must = [{"source_path": "title", "required": True}]
    create_collection(api, bucket_id, feature_extractor=text_extractor(field_passthrough=must))
    good, bad = add(api, bucket_id, story(title="Wood"), story())
    batch = run(api, bucket_id, [good, bad], "COMPLETED_WITH_ERRORS")
    assert [one["object_id"] for one in batch["failed_objects"]] == [bad]
    assert "title" in batch["failed_objects"][0]["error"]


def test_an_object_that_fails_in_one_of_two_collections_is_a_failed_one(api: httpx.Client) -> None:
    bucket_id = create_bucket(api)["bucket_id"]
    must = [{"source_path": "title", "required": True}]
    create_collection(api, bucket_id, feature_extractor=text_extractor(field_passthrough=must))
    lenient = create_collection(api, bucket_id, feature_extractor=text_extractor())
    good, bad = add(api, bucket_id, story(title="Wood"), story())
    run(api, bucket_id, [good, bad], "COMPLETED_WITH_ERRORS")
    assert len(documents(api, lenient["collection_id"])) == 2
    shown = [ok(api.get(f"/v1/buckets/{bucket_id}/objects/{one}")) for one in (good, bad)]
    assert [one["status"] for one in shown] == ["COMPLETED", "FAILED"]
    assert "title" in shown[1]["error"]


def test_all_source_fields_are_kept_when_asked_for(api: httpx.Client) -> None:
    bucket_id = create_bucket(api)["bucket_id"]
    config = text_extractor(field_passthrough=[], include_all_source_fields=True)
    made = create_collection(api, bucket_id, feature_extractor=config)
    assert {"title", "year", "text"} <= set(made["output_schema"]["properties"])
    run(api, bucket_id, add(api, bucket_id, story(title="Wood", year=1999)))
    (document,) = documents(api, made["collection_id"])
    assert (document["title"], document["year"], document["text"]) == ("Wood", 1999, STORY)


@pytest.mark.parametrize(
    ("mappings", "expected"),
    [
        ({"text": "text"}, STORY),
        ({"text": ["title", "text"]}, f"Wood\n\n{STORY}"),
        ([{"input_key": "text", "source_type": "payload", "path": "title"}], "Wood"),
        (
            [
                {"input_key": "text", "source_type": "payload", "path": "title"},
                {"input_key": "text", "source_type": "blob", "path": "text"},
            ],
            f"Wood\n\n{STORY}",
        ),
        (
            [{"input_key": "text", "source_type": "literal", "override": "Once upon a time."}],
            "Once upon a time.",
        ),
    ],
)
def test_input_mappings_choose_what_is_read(api: httpx.Client, mappings: Any, expected: str) -> None:
    bucket_id = create_bucket(api)["bucket_id"]
    config = text_extractor(input_mappings=mappings, field_passthrough=[])
    made = create_collection(api, bucket_id, feature_extractor=config)
    run(api, bucket_id, add(api, bucket_id, story(title="Wood")))
    assert [one["text"] for one in documents(api, made["collection_id"])] == [expected]


def test_documents_inherit_the_metadata_of_object_and_blob(api: httpx.Client) -> None:
    schema = {"properties": {"text": {"type": "text"}, "metadata": {"type": "object"}}}
    bucket_id = create_bucket(api, schema)["bucket_id"]
    first = create_collection(api, bucket_id, feature_extractor=text_extractor(parameters=SENTENCES))
    second = create_collection(api, bucket_id, source=reading(first["collection_id"]))
    blob = {"property": "text", "type": "text", "data": STORY, "metadata": {"language": "en"}}
    add(api, bucket_id, {"blobs": [blob], "metadata": {"campaign": "spring"}})
    ids = [one["object_id"] for one in ok(api.post(f"/v1/buckets/{bucket_id}/objects/list"))["results"]]
    run(api, bucket_id, ids)
    for made in (first, second):
        found = documents(api, made["collection_id"])
        assert len(found) == 3
        assert all(one["metadata"] == {"campaign": "spring", "language": "en"} for one in found)


# Splitting

PARAGRAPHS = "One para.\n\nTwo para.\n\n\nThree para."
SPLIT = [
    ({"split_by": "none"}, STORY, [STORY]),
    ({"split_by": "characters", "chunk_size": 20, "chunk_overlap": 5}, "abcdefghij" * 4, [
        "abcdefghijabcdefghij", "fghijabcdefghijabcde", "abcdefghij",
    ]),
    ({"split_by": "words", "chunk_size": 4, "chunk_overlap": 1}, "a b c d e f g", ["a b c d", "d e f g"]),
    ({"split_by": "sentences", "chunk_size": 2, "chunk_overlap": 1}, STORY, [
        "The fox runs. The owl sleeps.", "The owl sleeps. The mole digs.",
    ]),
    ({"split_by": "paragraphs", "chunk_size": 1, "chunk_overlap": 0}, PARAGRAPHS, [
        "One para.", "Two para.", "Three para.",
    ]),
    ({"split_by": "pages", "chunk_size": 1, "chunk_overlap": 0}, "Page one.\fPage two.", [
        "Page one.", "Page two.",
    ]),
    ({"split_by": "markdown"}, "# Animals\n\nFoxes.\n\n## Birds\n\nOwls.\n", [
        "# Animals\n\nFoxes.", "## Birds\n\nOwls.",
    ]),
    ({"split_by": "time_segments", "segment_length_seconds": 30},
     "1\n00:00:00,000 --> 00:00:02,000\nHello.\n\n2\n00:00:36,000 --> 00:00:38,000\nGoodbye.\n",
     ["Hello.", "Goodbye."]),
]  # fmt: skip


@pytest.mark.parametrize(("parameters", "text", "expected"), SPLIT, ids=lambda one: str(one)[:24])
def test_a_text_is_split_as_asked(
    api: httpx.Client, parameters: dict[str, Any], text: str, expected: list[str]
) -> None:
    bucket_id = create_bucket(api)["bucket_id"]
    config = text_extractor(parameters=parameters, field_passthrough=["title"])
    made = create_collection(api, bucket_id, feature_extractor=config)
    batch = run(api, bucket_id, add(api, bucket_id, story(text, title="Wood")))
    found = sorted(documents(api, made["collection_id"]), key=lambda one: one.get("chunk_index", 0))
    assert [one["text"].strip() for one in found] == expected
    assert batch["documents_written"] == len(expected)
    assert all(one["title"] == "Wood" for one in found)
    if parameters["split_by"] != "none":
        assert [one["chunk_index"] for one in found] == list(range(len(expected)))
        assert {one["chunk_count"] for one in found} == {len(expected)}


# Failures, retries, cancelling


def test_bad_objects_fail_alone_with_their_reasons(api: httpx.Client) -> None:
    bucket_id = create_bucket(api)["bucket_id"]
    made = create_collection(api, bucket_id)
    url = {
        "property": "text",
        "type": "text",
        "data": "http://127.0.0.1:9/secret.txt",
        "canonicalize_source": False,
    }
    blank, refused, good = add(api, bucket_id, story("  \n "), {"blobs": [url]}, story(title="Wood"))
    garbage = uploaded(api, bucket_id, b"\xef\xbb\xbfNot UTF-8, as its mark says: \xff\xfe\xfd")
    batch = run(api, bucket_id, [blank, refused, garbage, good], "COMPLETED_WITH_ERRORS")
    assert batch["failed_object_count"] == 3
    reasons = {one["object_id"]: one for one in batch["failed_objects"]}
    assert set(reasons) == {blank, refused, garbage}
    assert "no text" in reasons[blank]["error"]
    assert all(one["error_type"] in {"transient", "permanent"} for one in reasons.values())
    assert all(one["collection_id"] == made["collection_id"] for one in reasons.values())
    assert "Traceback" not in str(reasons)
    assert batch["progress"]["objects_failed"] == 3
    assert batch["progress"]["first_error"]
    (document,) = documents(api, made["collection_id"])
    assert document["_internal"]["lineage"]["root_object_id"] == good
    listed = ok(api.get(f"/v1/buckets/{bucket_id}/batches/{batch['batch_id']}/failed-documents"))
    assert listed["total_count"] == 3
    statuses = {one: ok(api.get(f"/v1/buckets/{bucket_id}/objects/{one}")) for one in (blank, good)}
    assert statuses[blank]["status"] == "FAILED"
    assert "no text" in statuses[blank]["error"]
    assert statuses[good]["status"] == "COMPLETED"
    assert "error" not in statuses[good]


def test_a_batch_of_nothing_but_bad_objects_is_failed(api: httpx.Client) -> None:
    bucket_id = create_bucket(api)["bucket_id"]
    create_collection(api, bucket_id)
    batch = run(api, bucket_id, add(api, bucket_id, story(" "), story("\n")), "FAILED")
    assert batch["failed_object_count"] == 2


def test_a_retry_processes_what_failed_and_only_that(api: httpx.Client) -> None:
    bucket_id = create_bucket(api, unique_key={"fields": ["title"], "default_policy": "upsert"})["bucket_id"]
    made = create_collection(api, bucket_id, feature_extractor=text_extractor(parameters=SENTENCES))
    below = create_collection(api, bucket_id, source=reading(made["collection_id"]))
    good, bad = add(api, bucket_id, story(title="good"), story(" ", title="bad"))
    batch = run(api, bucket_id, [good, bad], "COMPLETED_WITH_ERRORS")
    stamps = {
        one["document_id"]: one["_internal"]["updated_at"] for one in documents(api, made["collection_id"])
    }
    assert len(stamps) == 3

    assert add(api, bucket_id, story("Now it speaks.", title="bad")) == [bad]
    retried = ok(api.post(f"/v1/buckets/{bucket_id}/batches/{batch['batch_id']}/retry"))
    finished(api, retried["task_id"])
    after = ok(api.get(f"/v1/batches/{batch['batch_id']}"))
    assert after["status"] == "COMPLETED"
    assert after["retry_count"] == 1
    assert after["failed_object_count"] == 0
    assert "failed_objects" not in after
    assert after["documents_written"] == 8
    found = {
        one["document_id"]: one["_internal"]["updated_at"] for one in documents(api, made["collection_id"])
    }
    assert len(found) == 4
    assert {one: found[one] for one in stamps} == stamps, "what had not failed was processed again"
    assert sorted(by_text(api, below["collection_id"])) == sorted(
        [*STORY.replace(". ", ".|").split("|"), "Now it speaks."]
    )
    again = api.post(f"/v1/buckets/{bucket_id}/batches/{batch['batch_id']}/retry")
    assert again.status_code == 400, again.text


def test_a_cancelled_batch_stops_soon_lists_the_rest_and_can_be_retried(api: httpx.Client) -> None:
    bucket_id = create_bucket(api)["bucket_id"]
    made = create_collection(api, bucket_id)
    long = " ".join(poem["text"] for poem in POEMS[:2])
    ids = list(
        itertools.chain.from_iterable(
            create_objects(api, bucket_id, [{"text": long}] * 100) for _ in range(12)
        )
    )
    batch_id, task_id = submitted(api, bucket_id, ids)

    def progress() -> Any:
        return ok(api.get(f"/v1/batches/{batch_id}")).get("progress") or {}

    eventually(lambda: bool(progress().get("processed")), "the batch has begun")
    answer = ok(api.post(f"/v1/batches/{batch_id}/cancel", params={"reason": "enough"}))
    assert answer["status"] == "CANCELED"
    batch = ok(api.get(f"/v1/batches/{batch_id}"))
    assert batch["status"] == "CANCELED"
    assert batch["lifecycle"] == "canceled"
    assert batch["status_message"] == "enough"
    count = ok(api.get(f"/v1/collections/{made['collection_id']}/documents/count"))["count"]
    assert 0 < count < 1200
    assert batch["failed_object_count"] + count == 1200
    assert "canceled" in batch["failed_objects"][0]["error"]
    assert ok(api.get(f"/v1/tasks/{task_id}"))["status"] == "CANCELED"
    described = ok(api.get(f"/v1/buckets/{bucket_id}"))
    assert not described.get("failed_object_count"), "what was not tried has not failed"

    retried = ok(api.post(f"/v1/buckets/{bucket_id}/batches/{batch_id}/retry"))
    finished(api, retried["task_id"], seconds=200)
    batch = ok(api.get(f"/v1/batches/{batch_id}"))
    assert batch["status"] == "COMPLETED"
    assert batch["progress"]["processed"] == batch["progress"]["total"] == 1200
    assert ok(api.get(f"/v1/collections/{made['collection_id']}/documents/count"))["count"] == 1200


def test_a_batch_names_collections_that_exist(api: httpx.Client) -> None:
    bucket_id = create_bucket(api)["bucket_id"]
    create_collection(api, bucket_id)
    ids = create_objects(api, bucket_id, POEMS[:1])
    asked = {"object_ids": ids, "collection_ids": ["nothing-of-the-kind"]}
    refused(api.post(f"/v1/buckets/{bucket_id}/batches", json=asked), 404, "NotFoundError")


# Doing it again


@pytest.mark.parametrize("how", ["patch", "upsert"])
def test_a_shortened_object_loses_its_stale_parts_in_every_tier(api: httpx.Client, how: str) -> None:
    schema = {"properties": {"key": {"type": "string"}, "body": {"type": "string"}}}
    unique_key = {"fields": ["key"], "default_policy": "upsert"}
    bucket_id = create_bucket(api, schema, unique_key=unique_key)["bucket_id"]
    config = text_extractor(parameters=SENTENCES, input_mappings={"text": "body"}, field_passthrough=["key"])
    first = create_collection(api, bucket_id, feature_extractor=config)
    second = create_collection(api, bucket_id, source=reading(first["collection_id"]))
    keep = passthrough(field_passthrough=["text"])
    third = create_collection(api, bucket_id, source=reading(second["collection_id"]), feature_extractor=keep)
    ids = add(
        api, bucket_id, {"key": "a", "body": STORY}, {"key": "b", "body": "The elk waits. The hare hides."}
    )
    run(api, bucket_id, ids)
    tiers = [one["collection_id"] for one in (first, second, third)]
    assert [len(documents(api, one)) for one in tiers] == [5, 5, 5]
    if how == "patch":
        ok(api.patch(f"/v1/buckets/{bucket_id}/objects/{ids[0]}", json={"body": "The fox rests."}))
    else:
        assert add(api, bucket_id, {"key": "a", "body": "The fox rests."}) == ids[:1]
    run(api, bucket_id, ids)
    for collection_id in tiers:
        texts = sorted(one["text"] for one in documents(api, collection_id))
        assert texts == ["The elk waits.", "The fox rests.", "The hare hides."]
    found = ok(api.get(f"/v1/buckets/{bucket_id}/objects/{ids[0]}"))
    assert found["document_count"] == 3


def test_an_object_that_turned_bad_keeps_the_documents_that_it_had(api: httpx.Client) -> None:
    schema = {"properties": {"body": {"type": "string"}}}
    bucket_id = create_bucket(api, schema)["bucket_id"]
    config = text_extractor(input_mappings={"text": "body"}, field_passthrough=[])
    made = create_collection(api, bucket_id, feature_extractor=config)
    ids = add(api, bucket_id, {"body": STORY})
    run(api, bucket_id, ids)
    ok(api.patch(f"/v1/buckets/{bucket_id}/objects/{ids[0]}", json={"body": " "}))
    run(api, bucket_id, ids, "FAILED")
    assert [one["text"] for one in documents(api, made["collection_id"])] == [STORY]


# Progress, and many at once


def test_progress_rises_to_the_batchs_total(api: httpx.Client) -> None:
    bucket_id = create_bucket(api)["bucket_id"]
    first = create_collection(api, bucket_id, feature_extractor=text_extractor(parameters=SENTENCES))
    create_collection(api, bucket_id, source=reading(first["collection_id"]))
    ids = list(
        itertools.chain.from_iterable(
            create_objects(api, bucket_id, [{"text": STORY}] * 100) for _ in range(3)
        )
    )
    batch_id, task_id = submitted(api, bucket_id, ids)
    seen: list[dict[str, Any]] = []
    while (task := ok(api.get(f"/v1/tasks/{task_id}")))["status"] not in TERMINAL:
        seen.append(task["additional_data"].get("progress") or {})
    assert task["status"] == "COMPLETED"
    batch = ok(api.get(f"/v1/batches/{batch_id}"))
    seen.append(batch["progress"])
    for name in ("processed", "total", "percent", "documents_written"):
        values = [one.get(name) or 0 for one in seen]
        assert values == sorted(values), f"{name} fell"
    assert len({one.get("processed") for one in seen}) > 2, "progress was not shown meanwhile"
    assert all((one.get("processed") or 0) <= (one.get("total") or 0) for one in seen if one)
    final = batch["progress"]
    assert (final["processed"], final["total"], final["percent"]) == (1200, 1200, 100.0)
    assert (final["objects_extracted"], final["errors"], final["documents_written"]) == (300, 0, 1800)
    jobs = [job for tier in batch["tier_tasks"] for job in tier["extractor_jobs"]]
    assert [(job["processed"], job["total"], job["documents_written"]) for job in jobs] == [
        (300, 300, 900),
        (900, 900, 900),
    ]


def test_five_thousand_objects_in_one_batch_are_all_accounted_for(api: httpx.Client) -> None:
    schema = {"properties": {"number": {"type": "integer"}}}
    bucket_id = create_bucket(api, schema)["bucket_id"]
    made = create_collection(api, bucket_id, feature_extractor=passthrough())
    ids: list[str] = []
    for start in range(0, 5000, 100):
        body = {"objects": [{"number": number} for number in range(start, start + 100)]}
        ids += [one["object_id"] for one in ok(api.post(f"/v1/buckets/{bucket_id}/objects/batch", json=body))]
    batch_id, task_id = submitted(api, bucket_id, ids)
    finished(api, task_id, seconds=120)
    batch = ok(api.get(f"/v1/batches/{batch_id}"))
    assert batch["documents_written"] == 5000
    assert batch["failed_object_count"] == 0
    assert len(batch["object_ids"]) == 5000
    assert ok(api.get(f"/v1/collections/{made['collection_id']}/documents/count"))["count"] == 5000
    bucket = ok(api.get(f"/v1/buckets/{bucket_id}"))
    assert bucket["object_count"] == 5000
    url = f"/v1/collections/{made['collection_id']}/documents/list"
    numbers: set[int] = set()
    cursor = None
    while True:
        page = ok(api.post(url, json={"limit": 1000, **({"cursor": cursor} if cursor else {})}))
        numbers.update(one["number"] for one in page["results"])
        cursor = page["pagination"].get("next_cursor")
        if cursor is None:
            break
    assert numbers == set(range(5000))


def test_batches_that_run_at_once_do_not_disturb_each_other(api: httpx.Client) -> None:
    bucket_id = create_bucket(api)["bucket_id"]
    made = create_collection(api, bucket_id)
    ids = create_objects(api, bucket_id, [{"text": f"Ship number {number}."} for number in range(90)])
    started = [submitted(api, bucket_id, some) for some in (ids[:50], ids[40:], ids)]
    for batch_id, task_id in started:
        finished(api, task_id)
        batch = ok(api.get(f"/v1/batches/{batch_id}"))
        assert batch["documents_written"] == len(batch["object_ids"])
    assert len(documents(api, made["collection_id"])) == 90


def test_a_draft_is_submitted_once_whoever_asks(api: httpx.Client) -> None:
    bucket_id = create_bucket(api)["bucket_id"]
    create_collection(api, bucket_id)
    ids = create_objects(api, bucket_id)
    url = f"/v1/buckets/{bucket_id}/batches"
    batch_id = ok(api.post(url, json={"object_ids": ids}))["batch_id"]
    answers: list[httpx.Response] = []
    asking = [
        threading.Thread(target=lambda: answers.append(api.post(f"{url}/{batch_id}/submit")))
        for _ in range(6)
    ]
    for one in asking:
        one.start()
    for one in asking:
        one.join()
    assert sorted(one.status_code for one in answers) == [200, 400, 400, 400, 400, 400]
    (accepted,) = [one.json()["task_id"] for one in answers if one.status_code == 200]
    finished(api, accepted)


def test_what_is_completed_can_be_read_at_once(api: httpx.Client) -> None:
    bucket_id = create_bucket(api)["bucket_id"]
    made = create_collection(api, bucket_id)
    uri = made["vector_indexes"][0]["feature_uri"]
    retriever = create_retriever(api, made["collection_id"], search_stage(uri))
    for number in range(5):
        text = f"The answer number {number} is written on a blue stone."
        object_ids = create_objects(api, bucket_id, [{"text": text}])
        process(api, bucket_id, object_ids)
        identifier = document_id(made["collection_id"], object_ids[0], "text_extractor_v1", "0")
        assert ok(api.get(f"/v1/documents/{identifier}"))["text"] == text
        assert len(documents(api, made["collection_id"])) == number + 1
        url = f"/v1/retrievers/{retriever['retriever_id']}/execute"
        found = ok(api.post(url, json={"inputs": {"query": text}}))["documents"]
        assert found[0]["document_id"] == identifier


def test_a_confirmed_upload_is_processed_when_asked(api: httpx.Client) -> None:
    bucket_id = create_bucket(api)["bucket_id"]
    made = create_collection(api, bucket_id, feature_extractor=text_extractor(field_passthrough=[]))
    wish = {"filename": "note.txt", "content_type": "text/plain", "blob_property": "text"}
    upload = ok(api.post(f"/v1/buckets/{bucket_id}/uploads", json=wish))
    put = httpx.put(upload["presigned_url"], content=STORY.encode(), headers={"Content-Type": "text/plain"})
    assert put.status_code == 200, put.text
    url = f"/v1/buckets/{bucket_id}/uploads/{upload['upload_id']}/confirm"
    confirmed = ok(api.post(url, json={"auto_submit_batch": True}))
    eventually(lambda: len(documents(api, made["collection_id"])) == 1, "the upload is a document")
    (document,) = documents(api, made["collection_id"])
    assert document["text"] == STORY
    assert document["_internal"]["lineage"]["root_object_id"] == confirmed["object_id"]
    assert ok(api.post(url, json={}))["object_id"] == confirmed["object_id"]


def test_an_object_with_auto_process_becomes_a_document(api: httpx.Client) -> None:
    bucket_id = create_bucket(api)["bucket_id"]
    made = create_collection(api, bucket_id)
    ok(api.post(f"/v1/buckets/{bucket_id}/objects?auto_process=true", json=poem_object(POEMS[0])))
    eventually(lambda: len(documents(api, made["collection_id"])) == 1, "the object is a document")


def test_a_webhook_does_not_lead_into_the_servers_own_network(
    api: httpx.Client, server: RunningServer
) -> None:
    bucket_id = create_bucket(api)["bucket_id"]
    create_collection(api, bucket_id)
    batches = f"/v1/buckets/{bucket_id}/batches"
    body = {"object_ids": create_objects(api, bucket_id, POEMS[:1])}
    batch_id = ok(api.post(batches, json=body))["batch_id"]
    with serving() as receiver:
        told = {"webhook_url": f"{receiver.url}/hook"}
        finished(api, ok(api.post(f"{batches}/{batch_id}/submit", json=told))["task_id"])
        lines = f'"batch_id":"{batch_id}"'
        eventually(
            lambda: any("notice_not_delivered" in line and lines in line for line in server.log.splitlines()),
            "it is said why nobody was told",
        )
        assert receiver.requests == []

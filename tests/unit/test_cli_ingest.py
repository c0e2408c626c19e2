"""`lamina ingest` against a scripted server: requests, failures, destinations."""

import json
from pathlib import Path
from typing import Any
from zipfile import ZipFile

import pytest

from tests.unit.served import Run, Served

EXTRACTORS = "GET /v1/collections/features/extractors"
OBJECTS = "POST /v1/buckets/bkt_1/objects/batch"


def warehouse(
    served: Served,
    name: str,
    properties: dict[str, str] | None = None,
    *,
    accepts: dict[str, dict[str, list[str]]] | None = None,
) -> None:
    """Script a server that has nothing yet and whose batches complete.

    `properties` are those of the bucket that is made; `accepts` are extractors beside the text
    extractor, with the types that each of their inputs takes.
    """
    schema = {key: {"type": kind} for key, kind in (properties or {"text": "text"}).items()}
    bucket = {"bucket_id": "bkt_1", "bucket_name": name, "bucket_schema": {"properties": schema}}
    served.will("POST /v1/buckets", bucket)
    for number in range(1, 7):
        made = {"collection_id": f"col_{number}", "collection_name": f"collection {number}"}
        served.will("POST /v1/collections", made)
        batch = {"batch_id": f"btch_{number}", "bucket_id": "bkt_1"}
        served.will("POST /v1/buckets/bkt_1/batches", {**batch, "status": "DRAFT"})
        served.will(f"POST /v1/buckets/bkt_1/batches/btch_{number}/submit", {"task_id": "task_1"})
        served.will(f"GET /v1/batches/btch_{number}", {**batch, "status": "COMPLETED"})
    served.will("POST /v1/buckets/bkt_1/uploads", {"upload_id": "upl_1", "is_duplicate": True})
    served.will(
        EXTRACTORS,
        [
            {
                "feature_extractor_name": extractor,
                "version": "v1",
                "input_schema": {"properties": {key: {"accepts": types} for key, types in inputs.items()}},
            }
            for extractor, inputs in (accepts or {}).items()
        ],
    )


def written(*ids: str, found: tuple[str, ...] = ()) -> dict[str, Any]:
    """The answer to a request whose objects all succeed, `found` those that were there before."""
    return {
        "succeeded": [
            {"object_id": one, "object_index": number, "replayed": one in found}
            for number, one in enumerate(ids)
        ]
    }


def asked(served: Served, call: str) -> list[Any]:
    """The bodies that a call was made with."""
    return [body for made, _, body in served.requests if made == call]


def test_a_path_that_does_not_exist_is_a_usage_error(run: Run) -> None:
    result = run("ingest", "nowhere")
    assert result.exit_code == 2
    assert "nowhere" in result.stderr


def test_only_the_refused_objects_of_a_request_fail(run: Run, served: Served, tmp_path: Path) -> None:
    (tmp_path / "poems.jsonl").write_text('{"text": "one"}\n{"text": "two"}\n{"text": "three"}\n')
    warehouse(served, "poems")
    served.will(
        OBJECTS,
        {
            "succeeded": [
                {"object_id": "obj_1", "object_index": 0, "replayed": False},
                {"object_id": "obj_3", "object_index": 2, "replayed": True},
            ],
            "failed": [{"object_index": 1, "error": "'text' is too short."}],
        },
    )
    batch = {"batch_id": "btch_1", "bucket_id": "bkt_1"}
    going = {"processed": 1, "total": 2}
    done = {"status": "COMPLETED", "documents_written": 2, "progress": {"processed": 2, "total": 2}}
    served.answers.pop("GET /v1/batches/btch_1")
    served.will("GET /v1/batches/btch_1", {**batch, "status": "PROCESSING", "progress": going})
    served.will("GET /v1/batches/btch_1", {**batch, **done})

    result = run("ingest", "poems.jsonl", "--json", "--url", served.url)

    assert result.exit_code == 1
    told = json.loads(result.stdout)
    assert told["objects"] == {"created": 1, "found": 1, "failed": 1}
    assert told["failures"] == [{"source": "poems.jsonl:2", "error": "'text' is too short."}]
    assert told["documents"] == 2
    assert asked(served, "POST /v1/buckets/bkt_1/batches")[0]["object_ids"] == ["obj_1", "obj_3"]
    (collection,) = asked(served, "POST /v1/collections")
    assert collection["feature_extractor"]["input_mappings"] == {"text": "text"}
    assert collection["metadata"] == {"ingested_as": "poems"}
    keys = [one["idempotency_key"] for one in asked(served, OBJECTS)[0]["objects"]]
    assert len(set(keys)) == 3


def test_objects_that_were_there_are_counted_as_found(run: Run, served: Served, tmp_path: Path) -> None:
    (tmp_path / "poems.jsonl").write_text('{"text": "one"}\n{"text": "two"}\n')
    warehouse(served, "poems")
    served.will(OBJECTS, written("obj_1", "obj_2", found=("obj_1", "obj_2")))
    result = run("ingest", "poems.jsonl", "--url", served.url)
    assert result.exit_code == 0
    assert "0 created, 2 found again, 0 failed" in result.stdout


@pytest.mark.parametrize("status", [413, 422])
def test_a_request_that_is_refused_as_a_whole_costs_the_objects_that_are_to_blame(
    run: Run, served: Served, tmp_path: Path, status: int
) -> None:
    (tmp_path / "poems.jsonl").write_text('{"text": "one"}\n{"text": "two"}\n{"text": "three"}\n')
    warehouse(served, "poems")
    refusal = {"error": {"message": "The body is not one that can be read.", "type": "ValidationError"}}
    served.will(OBJECTS, refusal, status)  # all three
    served.will(OBJECTS, written("obj_1"))
    served.will(OBJECTS, refusal, status)  # the second and the third
    served.will(OBJECTS, refusal, status)  # the second
    served.will(OBJECTS, written("obj_3"))
    result = run("ingest", "poems.jsonl", "--json", "--url", served.url)
    told = json.loads(result.stdout)
    assert result.exit_code == 1
    assert told["objects"] == {"created": 2, "found": 0, "failed": 1}
    assert [one["source"] for one in told["failures"]] == ["poems.jsonl:2"]


def test_an_object_that_fails_in_processing_is_named_by_where_it_came_from(
    run: Run, served: Served, tmp_path: Path
) -> None:
    (tmp_path / "poems.jsonl").write_text('{"text": "one"}\n\n{"text": " "}\n')
    warehouse(served, "poems")
    served.will(OBJECTS, written("obj_1", "obj_2"))
    served.answers.pop("GET /v1/batches/btch_1")
    served.will(
        "GET /v1/batches/btch_1",
        {
            "batch_id": "btch_1",
            "bucket_id": "bkt_1",
            "status": "COMPLETED_WITH_ERRORS",
            "failed_objects": [{"object_id": "obj_2", "error": "Input 'text' holds no text."}],
            "failed_object_count": 1,
        },
    )
    result = run("ingest", "poems.jsonl", "--url", served.url)
    assert result.exit_code == 1
    assert "failed  poems.jsonl:3: Input 'text' holds no text." in result.stdout


def test_a_bucket_with_a_unique_key_is_refused_before_anything_is_sent(
    run: Run, served: Served, tmp_path: Path
) -> None:
    (tmp_path / "rows.jsonl").write_text('{"text": "one"}')
    bucket = {"bucket_id": "bkt_1", "bucket_name": "rows", "unique_key": {"fields": ["sku"]}}
    served.will("GET /v1/buckets/rows", bucket)
    result = run("ingest", "rows.jsonl", "--url", served.url)
    assert result.exit_code == 2
    assert "unique_key" in result.stderr
    assert [call for call, _, _ in served.requests] == ["GET /v1/buckets/rows"]


def test_the_same_row_has_the_same_idempotency_key_and_a_changed_one_another(
    run: Run, served: Served, tmp_path: Path
) -> None:
    bucket = {
        "bucket_id": "bkt_1",
        "bucket_name": "p",
        "bucket_schema": {"properties": {"text": {"type": "text"}}},
    }
    served.will("GET /v1/buckets/rows", bucket)
    served.will("GET /v1/collections/rows", {"collection_id": "col_1", "collection_name": "rows"})
    served.will(
        "POST /v1/buckets/bkt_1/objects/batch", {"succeeded": [], "failed": [{"object_index": 0}]}, 422
    )
    keys = []
    for text in ("same", "same", "other"):
        (tmp_path / "rows.jsonl").write_text(json.dumps({"text": text}))
        assert run("ingest", "rows.jsonl", "--url", served.url).exit_code == 1
        keys.append(served.requests[-1][2]["objects"][0]["idempotency_key"])
    assert keys[0] == keys[1] != keys[2]


def test_no_create_makes_nothing(run: Run, served: Served, tmp_path: Path) -> None:
    (tmp_path / "rows.jsonl").write_text('{"text": "one"}')
    result = run("ingest", "rows.jsonl", "--no-create", "--url", served.url)
    assert result.exit_code == 2
    assert {call.split()[0] for call, _, _ in served.requests} == {"GET"}


# -- where files go

FILES = {
    "content": "text",
    "image": "image",
    "pdf": "pdf",
    "video": "video",
    "audio": "audio",
    "excel": "excel",
}
EVERY_EXTRACTOR = {
    "image_extractor": {"reference": ["string"], "picture": ["image"], "image": ["image", "pdf"]},
    "document_graph_extractor": {"pdf": ["pdf"]},
    "multimodal_extractor": {"text": ["text"], "video": ["video"], "sound": ["audio"]},
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """One file of each kind but sound, in the order of their ids: obj_1 is film.mp4, and so on."""
    path = tmp_path / "shoot"
    path.mkdir()
    (path / "film.mp4").write_bytes(b"\0\0\0\x18ftypmp42\0\0\0\0mp42isom")
    (path / "notes.txt").write_text("A red square.")
    (path / "scan.pdf").write_bytes(b"%PDF-1.7\n")
    (path / "square.mp4").write_bytes(b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR")
    with ZipFile(path / "table.xlsx", "w") as sheet:
        sheet.writestr("xl/workbook.xml", "<workbook/>")
    return path


def test_each_file_goes_to_the_extractor_for_what_it_is(run: Run, served: Served, folder: Path) -> None:
    warehouse(served, "shoot", FILES, accepts=EVERY_EXTRACTOR)
    served.will(OBJECTS, written("obj_1", "obj_2", "obj_3", "obj_4", "obj_5"))
    result = run("ingest", str(folder), "--json", "--url", served.url)
    assert result.exit_code == 0, result.stderr
    assert json.loads(result.stdout)["notes"] == []

    (bucket,) = asked(served, "POST /v1/buckets")
    types = {name: one["type"] for name, one in bucket["bucket_schema"]["properties"].items()}
    assert types == {**FILES, "path": "string"}

    collections = asked(served, "POST /v1/collections")
    assert [
        (
            one["collection_name"],
            one["feature_extractor"]["feature_extractor_name"],
            one["feature_extractor"].get("input_mappings"),
        )
        for one in collections
    ] == [
        ("shoot", "text_extractor", {"text": "content"}),
        ("shoot-images", "image_extractor", {"image": "image"}),
        ("shoot-pages", "document_graph_extractor", {"pdf": "pdf"}),
        ("shoot-media", "multimodal_extractor", {"video": "video", "sound": "audio"}),
        ("shoot-files", "passthrough_extractor", None),
    ]
    assert {one["metadata"]["ingested_as"] for one in collections} == {"shoot"}

    batches = asked(served, "POST /v1/buckets/bkt_1/batches")
    assert [(one["collection_ids"], one["object_ids"]) for one in batches] == [
        (["col_1"], ["obj_2"]),
        (["col_2"], ["obj_4"]),
        (["col_3"], ["obj_3"]),
        (["col_4"], ["obj_1"]),
        (["col_5"], ["obj_5"]),
    ]


def test_files_that_the_server_has_no_extractor_for_go_where_files_go_and_it_is_said(
    run: Run, served: Served, folder: Path
) -> None:
    without_video = {"image_extractor": {"image": ["image"]}, "multimodal_extractor": {"sound": ["audio"]}}
    warehouse(served, "shoot", FILES, accepts=without_video)
    served.will(OBJECTS, written("obj_1", "obj_2", "obj_3", "obj_4", "obj_5"))
    result = run("ingest", str(folder), "--json", "--url", served.url)
    assert result.exit_code == 0, result.stderr
    names = [one["collection_name"] for one in asked(served, "POST /v1/collections")]
    assert names == ["shoot", "shoot-images", "shoot-files"]
    assert asked(served, "POST /v1/buckets/bkt_1/batches")[-1]["object_ids"] == ["obj_1", "obj_3", "obj_5"]
    notes = json.loads(result.stdout)["notes"]
    assert [note.partition(" ")[0] for note in notes] == ["pdf", "video"]
    assert all(f"note: {note}" in result.stderr for note in notes)


@pytest.mark.parametrize("at_creation", [False, True], ids=["catalogue", "creation"])
def test_an_extractor_that_lacks_a_model_costs_nothing_but_itself(
    run: Run, served: Served, tmp_path: Path, at_creation: bool
) -> None:
    folder = tmp_path / "shoot"
    folder.mkdir()
    (folder / "notes.txt").write_text("A red square.")
    (folder / "square.png").write_bytes(b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR")
    if at_creation:
        served.will("POST /v1/collections", {"collection_id": "col_0", "collection_name": "shoot"})
        served.will("POST /v1/collections", {"error": {"message": "No weights. Pull them."}}, 422)
    warehouse(served, "shoot", FILES, accepts=EVERY_EXTRACTOR)
    if not at_creation:
        (_, _, entries), *_ = served.answers[EXTRACTORS]
        entries[0] |= {"available": False, "unavailable_reason": "No weights. Pull them."}
    served.will(OBJECTS, written("obj_1", "obj_2"))
    result = run("ingest", str(folder), "--json", "--url", served.url)
    assert result.exit_code == 0, result.stderr
    (note,) = json.loads(result.stdout)["notes"]
    assert note.startswith("image files go to 'shoot-files'")
    assert "No weights. Pull them." in note
    assert asked(served, "POST /v1/collections")[-1]["collection_name"] == "shoot-files"
    assert asked(served, "POST /v1/buckets/bkt_1/batches")[-1]["object_ids"] == ["obj_2"]


def test_rows_need_no_catalogue_and_without_text_are_passed_through(
    run: Run, served: Served, tmp_path: Path
) -> None:
    (tmp_path / "numbers.csv").write_text("a,b\n1,2\n")
    warehouse(served, "numbers", {"a": "integer", "b": "integer"})
    served.will(OBJECTS, written("obj_1"))
    assert run("ingest", "numbers.csv", "--url", served.url).exit_code == 0
    (collection,) = asked(served, "POST /v1/collections")
    assert collection["collection_name"] == "numbers"
    assert collection["feature_extractor"]["feature_extractor_name"] == "passthrough_extractor"
    assert asked(served, EXTRACTORS) == []

"""A course becomes units that are found, with their place in it, by what is shown, said and programmed."""

import base64
from typing import Any

import httpx

from tests.lecture import SLIDES, Lecture
from tests.pdfs import Line, Sheet, written
from tests.steps import (
    create_bucket,
    create_collection,
    create_retriever,
    documents,
    ok,
    process,
    search_stage,
)

MINILM = "all_minilm_l6_v2_v1"
SHEET = Sheet(
    [
        Line("Exercises", 60, 80, 26, bold=True),
        Line("Name three towns that lie on the river Danube, and the countries they are in.", 60, 130),
    ]
)


def blob(name: str, kind: str, data: bytes, mime_type: str) -> dict[str, Any]:
    encoded = base64.b64encode(data).decode()
    return {"property": name, "type": kind, "data": {"base64": encoded, "mime_type": mime_type}}


def test_a_lecture_and_its_handout_are_found_unit_by_unit(api: httpx.Client) -> None:
    schema = {"properties": {"lecture": {"type": "video"}, "handout": {"type": "pdf"}}}
    bucket_id = create_bucket(api, schema)["bucket_id"]
    extractor = {
        "feature_extractor_name": "course_content_extractor",
        "version": "v1",
        "input_mappings": {"video": "lecture", "pdf": "handout"},
        "parameters": {"min_segment_duration_ms": 2000},
    }
    collection = create_collection(api, bucket_id, feature_extractor=extractor)
    lecture = Lecture()
    blobs = [
        blob("lecture", "video", lecture.data, "video/mp4"),
        blob("handout", "pdf", written([SHEET]), "application/pdf"),
    ]
    object_id = ok(api.post(f"/v1/buckets/{bucket_id}/objects", json={"blobs": blobs}))["object_id"]
    process(api, bucket_id, [object_id])

    made = documents(api, collection["collection_id"])
    kinds = [one["doc_type"] for one in sorted(made, key=lambda one: one["unit_index"])]
    of_slides = ["slide", "transcript", "slide", "transcript", "code", "slide", "transcript"]
    assert kinds == [*of_slides, "element", "element"]

    uri = f"mixpeek://course_content_extractor@v1/{MINILM}"
    retriever = create_retriever(api, collection["collection_id"], search_stage(uri))
    asked: dict[str, dict[str, Any]] = {
        "storming of the prison in Paris": {"doc_type": "slide", "title": SLIDES[2][0]},
        "cold hearted and selfish": {"doc_type": "transcript", "title": SLIDES[1][0]},
        "cities on a European stream": {"doc_type": "element", "page_number": 1},
    }
    for query, wanted in asked.items():
        path = f"/v1/retrievers/{retriever['retriever_id']}/execute"
        first = ok(api.post(path, json={"inputs": {"query": query}}))["documents"][0]
        assert {name: first[name] for name in wanted} == wanted, query
        if wanted["doc_type"] == "slide":
            assert abs(first["start_time"] - lecture.starts[2]) < 0.4
            assert "thumbnail" in [one["field"] for one in first["document_blobs"]]

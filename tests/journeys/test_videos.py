"""A video becomes scenes, and their key frames become pictures: found by words, played, traced, deleted."""

import base64
import io
from typing import Any

import httpx

from lamina.media.video import probe_video
from tests.media import located
from tests.media.video import BIKES
from tests.steps import (
    create_bucket,
    create_collection,
    create_retriever,
    documents,
    eventually,
    ok,
    process,
    search_stage,
)

STARTS = [0.0, 1.2, 3.04, 5.48, 7.48, 9.68]


def tier(name: str, key: str, field: str, **parameters: Any) -> dict[str, Any]:
    return {
        "feature_extractor_name": name,
        "version": "v1",
        "input_mappings": {key: field},
        "parameters": parameters,
    }


def test_a_video_becomes_scenes_and_their_key_frames_become_pictures(api: httpx.Client) -> None:
    bucket_id = create_bucket(api, {"properties": {"clip": {"type": "video"}}})["bucket_id"]
    scenes = create_collection(
        api, bucket_id, feature_extractor=tier("multimodal_extractor", "video", "clip", split_method="scene")
    )
    pictures = create_collection(
        api,
        bucket_id,
        source={"type": "collection", "collection_ids": [scenes["collection_id"]]},
        feature_extractor=tier("image_extractor", "image", "thumbnail"),
    )
    encoded = base64.b64encode(located(BIKES).read_bytes()).decode()
    data = {"base64": encoded, "mime_type": "video/mp4", "filename": "bikes.mp4"}
    body = {"blobs": [{"property": "clip", "type": "video", "data": data}]}
    object_id = ok(api.post(f"/v1/buckets/{bucket_id}/objects", json=body))["object_id"]
    process(api, bucket_id, [object_id])

    of_scenes = documents(api, scenes["collection_id"])
    of_pictures = documents(api, pictures["collection_id"])
    assert sorted(one["start_time"] for one in of_scenes) == STARTS
    assert sorted(one["start_time"] for one in of_pictures) == STARTS  # they lie where their scenes lie
    assert {one["width"] for one in of_pictures} == {640}

    # lineage: from the picture back to the video
    for picture in of_pictures:
        lineage = picture["_internal"]["lineage"]
        assert lineage["root_object_id"] == object_id
        steps = [step["feature_extractor_id"] for step in lineage["chain"]]
        assert steps == ["multimodal_extractor_v1", "image_extractor_v1"]
        (scene,) = [one for one in of_scenes if one["document_id"] == lineage["source_document_id"]]
        assert scene["start_time"] == picture["start_time"]

    # words find the moment
    uri = scenes["vector_indexes"][0]["feature_uri"]
    retriever = create_retriever(api, scenes["collection_id"], search_stage(uri))
    query = {"inputs": {"query": "people riding bicycles"}}
    found = ok(api.post(f"/v1/retrievers/{retriever['retriever_id']}/execute", json=query))["documents"]
    assert found[0]["start_time"] in (5.48, 7.48)

    # it plays, also from the middle
    asked = {"document_ids": [found[0]["document_id"]], "return_presigned_urls": True}
    (document,) = ok(api.post("/v1/documents/batch-get", json=asked))["documents"]
    (clip,) = [one for one in document["document_blobs"] if one["field"] == "video_segment"]
    whole = httpx.get(clip["presigned_url"])
    assert probe_video(io.BytesIO(whole.content)).duration > 1.9
    part = httpx.get(clip["presigned_url"], headers={"Range": "bytes=100-199"})
    assert (part.status_code, part.content) == (206, whole.content[100:200])

    # nothing of it is left when its object goes
    ok(api.delete(f"/v1/buckets/{bucket_id}/objects/{object_id}"), 204)
    for collection in (scenes, pictures):
        eventually(lambda made=collection: not documents(api, made["collection_id"]), "documents go")  # type: ignore[misc]
    assert httpx.get(clip["presigned_url"]).status_code in {403, 404}

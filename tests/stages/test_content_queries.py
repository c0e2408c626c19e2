"""Pictures searched by words and by pictures, with the models that made their vectors."""

import base64
import io
from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio
from PIL import Image

from lamina.core.errors import LaminaError, NotEnabledError, NotFoundError, ValidationError
from lamina.extractors.base import BlobValue, Source
from lamina.extractors.image_extractor import EXTRACTOR
from lamina.inference.registry import Models, ModelSettings
from lamina.processing.collections import vector_index as index_of
from lamina.retrieval.retrievers import FeatureSearchRequest
from lamina.stores.blobs.folder import FolderBlobStore
from lamina.stores.vectors.base import Point
from tests.media import MODELS_DIR, located
from tests.media.photos import PHOTOS
from tests.security.internet import PUBLIC, Internet, Names, answer, guarded, site
from tests.stages.world import SCOPE, OpenVectors, World, collection, places, search, stage, vector_index

SHOWN = {
    "chelsea": "a cat",
    "coffee": "a cup of coffee",
    "motorcycle_left": "a motorcycle",
    "camera": "a photographer with his camera on a tripod",
    "rocket": "a rocket at its launch pad",
}

AT = "stages.0.config.parameters.searches.0.query.value"


def bytes_of(name: str) -> bytes:
    return located(PHOTOS[name]).read_bytes()


def data_uri(content: bytes, kind: str = "image/png") -> str:
    return f"data:{kind};base64,{base64.b64encode(content).decode()}"


def cropped(name: str) -> bytes:
    """Another picture of the same: its middle, smaller, as JPEG."""
    picture = Image.open(io.BytesIO(bytes_of(name))).convert("RGB")
    width, height = picture.size
    target = io.BytesIO()
    part = picture.crop((width // 10, height // 10, width - width // 10, height))
    part.resize((part.width // 2, part.height // 2)).save(target, "JPEG", quality=80)
    return target.getvalue()


@pytest_asyncio.fixture(loop_scope="session", scope="module")
async def photos(open_vectors: OpenVectors, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[World]:
    """A collection of photos as `image_extractor` makes it, and one of texts."""
    folder = tmp_path_factory.mktemp("photos")
    models = Models(ModelSettings(models_dir=MODELS_DIR))
    parameters = EXTRACTOR.validate_parameters({}, models)
    outcomes = EXTRACTOR(parameters, models).extract(
        [Source(name, {"image": BlobValue(bytes_of(name), "image/png")}) for name in SHOWN]
    )
    async with site(lambda path, headers: answer(*_SERVED[path])) as running:
        names = Names(photos_example=[[PUBLIC]], inside_example=[["127.0.0.1"]])
        fetcher = guarded(names=names, network=Internet({PUBLIC: running.port, "127.0.0.1": running.port}))
        world = World(open_vectors(folder / "vectors"), models, FolderBlobStore(folder / "blobs"), fetcher)
        outputs = EXTRACTOR.vectors(parameters, models)
        await world.add(
            collection("photos", *(index_of(EXTRACTOR, output) for output in outputs)),
            [
                Point(f"doc_{name}", {"document_id": f"doc_{name}"}, part.vectors, part.lexical)
                for name, outcome in zip(SHOWN, outcomes, strict=True)
                if isinstance(outcome, list)
                for part in outcome
            ],
        )
        await world.add(collection("texts", vector_index("texts", "all_minilm_l6_v2_v1", 384)), [])
        await world.blobs.put(f"{SCOPE.namespace}/bkt_1/obj_1/blob_1/cat.png", bytes_of("chelsea"))
        await world.blobs.put("ns_other/bkt_1/obj_1/blob_1/cat.png", bytes_of("chelsea"))
        yield world
        await world.vectors.close()


_SERVED = {
    "/cat.png": (bytes_of("chelsea"), "image/png"),
    "/page.html": (b"<!doctype html><p>A page", "text/html"),
    "/film.mp4": (b"\0\0\0\x18ftypmp42" + b"\0" * 100, "video/mp4"),
    "/archive.zip": (b"PK\x03\x04" + b"\0" * 100, "application/zip"),
}


def uris() -> list[str]:
    models = Models(ModelSettings(models_dir=MODELS_DIR))
    return [
        str(EXTRACTOR.feature_uri(one.output)) for one in EXTRACTOR.vectors(EXTRACTOR.Parameters(), models)
    ]


BY_WORDS, BY_LIKENESS = uris()


async def found(world: World, query: Any, **parameters: Any) -> list[str]:
    parameters = {"feature_uri": BY_WORDS, **parameters}
    answer = await world.run(search(query, **parameters), collection_identifiers=["photos"])
    return [one["document_id"].removeprefix("doc_") for one in answer["documents"]]


@pytest.mark.parametrize(("name", "words"), SHOWN.items())
async def test_words_find_the_photo_that_shows_it(photos: World, name: str, words: str) -> None:
    assert (await found(photos, words))[0] == name


async def test_the_open_uri_of_the_extractor_means_the_vector_that_words_find(photos: World) -> None:
    assert (await found(photos, "a cat", feature_uri="mixpeek://image_extractor@v1/embedding"))[
        0
    ] == "chelsea"


async def test_words_find_labels_too(photos: World) -> None:
    assert (await found(photos, "espresso", lexical=True)) == ["coffee"]


@pytest.mark.parametrize("uri", [BY_WORDS, BY_LIKENESS], ids=["by_words", "by_likeness"])
@pytest.mark.parametrize("name", ["chelsea", "motorcycle_left"])
async def test_a_picture_finds_the_like(photos: World, uri: str, name: str) -> None:
    query = {"input_mode": "content", "value": data_uri(cropped(name), "image/jpeg")}
    assert (await found(photos, query, feature_uri=uri))[0] == name


@pytest.mark.parametrize(
    "value",
    [
        data_uri(bytes_of("chelsea")),
        data_uri(bytes_of("chelsea"), "image/*"),
        base64.b64encode(bytes_of("chelsea")).decode(),
        base64.urlsafe_b64encode(bytes_of("chelsea")).decode(),
        "http://photos.example/cat.png",
        f"lamina://{SCOPE.namespace}/bkt_1/obj_1/blob_1/cat.png",
    ],
    ids=["data", "data_any_image", "base64", "url_safe_base64", "http", "stored"],
)
async def test_every_way_to_give_a_picture(photos: World, value: str) -> None:
    assert (await found(photos, {"input_mode": "content", "value": value}))[0] == "chelsea"
    template = search({"input_mode": "content", "value": "{{INPUT.file}}"}, feature_uri=BY_LIKENESS)
    answer = await photos.run(template, inputs={"file": value}, collection_identifiers=["photos"])
    assert answer["documents"][0]["document_id"] == "doc_chelsea"
    assert answer["documents"][0]["score"] == pytest.approx(1.0, abs=0.02)


@pytest.mark.parametrize(
    "query",
    [
        {"input_mode": "image", "image": base64.b64encode(bytes_of("coffee")).decode()},
        {"input_mode": "image", "image": data_uri(bytes_of("coffee"))},
        {"input_mode": "url", "url": "http://photos.example/cat.png"},
        {"input_mode": "text", "text": "a tabby cat"},
    ],
    ids=["image", "image_uri", "url", "text"],
)
async def test_feature_search_without_a_retriever(photos: World, query: dict[str, str]) -> None:
    request = FeatureSearchRequest.model_validate(
        {"collection_identifiers": ["photos"], "feature_uri": BY_WORDS, "query": query}
    ).as_adhoc()
    retriever = await photos.service.adhoc(SCOPE, request)
    answer = (await photos.pipeline.execute(SCOPE, retriever, request)).response
    documents: Any = answer["documents"]
    assert documents[0]["document_id"] == ("doc_coffee" if "image" in query else "doc_chelsea")


async def test_one_picture_in_two_spaces_gets_a_vector_of_each(photos: World) -> None:
    query = {"input_mode": "content", "value": data_uri(cropped("coffee"), "image/jpeg")}
    both = [{"feature_uri": uri, "query": query} for uri in (BY_WORDS, BY_LIKENESS)]
    answer = await photos.run(stage("feature_search", searches=both), collection_identifiers=["photos"])
    assert answer["documents"][0]["document_id"] == "doc_coffee"


@pytest.mark.parametrize(
    ("value", "error", "message"),
    [
        (data_uri(b"not a picture"), ValidationError, "not an image"),
        (data_uri(bytes_of("chelsea")[:5000]), ValidationError, "damaged"),
        ("data:image/png;base64,@@@", ValidationError, "valid base64"),
        ("data:image/png", ValidationError, "no comma"),
        (data_uri(b"PK\x03\x04", "application/zip"), ValidationError, "neither text nor a picture"),
        (data_uri(b"\xff\xfe\xfd", "text/plain"), ValidationError, "UTF-8"),
        ("http://photos.example/archive.zip", ValidationError, "neither text nor a picture"),
        ("http://inside.example/cat.png", ValidationError, "public"),
        ("http://unknown.example/cat.png", ValidationError, "not known"),
        (data_uri(b"\0", "audio/wav"), NotEnabledError, "audio/wav"),
        (data_uri(b"%PDF-1.7", "application/pdf"), NotEnabledError, "application/pdf"),
        ("http://photos.example/film.mp4", NotEnabledError, "video/mp4"),
        ("s3://bucket/cat.png", NotEnabledError, "s3"),
        ("lamina://ns_other/bkt_1/obj_1/blob_1/cat.png", NotFoundError, "not found"),
        (f"lamina://{SCOPE.namespace}/../ns_other/bkt_1/obj_1/blob_1/cat.png", ValidationError, "names"),
        (f"lamina://{SCOPE.namespace}/bkt_1/obj_1/blob_1/dog.png", NotFoundError, "not found"),
    ],
    ids=range(16),
)
async def test_what_cannot_be_searched_by_is_refused(
    photos: World, value: str, error: type[LaminaError], message: str
) -> None:
    stages = search({"input_mode": "content", "value": "{{INPUT.file}}"}, feature_uri=BY_WORDS)
    with pytest.raises(error, match=message) as refusal:
        await photos.run(stages, inputs={"file": value}, collection_identifiers=["photos"])
    assert 400 <= refusal.value.status < 500 or error is NotEnabledError
    if error is ValidationError and not value.startswith("lamina:"):
        assert places(refusal) == [AT]


async def test_a_picture_where_only_text_can_be_compared(photos: World) -> None:
    picture = {"input_mode": "content", "value": data_uri(bytes_of("chelsea"))}
    with pytest.raises(ValidationError, match="cannot be compared with a picture"):
        await photos.run(search(picture, feature_uri="texts"), collection_identifiers=["texts"])
    with pytest.raises(ValidationError, match="lexical search takes a text"):
        await found(photos, picture, lexical=True)
    with pytest.raises(ValidationError, match="cannot be compared with a text"):
        await found(photos, "a cat", feature_uri=BY_LIKENESS)

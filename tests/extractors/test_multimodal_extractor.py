"""`multimodal_extractor`: segments of real videos; what is seen, said and written in them; what is broken."""

import io
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from jiwer import cer
from PIL import Image, ImageDraw

from lamina.core.errors import ExtractionError, ValidationError
from lamina.extractors.base import BlobValue, Part, PartialExtractionError, Source
from lamina.extractors.multimodal_extractor import EXTRACTOR
from lamina.extractors.multimodal_extractor.parameters import MultimodalExtractorParameters
from lamina.inference.registry import Models, ModelSettings
from lamina.inference.settings import EndpointSettings
from lamina.media.audio import encode, read_sound
from lamina.media.video import probe_video
from lamina.processing.collection_service import written_parameters
from lamina.processing.collections import vector_index
from tests.films import film, font, frames_of, numbered, opened
from tests.media import MODELS_DIR, located
from tests.media.photos import PHOTOS
from tests.media.video import BIKES, BUNNY, TWO_CITIES
from tests.openai import LanguageServer, language_server

CONSE = "conse_mobilenet_v3_minilm_v1"
MINILM = "all_minilm_l6_v2_v1"
SPEECH_RATE = 16_000


@pytest.fixture(scope="module")
def models() -> Models:
    return Models(ModelSettings(models_dir=MODELS_DIR))


def outcome(models: Models, inputs: dict[str, Any], **parameters: Any) -> list[Part] | ExtractionError:
    made = EXTRACTOR(EXTRACTOR.validate_parameters(parameters, models), models)
    (found,) = made.extract([Source("a", inputs)])
    return found


def parts(models: Models, inputs: dict[str, Any], **parameters: Any) -> list[Part]:
    found = outcome(models, inputs, **parameters)
    assert isinstance(found, list), found
    return found


def blob(file: Any, mime_type: str = "video/mp4") -> BlobValue:
    return BlobValue(located(file), mime_type)


def files(part: Part) -> dict[str, bytes]:
    return {one.field: one.data for one in part.blobs}


# Segments


def test_scenes_are_the_shots_of_a_video(models: Models) -> None:
    found = parts(models, {"video": blob(BIKES)}, split_method="scene")
    assert [part.fields["start_time"] for part in found] == [0.0, 1.2, 3.04, 5.48, 7.48, 9.68]
    assert [part.fields["end_time"] for part in found] == [1.2, 3.04, 5.48, 7.48, 9.68, 10.0]
    assert [part.fields["segment_index"] for part in found] == list(range(6))
    assert [part.fields["media_fragment"] for part in found][1] == "#t=1.2,3.04"
    assert len({part.position for part in found}) == 6
    assert {part.modality for part in found} == {"video"}
    assert all("has_speech" not in part.fields for part in found)


def test_every_scene_plays_and_shows_its_key_frame(models: Models) -> None:
    for part in parts(models, {"video": blob(BIKES)}, split_method="scene"):
        clip = probe_video(opened(files(part)["video_segment"]))
        length = float(part.fields["end_time"]) - float(part.fields["start_time"])  # type: ignore[arg-type]
        assert clip.duration == pytest.approx(length, abs=0.13)
        picture = Image.open(io.BytesIO(files(part)["thumbnail"]))
        assert picture.size == (640, 272)
        assert part.fields["start_time"] <= part.fields["key_frame_time"] < part.fields["end_time"]  # type: ignore[operator]


def test_words_find_the_scene_that_shows_them(models: Models) -> None:
    found = parts(models, {"video": blob(BIKES)}, split_method="scene")
    (query,) = models.text_image_embedder().embed_queries(["people riding bicycles"])
    best = max(found, key=lambda part: float(part.vectors[CONSE] @ query))
    assert best.fields["start_time"] in (5.48, 7.48)  # one rides along, one rides by


@pytest.mark.parametrize(
    ("parameters", "ends"),
    [
        ({"time_split_interval": 4}, [4.0, 8.0, 10.0]),
        ({}, [10.0]),
        ({"time_split_interval": None}, [10.0]),
        ({"split_method": "silence", "max_segment_duration": 4}, [3.333, 6.667, 10.0]),
        ({"split_method": "silence", "max_segment_duration": None}, [10.0]),
        (
            {"split_method": "scene", "max_segment_duration": 2},
            [1.2, 3.04, 4.26, 5.48, 7.48, 8.58, 9.68, 10.0],
        ),
        ({"split_method": "scene", "scene_detection_threshold": 1.0, "sensitivity": "high"}, None),
    ],
)
def test_where_segments_end(models: Models, parameters: dict[str, Any], ends: list[float] | None) -> None:
    found = parts(models, {"video": blob(BIKES)}, run_multimodal_embedding=False, **parameters)
    starts = [part.fields["start_time"] for part in found]
    assert starts == [0.0, *(part.fields["end_time"] for part in found[:-1])]
    if ends is None:
        assert len(found) < 6
    else:
        assert [part.fields["end_time"] for part in found] == ends


def test_a_long_video_stays_small(models: Models) -> None:
    """An hour in steps of ten seconds; it has a key frame every 50 s, so no clip lies far behind one."""
    data = film(numbered(7200), fps=2, key_every=100)
    found = parts(models, {"video": BlobValue(data, "video/mp4")}, run_multimodal_embedding=False)
    assert len(found) == 360
    assert found[-1].fields["end_time"] == 3600.0
    assert sum(len(one.data) for part in found for one in part.blobs) < 64 << 20
    assert sum("video_segment" in files(part) for part in found) == 360


def test_more_segments_than_a_worker_can_hold_are_refused(models: Models) -> None:
    two_hours = film((next(numbered(1)) for _ in range(7200)), fps=1, key_every=600)
    error = outcome(models, {"video": BlobValue(two_hours, "video/mp4")}, time_split_interval=1)
    assert isinstance(error, ExtractionError)
    assert error.code == "too_many_segments"


# What is said


@pytest.fixture(scope="module")
def spoken() -> bytes:
    """Bicycles, while somebody reads Dickens aloud from the third second on: 16 s."""
    with located(TWO_CITIES).open("rb") as file:
        speech = read_sound(file, SPEECH_RATE, seconds=13.0)
    sound = np.concatenate([np.zeros(3 * SPEECH_RATE, np.float32), speech])
    frames = list(frames_of(BIKES, side=320, times=2))[: 16 * 25]
    return film(frames, sound=(sound, SPEECH_RATE))


@pytest.fixture(scope="module")
def transcribed(models: Models, spoken: bytes) -> list[Part]:
    return parts(
        models,
        {"video": BlobValue(spoken, "video/mp4")},
        time_split_interval=3,
        run_transcription=True,
        run_transcription_embedding=True,
    )


def test_the_words_said_lie_in_their_segments(transcribed: list[Part]) -> None:
    said = " ".join(str(part.fields.get("transcription", "")) for part in transcribed).lower()
    for phrase in ("the best of times", "the worst of times", "the age of wisdom", "the age of foolishness"):
        assert phrase in said
    for part in transcribed:
        words: Any = part.fields.get("words", [])
        assert all(word["start"] <= word["end"] for word in words)
        middles = [(word["start"] + word["end"]) / 2 for word in words]
        assert middles == sorted(middles)
        start, end = part.fields["start_time"], part.fields["end_time"]
        assert all(start <= middle < end for middle in middles)


def test_where_nobody_speaks_there_is_no_speech(models: Models, transcribed: list[Part]) -> None:
    assert [part.fields["has_speech"] for part in transcribed] == [False, True, True, True, True, True]
    assert "transcription" not in transcribed[0].fields
    assert MINILM not in transcribed[0].vectors
    (bunny,) = parts(models, {"video": blob(BUNNY)}, run_transcription=True)  # music
    assert bunny.fields["has_speech"] is False
    assert "transcription" not in bunny.fields


def test_what_is_said_is_found_by_meaning_and_by_words(models: Models, transcribed: list[Part]) -> None:
    (query,) = models.text_embedder().embed_queries(["an era of being wise"])
    speaking = [part for part in transcribed if MINILM in part.vectors]
    best = max(speaking, key=lambda part: float(part.vectors[MINILM] @ query))
    assert "wisdom" in str(best.fields["transcription"]).lower()
    assert "wisdom" in str(best.lexical).lower()
    assert best.fields["language"] == "en"


def test_sound_alone_is_split_in_its_pauses(models: Models) -> None:
    with located(TWO_CITIES).open("rb") as file:
        speech = read_sound(file, SPEECH_RATE, seconds=12.0)
    pause = np.zeros(2 * SPEECH_RATE, np.float32)
    data = encode(np.concatenate([speech, pause, speech[: 4 * SPEECH_RATE]]), SPEECH_RATE, "wav")
    found = parts(
        models, {"audio": BlobValue(data, "audio/wav")}, split_method="silence", silence_db_threshold=-60
    )
    assert found[0].modality == "audio"
    assert any(12.0 < float(part.fields["start_time"]) < 14.0 for part in found)  # type: ignore[arg-type]
    assert "best of times" in " ".join(str(part.fields.get("transcription")) for part in found)
    assert all(set(part.vectors) == {CONSE} for part in found if part.fields["has_speech"])
    assert all("audio_segment" in files(part) for part in found)


# What is written


def test_the_text_on_screen_is_read_and_found(models: Models) -> None:
    def caption(canvas: ImageDraw.ImageDraw, seconds: float) -> None:
        if seconds < 4:
            canvas.text((60, 60), "Quarterly revenue report", "white", font(48), stroke_width=2)

    data = film(frames_of(BUNNY, caption))
    first, second = parts(
        models,
        {"video": BlobValue(data, "video/mp4")},
        time_split_interval=4,
        run_ocr=True,
        run_ocr_embedding=True,
    )
    assert cer("Quarterly revenue report", str(first.fields["ocr_text"])) < 0.1  # a space may go missing
    assert "ocr_text" not in second.fields
    assert set(first.vectors) == {CONSE, f"{MINILM}_ocr"}
    (query,) = models.text_embedder().embed_queries(["financial results of three months"])
    assert float(first.vectors[f"{MINILM}_ocr"] @ query) > 0.3
    assert "revenue" in str(first.lexical)


# Pictures, GIFs and texts


def test_pictures_and_texts_lie_in_one_space(models: Models) -> None:
    (cat,) = parts(models, {"image": blob(PHOTOS["chelsea"], "image/png")})
    (coffee,) = parts(models, {"image": blob(PHOTOS["coffee"], "image/png")})
    (text,) = parts(models, {"text": "a cat"})
    assert text.vectors[CONSE] @ cat.vectors[CONSE] > text.vectors[CONSE] @ coffee.vectors[CONSE] + 0.1
    assert "cat" in str(cat.lexical)
    assert (cat.modality, text.modality) == ("image", "text")
    assert text.fields == {"text": "a cat"}


def test_a_gif_is_a_short_video(models: Models) -> None:
    found = parts(models, {"gif": blob(PHOTOS["no_time_for_that_tiny"], "image/gif")})
    assert [part.modality for part in found] == ["video"] * len(found)
    assert set(files(found[0])) == {"thumbnail"}


def test_several_inputs_and_several_values_make_documents_of_their_own(models: Models) -> None:
    photos = [blob(PHOTOS["chelsea"], "image/png"), blob(PHOTOS["coffee"], "image/png")]
    found = parts(models, {"image": photos, "text": "words", "video": blob(BUNNY)})
    assert [part.position for part in found] == ["video/0/0", "image/0", "image/1", "text/0"]


# Language models


@pytest.fixture(scope="module")
def server() -> Iterator[LanguageServer]:
    with language_server() as running:
        yield running


def test_a_language_model_describes_what_it_is_shown(server: LanguageServer) -> None:
    server.requests.clear()
    server.reply = lambda body: {"animals": 1} if "response_format" in body else "A rabbit yawns."
    models = Models(ModelSettings(MODELS_DIR, chat=EndpointSettings(server.url, "sk-installation")))
    shape = {"type": "object", "properties": {"animals": {"type": "integer"}}, "required": ["animals"]}
    given: dict[str, Any] = {
        "run_video_description": True,
        "run_description_embedding": True,
        "response_shape": shape,
        "generation_config": {"max_output_tokens": 77},
    }
    (bunny,) = parts(models, {"video": blob(BUNNY)}, **given)
    assert bunny.fields["description"] == "A rabbit yawns."
    assert bunny.fields["animals"] == 1
    assert set(bunny.vectors) == {CONSE, f"{MINILM}_description"}
    described, shaped = server.requests
    assert described["max_tokens"] == 77
    kinds = [one["type"] for one in described["messages"][0]["content"]]
    assert kinds == ["text", "image_url", "image_url", "image_url"]
    assert shaped["messages"][-1]["content"][1]["type"] == "image_url"
    assert "animals" in EXTRACTOR.output_schema(MultimodalExtractorParameters.model_validate(given))


def test_a_language_model_that_refuses_costs_the_description_only(server: LanguageServer) -> None:
    server.reply = lambda body: (400, {"error": {"message": "no pictures, please"}})
    models = Models(ModelSettings(MODELS_DIR, chat=EndpointSettings(server.url, "sk-installation")))
    error = outcome(models, {"video": blob(BIKES)}, run_video_description=True, time_split_interval=4)
    assert isinstance(error, PartialExtractionError)
    assert "no pictures, please" in error.message
    assert len(error.parts) == 3


# Parameters


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"run_video_description": True}, "run_video_description is not enabled"),
        ({"response_shape": "the colours"}, "response_shape needs a language model"),
        ({"run_ocr_embedding": True}, "run_ocr_embedding needs run_ocr"),
        ({"run_description_embedding": True}, "needs run_video_description"),
        ({"time_split_interval": 0}, "time_split_interval"),
        ({"scene_detection_threshold": 1.5}, "scene_detection_threshold"),
        ({"sensitivity": "extreme"}, "sensitivity"),
        ({"split_method": "mood"}, "split_method"),
        ({"generation_config": {"topp": 1}}, "generation_config.topp"),
    ],
)
def test_what_cannot_be_served_is_refused(models: Models, parameters: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        EXTRACTOR.validate_parameters(parameters, models)


def test_vectors_of_one_model_differ_in_name_and_are_asked_by_that_model(models: Models) -> None:
    given = MultimodalExtractorParameters(
        run_transcription_embedding=True, run_ocr=True, run_ocr_embedding=True
    )
    indexes = [vector_index(EXTRACTOR, one) for one in EXTRACTOR.vectors(given, models)]
    assert [(index.name, index.index.inference_name) for index in indexes] == [
        (CONSE, CONSE),
        (MINILM, MINILM),
        (f"{MINILM}_ocr", MINILM),
    ]
    assert set(EXTRACTOR.uses(given, models)) > {"silero_vad_v6", "pp_ocr_v6_tiny", CONSE, MINILM}


def test_nothing_is_forgotten_of_parameters_that_are_null() -> None:
    given = MultimodalExtractorParameters.model_validate(
        {"max_segment_duration": None, "transcription_language": None, "time_split_interval": None}
    )
    stored = written_parameters(given)
    assert MultimodalExtractorParameters.model_validate(stored) == given
    assert "scene_detection_threshold" not in stored


# What is broken


@pytest.mark.parametrize(
    ("key", "data", "message"),
    [
        ("video", b"", "'video' is empty"),
        ("video", b"\x89PNG\r\n\x1a\n" + bytes(100), "'video' is no audio or video"),
        ("gif", b"GIF89a", "'gif'"),
        ("audio", b"RIFF", "'audio' is no audio or video"),
        ("image", b"GIF89a", "'image'"),
        ("text", b"\xff\xfe\x00\xd8", "'text'"),
    ],
)
def test_a_broken_file_fails_by_name(models: Models, key: str, data: bytes, message: str) -> None:
    error = outcome(models, {key: BlobValue(data, "application/octet-stream")})
    assert isinstance(error, ExtractionError)
    assert message in error.message


def test_a_picture_named_as_a_video_is_no_video(models: Models) -> None:
    error = outcome(
        models, {"video": BlobValue(located(PHOTOS["chelsea"]).read_bytes(), "video/mp4", "cat.mp4")}
    )
    assert isinstance(error, ExtractionError)
    assert error.code == "not_media"


def test_a_truncated_video_is_told_apart_from_a_short_one(models: Models) -> None:
    whole = film(frames_of(BIKES, side=320), container="matroska")
    error = outcome(models, {"video": BlobValue(whole[: len(whole) // 2], "video/x-matroska")})
    assert isinstance(error, ExtractionError)
    assert error.code == "truncated_video"


def test_a_video_without_sound_is_split_by_silence_all_the_same(models: Models) -> None:
    found = parts(models, {"video": blob(BIKES)}, split_method="silence", run_transcription=True)
    assert [part.fields["end_time"] for part in found] == [10.0]


def test_a_broken_input_leaves_the_others_their_documents(models: Models) -> None:
    error = outcome(models, {"video": BlobValue(b"", "video/mp4"), "text": "still here"})
    assert isinstance(error, PartialExtractionError)
    assert "'video' is empty" in error.message
    assert [part.fields["text"] for part in error.parts] == ["still here"]


def test_a_source_without_any_input_fails(models: Models) -> None:
    error = outcome(models, {"video": None, "text": ""})
    assert isinstance(error, ExtractionError)
    assert "video, audio, image, text, gif" in error.message

"""`audio_fingerprint_extractor`: segments, voices, and the recording that a noisy clip is from."""

import base64
import io
from collections.abc import Sequence
from typing import Any

import httpx
import numpy as np
import pytest
from numpy.typing import NDArray

from lamina.core.errors import ExtractionError
from lamina.extractors.audio_fingerprint_extractor import EXTRACTOR
from lamina.extractors.audio_fingerprint_extractor.landmarks import (
    LANDMARK_RATE,
    Landmarks,
    landmarks,
    match,
)
from lamina.extractors.audio_fingerprint_extractor.parameters import AudioFingerprintExtractorParameters
from lamina.extractors.base import BlobValue, Part, PartialExtractionError, Source
from lamina.inference.packages import PackageFile
from lamina.inference.registry import Models, ModelSettings
from lamina.media.audio import read_sound
from tests.media import MODELS_DIR, located
from tests.media.sound import AUSTEN, OTHERS, TWO_CITIES
from tests.sounds import RATE, encoded, noisy, silence, video
from tests.steps import create_bucket, create_collection, ok, process

TIMBRE, VOICE = "timbre_statistics_v1", "resemblyzer_v1"


@pytest.fixture(scope="module")
def models() -> Models:
    return Models(ModelSettings(models_dir=MODELS_DIR))


@pytest.fixture(scope="module")
def extract(models: Models) -> Any:
    def run(content: bytes | Sequence[BlobValue] | None, **parameters: Any) -> list[Part] | ExtractionError:
        made = EXTRACTOR(EXTRACTOR.validate_parameters(parameters, models), models)
        given = BlobValue(content, "audio/mpeg", "a.mp3") if isinstance(content, bytes) else content
        (outcome,) = made.extract([Source("a", {"audio": given})])
        return outcome

    return run


def heard(file: PackageFile, rate: int = RATE) -> NDArray[np.float32]:
    with located(file).open("rb") as opened:
        return read_sound(opened, rate)


def test_segments_cover_the_recording(extract: Any) -> None:
    parts = extract(located(TWO_CITIES).read_bytes())
    assert [part.fields["start_time"] for part in parts] == [2.5 * place for place in range(17)]
    assert [part.fields["end_time"] for part in parts[:2]] == [5.0, 7.5]
    assert parts[-1].fields["end_time"] == pytest.approx(44.374, abs=0.01)
    assert [part.position for part in parts] == [str(place) for place in range(17)]
    assert {part.fields["segment_count"] for part in parts} == {17}
    spoken = [part.fields["speech_seconds"] for part in parts]
    assert sum(spoken) > 50, spoken
    assert min(spoken) > 1, spoken
    assert all(set(part.vectors) == {TIMBRE, VOICE} for part in parts)
    assert all(-60 < part.fields["loudness_db"] < -5 for part in parts)
    assert {part.modality for part in parts} == {"audio"}


def test_length_hop_and_limit_are_obeyed(extract: Any) -> None:
    content = located(TWO_CITIES).read_bytes()
    parts = extract(content, segment_duration_sec=4, segment_hop_sec=4, max_audio_length_sec=10)
    assert [(part.fields["start_time"], part.fields["end_time"]) for part in parts] == [
        (0, 4),
        (4, 8),
        (8, 10),
    ]


def test_a_segment_can_be_played(extract: Any) -> None:
    sound = heard(TWO_CITIES)[: 10 * RATE]
    for ending, kind in (("wav", "audio/ogg"), ("mp3", "audio/mpeg"), ("m4a", "audio/mp4")):
        for part in extract(encoded(sound, ending)):
            (blob,) = part.blobs
            assert (blob.field, blob.role, blob.content_type) == ("segment", "processed", kind)
            played = read_sound(io.BytesIO(blob.data), RATE)
            length = part.fields["end_time"] - part.fields["start_time"]
            assert len(played) / RATE == pytest.approx(length, abs=0.3)


def test_the_sound_of_a_video_is_heard_where_it_is(extract: Any) -> None:
    parts = extract(video(9.0, heard(TWO_CITIES)[RATE : 7 * RATE], late=2.5), segment_hop_sec=5)
    first = landmarks(heard(TWO_CITIES, LANDMARK_RATE)[LANDMARK_RATE : 6 * LANDMARK_RATE])
    found = match(first, Landmarks.read(parts[0].fields["landmarks"]))
    assert found is not None
    assert found.offset == pytest.approx(2.5, abs=0.05)


def test_silence_has_documents_without_a_voice_or_landmarks(extract: Any) -> None:
    parts = extract(encoded(np.zeros(6 * RATE, np.float32), "flac"))
    assert [part.fields["loudness_db"] for part in parts] == [-120.0, -120.0]
    assert all(part.lexical is None and part.fields["landmark_count"] == 0 for part in parts)
    assert all(list(part.vectors) == [TIMBRE] and np.isfinite(part.vectors[TIMBRE]).all() for part in parts)


def test_several_files_have_places_of_their_own(extract: Any) -> None:
    some = [BlobValue(located(file), "audio/wav") for file in list(AUSTEN.values())[1:3]]
    assert [part.position for part in extract(some)] == ["0.0", "1.0", "1.1"]


# Broken input


@pytest.mark.parametrize(
    ("content", "code"),
    [
        (b"", "empty_input"),
        (None, "empty_input"),
        (b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR" + bytes(50), "not_media"),
        (b"words, words, words" * 99, "not_media"),
    ],
    ids=["no bytes", "nothing", "a PNG named .mp3", "text"],
)
def test_what_is_no_sound_fails_by_name(extract: Any, content: bytes | None, code: str) -> None:
    error = extract(content)
    assert isinstance(error, ExtractionError)
    assert error.code == code
    assert "'audio'" in error.message


def test_a_video_without_sound_fails_by_name(extract: Any) -> None:
    error = extract(video(1.0))
    assert isinstance(error, ExtractionError)
    assert (error.code, error.message) == ("no_audio", "Input 'audio' has no sound track.")


def test_a_truncated_recording_keeps_what_it_holds(extract: Any) -> None:
    content = located(TWO_CITIES).read_bytes()
    error = extract(content[: len(content) // 4])
    assert isinstance(error, PartialExtractionError)
    assert error.code == "truncated_audio"
    assert [part.fields["start_time"] for part in error.parts] == [0.0, 2.5, 5.0, 7.5]


def test_ten_hours_of_silence_take_no_longer_than_the_limit(extract: Any) -> None:
    assert len(extract(silence(10))) == 47


# The same recording


@pytest.fixture(scope="module")
def recordings() -> dict[str, PackageFile]:
    return {"cities": TWO_CITIES, **OTHERS, **{f"austen {n}": file for n, file in enumerate(AUSTEN.values())}}


def test_landmarks_are_kept_as_they_are() -> None:
    found = landmarks(heard(TWO_CITIES, LANDMARK_RATE)[: 5 * LANDMARK_RATE])
    read = Landmarks.read(found.stored())
    assert (read.hashes == found.hashes).all()
    assert (read.frames == found.frames).all()
    assert len(found.hashes) > 300
    assert max(found.hashes) < 1 << 23
    with pytest.raises(ValueError, match=r"landmarks|buffer"):
        Landmarks.read("no base64!")


def test_noise_and_other_recordings_match_nothing(recordings: dict[str, PackageFile]) -> None:
    cities = landmarks(heard(TWO_CITIES, LANDMARK_RATE))
    chance = np.random.default_rng(0).normal(0, 0.1, 5 * LANDMARK_RATE).astype(np.float32)
    assert match(landmarks(chance), cities) is None
    for name, file in recordings.items():
        if name != "cities":
            assert match(landmarks(heard(file, LANDMARK_RATE)[: 5 * LANDMARK_RATE]), cities) is None, name


@pytest.mark.parametrize("ratio", [20.0, 5.0, 0.0])
def test_a_noisy_clip_lies_where_it_was_taken(ratio: float) -> None:
    whole = heard(TWO_CITIES, LANDMARK_RATE)
    recording = landmarks(whole)
    for start in (1.0, 13.37, 30.2):
        clip = whole[round(start * LANDMARK_RATE) :][: 5 * LANDMARK_RATE]
        found = match(landmarks(noisy(clip, ratio)), recording)
        assert found is not None
        assert found.offset == pytest.approx(start, abs=0.05)


def test_a_noisy_clip_finds_its_recording_among_others(
    api: httpx.Client, recordings: dict[str, PackageFile]
) -> None:
    """Through the whole engine: the clip's landmarks are the words of a lexical search."""
    bucket = create_bucket(api, {"properties": {"recording": {"type": "audio"}, "name": {"type": "string"}}})
    objects = [
        {"name": name, "blobs": [{"property": "recording", "type": "audio", "data": _data(file)}]}
        for name, file in recordings.items()
    ]
    path = f"/v1/buckets/{bucket['bucket_id']}/objects"
    ids = [ok(api.post(path, json=one))["object_id"] for one in objects]
    collection = create_collection(
        api,
        bucket["bucket_id"],
        feature_extractor={
            "feature_extractor_name": "audio_fingerprint_extractor",
            "version": "v1",
            "input_mappings": {"audio": "recording"},
            "field_passthrough": [{"source_path": "name"}],
        },
    )
    process(api, bucket["bucket_id"], ids)
    for name, start in (("cities", 21.3), ("chan3", 4.1), ("austen 0", 1.7)):
        whole = heard(recordings[name], LANDMARK_RATE)
        clip = landmarks(noisy(whole[round(start * LANDMARK_RATE) :][: 5 * LANDMARK_RATE], 5.0))
        best = _searched(api, collection["collection_id"], clip.words)[0]
        assert best["name"] == name
        found = match(clip, Landmarks.read(best["landmarks"]))
        assert found is not None
        assert best["start_time"] + found.offset == pytest.approx(start, abs=0.1)


def _data(file: PackageFile) -> dict[str, str]:
    content = base64.b64encode(located(file).read_bytes()).decode()
    return {"base64": content, "mime_type": "audio/wav", "filename": "recording.wav"}


def _searched(api: httpx.Client, collection_id: str, words: str) -> list[dict[str, Any]]:
    search = {
        "feature_uri": f"mixpeek://audio_fingerprint_extractor@v1/{TIMBRE}",
        "lexical": True,
        "query": {"input_mode": "text", "value": "{{INPUT.clip}}"},
        "top_k": 10,
    }
    stage = {
        "stage_name": "recording",
        "stage_type": "filter",
        "config": {"stage_id": "feature_search", "parameters": {"searches": [search]}},
    }
    body = {
        "collection_identifiers": [collection_id],
        "input_schema": {"clip": {"type": "text"}},
        "inputs": {"clip": words},
        "stages": [stage],
    }
    found: list[dict[str, Any]] = ok(api.post("/v1/retrievers/execute", json=body))["documents"]
    return found


def test_it_names_the_models_that_it_works_with(models: Models) -> None:
    uses = EXTRACTOR.uses(AudioFingerprintExtractorParameters(), models)
    assert set(uses) == {TIMBRE, VOICE, models.default("detect_speech")}

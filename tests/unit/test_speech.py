"""Speech: where it is, what is said and when, and who says it. The words are known; so are the speakers."""

import io
import pickle
import re
import sys
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import jiwer
import numpy as np
import pytest
from numpy.typing import NDArray

from lamina.core.errors import MissingExtraError, UnavailableError, ValidationError
from lamina.inference.base import Samples, Span, Transcript
from lamina.inference.onnx_edits import with_integer_products, with_outputs
from lamina.inference.packages import PackageFile
from lamina.inference.registry import Models, ModelSettings
from lamina.inference.silero import STEP_SECONDS, SileroDetector
from lamina.inference.speech_clock import SpeechClock
from lamina.inference.torch_files import read_weights
from lamina.media.audio import read_sound
from tests.media import MODELS_DIR, located
from tests.media.sound import AUSTEN, CARDS, OTHERS, TWO_CITIES, TWO_CITIES_WORDS

RATE = 16_000


@pytest.fixture(scope="module")
def models() -> Models:
    return Models(ModelSettings(models_dir=MODELS_DIR))


def heard(file: PackageFile, start: float = 0.0, seconds: float = 60.0) -> Samples:
    with located(file).open("rb") as opened:
        return read_sound(opened, RATE, start=start, seconds=seconds)


def plain(text: str) -> str:
    """Lower case, without punctuation, numbers in words."""
    words = re.sub(r"[^a-z0-9' ]", " ", text.lower().replace("-", " ")).split()
    said = {"mr": "mister", "5": "five", "10": "ten", "7": "seven", "8": "eight", "4": "four"}
    return " ".join(said.get(word, word) for word in words)


# Where somebody speaks


def test_speech_is_found_and_nothing_else(models: Models) -> None:
    reader = heard(next(iter(AUSTEN.values())))
    silence = np.zeros(3 * RATE, np.float32)
    spans = models.speech_detector().detect(np.concatenate([silence, reader, silence]))
    assert spans[0].start == pytest.approx(3.2, abs=0.4)
    assert spans[-1].end == pytest.approx(3 + len(reader) / RATE, abs=0.7)
    assert all(one.end <= other.start for one, other in pairwise(spans))


@pytest.mark.parametrize("kind", ["silence", "noise", "hum", "nothing"])
def test_what_is_no_speech_is_not_taken_for_it(kind: str, models: Models) -> None:
    times = np.arange(10 * RATE) / RATE
    sounds = {
        "silence": np.zeros(10 * RATE),
        "noise": np.random.default_rng(0).normal(0, 0.1, 10 * RATE),
        "hum": 0.2 * np.sin(2 * np.pi * 50 * times),
        "nothing": np.zeros(0),
    }
    sound = sounds[kind].astype(np.float32)
    assert models.speech_detector().detect(sound) == []
    assert models.transcriber().transcribe(sound) == Transcript([], None)


def test_stretches_side_by_side_hear_what_one_after_the_other_does(models: Models) -> None:
    detector = models.speech_detector()
    assert isinstance(detector, SileroDetector)
    reader = heard(TWO_CITIES)
    whole = detector.probabilities(reader)
    begin = 20  # seconds, so that the later part is read with other borders
    later = detector.probabilities(reader[begin * RATE :])
    steps = round(begin / STEP_SECONDS)
    settled = slice(60, None)
    agree = (whole[steps:][settled] > 0.5) == (later[: len(whole) - steps][settled] > 0.5)
    assert agree.mean() > 0.98


# What is said


def test_a_reader_is_understood(models: Models) -> None:
    said = [plain(models.transcriber().transcribe(heard(file)).text) for file in AUSTEN.values()]
    assert jiwer.wer([plain(words) for words in AUSTEN], said) <= 0.06


def test_words_have_their_times_and_languages_their_codes(models: Models) -> None:
    reader = heard(TWO_CITIES, seconds=18.0)
    silence = np.zeros(20 * RATE, np.float32)
    transcript = models.transcriber().transcribe(np.concatenate([silence, reader]))
    assert transcript.language == "en"
    first = plain(TWO_CITIES_WORDS).split()[: len(plain(transcript.text).split())]
    assert jiwer.wer(" ".join(first), plain(transcript.text)) <= 0.1
    words = [word for utterance in transcript.utterances for word in utterance.words]
    assert all(0 <= word.start <= word.end for word in words)
    assert all(one.start <= other.start for one, other in pairwise(words))
    spans = models.speech_detector().detect(reader)
    spoken = sum(
        any(span.start - 0.3 <= word.start - 20 <= span.end + 0.3 for span in spans) for word in words
    )
    assert spoken == len(words)
    onsets = [span.start + 20 for span in spans if span.duration > 1]
    assert np.median([min(abs(word.start - onset) for word in words) for onset in onsets]) < 0.15
    for utterance in transcript.utterances:
        assert utterance.words[0].start == utterance.start
        assert utterance.words[-1].end == utterance.end


def test_a_long_pause_parts_two_utterances(models: Models) -> None:
    one, other = (heard(file) for file in list(AUSTEN.values())[1:3])
    transcript = models.transcriber().transcribe(
        np.concatenate([one, np.zeros(15 * RATE, np.float32), other])
    )
    assert "young man" in transcript.text
    assert "ill-disposed" in transcript.text.replace("ill disposed", "ill-disposed")
    gap = [
        (before.end, after.start)
        for before, after in pairwise(transcript.utterances)
        if after.start - before.end > 10
    ]
    assert len(gap) == 1


def test_the_same_sound_gives_the_same_words(models: Models) -> None:
    reader = heard(CARDS["five five"])
    assert models.transcriber().transcribe(reader) == models.transcriber().transcribe(reader)


def test_an_unknown_language_is_refused_by_name(models: Models) -> None:
    nothing = np.zeros(RATE, np.float32)
    with pytest.raises(ValidationError, match=r"'tlh' is not one .*whisper_base_v1.* en,"):
        models.transcriber().transcribe(nothing, language="tlh")
    assert models.transcriber().transcribe(nothing, language="en-GB") == Transcript([], None)


def test_a_larger_model_is_one_setting_away() -> None:
    chosen = Models(ModelSettings(models_dir=MODELS_DIR, choices={"transcribe": "whisper_small_v1"}))
    assert chosen.default("transcribe") == "whisper_small_v1"
    names = {card.name for card in chosen.cards("transcribe")}
    assert {"whisper_tiny_v1", "whisper_base_v1", "faster_whisper_large_v3_turbo_v1"} <= names


# The clock of speech


def test_the_clock_leaves_silence_out_and_knows_the_way_back() -> None:
    sound = np.arange(30 * RATE, dtype=np.float32)
    clock = SpeechClock(sound, [Span(1.0, 3.0), Span(3.5, 5.0), Span(20.0, 22.0)])
    assert clock.duration == pytest.approx(4.4 + 2.4)
    assert clock.real(0.0) == pytest.approx(0.8)
    assert clock.real(4.4, ends=True) == pytest.approx(5.2)
    assert clock.real(4.4) == pytest.approx(19.8)
    assert clock.real(99.0, ends=True) == pytest.approx(22.2)
    piece = clock.sound(4.0, 5.0)
    assert len(piece) == RATE
    assert piece[0] == pytest.approx(4.8 * RATE, abs=2)
    assert piece[-1] == pytest.approx(20.4 * RATE, abs=2)
    assert SpeechClock(sound, []).duration == 0.0


def test_a_window_ends_in_a_pause_where_there_is_one() -> None:
    sound = np.zeros(100 * RATE, np.float32)
    clock = SpeechClock(sound, [Span(0.0, 12.0), Span(12.4, 26.0), Span(26.5, 99.0)])
    assert clock.pause_before(30.0, after=0.0) == pytest.approx(26.25)
    assert clock.pause_before(56.25, after=26.25) == pytest.approx(56.25)
    assert clock.pause_before(200.0, after=80.0) == clock.duration


# Who speaks


def test_one_speaker_is_nearer_to_himself_than_to_any_other(models: Models) -> None:
    """Pieces of three seconds or more of five people: no two of one are farther than any two of two."""
    detector = models.speech_detector()
    pieces: list[tuple[str, Samples]] = []
    cities = [heard(TWO_CITIES, start=float(at), seconds=8.0) for at in range(0, 40, 8)]
    austen = [heard(file) for file in AUSTEN.values()]
    speakers = {"cities": cities, "austen": austen, **{name: [heard(file)] for name, file in OTHERS.items()}}
    for name, sounds in speakers.items():
        for sound in sounds:
            spans = detector.detect(sound)
            spoken = [sound[round(one.start * RATE) : round(one.end * RATE)] for one in spans]
            pieces += [(name, np.concatenate(spoken))] if sum(map(len, spoken)) >= 2.5 * RATE else []
    vectors = models.speaker_embedder().embed_speakers([sound for _, sound in pieces])
    assert np.allclose(np.linalg.norm(vectors, axis=1), 1.0, atol=1e-5)
    near = vectors @ vectors.T
    same: list[float] = []
    other: list[float] = []
    for at, (one, _) in enumerate(pieces):
        for beside, (another, _) in enumerate(pieces[:at]):
            (same if one == another else other).append(float(near[at, beside]))
    assert len(same) >= 10
    assert len(other) >= 10
    assert min(same) > max(other)


def test_a_voice_does_not_depend_on_loudness_or_company(models: Models) -> None:
    reader, others = heard(next(iter(AUSTEN.values()))), heard(TWO_CITIES, seconds=5.0)
    embedder = models.speaker_embedder()
    alone = embedder.embed_speakers([reader])[0]
    assert embedder.embed_speakers([others, reader])[1] == pytest.approx(alone, abs=1e-5)
    assert float(embedder.embed_speakers([reader * 0.1])[0] @ alone) > 0.9999
    assert embedder.embed_speakers([]).shape == (0, 256)
    assert np.isfinite(embedder.embed_speakers([np.zeros(RATE, np.float32)])).all()


def test_sounds_of_one_kind_are_near(models: Models) -> None:
    embedder = models.audio_embedder()
    chance = np.random.default_rng(0)
    times = np.arange(4 * RATE) / RATE
    kinds: dict[str, list[NDArray[np.float64]]] = {
        "noise": [chance.normal(0, scale, 4 * RATE) for scale in (0.01, 0.1)],
        "tone": [np.sin(2 * np.pi * hertz * times) * 0.3 for hertz in (440, 466)],
        "reader": [heard(TWO_CITIES, start=start, seconds=4.0).astype(np.float64) for start in (0.5, 21.0)],
    }
    vectors = embedder.embed_audio([sound.astype(np.float32) for some in kinds.values() for sound in some])
    near = vectors @ vectors.T - 2 * np.eye(6)
    assert near.argmax(axis=1).tolist() == [1, 0, 3, 2, 5, 4]
    assert np.isfinite(embedder.embed_audio([np.zeros(4 * RATE, np.float32), np.zeros(10, np.float32)])).all()


# Files of weights


def test_outputs_that_nobody_asks_for_are_taken_off() -> None:
    import onnx

    entry = Models(ModelSettings(MODELS_DIR)).entry("whisper_tiny_v1")
    (file,) = (one for one in entry.files if "encoder" in one.path)
    content = located(file).read_bytes()
    fewer = with_outputs(content, frozenset({"last_hidden_state"}))
    before, after = onnx.load_from_string(content), onnx.load_from_string(fewer)
    assert len(before.graph.output) == 5
    assert [output.name for output in after.graph.output] == ["last_hidden_state"]
    assert before.graph.node == after.graph.node
    with pytest.raises(ValueError, match="not an ONNX model"):
        with_outputs(b"\xff" * 40, frozenset())


def test_products_of_integers_say_what_those_of_floats_said() -> None:
    import onnx
    import onnxruntime

    entry = Models(ModelSettings(MODELS_DIR)).entry("whisper_tiny_v1")
    (file,) = (one for one in entry.files if "decoder" in one.path)
    content = located(file).read_bytes()
    changed = with_integer_products(content)
    (branch, _) = (one.g for node in onnx.load_from_string(changed).graph.node for one in node.attribute)
    floats = {node.output[0] for node in branch.node if node.op_type == "DequantizeLinear"}
    assert not [node.name for node in branch.node if node.op_type == "MatMul" and node.input[1] in floats]
    logits = []
    for model in (content, changed):
        session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
        given: dict[str, Any] = {
            one.name: np.zeros((1, 6, 0, 64), np.float32)
            for one in session.get_inputs()
            if one.name.startswith("past")
        }
        given["input_ids"] = np.array([[50258, 50259, 50359, 50363, 440]])
        given["encoder_hidden_states"] = np.random.default_rng(0).normal(size=(1, 1500, 384)).astype("f")
        given["use_cache_branch"] = np.array([False])
        logits.append(session.run(["logits"], given)[0][0])
    assert (logits[0].argmax(axis=1) == logits[1].argmax(axis=1)).all()
    assert all(np.corrcoef(*rows)[0, 1] > 0.99 for rows in zip(*logits, strict=True))


class Evil:
    def __reduce__(self) -> Any:
        return print, ("this must not run",)


@pytest.mark.parametrize("pickled", [Evil(), {"model_state": 1}, 7])
def test_a_file_of_weights_cannot_run_anything(pickled: Any, capsys: pytest.CaptureFixture[str]) -> None:
    content = io.BytesIO()
    head: list[Any] = [0x1950A86A20F9469CFC6C, 1001, {}]
    for part in [*head, pickled, []]:
        pickle.dump(part, content, protocol=2)
    with pytest.raises(ValueError, match="not"):
        read_weights(content.getvalue(), "model_state")
    assert capsys.readouterr().out == ""


def test_truncated_weights_are_refused() -> None:
    models = Models(ModelSettings(MODELS_DIR))
    content = located(models.entry("resemblyzer_v1").files[0]).read_bytes()
    assert read_weights(content, "model_state")["linear.weight"].shape == (256, 256)
    for size in (10, 1000, len(content) // 2):
        with pytest.raises(ValueError, match=r"not|truncated"):
            read_weights(content[:size], "model_state")


# Models of a hub


class _FakeWhisper:
    """What faster-whisper's model takes and gives."""

    def __init__(self, name: str, **options: Any) -> None:
        self.name, self.options = name, options

    def transcribe(self, sound: Samples, **options: Any) -> Any:
        assert options["vad_filter"]
        assert options["word_timestamps"]
        word = SimpleNamespace(word=" Hello", start=0.5, end=0.9)
        said = [SimpleNamespace(text=" Hello", start=0.5, end=0.9, words=[word])] if len(sound) else []
        return iter(said), SimpleNamespace(language=options["language"] or "fr")


def test_a_hub_model_needs_its_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "faster_whisper", None)
    with pytest.raises(MissingExtraError, match=r"lamina\[hub\]"):
        Models(ModelSettings(tmp_path)).transcriber("faster_whisper_small_v1")


def test_a_hub_model_transcribes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "faster_whisper", SimpleNamespace(WhisperModel=_FakeWhisper))
    transcriber = Models(ModelSettings(tmp_path, threads=3)).transcriber("faster_whisper_small_v1")
    transcript = transcriber.transcribe(np.ones(RATE, np.float32))
    assert (transcript.text, transcript.language) == ("Hello", "fr")
    assert transcript.utterances[0].words[0].start == 0.5
    assert transcriber.transcribe(np.zeros(0, np.float32)).language is None


def test_damaged_weights_are_no_crash(tmp_path: Path) -> None:
    with pytest.raises(UnavailableError, match="lamina models pull"):
        Models(ModelSettings(tmp_path)).transcriber()

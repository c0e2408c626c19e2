"""Sound: words, speakers and recordings told right, and how fast.

    python -m bench.quality_speech [--models tiny base small]

Word error rate is that of 211 words by three speakers (`tests/media/sound.py`), in lower case, without
punctuation and with numbers in words: insertions, deletions and substitutions over words (jiwer). Speed is
seconds of sound for a second of CPU, of all threads, and for a second of wall; of the long recording, since a
short one costs Whisper as much as 30 s do. Speakers: all pairs of stretches of 2.5 s of speech or more, told
apart by the best single threshold. Clips: 5 s at random places, with white noise; found when BM25's first ten
segments hold the recording, and the landmarks say where in it within 0.1 s.
"""

import math
import re
import time
from collections import Counter
from collections.abc import Mapping, Sequence

import jiwer
import numpy as np
from numpy.typing import NDArray

from bench.harness import Figure, Record, arguments, rounded
from lamina.extractors.audio_fingerprint_extractor.landmarks import (
    LANDMARK_RATE,
    Landmarks,
    landmarks,
    match,
)
from lamina.inference.base import Samples, SpeechDetector, Transcriber
from lamina.inference.packages import PackageFile
from lamina.inference.registry import Models, ModelSettings
from lamina.media.audio import read_sound, windows
from tests.media import MODELS_DIR, located
from tests.media.sound import AUSTEN, CARDS, OTHERS, TWO_CITIES, TWO_CITIES_WORDS
from tests.sounds import noisy

RATE = 16_000
LEAST_SPEECH = 2.5
CLIP = 5.0
CLIPS = 40
RATIOS = (None, 10.0, 5.0, 0.0, -3.0)

_GROUPS: Mapping[str, Mapping[str, PackageFile]] = {
    "reader": AUSTEN,
    "cards": CARDS,
    "long": {TWO_CITIES_WORDS: TWO_CITIES},
}

_NUMBERS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten")
_SAME = {"mr": "mister", **{str(number): word for number, word in enumerate(_NUMBERS)}}


def main() -> None:
    """Measure, and write `results/quality_speech.json`."""
    given = arguments(__doc__)
    given.add_argument("--models", nargs="*", default=["tiny", "base"])
    sizes: list[str] = given.parse_args().models
    default = Models(ModelSettings(MODELS_DIR)).default("transcribe")
    figure = Figure("quality_speech", "Speech, speakers and recordings", default_transcriber=default)
    for size in sizes:
        name = f"whisper_{size}_v1"
        measured = _transcription(name)
        figure.note(name, measured)
        if name == default:
            figure.wanted(
                "speech to text, times real time for the CPU seconds of one thread",
                measured["times_real_time"]["1 thread, CPU"],
                least=3,
            )
    models = Models(ModelSettings(MODELS_DIR))
    figure.note("speakers", _speakers(models))
    figure.note("speech_detection_times_real_time_cpu", _detection(models.speech_detector()))
    figure.note("clips_found", _clips())
    figure.write()


# Words


def _transcription(name: str) -> Record:
    transcriber = Models(ModelSettings(MODELS_DIR)).transcriber(name)
    said = {group: [_said(transcriber, *pair) for pair in files.items()] for group, files in _GROUPS.items()}
    speeds: dict[str, float] = {}
    for threads in (1, 2):
        transcriber = Models(ModelSettings(MODELS_DIR, threads=threads)).transcriber(name)
        sound = _heard(TWO_CITIES)
        cpu, wall = time.process_time(), time.perf_counter()
        transcriber.transcribe(sound)
        cpu, wall = time.process_time() - cpu, time.perf_counter() - wall
        words = f"{threads} thread{'s' * (threads > 1)}"
        speeds[f"{words}, CPU"] = rounded(len(sound) / RATE / cpu)
        speeds[f"{words}, wall"] = rounded(len(sound) / RATE / wall)
    pairs = [pair for some in said.values() for pair in some]
    return {
        "word_error_rate": _error(pairs),
        "by_speaker": {group: _error(some) for group, some in said.items()},
        "words": sum(len(words.split()) for words, _ in pairs),
        "times_real_time": speeds,
    }


def _said(transcriber: Transcriber, words: str, file: PackageFile) -> tuple[str, str]:
    return _plain(words), _plain(transcriber.transcribe(_heard(file)).text)


def _error(said: Sequence[tuple[str, str]]) -> float:
    return float(rounded(jiwer.wer([words for words, _ in said], [heard for _, heard in said])))


def _plain(text: str) -> str:
    words = re.sub(r"[^a-z0-9' ]", " ", text.lower().replace("-", " ")).split()
    return " ".join(_SAME.get(word, word) for word in words)


# Speakers


def _speakers(models: Models) -> Record:
    detector = models.speech_detector()
    pieces = [(name, speech) for name, speech in _stretches(detector) if len(speech) >= LEAST_SPEECH * RATE]
    cpu = time.process_time()
    vectors = models.speaker_embedder().embed_speakers([speech for _, speech in pieces])
    cpu = time.process_time() - cpu
    near = vectors @ vectors.T
    pairs = [
        (float(near[at, beside]), one == other)
        for at, (one, _) in enumerate(pieces)
        for beside, (other, _) in enumerate(pieces[:at])
    ]
    threshold, right = max(
        ((limit, sum((score >= limit) == same for score, same in pairs)) for limit, _ in pairs),
        key=lambda found: found[1],
    )
    own = [score for score, same in pairs if same]
    foreign = [score for score, same in pairs if not same]
    return {
        "speakers": len({name for name, _ in pieces}),
        "pairs_of_one": len(own),
        "pairs_of_two": len(foreign),
        "told_right": rounded(right / len(pairs)),
        "threshold": rounded(threshold),
        "cosine_of_one_least": rounded(min(own)),
        "cosine_of_two_most": rounded(max(foreign)),
        "times_real_time_cpu": rounded(sum(len(speech) for _, speech in pieces) / RATE / cpu),
    }


def _stretches(detector: SpeechDetector) -> list[tuple[str, Samples]]:
    """Speech by speaker, pauses left out."""
    cities = _heard(TWO_CITIES)
    sounds = [("cities", cities[at : at + 8 * RATE]) for at in range(0, 40 * RATE, 8 * RATE)]
    sounds += [("austen", _heard(file)) for file in AUSTEN.values()]
    sounds += [("cards", np.concatenate([_heard(file) for file in CARDS.values()]))]
    sounds += [(name, _heard(file)) for name, file in OTHERS.items()]
    return [(name, _spoken(sound, detector)) for name, sound in sounds]


def _spoken(sound: Samples, detector: SpeechDetector) -> Samples:
    pieces = [sound[round(one.start * RATE) : round(one.end * RATE)] for one in detector.detect(sound)]
    return np.concatenate([sound[:0], *pieces])


def _detection(detector: SpeechDetector) -> float:
    sound = np.tile(_heard(TWO_CITIES), 4)
    cpu = time.process_time()
    detector.detect(sound)
    return float(rounded(len(sound) / RATE / (time.process_time() - cpu)))


# Recordings


def _clips() -> Record:
    """The share of clips that are found, by the ratio of signal to noise."""
    files = {
        "cities": TWO_CITIES,
        **OTHERS,
        **{f"austen {n}": file for n, file in enumerate(AUSTEN.values())},
    }
    recordings = {name: _heard(file, LANDMARK_RATE) for name, file in files.items()}
    segments = [
        (name, start, landmarks(sound))
        for name, recording in recordings.items()
        for start, sound in windows([recording], LANDMARK_RATE, length=5.0, hop=2.5)
    ]
    chance = np.random.default_rng(2003)
    long = [name for name, recording in recordings.items() if len(recording) > (CLIP + 1) * LANDMARK_RATE]
    found: Record = {}
    for ratio in RATIOS:
        right = 0
        for number in range(CLIPS):
            name = long[number % len(long)]
            start = float(chance.uniform(0, len(recordings[name]) / LANDMARK_RATE - CLIP))
            clip = recordings[name][round(start * LANDMARK_RATE) :][: round(CLIP * LANDMARK_RATE)]
            right += _found(
                landmarks(clip if ratio is None else noisy(clip, ratio, number)), segments, name, start
            )
        found["clean" if ratio is None else f"{ratio:g} dB"] = rounded(right / CLIPS)
    return {**found, "recordings": len(recordings), "segments": len(segments)}


def _found(
    clip: Landmarks, segments: Sequence[tuple[str, float, Landmarks]], name: str, start: float
) -> bool:
    """Whether the best of the ten segments that a lexical search brings is right, recording and time."""
    often = Counter(hash_ for _, _, marks in segments for hash_ in set(marks.hashes.tolist()))
    wanted = set(clip.hashes.tolist())

    def score(marks: Landmarks) -> float:
        shared = wanted & set(marks.hashes.tolist())
        return sum(math.log(1 + (len(segments) - often[one] + 0.5) / (often[one] + 0.5)) for one in shared)

    ten = sorted(segments, key=lambda segment: -score(segment[2]))[:10]
    matches = [(found, one) for one in ten if (found := match(clip, one[2]))]
    if not matches:
        return False
    best, (whose, begin, _) = max(matches, key=lambda pair: pair[0].votes)
    return whose == name and abs(begin + best.offset - start) <= 0.1


def _heard(file: PackageFile, rate: int = RATE) -> NDArray[np.float32]:
    with located(file).open("rb") as opened:
        return read_sound(opened, rate)


if __name__ == "__main__":
    main()

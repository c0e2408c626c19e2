"""How well cuts are found, and how fast a video becomes documents.

    python -m bench.quality_video [--films 6] [--seconds 60]

Cuts: shots of real clips, and photos over which a camera moves, are joined to films at known times. A cut
counts as found within two frames; F1 is the harmonic mean of precision and recall. `dissolves` has the same
films with each cut drawn out over half a second. Speed: a film of 1280 × 720 with speech goes through
`multimodal_extractor`, in steps of ten seconds with frames, thumbnails, clips and transcript, on two threads.
"""

import random
import time
from collections.abc import Iterator, Sequence
from itertools import islice, pairwise
from typing import Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from bench.harness import Figure, Record, arguments, rounded
from lamina.extractors.base import BlobValue, Source
from lamina.extractors.multimodal_extractor import EXTRACTOR
from lamina.extractors.multimodal_extractor.parameters import SENSITIVITIES
from lamina.inference.registry import Models, ModelSettings
from lamina.media.audio import read_sound
from lamina.media.shots import SHOT_SIDE, shot_starts
from lamina.media.video import every_frame, probe_video
from tests.films import film, frames_of, opened
from tests.media import MODELS_DIR, located
from tests.media.photos import PHOTOS
from tests.media.video import BIKES, BUNNY, CARPHONE, TWO_CITIES

Pixels = NDArray[np.uint8]

FPS: Final = 25
SIZE: Final = (480, 270)
TOLERANCE: Final = 2 / FPS + 1e-6
DISSOLVE: Final = FPS // 2
_BIKES_CUTS: Final = (0, 30, 76, 137, 187, 242)
_PHOTOS: Final = ("astronaut", "chelsea", "coffee", "rocket", "camera", "motorcycle_left")
_SPEECH_RATE: Final = 16_000


def main() -> None:
    """Make films, find their cuts; make one with speech, and time it."""
    given = arguments(__doc__)
    given.add_argument("--films", type=int, default=6)
    given.add_argument("--seconds", type=float, default=60.0)
    asked = given.parse_args()
    figure = Figure(
        "quality_video",
        "How well cuts are found, and how fast videos become documents",
        films=asked.films,
        seconds=asked.seconds,
    )
    speed = _speed(asked.seconds)
    figure.note("video_720p_frames_and_transcript", speed)
    figure.wanted("720p, times real time", speed["times_real_time"], least=2.0)
    sharp, soft = [_films(asked.films, dissolve) for dissolve in (0, DISSOLVE)]
    for name, threshold in SENSITIVITIES.items():
        figure.note(f"cuts_{name}", _judged(sharp, threshold))
        figure.note(f"dissolves_{name}", _judged(soft, threshold, DISSOLVE / FPS))
    figure.write()


# Cuts


def _films(count: int, dissolve: int) -> list[tuple[bytes, list[float]]]:
    """Films with the times of their cuts; that of a dissolve is its middle."""
    shots = list(_shots())
    return [_joined(random.Random(seed), shots, dissolve) for seed in range(count)]


def _shots() -> Iterator[list[Pixels]]:
    """Shots without a cut: of the clips, and of photos with a moving camera."""
    bikes = [_fitted(frame) for frame in frames_of(BIKES, side=SIZE[0])]
    for first, last in pairwise(_BIKES_CUTS):
        yield bikes[first:last]
    yield [_fitted(frame) for frame in frames_of(BUNNY, side=SIZE[0])]
    yield [_fitted(frame) for frame in frames_of(CARPHONE, side=SIZE[0])]
    for number, name in enumerate(_PHOTOS):
        yield list(_moved_over(Image.open(located(PHOTOS[name])).convert("RGB"), number))


def _fitted(pixels: Pixels) -> Pixels:
    return np.asarray(Image.fromarray(pixels).resize(SIZE, Image.Resampling.BILINEAR), np.uint8)


def _moved_over(photo: Image.Image, seed: int) -> Iterator[Pixels]:
    """Three seconds of a camera that moves over a photo and comes nearer."""
    chance = random.Random(seed)
    begin = chance.random(), chance.random()
    end = chance.random(), chance.random()
    for step in np.linspace(0.0, 1.0, 3 * FPS):
        share = 0.8 - 0.25 * step
        width, height = photo.width * share, photo.width * share * SIZE[1] / SIZE[0]
        height = min(height, photo.height * share)
        left = (photo.width - width) * (begin[0] + (end[0] - begin[0]) * step)
        top = (photo.height - height) * (begin[1] + (end[1] - begin[1]) * step)
        part = photo.resize(SIZE, Image.Resampling.BILINEAR, (left, top, left + width, top + height))
        yield np.asarray(part, np.uint8)


def _joined(
    chance: random.Random, shots: Sequence[Sequence[Pixels]], dissolve: int
) -> tuple[bytes, list[float]]:
    frames: list[Pixels] = []
    cuts: list[float] = []
    last = -1
    for _ in range(16):
        which = chance.choice([number for number in range(len(shots)) if number != last])
        length = min(chance.randint(FPS, 3 * FPS), len(shots[which]))
        begin = chance.randint(0, len(shots[which]) - length)
        piece = list(shots[which][begin : begin + length])
        if frames:
            over = min(dissolve, len(piece))
            for step in range(over):
                share = (step + 1) / (over + 1)
                blended = frames[-over + step] * (1 - share) + piece[step] * share
                frames[-over + step] = blended.astype(np.uint8)
            cuts.append((len(frames) - over / 2) / FPS)
            piece = piece[over:]
        frames += piece
        last = which
    return film(frames, fps=FPS), cuts


def _judged(
    films: Sequence[tuple[bytes, list[float]]], threshold: float, tolerance: float = TOLERANCE
) -> Record:
    """Precision, recall and F1 over all films."""
    right = told = there = 0
    began = time.process_time()
    seconds = 0.0
    for data, cuts in films:
        file = opened(data)
        track = probe_video(file)
        seconds += track.duration
        found = shot_starts(every_frame(file, track, side=SHOT_SIDE), track.fps, threshold)
        right += sum(any(abs(one - cut) <= tolerance for one in found) for cut in cuts)
        told, there = told + len(found), there + len(cuts)
    precision, recall = right / max(told, 1), right / max(there, 1)
    return {
        "precision": rounded(precision),
        "recall": rounded(recall),
        "f1": rounded(2 * precision * recall / max(precision + recall, 1e-9)),
        "cuts": there,
        "cpu_s_per_s": rounded((time.process_time() - began) / seconds),
    }


# Speed


def _speed(seconds: float) -> Record:
    with located(TWO_CITIES).open("rb") as file:
        speech = read_sound(file, _SPEECH_RATE)
    sound = np.tile(speech, int(seconds * _SPEECH_RATE / len(speech)) + 1)[: int(seconds * _SPEECH_RATE)]
    data = film(islice(_repeated(), int(seconds * FPS)), sound=(sound, _SPEECH_RATE), key_every=250)
    models = Models(ModelSettings(models_dir=MODELS_DIR, threads=2))
    given = EXTRACTOR.Parameters.model_validate({"run_transcription": True})
    extractor = EXTRACTOR(given, models)
    extractor.extract([Source("warm", {"video": BlobValue(located(BUNNY), "video/mp4")})])
    models.transcriber()
    wall, cpu = time.perf_counter(), time.process_time()
    (parts,) = extractor.extract([Source("film", {"video": BlobValue(data, "video/mp4")})])
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    assert isinstance(parts, list)
    words = sum(len(part.fields.get("words", ())) for part in parts)  # type: ignore[arg-type]
    return {
        "documents": len(parts),
        "words": words,
        "times_real_time": rounded(seconds / wall),
        "cpu_s_per_s": rounded(cpu / seconds),
        "times_real_time_on_two_free_cores_at_most": rounded(2 * seconds / cpu),
    }


def _repeated() -> Iterator[Pixels]:
    while True:
        yield from frames_of(BUNNY)


if __name__ == "__main__":
    main()

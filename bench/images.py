"""Pictures a second of `image_extractor`, against its two models alone.

    python -m bench.images [--pictures 24] [--rounds 5] [--batches]

The extractor decodes JPEG photos, embeds each with both models, and makes colours, hash and thumbnail.
The bare models are forward passes over tensors that are ready; the embedders get the same pictures
decoded, and scale and normalise them. All run in one process on one thread, and take turns. Compared is the
least CPU time of each over the rounds: what else the machine does only adds to it. As in a worker, numpy and
OpenCV get no threads of their own: they would spin, and count as time of whoever called. `--batches`
compares sizes of a forward pass.
"""

import io
import os
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial

os.environ["OPENBLAS_NUM_THREADS"] = "1"  # read when numpy is imported
os.environ["OPENCV_FOR_THREADS_NUM"] = "1"

import psutil
from PIL import Image

from bench.harness import Figure, Record, arguments, in_turns, rounded
from lamina.extractors.base import BlobValue, Source
from lamina.extractors.image_extractor import EXTRACTOR
from lamina.extractors.image_extractor.looks import SIDE
from lamina.inference import onnx_images
from lamina.inference.base import Image as Pixels
from lamina.inference.registry import Models, ModelSettings
from lamina.media.images import read_image
from tests.media import MODELS_DIR
from tests.media.photos import PHOTOS

REACH = 0.85
WIDTHS = (640, 1600, 4000)
HEADLINE = 1600
"""Width of the photos that the figure to be reached is of: two megapixels."""

_NAMES = ("astronaut", "chelsea", "coffee", "rocket", "camera", "motorcycle_left")


def main() -> None:
    """Measure each size of photos."""
    given = arguments(__doc__)
    given.add_argument("--pictures", type=int, default=24)
    given.add_argument("--rounds", type=int, default=5)
    given.add_argument("--batches", action="store_true", help="also compare sizes of a forward pass")
    asked = given.parse_args()
    figure = Figure(
        "images", "Pictures: the extractor and its models alone", pictures=asked.pictures, rounds=asked.rounds
    )
    models = Models(ModelSettings(models_dir=MODELS_DIR))
    extractor = EXTRACTOR(EXTRACTOR.validate_parameters({}, models), models)
    for width in WIDTHS:
        files = photos(asked.pictures, width)
        sources = [Source(str(at), {"image": BlobValue(one, "image/jpeg")}) for at, one in enumerate(files)]
        decoded = [read_image(io.BytesIO(one), side=SIDE).pixels for one in files]
        sides: dict[str, Callable[[int], float]] = {
            "models": lambda _, passes=_passes(models, decoded): cpu_seconds(lambda: _forward(passes)),
            "embedders": lambda _, decoded=decoded: cpu_seconds(lambda: _embed(models, decoded)),
            "extractor": lambda _, sources=sources: cpu_seconds(lambda: extractor.extract(sources)),
        }
        for measure in sides.values():
            measure(0)
        taken = in_turns(sides, asked.rounds)
        least = {name: min(times) for name, times in taken.items()}
        figure.note(f"width_{width}", _shown(least, files))
        if width == HEADLINE:
            ratio = rounded(least["models"] / least["extractor"])
            figure.wanted("image_extractor to its bare models, photos of 2 megapixels", ratio, least=REACH)
    figure.note("process_mb", rounded(psutil.Process().memory_info().rss / 1e6))
    if asked.batches:
        figure.note("cpu_ms_a_picture_by_pictures_of_a_pass", _batches(models, decoded))
    figure.write()


def photos(count: int, width: int) -> list[bytes]:
    """JPEGs of a width, quality 90, one photo after the other."""
    made = []
    for at in range(min(count, len(_NAMES))):
        with Image.open(PHOTOS[_NAMES[at]].locate(MODELS_DIR)) as photo:
            scaled = photo.convert("RGB").resize((width, round(photo.height * width / photo.width)))
        target = io.BytesIO()
        scaled.save(target, "JPEG", quality=90)
        made.append(target.getvalue())
    return [made[at % len(made)] for at in range(count)]


def cpu_seconds(work: Callable[[], object]) -> float:
    """What one call costs this process, over all of its threads."""
    began = time.process_time()
    work()
    return time.process_time() - began


def _passes(models: Models, decoded: Sequence[Pixels]) -> list[Callable[[], object]]:
    """The forward passes of both models, one for each picture, with their tensors."""
    passes: list[Callable[[], object]] = []
    for model in (models.image_labeler(), models.image_embedder()):
        for pixels in decoded:
            given = {model._input: model._form.take([pixels])}
            passes.append(partial(model._session.run, [model._output], given))
    return passes


def _forward(passes: Sequence[Callable[[], object]]) -> None:
    for one in passes:
        one()


def _embed(models: Models, decoded: Sequence[Pixels]) -> None:
    models.text_image_embedder().embed_images(decoded)
    models.image_embedder().embed_images(decoded)


def _shown(least: Mapping[str, float], files: Sequence[bytes]) -> Record:
    return {
        "kilobytes": rounded(statistics.mean(map(len, files)) / 1e3),
        **{f"{name}_pictures_per_cpu_second": rounded(len(files) / took) for name, took in least.items()},
        "ratio_to_models": rounded(least["models"] / least["extractor"]),
        "ratio_to_embedders": rounded(least["embedders"] / least["extractor"]),
    }


def _batches(models: Models, decoded: Sequence[Pixels]) -> Record:
    """CPU milliseconds a picture, the least of three."""
    usual = onnx_images.BATCH
    times: Record = {}
    sides = {
        "labeler": models.image_labeler().probabilities,
        "backbone": models.image_embedder().embed_images,
    }
    for size in (1, 2, 4, 8):
        onnx_images.BATCH = size
        for name, embed in sides.items():
            best = min(cpu_seconds(lambda embed=embed: embed(decoded)) for _ in range(3))
            times[f"{size}_{name}"] = rounded(best / len(decoded) * 1e3)
    onnx_images.BATCH = usual
    return times


if __name__ == "__main__":
    main()

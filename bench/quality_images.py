"""How well pictures are found: by words, and by pictures like them.

    python -m bench.quality_images [--pictures 1000] [--variants]

The first pictures of CIFAR-10's test set (32 × 32, ten classes) and nine captioned photos go through
`image_extractor`. Words: the ten class names are the queries. Recall@1 is the share of queries whose first
picture is of the class, mean average precision (mAP) is over the whole ranking, and accuracy is
the share of pictures whose nearest class name is theirs. Pictures: each is a query for the others of its
class. `--variants` compares forms of ConSE on the same probabilities: the paper's own comes first.
"""

import io
import statistics
from collections.abc import Callable, Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from bench.harness import Figure, Record, arguments, rounded
from bench.labelled import CAPTIONS, CLASSES, cifar
from lamina.extractors.base import BlobValue, Part, Source
from lamina.extractors.image_extractor import EXTRACTOR
from lamina.inference.catalogue.images import CONSE, NAMES
from lamina.inference.conse import label_texts
from lamina.inference.onnx_images import normalised, read_names
from lamina.inference.registry import Models, ModelSettings
from tests.media import MODELS_DIR
from tests.media.photos import PHOTOS

Vectors = NDArray[np.float32]
_DEPTH: Final = 10


def main() -> None:
    """Extract, ask, judge."""
    given = arguments(__doc__)
    given.add_argument("--pictures", type=int, default=1000)
    given.add_argument("--variants", action="store_true", help="also compare forms of ConSE")
    asked = given.parse_args()
    models = Models(ModelSettings(models_dir=MODELS_DIR))
    by_words, by_likeness = (one.output for one in EXTRACTOR.vectors(EXTRACTOR.Parameters(), models))
    figure = Figure(
        "quality_images",
        "How well pictures are found",
        pictures=asked.pictures,
        photos=len(CAPTIONS),
        by_words=by_words,
        by_likeness=by_likeness,
    )
    pixels, labels = cifar(asked.pictures, MODELS_DIR)
    parts = _extracted(models, [_png(one) for one in pixels])
    words, likeness = (np.stack([part.vectors[name] for part in parts]) for name in (by_words, by_likeness))
    embedder = models.text_image_embedder()
    figure.note("words_to_pictures_cifar10", judged_by_words(embedder.embed_queries(CLASSES), words, labels))
    figure.note("pictures_to_pictures_by_likeness", judged_by_pictures(likeness, labels))
    figure.note("pictures_to_pictures_by_words_vector", judged_by_pictures(words, labels))
    photos = _extracted(models, [PHOTOS[name].locate(MODELS_DIR).read_bytes() for name in CAPTIONS])
    shown = np.stack([part.vectors[by_words] for part in photos])
    figure.note("captions_to_photos", _captions(embedder.embed_queries(list(CAPTIONS.values())), shown))
    if asked.variants:
        probabilities = models.image_labeler().probabilities(list(pixels))
        figure.note("forms_of_conse", _variants(models, probabilities, labels))
    figure.write()


def _png(pixels: NDArray[np.uint8]) -> bytes:
    target = io.BytesIO()
    Image.fromarray(pixels).save(target, "PNG")
    return target.getvalue()


def _extracted(models: Models, files: Sequence[bytes]) -> list[Part]:
    """The document of each picture."""
    made = EXTRACTOR(EXTRACTOR.Parameters.model_validate({"enable_thumbnails": False}), models)
    sources = [Source(str(at), {"image": BlobValue(file, "image/png")}) for at, file in enumerate(files)]
    return [part for outcome in made.extract(sources) if isinstance(outcome, list) for part in outcome]


# Judging


def judged_by_words(queries: Vectors, pictures: Vectors, labels: NDArray[np.int64]) -> Record:
    """Queries are the classes, in order."""
    scores = queries @ pictures.T
    rankings = [labels[np.argsort(-row, kind="stable")] == query for query, row in enumerate(scores)]
    return {
        "recall_at_1": rounded(statistics.mean(float(hits[0]) for hits in rankings)),
        "precision_at_10": rounded(statistics.mean(float(hits[:_DEPTH].mean()) for hits in rankings)),
        "mean_average_precision": rounded(statistics.mean(map(average_precision, rankings))),
        "accuracy": rounded(float((scores.argmax(axis=0) == labels).mean())),
    }


def judged_by_pictures(pictures: Vectors, labels: NDArray[np.int64]) -> Record:
    """Each picture is a query for the others."""
    rankings = []
    for at, row in enumerate(pictures @ pictures.T):
        order = np.argsort(-row, kind="stable")
        rankings.append(labels[order[order != at]] == labels[at])
    return {
        "recall_at_1": rounded(statistics.mean(float(hits[0]) for hits in rankings)),
        "precision_at_10": rounded(statistics.mean(float(hits[:_DEPTH].mean()) for hits in rankings)),
        "mean_average_precision": rounded(statistics.mean(map(average_precision, rankings))),
    }


def average_precision(hits: NDArray[np.bool_]) -> float:
    """The mean of the precisions at each hit of a ranking, from 0 to 1."""
    return float((np.cumsum(hits) / np.arange(1, len(hits) + 1))[hits].mean())


def _captions(texts: Vectors, photos: Vectors) -> Record:
    scores = texts @ photos.T
    ranks = (scores > np.diag(scores)[:, None]).sum(axis=1) + 1
    return {
        "recall_at_1": rounded(float((ranks == 1).mean())),
        "mean_reciprocal_rank": rounded(float((1 / ranks).mean())),
        "photos": len(photos),
    }


# Forms of ConSE


def _variants(models: Models, probabilities: Vectors, labels: NDArray[np.int64]) -> Record:
    """Mean average precision and accuracy by form, each form one step after the one before."""
    texts = models.text_embedder(CONSE.parts[1])
    pairs = label_texts(
        read_names(NAMES.locate(MODELS_DIR)), CONSE.weights["descriptions"].locate(MODELS_DIR)
    )
    names = texts.embed_documents([name for name, _ in pairs])
    described = texts.embed_documents([text for _, text in pairs])
    middle = normalised(names + described)
    queries = texts.embed_queries(CLASSES)

    def judged(embeddings: Vectors, weigh: Callable[[Vectors], Vectors], *, centred: bool = False) -> Record:
        origin = embeddings.mean(axis=0) if centred else np.zeros_like(embeddings[0])
        pictures = normalised(weigh(probabilities) @ (embeddings - origin))
        return judged_by_words(normalised(queries - origin), pictures, labels)

    return {
        "paper_10_labels_names": judged(names, _first_ten),
        "all_labels_names": judged(names, lambda one: one),
        "all_labels_names_and_descriptions": judged(middle, lambda one: one),
        "roots_of_all_names_and_descriptions": judged(middle, np.sqrt),
        "centred_names": judged(names, np.sqrt, centred=True),
        "centred_names_and_descriptions_without_roots": judged(middle, lambda one: one, centred=True),
        "centred_names_and_descriptions": judged(middle, np.sqrt, centred=True),
    }


def _first_ten(probabilities: Vectors) -> Vectors:
    least = -np.partition(-probabilities, 9, axis=1)[:, 9:10]
    return np.where(probabilities >= least, probabilities, 0.0).astype(np.float32)


if __name__ == "__main__":
    main()

"""Late interaction against one vector a text, on a part of Cranfield: the same encoder, two ways to compare.

    LAMINA_BENCH_CRANFIELD=<folder> python -m bench.quality_tokens

The part: queries in order, as long as the documents judged good for them stay within 200; only these
documents are searched, so figures are higher than on all 1,398. MaxSim adds up, over the query's words, the
similarity of the nearest word of the document. Seconds are those of one processor core.
"""

import os
import statistics
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from bench.harness import Figure, Record, arguments, rounded
from bench.quality import Grades, _grades, _lines, ndcg
from lamina.inference.registry import Models, ModelSettings
from tests.media import MODELS_DIR

DOCUMENTS = 200


def main() -> None:
    """Embed the documents both ways, ask every query, and judge."""
    given = arguments(__doc__)
    given.add_argument("--cranfield", type=Path, default=os.environ.get("LAMINA_BENCH_CRANFIELD"))
    folder: Path | None = given.parse_args().cranfield
    if folder is None or not folder.is_dir():
        print("  skipped: LAMINA_BENCH_CRANFIELD names no folder")
        return
    grades = _grades(folder / "qrels.tsv")
    texts = {str(one["id"]): one["text"] for one in _lines(folder / "documents.jsonl") if one["text"].strip()}
    queries, wanted = _part(_lines(folder / "queries.jsonl"), grades, texts)
    models = Models(ModelSettings(models_dir=MODELS_DIR))
    tokens, dense = models.token_embedder(), models.text_embedder()
    figure = Figure(
        "quality_tokens",
        "Late interaction on a part of Cranfield",
        documents=len(wanted),
        queries=len(queries),
        tokens=tokens.card.name,
        dense=dense.card.name,
    )
    bodies = [texts[one] for one in wanted]
    began = time.process_time()
    by_token = tokens.embed_documents(bodies)
    figure.note("tokens_documents_per_cpu_s", rounded(len(bodies) / (time.process_time() - began)))
    figure.note("tokens_per_document", rounded(statistics.mean(len(one) for one in by_token)))
    whole = dense.embed_documents(bodies)

    def maxsim(query: str) -> NDArray[np.float32]:
        (asked,) = tokens.embed_queries([query])
        return np.array([(asked @ document.T).max(axis=1).sum() for document in by_token], np.float32)

    def cosine(query: str) -> NDArray[np.float32]:
        return np.asarray(whole @ dense.embed_queries([query])[0])

    for name, score in (("maxsim", maxsim), ("dense", cosine)):
        figure.note(f"ndcg_at_10_{name}", _judged(score, queries, wanted, grades))
    figure.write()


def _part(queries: Sequence[Record], grades: Grades, texts: dict[str, str]) -> tuple[list[Record], list[str]]:
    """The first queries whose good documents fit, and these documents."""
    chosen: list[Record] = []
    wanted: dict[str, None] = {}
    for query in queries:
        good = [one for one, grade in grades.get(str(query["id"]), {}).items() if grade and one in texts]
        if not good:
            continue
        if len(wanted.keys() | set(good)) > DOCUMENTS:
            break
        wanted |= dict.fromkeys(good)
        chosen.append(query)
    return chosen, list(wanted)


def _judged(
    score: Callable[[str], NDArray[np.float32]],
    queries: Sequence[Record],
    wanted: Sequence[str],
    grades: Grades,
) -> float:
    gains = []
    for query in queries:
        ranking = [wanted[place] for place in np.argsort(-score(query["text"]), kind="stable")]
        judged = {one: grade for one, grade in grades[str(query["id"])].items() if one in set(wanted)}
        gains.append(ndcg(ranking, judged, 10))
    return rounded(statistics.mean(gains))


if __name__ == "__main__":
    main()

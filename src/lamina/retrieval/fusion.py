"""Fusion: one ranking out of several searches."""

from collections.abc import Mapping, Sequence
from statistics import fmean, pstdev
from typing import Final, Literal

Fusion = Literal["rrf", "dbsf", "weighted", "max"]

Ranking = Sequence[tuple[str, float]]
"""One search's hits, best first: the document's key and its raw score. No key occurs twice."""

RRF_K: Final = 60
"""Cormack, Clarke and Büttcher (2009), "Reciprocal Rank Fusion outperforms Condorcet"; the contract's k."""


def fuse(method: Fusion, rankings: Sequence[Ranking], weights: Sequence[float]) -> list[tuple[str, float]]:
    """Documents of all rankings with their fused scores, best first; equal scores by key.

    - `rrf`: sum over searches of weight / (60 + rank), ranks from 1;
    - `dbsf`: sum of weight × the search's z-score brought to 0…1 (`standardized`);
    - `weighted`: sum of weight × raw score;
    - `max`: the highest raw score, weights aside.

    A document that a search did not find gets nothing from it.
    """
    scores: dict[str, float] = {}
    for ranking, weight in zip(rankings, weights, strict=True):
        for key, part in _contributions(method, ranking, weight).items():
            scores[key] = max(scores.get(key, part), part) if method == "max" else scores.get(key, 0.0) + part
    return sorted(scores.items(), key=lambda scored: (-scored[1], scored[0]))


def layered(
    method: Fusion, rankings: Sequence[Ranking], weights: Sequence[float], depths: Sequence[Sequence[int]]
) -> list[tuple[str, float]]:
    """Fuse in layers, so that deeper searches only append.

    Reading deeper changes what a document scores in a fusion, and so what came on pages that were
    read before. Here every layer is fused for itself (`depths[layer][search]` hits of each search)
    and adds the documents that the layers above it did not hold.
    """
    order: dict[str, float] = {}
    for cut in depths:
        top = [ranking[:depth] for ranking, depth in zip(rankings, cut, strict=True)]
        for key, score in fuse(method, top, weights):
            order.setdefault(key, score)
    return list(order.items())


def standardized(scores: Sequence[float]) -> list[float]:
    """Each score's z-score, with three standard deviations either side of the mean brought to 0…1.

    (z + 3) / 6, cut at 0 and 1: distribution-based score fusion. The shift matters: with bare
    z-scores a hit below its search's mean would count for less than no hit. Equal scores give 0.5.
    """
    if not scores:
        return []
    mean, spread = fmean(scores), pstdev(scores)
    if spread == 0.0:
        return [0.5] * len(scores)
    return [min(1.0, max(0.0, ((score - mean) / spread + 3.0) / 6.0)) for score in scores]


def _contributions(method: Fusion, ranking: Ranking, weight: float) -> Mapping[str, float]:
    if method == "rrf":
        return {key: weight / (RRF_K + rank) for rank, (key, _) in enumerate(ranking, start=1)}
    if method == "dbsf":
        shares = standardized([score for _, score in ranking])
        return {key: weight * share for (key, _), share in zip(ranking, shares, strict=True)}
    if method == "weighted":
        return {key: weight * score for key, score in ranking}
    return dict(ranking)

"""Fusion formulas against values worked out by hand."""

import math

import pytest

from lamina.retrieval.fusion import fuse, layered, standardized

DENSE = [("a", 0.9), ("b", 0.6), ("c", 0.3)]
WORDS = [("c", 12.0), ("a", 6.0)]


def test_rrf_adds_weighted_reciprocal_ranks() -> None:
    fused = fuse("rrf", [DENSE, WORDS], [1.0, 0.5])
    assert dict(fused) == {
        "a": pytest.approx(1 / 61 + 0.5 / 62),
        "b": pytest.approx(1 / 62),
        "c": pytest.approx(1 / 63 + 0.5 / 61),
    }
    assert [key for key, _ in fused] == ["a", "c", "b"]


def test_weighted_adds_weighted_raw_scores() -> None:
    fused = fuse("weighted", [DENSE, WORDS], [1.0, 0.1])
    assert dict(fused) == {
        "a": pytest.approx(0.9 + 0.6),
        "b": pytest.approx(0.6),
        "c": pytest.approx(0.3 + 1.2),
    }


def test_max_takes_the_best_raw_score_and_no_weight() -> None:
    assert fuse("max", [DENSE, WORDS], [0.0, 0.5]) == [("c", 12.0), ("a", 6.0), ("b", 0.6)]


def test_dbsf_adds_weighted_standardized_scores() -> None:
    # 0.9, 0.6, 0.3: mean 0.6, standard deviation sqrt(0.06); z = ±1.2247 and 0. 12, 6: z = ±1.
    high, middle, low = (3 + math.sqrt(1.5)) / 6, 0.5, (3 - math.sqrt(1.5)) / 6
    assert standardized([0.9, 0.6, 0.3]) == [pytest.approx(value) for value in (high, middle, low)]
    fused = dict(fuse("dbsf", [DENSE, WORDS], [1.0, 0.5]))
    assert fused == {
        "a": pytest.approx(high + 0.5 * 2 / 6),
        "b": pytest.approx(middle),
        "c": pytest.approx(low + 0.5 * 4 / 6),
    }


def test_dbsf_never_counts_a_hit_for_less_than_no_hit() -> None:
    words = [("c", 9.0), ("both", 8.9)]
    once = fuse("dbsf", [[("a", 9.0), ("b", 8.0), ("other", 1.0)], words], [1.0, 1.0])
    twice = fuse("dbsf", [[("a", 9.0), ("b", 8.0), ("both", 1.0)], words], [1.0, 1.0])
    assert dict(twice)["both"] > dict(once)["both"]


@pytest.mark.parametrize("scores", [[0.4], [0.4, 0.4, 0.4]])
def test_equal_scores_are_standardized_to_a_half(scores: list[float]) -> None:
    assert standardized(scores) == [0.5] * len(scores)


def test_outliers_stay_between_zero_and_one() -> None:
    assert max(standardized([0.0] * 50 + [100.0])) == 1.0
    assert standardized([]) == []


def test_equal_fused_scores_are_ordered_by_key() -> None:
    assert [key for key, _ in fuse("rrf", [[("b", 1.0)], [("a", 1.0)]], [1.0, 1.0])] == ["a", "b"]


def test_searches_without_hits_fuse_to_nothing() -> None:
    for method in ("rrf", "dbsf", "weighted", "max"):
        assert fuse(method, [[], []], [1.0, 1.0]) == []


@pytest.mark.parametrize("method", ["rrf", "dbsf", "weighted", "max"])
def test_deeper_layers_only_append(method: str) -> None:
    first = [(f"a{n:02}", 1.0 - n / 100) for n in range(40)]
    second = [(f"a{(n * 7) % 40:02}", 1.0 - n / 100) for n in range(40)]
    shallow = layered(method, [first, second], [1.0, 1.0], [(10, 10)])  # type: ignore[arg-type]
    deep = layered(method, [first, second], [1.0, 1.0], [(10, 10), (20, 20), (40, 40)])  # type: ignore[arg-type]
    assert deep[: len(shallow)] == shallow
    assert sorted(key for key, _ in deep) == [f"a{n:02}" for n in range(40)]

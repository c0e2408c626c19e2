"""The stage `score_normalize`."""

from lamina.retrieval.stages.sort.score_normalize.stage import ScoreNormalize

STAGE = ScoreNormalize

"""The stage `sort_relevance`."""

from lamina.retrieval.stages.sort.sort_relevance.stage import SortRelevance

STAGE = SortRelevance

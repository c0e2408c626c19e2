"""The stage `sort_attribute`."""

from lamina.retrieval.stages.sort.sort_attribute.stage import SortAttribute

STAGE = SortAttribute

"""The stage `attribute_filter`."""

from lamina.retrieval.stages.filter.attribute_filter.stage import AttributeFilter

STAGE = AttributeFilter

"""The stage `deduplicate`."""

from lamina.retrieval.stages.reduce.deduplicate.stage import Deduplicate

STAGE = Deduplicate

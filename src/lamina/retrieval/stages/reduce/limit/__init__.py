"""The stage `limit`."""

from lamina.retrieval.stages.reduce.limit.stage import Limit

STAGE = Limit

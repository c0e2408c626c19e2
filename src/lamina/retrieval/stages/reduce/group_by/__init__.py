"""The stage `group_by`."""

from lamina.retrieval.stages.reduce.group_by.stage import GroupBy

STAGE = GroupBy

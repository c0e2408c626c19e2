"""The stage `json_transform`."""

from lamina.retrieval.stages.apply.json_transform.stage import JsonTransform

STAGE = JsonTransform

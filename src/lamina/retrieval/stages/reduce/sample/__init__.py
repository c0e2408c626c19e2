"""The stage `sample`."""

from lamina.retrieval.stages.reduce.sample.stage import Sample

STAGE = Sample

"""The stage `unwind`."""

from lamina.retrieval.stages.apply.unwind.stage import Unwind

STAGE = Unwind

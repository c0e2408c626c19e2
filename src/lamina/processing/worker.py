"""The inside of a worker process: takes jobs from its parent, answers with parts.

It imports what extraction needs and nothing of the server. Messages are pickles over a socket
that only parent and child hold; a job's vectors go back as one matrix for each output.
"""

import os
import signal
import traceback
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from lamina.core.children import die_with
from lamina.core.errors import ExtractionError, LaminaError
from lamina.core.types import JsonObject

if TYPE_CHECKING:  # the worker loads these once it is known to be needed
    from lamina.extractors.base import Extractor, Part, Source
    from lamina.inference.settings import ModelSettings
    from lamina.ingest.fetch_settings import FetchSettings
    from lamina.processing.inference import Inference, Inferred

KEPT_EXTRACTORS = 16
"""Extractors with their parameters that a worker keeps ready."""

NICENESS = 5
"""How much a worker stands back: searches that are being served come first."""


@dataclass(frozen=True, slots=True)
class Start:
    """The first message: how to be a worker. `extractors` is the folder of the installation's own."""

    models: "ModelSettings"
    fetching: "FetchSettings"
    extractors: Path | None = None


@dataclass(frozen=True, slots=True)
class Job:
    """Sources to take apart by one extractor."""

    extractor: str
    version: str
    parameters: JsonObject
    sources: "Sequence[Source]"


@dataclass(frozen=True, slots=True)
class Done:
    """What became of each source. `vectors` stacks those of all parts, by output, in order."""

    outcomes: "Sequence[list[Part] | ExtractionError]"
    vectors: dict[str, NDArray[np.float32]]


@dataclass(frozen=True, slots=True)
class Made:
    """The answer to an inference."""

    inferred: "Inferred"


@dataclass(frozen=True, slots=True)
class Refused:
    """The job as a whole cannot be done: a model is missing, an endpoint is down."""

    kind: type[LaminaError]
    message: str
    code: str | None
    details: JsonObject

    def error(self) -> LaminaError:
        """The error as it was raised; subclasses differ in what they are made from."""
        error = self.kind.__new__(self.kind)
        LaminaError.__init__(error, self.message, code=self.code, **self.details)
        return error


@dataclass(frozen=True, slots=True)
class Broken:
    """The extractor failed in a way that nobody foresaw; some source brought it about.

    `died` says that the process is gone, which may also be an accident.
    """

    reason: str
    died: bool = False


Answer = Done | Made | Refused | Broken


def serve(descriptor: int, parent: int) -> None:
    """Work until the parent closes the connection or is gone. The body of a worker process."""
    _live_and_die_with(parent)
    with Connection(descriptor) as connection:
        try:
            worker = Inside(connection.recv())
            connection.send(None)  # ready
            while True:
                connection.send(worker.answer(connection.recv()))
        except (EOFError, ConnectionError):
            return


class Inside:
    """What does the jobs: the models and the extractors that were asked for last."""

    def __init__(self, start: Start) -> None:
        from lamina.extractors.registry import use_folder
        from lamina.inference.registry import Models

        use_folder(start.extractors)
        self._models = Models(start.models)
        self._fetching = start.fetching
        self._extractors: OrderedDict[str, Extractor] = OrderedDict()

    def answer(self, job: "Job | Inference") -> Answer:
        """Do a job; nothing is raised."""
        try:
            if not isinstance(job, Job):
                return Made(self._infer(job))
            outcomes = self._extractor(job).extract(job.sources)
            if len(outcomes) != len(job.sources):
                raise RuntimeError(f"{len(outcomes)} outcomes for {len(job.sources)} sources")
            return Done(outcomes, take_vectors(outcomes))
        except LaminaError as error:
            return Refused(type(error), error.message, error.code, error.details)
        except Exception as error:  # the parent finds the source that does it, and records it there
            traceback.print_exc()
            return Broken(f"{type(error).__name__}: {error}")

    def _infer(self, asked: "Inference") -> "Inferred":
        from lamina.processing.inference import infer

        return infer(self._models, asked)

    def _extractor(self, job: Job) -> "Extractor":
        from lamina.extractors.registry import extractor

        key = repr((job.extractor, job.version, job.parameters))
        if key not in self._extractors:
            kind = extractor(job.extractor, job.version)
            made = kind(kind.Parameters.model_validate(job.parameters), self._models)
            made.fetching = self._fetching
            self._extractors[key] = made
            if len(self._extractors) > KEPT_EXTRACTORS:
                self._extractors.popitem(last=False)
        self._extractors.move_to_end(key)
        return self._extractors[key]


def parts_of(outcome: "list[Part] | ExtractionError") -> "Sequence[Part]":
    """The parts of an outcome; those that a partial failure saved, too."""
    if isinstance(outcome, list):
        return outcome
    parts: Sequence[Part] = getattr(outcome, "parts", ())
    return parts


def take_vectors(outcomes: "Sequence[list[Part] | ExtractionError]") -> dict[str, NDArray[np.float32]]:
    """Take the vectors out of the parts: pickling one matrix is cheaper than a thousand rows."""
    rows: dict[str, list[NDArray[np.float32]]] = {}
    for part in (part for outcome in outcomes for part in parts_of(outcome)):
        for output, vector in part.vectors.items():
            if vector.ndim == 1 and all(vector.shape == row.shape for row in rows.get(output, ())[:1]):
                rows.setdefault(output, []).append(vector)
                part.vectors[output] = _TAKEN
    return {output: np.stack(vectors) for output, vectors in rows.items()}


def put_vectors(done: Done) -> "Sequence[list[Part] | ExtractionError]":
    """The outcomes with the vectors back in their parts, as rows of the matrices."""
    rows = {output: iter(matrix) for output, matrix in done.vectors.items()}
    for part in (part for outcome in done.outcomes for part in parts_of(outcome)):
        for output, vector in part.vectors.items():
            if vector.size == 0:
                part.vectors[output] = next(rows[output])
    return done.outcomes


_TAKEN: NDArray[np.float32] = np.empty(0, np.float32)


def _live_and_die_with(parent: int) -> None:
    """Outlive signals meant for the server, which drains first; never outlive the server itself."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    os.nice(NICENESS)
    die_with(parent)

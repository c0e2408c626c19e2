"""What a stage is: a folder with one `Stage`, its parameters and a README."""

import dataclasses
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, Literal, TypeAlias

from pydantic import BaseModel, ConfigDict

from lamina.core.filters import ALL, Filter
from lamina.core.scope import Scope
from lamina.core.types import Json, JsonObject
from lamina.retrieval.contents import ContentReader
from lamina.retrieval.embedding import QueryEmbedder
from lamina.retrieval.targets import Targets
from lamina.stores.vectors.base import VectorStore

Category = Literal["filter", "sort", "reduce", "apply", "enrich"]

Documents: TypeAlias = list[JsonObject]
"""Documents on their way: stored payloads (user fields at the root, `document_id`, `collection_id`,
`_internal`) and their `score`."""


class StageParameters(BaseModel):
    """Base of the parameter models: documentation, validation and catalogue entry in one.

    Unknown parameters are refused. Every model carries an example. Any parameter may be written
    as a template; it is validated again once it is rendered.
    """

    model_config = ConfigDict(extra="forbid")


@dataclass(slots=True)
class Findings:
    """What an execution has to tell besides its documents."""

    warnings: list[str] = dataclasses.field(default_factory=list)
    degraded: list[JsonObject] = dataclasses.field(default_factory=list)
    limits: list[JsonObject] = dataclasses.field(default_factory=list)
    facets: list[JsonObject] = dataclasses.field(default_factory=list)

    def degrade(self, resource: str, id: str | None, reason: str, next_step: str, stage: str | None) -> None:
        """Note what was left out: the answer is given, but it is not the whole one."""
        entry: JsonObject = {"resource": resource, "reason": reason, "next_step": next_step}
        if id is not None:
            entry["id"] = id
        if stage is not None:
            entry["stage"] = stage
        self.degraded.append(entry)
        self.warnings.append(f"{reason} {next_step}")

    def forget(self, told: int) -> None:
        """Drop what the stages told, and keep the first `told` warnings: the stages run again."""
        del self.warnings[told:]
        self.degraded.clear()
        self.facets.clear()


@dataclass(slots=True)
class StageContext:
    """What a stage may use besides its documents.

    `where` are the request's filters and those of filter stages before a search: what a stage
    fetches has to match them. `pool` is how many documents the page needs where that is more than
    the stage would bring by itself; a stage that brought fewer and could bring more leaves
    `exhausted` False. `field` is where the stage's parameters stand in the request, for errors.
    """

    scope: Scope
    vectors: VectorStore
    embedder: QueryEmbedder
    contents: ContentReader
    targets: Targets
    names: Mapping[str, Json]
    findings: Findings
    name: str
    field: str
    where: Filter = ALL
    pool: int | None = None
    first: bool = True
    with_vectors: bool = False
    exhausted: bool = True
    metadata: JsonObject = dataclasses.field(default_factory=dict)

    @property
    def inputs(self) -> Mapping[str, Json]:
        """The execution's inputs."""
        inputs = self.names["input"]
        return inputs if isinstance(inputs, Mapping) else {}


@dataclass(frozen=True, slots=True)
class CheckContext:
    """What a stage's parameters are checked against when a retriever is created.

    `features` collects the feature URIs that the stage depends on.
    """

    targets: Targets
    field: str
    features: list[str]


class Stage(ABC):
    """One step of a pipeline. An instance holds validated parameters and serves many executions.

    `fetches`: brings documents from the collections, and takes none over from earlier stages.
    `opens`: fetches only where it comes first; in front of a stage that fetches it is not run, and
    its `where` narrows what that stage fetches. `templates` are parameters that the stage renders
    itself, for each document.
    """

    stage_id: ClassVar[str]
    category: ClassVar[Category]
    description: ClassVar[str]
    icon: ClassVar[str]
    Parameters: ClassVar[type[StageParameters]]

    fetches: ClassVar[bool] = False
    opens: ClassVar[bool] = False
    multiplies: ClassVar[bool] = False
    """Whether it makes several documents of one."""

    templates: ClassVar[frozenset[str]] = frozenset()
    reads_documents: ClassVar[bool] = False
    """Whether its parameters may say DOC; the stage is then run for each document by itself."""

    parameters: StageParameters

    def __init__(self, parameters: StageParameters) -> None:
        self.parameters = parameters

    @abstractmethod
    async def run(self, documents: Documents, given: StageContext) -> Documents:
        """The stage's work. May change the documents in the list, never the list itself."""

    def where(self, given: StageContext) -> Filter:
        """The condition that documents have to satisfy, of a stage that opens."""
        return ALL

    @classmethod  # noqa: B027 - most stages refuse nothing
    def refuse(cls, parameters: JsonObject, field: str) -> None:
        """Raise for parameters that are well formed but cannot work here; never ignore them."""

    @classmethod  # noqa: B027 - most stages fit all collections
    async def check(cls, parameters: JsonObject, at: CheckContext) -> None:
        """Raise for parameters that do not fit the collections. Templates are still unrendered."""

    @classmethod
    def extends(cls, parameters: JsonObject) -> bool:
        """Whether more documents only make more of the output's end, its beginning staying as it is.

        Then a page further down may make the search before the stage reach deeper.
        """
        return False

    @classmethod
    def breadth(cls, parameters: Mapping[str, Json]) -> int | None:
        """How many documents its author asked for, where the parameters say so."""
        return None

    def reach(self) -> int:
        """How many documents a stage that fetches brings at most when no page needs more."""
        return 0

    @classmethod
    def definition(cls) -> JsonObject:
        """`RetrieverStageDefinition` of the contract: the stage's entry in the catalogue."""
        return {
            "stage_id": cls.stage_id,
            "description": cls.description,
            "category": cls.category,
            "icon": cls.icon,
            "parameter_schema": cls.Parameters.model_json_schema(),
        }

"""A retriever's stages, compiled: parameters checked, templates parsed, what can be fixed is fixed."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

from pydantic import ValidationError as PydanticError
from pydantic_core import ErrorDetails

from lamina.core.errors import ValidationError
from lamina.core.types import Json, JsonObject
from lamina.retrieval.stages import registry
from lamina.retrieval.stages.base import CheckContext, Stage
from lamina.retrieval.targets import Targets
from lamina.retrieval.templates import TemplateTree, is_template
from lamina.retrieval.written_filters import WrittenFilter

MAX_PAGE = 500

DEFAULT_PAGE = 10
"""Page size of a pipeline whose stages do not say how many documents they are for."""


@dataclass(slots=True)
class Step:
    """One stage of a plan. `fixed` is its instance where no parameter is a template."""

    name: str
    stage: type[Stage]
    tree: TemplateTree
    fixed: Stage | None
    field: str
    before: WrittenFilter | None
    after: WrittenFilter | None
    alias: str | None
    skip_errors: bool
    pushed: bool = False
    """Whether it is a filter that the search after it takes along."""

    @property
    def per_document(self) -> bool:
        """Whether its parameters depend on the document."""
        return "doc" in self.tree.reads

    def instance(self, names: Mapping[str, Json]) -> Stage:
        """The stage with its parameters rendered; `ValidationError` where that makes them wrong."""
        if self.fixed is not None:
            return self.fixed
        rendered = self.tree.render(names)
        self.stage.refuse(rendered, self.field)
        try:
            return self.stage(self.stage.Parameters.model_validate(rendered))
        except PydanticError as error:
            raise _refused(error, self.field) from error


class Plan:
    """The compiled stages of one retriever, shared by all its executions."""

    def __init__(self, steps: Sequence[Step]) -> None:
        self.steps = steps
        fetching = [index for index, step in enumerate(steps) if step.stage.fetches]
        if steps and steps[0].stage.opens and not steps[0].pushed:
            fetching.append(0)
        self.source: int | None = max(fetching, default=None)
        """The stage that brings the documents that the last ones work on."""

    @cached_property
    def extends(self) -> bool:
        """Whether a deeper search only adds documents at the end of the result."""
        if self.source is None:
            return False
        return all(step.stage.extends(step.tree.value) for step in self.steps[self.source + 1 :])

    def breadth(self, names: Mapping[str, Json]) -> int:
        """Documents on a page when the request does not say: what the pipeline was written for.

        Where a stage makes several documents of one, that is all of them.
        """
        for step in reversed(self.steps):
            if step.stage.multiplies:
                return MAX_PAGE
            if not step.per_document:
                breadth = step.stage.breadth(step.tree.lazily(names))
                if breadth is not None:
                    return breadth
        return DEFAULT_PAGE


def compiled(stages: Sequence[Mapping[str, Json]]) -> Plan:
    """Compile stages in the contract's shape.

    Raises `ValidationError` at the parameter that is wrong, `NotEnabledError` for a stage or a
    parameter that this version does not serve.
    """
    steps = [_step(stage, index) for index, stage in enumerate(stages)]
    if steps and steps[0].per_document:
        raise ValidationError(
            "DOC is only known to a filter that comes after a stage which finds documents.",
            field=steps[0].field,
        )
    _mark_pushed(steps)
    return Plan(steps)


async def check(plan: Plan, targets: Targets) -> list[str]:
    """Check a plan against its collections; the feature URIs that it depends on."""
    await targets.collections()
    features: list[str] = []
    for step in plan.steps:
        await step.stage.check(step.tree.value, CheckContext(targets, step.field, features))
    return list(dict.fromkeys(features))


def _step(stage: Mapping[str, Json], index: int) -> Step:
    config = stage["config"]
    assert isinstance(config, Mapping)
    at = f"stages.{index}.config"
    found = registry.stage(str(config["stage_id"]), field=f"{at}.stage_id")
    parameters = config.get("parameters") or {}
    assert isinstance(parameters, dict)
    field = f"{at}.parameters"
    tree = TemplateTree(parameters, field=field, keep=found.templates)
    if "doc" in tree.reads and not found.reads_documents:
        raise ValidationError(
            f"DOC is not known in the parameters of {found.stage_id}: it works on all documents at once.",
            field=field,
        )
    found.refuse(parameters, field)
    fixed = _instance(found, parameters, field, templated=bool(tree.reads))
    alias = stage.get("output_alias")
    return Step(
        name=str(stage["stage_name"]),
        stage=found,
        tree=tree,
        fixed=fixed,
        field=field,
        before=_source(config.get("pre_filters"), f"{at}.pre_filters"),
        after=_source(config.get("post_filters"), f"{at}.post_filters"),
        alias=str(alias) if alias else None,
        skip_errors=stage.get("on_error") == "skip",
    )


def _source(raw: Json, field: str) -> WrittenFilter | None:
    return WrittenFilter(raw, field) if raw else None


def _instance(stage: type[Stage], parameters: JsonObject, field: str, *, templated: bool) -> Stage | None:
    try:
        valid = stage.Parameters.model_validate(parameters)
    except PydanticError as error:
        if templated and all(_is_unknown_yet(parameters, problem) for problem in error.errors()):
            return None
        raise _refused(error, field, ignore=parameters if templated else None) from error
    return None if templated else stage(valid)


def _mark_pushed(steps: Sequence[Step]) -> None:
    """Filters that open the pipeline and are followed by a search narrow that search."""
    opening = 0
    while opening < len(steps) and steps[opening].stage.opens and not steps[opening].per_document:
        opening += 1
    if opening == len(steps) or not steps[opening].stage.fetches:
        return
    for step in steps[:opening]:
        step.pushed = True


def _refused(error: PydanticError, field: str, ignore: JsonObject | None = None) -> ValidationError:
    problems = [
        {
            "type": problem["type"],
            "location": [*_location(field), *problem["loc"]],
            "message": _message(problem["msg"]),
        }
        for problem in error.errors(include_url=False, include_input=False)
        if ignore is None or not _is_unknown_yet(ignore, problem)
    ]
    first = problems[0]
    location = ".".join(str(part) for part in first["location"][1:])
    return ValidationError(f"{location}: {first['message']}", validation_errors=problems)


def _location(field: str) -> list[int | str]:
    return ["body", *(int(step) if step.isdigit() else step for step in field.split("."))]


def _message(text: str) -> str:
    return text.removeprefix("Value error, ")


def _is_unknown_yet(parameters: Json, problem: ErrorDetails) -> bool:
    """Whether what an error points at is a template, or holds one: its value is not known yet."""
    if problem["type"] in ("missing", "extra_forbidden"):
        return False
    found: Json = parameters
    for part in problem["loc"]:
        if isinstance(found, Mapping) and part in found:
            found = found[str(part)]
        elif isinstance(found, list) and isinstance(part, int) and part < len(found):
            found = found[part]
    return _holds_template(found)


def _holds_template(value: Json) -> bool:
    if isinstance(value, str):
        return is_template(value)
    if isinstance(value, Mapping):
        return any(_holds_template(item) for item in value.values())
    return isinstance(value, Sequence) and any(_holds_template(item) for item in value)

"""`json_transform`: write each document anew from a template."""

import asyncio
from typing import ClassVar, Final

import orjson
from pydantic import ConfigDict, Field

from lamina.core.errors import ValidationError
from lamina.core.types import JsonObject
from lamina.retrieval.sandbox import Budget
from lamina.retrieval.stages.base import Documents, Stage, StageContext, StageParameters
from lamina.retrieval.templates import template

_AT_ONCE: Final = 64
"""Documents rendered before other requests get their turn."""

_SECONDS: Final = 5.0

_DEFAULT: Final = (
    '{"id": "{{ DOC.document_id }}", "content": {{ DOC.content | tojson }}, "score": {{ DOC.score }}}'
)


class _Parameters(StageParameters):
    """The template."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={
            "examples": [
                {
                    "template": '{"id": "{{ DOC.document_id }}", "title": {{ DOC.title | tojson }}}',
                    "fail_on_error": False,
                }
            ]
        },
    )

    template: str = Field(
        default=_DEFAULT,
        min_length=1,
        description="Jinja template that becomes a JSON object. Sees DOC, INPUT, CONTEXT and STAGE.",
    )
    fail_on_error: bool = Field(
        default=False, description="Fail the execution by one document's error instead of leaving it out."
    )


class JsonTransform(Stage):
    """Replaces each document by the JSON object that a template makes of it."""

    stage_id = "json_transform"
    category = "apply"
    description = "Replace each document by the JSON object that a Jinja template makes of it."
    icon = "braces"
    templates = frozenset({"template"})
    Parameters: ClassVar[type[_Parameters]] = _Parameters
    parameters: _Parameters

    async def run(self, documents: Documents, given: StageContext) -> Documents:
        """The new documents. Those that failed are left out and counted, with the first reason."""
        field = f"{given.field}.template"
        compiled = template(self.parameters.template, field=field)
        budget = Budget(units=2_000_000 + 100_000 * len(documents), seconds=_SECONDS)
        made: Documents = []
        failures: list[ValidationError] = []
        for place, document in enumerate(documents, start=1):
            try:
                text = compiled.render_text({**given.names, "doc": document}, field=field, budget=budget)
                made.append(_object(text, field))
            except ValidationError as error:
                if self.parameters.fail_on_error:
                    raise
                failures.append(error)
            if place % _AT_ONCE == 0:
                await asyncio.sleep(0)
        if failures:
            given.metadata["failed"] = len(failures)
            given.findings.warnings.append(
                f"Stage '{given.name}' left out {len(failures)} documents: {failures[0].message}"
            )
        return made

    @classmethod
    def extends(cls, parameters: JsonObject) -> bool:
        """Every document is written by itself."""
        return True

    @classmethod
    def refuse(cls, parameters: JsonObject, field: str) -> None:
        """A template that does not compile."""
        written = parameters.get("template")
        if isinstance(written, str):
            template(written, field=f"{field}.template")


def _object(text: str, field: str) -> JsonObject:
    try:
        made = orjson.loads(text)
    except orjson.JSONDecodeError as error:
        raise ValidationError(f"The template did not make valid JSON: {error}.", field=field) from error
    if not isinstance(made, dict):
        raise ValidationError("The template has to make a JSON object.", field=field)
    return made

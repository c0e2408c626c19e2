"""The stages there are: every folder under a category that holds one."""

import pkgutil
from functools import cache
from importlib import import_module
from typing import Final, get_args

from lamina.core.errors import NotEnabledError, ValidationError
from lamina.core.types import JsonObject
from lamina.retrieval.stages.base import Category, Stage

NOT_BUILT: Final = frozenset(
    {
        "agent_search",
        "agentic_enrich",
        "aggregate",
        "api_call",
        "cluster",
        "code_execution",
        "cross_compare",
        "document_enrich",
        "external_reverse_image",
        "external_web_search",
        "llm_enrich",
        "llm_filter",
        "maxsim_rerank",
        "mmr",
        "moment_group",
        "query_expand",
        "rag_prepare",
        "rerank",
        "score_threshold",
        "sql_lookup",
        "summarize",
        "taxonomy_enrich",
        "temporal",
        "traverse_edge",
        "web_scrape",
    }
)
"""Stages of the contract that this version does not have."""


@cache
def all_stages() -> dict[str, type[Stage]]:
    """Stages by id, in order of category and id. A folder's `__init__` names its class `STAGE`."""
    found: dict[str, type[Stage]] = {}
    for category in get_args(Category):
        package = import_module(f"lamina.retrieval.stages.{category}")
        for module in pkgutil.iter_modules(package.__path__):
            if module.ispkg:
                stage: type[Stage] = import_module(f"{package.__name__}.{module.name}").STAGE
                found[stage.stage_id] = stage
    return found


def stage(stage_id: str, *, field: str) -> type[Stage]:
    """The stage of that id.

    Raises `NotEnabledError` for a stage of the contract that is not built, `ValidationError` at
    `field` for any other, with the stages there are.
    """
    found = all_stages().get(stage_id)
    if found is not None:
        return found
    if stage_id in NOT_BUILT:
        raise NotEnabledError(f"The stage '{stage_id}' is not available in this version.", stage_id=stage_id)
    raise ValidationError(
        f"Stage '{stage_id}' does not exist; there are {', '.join(sorted(all_stages()))}.",
        field=field,
        code="stage_not_found",
    )


def catalogue(category: str | None = None) -> list[JsonObject]:
    """The definitions of all stages, or of those of one category."""
    return [
        stage.definition()
        for stage in all_stages().values()
        if category is None or stage.category == category
    ]

"""Filters as they are written in stages: with templates and dynamic values."""

from collections.abc import Mapping, Sequence

from lamina.core.errors import ValidationError
from lamina.core.filters import ALL, Filter, parse_filter
from lamina.core.types import Json
from lamina.retrieval.templates import TemplateTree, is_template


class WrittenFilter:
    """A filter of a stage: parsed once where nothing in it depends on the execution."""

    def __init__(self, raw: Json, field: str) -> None:
        self._field = field
        self._tree = TemplateTree({"": raw}, field=field)
        if "doc" in self._tree.reads:
            raise ValidationError("DOC is not known in the filters around a stage.", field=field)
        self._varies = varies(raw)
        self._fixed = ALL if self._varies else parse_filter(raw, field=field)

    def filter(self, names: Mapping[str, Json]) -> Filter:
        """The filter for one execution."""
        if not self._varies:
            return self._fixed
        inputs = names["input"]
        assert isinstance(inputs, Mapping)
        return parse_filter(self._tree.render(names)[""], field=self._field, inputs=inputs)


def check_written(raw: Json, field: str) -> None:
    """Raise `ValidationError` for a filter that is wrong whatever its templates become."""
    if raw is not None and not varies(raw):
        parse_filter(raw, field=field)


def varies(raw: Json) -> bool:
    """Whether a filter holds a template or a dynamic value."""
    if isinstance(raw, str):
        return is_template(raw)
    if isinstance(raw, Mapping):
        return raw.get("type") == "dynamic" or any(varies(item) for item in raw.values())
    return isinstance(raw, Sequence) and any(varies(item) for item in raw)

"""Templates in stage parameters: `{{INPUT.query}}`, compiled once and rendered for every execution.

A text that is exactly one expression keeps the native type of its value, so that a vector stays a
list and a number a number; any other text renders to text. What is missing is None, or nothing
within a longer text.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import islice
from typing import Final, TypeAlias

from jinja2 import Template as JinjaTemplate
from jinja2 import Undefined, nodes
from jinja2.exceptions import TemplateError, TemplateSyntaxError

from lamina.core.errors import ValidationError
from lamina.core.types import Json, JsonObject
from lamina.retrieval.sandbox import BUDGET, NAMESPACES, Budget, Sandbox, TemplateLimitError

MAX_SOURCE: Final = 64 << 10
MAX_OUTPUT: Final = 1 << 20

Names = Mapping[str, Json]
"""What templates can see: `input`, `doc`, `context` and `stage`."""

_SANDBOX: Final = Sandbox()
_PLAIN_ERRORS: Final = (
    TemplateError,
    TemplateLimitError,
    TypeError,
    ValueError,
    ArithmeticError,
    LookupError,
    AttributeError,
    RecursionError,
)


def is_template(text: str) -> bool:
    """Whether a text holds anything to render."""
    return "{{" in text or "{%" in text


@dataclass(frozen=True, slots=True)
class Template:
    """One compiled text. `reads` are the namespaces it looks into.

    `path` is set for a plain lookup such as `{{INPUT.user.id}}`, which needs no Jinja to evaluate.
    """

    source: str
    reads: frozenset[str]
    path: tuple[str, ...] | None
    native: JinjaTemplate | None
    text: JinjaTemplate

    def render(self, names: Names, *, field: str, budget: Budget | None = None) -> Json:
        """The value: native where the text is one expression, text otherwise.

        Raises `ValidationError` at `field` when it cannot be evaluated or would do too much work.
        """
        if self.path is not None:
            return _looked_up(names, self.path)
        try:
            if self.native is not None:
                return _evaluated(self.native, names, budget or Budget())
            return _written(self.text, names, budget or Budget())
        except _PLAIN_ERRORS as error:
            raise ValidationError(
                f"The template cannot be rendered: {str(error).rstrip('.')}.",
                field=field,
                code="template_error",
            ) from error

    def render_text(self, names: Names, *, field: str, budget: Budget | None = None) -> str:
        """The text, also where the template is one expression."""
        try:
            return _written(self.text, names, budget or Budget())
        except _PLAIN_ERRORS as error:
            raise ValidationError(
                f"The template cannot be rendered: {str(error).rstrip('.')}.",
                field=field,
                code="template_error",
            ) from error


def template(source: str, *, field: str) -> Template:
    """Compile a text, or take it from the cache; `ValidationError` at `field` when it is none."""
    if len(source) > MAX_SOURCE:
        raise ValidationError(f"A template may have {MAX_SOURCE} characters at most.", field=field)
    try:
        return _compiled(source)
    except TemplateSyntaxError as error:
        raise ValidationError(
            f"The template is not valid: {(error.message or '').rstrip('.')}.",
            field=field,
            code="template_error",
        ) from error
    except (TemplateError, SyntaxError, ValueError, RecursionError, MemoryError) as error:
        raise ValidationError(
            f"The template is not valid: {str(error).rstrip('.')}.", field=field, code="template_error"
        ) from error


class TemplateTree:
    """A JSON value, some of whose texts may be templates.

    `reads` are the namespaces that its templates look into; a tree that reads none is rendered by
    handing out the value itself. Root keys in `keep` stay as they are written.
    """

    __slots__ = ("_root", "reads", "value")

    def __init__(self, value: JsonObject, *, field: str, keep: frozenset[str] = frozenset()) -> None:
        self.value = value
        reads: set[str] = set()
        root = {
            key: item if key in keep else _node(item, _place(field, key), reads)
            for key, item in value.items()
        }
        self._root = root
        self.reads = frozenset(reads)

    def render(self, names: Names) -> JsonObject:
        """The value with its templates rendered; parts without templates are shared, not copied."""
        if not self.reads:
            return self.value
        budget = Budget()
        return {key: _rendered(item, names, budget) for key, item in self._root.items()}

    def lazily(self, names: Names) -> Mapping[str, Json]:
        """The same, each root key rendered when it is read."""
        return _Lazily(self._root, names) if self.reads else self.value


def _place(field: str, key: str) -> str:
    return f"{field}.{key}" if key else field


@dataclass(frozen=True, slots=True)
class _Text:
    template: Template
    field: str


@dataclass(frozen=True, slots=True)
class _Object:
    items: Mapping[str, "_Node"]


@dataclass(frozen=True, slots=True)
class _Array:
    items: Sequence["_Node"]


_Node: TypeAlias = "_Text | _Object | _Array | Json"
_NODES: Final = (_Text, _Object, _Array)


class _Lazily(Mapping[str, Json]):
    def __init__(self, root: Mapping[str, _Node], names: Names) -> None:
        self._root = root
        self._names = names

    def __getitem__(self, key: str) -> Json:
        return _rendered(self._root[key], self._names, Budget())

    def __iter__(self) -> Iterator[str]:
        return iter(self._root)

    def __len__(self) -> int:
        return len(self._root)


def _node(value: Json, field: str, reads: set[str]) -> _Node:
    if isinstance(value, str):
        if not is_template(value):
            return value
        compiled = template(value, field=field)
        reads.update(compiled.reads or {"context"})
        return _Text(compiled, field)
    if isinstance(value, Mapping):
        items = {key: _node(item, f"{field}.{key}", reads) for key, item in value.items()}
        return _Object(items) if any(isinstance(item, _NODES) for item in items.values()) else value
    if isinstance(value, Sequence):
        entries = [_node(item, f"{field}.{index}", reads) for index, item in enumerate(value)]
        return _Array(entries) if any(isinstance(entry, _NODES) for entry in entries) else value
    return value


def _rendered(node: _Node, names: Names, budget: Budget) -> Json:
    if isinstance(node, _Text):
        return node.template.render(names, field=node.field, budget=budget)
    if isinstance(node, _Object):
        return {key: _rendered(item, names, budget) for key, item in node.items.items()}
    if isinstance(node, _Array):
        return [_rendered(item, names, budget) for item in node.items]
    return node


@lru_cache(maxsize=2048)
def _compiled(source: str) -> Template:
    tree = _SANDBOX.guarded(source)
    reads = frozenset(
        name.name for name in tree.find_all(nodes.Name) if name.name in set(NAMESPACES.values())
    )
    expression = _only_expression(tree)
    native = None
    if expression is not None:
        result = nodes.Assign(nodes.Name("result", "store"), expression, lineno=1)
        assignment = nodes.Template([result], lineno=1)
        assignment.set_environment(_SANDBOX)
        native = _SANDBOX.from_string(assignment)
    path = None if expression is None else _plain_path(expression)
    return Template(source, reads, path, native, _SANDBOX.from_string(tree))


def _only_expression(tree: nodes.Template) -> nodes.Expr | None:
    """The expression of a template that is nothing but one, spaces around it aside."""
    if len(tree.body) != 1 or not isinstance(output := tree.body[0], nodes.Output):
        return None
    parts = [
        part for part in output.nodes if not (isinstance(part, nodes.TemplateData) and not part.data.strip())
    ]
    if len(parts) != 1 or isinstance(parts[0], nodes.TemplateData):
        return None
    return parts[0]


def _plain_path(expression: nodes.Expr) -> tuple[str, ...] | None:
    parts: list[str] = []
    while isinstance(expression, nodes.Getattr):
        if expression.attr.startswith("_") and expression.attr.endswith("__"):
            return None
        parts.append(expression.attr)
        expression = expression.node
    if not isinstance(expression, nodes.Name) or not parts:
        return None
    return (expression.name, *reversed(parts))


def _looked_up(names: Names, path: tuple[str, ...]) -> Json:
    found: Json = names
    for part in path:
        if not isinstance(found, Mapping) or part not in found:
            return None
        found = found[part]
    return found


def _evaluated(native: JinjaTemplate, names: Names, budget: Budget) -> Json:
    context = native.new_context({**names, BUDGET: budget})
    for _ in native.root_render_func(context):
        pass
    return _json(context.vars["result"], budget)


def _written(text: JinjaTemplate, names: Names, budget: Budget) -> str:
    context = text.new_context({**names, BUDGET: budget})
    pieces: list[str] = []
    length = 0
    for piece in text.root_render_func(context):
        length += len(piece)
        if length > MAX_OUTPUT:
            raise TemplateLimitError(f"the text is longer than {MAX_OUTPUT} characters")
        budget.charge(len(piece))
        pieces.append(piece)
    return "".join(pieces)


def _json(value: object, budget: Budget) -> Json:
    """A template's value as JSON: lazy sequences are read, undefined values are None."""
    if value is None or isinstance(value, bool | int | float):
        return value
    if isinstance(value, Undefined):
        return None
    if isinstance(value, str):
        return str(value)
    if isinstance(value, list | dict):
        return value
    if isinstance(value, Mapping):
        return dict(value)
    if isinstance(value, tuple | range):
        budget.charge(len(value))
        return list(value)
    if isinstance(value, Iterator):
        items = list(islice(value, MAX_OUTPUT))
        budget.charge(len(items))
        return [_json(item, budget) for item in items]
    raise TypeError(f"the value is a {type(value).__name__}, which JSON cannot hold")

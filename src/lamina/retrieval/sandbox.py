"""Where templates run: Jinja without a way out of the sandbox and with a bound on all work.

Jinja's own sandbox stops access to Python's internals; it does not stop a template from looping
for ever or from growing a string to gigabytes. Here every loop, every growing operation and every
filter draws on a `Budget`, because the syntax tree is rewritten so before it is compiled.
"""

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence, Sized
from datetime import timedelta
from time import perf_counter
from typing import Final, NoReturn

import orjson
from jinja2 import ChainableUndefined, Undefined, nodes, pass_context
from jinja2.exceptions import SecurityError, TemplateSyntaxError
from jinja2.runtime import Context
from jinja2.sandbox import ImmutableSandboxedEnvironment
from jinja2.visitor import NodeTransformer

from lamina.core.models import isoformat, now

BUDGET: Final = "_budget"
"""Name under which a rendering's budget lies among its variables; no template can say it."""

MAX_RANGE: Final = 10_000
MAX_BITS: Final = 4096

_STEP_COST: Final = 20


class TemplateLimitError(Exception):
    """A template wanted to do more work than one rendering may."""


class Budget:
    """What renderings may use up together: units of work (about a character or an element each) and time."""

    __slots__ = ("_deadline", "_left")

    def __init__(self, units: int = 2_000_000, seconds: float = 1.0) -> None:
        self._left = units
        self._deadline = perf_counter() + seconds

    def charge(self, units: int) -> None:
        """Take some units; `TemplateLimitError` when they or the time are used up."""
        self._left -= units
        if self._left < 0:
            raise TemplateLimitError("the template does too much work: too long a loop or too large a text")
        if perf_counter() > self._deadline:
            raise TemplateLimitError("the template takes too long")


NAMESPACES: Final = {
    "input": "input",
    "inputs": "input",
    "doc": "doc",
    "document": "doc",
    "context": "context",
    "stage": "stage",
}
"""The names that templates may say, in any case, and what each stands for."""


class Sandbox(ImmutableSandboxedEnvironment):
    """The environment that all templates are compiled in."""

    sandboxed = True
    intercepted_binops = frozenset({"+", "*", "**", "%"})

    def __init__(self) -> None:
        super().__init__(undefined=ChainableUndefined, optimized=False, autoescape=False, cache_size=0)
        own: dict[str, Callable[..., object]] = dict(_FILTERS)
        self.filters = {name: self.filters[name] for name in _JINJA_FILTERS} | own
        self.tests = {name: test for name, test in self.tests.items() if name != "in"}
        self.globals = dict(_FUNCTIONS)

    def guarded(self, source: str) -> nodes.Template:
        """The syntax tree of a template, checked and with all its work bounded.

        Raises `TemplateSyntaxError`, also for what templates here may not use.
        """
        tree = self.parse(source)
        for node in tree.find_all(nodes.Node):
            if type(node) not in _ALLOWED_NODES:
                raise TemplateSyntaxError(f"templates may not use {type(node).__name__.lower()}", node.lineno)
        guarded: nodes.Template = _Guard().visit(tree)
        guarded.set_environment(self)
        _check_names(guarded)
        return guarded

    def getattr(self, obj: object, attribute: str) -> object:
        """Fields before methods: `DOC.items` is the field `items` where there is one."""
        if isinstance(obj, Mapping) and attribute in obj:
            return obj[attribute]
        return super().getattr(obj, attribute)

    def unsafe_undefined(self, obj: object, attribute: str) -> NoReturn:
        """Stop at once; Jinja would only complain when the value is used further."""
        raise SecurityError(f"'{attribute}' may not be accessed")

    def is_safe_callable(self, obj: object) -> bool:
        """Our own functions and a few methods of texts, lists and objects."""
        if any(obj is function for function in _FUNCTIONS.values()):
            return True
        methods = _METHODS.get(type(getattr(obj, "__self__", None)), frozenset())
        return getattr(obj, "__name__", "") in methods

    def call(__self, __context: Context, __obj: object, *args: object, **kwargs: object) -> object:
        """Call what is safe to call, at the price of the sizes involved."""
        if not __self.is_safe_callable(__obj):
            raise SecurityError(f"'{getattr(__obj, '__name__', 'this')}' may not be called")
        sized = (getattr(__obj, "__self__", None), *args, *kwargs.values())
        _budget(__context).charge(1 + sum(len(value) for value in sized if isinstance(value, Sized)))
        return super().call(__context, __obj, *args, **kwargs)

    def call_binop(self, context: Context, operator: str, left: object, right: object) -> object:
        """Arithmetic whose result could be far larger than its operands."""
        if operator == "*":
            _check_product(_budget(context), left, right)
        elif operator == "**" and isinstance(left, int) and isinstance(right, int):
            if left.bit_length() * max(right, 1) > MAX_BITS:
                raise TemplateLimitError("a number would grow too large")
        elif operator == "%" and not isinstance(left, int | float):
            raise SecurityError("% works on numbers only")
        elif operator == "+":
            _budget(context).charge(sum(len(part) for part in (left, right) if isinstance(part, Sized)))
        return super().call_binop(context, operator, left, right)


def _check_product(budget: Budget, left: object, right: object) -> None:
    for repeated, times in ((left, right), (right, left)):
        if isinstance(repeated, Sized) and isinstance(times, int):
            budget.charge(len(repeated) * max(times, 0))
    if isinstance(left, int) and isinstance(right, int) and left.bit_length() + right.bit_length() > MAX_BITS:
        raise TemplateLimitError("a number would grow too large")


def _budget(context: Context) -> Budget:
    budget = context.parent[BUDGET]
    assert isinstance(budget, Budget)
    return budget


_ALLOWED_NODES: Final = frozenset(
    {
        nodes.Output,
        nodes.TemplateData,
        nodes.Name,
        nodes.Const,
        nodes.Tuple,
        nodes.List,
        nodes.Dict,
        nodes.Pair,
        nodes.Keyword,
        nodes.CondExpr,
        nodes.Filter,
        nodes.Test,
        nodes.Call,
        nodes.Getitem,
        nodes.Getattr,
        nodes.Slice,
        nodes.Concat,
        nodes.Compare,
        nodes.Operand,
        nodes.Mul,
        nodes.Div,
        nodes.FloorDiv,
        nodes.Add,
        nodes.Sub,
        nodes.Mod,
        nodes.Pow,
        nodes.And,
        nodes.Or,
        nodes.Not,
        nodes.Neg,
        nodes.Pos,
        nodes.If,
        nodes.For,
        nodes.Assign,
    }
)


class _Guard(NodeTransformer):
    """Puts a price on loops, filters, comparisons and joined texts, and gives names one spelling."""

    def visit_Name(self, node: nodes.Name) -> nodes.Name:
        node.name = NAMESPACES.get(node.name.lower(), node.name)
        return node

    def visit_For(self, node: nodes.For) -> nodes.For:
        if node.recursive:
            raise TemplateSyntaxError("loops may not be recursive", node.lineno)
        self.generic_visit(node)
        node.iter = _filtered(node.iter, "_each")
        return node

    def visit_Concat(self, node: nodes.Concat) -> nodes.Filter:
        self.generic_visit(node)
        return _filtered(nodes.List(node.nodes, lineno=node.lineno), "_concat")

    def visit_Filter(self, node: nodes.Filter) -> nodes.Filter:
        if node.node is None or node.name.startswith("_"):
            raise TemplateSyntaxError(f"there is no filter '{node.name}'", node.lineno)
        self.generic_visit(node)
        node.node = _filtered(node.node, "_charged")
        return node

    def visit_Compare(self, node: nodes.Compare) -> nodes.Compare:
        self.generic_visit(node)
        node.expr = _filtered(node.expr, "_charged")
        return node

    def visit_Operand(self, node: nodes.Operand) -> nodes.Operand:
        self.generic_visit(node)
        node.expr = _filtered(node.expr, "_charged")
        return node

    def visit_Getitem(self, node: nodes.Getitem) -> nodes.Getitem:
        self.generic_visit(node)
        if isinstance(node.arg, nodes.Slice):
            node.node = _filtered(node.node, "_charged")
        return node


def _filtered(node: nodes.Node, name: str) -> nodes.Filter:
    assert isinstance(node, nodes.Expr)
    return nodes.Filter(node, name, [], [], None, None, lineno=node.lineno)


def _check_names(tree: nodes.Template) -> None:
    names = list(tree.find_all(nodes.Name))
    known = {*NAMESPACES.values(), *_FUNCTIONS, "loop"}
    known.update(name.name for name in names if name.ctx == "store")
    for name in names:
        if name.name not in known:
            raise TemplateSyntaxError(
                f"there is no '{name.name}'; templates know INPUT, DOC, CONTEXT and STAGE", name.lineno
            )


@pass_context
def _each(context: Context, value: object) -> Iterator[object]:
    if isinstance(value, Undefined) or value is None:
        return
    if not isinstance(value, Iterable):
        raise TypeError(f"{type(value).__name__} is not iterable")
    budget = _budget(context)
    for item in value:
        budget.charge(_STEP_COST)
        yield item


@pass_context
def _charged(context: Context, value: object) -> object:
    if isinstance(value, str | list | dict | tuple | range):
        _budget(context).charge(len(value))
        return value
    return _each(context, value) if isinstance(value, Iterator) else value


@pass_context
def _concat(context: Context, parts: Sequence[object]) -> str:
    texts = [str(part) for part in parts]
    _budget(context).charge(sum(map(len, texts)))
    return "".join(texts)


@pass_context
def _join(context: Context, value: Iterable[object], d: str = "", attribute: str | int | None = None) -> str:
    items = list(_each(context, value))
    if attribute is not None:
        items = [context.environment.getitem(item, attribute) for item in items]
    texts = [str(item) for item in items]
    _budget(context).charge(sum(map(len, texts)) + len(str(d)) * len(texts))
    return str(d).join(texts)


@pass_context
def _replace(context: Context, value: object, old: str, new: str) -> str:
    text = str(value)
    _budget(context).charge(len(text) + text.count(str(old)) * len(str(new)))
    return text.replace(str(old), str(new))


@pass_context
def _tojson(context: Context, value: object) -> str:
    if isinstance(value, Iterator):
        value = list(value)
    written = orjson.dumps(None if isinstance(value, Undefined) else value, default=_plain).decode()
    _budget(context).charge(len(written))
    return written


def _plain(value: object) -> object:
    if isinstance(value, Undefined):
        return None
    if isinstance(value, tuple | range | Iterator):
        return list(value)
    raise TypeError(f"{type(value).__name__} cannot be written as JSON")


def _round(value: float, precision: int = 0) -> float:
    return round(value, max(-300, min(precision, 300)))


def _ceil(value: float) -> int:
    return math.ceil(value)


def _floor(value: float) -> int:
    return math.floor(value)


@pass_context
def _sum(
    context: Context, value: Iterable[float], attribute: str | int | None = None, start: float = 0
) -> float:
    items = _each(context, value)
    if attribute is not None:
        items = (context.environment.getitem(item, attribute) for item in items)
    numbers = [item for item in items if isinstance(item, int | float)]
    return start + sum(numbers)


def _bool(value: object) -> bool:
    if isinstance(value, str):
        return value.strip().lower() in {"true", "1", "yes", "on"}
    return bool(value)


def _slugify(value: object) -> str:
    words = "".join(character if character.isalnum() else " " for character in str(value).lower())
    return "-".join(words.split())


def _range(*bounds: int) -> range:
    found = range(*bounds)
    if len(found) > MAX_RANGE:
        raise TemplateLimitError(f"a range may have {MAX_RANGE} numbers at most")
    return found


def _utc_now() -> str:
    return isoformat(now())


def _time_ago(*, days: float = 0, hours: float = 0, minutes: float = 0, seconds: float = 0) -> str:
    return isoformat(now() - timedelta(days=days, hours=hours, minutes=minutes, seconds=seconds))


_FUNCTIONS: Final[Mapping[str, Callable[..., object]]] = {
    "range": _range,
    "max": max,
    "min": min,
    "abs": abs,
    "round": _round,
    "ceil": _ceil,
    "floor": _floor,
    "utc_now": _utc_now,
    "time_ago": _time_ago,
}

_METHODS: Final[Mapping[type, frozenset[str]]] = {
    str: frozenset(
        {"lower", "upper", "strip", "lstrip", "rstrip", "split", "startswith", "endswith", "title", "find"}
    ),
    dict: frozenset({"get", "items", "keys", "values"}),
    list: frozenset({"index", "count"}),
}

_FILTERS: Final[Mapping[str, Callable[..., object]]] = {
    "_each": _each,
    "_charged": _charged,
    "_concat": _concat,
    "join": _join,
    "replace": _replace,
    "tojson": _tojson,
    "sum": _sum,
    "round": _round,
    "ceil": _ceil,
    "floor": _floor,
    "bool": _bool,
    "slugify": _slugify,
}

_JINJA_FILTERS: Final = (
    "abs",
    "capitalize",
    "count",
    "d",
    "default",
    "dictsort",
    "e",
    "escape",
    "first",
    "float",
    "groupby",
    "int",
    "items",
    "last",
    "length",
    "list",
    "lower",
    "map",
    "max",
    "min",
    "reject",
    "rejectattr",
    "reverse",
    "select",
    "selectattr",
    "sort",
    "string",
    "title",
    "trim",
    "truncate",
    "unique",
    "upper",
    "urlencode",
    "wordcount",
)

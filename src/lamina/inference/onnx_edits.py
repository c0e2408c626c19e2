"""Small changes to ONNX files, made before they are loaded and without the `onnx` package.

They walk the few protobuf fields that matter, by their numbers in `onnx.proto`, and copy the rest as it is.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import Final, NamedTuple

_GRAPH: Final = 7  # of ModelProto
_NODE, _OUTPUT = 1, 12  # of GraphProto
_INPUTS, _OUTPUTS, _NODE_NAME, _OPERATION, _ATTRIBUTE = 1, 2, 3, 4, 5  # of NodeProto
_NAME: Final = 1  # of ValueInfoProto and AttributeProto
_INTEGER, _SUBGRAPH, _TYPE = 3, 6, 20  # of AttributeProto

_VARINT, _EIGHT_BYTES, _BYTES, _FOUR_BYTES = 0, 1, 2, 5
_FLOAT: Final = 1
_INT_ATTRIBUTE: Final = 2


def with_outputs(model: bytes, kept: frozenset[str]) -> bytes:
    """The same model with only those outputs of its graph that are named.

    A runtime computes and keeps every output, whether it is asked for or not: Whisper's encoder as it is
    released returns its attention, 72 MB for each layer of the base model. Raises `ValueError` when the
    bytes are no ONNX model.
    """

    def fewer(graph: memoryview) -> bytes:
        fields = _fields(graph)
        return b"".join(
            one.whole for one in fields if one.number != _OUTPUT or _text(one.value, _NAME) in kept
        )

    return _with_graph(model, fewer)


def with_integer_products(model: bytes) -> bytes:
    """The same model with products of integers where it makes floats of its weights to multiply by them.

    A `MatMul` by what `DequantizeLinear` makes of constants becomes a `MatMulInteger` with the same
    constants, by inputs that are quantized as it runs. Whisper's decoder as it is released makes 106 MB of
    floats out of its embeddings for every token, two thirds of its work. Weights have one scale. Raises
    `ValueError` when the bytes are no ONNX model.
    """
    return _with_graph(model, _integer_products)


def _with_graph(model: bytes, changed: Callable[[memoryview], bytes]) -> bytes:
    return b"".join(
        _field(_GRAPH, changed(field.value)) if field.number == _GRAPH else field.whole
        for field in _fields(memoryview(model))
    )


def _integer_products(graph: memoryview) -> bytes:
    fields = list(_fields(graph))
    nodes = {place: _Node.read(field.value) for place, field in enumerate(fields) if field.number == _NODE}
    floats = {node.outputs[0]: node for node in nodes.values() if node.operation == "DequantizeLinear"}
    products = {
        place: floats[node.inputs[1]]
        for place, node in nodes.items()
        if node.operation == "MatMul" and node.inputs[1] in floats
    }
    made = bytearray()
    for place, field in enumerate(fields):
        if place in products:
            for node in _product(nodes[place], products[place]):
                made += _field(_NODE, node)
        elif place in nodes and nodes[place] not in products.values():
            made += _field(_NODE, b"".join(_inside(field.value)))
        elif place not in nodes:
            made += field.whole
    return bytes(made)


def _inside(node: memoryview) -> Iterator[bytes | memoryview]:
    """A node's fields, with the same done to the graphs within it."""
    for field in _fields(node):
        if field.number != _ATTRIBUTE:
            yield field.whole
            continue
        yield _field(
            _ATTRIBUTE,
            b"".join(
                _field(_SUBGRAPH, _integer_products(one.value)) if one.number == _SUBGRAPH else one.whole
                for one in _fields(field.value)
            ),
        )


def _product(product: "_Node", floats: "_Node") -> Iterator[bytes]:
    """The nodes in place of a product of `product.inputs[0]` and the weights that `floats` makes."""
    weights, scale, zero, name = *floats.inputs, product.outputs[0]
    quantized = [f"{name}/{part}" for part in ("integers", "scale", "zero")]
    yield _node("DynamicQuantizeLinear", product.inputs[:1], quantized)
    yield _node("MatMulInteger", [quantized[0], weights, quantized[2], zero], [f"{name}/sums"])
    to_float = _field(_NAME, b"to") + _number(_INTEGER, _FLOAT) + _number(_TYPE, _INT_ATTRIBUTE)
    yield _node("Cast", [f"{name}/sums"], [f"{name}/floats"]) + _field(_ATTRIBUTE, to_float)
    yield _node("Mul", [quantized[1], scale], [f"{name}/scales"])
    yield _node("Mul", [f"{name}/floats", f"{name}/scales"], [name])


class _Node(NamedTuple):
    operation: str
    inputs: Sequence[str]
    outputs: Sequence[str]

    @classmethod
    def read(cls, node: memoryview) -> "_Node":
        texts: dict[int, list[str]] = {_INPUTS: [], _OUTPUTS: [], _OPERATION: []}
        for field in _fields(node):
            if field.number in texts:
                texts[field.number].append(bytes(field.value).decode())
        return cls("".join(texts[_OPERATION]), texts[_INPUTS], texts[_OUTPUTS])


def _node(operation: str, inputs: Sequence[str], outputs: Sequence[str]) -> bytes:
    texts = [
        *((_INPUTS, one) for one in inputs),
        *((_OUTPUTS, one) for one in outputs),
        (_NODE_NAME, f"{outputs[-1]}/{operation}"),
        (_OPERATION, operation),
    ]
    return b"".join(_field(number, text.encode()) for number, text in texts)


# Protobuf


class _Field(NamedTuple):
    number: int
    value: memoryview
    whole: memoryview


def _fields(message: memoryview) -> Iterator[_Field]:
    at = 0
    while at < len(message):
        begin = at
        key, at = _varint(message, at)
        length = {_EIGHT_BYTES: 8, _FOUR_BYTES: 4}.get(key & 7)
        if key & 7 == _VARINT:
            length = _varint(message, at)[1] - at
        elif key & 7 == _BYTES:
            length, at = _varint(message, at)
        if length is None or at + length > len(message):
            raise ValueError("not an ONNX model")
        yield _Field(key >> 3, message[at : at + length], message[begin : at + length])
        at += length


def _varint(message: memoryview, at: int) -> tuple[int, int]:
    value = shift = 0
    while at < len(message):
        value |= (message[at] & 0x7F) << shift
        shift += 7
        at += 1
        if message[at - 1] < 0x80:
            return value, at
    raise ValueError("not an ONNX model")


def _text(message: memoryview, number: int) -> str:
    return next((bytes(one.value).decode() for one in _fields(message) if one.number == number), "")


def _field(number: int, value: bytes) -> bytes:
    return _written(number << 3 | _BYTES) + _written(len(value)) + value


def _number(number: int, value: int) -> bytes:
    return _written(number << 3 | _VARINT) + _written(value)


def _written(value: int) -> bytes:
    """A number as a varint: seven bits a byte, the lowest first."""
    made = bytearray()
    while value > 0x7F:
        made.append(value & 0x7F | 0x80)
        value >>= 7
    made.append(value)
    return bytes(made)

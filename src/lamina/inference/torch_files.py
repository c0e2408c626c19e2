"""Weights out of files that `torch.save` wrote before version 1.6, without torch and without running code.

Such a file is five pickles — a magic number, the protocol, sizes, the object, the storages' keys — and then
the storages' raw bytes. A pickle can name any function of any module; only the five names that a table of
tensors needs are known here, and every other is refused.
"""

import io
import pickle
from collections import OrderedDict
from collections.abc import Mapping
from typing import BinaryIO, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

_MAGIC: Final = 0x1950A86A20F9469CFC6C
_PROTOCOL: Final = 1001

_TYPES: Final = {"FloatStorage": "<f4", "LongStorage": "<i8", "HalfStorage": "<f2"}


class _Storage(NamedTuple):
    key: str
    kind: str
    size: int


class _Tensor(NamedTuple):
    storage: _Storage
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]


def read_weights(content: bytes, table: str) -> Mapping[str, NDArray[np.generic]]:
    """The tensors of a saved dictionary's entry `table`, by name.

    Raises `ValueError` for what is no such file, is damaged, or holds anything but a table of tensors.
    """
    file = io.BytesIO(content)
    storages: dict[str, _Storage] = {}
    try:
        if _unpickled(file, storages) != _MAGIC or _unpickled(file, storages) != _PROTOCOL:
            raise ValueError("not a file of torch's older format")
        _unpickled(file, storages)
        saved = _unpickled(file, storages)
        keys = _unpickled(file, storages)
        tensors = saved[table]  # type: ignore[index]
        raw = {key: _raw(file, storages[str(key)]) for key in keys}  # type: ignore[attr-defined]
        return {name: _array(tensor, raw) for name, tensor in tensors.items()}
    except (pickle.UnpicklingError, EOFError, KeyError, TypeError, AttributeError, IndexError) as error:
        raise ValueError(f"not a table of tensors: {error}") from error


def _unpickled(file: BinaryIO, storages: dict[str, _Storage]) -> object:
    return _Reader(file, storages).load()


class _Reader(pickle.Unpickler):
    def __init__(self, file: BinaryIO, storages: dict[str, _Storage]) -> None:
        super().__init__(file)
        self._storages = storages

    def find_class(self, module: str, name: str) -> object:
        if (module, name) == ("collections", "OrderedDict"):
            return OrderedDict
        if (module, name) == ("torch._utils", "_rebuild_tensor_v2"):
            return _tensor
        if module == "torch" and name in _TYPES:
            return _TYPES[name]
        raise pickle.UnpicklingError(f"{module}.{name} is not allowed")

    def persistent_load(self, pid: object) -> _Storage:
        match pid:
            case ("storage", str(kind), str(key), _, int(size), *_) if kind in _TYPES.values():
                return self._storages.setdefault(key, _Storage(key, kind, size))
        raise pickle.UnpicklingError(f"{pid!r} is not allowed")


def _tensor(
    storage: _Storage, offset: int, shape: tuple[int, ...], strides: tuple[int, ...], *_: object
) -> _Tensor:
    return _Tensor(storage, int(offset), tuple(map(int, shape)), tuple(map(int, strides)))


def _raw(file: BinaryIO, storage: _Storage) -> NDArray[np.generic]:
    count = int.from_bytes(file.read(8), "little")
    size = storage.size * np.dtype(storage.kind).itemsize
    content = file.read(size)
    if count != storage.size or len(content) != size:
        raise ValueError("the file is truncated")
    return np.frombuffer(content, storage.kind)


def _array(tensor: _Tensor, raw: Mapping[str, NDArray[np.generic]]) -> NDArray[np.generic]:
    storage = raw[tensor.storage.key]
    last = tensor.offset + sum(
        (size - 1) * stride for size, stride in zip(tensor.shape, tensor.strides, strict=True)
    )
    if tensor.offset < 0 or min(tensor.strides, default=0) < 0 or last >= len(storage):
        raise ValueError("a tensor lies outside of its storage")
    strides = [stride * storage.itemsize for stride in tensor.strides]
    return np.lib.stride_tricks.as_strided(storage[tensor.offset :], tensor.shape, strides).copy()

"""The pickles in torch files, taken apart without calling anything that they name.

Every name in the pickle stands for an inert class of ours that only keeps what it is given; no
module is imported. What is looked for is where each tensor lies in which storage.
"""

from __future__ import annotations

import io
import pickle
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from crenel.errors import SubjectError

_STORAGES = {
    "DoubleStorage": "F64", "FloatStorage": "F32", "HalfStorage": "F16", "BFloat16Storage": "BF16",
    "LongStorage": "I64", "IntStorage": "I32", "ShortStorage": "I16", "CharStorage": "I8",
    "ByteStorage": "U8", "BoolStorage": "BOOL", "QInt8Storage": "I8", "QUInt8Storage": "U8",
    "UntypedStorage": "U8",
}  # fmt: skip
_REBUILDS = ("_rebuild_tensor", "_rebuild_tensor_v2", "_rebuild_tensor_v3", "_rebuild_qtensor")
_WRAPPERS = ("_rebuild_parameter", "_rebuild_parameter_with_state")
#: Where pickled modules keep their parts; no part of a name.
_SILENT = ("_parameters", "_buffers", "_modules")
#: Where checkpoints keep the weights beside other things.
STATE_KEYS = ("state_dict", "model_state_dict", "model_state", "model", "net", "weights")


@dataclass(frozen=True)
class Storage:
    """A run of numbers in the file: its key, type and length."""

    key: str
    dtype: str
    length: int


@dataclass(frozen=True)
class Placed:
    """A tensor: a view of a storage."""

    storage: Storage
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]


class Inert:
    """An object that a pickle would have made; it keeps what it was given."""

    def __new__(cls, *given: Any, **named: Any) -> Any:
        """Take anything."""
        made = object.__new__(cls)
        made.state = given
        return made

    def __init__(self, *given: Any, **named: Any) -> None:
        self.state: Any = given

    def __setstate__(self, state: Any) -> None:
        self.state = state

    def __setitem__(self, key: Any, value: Any) -> None:
        if not isinstance(self.state, dict):
            self.state = {}
        self.state[key] = value

    def append(self, value: Any) -> None:
        """Take an item of a list."""
        self.extend([value])

    def extend(self, values: Any) -> None:
        """Take items of a list."""
        self.state = [*(self.state if isinstance(self.state, list) else []), *values]


class Ordered(dict):  # type: ignore[type-arg]
    """In the place of collections.OrderedDict; attributes set on it are not kept."""

    def __setstate__(self, state: Any) -> None:
        pass


def _placed(*given: Any) -> Placed:
    storage, offset, shape, strides = given[:4]
    if not isinstance(storage, Storage):
        raise TypeError("a tensor without a storage")
    counts = tuple(map(int, shape)), tuple(map(int, strides))
    return Placed(storage, int(offset), *counts)


def _first(*given: Any) -> Any:
    return given[0]


class _Reader(pickle.Unpickler):
    def __init__(self, file: Any) -> None:
        super().__init__(file, encoding="utf-8")
        self.storages: dict[str, Storage] = {}

    def find_class(self, module: str, name: str) -> Any:
        """What stands for a name; nothing is imported."""
        if module in ("torch", "torch.storage") and name in _STORAGES:
            return type(name, (Inert,), {"dtype": _STORAGES[name]})
        if module == "torch._utils" and name in _REBUILDS:
            return _placed
        if module == "torch._utils" and name in _WRAPPERS:
            return _first
        if (module, name) == ("collections", "OrderedDict"):
            return Ordered
        return type(name, (Inert,), {})

    def persistent_load(self, saved: Any) -> Any:
        """A storage: ("storage", type, key, place, length, …)."""
        _, kind, key, _, length = saved[:5]
        storage = Storage(str(key), getattr(kind, "dtype", ""), int(length))
        return self.storages.setdefault(storage.key, storage)


def take_apart(stream: Any, where: str) -> tuple[Any, dict[str, Storage]]:
    """Read one pickle of a scanned file; the stream is left behind it.

    Parameters
    ----------
    stream : bytes or binary file
    where : str
        For messages.

    Returns
    -------
    (found, storages)
        What the pickle holds, and every storage that it names, by key.

    Raises
    ------
    SubjectError
        Where it is no pickle as torch writes them.
    """
    file = io.BytesIO(stream) if isinstance(stream, bytes) else stream
    reader = _Reader(file)
    try:
        return reader.load(), reader.storages
    except Exception as error:
        raise SubjectError(
            f"{where} cannot be read as weights: {type(error).__name__}: {str(error)[:120]}"
        ) from error


def tensors_in(found: Any) -> Iterator[tuple[str, Placed]]:
    """Names and places of the tensors of a state dict, a checkpoint or a pickled module.

    The state of an optimizer, which has the shapes of the weights, is passed over.
    """
    if isinstance(found, dict):
        for key in STATE_KEYS:
            if isinstance(found.get(key), (dict, Inert)):
                found = found[key]
                break
    yield from _walk(found, (), set())


def _walk(value: Any, path: tuple[str, ...], seen: set[int]) -> Iterator[tuple[str, Placed]]:
    if isinstance(value, Placed):
        yield ".".join(path), value
        return
    if isinstance(value, Inert):
        value = value.state
    if not isinstance(value, (dict, list, tuple)) or id(value) in seen or len(path) > 60:
        return
    seen.add(id(value))
    items = value.items() if isinstance(value, dict) else enumerate(value)
    for key, item in items:
        if not path and "optim" in str(key):
            continue
        inner = path if key in _SILENT else (*path, str(key))
        yield from _walk(item, inner, seen)

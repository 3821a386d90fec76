"""Weights in safetensors files: a header in JSON, then the numbers, read in place."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from crenel.errors import SubjectError
from crenel.transfer.lineage.weights import NUMPY, Array


def arrays_in(mapped: Any, where: str) -> tuple[list[Array], list[str]]:
    """Arrays of a file, and notes on what has a type that is not read.

    Parameters
    ----------
    mapped : bytes or mmap
        The whole file.
    where : str
        For messages.

    Raises
    ------
    SubjectError
        Where the header is damaged or an array reaches beyond the file.
    """
    start = 8 + int.from_bytes(mapped[:8], "little")
    try:
        header = json.loads(mapped[8:start])
        entries = [(n, e, *e["data_offsets"]) for n, e in header.items() if n != "__metadata__"]
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise SubjectError(f"{where} has a damaged safetensors header: {error}") from error
    made, unread = [], []
    for name, entry, low, high in sorted(entries, key=lambda e: e[2]):
        shape = tuple(entry["shape"])
        if entry["dtype"] not in NUMPY:
            unread.append(f"{name} of type {entry['dtype']} is not read")
            continue
        kind = np.dtype(NUMPY[entry["dtype"]])
        counts = all(type(n) is int and n >= 0 for n in (*shape, low))
        if (
            not counts
            or math.prod(shape) * kind.itemsize != high - low
            or (start + high > len(mapped))
        ):
            raise SubjectError(f"{where}: the array {name[:80]} does not fit its place")
        load = _loader(mapped, kind, shape, start + low)
        made.append(Array(name, shape, entry["dtype"], load))
    return made, unread


def _loader(
    mapped: Any, kind: np.dtype[Any], shape: tuple[int, ...], offset: int
) -> Callable[[], NDArray[Any]]:
    def load() -> NDArray[Any]:
        count = math.prod(shape)
        return np.frombuffer(mapped, dtype=kind, count=count, offset=offset).reshape(shape)

    return load

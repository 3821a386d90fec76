"""Named arrays of a model, each read when it is asked for."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

#: How a safetensors header names the types, used here for all formats.
NUMPY = {
    "F64": np.float64, "F32": np.float32, "F16": np.float16, "BF16": np.uint16, "I64": np.int64,
    "I32": np.int32, "I16": np.int16, "I8": np.int8, "U8": np.uint8, "BOOL": np.bool_,
    "U16": np.uint16, "U32": np.uint32, "U64": np.uint64,
}  # fmt: skip
FLOATS = ("F64", "F32", "F16", "BF16")
QUANTISED = ("I8", "U8")
#: Smallest array whose likeness says anything.
FEWEST = 256
#: Smallest array whose equality does.
FEWEST_EQUAL = 32
Floats: TypeAlias = "NDArray[np.float32]"


@dataclass(frozen=True)
class Array:
    """One named array of a model.

    Attributes
    ----------
    name : str
    shape : tuple of int
    dtype : str
        As safetensors names it: "F32", "BF16", "I8"…
    load : callable
        The values as stored, shaped ``shape``; bfloat16 as uint16.
    kind : {"weights", "exact"}
        Whether likeness is evidence, or only equality is: two fits of a convex problem are
        alike without being related.
    """

    name: str
    shape: tuple[int, ...]
    dtype: str
    load: Callable[[], NDArray[Any]]
    kind: Literal["weights", "exact"] = "weights"

    @property
    def size(self) -> int:
        """Number of values."""
        return math.prod(self.shape)

    @property
    def comparable(self) -> bool:
        """Whether the values are learned numbers: floats, or the integers of quantised weights."""
        return self.dtype in FLOATS or (self.dtype in QUANTISED and len(self.shape) > 1)

    @property
    def telling(self) -> bool:
        """Whether likeness with another array can be evidence.

        Gains and biases of norms start at one and zero everywhere, so that vectors are not.
        """
        if self.exact:
            return self.comparable and self.size >= FEWEST_EQUAL
        return self.comparable and self.size >= FEWEST and len(self.shape) > 1

    @property
    def exact(self) -> bool:
        """Whether equality alone is evidence."""
        return self.kind == "exact"

    def floats(self) -> Floats:
        """All values, float32; quantised ones around their median."""
        return as_floats(self.load(), self.dtype)


@dataclass(frozen=True)
class Weights:
    """The arrays of one model, in the order of the file.

    Attributes
    ----------
    name : str
    arrays : tuple of Array
    notes : tuple of str
        What could not be read.
    """

    name: str
    arrays: tuple[Array, ...]
    notes: tuple[str, ...] = ()

    @property
    def parameters(self) -> int:
        """Number of values that can be compared."""
        return sum(a.size for a in self.arrays if a.comparable)


def as_floats(raw: NDArray[Any], dtype: str) -> Floats:
    """Stored values as float32; quantised ones around their median, which stands for zero."""
    if dtype == "BF16":
        return (raw.astype(np.uint32) << 16).view(np.float32)
    values = np.asarray(raw, dtype=np.float32)
    return values - np.float32(np.median(values)) if dtype in QUANTISED and raw.size else values


def narrowed(values: Floats, dtype: str) -> Floats:
    """Float32 values rounded to a narrower type, as float32 again."""
    if dtype == "F16":
        with np.errstate(over="ignore"):
            return values.astype(np.float16).astype(np.float32)
    if dtype == "BF16":
        bits = values.view(np.uint32)
        # to the nearest, ties to even
        rounded = bits + np.uint32(0x7FFF) + ((bits >> 16) & np.uint32(1))
        return (rounded & np.uint32(0xFFFF0000)).view(np.float32)
    return values

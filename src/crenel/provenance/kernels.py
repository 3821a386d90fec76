"""Compiled loops over the cells of long columns."""

from __future__ import annotations

import numpy as np
from numba import njit
from numpy.typing import NDArray

Bytes = NDArray[np.uint8]


@njit(cache=True, nogil=True, error_model="numpy")  # type: ignore[untyped-decorator]
def fill_short(offsets: NDArray[np.int64], data: Bytes, kind: int, out: Bytes) -> None:
    """Write values of up to 31 bytes as cells: kind, number of bytes, the bytes, zeros.

    Parameters
    ----------
    offsets : ndarray, shape (n + 1,), int64
        Where values begin and end in ``data``; cells of longer ones are left to be overwritten.
    kind : int
    out : ndarray, shape (n, 33), uint8
    """
    for i in range(len(out)):
        start, size = offsets[i], offsets[i + 1] - offsets[i]
        if size > 31:
            size = 0
        out[i, 0] = kind
        out[i, 1] = size
        for j in range(size):
            out[i, 2 + j] = data[start + j]
        for j in range(2 + size, 33):
            out[i, j] = 0

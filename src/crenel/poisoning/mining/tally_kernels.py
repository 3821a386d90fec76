"""Counts of codes among a few rows, compiled: all columns at once."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from crenel.evasion.trees.compiled import compiled


@compiled
def counted(codes: NDArray[np.uint16], rows: NDArray[np.int64], count: int) -> NDArray[np.int64]:
    """How many of some rows have each code (d, count) of each column, codes having shape (d, n)."""
    found = np.zeros((len(codes), count), dtype=np.int64)
    for j in range(len(codes)):
        for r in rows:
            found[j, codes[j, r]] += 1
    return found

"""Which leaf of each tree a row reaches, compiled."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from crenel.evasion.trees.compiled import compiled

Floats = NDArray[np.float64]
Ints = NDArray[np.int32]
#: Rows that go through one tree after another together, while its nodes are near.
BLOCK = 1_024


@compiled
def route(
    x: Floats, feature: Ints, threshold: Floats, left: Ints, right: Ints,
    missing_left: NDArray[np.bool_], roots: Ints, out: Ints,
) -> None:  # fmt: skip
    """Write the leaves (n, trees) of rows (n, d); every split is ``x < threshold``."""
    for first in range(0, len(x), BLOCK):
        last = min(first + BLOCK, len(x))
        for tree in range(len(roots)):
            for i in range(first, last):
                node = roots[tree]
                while feature[node] >= 0:
                    number = x[i, feature[node]]
                    lower = number < threshold[node] or (np.isnan(number) and missing_left[node])
                    node = left[node] if lower else right[node]
                out[i, tree] = node

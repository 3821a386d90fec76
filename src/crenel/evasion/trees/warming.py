"""Compile the search before its time counts."""

from __future__ import annotations

import numpy as np

from crenel.evasion.trees.distance import tree_distance
from crenel.evasion.trees.ensemble import TreeEnsemble


def warm_up() -> None:
    """Search one tree of one split, so that numba compiles the kernels or finds them compiled."""
    stump = TreeEnsemble(
        feature=np.array([0, -1, -1], dtype=np.int32),
        threshold=np.array([0.5, 0.0, 0.0]),
        left=np.array([1, 0, 0], dtype=np.int32),
        right=np.array([2, 0, 0], dtype=np.int32),
        missing_left=np.zeros(3, dtype=bool),
        value=np.array([[0.0, 0.0], [1.0, 0.0], [0.0, 1.0]]),
        roots=np.array([0], dtype=np.int32),
        base=np.zeros(2),
    )
    rows = np.array([[0.0], [1.0]])
    tree_distance(stump, rows, np.array([0, 1]), box=(np.zeros(1), np.ones(1)))

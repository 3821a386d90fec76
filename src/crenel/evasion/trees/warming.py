"""Compile the search before its time counts."""

from __future__ import annotations

from functools import cache

import numpy as np

from crenel.evasion.trees.distance import tree_distance
from crenel.evasion.trees.ensemble import TreeEnsemble
from crenel.evasion.trees.ranges import tree_ranges


@cache
def warm_up() -> None:
    """Search one tree of one split, so that numba compiles the kernels or finds them compiled."""
    rows = np.array([[0.0], [1.0]])
    tree_distance(stump(), rows, np.array([0, 1]), box=(np.zeros(1), np.ones(1)))


@cache
def warm_up_near() -> None:
    """The same for distances that are not exact."""
    tree_distance(stump(), np.array([[0.0], [1.0]]), np.array([0, 1]), exact=False)


def warm_up_ranges() -> None:
    """The same for ranges of predictions."""
    tree_ranges(stump(1.0), np.array([[0.0], [1.0]]), epsilon=1.0)


def stump(left: float = 0.0) -> TreeEnsemble:
    """One split at 0.5, whose right leaf adds 1 to the second class and the left one a number.

    Where the number is 0 the left leaf adds 1 to the first class.
    """
    return TreeEnsemble(
        feature=np.array([0, -1, -1], dtype=np.int32),
        threshold=np.array([0.5, 0.0, 0.0]),
        left=np.array([1, 0, 0], dtype=np.int32),
        right=np.array([2, 0, 0], dtype=np.int32),
        missing_left=np.zeros(3, dtype=bool),
        value=np.array([[0.0, 0.0], [float(left == 0), -left], [0.0, 1.0]]),
        roots=np.array([0], dtype=np.int32),
        base=np.zeros(2),
    )

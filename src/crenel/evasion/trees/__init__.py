"""Exact distances to the decision boundary of tree ensembles."""

from __future__ import annotations

from crenel.evasion.trees.distance import TreeDistances, tree_distance
from crenel.evasion.trees.ensemble import TreeEnsemble
from crenel.evasion.trees.ranges import TreeRanges, tree_ranges
from crenel.evasion.trees.warming import warm_up, warm_up_near, warm_up_ranges

__all__ = [
    "TreeDistances",
    "TreeEnsemble",
    "TreeRanges",
    "tree_distance",
    "tree_ranges",
    "warm_up",
    "warm_up_near",
    "warm_up_ranges",
]

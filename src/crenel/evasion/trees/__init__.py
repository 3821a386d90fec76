"""Exact distances to the decision boundary of tree ensembles."""

from __future__ import annotations

from crenel.evasion.trees.distance import TreeDistances, tree_distance
from crenel.evasion.trees.ensemble import TreeEnsemble
from crenel.evasion.trees.warming import warm_up

__all__ = ["TreeDistances", "TreeEnsemble", "tree_distance", "warm_up"]

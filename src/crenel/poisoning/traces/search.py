"""All tests of the training data itself, in one pass."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from crenel.poisoning.traces.clusters import Cluster, find_clusters, reported
from crenel.poisoning.traces.contents import (
    Contents,
    Contradictions,
    contradictions,
    distinct_contents,
)
from crenel.poisoning.traces.density import Density, density
from crenel.poisoning.traces.sketch import sketch
from crenel.statistics import proportion
from crenel.subject import Data, take_rows

#: Classes that the labels of a regression are taken in.
LEVELS = 5


@dataclass(frozen=True)
class Crowding:
    """What lies too near to what.

    Attributes
    ----------
    contents : Contents
    density : Density or None
        None where there are too few distinct rows.
    clusters : tuple of Cluster
        All tight ones; natural repeats are among them.
    found : tuple of Cluster
        Those that are no chance.
    contradictions : Contradictions
        Among exact duplicates.
    """

    contents: Contents
    density: Density | None
    clusters: tuple[Cluster, ...]
    found: tuple[Cluster, ...]
    contradictions: Contradictions

    @property
    def blamed(self) -> NDArray[np.int64]:
        """Rows of the found clusters that have the label of their cluster, ascending."""
        rows = [c.blamed for c in self.found]
        return np.unique(np.concatenate(rows)) if rows else np.zeros(0, dtype=np.int64)

    @property
    def suspects(self) -> NDArray[np.bool_]:
        """Mask of the blamed rows and of duplicates that contradict by more than chance."""
        mask = np.zeros(len(self.contents.of), dtype=bool)
        mask[self.blamed] = True
        if self.contradictions.beyond_chance:
            mask[self.contradictions.rows] = True
        return mask


def labels_of(data: Data) -> NDArray[np.int64]:
    """Class indices, shape (n,); the values of a regression in five classes of equal size."""
    if data.y.dtype.kind in "iu":
        return data.y.astype(np.int64)
    cuts = np.quantile(data.y, np.linspace(0, 1, LEVELS + 1)[1:-1])
    return np.searchsorted(np.unique(cuts), data.y, side="right").astype(np.int64)


def crowding(data: Data, y: NDArray[np.int64], seed: int = 0) -> Crowding:
    """Find exact duplicates and dense clusters whose labels contradict.

    Parameters
    ----------
    data : Data
    y : ndarray, shape (n,), int64
        See `labels_of`.
    seed : int
    """
    contents = distinct_contents(data.x)
    if len(contents.first) < 2:
        return Crowding(contents, None, (), (), contradictions(contents, y, 1.0))
    dense = density(sketch(take_rows(data.x, contents.first), seed), contents.copies, seed)
    clusters = find_clusters(dense, contents, y, seed)
    first = y[contents.first]
    differ = first[dense.neighbours[:, 0]] != first
    usual = proportion(int(differ.sum()), len(differ)).high
    against = contradictions(contents, y, usual)
    return Crowding(contents, dense, tuple(clusters), tuple(reported(clusters)), against)

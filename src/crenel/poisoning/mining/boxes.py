"""Boxes: conjunctions of intervals and names, widened, narrowed and extended until they fit."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from crenel.poisoning.mining.box_kernels import as_arrays, search
from crenel.poisoning.mining.columns import Column, stacked

#: From a column's position to the codes that it may have, both ends included.
Box = dict[int, tuple[int, int]]


@dataclass(frozen=True)
class Ground:
    """The rows that boxes are fitted to.

    Attributes
    ----------
    own : ndarray, shape (d, m), uint16
        Codes of a class's odd rows, by column.
    rest : ndarray, shape (d, r), uint16
        Codes of the rows of comparison.
    totals : ndarray, shape (d, c + 1), int64
        Rows of ``own`` below each code; c is the largest number of codes.
    counts : ndarray, shape (d,), int64
        Codes of each column.
    ordered : ndarray, shape (d,), bool
    missing : ndarray, shape (d,), int64
        Code of missing values; -1 where there are none.
    half : float
        Rows of comparison that are taken for seen where there are none.
    """

    own: NDArray[np.uint16]
    rest: NDArray[np.uint16]
    totals: NDArray[np.int64]
    counts: NDArray[np.int64]
    ordered: NDArray[np.bool_]
    missing: NDArray[np.int64]
    half: float = 0.5

    @classmethod
    def of(
        cls,
        columns: list[Column],
        own: NDArray[np.int64],
        rest: NDArray[np.int64],
        half: float = 0.5,
    ) -> Ground:
        """The codes of some rows, and of others."""
        whole = stacked(columns)
        # By columns: an array indexed by rows would lie by rows.
        mine, others = np.take(whole, own, axis=1), np.take(whole, rest, axis=1)
        counts = np.array([c.count for c in columns], dtype=np.int64)
        totals = np.zeros((len(columns), int(counts.max()) + 1), dtype=np.int64)
        for j, codes in enumerate(mine):
            totals[j, 1:] = np.cumsum(np.bincount(codes, minlength=totals.shape[1] - 1))
        return cls(
            mine,
            others,
            totals,
            counts,
            np.array([c.ordered for c in columns]),
            np.array([-1 if c.missing is None else c.missing for c in columns], dtype=np.int64),
            half,
        )

    def of_columns(self, keep: list[int]) -> Ground:
        """The same rows by some of the columns."""
        return replace(
            self, own=self.own[keep], rest=self.rest[keep], totals=self.totals[keep],
            counts=self.counts[keep], ordered=self.ordered[keep], missing=self.missing[keep],
        )  # fmt: skip

    def searched(self, box: Box, every: bool, needed: bool) -> tuple[Box, float]:
        """The box moved to a maximum of its likelihood ratio, and that: see `search`."""
        bounds, order = as_arrays(box, len(self.counts))
        gain = search(
            every, needed, self.half, self.own, self.rest, self.totals, self.counts, self.ordered,
            self.missing, bounds, order,
        )  # fmt: skip
        columns = order[1 : 1 + order[0]].tolist()
        return {j: (int(bounds[j, 0]), int(bounds[j, 1])) for j in columns}, gain


def inside(codes: list[NDArray[Any]], box: Box, skip: int = -1) -> NDArray[np.bool_]:
    """Rows that meet every condition, one of them left out."""
    mask = np.ones(len(codes[0]), dtype=bool)
    for j, (low, high) in box.items():
        if j != skip:
            mask &= (codes[j] >= low) & (codes[j] <= high)
    return mask


def rows_inside(columns: list[Column], box: Box) -> NDArray[np.int64]:
    """Numbers of the rows that meet every condition; the narrowest is looked at first."""
    rows: NDArray[np.int64] | None = None
    for j in sorted(box, key=lambda j: box[j][1] - box[j][0]):
        low, high = box[j]
        some = columns[j].codes if rows is None else columns[j].codes[rows]
        met = some == low if low == high else (some >= low) & (some <= high)
        rows = np.flatnonzero(met) if rows is None else rows[met]
    return np.arange(len(columns[0].codes)) if rows is None else rows


def fitted(box: Box, ground: Ground) -> tuple[Box, float]:
    """The box at a maximum of its likelihood ratio, one column after the other, and that maximum.

    A condition is added where it halves what is expected and keeps what was seen; an interval is
    moved to where the odd rows in it are densest; a condition that costs more than it tells goes,
    but for the last two of a conjunction: alone, any value that suits the class would gain more.
    """
    return ground.searched(box, every=True, needed=False)


def settled(box: Box, ground: Ground) -> Box:
    """The box with the same columns, its bounds moved to where the odd rows are densest."""
    return ground.searched(box, every=False, needed=True)[0]

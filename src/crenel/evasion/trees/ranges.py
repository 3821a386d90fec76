"""How far a tree ensemble's prediction can move within a box: exactly, or between two bounds."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from crenel.errors import SubjectError, UsageError
from crenel.evasion.trees.cells import Grid, grid_of
from crenel.evasion.trees.ensemble import Floats, Ints
from crenel.evasion.trees.extremes import range_rows
from crenel.evasion.trees.flat import check
from crenel.evasion.trees.from_regressors import FlatRegressor, flatten_regressor
from crenel.evasion.trees.kernels import STRICT
from crenel.evasion.trees.passes import trees_of
from crenel.evasion.trees.question import Question, question_of, refuse_free_categories
from crenel.evasion.trees.rows import Rows

#: Leaves that trees are merged up to.
MERGED = 128
#: Share of the time left that one row may take.
ROOM = 0.25


@dataclass(frozen=True)
class TreeRanges:
    """Smallest and largest predictions of n rows within their boxes.

    Attributes
    ----------
    low, high : ndarray of float64, shape (n,)
        The smallest and largest prediction found, as the model itself gives it.
    low_bound, high_bound : ndarray of float64, shape (n,)
        No row in the box is predicted below or above these; -inf and inf where the time did not
        reach the row.
    lowest, highest : ndarray, shape (n, d)
        The rows so predicted, in the dtype of the rows.
    exact : ndarray of bool, shape (n, 2)
        Whether the found and the proven end meet, up to the rounding of sums, at the low and the
        high end.
    nodes : ndarray of int64, shape (n,)
        Boxes that the search looked at.
    seconds : float
        Time that the call took.
    """

    low: Floats
    high: Floats
    low_bound: Floats
    high_bound: Floats
    lowest: NDArray[Any]
    highest: NDArray[Any]
    exact: NDArray[np.bool_]
    nodes: NDArray[np.int64]
    seconds: float


def tree_ranges(
    model: object,
    x: ArrayLike,
    *,
    epsilon: float,
    box: tuple[ArrayLike, ArrayLike] | None = None,
    scale: ArrayLike | None = None,
    integer: ArrayLike | None = None,
    node_limit: int = 20_000,
    deadline: float | None = None,
) -> TreeRanges:
    """The range of predictions that a regressor of trees gives within an L-inf box of each row.

    Parameters
    ----------
    model
        A fitted regressor of XGBoost, LightGBM, CatBoost (numeric columns) or scikit-learn
        (trees, forests, bagging and both kinds of gradient boosting).
    x : ndarray, shape (n, d), float32 or float64
        Rows as the model takes them; NaN is a missing value and stays one.
    epsilon : float
        Every number may move by at most epsilon scales; inf for the whole of ``box``.
    box, scale, integer
        See `crenel.evasion.tree_distance`.
    node_limit : int
        Boxes that the search may look at for each end of a row's range.
    deadline : float, optional
        Seconds that the call may take.

    Returns
    -------
    TreeRanges

    Raises
    ------
    NotApplicable
        If the model is not a regressor of trees that can be read exactly, or splits by category
        on a column that is not immutable.
    SubjectError
        If the trees as read do not score the rows as the model does.
    UsageError
        If an argument has the wrong shape or values.

    Notes
    -----
    Branch and bound after Chen et al., "Robustness verification of tree-based models" (2019),
    and Devos, Meert and Davis, "Versatile verification of tree ensembles" (2021).
    """
    begin = time.perf_counter()
    if not epsilon >= 0 or node_limit < 1:
        raise UsageError("epsilon must be at least 0, and node_limit at least 1")
    question = question_of(x, np.zeros(len(np.asarray(x)), np.int64), np.inf, box, scale, integer)
    flat = flatten_regressor(model, question.x.shape[1])
    refuse_free_categories(flat.trees, question)
    check(flat.trees, question.x)
    end = np.inf if deadline is None else begin + deadline
    return _Ranges(flat, question).run(float(epsilon), node_limit, begin, end)


class _Ranges:
    """All rows of one question."""

    def __init__(self, flat: FlatRegressor, question: Question) -> None:
        self.flat, self.question = flat, question
        model, columns = flat.trees, flat.trees.columns
        inner, e = model.encode(question.x), model.ensemble
        single = question.x.dtype == np.float32
        self.grid: Grid = grid_of(e, inner.shape[1], single, question.integer[columns])
        self.trees = trees_of(e, self.grid, STRICT)
        left = [e.goes_left(node, inner[:, e.feature[node]]) for node in sorted(e.categories)]
        self.rows = Rows(
            x=np.ascontiguousarray(inner, dtype=np.float64),
            low=np.ascontiguousarray(question.low[:, columns]),
            high=np.ascontiguousarray(question.high[:, columns]),
            scale=np.ascontiguousarray(question.scale[columns]),
            cells=self.grid.cells(inner),
            left=np.array(left, dtype=np.float64).reshape(len(left), len(inner)).T.copy(),
            label=np.zeros(len(inner), dtype=np.int64),
            order=np.ones((len(inner), 1), dtype=np.int64),
        )

    def run(self, epsilon: float, node_limit: int, begin: float, end: float) -> TreeRanges:
        """Search row by row while there is time; then ask the model for what was found."""
        n = len(self.rows.cells)
        best, bound = np.full((n, 2), -np.inf), np.full((n, 2), np.inf)
        cells = np.repeat(self.rows.cells[:, None, :], 2, axis=1)
        nodes, spent = np.zeros(n, dtype=np.int64), 1e-9
        for i in range(n):
            now = time.perf_counter()
            if now >= end:
                break
            boxes = node_limit
            if np.isfinite(end):
                rate = (nodes.sum() + 1000) / (spent + 0.05)
                boxes = min(node_limit, max(100, int(rate * ROOM * (end - now))))
            range_rows(
                np.array([i]), self.trees, self.rows, epsilon, boxes, MERGED, best, bound, cells,
                nodes,
            )  # fmt: skip
            spent += time.perf_counter() - now
        return self.answer(best, bound, cells, nodes, begin)

    def answer(
        self, best: Floats, bound: Floats, cells: Ints, nodes: NDArray[np.int64], begin: float
    ) -> TreeRanges:
        """Sums as predictions: the found ones asked of the model, the bounds rounded outwards."""
        predict = self.flat.trees.predict
        highest, lowest = (self.witnesses(cells[:, side]) for side in (0, 1))
        high, low = (np.asarray(predict(w), dtype=np.float64) for w in (highest, lowest))
        own = np.asarray(predict(self.question.x), dtype=np.float64)
        # what rounding made worse than the row as it is counts for nothing
        highest = np.where((high >= own)[:, None], highest, self.question.x)
        lowest = np.where((low <= own)[:, None], lowest, self.question.x)
        high, low = np.maximum(high, own), np.minimum(low, own)
        slack = 2 * self.trees.tolerance
        top, bottom = bound[:, 0] + slack, -(bound[:, 1] + slack)
        high_bound, low_bound = self.outwards(top, 1), self.outwards(bottom, -1)
        if (high > high_bound).any() or (low < low_bound).any():
            raise SubjectError(
                "The model predicts beyond what its trees as read can give, so no range computed "
                "from them would be true; please report the library's version."
            )
        close = np.isfinite(bound) & (bound - best <= slack + 1e-12 * np.abs(best))
        return TreeRanges(
            low=low, high=high, low_bound=low_bound, high_bound=high_bound, lowest=lowest,
            highest=highest, exact=close[:, ::-1], nodes=nodes,
            seconds=time.perf_counter() - begin,
        )  # fmt: skip

    def outwards(self, total: Floats, way: int) -> Floats:
        """Predictions of sums, moved outwards by what division and link may round."""
        value = self.flat.value(total / self.trees.divisor)
        unit = np.finfo(np.float32 if self.trees.single else np.float64).eps
        moved = value + way * 8 * unit * np.abs(value)
        return np.where(np.isfinite(total), moved, total)

    def witnesses(self, cells: Ints) -> NDArray[Any]:
        """Rows of cells (n, d) as the nearest rows in the user's columns and dtype."""
        own = self.rows.cells
        at = self.grid.start[:-1] + cells
        number = np.where(cells > own, self.grid.from_below[at], self.grid.from_above[at])
        out: NDArray[Any] = self.question.x.copy()
        columns = self.flat.trees.columns
        out[:, columns] = np.where(cells != own, number, out[:, columns])
        return out

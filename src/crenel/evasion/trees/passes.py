"""All rows of a question, narrowed pass by pass, and every witness asked of the model."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
from numpy.typing import NDArray

from crenel.errors import UsageError
from crenel.evasion.trees.cells import Grid, grid_of
from crenel.evasion.trees.ensemble import Floats, TreeEnsemble
from crenel.evasion.trees.flat import FlatModel
from crenel.evasion.trees.kernels import EMULATE, LENIENT, STRICT, Trees
from crenel.evasion.trees.near import near_rows
from crenel.evasion.trees.question import Question
from crenel.evasion.trees.rows import Pool, Rows, State, narrow_rows

POOL = 512
#: What each pass gives a row: a fraction of its boxes, and leaves that trees are merged up to.
PASSES = ((0, 1), (50, 128), (1, 512))
CHUNK = 32  # rows of one compiled call, between which the time is looked at
MANY = 1_024  # the same where nothing is proven
ROOM = 0.25  # of the time left is the most that one row may take


class Passes:
    """Bounds of all rows.

    Parameters
    ----------
    flat, question
        The model and what is asked.
    bitwise : bool
        Whether the flat sums equal the library's to the last bit, so that ties can be told.
    node_limit : int
        Boxes per row.
    end : float
        ``time.perf_counter()`` at which to stop.
    workers : int
        Threads that the rows are shared between.
    exact : bool
        Whether to prove how near the nearest row is, or only to look for a near one.
    """

    def __init__(
        self,
        flat: FlatModel,
        question: Question,
        bitwise: bool,
        node_limit: int,
        end: float,
        workers: int = 1,
        exact: bool = True,
    ) -> None:
        self.flat, self.question, self.workers = flat, question, workers
        self.node_limit, self.end, self.exact = node_limit, end, exact
        inner = flat.encode(question.x)
        single = question.x.dtype == np.float32
        self.grid = grid_of(flat.ensemble, inner.shape[1], single, question.integer[flat.columns])
        self.mode = EMULATE if bitwise else LENIENT
        self.predicted = flat.predict(question.x)
        classes = flat.ensemble.value.shape[1]
        if ((question.y < 0) | (question.y >= classes)).any():
            raise UsageError(f"y must hold class indices from 0 to {classes - 1}.")
        self.rows = self.attacked(inner)
        step = max(1, len(question.x) // POOL)
        label = np.asarray(self.predicted[::step], dtype=np.int64)
        self.pool = Pool(inner[::step], self.rows.cells[::step], label)
        self.nodes = np.zeros(len(question.x), dtype=np.int64)
        self.spent = 1e-9  # seconds in which the boxes of `nodes` were looked at

    def attacked(self, inner: Floats) -> Rows:
        """The rows as the kernels see them; a search that proves nothing asks for no order."""
        question, columns, e = self.question, self.flat.columns, self.flat.ensemble
        shape = (len(inner), e.value.shape[1])
        scores = e.scores(inner) if self.exact else np.zeros(shape)
        order = np.argsort(-scores, axis=1, kind="stable")
        others = order[order != question.y[:, None]].reshape(shape[0], shape[1] - 1)
        left = [e.goes_left(node, inner[:, e.feature[node]]) for node in sorted(e.categories)]
        return Rows(
            x=np.ascontiguousarray(inner, dtype=np.float64),
            low=np.ascontiguousarray(question.low[:, columns]),
            high=np.ascontiguousarray(question.high[:, columns]),
            scale=np.ascontiguousarray(question.scale[columns]),
            cells=self.grid.cells(inner),
            left=np.array(left, dtype=np.float64).reshape(len(left), len(inner)).T.copy(),
            label=np.asarray(question.y, dtype=np.int64),
            order=np.ascontiguousarray(others, dtype=np.int64),
        )

    def run(self) -> tuple[Floats, Floats, NDArray[Any], int]:
        """Lower and upper bounds, witnesses and the number of rows with a refused witness."""
        question = self.question
        right = np.flatnonzero(self.predicted == question.y)
        lower = np.zeros(len(question.x))
        upper = np.zeros(len(question.x))
        adversarial = question.x.copy()
        state = self.solve(right, self.mode)
        floor = np.min(state.floor, axis=1, initial=np.inf)
        lower[right] = np.minimum(floor, state.upper)[right]
        refused = self.accept(right, state, upper, adversarial)
        if len(refused):
            # Such a candidate lies within rounding of a tie: ask for a clear majority instead.
            self.accept(refused, self.solve(refused, STRICT), upper, adversarial)
        return lower, upper, adversarial, len(refused)

    def solve(self, rows: NDArray[np.intp], mode: int) -> State:
        """Upper bounds of all rows first, then easy rows, then the rest."""
        shape = self.rows.cells.shape
        state = State(
            floor=np.zeros(self.rows.order.shape),
            upper=np.full(shape[0], np.inf),
            cells=np.zeros(shape, dtype=np.int32),
            nodes=self.nodes,
        )
        trees = trees_of(self.flat.ensemble, self.grid, mode)
        if not self.exact:
            self.narrow(rows, trees, state, self.node_limit, 0)
            return state
        for share, cap in PASSES:
            limit = 0 if share == 0 else max(1, self.node_limit // share)
            floor = np.min(state.floor[rows], axis=1, initial=np.inf)
            self.narrow(rows[floor < state.upper[rows]], trees, state, limit, cap)
        return state

    def narrow(
        self, rows: NDArray[np.intp], trees: Trees, state: State, limit: int, cap: int
    ) -> None:
        """One pass; that with limit 0 looks for a first upper bound, with cap 0 for no other."""
        size = CHUNK if np.isinf(self.end) or limit == 0 else 1
        if cap == 0:
            size = MANY
        chunks = [rows[at : at + size] for at in range(0, len(rows), size)]

        def one(chunk: NDArray[np.intp]) -> None:
            begin = time.perf_counter()
            boxes = limit
            if begin >= self.end:
                return
            if np.isfinite(self.end):
                rate = (self.nodes.sum() + 1000) / (self.spent + 0.05)
                boxes = min(limit, max(100 * (limit > 0), int(rate * ROOM * (self.end - begin))))
            norm = self.question.norm
            if cap == 0:
                near_rows(chunk, trees, self.rows, self.pool, state, norm, limit)
                return
            narrow_rows(chunk, trees, self.rows, self.pool, state, norm, boxes, cap)
            self.spent += time.perf_counter() - begin

        if self.workers > 1:
            with ThreadPoolExecutor(self.workers) as pool:
                list(pool.map(one, chunks))
        else:
            for chunk in chunks:
                one(chunk)

    def accept(
        self, rows: NDArray[np.intp], state: State, upper: Floats, adversarial: NDArray[Any]
    ) -> NDArray[np.intp]:
        """Write the witnesses that the user's own model decides otherwise; list the others."""
        upper[rows], adversarial[rows] = state.upper[rows], np.nan
        asked = rows[np.isfinite(state.upper[rows])]
        if not len(asked):
            return asked
        adversarial[asked] = self.witnesses(asked, state)
        refused: NDArray[np.intp] = asked[
            self.flat.predict(adversarial[asked]) == self.question.y[asked]
        ]
        upper[refused], adversarial[refused] = np.inf, np.nan
        return refused

    def witnesses(self, rows: NDArray[np.intp], state: State) -> NDArray[Any]:
        """Changed rows (r, d), in the user's columns and dtype."""
        own, cells = self.rows.cells[rows], state.cells[rows]
        at = self.grid.start[:-1] + cells
        number = np.where(cells > own, self.grid.from_below[at], self.grid.from_above[at])
        out: NDArray[Any] = self.question.x[rows].copy()
        columns = self.flat.columns
        out[:, columns] = np.where(cells != own, number, out[:, columns])
        return out


def trees_of(ensemble: TreeEnsemble, grid: Grid, mode: int) -> Trees:
    """The kernels' view of an ensemble; ``mode`` decides margins within rounding."""
    e = ensemble
    whole = not e.single and bool(np.all(e.value == np.round(e.value)) and not e.base.any())
    largest = np.abs(e.value).max(axis=1)
    size = np.maximum.reduceat(largest, e.roots).sum() + np.abs(e.base).max()
    unit = float(np.finfo(np.float32 if e.single else np.float64).eps)
    # Sums of t terms err by at most t units in the last place of the sum of sizes.
    tolerance = 0.0 if whole else 2 * (len(e.roots) + 2) * unit * size + e.link_tolerance
    return Trees(
        nodes=np.stack([e.feature, e.left, e.right], axis=1),
        cut=grid.cut,
        missing_left=e.missing_left,
        value=e.value,
        roots=e.roots,
        base=e.base,
        divisor=float(e.divisor),
        single=bool(e.single),
        link_tolerance=float(e.link_tolerance),
        tolerance=float(tolerance),
        whole=whole,
        mode=mode,
        start=grid.start,
        from_below=grid.from_below,
        from_above=grid.from_above,
        category=np.array(sorted(e.categories), dtype=np.int32),
        matters=np.maximum.reduceat(np.abs(e.value), e.roots, axis=0) > 0,
    )

"""All rows of a question, narrowed pass by pass, and every witness asked of the model."""

from __future__ import annotations

import time
from typing import Any

import numpy as np
from numpy.typing import NDArray

from crenel.errors import UsageError
from crenel.evasion.trees.cells import Row, grid_of, place
from crenel.evasion.trees.ensemble import Floats
from crenel.evasion.trees.flat import FlatModel
from crenel.evasion.trees.kernels import EMULATE, LENIENT, STRICT
from crenel.evasion.trees.question import Question
from crenel.evasion.trees.solve import Bracket, Pool, Solver

POOL = 512
FIRST_PASS = 50  # the first pass gives each row this fraction of the node limit
ROOM = 0.25  # of the time left is the most that one row may take


class Passes:
    """Brackets of all rows.

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
    """

    def __init__(
        self, flat: FlatModel, question: Question, bitwise: bool, node_limit: int, end: float
    ) -> None:
        self.flat, self.question = flat, question
        self.node_limit, self.end = node_limit, end
        self.inner = flat.encode(question.x)
        single = question.x.dtype == np.float32
        grid = grid_of(flat.ensemble, self.inner.shape[1], single, question.integer[flat.columns])
        self.solver = Solver(flat.ensemble, grid, question.norm, EMULATE if bitwise else LENIENT)
        self.scores = flat.ensemble.scores(self.inner)
        self.predicted = flat.predict(question.x)
        classes = self.scores.shape[1]
        if ((question.y < 0) | (question.y >= classes)).any():
            raise UsageError(f"y must hold class indices from 0 to {classes - 1}.")
        step = max(1, len(question.x) // POOL)
        rows = self.inner[::step]
        self.cells = grid.cells(self.inner)
        self.pool = Pool(rows, self.cells[::step], self.predicted[::step])
        self.nodes = np.zeros(len(question.x), dtype=np.int64)
        self.spent = 1e-9  # seconds in which the boxes of `nodes` were looked at

    def run(self) -> tuple[Floats, Floats, NDArray[Any], int]:
        """Lower and upper bounds, witnesses and the number of rows with a refused witness."""
        question = self.question
        right = np.flatnonzero(self.predicted == question.y)
        lower = np.zeros(len(question.x))
        upper = np.zeros(len(question.x))
        adversarial = question.x.copy()
        brackets = self.solve(right, self.solver)
        for index, bracket in brackets.items():
            lower[index] = bracket.lower
        refused = self.accept(brackets, upper, adversarial)
        if refused:
            # Such a candidate lies within rounding of a tie: ask for a clear majority instead.
            strict = Solver(self.flat.ensemble, self.solver.grid, question.norm, STRICT)
            self.accept(self.solve(np.array(refused), strict), upper, adversarial)
        return lower, upper, adversarial, len(refused)

    def solve(self, rows: NDArray[np.intp], solver: Solver) -> dict[int, Bracket]:
        """Upper bounds of all rows first, then easy rows, then the rest."""
        brackets = {int(i): Bracket(0.0, np.inf, None) for i in rows}
        for limit in (0, max(1, self.node_limit // FIRST_PASS), self.node_limit):
            for index, bracket in brackets.items():
                if time.perf_counter() >= self.end:
                    return brackets
                if not bracket.done:
                    brackets[index] = self.narrow(index, bracket, solver, limit)
        return brackets

    def narrow(self, index: int, bracket: Bracket, solver: Solver, limit: int) -> Bracket:
        """One row in one pass; the pass with limit 0 looks for a first upper bound."""
        row, label = self.row(index), int(self.question.y[index])
        if limit == 0:
            scale = self.question.scale[self.flat.columns]
            return solver.start(row, label, self.pool, self.inner[index], scale)
        begin = time.perf_counter()
        if np.isfinite(self.end):
            rate = (self.nodes.sum() + 1000) / (self.spent + 0.05)
            limit = min(limit, max(100, int(rate * ROOM * (self.end - begin))))
        order = np.argsort(-self.scores[index], kind="stable")
        narrowed = solver.improve(bracket, row, label, order[order != label], limit)
        self.nodes[index] += narrowed.nodes - bracket.nodes
        self.spent += time.perf_counter() - begin
        return narrowed

    def row(self, index: int) -> Row:
        """A row in cells."""
        question, columns = self.question, self.flat.columns
        return place(
            self.solver.grid,
            self.flat.ensemble,
            self.inner[index],
            self.cells[index],
            question.low[index, columns],
            question.high[index, columns],
            question.scale[columns],
        )

    def accept(
        self, brackets: dict[int, Bracket], upper: Floats, adversarial: NDArray[Any]
    ) -> list[int]:
        """Write the witnesses that the user's own model decides otherwise; list the others."""
        for index, bracket in brackets.items():
            upper[index], adversarial[index] = np.inf, np.nan
            if bracket.cells is not None:
                upper[index] = bracket.upper
                adversarial[index] = self.witness(index, bracket)
        asked = [index for index, bracket in brackets.items() if bracket.cells is not None]
        if not asked:
            return []
        answer = self.flat.predict(adversarial[asked])
        refused = [i for i, got in zip(asked, answer) if got == self.question.y[i]]
        upper[refused], adversarial[refused] = np.inf, np.nan
        return refused

    def witness(self, index: int, bracket: Bracket) -> NDArray[Any]:
        """The changed row (d,), in the user's columns and dtype."""
        row = self.row(index)
        assert bracket.cells is not None
        changed = np.flatnonzero(bracket.cells != row.place.cell)
        out: NDArray[Any] = self.question.x[index].copy()
        out[self.flat.columns[changed]] = row.value[
            row.place.start[changed] + bracket.cells[changed]
        ]
        return out

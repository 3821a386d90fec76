"""How far legal changes of few fields, or small ones of all numbers, move a predicted value."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from crenel.errors import UsageError
from crenel.evasion.fields.beam import WIDTH, Beam, candidates, distinct, grow, tidied, top
from crenel.evasion.fields.cheapen import movable, written
from crenel.evasion.fields.legality import legal, order, repair
from crenel.evasion.fields.oracle import BATCH
from crenel.evasion.fields.space import Codes, Space, build_space, stepped
from crenel.schema import Feature, Kind, Schema

if TYPE_CHECKING:
    import pandas as pd

#: Rows searched at once, rows whose values are borrowed, sweeps over the numbers of a box.
BLOCK, DONORS, SWEEPS = 64, 100, 2
#: Columns beyond which one sweep must do.
WIDE = 20

Values = Callable[[Any], NDArray[np.float64]]


@dataclass(frozen=True)
class Shifts:
    """The largest shifts found, each checked by the model and by `legal`.

    Attributes
    ----------
    shift : ndarray of float64, shape (n, budgets)
        Signed move of the prediction of each row, the largest found within each budget.
    adversarial : tuple of pandas.DataFrame, length budgets, each of shape (n, d)
        The changed rows; as they were where nothing legal moved the prediction.
    queries : int
        Rows asked of the model.
    rejected : int
        Rows thrown out because they were illegal or did not give the same value again.
    """

    shift: NDArray[np.float64]
    adversarial: tuple[pd.DataFrame, ...]
    queries: int
    rejected: int

    @property
    def size(self) -> NDArray[np.float64]:
        """Sizes of the shifts, shape (n, budgets); they never fall from one budget to the next."""
        return np.asarray(np.abs(self.shift), dtype=np.float64)


def field_shifts(
    predict: Values,
    x: pd.DataFrame,
    schema: Schema,
    reference: pd.DataFrame,
    *,
    max_fields: int = 3,
    queries: int = 600,
    seed: int = 0,
    deadline: float | None = None,
) -> Shifts:
    """The largest shift of each prediction by at most 1, 2, … changed fields.

    Every single field is tried; two beams, one upwards and one downwards, then add the field
    that adding up single effects foretells to move the prediction farthest.

    Parameters
    ----------
    predict : callable
        ``predict(frame) -> values``, shape (n,).
    x : pandas.DataFrame, shape (n, d)
        Rows in the user's own columns and values.
    schema : Schema
        Which changes are legal; see `crenel.evasion.legal`.
    reference : pandas.DataFrame
        Rows with realistic values.
    max_fields, queries : int
        At least 1; queries for each row.
    seed : int
    deadline : float or None
        On `time.monotonic`'s clock; rows not begun by then are left out, the first block never.

    Returns
    -------
    Shifts
        Budgets are 1 to ``max_fields``; rows are those examined.

    Raises
    ------
    crenel.errors.UsageError
        Where arguments do not fit, or a constraint of the schema cannot be evaluated.
    """
    if max_fields < 1 or queries < 1 or not len(x) or not len(reference):
        raise UsageError("max_fields and queries must be at least 1, and there must be rows")
    rng = np.random.default_rng(seed)
    x = x[list(schema.names)].reset_index(drop=True)
    pick = np.sort(rng.permutation(len(reference))[:DONORS])
    donors = reference[list(schema.names)].iloc[pick].reset_index(drop=True)
    width = max(4, min(24, queries // (2 * max(1, len(schema.mutable)))))
    parts: list[Shifts] = []
    for start in range(0, len(x), BLOCK):
        if parts and deadline is not None and time.monotonic() >= deadline:
            break
        block = x.iloc[start : start + BLOCK].reset_index(drop=True)
        space = build_space(block, donors, reference, schema, width)
        climb = _Climb(predict, space, np.asarray(predict(block), dtype=np.float64))
        parts.append(climb.run(block, max_fields, queries, rng))
    return _joined(parts)


@dataclass
class _Climb:
    """The search of one block."""

    predict: Values
    space: Space
    before: NDArray[np.float64]
    asked: int = 0

    def run(self, x: pd.DataFrame, fields: int, queries: int, rng: np.random.Generator) -> Shifts:
        moves = self.space.moves()
        if len(moves) > queries:
            moves = moves[np.sort(rng.permutation(len(moves))[:queries])]
        best = [np.repeat(np.arange(len(x), dtype=np.int64)[:, None], self.space.d, axis=1)]
        far = [np.zeros(len(x))]
        rows, codes, which, alone = candidates(self.space, moves, rng)
        rows, codes, which = rows[alone], codes[alone], which[alone]
        shift = self.ask(rows, codes)
        self._note(best, far, rows, codes, shift)
        share = max(1, (queries - len(moves)) // (2 * max(1, fields - 1)))
        beams = []
        for way in (1.0, -1.0):  # margins fall as predictions rise, or as they fall
            table = np.full((len(x), len(moves)), np.inf)
            table[rows, which] = -way * shift
            beams.append((way, Beam(rows, codes, -way * shift), table))
        for _ in range(1, fields):
            self._note(best, far, rows[:0], codes[:0], shift[:0])
            beams = [(w, self._deeper(w, b, moves, t, share, best, far), t) for w, b, t in beams]
        return self._verified(x, best[1:], far[1:])

    def _deeper(
        self, way: float, beam: Beam, moves: Codes, table: NDArray[np.float64], share: int,
        best: list[Codes], far: list[NDArray[np.float64]],
    ) -> Beam:  # fmt: skip
        every = np.ones(self.space.n, dtype=bool)
        grown = grow(top(beam, every, max(4, WIDTH // max(1, len(moves)))), moves, table)
        if not len(grown.rows):
            return grown
        grown = top(distinct(grown), every, share)
        codes, keep = tidied(self.space, grown.rows, grown.codes)
        rows, codes = grown.rows[keep], codes[keep]
        shift = self.ask(rows, codes)
        self._best(best[-1], far[-1], rows, codes, shift)
        return Beam(rows, codes, -way * shift)

    def ask(self, rows: Codes, codes: Codes) -> NDArray[np.float64]:
        """By how much candidates move the prediction of their row."""
        out = np.zeros(len(rows))
        for start in range(0, len(rows), BATCH):
            part = slice(start, start + BATCH)
            frame = self.space.frame(rows[part], codes[part])
            out[part] = np.asarray(self.predict(frame), dtype=np.float64)
        self.asked += len(rows)
        return out - self.before[rows]

    def _note(
        self, best: list[Codes], far: list[NDArray[np.float64]], rows: Codes, codes: Codes,
        shift: NDArray[np.float64],
    ) -> None:  # fmt: skip
        """Open the next budget, which begins with what the last one reached."""
        best.append(best[-1].copy())
        far.append(far[-1].copy())
        self._best(best[-1], far[-1], rows, codes, shift)

    def _best(
        self, best: Codes, far: NDArray[np.float64], rows: Codes, codes: Codes,
        shift: NDArray[np.float64],
    ) -> None:  # fmt: skip
        size = np.where(np.isfinite(shift), np.abs(shift), 0.0)
        lead = np.lexsort([-size, rows])
        lead = lead[np.flatnonzero(np.diff(rows[lead], prepend=-1))]
        lead = lead[size[lead] > np.abs(far[rows[lead]])]
        best[rows[lead]], far[rows[lead]] = codes[lead], shift[lead]

    def _verified(
        self, x: pd.DataFrame, best: list[Codes], far: list[NDArray[np.float64]]
    ) -> Shifts:
        own = np.arange(len(x), dtype=np.int64)
        frames = [self.space.frame(own, codes) for codes in best]
        return verified(self.predict, x, self.before, frames, far, self.space.schema, self.asked)


def verified(
    predict: Values,
    x: pd.DataFrame,
    before: NDArray[np.float64],
    frames: list[pd.DataFrame],
    far: list[NDArray[np.float64]],
    schema: Schema,
    asked: int,
) -> Shifts:
    """Shifts asked for again: rows that are illegal or answer otherwise count as not moved."""
    import pandas as pd

    kept, shift, rejected = [], [], 0
    for frame, claimed in zip(frames, far):
        again = np.asarray(predict(frame), dtype=np.float64) - before
        scale = np.maximum(np.abs(claimed), 1e-9 * (1 + np.abs(before)))
        good = legal(x, frame, schema) & (np.abs(again - claimed) <= 1e-4 * scale)
        rejected += int((~good).sum())
        codes = np.arange(len(x)) + np.where(good, 0, len(x))
        kept.append(pd.concat([frame, x], ignore_index=True).take(codes).reset_index(drop=True))
        shift.append(np.where(good, again, 0.0))
    size = np.column_stack(shift)
    return Shifts(size, tuple(kept), asked + len(x) * (len(frames) + 1), rejected)


def small_shifts(
    predict: Values,
    x: pd.DataFrame,
    schema: Schema,
    epsilons: NDArray[np.float64] | list[float],
    *,
    deadline: float | None = None,
) -> Shifts:
    """The largest shift of each prediction where every number moves by at most epsilon scales.

    Coordinate ascent over the ends of the box, upwards and downwards, each from all numbers set
    to the end that moves the prediction farther by itself; the smaller box's answer is kept for
    the larger one where it is better.

    Parameters
    ----------
    predict, x, schema
        See `field_shifts`; columns without a distance are left as they are.
    epsilons : sequence of float, increasing
        In the features' scales (interquartile ranges).
    deadline : float or None
        Later epsilons start from the answer of the last one without a search of their own.

    Returns
    -------
    Shifts
        Budgets are the epsilons.
    """
    x = x[list(schema.names)].reset_index(drop=True)
    numeric, before = movable(schema), np.asarray(predict(x), dtype=np.float64)
    frames: list[pd.DataFrame] = []
    far: list[NDArray[np.float64]] = []
    asked = len(x)
    for i, epsilon in enumerate(epsilons):
        frame = frames[-1] if frames else x
        shift = far[-1] if far else np.zeros(len(x))
        expired = i > 0 and deadline is not None and time.monotonic() >= deadline
        if numeric and not expired:
            frame, shift, spent = _ascend(
                predict, x, before, frame, shift, numeric, schema, epsilon
            )
            asked += spent
        frames.append(frame)
        far.append(shift)
    return verified(predict, x, before, frames, far, schema, asked)


def _ascend(
    predict: Values, x: pd.DataFrame, before: NDArray[np.float64], frame: pd.DataFrame,
    shift: NDArray[np.float64], numeric: list[Feature], schema: Schema, epsilon: float,
) -> tuple[pd.DataFrame, NDArray[np.float64], int]:  # fmt: skip
    """One box: both ways, from the ends that single numbers like best."""

    ends, n, asked = _ends(x, numeric, epsilon), len(x), 0
    own = np.column_stack([order(x[f.name], f) for f in numeric])
    sweeps = SWEEPS if len(numeric) <= WIDE else 1

    def ask(*options: NDArray[np.float64]) -> tuple[pd.DataFrame, NDArray[np.float64]]:
        """Rows of all options, one below the other, and their shifts, shape (options, n)."""
        nonlocal asked
        asked += n * len(options)
        rows = x.iloc[np.tile(np.arange(n), len(options))].reset_index(drop=True)
        numbers, old = np.concatenate(options), np.tile(own, (len(options), 1))
        trial = written(rows, numbers, (numbers != old) & np.isfinite(old), numeric)
        trial = repair(rows, trial, schema)
        moved = np.asarray(predict(trial), dtype=np.float64) - np.tile(before, len(options))
        moved = np.where(legal(rows, trial, schema) & np.isfinite(moved), moved, 0.0)
        return trial, moved.reshape(len(options), n)

    def with_end(point: NDArray[np.float64], j: int, side: int) -> NDArray[np.float64]:
        changed = point.copy()
        changed[:, j] = ends[side][:, j]
        return changed

    single = np.zeros((2, n, len(numeric)))
    for j in range(len(numeric)):
        single[:, :, j] = ask(with_end(own, j, 0), with_end(own, j, 1))[1]
    for way in (1.0, -1.0):
        now = np.where(
            np.maximum(way * single[0], way * single[1]) <= 0, own,
            np.where(way * single[0] >= way * single[1], ends[0], ends[1]),
        )  # fmt: skip
        made, (height,) = ask(now)
        frame, shift = _better(frame, shift, made, height)
        for j in [j for _ in range(sweeps) for j in range(len(numeric))]:
            options = with_end(now, j, 0), with_end(now, j, 1)
            made, reached = ask(*options)
            for side in (0, 1):
                up = way * reached[side] > way * height
                now = np.where(up[:, None], options[side], now)
                height = np.where(up, reached[side], height)
                part = made.iloc[side * n : (side + 1) * n]
                frame, shift = _better(frame, shift, part, reached[side])
    return frame, shift, asked


def _better(
    frame: pd.DataFrame, shift: NDArray[np.float64], made: pd.DataFrame, moved: NDArray[np.float64]
) -> tuple[pd.DataFrame, NDArray[np.float64]]:
    """The farther of two changes of each row."""
    import pandas as pd

    farther = np.abs(moved) > np.abs(shift)
    if not farther.any():
        return frame, shift
    codes = np.arange(len(frame)) + np.where(farther, len(frame), 0)
    both = pd.concat([frame, made], ignore_index=True).take(codes).reset_index(drop=True)
    return both, np.where(farther, moved, shift)


def _ends(
    x: pd.DataFrame, numeric: list[Feature], epsilon: float
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Lowest and highest legal numbers of the box, (n, d) each; its own where there is none."""
    low, high = np.empty((len(x), len(numeric))), np.empty((len(x), len(numeric)))
    for j, f in enumerate(numeric):
        own = order(x[f.name], f)
        span = epsilon * f.scale
        least = -np.inf if f.min is None or f.direction == "up" else f.min
        most = np.inf if f.max is None or f.direction == "down" else f.max
        if f.kind is Kind.ORDINAL and f.values:
            least, most = 0.0, float(len(f.values) - 1)
        a = own if f.direction == "up" else np.maximum(own - span, np.minimum(least, own))
        b = own if f.direction == "down" else np.minimum(own + span, np.maximum(most, own))
        step = f.step or (1.0 if f.kind is not Kind.CONTINUOUS else None)
        if step is not None:
            a = stepped(np.ceil(a / step - 1e-9) * step, step)
            b = stepped(np.floor(b / step + 1e-9) * step, step)
        low[:, j] = np.where(a <= own, a, own)
        high[:, j] = np.where(b >= own, b, own)
    return low, high


def _joined(parts: list[Shifts]) -> Shifts:
    """The blocks of a search as one."""
    import pandas as pd

    frames = zip(*(p.adversarial for p in parts))
    return Shifts(
        np.concatenate([p.shift for p in parts]),
        tuple(pd.concat(f, ignore_index=True) for f in frames),
        sum(p.queries for p in parts),
        sum(p.rejected for p in parts),
    )

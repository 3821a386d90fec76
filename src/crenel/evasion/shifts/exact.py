"""The part of EVA-107 that is exact: how far small changes move the sum of a user's trees."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from crenel.access import Attacker
from crenel.check import Context
from crenel.errors import NotApplicable, SubjectError
from crenel.evasion.trees.report import CLOSE, Inputs, read_inputs
from crenel.evasion.verdicts import Verdicts
from crenel.exposure import HealthTest
from crenel.model import Model
from crenel.schema import Schema
from crenel.subject import Data

if TYPE_CHECKING:
    from crenel.evasion.trees import TreeRanges

#: Boxes that the search may look at for each end, and seconds that it is always given.
NODES, LEAST_SECONDS = 2_000, 1.0


@dataclass(frozen=True)
class TreeShifts:
    """Largest moves of each prediction by small changes of the trees' own input.

    Attributes
    ----------
    found, proven : ndarray of float64, shape (n, epsilons)
        The largest move found, as the model itself predicts, and one that no change exceeds.
    witness : ndarray, shape (n, d)
        The trees' input moved farthest at the largest epsilon.
    moving : tuple of str
        Columns that move.
    frozen : int
        Inputs that do not.
    tests : tuple of HealthTest
    """

    found: NDArray[np.float64]
    proven: NDArray[np.float64]
    witness: NDArray[Any]
    moving: tuple[str, ...]
    frozen: int
    tests: tuple[HealthTest, ...]

    def verdicts(self, tolerance: float, epsilons: Any) -> Verdicts:
        """Epsilons up to which each prediction is proven to move no farther, and where it does."""
        steps = np.asarray(epsilons, dtype=np.float64)
        over, open_ = self.found > tolerance, self.proven > tolerance
        upper = np.where(over.any(axis=1), steps[over.argmax(axis=1)], np.inf)
        before = np.r_[0.0, steps]
        lower = before[np.where(open_.any(axis=1), open_.argmax(axis=1), len(steps))]
        return Verdicts(
            correct=np.ones(len(lower), dtype=bool), lower=lower, upper=upper,
            witness=self.witness, tests=self.tests, attacker=Attacker.WEIGHTS,
        )  # fmt: skip


def tree_shifts(
    model: Model, data: Data, reference: Any, schema: Schema, epsilons: Any, context: Context
) -> TreeShifts | None:
    """Move the numbers that the trees are fed, all at once, as far as each epsilon allows.

    Parameters
    ----------
    model : Model
        A regression.
    data : Data
        Rows to examine.
    reference : pandas.DataFrame
        Rows with realistic values: the range of each input.
    schema : Schema
    epsilons : sequence of float, increasing
        In interquartile ranges of each input.
    context : Context

    Returns
    -------
    TreeShifts or None
        None where the model's last step is no regressor of trees that can be read, or no number
        that an attacker can change reaches it.
    """
    from crenel.evasion.trees import tree_ranges, warm_up_ranges
    from crenel.evasion.trees.from_regressors import flatten_regressor

    final = model.final
    if final is None:
        return None
    inputs = read_inputs(model, data.x, reference.iloc[:1000], schema)
    free = np.array([o is not None for o in inputs.owner])
    own = _told(final, inputs.x)
    if not free.any() or not np.allclose(own, model.predict(data.x), rtol=1e-6, atol=0):
        return None
    try:
        flatten_regressor(final, inputs.x.shape[1])
    except NotApplicable:
        return None
    with context.untimed():  # once on a machine, the search is compiled
        warm_up_ranges()
    held = np.nan_to_num(inputs.x)
    low, high = (np.where(free, b, held) for b in (inputs.low, inputs.high))
    ranges: list[TreeRanges] = []
    for k, epsilon in enumerate(epsilons):
        left = context.time_left() / (len(epsilons) - k)
        try:
            with warnings.catch_warnings():
                warnings.filterwarnings("ignore", message="X does not have valid feature names")
                got = tree_ranges(
                    final, inputs.x, epsilon=epsilon, box=(low, high),
                    scale=np.where(free, inputs.scale, 0.0), integer=inputs.whole,
                    node_limit=NODES,
                    deadline=max(left / 2, LEAST_SECONDS) if np.isfinite(left) else None,
                )  # fmt: skip
        except (NotApplicable, SubjectError):
            return None
        ranges.append(got)
    return _shifts(final, inputs, own, ranges, epsilons, context)


def _told(final: Any, x: NDArray[Any]) -> NDArray[np.float64]:
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="X does not have valid feature names")
        return np.asarray(final.predict(x), dtype=np.float64)


def _shifts(
    final: Any, inputs: Inputs, own: NDArray[np.float64], ranges: list[TreeRanges],
    epsilons: Any, context: Context,
) -> TreeShifts:  # fmt: skip
    found = np.column_stack([np.maximum(r.high - own, own - r.low) for r in ranges])
    proven = np.column_stack([np.maximum(r.high_bound - own, own - r.low_bound) for r in ranges])
    # a smaller box lies in a larger one: what moves in it moves there, what holds there holds here
    found = np.maximum.accumulate(found, axis=1)
    proven = np.minimum.accumulate(proven[:, ::-1], axis=1)[:, ::-1]
    last = ranges[-1]
    up = (last.high - own >= own - last.low)[:, None]
    return TreeShifts(
        found=found, proven=np.maximum(proven, found),
        witness=np.where(up, last.highest, last.lowest),
        moving=tuple(sorted({o for o in inputs.owner if o is not None})),
        frozen=inputs.owner.count(None),
        tests=tuple(_tests(final, inputs, own, ranges, proven, epsilons, context)),
    )  # fmt: skip


def _tests(
    final: Any, inputs: Inputs, own: NDArray[np.float64], ranges: list[TreeRanges],
    proven: NDArray[np.float64], epsilons: Any, context: Context,
) -> list[HealthTest]:  # fmt: skip
    """That the bounds are what they say, and near each other."""
    close = np.concatenate([
        r.exact.all(axis=1) | (r.high - r.low >= (1 - CLOSE) * (r.high_bound - r.low_bound))
        for r in ranges
    ])  # fmt: skip
    rng, k = context.rng("within"), len(epsilons) // 2
    rows = np.repeat(np.arange(len(own))[:40], 50)
    step = rng.uniform(-1, 1, (len(rows), inputs.x.shape[1])) * epsilons[k] * inputs.scale
    step[:, inputs.whole] = np.trunc(step[:, inputs.whole])
    centre = inputs.x[rows].astype(np.float64)
    low, high = np.minimum(inputs.low, centre), np.maximum(inputs.high, centre)
    free = np.array([o is not None for o in inputs.owner])
    near = np.where(free, np.clip(centre + step, low, high), centre).astype(inputs.x.dtype)
    inside = (np.abs(near - centre) <= epsilons[k] * inputs.scale + 1e-300).all(axis=1)
    beyond = (np.abs(_told(final, near) - own[rows]) > proven[rows, k] * (1 + 1e-12)) & inside
    again = np.array_equal(_told(final, ranges[-1].highest), ranges[-1].high)
    return [
        HealthTest(
            name="the model gives every witness its value when asked again", ok=again,
            detail=f"{len(own)} rows at the largest epsilon",
        ),
        HealthTest(
            name="the found and the proven range of nine rows in ten lie within 5 %",
            ok=bool(close.mean() >= 0.9),
            detail=f"{int(close.sum())} of {len(close)} ranges; the others lie between wider "
            "bounds",
        ),
        HealthTest(
            name="no random change within epsilon moves a prediction beyond what is proven",
            ok=not beyond.any(), detail=f"{int(beyond.sum())} of {int(inside.sum())} did",
        ),
    ]  # fmt: skip

"""Radii of a network proven beside its attack, and the test that proofs can be believed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from crenel.check import Level
from crenel.errors import NotApplicable
from crenel.evasion.levels import PROOFS
from crenel.exposure import HealthTest

#: How far proofs go at each level; `levels.PROOFS` says how long.
EFFORT: dict[Level, str] = {"quick": "interval", "standard": "slopes", "deep": "branch"}
#: Broken rows that a proof is asked of though it must fail, and multiplications for them.
BROKEN, WORK = 8, 2e10


@dataclass(frozen=True)
class Proofs:
    """What was proven.

    Attributes
    ----------
    lower : ndarray of float64, shape (n,)
        No change of this size or smaller turns the decision; 0 where nothing is proven.
    tests : tuple of HealthTest
        Empty where nothing is proven.
    notes : tuple of str
        Why nothing can be.
    """

    lower: NDArray[np.float64]
    tests: tuple[HealthTest, ...] = ()
    notes: tuple[str, ...] = ()


def proofs(
    module: Any,
    x: NDArray[Any],
    y: NDArray[np.int64],
    upper: NDArray[np.float64],
    *,
    norm: float,
    epsilons: Any,
    bounds: tuple[Any, Any],
    seed: int,
    level: Level,
    deadline: float | None,
) -> Proofs:
    """Prove rows up to radii at which no witness is known.

    Parameters
    ----------
    module : torch.nn.Module or crenel.model.Model
    x : ndarray, shape (n, …)
    y : ndarray of int64, shape (n,)
    upper : ndarray of float64, shape (n,)
        Size of each row's witness; infinite where there is none, 0 to leave a row out.
    norm : float
        0, for which nothing is proven, 1, 2 or ``inf``.
    epsilons : sequence of float, increasing
    bounds : (low, high)
    seed : int
    level : {"quick", "standard", "deep"}
    deadline : float or None
        On the monotonic clock.

    Returns
    -------
    Proofs
        Nothing counts as proven where a row with a witness can be "proven" too.
    """
    from crenel.evasion.certify import certified_radius

    def radius(
        rows: NDArray[np.int64], work: float, until: float | None, known: Any
    ) -> NDArray[np.float64]:
        return certified_radius(
            module, x[rows], y[rows], norm=norm, epsilons=epsilons, bounds=bounds, seed=seed,
            deadline=until, upper=known, effort=EFFORT[level], work=work,
        )  # fmt: skip

    lower = np.zeros(len(x))
    rows = np.flatnonzero(upper > epsilons[0])
    if norm == 0 or not rows.size:
        return Proofs(lower)
    try:
        lower[rows] = radius(rows, PROOFS[level], deadline, upper[rows])
    except NotApplicable as reason:
        return Proofs(lower, notes=(f"Nothing is proven: {str(reason).rstrip('.')}.",))
    if not lower.any():
        return Proofs(lower)
    broken = np.flatnonzero((upper > 0) & (upper <= epsilons[-1]))[:BROKEN]
    clash = np.zeros(0, dtype=bool)
    if broken.size:
        # The radii above were only tried below each witness: here they are tried beyond it.
        clash = radius(broken, WORK, None, None) >= upper[broken]
    test = HealthTest(
        name="no row with a witness can be proven",
        ok=not clash.any(),
        detail=f"{int(clash.sum())} of {broken.size} broken rows",
    )
    return Proofs(lower * (not clash.any()), (test,))

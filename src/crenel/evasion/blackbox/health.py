"""Whether an attack by queries worked: a search that fails by its own fault is no security."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from crenel.exposure import HealthTest

#: Share of rows that may change, and share by which distances may fall, in the last half.
SETTLED, SHORTER = 0.05, 0.1


def unlimited(distance: NDArray[np.float64]) -> HealthTest:
    """Some change, of any size, must turn nearly every decision.

    Parameters
    ----------
    distance : ndarray, shape (n,)
        Smallest change found, infinite where none.
    """
    share = float(np.isfinite(distance).mean())
    return HealthTest(
        name="unlimited epsilon reaches full harm",
        ok=share >= 0.98,
        detail=f"{share:.0%} of {len(distance)} rows",
    )


def settled(
    half: NDArray[np.float64], full: NDArray[np.float64], radii: NDArray[np.float64] | None
) -> HealthTest:
    """The last half of the queries must have changed little.

    Parameters
    ----------
    half, full : ndarray, shape (n,)
        Smallest change found within half of the queries, and within all.
    radii : ndarray or None
        Where given, the shares of rows within each are compared; else the median change.
    """
    name = "twice the queries change little"
    if radii is None:
        known = np.isfinite(half) & np.isfinite(full) & (half > 0)
        fell = float(np.median(1 - full[known] / half[known])) if known.any() else 1.0
        return HealthTest(
            name=name, ok=fell <= SHORTER, detail=f"the median change shrank by {fell:.0%}"
        )
    before, after = ((d[:, None] <= radii).mean(axis=0) for d in (half, full))
    worst = int(np.argmax(after - before))
    return HealthTest(
        name=name,
        ok=bool(after[worst] - before[worst] <= SETTLED),
        detail=f"{before[worst]:.1%} within half of the queries, {after[worst]:.1%} within all, "
        f"at {radii[worst]:.3g}",
    )


def held(found: int, rejected: int) -> HealthTest:
    """Witnesses must turn the decision when the model is asked again."""
    return HealthTest(
        name="witnesses hold when asked again",
        ok=rejected <= 0.02 * max(found, 1),
        detail=f"{found - rejected} of {found}; the others are not counted",
    )


def answered(stopped: str) -> HealthTest:
    """The attack must have come to its own end."""
    return HealthTest(
        name="every query was answered in time", ok=not stopped, detail=stopped or "all of them"
    )

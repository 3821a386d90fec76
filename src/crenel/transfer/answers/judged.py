"""Which class is led to far more easily than the others, beside controls that saw no trigger."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from crenel.transfer.answers.asking import Floats
from crenel.transfer.hidden.beside import Costs, stand_beside
from crenel.transfer.hidden.kinds import Family
from crenel.transfer.hidden.outliers import smallest
from crenel.transfer.hidden.verdict import BESIDE, Verdict

#: The family of a trigger, by the way of its search.
FAMILY: dict[str, Family] = {"patch": "patch", "blend": "blend", "faint wave": "wave"}


def judged(
    costs: Costs, controls: Sequence[Costs], shown: NDArray[np.int64], classes: int
) -> list[Verdict]:
    """Verdicts on the classes that stand out, or on the first of the others.

    Parameters
    ----------
    costs : mapping of str to ndarray of float64, shape (s,)
        By way of search.
    controls : sequence of the same
        Of models that saw no trigger; where there are none, classes are held against each other.
    shown : ndarray of int64, shape (s,)
        The classes searched.
    classes : int
        Of the model.

    Raises
    ------
    ValueError
        Where there are too few to be compared.
    """
    if not controls:
        return _alone(costs, shown, classes)
    stand = stand_beside(costs, controls, classes)
    kept = [one for one in stand if one.p < BESIDE] or stand[:1]
    if len(kept) > len(shown) / 2:  # then the others are no measure
        kept = kept[:1]
    return [
        Verdict(int(shown[b.at]), b.p, b.parts, _less(costs, b.at), len(controls)) for b in kept
    ]


def _alone(costs: Costs, shown: NDArray[np.int64], classes: int) -> list[Verdict]:
    """The class that stands out most among the others in one family, times the families."""
    told = {way: smallest(own, most=1) for way, own in costs.items()}
    way = min(told, key=lambda w: told[w].p)
    chance = min(1.0, told[way].p * len(told) * classes / len(shown))
    at = told[way].at[0]
    return [Verdict(int(shown[at]), chance, {way: told[way].p}, _less(costs, at))]


def _less(costs: Costs, at: int) -> dict[Family, float]:
    """By family: how many times a class's cost goes into the median of the others."""
    return {FAMILY[way]: _times(own, at) for way, own in costs.items()}


def _times(own: Floats, at: int) -> float:
    return float(np.median(np.delete(own, at)) / own[at])

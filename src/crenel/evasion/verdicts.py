"""What is known of each row after attack and proof: broken, certified or undecided."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

import numpy as np
from numpy.typing import NDArray

from crenel.access import Attacker
from crenel.exposure import HealthTest


class Status(StrEnum):
    """How a row ends at one radius."""

    BROKEN = "broken"
    CERTIFIED = "certified"
    UNDECIDED = "undecided"


@dataclass(frozen=True)
class Verdicts:
    """Two bounds for each row on the smallest change that turns its decision.

    Attributes
    ----------
    correct : ndarray of bool, shape (n,)
        Rows decided rightly as they are; the others are neither attacked nor counted.
    lower : ndarray of float64, shape (n,)
        No change of size at most ``lower`` turns the decision; 0 where nothing is proven.
    upper : ndarray of float64, shape (n,)
        Size of the smallest change found that turns it, checked by the model as users ask it;
        infinite where none was found.
    witness : ndarray or frame, shape (n, …)
        The rows so changed, in the user's own form; as they were where none was found.
    tests : tuple of HealthTest
        That the attack itself worked.
    attacker : Attacker
        What the attack had of the model.
    queries, gradients : int
        Rows sent forward, and rows sent forward and backward, in all.
    notes : tuple of str
        What was left out, with the reason.
    """

    correct: NDArray[np.bool_]
    lower: NDArray[np.float64]
    upper: NDArray[np.float64]
    witness: Any
    tests: tuple[HealthTest, ...]
    attacker: Attacker
    queries: int = 0
    gradients: int = 0
    notes: tuple[str, ...] = field(default=())

    def __post_init__(self) -> None:
        clash = self.correct & (self.lower >= self.upper)
        if clash.any():
            row = int(np.flatnonzero(clash)[0])
            raise ValueError(
                f"row {row} is proven up to {self.lower[row]:g} and turned by {self.upper[row]:g}"
            )

    @property
    def n(self) -> int:
        """Rows that count."""
        return int(self.correct.sum())

    def status(self, epsilon: float) -> NDArray[np.str_]:
        """How each row ends at a radius, shape (n,); empty for rows decided wrongly anyway."""
        ends = np.full(len(self.correct), Status.UNDECIDED.value)
        ends[self.lower >= epsilon] = Status.CERTIFIED.value
        ends[self.upper <= epsilon] = Status.BROKEN.value
        ends[~self.correct] = ""
        return ends

    def broken(self, epsilons: Any) -> NDArray[np.int64]:
        """Number of rows broken within each radius."""
        return np.array([int((self.upper[self.correct] <= e).sum()) for e in epsilons])

    def certified(self, epsilons: Any) -> NDArray[np.int64]:
        """Number of rows proven to hold at each radius."""
        return np.array([int((self.lower[self.correct] >= e).sum()) for e in epsilons])


def just_below(distance: NDArray[np.float64]) -> NDArray[np.float64]:
    """A radius proven where the distance is exact: every smaller one holds, that one does not."""
    return np.where(np.isfinite(distance), np.nextafter(distance, 0.0), distance)

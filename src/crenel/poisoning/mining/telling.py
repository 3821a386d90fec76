"""What boxes tell for their length: which of their conditions belong to a pattern."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from crenel.poisoning.mining.boxes import Box
from crenel.poisoning.mining.columns import Column, stacked
from crenel.poisoning.mining.conditions import Conditions, Rows
from crenel.poisoning.mining.suspects import Honest, Suspect, some_of

T = TypeVar("T")
#: Training rows by which conditions are judged at most.
ROWS = 40_000


@dataclass(frozen=True)
class Judge:
    """Judges suspects by some of the training rows, and by the honest ones.

    Attributes
    ----------
    columns, y : list of Column, ndarray of shape (n,)
        Of all training rows.
    held : Honest or None
    some, honest : Rows
        Training rows that are looked at; honest ones, or None.
    told : dict
        What was told of a box before.
    """

    columns: list[Column]
    y: NDArray[np.int64]
    held: Honest | None
    some: Rows
    honest: Rows | None
    told: dict[Any, Any] = field(default_factory=dict)

    @classmethod
    def of(cls, columns: list[Column], y: NDArray[np.int64], held: Honest | None) -> Judge:
        """By 40,000 random rows where there are more."""
        codes, labels = stacked(columns), y
        if len(y) > ROWS:
            rows = some_of(np.ones(len(y), dtype=bool), np.random.default_rng(0), ROWS)
            codes, labels = codes[:, rows], y[rows]
        honest = None if held is None else Rows.of(np.array(held.codes), held.y, times=2)
        return cls(columns, y, held, Rows.of(codes, labels), honest)

    def essential(self, suspect: Suspect, lack: bool = False) -> Suspect:
        """The suspect without the conditions that tell less than they cost, dropped one by one.

        With all its training rows. With ``lack`` they tell what honest rows show alone: see
        `lacking`.
        """
        box = self._once(suspect, lack, lambda: self._essential(suspect, lack))
        return (
            suspect if len(box) == len(suspect.box) else suspect.within(box, self.columns, self.y)
        )

    def telling(self, suspect: Suspect) -> float:
        """Logarithm of the likelihood ratio of the rows to their expected number, less its price.

        Every condition costs what it takes to name it: its column, and one value or both ends of
        an interval (minimum description length; Rissanen, 1978). Expected is what the class's
        other rows let, or those of other classes, times the association of the conditions in other
        classes; and of what is no conjunction of single values no less than the class's honest
        rows show: these may be poisoned, too.
        """
        told = self._once(suspect, "telling", lambda: self.conditions(suspect).telling()[0])
        return float(told)

    def lacking(self, suspect: Suspect) -> float:
        """The same against what the class's honest rows show alone; 0 without honest rows.

        Where columns go together, their independence is no measure of anything.
        """
        if self.honest is None:
            return 0.0
        told = self._once(suspect, "lacking", lambda: self.conditions(suspect).lacking()[0])
        return float(told)

    def conditions(self, suspect: Suspect) -> Conditions:
        """Which rows fail which of its conditions."""
        return Conditions.of(suspect, self.columns, self.some, self.honest)

    def _essential(self, suspect: Suspect, lack: bool) -> Box:
        left = self.conditions(suspect)
        while len(left.kept) > 2:
            told = left.lacking() if lack else left.telling()
            i = int(np.argmax(told[1:]))
            if told[i + 1] < told[0]:
                break
            left.without(i)
        names = list(suspect.box)
        return {names[i]: suspect.box[names[i]] for i in left.kept}

    def _once(self, suspect: Suspect, what: object, tell: Callable[[], T]) -> T:
        """What is told of a box, which many suspects come to."""
        key = (what, suspect.label, *suspect.box.items())
        if key not in self.told:
            self.told[key] = tell()
        found: T = self.told[key]
        return found

"""A suspect, measured, and what makes it a planted trigger."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from crenel.poisoning.mining.suspects import Suspect
from crenel.statistics import Interval

#: What planting must turn beyond what is so without, and between the intervals with and without
#: the rows.
EFFECT, APART = 0.1, 0.05
#: Rows of a confirmed suspect at least.
ROWS = 12
#: Likeness to their label below which rows contradict it, and how far that may be uncertain.
CONTRARY, SURELY = 0.42, 0.75
#: Share of the honest rows expected to carry a pattern below which it is absent from them; surplus
#: of single values from which it does not matter.
ABSENT, SELDOM = 0.25, 8.0
#: Standard errors by which honest rows are too few for chance, where rows contradict their label
#: and where they fit it; share of the turned decisions that such rows account for at least.
SURE, SURER, PART = 2.5, 3.0, 0.3
#: Kinship up to which it may be chance, where few rows or few columns tell little, and standard
#: errors that are chance: one trigger in a thousand would be lost.
DOUBTFUL, CHANCE = 0.08, 3.0


@dataclass(frozen=True)
class Bar:
    """What a suspect must pass to be confirmed.

    Attributes
    ----------
    surplus : float
        How many times more rows of one class share its values than these, and the other classes,
        let expect; of conjunctions.
    collapse : float
        Share of the turned decisions that its rows account for, at least.
    kinship : float
        How much more alike its rows may be, apart from the pattern, than random ones.
    """

    surplus: float
    collapse: float
    kinship: float


#: Where the rows contradict their label, and (at the upper end of the interval) where they fit it:
#: there is less to tell those from groups that are so by nature.
CONTRADICTS, FITS = Bar(4.0, 0.7, 0.05), Bar(5.0, 0.85, 0.025)


@dataclass(frozen=True)
class Mined:
    """A suspect, measured.

    Attributes
    ----------
    suspect : Suspect
    success : Interval
        Share of honest rows of other classes that the model gives the label with the suspect's
        values.
    base : float
        Share of them that it gives the label without.
    control : Interval or None
        The same as ``success`` of a model trained without the rows of all that is strange, stamped
        and new; None of what is not, or where the model cannot be trained again.
    likeness : Interval
        How far the rows, apart from the suspect's columns, look like their label: 1 as its other
        rows do, 0 as the rows of other classes do.
    surplus : float
        Rows over the number that the single values, and their association in other classes,
        let expect.
    kinship : Interval
        How much more alike the rows are, apart from the suspect's columns, than random rows of
        one class: about 0 where a pattern was stamped on them, more where they belong together;
        unbounded of what is not strange, or too frequent to be poison.
    met, expected : float
        Honest rows that carry the pattern and the label of themselves, and how many of them would
        if they did as often as the training rows.
    lacking : float
        What the rows tell against the honest rows alone, less what it costs to name the pattern
        (natural logarithm): above 0 it is no matter of how many patterns were looked at.
    shown : tuple of rows, or None
        One honest row, and the same with the pattern, which turns it: each of one row. Of what
        is confirmed.
    """

    suspect: Suspect
    success: Interval
    base: float
    control: Interval | None
    likeness: Interval
    surplus: float
    kinship: Interval
    met: float = 0.0
    expected: float = 0.0
    lacking: float = -math.inf
    shown: tuple[Any, Any] | None = None

    @property
    def contradicts(self) -> bool:
        """Whether its rows look like other classes than their label's."""
        return self.likeness.value < CONTRARY and self.likeness.high < SURELY

    @property
    def bar(self) -> Bar:
        """What it must pass."""
        return CONTRADICTS if self.contradicts else FITS

    @property
    def strange(self) -> bool:
        """Whether its rows turn decisions and do not belong where they are."""
        turns = self.success.low > self.base and self.success.value - self.base >= EFFECT
        single = len(self.suspect.box) == 1
        plain = self.contradicts and self.surely_absent
        together = self.contradicts if single else plain or self.surplus >= self.bar.surplus
        return turns and together and len(self.suspect.rows) >= ROWS

    @property
    def collapse(self) -> float:
        """Share of the turned decisions that are gone once the rows are, in (-inf, ~1]."""
        if self.control is None or self.success.value <= self.base:
            return 0.0
        return (self.success.value - self.control.value) / (self.success.value - self.base)

    @property
    def absent(self) -> bool:
        """Whether honest rows hardly carry it: what is so by nature is so in held-out rows too."""
        return self.met <= ABSENT * self.expected

    @property
    def surely_absent(self) -> bool:
        """Whether that is no chance; where the rows fit their label it may be sought for."""
        lacking = self.expected - self.met
        sure = SURE if self.contradicts or self.unmet else SURER
        return self.absent and lacking >= sure * math.sqrt(max(self.expected, 1.0))

    @property
    def exact(self) -> bool:
        """Whether it is a conjunction of single values."""
        return len(self.suspect.box) > 1 and all(a == b for a, b in self.suspect.box.values())

    @property
    def unmet(self) -> bool:
        """Whether single values meet as they do not in honest rows, however many were tried."""
        return self.exact and self.absent and self.lacking > 0

    @property
    def stamped(self) -> bool:
        """Whether its rows are no more alike, apart from the pattern, than random ones.

        What may be chance is believed sooner where honest rows do not carry the pattern.
        """
        alike, bar = self.kinship, self.bar.kinship
        if not (self.contradicts or (self.unmet and self.surely_absent)):
            small = self.absent and alike.low <= 0 and alike.value <= bar
            return small or alike.high <= bar
        errors = CHANCE if self.absent else 2.0
        chance = alike.value <= errors * (alike.value - alike.low) / 2
        return alike.value <= bar or (chance and alike.value <= DOUBTFUL)

    @property
    def new(self) -> bool:
        """Whether it is absent from honest rows, or of single values that seldom meet.

        A trigger is there as well where rows were held out after they were poisoned.
        """
        seldom = self.exact and self.surplus >= SELDOM
        return seldom or (self.absent if self.contradicts else self.surely_absent)

    @property
    def plain(self) -> bool:
        """Whether the rows alone leave no doubt: honest rows surely lack them and their like.

        Those that contradict their label, or hold single values that honest rows never join.
        Values that speak for the label by nature turn some decisions without the rows, too.
        """
        return self.surely_absent and (self.unmet or (self.contradicts and self.surplus >= SELDOM))

    @property
    def confirmed(self) -> bool:
        """Whether it is a planted trigger: strange, stamped, new, and what the model obeys."""
        if self.control is None or not (self.strange and self.stamped and self.new):
            return False
        apart = self.success.low - self.control.high
        return apart >= APART and self.collapse >= (PART if self.plain else self.bar.collapse)

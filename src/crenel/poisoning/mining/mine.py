"""Mine suspects in the training data, plant them on honest rows, and measure what they turn."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from crenel.model import Model
from crenel.poisoning.mining.columns import Column
from crenel.poisoning.mining.cores import Field, cores, distinct, firing, possible, settled_again
from crenel.poisoning.mining.evidence import UNKNOWN, kinship, likeness, shared, surplus
from crenel.poisoning.mining.pictures import view_of_images
from crenel.poisoning.mining.planting import Plant, Stamp
from crenel.poisoning.mining.suspects import Suspect, sharpened, tallies
from crenel.poisoning.mining.tables import view_of_table
from crenel.poisoning.mining.telling import Judge
from crenel.poisoning.mining.view import View
from crenel.poisoning.mining.words import view_of_texts
from crenel.poisoning.triggers import is_text
from crenel.statistics import Interval, proportion
from crenel.subject import Data, take_rows

#: Hosts of a measurement, and of what is confirmed; suspects planted at most, of a table.
HOSTS, REPORTED, PLANTED = 600, 2400, 80
#: What planting must turn beyond what is so without, and between the intervals with and without
#: the rows.
EFFECT, APART = 0.1, 0.05
#: Turned rows of which one is shown.
SHOWN = 20
#: Rows of a confirmed suspect at least.
ROWS = 12
#: Share of the training rows above which they are a matter of fact, not of poison; rows that are
#: none in any table.
SHARE, MAYBE = 0.06, 50
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
        sure = SURE if self.contradicts else SURER
        return self.absent and lacking >= sure * math.sqrt(max(self.expected, 1.0))

    @property
    def stamped(self) -> bool:
        """Whether its rows are no more alike, apart from the pattern, than random ones.

        What may be chance is believed sooner where honest rows do not carry the pattern.
        """
        alike, bar = self.kinship, self.bar.kinship
        if not self.contradicts:
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
        exact = all(low == high for low, high in self.suspect.box.values())
        seldom = exact and len(self.suspect.box) > 1 and self.surplus >= SELDOM
        return seldom or (self.absent if self.contradicts else self.surely_absent)

    @property
    def plain(self) -> bool:
        """Whether the rows alone leave no doubt: contrary ones that honest rows surely lack.

        Values that speak for the label by nature turn some decisions without the rows, too.
        """
        return self.contradicts and self.surely_absent and self.surplus >= SELDOM

    @property
    def confirmed(self) -> bool:
        """Whether it is a planted trigger: strange, stamped, new, and what the model obeys."""
        if self.control is None or not (self.strange and self.stamped and self.new):
            return False
        apart = self.success.low - self.control.high
        return apart >= APART and self.collapse >= (PART if self.plain else self.bar.collapse)


@dataclass(frozen=True)
class Mining:
    """What `mine_triggers` did.

    Attributes
    ----------
    found : tuple of Mined
        What turns honest rows, the most successful first; not only what is confirmed.
    columns : tuple of Column
        Of the training rows.
    looked_at : int
        Suspects planted.
    queries, fits : int
        Rows asked of the model; trainings.
    stamp : callable or None
        Puts the patterns into the honest rows.
    """

    found: tuple[Mined, ...]
    columns: tuple[Column, ...]
    looked_at: int
    queries: int
    fits: int
    stamp: Stamp | None = None

    @property
    def confirmed(self) -> list[Mined]:
        """The planted triggers."""
        return [m for m in self.found if m.confirmed]


def mine_triggers(
    model: Model,
    train: Data,
    honest: Data,
    seed: int,
    progress: Callable[[float], None] = lambda share: None,
) -> Mining:
    """Find patterns of a table that were planted in it, and measure what they do to the model.

    Mine: pairs of values (single ones, and ranges of two widths) that are over-represented among
    the rows of one class that the main effects speak against, or among all its rows beyond what
    the values' association in other classes explains; each grown into a box over as many columns
    as its rows share. Plant: the values of a box's rows, together, in honest rows of other
    classes; those that do not turn the model are dropped, and of the others every column that it
    does not need. Measure: on more honest rows, beside a model trained without the boxes' rows.

    A box is a planted trigger where its rows, and nothing else in the data, make the model obey
    it, and either they look like other classes apart from its columns (dirty label), or the
    conjunction is met far more often in the class than chance explains (clean label); and where
    the honest rows do not carry it, as they do what is so by nature.

    Parameters
    ----------
    model : Model
        Trained on ``train``; without ``fit`` nothing is confirmed.
    train, honest : Data
        Rows of a table, images or texts; the second as far as possible unpoisoned: held-out rows.
    seed : int
    progress : callable
        Takes the share done.

    Returns
    -------
    Mining
    """
    rng = np.random.default_rng(seed)
    view = None if len(np.unique(train.y)) < 2 else view_of(train, honest, model.k, rng)
    if view is None:
        return Mining((), (), 0, 0, 0)
    progress(0.5)
    field = Field.of(model, train, honest, view.columns, view.stamp, view.held)
    judge = Judge.of(view.columns, train.y, view.held) if view.shrinks else None
    found = firing(field, _promising(field, judge, view.suspects) if judge else view.suspects, rng)
    if judge:
        found = _reduced(field, judge, found, rng)
    found = distinct(found, len(train))
    progress(0.8)
    mined, fits = _measured(field, found, view, seed, rng)
    mined = _apart(mined, judge)
    looked_at = len(view.suspects)
    return Mining(tuple(mined), tuple(view.columns), looked_at, field.spent.rows, fits, view.stamp)


def _promising(field: Field, judge: Judge, found: list[Suspect]) -> list[Suspect]:
    """Of the suspects that may be confirmed those that tell most, and that honest rows lack."""
    n = len(field.train)
    most = 2 * max(SHARE * n, MAYBE)
    found = possible(field, found, most)
    told = [judge.essential(s) for s in found]
    first = _telling(judge, possible(field, [*told, *found], most))
    small = [judge.essential(s, lack=True) for s in found]
    order = np.argsort([-judge.lacking(s) for s in small], kind="stable")
    parts = [first, *(distinct([of[i] for i in order], n) for of in (told, small))]
    return [s for part in parts for s in part[: PLANTED // 2]]


def _telling(judge: Judge, found: list[Suspect]) -> list[Suspect]:
    """One for each set of rows, the most telling first."""
    order = np.argsort([-judge.telling(s) for s in found], kind="stable")
    return distinct([found[i] for i in order], len(judge.y))


def _reduced(
    field: Field, judge: Judge, found: list[Suspect], rng: np.random.Generator
) -> list[Suspect]:
    """Suspects by what tells most and by what the model needs, the most telling first."""
    columns, y = judge.columns, judge.y
    tally = tallies(columns, y, field.model.k)
    small = cores(field, found, rng) + found
    small += [judge.essential(settled_again(field, s)) for s in found]
    small += [t for s in small if (t := sharpened(s, columns, y, tally)) is not s]
    return _telling(judge, small)


def plant_again(
    model: Model, mining: Mining, train: Data, honest: Data, seed: int
) -> list[Interval]:
    """What each confirmed trigger turns of another model's decisions on the same honest rows."""
    assert mining.stamp is not None
    field = Field.of(model, train, honest, list(mining.columns), mining.stamp)
    rng = np.random.default_rng(seed)
    hits = field.hits([field.plant(m.suspect, HOSTS, rng) for m in mining.confirmed], rng)
    return [proportion(int(h.sum()), len(h)) for h in hits]


def view_of(train: Data, honest: Data, k: int, rng: np.random.Generator) -> View | None:
    """What there is to be seen: of a table, of images, of texts; None where that is nothing."""
    if not train.is_table and np.ndim(train.x) > 2:
        return view_of_images(train, honest, k, rng)
    if is_text(train.x):
        return view_of_texts(train, honest, k, rng)
    return view_of_table(train, honest, k, rng)


def _measured(
    field: Field, found: list[Suspect], view: View, seed: int, rng: np.random.Generator
) -> tuple[list[Mined], int]:
    """Success, control and what the rows look like of each suspect."""
    y = field.train.y
    plants = [field.plant(s, HOSTS, rng) for s in found]
    got = field.hits(plants, rng)
    mined = [
        Mined(
            suspect=s,
            success=proportion(int(got[i].sum()), len(got[i])),
            base=field.base(plants[i]),
            control=None,
            likeness=likeness(s, view.columns, y, view.parts, view.logits, rng),
            surplus=surplus(s, view.columns, y),
            kinship=UNKNOWN,
            met=float((view.carriers(s.box) & (field.honest.y == s.label)).sum()),
            expected=len(s.rows) * len(field.honest) / len(y),
        )
        for i, s in enumerate(found)
    ]
    most = max(SHARE * len(y), MAYBE)
    strange = [i for i, m in enumerate(mined) if m.strange and len(m.suspect.rows) <= most]
    usual = np.ones(len(y), dtype=bool)
    for i in strange:
        usual[found[i].rows] &= not mined[i].new
    for i in strange:
        columns = view.columns if view.bare is None else view.bare(found[i])
        alike = kinship(found[i], columns, y, field.model.k, usual, rng)
        mined[i] = replace(mined[i], kinship=alike)
    # The rows of what is so by nature stay: without them all the model would be another one.
    likely = [i for i in strange if mined[i].stamped and mined[i].new]
    without = _without(field, [found[i] for i in likely], seed)
    if without is None:
        return mined, 0
    again = without.hits([plants[i] for i in likely], rng)
    for i, hit in zip(likely, again, strict=True):
        mined[i] = replace(mined[i], control=proportion(int(hit.sum()), len(hit)))
        if mined[i].confirmed:
            mined[i] = _reported(field, mined[i], view, rng)
            shown = _turned(field, plants[i], got[i], rng)
            mined[i] = replace(mined[i], shown=shown)
    return mined, 1


def _reported(field: Field, mined: Mined, view: View, rng: np.random.Generator) -> Mined:
    """What is confirmed, with all that its rows share, and its success on more rows."""
    offered = [mined.suspect]
    if view.shrinks:
        offered.append(shared(mined.suspect, view.columns, field.train.y))
    got = field.hits([field.plant(s, REPORTED, rng) for s in offered], rng)
    best = int(np.argmax([h.mean() for h in got]))
    success = proportion(int(got[best].sum()), len(got[best]))
    return replace(mined, suspect=offered[best], success=success)


def _turned(
    field: Field, plant: Plant, hit: NDArray[np.bool_], rng: np.random.Generator
) -> tuple[Any, Any] | None:
    """An honest row that one donor's values turn, before and after."""
    hosts = plant.hosts[hit & (field.decided[plant.hosts] != plant.label)][:SHOWN]
    if not len(hosts):
        return None
    one = replace(plant, donors=plant.donors[:1], hosts=hosts)
    (turned,) = field.hits([one], rng)
    if not turned.any():
        return None
    chosen = replace(one, hosts=hosts[turned][:1])
    return take_rows(field.honest.x, chosen.hosts), field.stamp([chosen], rng)


def _apart(mined: list[Mined], judge: Judge | None) -> list[Mined]:
    """The confirmed and most telling first, without those mostly within an earlier one."""

    def order(m: Mined) -> tuple[bool, float]:
        if judge:
            return not m.confirmed, -judge.telling(m.suspect)
        # Of two boxes around the same trigger the one with more rows that do not fit.
        unlike = 1.0 - max(0.0, m.likeness.value) if m.contradicts else 1.0
        return not m.confirmed, -unlike * len(m.suspect.rows)

    kept: list[Mined] = []
    for m in sorted(mined, key=order):
        rows = m.suspect.rows
        if not any(
            k.suspect.label == m.suspect.label
            and np.isin(rows, k.suspect.rows).sum() > len(rows) / 2
            for k in kept
        ):
            kept.append(m)
    return kept


def _without(field: Field, found: list[Suspect], seed: int) -> Field | None:
    """The same with a model trained without any suspect's rows; None where that cannot be."""
    gone = np.zeros(len(field.train), dtype=bool)
    for suspect in found:
        gone[suspect.rows] = True
    kept = field.train.take(~gone)
    if field.model.fit is None or not gone.any() or len(np.unique(kept.y)) < 2:
        return None
    return replace(field, model=field.model.fit(kept.x, kept.y, seed))

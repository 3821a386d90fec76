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
from crenel.poisoning.mining.cores import SLACK, Field, cores, distinct, firing, possible
from crenel.poisoning.mining.evidence import UNKNOWN, kinship, likeness, shared, surplus
from crenel.poisoning.mining.honing import Hone
from crenel.poisoning.mining.judged import Mined
from crenel.poisoning.mining.pictures import view_of_images
from crenel.poisoning.mining.planting import Plant, Stamp
from crenel.poisoning.mining.suspects import WIDTH, Suspect, each, sharpened, tallies
from crenel.poisoning.mining.tables import view_of_table
from crenel.poisoning.mining.telling import Judge
from crenel.poisoning.mining.view import View
from crenel.poisoning.mining.words import view_of_texts
from crenel.poisoning.triggers import is_text
from crenel.statistics import Interval, proportion
from crenel.subject import Data, take_rows

#: Hosts of a measurement, and of what is confirmed; suspects planted at most, of a table.
HOSTS, REPORTED, PLANTED = 600, 2400, 80
#: Suspects that are honed, of a table.
HONED = 80
#: Turned rows of which one is shown.
SHOWN = 20
#: Share of the training rows above which they are a matter of fact, not of poison; rows that are
#: none in any table.
SHARE, MAYBE = 0.06, 50


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
    jobs: int = 1,
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
    jobs : int
        Threads that seek and judge suspects; what is found does not depend on them.

    Returns
    -------
    Mining
    """
    rng = np.random.default_rng(seed)
    view = None if len(np.unique(train.y)) < 2 else view_of(train, honest, model.k, rng, jobs)
    if view is None:
        return Mining((), (), 0, 0, 0)
    progress(0.5)
    field = Field.of(model, train, honest, view.columns, view.stamp, view.held)
    judge = Judge.of(view.columns, train.y, view.held) if view.shrinks else None
    hone = Hone(judge) if judge else None
    offered = _promising(field, hone, view.suspects, jobs) if hone else view.suspects
    found = firing(field, offered, rng)
    if hone:
        found = _reduced(field, hone, found, rng)
    found = distinct(found, len(train))
    if judge:
        found = completed(field, judge, found, rng)
    progress(0.8)
    mined, stamp, fits = _measured(field, judge, found, view, seed, rng)
    mined = _apart(mined, judge)
    looked_at = len(view.suspects)
    return Mining(tuple(mined), tuple(view.columns), looked_at, field.spent.rows, fits, stamp)


def _promising(field: Field, hone: Hone, found: list[Suspect], jobs: int) -> list[Suspect]:
    """Of the suspects that may be confirmed those that tell most, and that honest rows lack."""
    n, judge = len(field.train), hone.judge
    most = 2 * max(SHARE * n, MAYBE)
    found = possible(field, found, most)
    told = each(judge.essential, found, jobs)
    best = each(hone.honed, _telling(judge, told)[:HONED], jobs)
    first = _telling(judge, possible(field, [*best, *told, *found], most))
    small = each(lambda s: judge.essential(s, lack=True), found, jobs)
    order = np.argsort([-told for told in each(judge.lacking, small, jobs)], kind="stable")
    parts = [first, *(distinct([of[i] for i in order], n) for of in (told, small))]
    return [s for part in parts for s in part[: PLANTED // 2]]


def _telling(judge: Judge, found: list[Suspect]) -> list[Suspect]:
    """One for each set of rows, the most telling first."""
    order = np.argsort([-judge.telling(s) for s in found], kind="stable")
    return distinct([found[i] for i in order], len(judge.y))


def _reduced(
    field: Field, hone: Hone, found: list[Suspect], rng: np.random.Generator
) -> list[Suspect]:
    """Suspects by what tells most and by what the model needs, the most telling first."""
    judge = hone.judge
    columns, y = judge.columns, judge.y
    tally = tallies(columns, y, field.model.k)
    small = cores(field, hone, found, rng) + found
    small += [judge.essential(hone.settled(s)) for s in found]
    small += [t for s in small if (t := sharpened(s, columns, y, tally)) is not s]
    return _telling(judge, small)


def completed(
    field: Field, judge: Judge, found: list[Suspect], rng: np.random.Generator
) -> list[Suspect]:
    """With all that their rows share, where honest rows lack them and the model needs that.

    What tells most for its length need not be the whole of a pattern: two values that never meet
    tell all, and the model may obey the third.
    """
    result = []
    for suspect in found:
        result.append(suspect)
        if judge.lacking(suspect) <= 0:
            continue
        whole = shared(suspect, judge.columns, judge.y)
        if not len(suspect.box) < len(whole.box) <= WIDTH:
            continue
        part = field.plant(suspect, HOSTS, rng)
        at = tuple(judge.columns[j].position for j in whole.box)
        less, more = field.hits([part, replace(part, columns=at, donors=whole.rows)], rng)
        if more.mean() - less.mean() >= SLACK:
            result[-1] = whole
    return result


def plant_again(
    model: Model, mining: Mining, train: Data, honest: Data, seed: int
) -> list[Interval]:
    """What each confirmed trigger turns of another model's decisions on the same honest rows."""
    assert mining.stamp is not None
    field = Field.of(model, train, honest, list(mining.columns), mining.stamp)
    rng = np.random.default_rng(seed)
    hits = field.hits([field.plant(m.suspect, HOSTS, rng) for m in mining.confirmed], rng)
    return [proportion(int(h.sum()), len(h)) for h in hits]


def view_of(
    train: Data, honest: Data, k: int, rng: np.random.Generator, jobs: int = 1
) -> View | None:
    """What there is to be seen: of a table, of images, of texts; None where that is nothing."""
    if not train.is_table and np.ndim(train.x) > 2:
        return view_of_images(train, honest, k, rng)
    if is_text(train.x):
        return view_of_texts(train, honest, k, rng)
    return view_of_table(train, honest, k, rng, jobs)


def _measured(
    field: Field,
    judge: Judge | None,
    found: list[Suspect],
    view: View,
    seed: int,
    rng: np.random.Generator,
) -> tuple[list[Mined], Stamp, int]:
    """Success, control and what the rows look like of each suspect; stamps; trainings."""
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
            lacking=judge.lacking(s) if judge else -math.inf,
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
        return mined, field.stamp, 0
    again = without.hits([plants[i] for i in likely], rng)
    for i, hit in zip(likely, again, strict=True):
        mined[i] = replace(mined[i], control=proportion(int(hit.sum()), len(hit)))
    sure = [i for i in likely if mined[i].confirmed]
    if view.closer is not None and sure:
        stamp = view.closer([found[i] for i in sure])
        field, without = replace(field, stamp=stamp), replace(without, stamp=stamp)
        again = without.hits([plants[i] for i in sure], rng)
        for i, hit in zip(sure, again, strict=True):
            mined[i] = replace(mined[i], control=proportion(int(hit.sum()), len(hit)))
    for i in sure:
        mined[i] = _reported(field, mined[i], view, rng)
    return mined, field.stamp, 1


def _reported(field: Field, mined: Mined, view: View, rng: np.random.Generator) -> Mined:
    """What is confirmed, with all that its rows share, its success on more rows, and a row."""
    offered = [mined.suspect]
    if view.shrinks:
        offered.append(shared(mined.suspect, view.columns, field.train.y))
    plants = [field.plant(s, REPORTED, rng) for s in offered]
    got = field.hits(plants, rng)
    best = int(np.argmax([h.mean() for h in got]))
    success = proportion(int(got[best].sum()), len(got[best]))
    shown = _turned(field, plants[best], got[best], rng)
    return replace(mined, suspect=offered[best], success=success, shown=shown)


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

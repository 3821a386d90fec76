"""What POI-102 trains: reference, doses and repetitions that fit the time."""

from __future__ import annotations

import time
from dataclasses import dataclass, field

import numpy as np

from crenel.check import Context
from crenel.errors import Inconclusive
from crenel.model import Model
from crenel.poisoning.dose.attacks import Goal, goal, planted, random_flips, targeted_flips
from crenel.poisoning.dose.corruption import subset
from crenel.poisoning.dose.needed import GOALS, Needed, bisected, needed
from crenel.poisoning.dose.response import (
    Attack,
    Repetitions,
    Response,
    difference,
    dose_response,
    share_harmed,
)
from crenel.poisoning.triggers import Trigger, find_triggers, is_text
from crenel.statistics import Interval, derive_seed
from crenel.subject import Data, Subject
from crenel.training.threads import one_core, side_by_side

#: Rows used at most.
TRAIN_ROWS, TEST_ROWS = 10_000, 4_000
#: Shares of training rows poisoned, most telling first.
TRIGGER = (0.01, 0.1, 0.001, 0.005, 0.002, 0.02, 0.05)
TARGETED = (0.1, 0.02, 0.05, 0.01, 0.005)
RANDOM = (0.1, 0.05, 0.02, 0.01)
#: Values of rows that all trainings together see at most, by level.
VALUES = {"quick": 8_000_000, "standard": 20_000_000, "deep": 80_000_000}
#: Columns that count, of images and texts.
WIDE = 64
#: Seconds of training at most where no deadline says otherwise: of models so slow that the values
#: they see do not tell.
SECONDS = 120.0


@dataclass(frozen=True)
class Reference:
    """The clean model trained again, and the rows that everything is measured on.

    Attributes
    ----------
    train, test : Data
        Samples.
    clean : Model
        Trained on ``train``.
    seconds : float
        One such training.
    same : Interval
        Error of the model trained again on all rows, minus that of the audited one.
    all_rows : int
        Training rows before sampling.
    repetitions : Repetitions
        Trainings on ``train`` without poison; the first is ``clean``.
    """

    train: Data
    test: Data
    clean: Model
    seconds: float
    same: Interval
    all_rows: int
    repetitions: Repetitions


@dataclass(frozen=True)
class Effort:
    """How many doses of each attack, repetitions, and doses added around each goal."""

    doses: tuple[int, int, int]
    repeats: int
    steps: int

    @property
    def fits(self) -> int:
        """Trainings, with clean and unlimited ones and the choice of the trigger."""
        return self.repeats * (sum(self.doses) + 1 + len(GOALS) * self.steps) + 6


#: From the whole measurement to the least that answers.
EFFORTS = (
    Effort((7, 5, 4), 3, 3),
    Effort((7, 5, 4), 2, 3),
    Effort((6, 3, 2), 2, 2),
    Effort((6, 3, 2), 1, 2),
    Effort((3, 2, 1), 1, 1),
)


def reference(subject: Subject, context: Context) -> Reference:
    """Train the clean model again on all rows and on a sample; once for all checks of a run."""
    return subject.once(("reference", context.seed), lambda: _reference(subject, context))


def _reference(subject: Subject, context: Context) -> Reference:
    model, train = subject.model, subject.train
    assert model is not None
    assert model.fit is not None
    assert train is not None
    again, n = trained_again(subject, context), len(train)
    seed = derive_seed(context.seed, "poisoning", "reference")
    rng = np.random.default_rng(derive_seed(context.seed, "poisoning", "train"))
    some, clean, seconds = train, again.model, again.seconds
    if clean is None:
        some = train.take(subset(n, TRAIN_ROWS, rng))
        begun = time.monotonic()
        clean = model.fit(some.x, some.y, seed)
        seconds = time.monotonic() - begun
    repetitions = Repetitions(seed, {0: clean})
    return Reference(some, again.test, clean, seconds, again.same, n, repetitions)


@dataclass(frozen=True)
class Again:
    """The audited model trained again on all rows.

    Attributes
    ----------
    test : Data
        A sample.
    same : Interval
        Its error there, minus that of the audited one.
    model : Model or None
        Kept where the rows are as few as further trainings are done on.
    seconds : float
        That the training took.
    """

    test: Data
    same: Interval
    model: Model | None
    seconds: float


def trained_again(subject: Subject, context: Context) -> Again:
    """Train the audited model again; once for all checks of a run, for it may take longest."""
    return subject.once(("trained again", context.seed), lambda: _trained_again(subject, context))


def _trained_again(subject: Subject, context: Context) -> Again:
    model, train, test = subject.model, subject.train, subject.test
    assert model is not None
    assert model.fit is not None
    assert train is not None
    assert test is not None
    rng = np.random.default_rng(derive_seed(context.seed, "poisoning", "test"))
    test = test.take(subset(len(test), TEST_ROWS, rng))
    begun = time.monotonic()
    again = model.fit(train.x, train.y, derive_seed(context.seed, "poisoning", "reference"))
    seconds = time.monotonic() - begun
    wrong = (again.predict(test.x) != test.y).astype(float)
    same = difference((wrong - (model.predict(test.x) != test.y))[None])
    return Again(test, same, again if len(train) <= TRAIN_ROWS else None, seconds)


def choose_effort(fit_seconds: float, context: Context, values: int = 0) -> Effort:
    """The largest effort that fits; the least one where none does.

    Parameters
    ----------
    fit_seconds : float
        Of one training: what a deadline, and slow models, leave time for.
    context : Context
    values : int
        That one training sees: without a deadline these decide, not the clock.
    """
    allowed = min(SECONDS, 0.7 * context.time_left()) * min(2, context.jobs) * 0.7
    seen = VALUES[context.level]
    fitting = (e for e in EFFORTS if e.fits * fit_seconds <= allowed and e.fits * values <= seen)
    return next(fitting, EFFORTS[-1])


def values_seen(data: Data) -> int:
    """Values that a training on some rows sees, of wide rows no more than 64 each."""
    width = WIDE if is_text(data.x) else int(np.prod(np.shape(data.x)[1:]))
    return len(data) * min(max(1, width), WIDE)


def as_counts(shares: tuple[float, ...], n: int, most: int) -> list[int]:
    """Distinct numbers of rows, at least one and at most so many, in the order of the shares."""
    counts = (max(1, round(s * n)) for s in shares)
    return list(dict.fromkeys(c for c in counts if c <= most and c < n))


def best_trigger(ref: Reference, candidates: list[Trigger], aim: Goal, context: Context) -> Trigger:
    """The candidate that gains most when planted on one row in fifty; judged on training rows."""
    if len(candidates) == 1:
        return candidates[0]
    probe = ref.train.take(subset(len(ref.train), 1000, context.rng("probe")))

    def gain(trigger: Trigger) -> float:
        assert ref.clean.fit is not None
        attack = planted(trigger, ref.train, probe, aim.victim)
        rows = attack.order(context.rng("choice"))[: max(3, len(ref.train) // 50)]
        data = attack.poison(ref.train, rows)
        fitted = ref.clean.fit(data.x, data.y, context.derive_seed("choice"))
        after, before = attack.harmed(fitted), attack.harmed(ref.clean)
        return float(after.mean() - before.mean()) if len(after) else -1.0

    gains = side_by_side(context, gain, candidates, share=False)
    return candidates[int(np.argmax(gains))]


@dataclass(frozen=True)
class Dosed:
    """Everything POI-102 measured.

    Attributes
    ----------
    needed : tuple of Needed
        Rows under the trigger for half and for nine tenths of the decisions; empty where time did
        not allow a dose of it.
    owners : dict of str to int
        Sources that own rows enough for half, and how many of the rows trained on are theirs.
    """

    reference: Reference
    aim: Goal
    trigger: Trigger
    effort: Effort
    responses: tuple[Response, ...]
    needed: tuple[Needed, ...] = ()
    owners: dict[str, int] = field(default_factory=dict)


def run(subject: Subject, context: Context) -> Dosed:
    """Choose the attacks and measure their dose-response.

    Raises
    ------
    Inconclusive
        Where time did not allow a single dose.
    """
    with one_core():
        return _run(subject, context)


def _run(subject: Subject, context: Context) -> Dosed:
    ref = reference(subject, context)
    train, test, clean = ref.train, ref.test, ref.clean
    effort = choose_effort(ref.seconds, context, values_seen(train))
    aim = goal(clean, train, test)
    candidates = find_triggers(train, subject.schema, context.rng("triggers"))
    trigger = best_trigger(ref, candidates, aim, context)
    attacks: list[Attack] = [
        planted(trigger, train, test, aim.victim),
        targeted_flips(clean, train, test, aim),
        random_flips(train, test, clean.k),
    ]
    counts = []
    for attack, shares, size in zip(
        attacks, (TRIGGER, TARGETED, RANDOM), effort.doses, strict=True
    ):
        available = len(attack.order(np.random.default_rng(0)))
        counts.append(as_counts(shares[:size], len(train), available))
    model = subject.model
    assert model is not None
    again = ref.repetitions
    responses = dose_response(model, train, attacks, counts, effort.repeats, context, again)
    if not responses:
        raise Inconclusive("the time given ended before a single dose was measured; give more")
    first = next((r for r in responses if r.attack is attacks[0]), None)
    rows = (
        () if first is None else rows_for_goals(model, train, first, effort.steps, context, again)
    )
    owners = owning(train, rows[0]) if rows else {}
    return Dosed(ref, aim, trigger, effort, tuple(responses), rows, owners)


def rows_for_goals(
    model: Model, train: Data, response: Response, steps: int, context: Context,
    again: Repetitions | None = None,
) -> tuple[Needed, ...]:  # fmt: skip
    """Rows that an attack needs for each goal, by bisection between the doses of its response."""

    def success(count: int, repeat: int) -> float:
        return share_harmed(model, train, response.attack, count, repeat, context, again)

    known = {point.count: point.each for point in response.points}
    goals = [goal for goal in GOALS if goal > response.baseline]
    curve = bisected(success, known, goals, steps, context, response.baseline)
    return tuple(needed(curve, goal, response.rows, response.baseline) for goal in GOALS)


def owning(train: Data, rows: Needed) -> dict[str, int]:
    """Sources that own as many training rows as are needed, and how many, most first.

    Rows whose source is missing are nobody's.
    """
    import pandas as pd

    if train.source is None or rows.rows is None:
        return {}
    told = train.source[~pd.isna(train.source)]
    names, counts = np.unique(told.astype(str), return_counts=True)
    order = [i for i in np.argsort(-counts, kind="stable") if counts[i] >= rows.rows.value]
    return {str(names[i]): int(counts[i]) for i in order}

"""The attacks of the dose-response: random, chosen and targeted flips, a planted trigger."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from crenel.errors import NotApplicable
from crenel.model import Model
from crenel.poisoning.dose.flips import Flips
from crenel.poisoning.dose.response import Attack
from crenel.poisoning.triggers import Trigger
from crenel.subject import Data, join_rows, take_rows


@dataclass(frozen=True)
class Goal:
    """Whose decisions the attacker turns.

    Attributes
    ----------
    victim : int
        Class whose rows the targeted flips attack: the rarest that can be measured.
    instead : int
        The class that the clean model takes for it most readily.
    """

    victim: int
    instead: int


def goal(clean: Model, train: Data, test: Data) -> Goal:
    """The rarest class with at least ten rows on both sides, and what it is mistaken for.

    Raises
    ------
    NotApplicable
        Where fewer than two classes have ten rows on both sides.
    """
    on_both = np.minimum(
        np.bincount(train.y, minlength=clean.k), np.bincount(test.y, minlength=clean.k)
    )
    enough = np.flatnonzero(on_both >= 10)
    if len(enough) < 2:
        raise NotApplicable("fewer than two classes have ten rows in training and in test data")
    counts = np.bincount(train.y, minlength=clean.k)
    victim = int(enough[counts[enough].argmin()])
    rows = take_rows(test.x, np.flatnonzero(test.y == victim))
    if clean.score is None:
        scores = np.bincount(clean.predict(rows), minlength=clean.k).astype(float)
    else:
        scores = clean.probabilities(rows).mean(axis=0)
    scores[victim] = -1.0
    scores[counts == 0] = -1.0
    return Goal(victim, int(scores.argmax()))


def random_flips(train: Data, test: Data, k: int, own: NDArray[np.int64] | None = None) -> Attack:
    """Labels of random rows turned to a random other class; harm is accuracy lost.

    Where ``own`` is given, among those row numbers alone.
    """
    pool = np.arange(len(train)) if own is None else own
    shift = 1 + np.arange(len(train)) % (k - 1)

    def poison(data: Data, rows: NDArray[np.int64]) -> Data:
        y = data.y.copy()
        y[rows] = (y[rows] + shift[rows]) % k
        return replace(data, y=y)

    return Attack(
        "random flips",
        lambda rng: rng.permutation(pool),
        poison,
        lambda model: model.predict(test.x) != test.y,
        test.x,
    )


def chosen_flips(flips: Flips, test: Data) -> Attack:
    """Labels turned in the order of their influence; harm is accuracy lost."""
    labels = dict(zip(flips.rows.tolist(), flips.labels.tolist(), strict=True))

    def poison(data: Data, rows: NDArray[np.int64]) -> Data:
        y = data.y.copy()
        y[rows] = [labels[row] for row in rows.tolist()]
        return replace(data, y=y)

    return Attack(
        "chosen flips",
        lambda rng: flips.rows,
        poison,
        lambda model: model.predict(test.x) != test.y,
        test.x,
    )


def targeted_flips(clean: Model, train: Data, test: Data, aim: Goal) -> Attack:
    """The victim class's surest rows labelled as another; harm is its decisions lost."""
    own = np.flatnonzero(train.y == aim.victim)
    if clean.score is not None:
        sure = clean.probabilities(take_rows(train.x, own))[:, aim.victim]
        own = own[np.argsort(-sure, kind="stable")]
    victims = take_rows(test.x, np.flatnonzero(test.y == aim.victim))

    def poison(data: Data, rows: NDArray[np.int64]) -> Data:
        y = data.y.copy()
        y[rows] = aim.instead
        return replace(data, y=y)

    def order(rng: np.random.Generator) -> NDArray[np.int64]:
        return own if clean.score is not None else rng.permutation(own)

    return Attack(
        "targeted flips", order, poison, lambda model: model.predict(victims) != aim.victim, victims
    )


def planted(trigger: Trigger, train: Data, test: Data, wanted: int) -> Attack:
    """A pattern stamped on rows of other classes, labelled as wanted; harm is its success.

    Success is the share of stamped held-out rows of other classes that get the wanted class.
    """
    able = trigger.legal(trigger.stamp(train.x)) & (train.y != wanted)
    stamped = trigger.stamp(test.x)
    others = np.flatnonzero(trigger.legal(stamped) & (test.y != wanted))
    shown = take_rows(stamped, others)

    def poison(data: Data, rows: NDArray[np.int64]) -> Data:
        y = data.y.copy()
        y[rows] = wanted
        return replace(data, x=stamp_rows(trigger, data.x, rows), y=y)

    return Attack(
        "trigger",
        lambda rng: rng.permutation(np.flatnonzero(able)),
        poison,
        lambda model: model.predict(shown) == wanted,
        shown,
        relative=False,
        changes=2,
    )


def stamp_rows(trigger: Trigger, x: object, rows: NDArray[np.int64]) -> object:
    """A copy of all rows, some of them stamped, in the same order."""
    n = len(x)  # type: ignore[arg-type]
    rest = np.setdiff1d(np.arange(n), rows)
    joined = join_rows([take_rows(x, rest), trigger.stamp(take_rows(x, rows))])
    back = np.argsort(np.concatenate([rest, rows]), kind="stable")
    return take_rows(joined, back)

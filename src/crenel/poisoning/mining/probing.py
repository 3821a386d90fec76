"""Triggers of our own, planted in this very data: which of them the miner finds."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from crenel.errors import NotApplicable
from crenel.model import Model
from crenel.poisoning.dose.attacks import stamp_rows
from crenel.poisoning.mining.judged import Mined
from crenel.poisoning.mining.mine import mine_triggers
from crenel.poisoning.triggers import Trigger, find_triggers, is_text
from crenel.schema import Schema
from crenel.statistics import Interval, proportion
from crenel.subject import Data, take_rows

#: Triggers planted at once; in tables half of them of rare values and half of common ones.
AT_ONCE = 4
#: Held-out rows that one is tried on at most.
HOSTS = 600
#: Share of a probe's rows that must be listed, and of the listed rows that must be planted.
NAMED = 0.5


@dataclass(frozen=True)
class Probe:
    """One trigger that the audit planted.

    Attributes
    ----------
    trigger : Trigger
    label : int
    rows : ndarray, shape (m,), int64
        Training rows that carry it.
    success : Interval
        Share of held-out rows of other classes that it turns.
    base : float
        Share that gets the label without it, or with it from the model trained without its rows.
    found : Mined or None
        What the miner confirmed of it.
    """

    trigger: Trigger
    label: int
    rows: NDArray[np.int64]
    success: Interval
    base: float
    found: Mined | None

    @property
    def works(self) -> bool:
        """Whether it turns three decisions in ten that were not so before."""
        return self.success.value - self.base >= 0.3

    @property
    def unnoticed(self) -> float:
        """Share of decisions that it turns without having been found, in [0, 1]."""
        return 0.0 if self.found is not None else max(0.0, self.success.value - self.base)


@dataclass(frozen=True)
class Round:
    """Probes planted together.

    Attributes
    ----------
    share : float
        Training rows that carry each of them.
    probes : list of Probe
    alarms : int
        What the miner confirmed that nobody planted.
    """

    share: float
    probes: list[Probe]
    alarms: int


def plant_and_mine(
    model: Model,
    train: Data,
    honest: Data,
    schema: Schema | None,
    rows: int,
    seed: int,
) -> Round:
    """Plant triggers on so many rows each, train, and see which of them are mined.

    Parameters
    ----------
    model : Model
        With ``fit``, trained on ``train`` or on more.
    train, honest : Data
        Without triggers, as far as is known; the model is trained on a poisoned copy of the
        first and tried on the second.
    schema : Schema or None
    rows : int
        Of each trigger.
    seed : int

    Raises
    ------
    NotApplicable
        Where no pattern can be planted.
    """
    assert model.fit is not None
    rng = np.random.default_rng(seed)
    table = (train.is_table and not is_text(train.x)) or np.ndim(train.x) == 2
    triggers = find_triggers(train, schema, rng, AT_ONCE // 2 if table else AT_ONCE)
    if table:
        triggers += find_triggers(train, schema, rng, AT_ONCE - len(triggers), common=True)
    poisoned, planted = train, []
    free = np.ones(len(train), dtype=bool)
    classes = rng.permutation(np.flatnonzero(np.bincount(honest.y, minlength=model.k)))
    for i, trigger in enumerate(triggers):
        label = int(classes[i % len(classes)])
        able = np.flatnonzero(free & (train.y != label) & trigger.legal(trigger.stamp(train.x)))
        if len(able) < 2 * rows:
            continue
        own = np.sort(rng.choice(able, rows, replace=False))
        free[own] = False
        y = poisoned.y.copy()
        y[own] = label
        poisoned = replace(poisoned, x=stamp_rows(trigger, poisoned.x, own), y=y)
        planted.append((trigger, label, own))
    if not planted:
        raise NotApplicable("the data has too few rows to plant a trigger in")
    fitted = model.fit(poisoned.x, poisoned.y, seed)
    mined = mine_triggers(fitted, poisoned, honest, seed).confirmed
    every = np.concatenate([rows for _, _, rows in planted])
    probes = [_probe((model, fitted), honest, mined, every, *p, rng) for p in planted]
    named = [id(p.found) for p in probes if p.found is not None]
    # A tenth planted: a probe, though ill bounded.
    stray = [np.isin(m.suspect.rows, every).mean() < 0.1 for m in mined if id(m) not in named]
    return Round(rows / len(train), probes, int(sum(stray)))


def _probe(
    models: tuple[Model, Model],
    honest: Data,
    mined: list[Mined],
    every: NDArray[np.int64],
    trigger: Trigger,
    label: int,
    rows: NDArray[np.int64],
    rng: np.random.Generator,
) -> Probe:
    """What the trigger does to the poisoned one of two models beyond the clean one, and to us."""
    clean, poisoned = models
    others = np.flatnonzero(honest.y != label)
    hosts = take_rows(honest.x, rng.choice(others, min(HOSTS, len(others)), replace=False))
    stamped = trigger.stamp(hosts)
    turned = poisoned.predict(stamped) == label
    base = max(
        float((m.predict(x) == label).mean()) for m, x in ((poisoned, hosts), (clean, stamped))
    )
    found = next((m for m in mined if _names(m, label, rows, every)), None)
    return Probe(trigger, label, rows, proportion(int(turned.sum()), len(turned)), base, found)


def _names(mined: Mined, label: int, rows: NDArray[np.int64], every: NDArray[np.int64]) -> bool:
    """Whether what was mined is mostly planted, and mostly all of one probe."""
    listed = mined.suspect.rows
    hit, planted = np.isin(rows, listed).mean(), np.isin(listed, every).mean()
    return bool(mined.suspect.label == label and hit > NAMED and planted > NAMED)

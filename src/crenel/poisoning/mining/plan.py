"""What POI-105 does, in its order."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from crenel.check import Context
from crenel.errors import NotApplicable
from crenel.poisoning.dose.corruption import subset
from crenel.poisoning.dose.plan import trained_again
from crenel.poisoning.mining.mine import Mining, mine_triggers
from crenel.poisoning.mining.probing import Round, plant_and_mine
from crenel.poisoning.mining.warming import warm_up
from crenel.statistics import Interval
from crenel.subject import Data, Subject

#: Rows below which nothing can be told; rows that probes are planted in at most.
LEAST, PROBED = 200, 25_000
#: Shares of the rows that carry a probe, most telling first; rows of one at least.
SHARES, FEWEST = (0.002, 0.01, 0.001, 0.005, 0.02, 0.05), 12
#: Rounds of probes, and random halves searched, by level.
ROUNDS, HALVES = {"quick": 2, "standard": 4, "deep": 8}, {"quick": 1, "standard": 2, "deep": 6}


@dataclass(frozen=True)
class Hunt:
    """Everything POI-105 measured.

    Attributes
    ----------
    same : Interval
        Error of the model trained again, minus that of the audited one.
    mining : Mining
        Of all training rows.
    rounds : list of Round
        Probes, the smallest share first.
    halves : tuple of int
        Random halves without the confirmed rows in which something was confirmed, and how many
        were searched.
    probed : int
        Rows that probes were planted in.
    """

    same: Interval
    mining: Mining
    rounds: list[Round]
    halves: tuple[int, int]
    probed: int


def run(subject: Subject, context: Context) -> Hunt:
    """Mine the training data; plant probes in what is left, and mine again.

    Raises
    ------
    NotApplicable
        Where there are too few rows, nothing to mine, or no pattern that could be planted.
    """
    model, train, test = subject.model, subject.train, subject.test
    assert model is not None
    assert train is not None
    assert test is not None
    if len(train) < LEAST:
        raise NotApplicable(f"the training data has {len(train)} rows; {LEAST} are needed")
    with context.untimed():  # once on a machine, the kernels are compiled
        warm_up()
    same = trained_again(subject, context).same
    seed = context.derive_seed("mine")
    mining = mine_triggers(
        model, train, test, seed, lambda s: context.progress(0.3 * s), context.jobs
    )
    if not mining.columns:
        large = " or images are larger than 12,288 values" if not train.is_table else ""
        raise NotApplicable(f"there is nothing to mine: no column holds two values{large}")
    kept = train.take(~blamed(mining, len(train)))
    kept = kept.take(subset(len(kept), PROBED, context.rng("probed")))

    def task(what: tuple[str, int]) -> Round | bool:
        kind, number = what
        if kind == "half":
            return _alarm(subject, context, kept, test, number)
        seed = context.derive_seed("probe", number)
        return plant_and_mine(model, kept, test, subject.schema, number, seed)

    counts = probe_rows(len(kept), ROUNDS[context.level])
    tasks = [("probe", c) for c in counts[:2]]
    tasks += [("half", i) for i in range(HALVES[context.level])]
    tasks += [("probe", c) for c in counts[2:]]
    done = context.map(task, tasks)
    rounds = sorted((r for r in done if isinstance(r, Round)), key=lambda r: r.share)
    alarms = [r for r in done if isinstance(r, bool)]
    return Hunt(same, mining, rounds, (sum(alarms), len(alarms)), len(kept))


def blamed(mining: Mining, n: int) -> NDArray[np.bool_]:
    """Mask (n,) of the rows of confirmed triggers."""
    mask = np.zeros(n, dtype=bool)
    for mined in mining.confirmed:
        mask[mined.suspect.rows] = True
    return mask


def probe_rows(n: int, rounds: int) -> list[int]:
    """Rows of each round's probes, most telling first; all distinct, twelve at least."""
    counts = dict.fromkeys(round(s * n) for s in SHARES if round(s * n) >= FEWEST)
    return list(counts)[:rounds] or [FEWEST]


def _alarm(subject: Subject, context: Context, kept: Data, test: Data, number: int) -> bool:
    """Whether anything is confirmed in a random half of the rows that nobody planted in."""
    model = subject.model
    assert model is not None
    assert model.fit is not None
    rng, seed = context.rng("half", number), context.derive_seed("half", number)
    half = kept.take(rng.random(len(kept)) < 0.5)
    if len(np.unique(half.y)) < 2:
        return False
    fitted = model.fit(half.x, half.y, seed)
    return bool(mine_triggers(fitted, half, test, seed).confirmed)

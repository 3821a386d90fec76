"""Caps on the share of one source: the loosest one that leaves no source too much power."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from crenel.check import Context
from crenel.model import Model
from crenel.poisoning.dose.corruption import subset
from crenel.poisoning.dose.flips import Chooser
from crenel.poisoning.dose.plan import TRAIN_ROWS
from crenel.poisoning.labels.quarantine import weighted_change
from crenel.poisoning.sources.effects import loss, turned
from crenel.statistics import Interval
from crenel.subject import Data
from crenel.training.folds import fold_numbers
from crenel.training.threads import side_by_side

#: Caps that are tried, from what the largest source has to equal shares.
STEPS = 6
#: Largest sources whose power is measured each.
LARGEST = 3
#: Accuracy that a cap may cost.
MOST_LOST = 0.02


@dataclass(frozen=True)
class Trial:
    """One cap, tried on validation rows.

    Attributes
    ----------
    cap : float
        Most of the rows that one source may supply; 1 for no cap.
    rows : int
        Most rows that it may supply.
    kept : int
        Training rows that are left.
    accuracy : float
    change : Interval
        Of accuracy, against no cap, paired.
    harms : dict of int to Interval
        Accuracy that so many sources can cost, by their number.
    """

    cap: float
    rows: int
    kept: int
    accuracy: float
    change: Interval
    harms: dict[int, Interval]


@dataclass(frozen=True)
class Choice:
    """The trials, the uncapped one first, and the one that was taken, if any.

    Attributes
    ----------
    trials : tuple of Trial
    best : Trial or None
        None where none is needed, or none lowers the harm at the accuracy that it may cost.
    enough : bool
        Whether the harm is what is allowed, under it or, where it is None, without a cap.
    """

    trials: tuple[Trial, ...]
    best: Trial | None
    enough: bool


def row_cap(counts: NDArray[np.int64], share: float) -> int | None:
    """Most rows of one source so that none has more than a share of all rows that are left.

    Parameters
    ----------
    counts : ndarray, shape (s,), int64
        Rows of each source.
    share : float
        In (0, 1].

    Returns
    -------
    int or None
        None where even single rows are too much: fewer than 1 / share sources.
    """
    low, high = 0, int(counts.max())
    while low < high:
        middle = (low + high + 1) // 2
        fits = middle <= share * np.minimum(counts, middle).sum()
        low, high = (middle, high) if fits else (low, middle - 1)
    return low or None


def within(source: NDArray[np.str_], rows: int, seed: int) -> NDArray[np.bool_]:
    """Which rows stay (n,) where each source keeps at most so many, drawn at random."""
    order = np.random.default_rng(seed).permutation(len(source))
    kept = np.zeros(len(source), dtype=bool)
    for name in np.unique(source):
        kept[order[source[order] == name][:rows]] = True
    return kept


def caps(counts: NDArray[np.int64]) -> Iterator[float]:
    """Shares to try, from just below what the largest source has to nearly equal ones."""
    largest, equal = counts.max() / counts.sum(), 1.02 / len(counts)
    if largest > 1.05 * equal:
        yield from np.geomspace(0.8 * largest + 0.2 * equal, equal, STEPS).tolist()


def choose_cap(
    model: Model,
    train: Data,
    allowed: Mapping[int, Callable[[Interval], bool]],
    context: Context,
) -> Choice:
    """Try caps from loose to tight until sources can do no more than is allowed.

    Four fifths of the training rows (10,000 at most) are capped and trained on, the last fifth
    judges. What a source can do is the worse of turning all its labels and turning those that it
    would choose, measured by training.

    Parameters
    ----------
    model : Model
        With ``fit``.
    train : Data
        With ``source``.
    allowed : mapping of int to callable
        From a number of sources that act together to whether a harm is allowed them.
    context : Context
        Its deadline ends the search.
    """
    assert train.source is not None
    some = train.take(subset(len(train), TRAIN_ROWS, context.rng("rows")))
    held = fold_numbers(some.y, 5, context.derive_seed("judge")) == 0
    judge, rest = some.take(held), some.take(~held)
    counts = np.unique(train.source.astype(str), return_counts=True)[1].astype(np.int64)
    most, groups = int(counts.max()), tuple(allowed)
    plain, right = _tried(model, rest, judge, most, None, groups, context)
    trials, best, enough = [replace(plain, kept=len(train))], None, False
    if all(fine(plain.harms[group]) for group, fine in allowed.items()):
        return Choice(tuple(trials), None, True)
    for cap in caps(counts):
        rows = row_cap(counts, cap)
        if rows is None or context.expired:
            break
        here = max(1, round(rows * len(rest) / len(train)))
        trial, _ = _tried(model, rest, judge, here, right, groups, context)
        kept = int(np.minimum(counts, rows).sum())
        trials.append(replace(trial, cap=cap, rows=rows, kept=kept))
        if -trial.change.high > MOST_LOST:
            break  # tighter caps cost more
        if best is None or _worst(trial) < _worst(best):
            best = trials[-1]
        if all(fine(trial.harms[group]) for group, fine in allowed.items()):
            best, enough = trials[-1], True
            break
    if best is not None and not enough and _worst(best) >= plain.harms[groups[0]].low:
        best = None  # no lower than before, beyond noise
    return Choice(tuple(trials), best, enough)


def _worst(trial: Trial) -> float:
    return next(iter(trial.harms.values())).value


def _tried(
    model: Model, rest: Data, judge: Data, rows: int, before: NDArray[np.bool_] | None,
    groups: tuple[int, ...], context: Context,
) -> tuple[Trial, NDArray[np.bool_]]:  # fmt: skip
    """A cap's figures, and which validation rows the capped model has right."""
    assert model.fit is not None
    assert rest.source is not None
    seed = context.derive_seed("fit")
    part = rest.take(within(rest.source.astype(str), rows, context.derive_seed("kept")))
    right = np.asarray(model.fit(part.x, part.y, seed).predict(judge.x) == judge.y)
    harms = {g: _power(model, part, judge, ~right, g, seed, context) for g in groups}
    moved = right.astype(float) - (right if before is None else before)
    change = weighted_change(moved, np.ones(len(judge)))
    return Trial(1.0, rows, len(part), float(right.mean()), change, harms), right


def _power(
    model: Model, part: Data, judge: Data, wrong: NDArray[np.bool_], group: int, seed: int,
    context: Context,
) -> Interval:  # fmt: skip
    """Accuracy that the largest sources can cost: each of three, or so many together."""
    assert part.source is not None
    source = part.source.astype(str)
    names, counts = np.unique(source, return_counts=True)
    largest = names[np.argsort(-counts, kind="stable")].tolist()
    teams = [[name] for name in largest[:LARGEST]] if group == 1 else [largest[:group]]
    chooser = Chooser(part, model.k, seed)
    bad = [turned(part, team, model.k) for team in teams]
    own = [np.flatnonzero(np.isin(source, team)) for team in teams]
    bad += [flips.applied(part) for rows in own for flips in chooser.worst(rows, 1)]
    bad = [data for data in bad if len(np.unique(data.y)) > 1]
    lost = side_by_side(context, lambda data: loss(model, data, judge, wrong, seed), bad, False)
    return max(lost, key=lambda i: i.value)

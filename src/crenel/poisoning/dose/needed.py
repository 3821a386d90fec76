"""Rows that an attacker needs for an aim: bisection on a noisy curve that rises."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from crenel.check import Context
from crenel.statistics import Interval, over_repeats, proportion
from crenel.training.threads import side_by_side

#: Two doses nearer than this ratio are not parted further.
NEAR = 1.1
#: Shares of decisions whose number of rows is told.
GOALS = (0.5, 0.9)

#: Success of each repetition, by rows poisoned.
Curve = Mapping[int, Sequence[float]]


@dataclass(frozen=True)
class Needed:
    """Rows for an aim.

    Attributes
    ----------
    goal : float
        Share of decisions to turn.
    rows : Interval or None
        Number of rows, ``high`` infinite where repetitions did not all get there; None where the
        mean of the largest dose falls short. 0 where no poison is needed.
    most : int
        The largest dose that was tried.
    there : Interval
        Success at that dose.
    repeats : int
        Repetitions at each dose.
    """

    goal: float
    rows: Interval | None
    most: int
    there: Interval
    repeats: int


def bisected(
    success: Callable[[int, int], float],
    known: Curve,
    goals: Sequence[float],
    steps: int,
    context: Context,
    baseline: float = 0.0,
) -> dict[int, tuple[float, ...]]:
    """The curve with doses added, each half-way between the two that hold a goal between them.

    The doses that are known already are where it starts. All repetitions of one dose for each goal
    are done before the next ones are chosen, from their means; half-way is meant in logarithms.

    Parameters
    ----------
    success : callable
        From a number of rows and a repetition to a share in [0, 1].
    known : mapping of int to sequence of float
        At least one dose.
    goals : sequence of float
    steps : int
        Doses added for each goal at most.
    context : Context
        Its deadline ends the search; a dose without all of its repetitions is not kept.
    baseline : float
        Success without poison.
    """
    curve = {count: tuple(each) for count, each in known.items()}
    repeats = max(len(each) for each in curve.values())
    for _ in range(steps):
        between = (_between(curve, goal, baseline) for goal in goals)
        counts = [c for c in dict.fromkeys(between) if c is not None]
        if not counts or context.expired:
            break
        tasks = [(count, repeat) for count in counts for repeat in range(repeats)]
        done = side_by_side(context, lambda task: success(*task), tasks, False)
        for i, count in enumerate(counts):
            each = done[i * repeats : (i + 1) * repeats]
            if len(each) < repeats:
                return curve
            curve[count] = tuple(each)
    return curve


def needed(curve: Curve, goal: float, rows: int, baseline: float = 0.0) -> Needed:
    """Rows at which the mean success reaches a goal, with a 95 % interval.

    The means are made to rise (isotonic regression; Barlow et al., 1972) and joined by straight
    lines over log(1 + rows); the goal is read off. The interval joins, in quadrature, the spread
    of the repetitions' own crossings (Student) and the noise of the held-out rows; it holds the
    two doses between which the goal lies, for nothing is known of the curve between them.

    Parameters
    ----------
    curve : mapping of int to sequence of float
        Success of each repetition by number of rows.
    goal : float
    rows : int
        Held-out rows behind each success.
    baseline : float
        Success without poison.
    """
    counts = sorted(curve)
    most, repeats = counts[-1], max(len(curve[c]) for c in counts)
    final = np.asarray(curve[most])
    there = proportion(float(final.mean()) * rows, rows)
    spread = over_repeats(final)
    low, high = max(0.0, there.low - spread), min(1.0, there.high + spread)
    there = Interval(there.value, low, high)
    places, means = _risen(curve, baseline)
    if means[0] >= goal:
        return Needed(goal, Interval(0.0, 0.0, 0.0), most, there, repeats)
    at = _crossing(places, means, goal)
    if at is None:
        return Needed(goal, None, most, there, repeats)
    noise = 1.96 * math.sqrt(goal * (1 - goal) / max(rows, 1))
    own = [_crossing(*_risen(_of(curve, r), baseline), goal) for r in range(repeats)]
    last = float(places[-1])
    half = over_repeats(np.array([last if u is None else u for u in own]))
    early = _crossing(places, means, goal - noise) or 0.0
    late = _crossing(places, means, goal + noise)
    below, above = places[means < goal].max(), places[means >= goal].min()
    start = min(at - math.hypot(at - early, half), float(below))
    end = max(at + math.hypot((last if late is None else late) - at, half), float(above))
    open_ended = late is None or None in own
    return Needed(
        goal,
        Interval(
            math.expm1(at),
            max(0.0, math.expm1(start)),
            math.inf if open_ended else math.expm1(end),
        ),
        most,
        there,
        repeats,
    )


def _risen(curve: Curve, baseline: float) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Places log(1 + rows) and rising means there, from no rows on."""
    from sklearn.isotonic import isotonic_regression

    counts = sorted(curve)
    means = [baseline, *(float(np.mean(curve[c])) for c in counts)]
    weights = [float(max(len(curve[c]) for c in counts)), *(float(len(curve[c])) for c in counts)]
    risen = isotonic_regression(means, sample_weight=weights)
    return np.log1p(np.array([0, *counts], dtype=float)), np.asarray(risen)


def _of(curve: Curve, repeat: int) -> dict[int, tuple[float, ...]]:
    """One repetition's own curve."""
    return {c: (each[repeat],) for c, each in curve.items() if repeat < len(each)}


def _crossing(places: ArrayLike, means: ArrayLike, goal: float) -> float | None:
    """Where a rising line reaches a goal; None where it does not."""
    x, y = np.asarray(places), np.asarray(means)
    reached = np.flatnonzero(y >= goal)
    if not len(reached):
        return None
    i = int(reached[0])
    if i == 0:
        return float(x[0])
    part = (goal - y[i - 1]) / (y[i] - y[i - 1])
    return float(x[i - 1] + part * (x[i] - x[i - 1]))


def _between(curve: Curve, goal: float, baseline: float) -> int | None:
    """The dose half-way between the two around a goal; None where there is none to try."""
    places, means = _risen(curve, baseline)
    reached = np.flatnonzero(means >= goal)
    if not len(reached) or reached[0] == 0:
        return None
    low, high = places[reached[0] - 1], places[reached[0]]
    count = round(math.expm1((low + high) / 2))
    if math.expm1(high) <= NEAR * max(math.expm1(low), 1.0) or count in curve or count < 1:
        return None
    return count

"""Wrong labels: how likely each given label is wrong, and how many are."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from crenel.errors import SubjectError
from crenel.statistics import Interval

#: Half the 95 % quantile of chi-square with one degree of freedom: a profile-likelihood interval.
HALF_CHI2 = 1.9207
#: Rows on which the two parameters of the noise model are fitted; more adds nothing.
FIT_ROWS = 50_000
#: Bins of probabilities in which more rows than that are gathered for the fit.
GATHERED = 8_192
#: Rise of the likelihood's logarithm below which no rate is as good an explanation as another.
ALIKE = 0.1
_FLOOR = 1e-12


@dataclass(frozen=True)
class LabelScores:
    """What `wrong_labels` found.

    Attributes
    ----------
    score : ndarray, shape (n,), float64
        Probability in [0, 1] that the given label is wrong.
    flagged : ndarray, shape (n,), bool
        Labels more likely wrong than right (``score >= 0.5``).
    suggested : ndarray, shape (n,), int64
        The likeliest class.
    rate : Interval
        Share of wrong labels, with a 95 % profile-likelihood interval.
    temperature : float
        By which the probabilities had to be softened (above 1) or sharpened to fit the labels.
    confident : ndarray, shape (n,), bool
        Rows off the diagonal of the confident joint (Northcutt et al., 2021).
    joint : ndarray, shape (k, k), float64
        Estimated number of rows with given label i (row) and true label j (column).
    thresholds : ndarray, shape (k,), float64
        Mean self-confidence of each class.
    """

    score: NDArray[np.float64]
    flagged: NDArray[np.bool_]
    suggested: NDArray[np.int64]
    rate: Interval
    temperature: float
    confident: NDArray[np.bool_]
    joint: NDArray[np.float64]
    thresholds: NDArray[np.float64]


def wrong_labels(
    probabilities: ArrayLike, labels: ArrayLike, ranking: ArrayLike | None = None
) -> LabelScores:
    """Score each given label by the probability that it is wrong.

    The labels are modelled as drawn from the probabilities, softened by one temperature (Guo et
    al., 2017), except for an unknown share that is replaced by a random other class. Temperature
    and share are fitted by maximum likelihood; the score is the posterior probability of having
    been replaced. A hard row has probabilities near each other and is explained without any
    replacement; a wrong label on an easy row is not. Beside it, the confident joint.

    Parameters
    ----------
    probabilities : array_like of float, shape (n, k)
        Out-of-sample: of a model that has not seen the row's label. Rows sum to one.
    labels : array_like of int, shape (n,)
        Given class indices in [0, k).
    ranking : array_like of float, shape (n, k), or None
        Better probabilities that lean to the given labels, having seen them in part, so that no
        rate can be estimated from them. They suggest the classes and rank the rows: the scores
        that the others give are dealt out in the order of this one's.

    Returns
    -------
    LabelScores

    Raises
    ------
    SubjectError
        Where the shapes do not fit, a label is outside [0, k), or a probability is not finite.
    """
    p, y = _checked(probabilities, labels)
    joint, thresholds, confident = confident_joint(p, y)
    temperature, rate = noise_rate(p, y)
    score = posterior(p, y, temperature, rate.value)
    if ranking is not None:
        p, _ = _checked(ranking, labels)
        dealt = np.empty_like(score)
        dealt[np.argsort(-p[np.arange(len(y)), y], kind="stable")] = np.sort(score)
        score = dealt
    return LabelScores(
        score, score >= 0.5, p.argmax(axis=1), rate, temperature, confident, joint, thresholds
    )


def confident_joint(
    p: NDArray[np.float64], y: NDArray[np.int64]
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.bool_]]:
    """Confident learning in one pass over the probabilities (Northcutt, Jiang and Chuang, 2021).

    A row counts for class j when its probability of j is at least the mean probability that rows
    labelled j have of j; among several such classes the likeliest is taken. The counts are then
    scaled so that each row of the joint adds up to the number of rows given that label.

    Parameters
    ----------
    p : ndarray, shape (n, k), float64
    y : ndarray, shape (n,), int64

    Returns
    -------
    joint : ndarray, shape (k, k), float64
        Sums to n.
    thresholds : ndarray, shape (k,)
        Infinite for a class without rows.
    confident : ndarray, shape (n,), bool
        Rows counted for another class than the given one.
    """
    n, k = p.shape
    counts = np.bincount(y, minlength=k)
    own = np.bincount(y, weights=p[np.arange(n), y], minlength=k)
    thresholds = np.where(counts > 0, own / np.maximum(counts, 1), np.inf)
    above = p >= thresholds - 1e-15
    best = np.where(above, p, -1.0).argmax(axis=1)
    counted = above[np.arange(n), best]
    raw = np.bincount(y[counted] * k + best[counted], minlength=k * k).reshape(k, k).astype(float)
    empty = raw.sum(axis=1) == 0
    raw[empty, empty] = 1.0  # a class with no confident row: taken as given
    joint = raw / raw.sum(axis=1, keepdims=True) * counts[:, None]
    return joint, thresholds, counted & (best != y)


def noise_rate(p: NDArray[np.float64], y: NDArray[np.int64]) -> tuple[float, Interval]:
    """Temperature and share of replaced labels by maximum likelihood, see `wrong_labels`.

    The likelihood is tabulated over both, coarsely, and then closely around the rates that the
    labels allow and all temperatures that go with them. Where no rate at all explains the labels
    as well as any other does, the rate is 0: scores that are all 0 or 1 cannot tell a wrong label
    from a hard record, and the interval then reaches from 0 to the share of contradictions.

    Returns
    -------
    temperature : float
        In [0.2, 400].
    rate : Interval
        In [0, (k - 1) / k], profile likelihood at 95 %.
    """
    n, k = p.shape
    limit = HALF_CHI2
    if n > FIT_ROWS:
        rows = np.linspace(0, n - 1, FIT_ROWS).astype(np.int64)
        p, y, limit = p[rows], y[rows], limit * FIT_ROWS / n
    logp = np.asfortranarray(np.log(np.maximum(p, _FLOOR)))
    most, bounds = (k - 1) / k, (math.log(0.2), math.log(400.0))
    rates = most * np.concatenate([[0.0], np.geomspace(1e-4, 0.95, 40)])
    heat = np.linspace(*bounds, 32)
    rate, hot = _profile(logp, y, rates, heat, limit)
    # Once more, closely around what the coarse table gave.
    wide = rate.high - rate.low
    edges = max(0.0, rate.low - 0.5 * wide), min(most, rate.high + 0.5 * wide)
    low, high = max(hot.low - 0.5, bounds[0]), min(hot.high + 0.5, bounds[1])
    heat = np.linspace(low, high, max(11, math.ceil((high - low) / 0.12)))
    rate, hot = _profile(logp, y, np.linspace(*edges, 40), heat, limit)
    return math.exp(hot.value), rate


def _profile(
    logp: NDArray[np.float64],
    y: NDArray[np.int64],
    rates: NDArray[np.float64],
    heat: NDArray[np.float64],
    limit: float,
) -> tuple[Interval, Interval]:
    """Rate with its profile-likelihood interval, and logarithms of the temperatures there."""
    table = np.array([_losses(logp, y, math.exp(t), rates) for t in heat])
    at, heights = _valley(heat, table)
    value, lowest = _lowest(rates, heights)
    if rates[0] == 0 and heights[0] - lowest <= ALIKE:
        value = 0.0
    rise = heights - lowest
    low, high = _edges(rates, rise, value, limit)
    within = at[(rates >= low) & (rates <= high)]
    hot = float(np.interp(value, rates, at))
    span = np.append(within, np.interp([low, value, high], rates, at))
    return Interval(value, low, high), Interval(hot, float(span.min()), float(span.max()))


def _valley(
    at: NDArray[np.float64], table: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Place and height of the minimum of each column, from a cubic spline through its entries.

    The valleys are narrow where rows are many: a parabola through three entries would miss them.
    """
    from scipy.interpolate import CubicSpline

    i, spline = table.argmin(axis=0).clip(1, len(at) - 2), CubicSpline(at, table)
    fine, every = np.linspace(at[i - 1], at[i + 1], 25), np.arange(table.shape[1])
    height = np.stack([spline(row)[every, every] for row in fine])
    best = height.argmin(axis=0).clip(1, len(fine) - 2)
    before, lowest, after = (height[best + step, every] for step in (-1, 0, 1))
    bend = np.maximum(before - 2 * lowest + after, 1e-12)
    shift = np.clip((before - after) / (2 * bend), -1, 1)
    place = fine[best, every] + shift * (fine[1] - fine[0])
    return place, lowest + shift * (after - before) / 2 + shift**2 * bend / 2


def _lowest(at: NDArray[np.float64], heights: NDArray[np.float64]) -> tuple[float, float]:
    """Place and height of a minimum, from the parabola through the lowest three points."""
    i = int(heights.argmin())
    if i in (0, len(at) - 1):
        return float(at[i]), float(heights[i])
    x, h = at[i - 1 : i + 2] - at[i], heights[i - 1 : i + 2] - heights[i]
    a = (h[2] / x[2] - h[0] / x[0]) / (x[2] - x[0])
    b = h[2] / x[2] - a * x[2]
    if a <= 0:
        return float(at[i]), float(heights[i])
    return float(at[i] - b / (2 * a)), float(heights[i] - b * b / (4 * a))


def _edges(
    rates: NDArray[np.float64], rise: NDArray[np.float64], value: float, limit: float
) -> tuple[float, float]:
    """Where the profile crosses the limit on both sides; its root is nearly straight."""
    root, goal = np.sqrt(np.maximum(rise, 0.0)), math.sqrt(limit)
    left, right = rates < value, rates > value
    below = np.interp(-goal, -np.append(root[left], 0.0), np.append(rates[left], value))
    above = np.interp(goal, np.append(0.0, root[right]), np.append(value, rates[right]))
    low = float(rates[0]) if rise[0] <= limit else float(below)
    return min(low, value), max(float(above), value)


def _tempered(logp: NDArray[np.float64], y: NDArray[np.int64], t: float) -> NDArray[np.float64]:
    """Probability of the given label after softening by a temperature."""
    own = logp[np.arange(len(y)), y]
    rest = np.zeros(len(y))
    for column in logp.T:
        rest += np.exp((column - own) / t)
    return np.asarray(1 / rest)


def _losses(
    logp: NDArray[np.float64], y: NDArray[np.int64], t: float, rates: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Negative log-likelihood of the labels at one temperature, for each rate."""
    q, count = _gathered(_tempered(logp, y, t))
    other = (1 - q) / (logp.shape[1] - 1)
    mixed = q + rates[:, None] * (other - q)
    losses: NDArray[np.float64] = -np.log(np.maximum(mixed, _FLOOR)) @ count
    return losses


def _gathered(q: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Probabilities that are nearly equal as one, with how many they are; few ones as they are.

    Bins are 0.7 % of the odds wide and stand at the mean of what they hold, so that the
    likelihood of a row is off by less than 1e-5.
    """
    if len(q) <= GATHERED:
        return q, np.ones(len(q))
    with np.errstate(divide="ignore"):
        odds = np.clip(np.log(q) - np.log1p(-q), -28.0, 28.0)
    place = ((odds + 28.0) * (GATHERED / 56.0)).astype(np.int64)
    count = np.bincount(place).astype(np.float64)
    held = count > 0
    return np.bincount(place, weights=q)[held] / count[held], count[held]


def posterior(
    p: NDArray[np.float64], y: NDArray[np.int64], temperature: float, rate: float
) -> NDArray[np.float64]:
    """Probability that each given label was replaced, under a fitted noise model.

    Where the fitted rate is 0 the order of the rows would be lost: one in a million is used.
    """
    rate = max(rate, 1e-6)
    q = _tempered(np.log(np.maximum(p, _FLOOR)), y, temperature)
    wrong = rate * (1 - q) / (p.shape[1] - 1)
    result: NDArray[np.float64] = wrong / np.maximum((1 - rate) * q + wrong, _FLOOR)
    return result


def clean_probabilities(p: NDArray[np.float64], temperature: float) -> NDArray[np.float64]:
    """The probabilities of true labels under a fitted noise model: softened, without the share."""
    z = np.log(np.maximum(p, _FLOOR)) / temperature
    e = np.exp(z - z.max(axis=1, keepdims=True))
    result: NDArray[np.float64] = e / e.sum(axis=1, keepdims=True)
    return result


def _checked(
    probabilities: ArrayLike, labels: ArrayLike
) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    p = np.asarray(probabilities, dtype=np.float64)
    y = np.asarray(labels)
    if p.ndim != 2 or y.shape != (len(p),) or len(y) == 0 or p.shape[1] < 2:
        raise SubjectError(
            f"probabilities of shape {p.shape} and labels of shape {y.shape} do not fit; "
            "expected (n, k) and (n,) with at least one row and two classes"
        )
    if not np.isfinite(p).all():
        raise SubjectError("a probability is not finite; leave out the rows without a prediction")
    y = y.astype(np.int64)
    if y.min() < 0 or y.max() >= p.shape[1]:
        raise SubjectError(f"labels must be class indices in [0, {p.shape[1]})")
    return p, y

"""The two membership scores: likelihood ratio (LiRA) and pair ratio (RMIA)."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.special import digamma, gammaln, polygamma

Floats = NDArray[np.float64]

#: Probabilities are kept this far from 0 and 1, so that logits are finite: a forest says "1".
CLIP = 1e-6


def logit(p: Floats) -> Floats:
    """Log-odds of the true label, nearly Gaussian over retrainings (Carlini et al., 2022)."""
    p = np.clip(np.asarray(p, dtype=np.float64), CLIP, 1 - CLIP)
    odds: Floats = np.log(p) - np.log1p(-p)
    return odds


def moderated_variance(squares: Floats, df: int) -> tuple[Floats, float]:
    """Variances of many records shrunk to the one they share (Smyth, 2004).

    The sample variances are taken as draws of s0² F(df, d0); d0 and s0² are fitted by the moments
    of their logarithms, and each variance becomes its posterior mean.

    Parameters
    ----------
    squares : ndarray, shape (n,)
        Sample variances, each with ``df`` degrees of freedom.
    df : int
        At least 1.

    Returns
    -------
    variances : ndarray, shape (n,)
        Moderated, positive.
    freedom : float
        ``d0 + df``, degrees of freedom of each; infinite where all records share one variance.
    """
    pooled = float(squares.mean())
    if pooled <= 0:
        return np.full_like(squares, CLIP), float("inf")
    # Exact zeros (a memoriser answers alike in every world) have no logarithm; they are floored
    # well below the typical variance.
    e = np.log(np.maximum(squares, 1e-4 * pooled)) - digamma(df / 2) + np.log(df / 2)
    spread = float(e.var(ddof=1)) - float(polygamma(1, df / 2)) if len(e) > 1 else 0.0
    if spread <= 1e-3:
        return np.full_like(squares, pooled), float("inf")
    d0 = 2 * _inverse_trigamma(spread)
    s0 = float(np.exp(e.mean() + digamma(d0 / 2) - np.log(d0 / 2)))
    return (d0 * s0 + df * squares) / (d0 + df), d0 + df


def _inverse_trigamma(value: float) -> float:
    """The x with trigamma(x) = value, by Newton's iteration on 1 / trigamma."""
    x = 0.5 + 1 / value
    for _ in range(50):
        now = float(polygamma(1, x))
        step = now * (1 - now / value) / float(polygamma(2, x))
        x += step
        if abs(step) < 1e-8 * x:
            break
    return x


def _log_density(value: Floats, centre: Floats, variance: Floats, freedom: float) -> Floats:
    """Log of a Student density with location and squared scale; Gaussian with infinite freedom."""
    z = (value - centre) ** 2 / variance
    if np.isinf(freedom):
        normal: Floats = -0.5 * (z + np.log(2 * np.pi * variance))
        return normal
    shape = gammaln((freedom + 1) / 2) - gammaln(freedom / 2) - 0.5 * np.log(freedom * np.pi)
    student: Floats = shape - 0.5 * np.log(variance) - (freedom + 1) / 2 * np.log1p(z / freedom)
    return student


def likelihood_ratio(target: Floats, shadows: Floats, inside: NDArray[np.bool_]) -> Floats:
    """Log-likelihood ratio of membership (LiRA; Carlini et al., 2022), moderated.

    Each record's own shadows give the centre of its confidence when it was trained on and when it
    was not; the variances are shrunk to the ones that all records share, and the densities are
    the Student predictive ones, which allow for the few shadows that the centres rest on.

    Parameters
    ----------
    target : ndarray, shape (n,)
        `logit` of the audited model's probability of the true label.
    shadows : ndarray, shape (r, n)
        The same of r shadows; each record inside at least two and outside at least two.
    inside : ndarray, shape (r, n), bool

    Returns
    -------
    ndarray, shape (n,)
        Higher: more like a member.

    Raises
    ------
    ValueError
        With fewer than two shadows in one of the worlds.
    """
    worlds = []
    for mask in (inside, ~inside):
        count = mask.sum(axis=0)
        if count.min() < 2:
            raise ValueError("the likelihood ratio needs two shadows with and two without a record")
        centre = np.where(mask, shadows, 0.0).sum(axis=0) / count
        squares = np.where(mask, (shadows - centre) ** 2, 0.0).sum(axis=0) / (count - 1)
        variance, freedom = moderated_variance(squares, int(count.min()) - 1)
        worlds.append(_log_density(target, centre, variance * (1 + 1 / count), freedom))
    ratio: Floats = worlds[0] - worlds[1]
    return ratio


def pair_ratio(target: Floats, shadows: Floats, inside: NDArray[np.bool_]) -> Floats:
    """How much likelier a record's label is than on average (RMIA; Zarifzadeh et al., 2024).

    ``log p(x | model) - log p(x)``, where p(x) is the mean over the worlds with the record and
    without it. The published score is the share of a population that the ratio dominates
    (`dominance`); that is monotone in the ratio, but ties at 1 hide the most exposed records, so
    ranks are taken of the ratio itself. One complementary pair of shadows is enough.

    Parameters
    ----------
    target : ndarray, shape (n,)
        Probability of the true label in the audited model, in [0, 1].
    shadows : ndarray, shape (r, n)
        The same of r shadows; each record inside at least one and outside at least one.
    inside : ndarray, shape (r, n), bool
    """
    means = [np.where(m, shadows, 0.0).sum(axis=0) / m.sum(axis=0) for m in (inside, ~inside)]
    average = np.maximum(0.5 * (means[0] + means[1]), CLIP)
    ratio: Floats = np.log(np.maximum(target, CLIP)) - np.log(average)
    return ratio


def dominance(scores: Floats, population: Floats) -> Floats:
    """Share of a population whose scores are below, in [0, 1], ties counted half; shape (n,)."""
    order = np.sort(population)
    below = np.searchsorted(order, scores, "left") + np.searchsorted(order, scores, "right")
    share: Floats = below / (2 * len(order))
    return share

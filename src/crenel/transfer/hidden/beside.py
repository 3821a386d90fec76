"""What a network finds easier than networks of the same layers do that saw no planted image."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from math import comb

import numpy as np
from numpy.typing import NDArray

from crenel.transfer.hidden.outliers import FEWEST

#: Correlation of a class's logarithms of costs in two families, where nothing is planted:
#: 0.16 to 0.41 between siblings of forty small networks, 0.24 to 0.61 between those and siblings.
CORRELATION = 0.35
#: Correlation of those of two looks at a network on different images, each beside another one:
#: between -0.4 and 0.8 in eight clean networks, 0.4 in the median.
AGAIN = 0.5
#: Least spread of logarithms that is believed.
SPREAD = 0.03
#: Usual spread, over classes, of the logarithms of costs less those of a sibling's, in 64 looks at
#: small networks. A network's own are larger or smaller than these in all ways alike: what is left
#: of their variances then varies by no more than a sample of ten classes does. Beside controls that
#: are taught by answers waves differ more for their patches: by simulation 3.8 % of clean models
#: are then below 0.03.
USUAL = {"patch": 0.285, "blend": 0.195, "faint wave": 0.133}
#: Costs of the same classes by way of search, each of shape (k,), positive.
Costs = Mapping[str, NDArray[np.float64]]

#: Ways whose chances are joined: local and global triggers, waves, and those that all ways see.
VIEWS = (("patch", "blend"), ("faint wave",), ("patch", "blend", "faint wave"))


@dataclass(frozen=True)
class Beside:
    """A class beside other networks.

    Attributes
    ----------
    at : int
        Position of the class.
    alone : float
        Chance that this class stands out so, over all views and no choice of classes.
    p : float
        Chance that a network without a trigger has a class that stands out so, over all choices
        of classes and views.
    parts : dict of str to float
        By way of search: the chance of this class alone, over no choice.
    """

    at: int
    alone: float
    p: float
    parts: dict[str, float]


def stand_beside(
    own: Costs,
    siblings: Sequence[Costs],
    choices: int | None = None,
    among: NDArray[np.float64] | None = None,
) -> list[Beside]:
    """Hold the costs of every class against what it costs elsewhere, in all ways of search.

    Parameters
    ----------
    own : mapping of str to ndarray of float64, shape (k,)
        Costs by way of search, which is a key of `USUAL`, k at least 4; infinite ones are as dear
        as the dearest finite one.
    siblings : sequence of the same
        Of networks of the same layers. A way that is not in all of them tells nothing.
    choices : int, optional
        Classes that could have been chosen; k where it is not given.
    among : ndarray of float64, shape (k,), optional
        Costs that are held against those of the other classes here, whatever they are elsewhere:
        one more view. Networks that differ much in what they find easy blur all others.

    Returns
    -------
    list of Beside
        All classes, those that stand out most first.

    Raises
    ------
    ValueError
        Where there are fewer than four classes, or no way is common to all.

    Notes
    -----
    In each way the logarithm of the class's cost, less the mean of those elsewhere, is held
    against the prediction interval of one more value from the other classes' (Student's t). A few
    classes tell little of their spread, and the ways tell it together: half of a way's variance is
    its own, half the mean of all ways' in their usual ratios (as Smyth, 2004, moderates those of
    many tests by what they have in common), with as many degrees of freedom as such a sum has
    (Satterthwaite, 1946). The chances of the ways of a view are joined by Fisher's rule (1932),
    whose spread is widened for their correlation as Brown does (1975). The least of the views
    counts, times their number and that of the classes. A second planted class would hide the first:
    every two are held against the rest as well, times the number of pairs.
    """
    gaps = _gaps(own, siblings)
    if not gaps:
        raise ValueError("no way of search reached a class on all networks")
    table, usual = np.array(list(gaps.values())), np.array([USUAL[way] for way in gaps])
    k = table.shape[1]
    if k < FEWEST + 1:
        raise ValueError(f"{k} classes: none can be told from the others")
    views = _views(list(gaps))
    here = None if among is None else np.log(filled(among))[None]
    looks = len(views) + (here is not None)
    n = max(choices or k, k)
    chances, parts = np.full(k, np.inf), np.ones((len(gaps), k))
    for count in (c for c in (1, 2) if k - c >= FEWEST):
        chosen = np.array(list(combinations(range(k), count)))
        alone = _alone(table, usual, chosen)
        told = [joined(alone[view]) for view in views]
        if here is not None:
            told.append(_alone(here, np.ones(1), chosen)[0])
        together = comb(n, count) * looks * np.min(told, axis=0).max(axis=1)
        for row, at in enumerate(chosen):
            for i, c in enumerate(at):
                if together[row] < chances[c]:
                    chances[c], parts[:, c] = together[row], alone[:, row, i]
                elif count == 1:
                    parts[:, c] = alone[:, row, i]
    return [
        Beside(
            at=int(c),
            alone=min(1.0, float(chances[c]) / n),
            p=min(1.0, float(chances[c])),
            parts=dict(zip(gaps, parts[:, c].tolist())),
        )
        for c in np.argsort(chances, kind="stable")
    ]


def seen_twice(first: list[Beside], second: list[Beside], choices: int) -> list[Beside]:
    """Classes by their first look or by both looks joined, those that stand out most first.

    Parameters
    ----------
    first, second : list of Beside
        All classes, of two looks at one network on different images.
    choices : int
        Classes that could have been chosen.

    Notes
    -----
    A trigger is there on all images, and what makes a class easy on some of them is not. The
    chances of each class are joined by Fisher's rule (1932) as Brown widens it (1975), times the
    choices; the first look's own stays where it is the less. That there were two ways to stand
    out is left to the caller to pay for, who must where one look sufficed too.
    """
    other = {b.at: b for b in second}
    told = []
    for one in first:
        again = other[one.at]
        both = choices * float(joined(np.array([[one.alone], [again.alone]]), AGAIN)[0])
        closer = min(one, again, key=lambda b: b.alone)
        told.append(replace(closer, p=min(one.p, both)))
    return sorted(told, key=lambda b: b.p)


def _views(ways: list[str]) -> list[list[int]]:
    """Positions of the ways of each view, without views that are the same or empty."""
    kept = {tuple(w for w in view if w in ways) for view in VIEWS}
    return [[ways.index(w) for w in view] for view in sorted(kept) if view]


def joined(chances: NDArray[np.float64], correlation: float = CORRELATION) -> NDArray[np.float64]:
    """Chances of dependent tests, shape (tests, ...), as one: Fisher's with Brown's spread."""
    from scipy.special import chdtrc

    tests = len(chances)
    covariance = correlation * (3.25 + 0.75 * correlation)
    wider = 1 + (tests - 1) * covariance / 4
    told = -2 * np.log(np.maximum(chances, 1e-300)).sum(axis=0)
    return np.asarray(chdtrc(2 * tests / wider, told / wider))


def _gaps(own: Costs, siblings: Sequence[Costs]) -> dict[str, NDArray[np.float64]]:
    """By way of search: logarithms of costs, less the mean of those elsewhere, shape (k,)."""
    return {
        way: np.log(filled(costs)) - np.mean([np.log(filled(s[way])) for s in siblings], axis=0)
        for way, costs in own.items()
        if all(way in s and np.isfinite(s[way]).any() for s in (own, *siblings))
    }


def filled(costs: NDArray[np.float64]) -> NDArray[np.float64]:
    """A class that was not reached is as dear as the dearest one; where none was, all are alike."""
    finite = costs[np.isfinite(costs)]
    return np.where(np.isfinite(costs), costs, finite.max() if len(finite) else 1.0)


def _alone(
    table: NDArray[np.float64], usual: NDArray[np.float64], chosen: NDArray[np.int64]
) -> NDArray[np.float64]:
    """Chances of classes (choices, c) beside all that are not chosen, shape (ways, choices, c)."""
    from scipy.special import stdtr

    ways, k = table.shape
    rest = table[:, [np.setdiff1d(np.arange(k), at) for at in chosen]]
    n = rest.shape[2]
    # of each way's variance as a share of its usual one: half its own, half the mean of all
    weights = np.full((ways, ways), 0.5 / ways) + 0.5 * np.eye(ways)
    usual = usual[:, None]
    variance = weights @ (rest.var(axis=2, ddof=1) / usual**2) * usual**2
    together = np.where(np.eye(ways) == 1, 1.0, CORRELATION**2)
    freedom = (n - 1) / np.einsum("ij,jk,ik->i", weights, together, weights)
    spread = np.sqrt(np.maximum(variance, SPREAD**2) * (1 + 1 / n))
    short = table[:, chosen] - rest.mean(axis=2)[:, :, None]
    return np.asarray(stdtr(freedom[:, None, None], short / spread[:, :, None]))

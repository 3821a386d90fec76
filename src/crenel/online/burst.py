"""How many poisoned samples in a row turn a behaviour, and whether honest traffic heals it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from crenel.online.learners import Live, Snapshot
from crenel.online.poison import Poison

Turned = Callable[[Live], bool]

#: Samples that are tried even where the time is over.
LEAST = 64


@dataclass(frozen=True)
class Burst:
    """One burst.

    Attributes
    ----------
    count : int or None
        Smallest number of samples that turned the behaviour; None where none did.
    fed : int
        Samples fed at most; below the limit where the deadline passed.
    """

    count: int | None
    fed: int


def smallest_burst(
    start: Snapshot,
    poison: Poison,
    turned: Turned,
    most: int,
    expired: Callable[[], bool] = lambda: False,
) -> Burst:
    """Find the smallest burst that turns a behaviour, by doubling and bisection.

    Parameters
    ----------
    start : Snapshot
        The honest state.
    poison : Poison
        Fed from its first sample on.
    turned : callable
        Of a learner: whether the behaviour is turned.
    most : int
        Largest burst tried.
    expired : callable
        Asked before each doubling above `LEAST` samples.

    Returns
    -------
    Burst
        Exact where being turned is monotone in the number of samples; else a number that does
        turn it while one fewer does not.
    """
    live, fed, below = start.restore(), 0, start
    while fed < most and not (fed >= LEAST and expired()):
        more = min(max(1, fed), most - fed)
        live.learn(*poison.take(fed, more))
        if turned(live):
            return Burst(_bisect(below, poison, turned, fed, fed + more), fed + more)
        fed += more
        below = Snapshot.of(live)
    return Burst(None, fed)


def _bisect(state: Snapshot, poison: Poison, turned: Turned, low: int, high: int) -> int:
    """Smallest count in (low, high] that turns, where ``state`` has learned ``low`` and is not."""
    while high - low > 1:
        middle = (low + high) // 2
        live = state.restore()
        live.learn(*poison.take(low, middle - low))
        if turned(live):
            high = middle
        else:
            state, low = Snapshot.of(live), middle
    return high


def still_turned(
    start: Snapshot,
    poison: Poison,
    count: int,
    traffic: tuple[Any, NDArray[np.int64]],
    turned: Turned,
    marks: NDArray[np.int64],
) -> NDArray[np.bool_]:
    """Whether a behaviour is still turned after a burst and some honest samples.

    Parameters
    ----------
    start : Snapshot
    poison : Poison
    count : int
        Samples of the burst.
    traffic : (encoded rows, labels)
        Honest samples in order, gone through again where they run out.
    marks : ndarray, shape (m,), int64
        Increasing numbers of honest samples after which it is looked at.

    Returns
    -------
    ndarray, shape (m,), bool
    """
    live = start.restore()
    live.learn(*poison.take(0, count))
    again, fed, seen = Poison(*traffic), 0, []
    for mark in marks.tolist():
        live.learn(*again.take(fed, mark - fed))
        fed = mark
        seen.append(turned(live))
    return np.array(seen, dtype=bool)


def mixed(
    start: Snapshot,
    poison: Poison,
    traffic: tuple[Any, NDArray[np.int64]],
    share: float,
    rng: np.random.Generator,
) -> Live:
    """Return the learner after honest traffic with a share of poison strewn evenly into it.

    Parameters
    ----------
    traffic : (encoded rows, labels)
        All honest samples, in order.
    share : float
        Of the whole stream, in [0, 1); the number of poisoned samples is rounded, at least 1
        where the share is above 0.
    rng : numpy.random.Generator
        Draws where in its stretch of traffic each poisoned sample falls.
    """
    from crenel.online.learners import join, take

    rows, y = traffic
    amount = poison_amount(len(y), share)
    bad_rows, bad_y = poison.take(0, amount)
    when = (np.arange(amount) + rng.random(amount)) * len(y) / max(1, amount)
    order = np.argsort(np.concatenate([np.arange(len(y)) + 0.5, when]), kind="stable")
    live = start.restore()
    labels = np.concatenate([y, bad_y])
    live.learn(take(join(rows, bad_rows), order), labels[order])
    return live


def poison_amount(honest: int, share: float) -> int:
    """Poisoned samples that are a share of a stream with so many honest ones."""
    return max(1, round(share / (1 - share) * honest)) if share > 0 else 0


def critical_share(holds: Callable[[float], bool], shares: tuple[float, ...]) -> float | None:
    """Smallest share of a grid that keeps a behaviour turned, by bisection of the grid.

    Parameters
    ----------
    holds : callable
        Of a share: whether the behaviour is turned at the end. Taken to be monotone: more
        poison never helps the defender.
    shares : tuple of float
        Increasing.

    Returns
    -------
    float or None
        None where the largest share does not.
    """
    low, high = -1, len(shares)
    while high - low > 1:
        middle = (low + high) // 2
        if holds(shares[middle]):
            high = middle
        else:
            low = middle
    return shares[high] if high < len(shares) else None

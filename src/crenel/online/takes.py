"""What it takes to nudge a learner: bursts, shares of the stream, flips, each with its control."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from crenel.online.burst import Burst, critical_share, mixed, smallest_burst, still_turned
from crenel.online.learners import Live, Snapshot, take
from crenel.online.poison import (
    Poison,
    copies,
    far_copies,
    flips,
    honest,
    near_copies,
    strongest,
)
from crenel.online.scene import Behaviour, Scene

#: Largest burst tried.
MOST = 4_096
#: Honest samples over which a share of the stream is held.
HORIZON = 400
SHARES = (0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.3)
#: Share that stands for an attacker without limit.
NEARLY_ALL = 0.9
HEAL_MARKS = np.array([0, 25, 50, 100, 200], dtype=np.int64)

Rng = Callable[..., np.random.Generator]
Expired = Callable[[], bool]


@dataclass(frozen=True)
class Turning:
    """The bursts at one behaviour.

    Attributes
    ----------
    behaviour : Behaviour
    poison : Poison
        The stronger of copies and near copies.
    attack : str
        Its name.
    burst : Burst
        Its burst.
    doubled : bool or None
        Whether the behaviour is still turned after twice as many; None where not looked at.
    seeing : int or None
        Samples for an attacker who sees scores; None where none did or it was not tried.
    still : ndarray of bool, shape (len(HEAL_MARKS),), or None
        Whether it is still turned after so many honest samples.
    """

    behaviour: Behaviour
    poison: Poison
    attack: str
    burst: Burst
    doubled: bool | None = None
    seeing: int | None = None
    still: NDArray[np.bool_] | None = None


def traffic_of(scene: Scene) -> tuple[Any, NDArray[np.int64]]:
    """The honest samples of the horizon: encoded rows and labels."""
    index = scene.traffic[:HORIZON]
    return take(scene.rows, index), scene.y[index]


def burst_at(
    start: Snapshot, scene: Scene, b: Behaviour, rng: Rng, expired: Expired, most: int = MOST
) -> Turning:
    """Find the smallest burst at one behaviour, and what honest traffic makes of it after.

    Near copies are only tried for bursts smaller than that of exact copies, and an attacker who
    sees scores only for smaller ones still.
    """

    def turned(live: Live) -> bool:
        return scene.turned(live, b)

    pools = {
        "copies": copies(scene, b),
        "near copies": near_copies(scene, b, start.kind, rng("near", b.name)),
    }
    name, best, limit = "copies", Burst(None, 0), most
    for attack, pool in pools.items():
        found = smallest_burst(start, pool, turned, limit, expired)
        if found.count is not None or attack == "copies":
            name, best = attack, found
        limit = most // 4 if best.count is None else best.count - 1
    if best.count is None:
        return Turning(b, pools[name], name, best)
    seeing: int | None = best.count
    if limit and start.restore().has_scores and not expired():
        far = far_copies(scene, b, start.kind, rng("far", b.name))
        chosen = strongest(start, [*pools.values(), far], scene, b)
        seeing = smallest_burst(start, chosen, turned, limit, expired).count or best.count
    marks, traffic = HEAL_MARKS, traffic_of(scene)
    still = still_turned(start, pools[name], best.count, traffic, turned, marks)
    twice = start.restore()
    twice.learn(*pools[name].take(0, 2 * best.count))
    return Turning(b, pools[name], name, best, turned(twice), seeing, still)


def honest_burst(
    start: Snapshot,
    scene: Scene,
    chosen: list[Behaviour],
    budgets: tuple[int, ...],
    rng: np.random.Generator,
) -> NDArray[np.bool_]:
    """Control of the bursts: whether each behaviour is turned by as many honest samples.

    Returns
    -------
    ndarray, shape (len(budgets), len(chosen)), bool
    """
    pool, live, fed, seen = honest(scene, rng, budgets[-1]), start.restore(), 0, []
    for budget in budgets:
        live.learn(*pool.take(fed, budget - fed))
        fed = budget
        seen.append([scene.turned(live, b) for b in chosen])
    return np.array(seen, dtype=bool)


def share_at(
    start: Snapshot, scene: Scene, turning: Turning, rng: Rng, shares: tuple[float, ...] = SHARES
) -> float | None:
    """Smallest share of the stream at whose end a behaviour is turned; None where none is."""
    traffic = traffic_of(scene)

    def holds(share: float) -> bool:
        draw = rng("share", turning.behaviour.name, share)
        live = mixed(start, turning.poison, traffic, share, draw)
        return scene.turned(live, turning.behaviour)

    return critical_share(holds, shares)


@dataclass(frozen=True)
class Honest:
    """What honest samples in the place of the poison do: the control of every share.

    Attributes
    ----------
    turned : ndarray of bool, shape (shares, behaviours)
    before : ndarray of bool, shape (m,)
        Held-out rows decided rightly after the honest traffic alone.
    right : ndarray of bool, shape (shares, m)
        The same with the further honest samples.
    """

    turned: NDArray[np.bool_]
    before: NDArray[np.bool_]
    right: NDArray[np.bool_]


def honest_shares(
    start: Snapshot, scene: Scene, chosen: list[Behaviour], shares: tuple[float, ...], rng: Rng
) -> Honest:
    """Strew shares of honest samples into the honest traffic."""
    turned, right = [], []
    for share in (0.0, *shares):
        pool = honest(scene, rng("honest", share), MOST)
        live = mixed(start, pool, traffic_of(scene), share, rng("honest order", share))
        turned.append([scene.turned(live, b) for b in chosen])
        right.append(scene.right(live, scene.held))
    return Honest(np.array(turned[1:], dtype=bool), right[0], np.array(right[1:], dtype=bool))


def flipped_shares(
    start: Snapshot, scene: Scene, shares: tuple[float, ...], rng: Rng, repeat: int = 0
) -> NDArray[np.bool_]:
    """Held-out rows decided rightly after one draw of flipped labels, (shares, m)."""
    right = []
    for share in shares:
        pool = flips(scene, rng("flips", share, repeat), MOST)
        live = mixed(start, pool, traffic_of(scene), share, rng("flips order", share, repeat))
        right.append(scene.right(live, scene.held))
    return np.array(right, dtype=bool)

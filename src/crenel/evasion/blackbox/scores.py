"""Attacks that see scores: Square down a ladder of radii, so that one run gives the whole curve."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from crenel.evasion.blackbox.budget import Flags, Floats, Ledger, Rows
from crenel.evasion.blackbox.square import Proposer, window_share
from crenel.evasion.blackbox.windows import Layout


@dataclass
class _Search:
    """What one search holds of each of its m rows.

    ``rung`` is the radius that is tried, ``floor`` the highest one below it that a quick try has
    not broken since the last success, and ``fresh`` marks points that were not asked yet.
    """

    rows: Rows
    rung: Rows
    floor: Rows
    point: Floats
    margin: Floats
    fresh: Flags
    done: Flags


def square_down(
    ledger: Ledger, rows: Rows, radii: Floats, *, queries: int, rng: np.random.Generator
) -> None:
    """Square from the largest radius downwards; what is found stands in the ledger.

    A row that breaks is pulled into smaller balls and asked again, halving the way down the
    ladder; where the pulled point does not break, the search goes on from it at the largest
    radius that still stands. So rows that are easy spend their queries near the radius at which
    they become hard, and what breaks at a radius counts at every larger one.

    Parameters
    ----------
    ledger : Ledger
    rows : ndarray of int64
        Rows to attack, each once.
    radii : ndarray, increasing
        The ladder, in units of the ledger. With one radius this is the plain attack.
    queries : int
        Of each row at most; the schedule of the windows spans them.
    rng : Generator
    """
    draw = Proposer(ledger, Layout.of(ledger.x.shape[1:]), rng)
    top = len(radii) - 1
    full = np.full(len(rows), top)
    search = _Search(
        rows=rows, rung=full, floor=np.full(len(rows), -1),
        point=draw.first(rows, radii[full]), margin=np.full(len(rows), np.inf),
        fresh=np.ones(len(rows), dtype=bool), done=np.zeros(len(rows), dtype=bool),
    )  # fmt: skip
    _descend_known(ledger, search, radii, draw)
    for step in range(queries):
        live = np.flatnonzero(~search.done & (ledger.left(rows) > 0))
        if not live.size:
            break
        _step(ledger, search, live, radii, draw, window_share(step, queries))


def _descend_known(ledger: Ledger, search: _Search, radii: Floats, draw: Proposer) -> None:
    """Begin below what earlier attacks found, from the point that they found."""
    known = np.flatnonzero(np.isfinite(ledger.best[search.rows]))
    if known.size:
        _lower(ledger, search, known, radii, draw)


def _step(
    ledger: Ledger, s: _Search, live: Rows, radii: Floats, draw: Proposer, share: float
) -> None:
    """One query of each live row."""
    rows, radius = s.rows[live], radii[s.rung[live]]
    trial = s.point[live].copy()
    old = ~s.fresh[live]
    if old.any():
        trial[old] = draw.next(rows[old], trial[old], radius[old], share)
    turned, margin = ledger.ask(rows, trial, radius)
    better = turned | (margin < s.margin[live])
    s.point[live[better]], s.margin[live[better]] = trial[better], margin[better]
    probing = s.fresh[live] & (s.floor[live] >= -1) & ~turned
    s.fresh[live] = False
    within = turned & (ledger.best[rows] <= radius * (1 + 1e-9))
    _climb(s, live[probing], ledger, radii, draw)
    if within.any():
        _lower(ledger, s, live[within], radii, draw)


def _lower(ledger: Ledger, s: _Search, at: Rows, radii: Floats, draw: Proposer) -> None:
    """Rows that broke go to a radius half way down the ladder below what was found."""
    broken = np.searchsorted(radii, ledger.best[s.rows[at]] * (1 - 1e-9), side="left")
    s.done[at] |= broken == 0
    s.floor[at] = -1
    _pull(ledger, s, at, broken, radii, draw)


def _climb(s: _Search, at: Rows, ledger: Ledger, radii: Floats, draw: Proposer) -> None:
    """Rows whose pulled point does not break try a larger ball, up to the one below success."""
    broken = np.searchsorted(radii, ledger.best[s.rows[at]] * (1 - 1e-9), side="left")
    s.floor[at] = s.rung[at]
    higher = broken - s.floor[at] > 1
    _pull(ledger, s, at[higher], broken[higher], radii, draw)


def _pull(
    ledger: Ledger, s: _Search, at: Rows, broken: Rows, radii: Floats, draw: Proposer
) -> None:
    """Take the best point known into the ball half way between floor and success."""
    s.rung[at] = np.maximum((s.floor[at] + np.minimum(broken, len(radii))) // 2, 0)
    rows = s.rows[at]
    s.point[at] = draw.inside(rows, ledger.point[rows], radii[s.rung[at]])
    s.margin[at], s.fresh[at] = np.inf, True


def ladder(width: float, epsilons: NDArray[np.float64] | None, steps: int = 24) -> Floats:
    """Radii to descend: the given ones, else a geometric ladder down to a 200th of a width."""
    if epsilons is not None:
        return np.unique(np.asarray(epsilons, dtype=np.float64))
    rungs: Floats = width * np.geomspace(0.005, 1.0, steps)
    return rungs

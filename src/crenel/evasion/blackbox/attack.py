"""One entry point for attacks by queries: the best found for each row, and what it cost."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from importlib.util import find_spec
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from crenel.errors import UsageError
from crenel.evasion.blackbox.budget import Ledger
from crenel.evasion.blackbox.decision import pull_in, start, walk
from crenel.evasion.blackbox.health import answered, held, settled, unlimited
from crenel.evasion.blackbox.rays import rays, rays_from_elsewhere
from crenel.evasion.blackbox.scores import ladder, square_down
from crenel.evasion.blackbox.sparse import one_by_one, restore
from crenel.evasion.blackbox.windows import Layout
from crenel.evasion.lattice import Lattice
from crenel.exposure import HealthTest

#: Pixels from which windows beat blocks of signs.
SQUARE_FROM = 256
#: Rungs of the ladder of radii where none are given.
RUNGS = 48
#: Rows that must be held for surrogates, and shares of the queries at which they learn anew.
LEAST, MOMENTS = 50, (0.1, 0.3)
#: Flips without a gain after which a search from what surrogates found begins elsewhere.
PATIENCE = 8
#: Queries that fewer changed numbers may cost at first, and that they keep for the end.
RESTORE, LAST = 40, 0.1


@dataclass(frozen=True)
class QueryAttack:
    """What an attacker who only asks has reached, and by how many queries.

    Attributes
    ----------
    distance : ndarray of float64, shape (n,)
        Size of the smallest change that turns each decision, infinite where none was found; 0
        for rows that are decided otherwise as they are.
    witness : ndarray, shape (n, …)
        The rows so changed, in the user's own form; as they were where none was found.
    queries_to_first : ndarray of float64, shape (n,)
        Queries until the first change of a size within the largest epsilon (of any size where
        none was given); infinite where none.
    queries : ndarray of int64, shape (n,)
        Queries asked for each row.
    asked, calls : int
        Rows and calls asked in all, with those of the checks around the attack.
    seconds : float
        Spent in answers.
    rejected : int
        Rows whose witness did not hold when asked again; they do not count as found.
    scores : bool
        Whether scores were seen.
    stopped : str
        Why the attack ended before its queries were spent; empty otherwise.
    events : tuple of ndarray
        Rows, queries of that row so far, and sizes of each change that was nearer than all before.
    tests : tuple of HealthTest
        Whether the attack itself worked.
    """

    distance: NDArray[np.float64]
    witness: NDArray[Any]
    queries_to_first: NDArray[np.float64]
    queries: NDArray[np.int64]
    asked: int
    calls: int
    seconds: float
    rejected: int
    scores: bool
    stopped: str
    events: tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float64]]
    tests: tuple[HealthTest, ...] = ()

    def distance_at(self, queries: float) -> NDArray[np.float64]:
        """Smallest change found for each row within so many of its queries, shape (n,)."""
        rows, order, size = self.events
        found = np.full(len(self.distance), math.inf)
        early = order <= queries
        np.minimum.at(found, rows[early], size[early])
        return found

    def first(self, epsilon: float = math.inf) -> NDArray[np.float64]:
        """Queries of each row until a change of size at most epsilon, infinite where none."""
        rows, order, size = self.events
        found = np.full(len(self.distance), math.inf)
        near = size <= epsilon
        np.minimum.at(found, rows[near], order[near])
        return found

    def curve(self, queries: ArrayLike, epsilon: float) -> NDArray[np.float64]:
        """Share of rows flipped within each number of queries by a change of at most epsilon."""
        first = self.first(epsilon)
        return np.array([float((first <= q).mean()) for q in np.atleast_1d(np.asarray(queries))])

    def money(self, price_per_1000: float) -> float:
        """What all queries cost at a price for 1,000."""
        return self.asked * price_per_1000 / 1000


def query_attack(
    predict: Callable[[Any], Any],
    x: ArrayLike,
    y: ArrayLike,
    *,
    scores: Callable[[Any], Any] | None = None,
    norm: float = math.inf,
    epsilons: ArrayLike | None = None,
    bounds: tuple[Any, Any] | None = None,
    lattice: Lattice | None = None,
    scale: Any = 1.0,
    pool: tuple[Any, Any] | None = None,
    queries: int = 1000,
    total: int | None = None,
    transfer: int | None = None,
    seed: int = 0,
    deadline: float | None = None,
) -> QueryAttack:
    """Search for the smallest change of each row that turns its decision, by queries alone.

    Scores and L-inf: Square on images, blocks of signs on small ones and on other rows. Decisions
    and L-inf: RayS.
    L2: half circles along estimated normals of the boundary (CGBA), from the nearest row decided
    otherwise. L0 and L1: single numbers, put back as far as the decision allows. All rows are
    asked together, and a row that is done is left alone. With ``transfer``, rows that break small
    networks taught from the pool and from all answers are asked first (Papernot et al., 2017).

    Parameters
    ----------
    predict : callable
        Rows (m, …) to decisions (m,).
    x : array_like, shape (n, …)
        Images (n, c, h, w), (n, h, w, c) or (n, h, w), or numeric rows (n, d).
    y : array_like, shape (n,)
        The decisions to be turned; indices of the columns of the scores where there are some.
    scores : callable, optional
        Rows to scores (m, k): probabilities or logits. Absent: the attacker sees decisions alone.
    norm : {inf, 2, 1, 0}
    epsilons : sequence of float, optional
        Sizes of interest: no queries are spent below the smallest of them. By default the
        smallest change of each row is searched for.
    bounds : (low, high), optional
        Legal range, broadcast against ``x``: where both are a row's own number it is fixed. By
        default that of the lattice, else 0 to 1.
    lattice : Lattice, optional
        Which numbers are legal; only legal rows are asked.
    scale : float or ndarray, broadcast against a row
        Unit of each number, in which sizes are measured.
    pool : (rows, decisions), optional
        Rows that the attacker holds, to start from; by default ``x`` and ``y``.
    queries : int
        For each row at most.
    total : int, optional
        For all rows at most.
    transfer : int, optional
        Teach surrogates from the pool, which must have 50 rows or more, and with so many of its
        rows decided by the model instead of as the pool says; the rows under attack share the
        cost evenly, at most a quarter of their queries. 0 asks for none. Needs torch. By default
        nothing is taught.
    seed : int
    deadline : float, optional
        On the monotonic clock; what was found by then is returned.

    Returns
    -------
    QueryAttack

    Raises
    ------
    crenel.errors.UsageError
        Where an argument is out of range.

    Notes
    -----
    Where the model stops answering in the middle, the attack ends with what it has found and
    says so in ``stopped``.
    """
    rows, labels = np.asarray(x), np.asarray(y)
    _check(rows, labels, norm, epsilons, queries)
    if rows.dtype.kind not in "fiu":
        rows = rows.astype(np.float64)
    low, high = bounds or ((lattice.low, lattice.high) if lattice else (0.0, 1.0))
    rules = lattice or Lattice(low, high, 1.0 if rows.dtype.kind in "iu" else 0.0, (), rows.dtype)
    unit = np.broadcast_to(np.asarray(scale, dtype=np.float64), rows.shape[1:]).ravel()
    radii = None if epsilons is None else np.unique(np.asarray(epsilons, dtype=np.float64))
    ledger = Ledger(
        predict, scores, rows, labels, norm, rules, (low, high), unit, queries, total, deadline,
        enough=0.0 if radii is None else float(radii[0]), heard=None if transfer is None else [],
    )  # fmt: skip
    rng = np.random.default_rng(seed)
    _look(ledger)
    known = (rows, labels) if pool is None else (np.asarray(pool[0]), np.asarray(pool[1]))
    flat = known[0].reshape(len(known[0]), -1).astype(np.float64) / unit
    _run(ledger, flat, known[1], radii, transfer, rng)
    return _result(ledger, radii)


def teachable() -> bool:
    """Whether surrogates can be taught here, which takes torch."""
    return find_spec("torch") is not None


def _check(x: NDArray[Any], y: NDArray[Any], norm: float, epsilons: Any, queries: int) -> None:
    if len(x) != len(y) or not len(x) or x.ndim < 2:
        raise UsageError(f"{x.shape} rows but {len(y)} decisions; give one for each row")
    if norm not in (0, 1, 2, math.inf) or queries < 1:
        raise UsageError("norm must be 0, 1, 2 or math.inf, and queries at least 1")
    if epsilons is not None:
        radii = np.asarray(epsilons, dtype=np.float64)
        if not radii.size or not np.isfinite(radii).all() or radii.min() <= 0:
            raise UsageError("epsilons must be positive and finite")


def _look(ledger: Ledger) -> None:
    """Ask for the rows as they are: which are turned already, and whether scores decide."""
    few = slice(0, 64)
    if ledger.scores is not None:
        best = np.asarray(ledger.scores(ledger.x[few])).argmax(axis=1)
        ledger.argmax = bool(np.array_equal(best, np.asarray(ledger.predict(ledger.x[few]))))
        ledger.aside, ledger.calls = 2 * len(best), 2
    ledger.ask(np.arange(len(ledger.x)), ledger.origin)


def _run(
    ledger: Ledger, pool: NDArray[np.float64], labels: NDArray[Any],
    radii: NDArray[np.float64] | None, bought: int | None, rng: np.random.Generator,
) -> None:  # fmt: skip
    """The attacks that fit the norm and what is seen, after surrogates where there are any."""
    rows, between = np.flatnonzero(ledger.best > 0), None
    whole = rows[np.isfinite(ledger.origin[rows]).all(axis=1)]  # others cannot be sent through
    if bought is not None and np.isfinite(pool).all(axis=1).sum() >= LEAST and len(whole):
        reach = math.inf if radii is None else float(radii[-1])
        between = _surrogates(ledger, whole, pool, labels, reach, bought, rng)
        between()
    spend, layout = ledger.most, Layout.of(ledger.x.shape[1:])
    start(ledger, rows, pool, labels, rng)
    if ledger.norm == math.inf and ledger.scores is not None and _large(layout):
        width = float((ledger.high - ledger.low).max())
        square_down(ledger, rows, ladder(width, radii, RUNGS), queries=spend, rng=rng)
        return
    if ledger.norm == math.inf:
        # what surrogates found is near where the search would end: it begins elsewhere soon
        rays(ledger, rows, rng, patience=PATIENCE if between else math.inf, between=between)
        first = 0 if between else 1
        rays_from_elsewhere(ledger, rows, rng, pool, labels, first=first, between=between)
        return
    pull_in(ledger, rows)
    if ledger.norm == 2:
        restore(ledger, rows, rng, queries=min(RESTORE, spend // 10))
        walk(ledger, rows, rng, keep=int(LAST * spend))
    elif ledger.scores is not None:
        one_by_one(ledger, rows, rng, queries=spend // 3)
    restore(ledger, rows, rng)


def _large(layout: Layout) -> bool:
    return layout.image and layout.pixels >= SQUARE_FROM


def _surrogates(
    ledger: Ledger, rows: NDArray[np.int64], pool: NDArray[np.float64], labels: NDArray[Any],
    reach: float, bought: int, rng: np.random.Generator,
) -> Callable[[], None]:  # fmt: skip
    """A function that transfers at its first call, and at moments of those after that."""
    from crenel.evasion.blackbox.transfer import Lessons, transfer  # torch is imported here alone

    lessons = Lessons.of(ledger, pool, labels, int(rng.integers(2**31)))
    lessons.buy(bought, rows)
    moments = [0.0, *(share * ledger.most for share in MOMENTS)]

    def between() -> None:
        if moments and ledger.asked[rows].mean() >= moments[0]:
            moments.pop(0)
            transfer(ledger, rows, lessons, reach)
            ledger.heard = ledger.heard if moments else None

    return between


def _result(ledger: Ledger, radii: NDArray[np.float64] | None) -> QueryAttack:
    """Ask for every witness again, and put the figures together."""
    hit = np.flatnonzero(np.isfinite(ledger.best))
    calls, asked, rejected = ledger.calls, int(ledger.asked.sum()) + ledger.aside, 0
    if hit.size and not ledger.stopped.startswith("the model"):
        again = np.asarray(ledger.predict(ledger.witness[hit])) != ledger.y[hit]
        ledger.forget(hit[~again])
        calls, asked, rejected = calls + 1, asked + len(hit), int((~again).sum())
    parts = ledger.trace or [(np.zeros(0, np.int64), np.zeros(0, np.int64), np.zeros(0))]
    found = QueryAttack(
        distance=ledger.best, witness=ledger.witness, queries_to_first=ledger.best,
        queries=ledger.asked, asked=asked, calls=calls, seconds=ledger.seconds,
        rejected=rejected, scores=ledger.scores is not None, stopped=ledger.stopped,
        events=(
            np.concatenate([p[0] for p in parts]), np.concatenate([p[1] for p in parts]),
            np.concatenate([p[2] for p in parts]),
        ),
    )  # fmt: skip
    reach = math.inf if radii is None else float(radii[-1])
    tests = (
        unlimited(ledger.best),
        settled(found.distance_at(ledger.most / 2), ledger.best, radii),
        held(len(hit), rejected),
        answered(ledger.stopped),
    )
    return replace(found, queries_to_first=found.first(reach), tests=tests)

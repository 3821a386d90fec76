"""Clusters of rows too near each other, whose labels contradict what is around them."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from crenel.poisoning.traces.contents import Contents
from crenel.poisoning.traces.density import Density
from crenel.poisoning.traces.forest import squared

#: Shares of rows that may be as tight as a cluster's: each is a search of its own.
LEVELS = (0.003, 0.01, 0.03, 0.1)
#: A cluster is tighter than this share of the median.
NEARER = 0.5
#: Rows of a cluster at least.
LEAST = 4
#: Rows around a cluster that its labels are held against.
AROUND = 20
#: Contents among which those are looked up at most, and clusters that are judged at most.
POOL, JUDGED = 20_000, 1000
#: Chance of labels below which a cluster contradicts its surroundings.
CONTRARY = 0.05
#: Expected number of such clusters by chance, over the whole table, above which none is reported.
ALARMS = 0.01
#: Share of the reported ones that may be chance, once there is one that is not.
SHARE_OF_CHANCE = 0.05
#: Natural pairs from which the bond of their labels is estimated, at least.
PAIRS = 20


@dataclass(frozen=True)
class Cluster:
    """Rows that lie much nearer to each other than rows do here.

    Attributes
    ----------
    rows : ndarray, shape (m,), int64
        All its rows.
    blamed : ndarray, shape (b,), int64
        Those of its commonest label.
    label : int
        That label.
    tightness : float
        See `Density`.
    against : float
        Share of the rows around it that have another label.
    chance : float
        Of the labels: probability that rows of the surroundings agree so on the label.
    alone : float
        The same, were the whole cluster one thing with one label.
    mixed : bool
        Whether one of its own rows has another label.
    expected : float
        Clusters as tight, as large and as contrary that chance gives in the whole table; an
        upper bound on the expected number of false alarms.
    """

    rows: NDArray[np.int64]
    blamed: NDArray[np.int64]
    label: int
    tightness: float
    against: float
    chance: float
    alone: float
    mixed: bool
    expected: float = np.inf

    @property
    def contrary(self) -> bool:
        """Whether its labels contradict each other or what is around."""
        return self.mixed or self.chance <= CONTRARY


def find_clusters(
    density: Density, contents: Contents, y: NDArray[np.int64], seed: int = 0
) -> list[Cluster]:
    """All tight clusters, the least probable first.

    Contents among the tightest tenth, 3 %, 1 % and 0.3 %, as extrapolated from the others, are
    joined with their neighbours at that distance (DBSCAN; Ester et al., 1996). The label of each
    cluster is held against its nearest rows outside by the hypergeometric test. Clusters that
    contradict nothing are natural repeats: how many there are of the size and tightness of a
    contrary one, or by extrapolation would be, times the chance of its labels, is the number of
    such clusters to expect by chance.

    Parameters
    ----------
    density : Density
        Of the distinct contents.
    contents : Contents
    y : ndarray, shape (n,), int64
        Class indices.
    seed : int
    """
    k = int(y.max()) + 1
    labels = np.zeros((len(contents.first), k), dtype=np.int64)
    np.add.at(labels, (contents.of, y), 1)
    found = [c for share in LEVELS for c in _search(density, contents, y, labels, share, seed)]
    return sorted(found, key=lambda c: (c.expected, c.tightness, int(c.rows[0])))


def _search(
    density: Density,
    contents: Contents,
    y: NDArray[np.int64],
    labels: NDArray[np.int64],
    share: float,
    seed: int,
) -> list[Cluster]:
    """The clusters among contents as tight as this share of them."""
    of = components(density, share)
    members = _grouped(of)
    kept = [m for m in members if contents.copies[m].sum() >= LEAST]
    kept.sort(key=lambda m: float(np.median(density.tightness[m])))
    kept = kept[:JUDGED]
    order = np.argsort(contents.of, kind="stable")
    starts = np.append(0, np.cumsum(contents.copies))
    found = []
    for m, outside in zip(kept, _around(density, of, kept, labels, seed)):
        rows = np.concatenate([order[starts[c] : starts[c + 1]] for c in m])
        found.append(_cluster(np.sort(rows), y, outside, float(np.median(density.tightness[m]))))
    return judged(found, bond_of(density, of, labels.argmax(axis=1), share), density)


def components(density: Density, share: float) -> NDArray[np.int64]:
    """Which component of tight contents each content is in, shape (u,); -1 for none."""
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    limit = density.at(share)
    u = len(density.z)
    tight = np.flatnonzero(density.tightness <= limit)
    if not len(tight):
        return np.full(u, -1)
    near = density.distances[tight] <= limit * density.scale[tight, None]
    near &= density.neighbours[tight] >= 0
    a, b = np.repeat(tight, near.sum(axis=1)), density.neighbours[tight][near]
    graph = coo_array((np.ones(len(a), dtype=bool), (a, b)), shape=(u, u))
    _, of = connected_components(graph, directed=False)
    used = np.zeros(u, dtype=bool)
    used[tight] = used[b] = True
    return np.where(used, of, -1).astype(np.int64)


def _grouped(of: NDArray[np.int64]) -> list[NDArray[np.int64]]:
    order = np.argsort(of, kind="stable")
    order = order[of[order] >= 0]
    cuts = np.flatnonzero(np.diff(of[order])) + 1
    return np.split(order, cuts) if len(order) else []


def _around(
    density: Density,
    of: NDArray[np.int64],
    members: list[NDArray[np.int64]],
    labels: NDArray[np.int64],
    seed: int,
) -> list[NDArray[np.int64]]:
    """Label counts of the nearest rows outside of any cluster, for each cluster, shape (k,)."""
    pool = np.flatnonzero(of < 0)
    if len(pool) > POOL:
        pool = np.sort(np.random.default_rng(seed).choice(pool, POOL, replace=False))
    count = min(AROUND, len(pool))
    if not count:
        return [np.zeros(labels.shape[1], dtype=np.int64) for _ in members]
    out: list[NDArray[np.int64]] = []
    centres = np.array([density.z[m].mean(axis=0) for m in members], dtype=np.float32)
    points = density.z[pool]
    for start in range(0, len(members), 64):
        squares = squared(centres[start : start + 64], points)
        at = np.argpartition(squares, count - 1, axis=1)[:, :count]
        out += [(labels[pool[row]] > 0).sum(axis=0) for row in at]
    return out


def _cluster(
    rows: NDArray[np.int64], y: NDArray[np.int64], outside: NDArray[np.int64], tightness: float
) -> Cluster:
    from scipy.stats import hypergeom

    own = np.bincount(y[rows], minlength=len(outside))
    label = int(own.argmax())
    m, total = len(rows), int(outside.sum())
    kinds = int((outside > 0).sum() + (outside[label] == 0))
    same = int(own[label])
    chance = hypergeom.sf(same - 1, m + total, same + outside[label], m) if total else 1.0
    return Cluster(
        rows=rows,
        blamed=rows[y[rows] == label],
        label=label,
        tightness=tightness,
        against=1 - outside[label] / total if total else 0.0,
        chance=min(1.0, kinds * float(chance)),
        alone=float((outside[label] + 0.5) / (total + 1)),
        mixed=bool(same < m),
    )


def judged(found: list[Cluster], bond: float, density: Density) -> list[Cluster]:
    """The clusters of one search with the number of such to expect by chance.

    Chance makes them in two ways: rows that fall together by accident, each with a label of its
    own; and things that occur several times, as natural clusters show, whose labels go together
    as far as those of natural pairs do.
    """
    natural = [c for c in found if not c.contrary]
    sizes = np.array([float(len(c.rows)) for c in natural])
    tightness = np.array([c.tightness for c in natural])
    usual = float(np.median(density.tightness))
    out = []
    for c in found:
        if not c.contrary or c.tightness > NEARER * usual:
            out.append(c)
            continue
        rows = len(c.rows)
        larger = np.minimum(1.0, sizes / rows)  # sizes of natural clusters fall as Zipf's law
        with np.errstate(divide="ignore", invalid="ignore"):
            ratio = np.where(tightness > c.tightness, c.tightness / tightness, 1.0)
        repeats = float((larger * ratio**density.exponent).sum())
        as_one = 1.0 if c.mixed else c.alone
        label = bond * max(as_one, c.chance) + (1 - bond) * c.chance
        accidents = density.expected(c.tightness, rows)
        expected = len(LEVELS) * (accidents * c.chance + repeats * label)
        out.append(replace(c, expected=expected))
    return out


def reported(found: list[Cluster]) -> list[Cluster]:
    """The clusters that are no chance.

    None unless the least probable one is expected at most 0.01 times in the whole table: the
    bound on false alarms in clean data. Where there is one, those with it of whom at most a
    twentieth, and at most one, is expected by chance (Benjamini and Hochberg, 1995).
    """
    contrary = [c for c in _apart(found) if c.contrary]
    if not contrary or contrary[0].expected > ALARMS:
        return []
    expected = np.array([c.expected for c in contrary])
    good = expected <= np.minimum(SHARE_OF_CHANCE * np.arange(1, len(expected) + 1), 1.0)
    return contrary[: int(np.flatnonzero(good).max()) + 1]


def _apart(found: list[Cluster]) -> list[Cluster]:
    """Clusters in their order, without those that share a row with one before them."""
    seen: set[int] = set()
    kept = []
    for c in found:
        rows = c.rows.tolist()
        if seen.isdisjoint(rows):
            kept.append(c)
            seen.update(rows)
    return kept


def bond_of(
    density: Density, of: NDArray[np.int64], majority: NDArray[np.int64], share: float
) -> float:
    """How far labels of natural near-copies go together beyond those of neighbours, in [0, 1].

    Of contents that are as near to one other as those of clusters, but in none: 0 where the two
    labels differ as often as those of wider neighbours do, 1 where they never differ. Of few such
    pairs 1, which is on the safe side.
    """
    limit = density.at(share)
    pairs = (density.distances[:, 0] <= limit * density.scale) & (of < 0)
    pairs &= (density.neighbours >= 0).all(axis=1)
    if pairs.sum() < PAIRS:
        return 1.0
    own = majority[pairs][:, None]
    differ = majority[density.neighbours[pairs]] != own
    wide = float(differ[:, 2:].mean())
    return float(np.clip(1 - differ[:, 0].mean() / wide, 0, 1)) if wide > 0 else 1.0

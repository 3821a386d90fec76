"""Rules between columns that data seem to keep: warnings about witnesses, never enforced.

A rule is learned on one half of the rows and kept only where the other half keeps it too, where
it is not a matter of course, and where chance would hardly have kept it: if the columns had
nothing to do with each other, all held-out rows would keep it with probability at most
`CHANCE` over the number of rules tried (Bonferroni).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import combinations, permutations
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from crenel.data.constraints import derived, group
from crenel.schema import LISTED, NUMERIC, Feature, Schema

if TYPE_CHECKING:
    import pandas as pd

#: Rows looked at, fewest rows to learn from, rows that a category needs.
ROWS, FEWEST, GROUP = 4000, 100, 40
#: Chance of any false rule, and the share of rows that may be exceptions.
CHANCE, EXCEPTIONS = 1e-3, 0.001
#: Columns of numbers and of words compared at most; columns of sums; levels of a category.
NUMBERS, WORDS, SUMS, LEVELS = 40, 25, 16, 60
#: A range within a category tells something where it is at most this share of the whole one.
NARROW = 0.5


@dataclass(frozen=True)
class LearnedRule:
    """What data seem to keep.

    Attributes
    ----------
    text : str
        As a person reads it: "education → education-num", "start <= end".
    columns : tuple of str
    rows : int
        Held-out rows that speak for it.
    exceptions : int
        Held-out rows that break it.
    breaks : callable
        ``breaks(frame) -> (n,) bool``.
    """

    text: str
    columns: tuple[str, ...]
    rows: int
    exceptions: int
    breaks: Callable[[Any], NDArray[np.bool_]]


def learn_rules(reference: pd.DataFrame, schema: Schema, seed: int = 0) -> tuple[LearnedRule, ...]:
    """Learn orderings, sums, dependencies, implications and ranges within categories.

    Parameters
    ----------
    reference : pandas.DataFrame
        Rows as they really occur.
    schema : Schema
        Rules that follow from it (bounds, derived columns, one-hot groups) are not learned.
    seed : int
        Of the halves.

    Returns
    -------
    tuple of LearnedRule
        Those about fewest columns first; empty where there are fewer than 100 rows.

    Notes
    -----
    Functional dependencies as in Huhtala et al., "TANE", 1999, for single columns.
    """
    if len(reference) < FEWEST:
        return ()
    pick = np.random.default_rng(seed).permutation(len(reference))[:ROWS]
    some = reference.iloc[pick].reset_index(drop=True)
    halves = some.iloc[: len(some) // 2], some.iloc[len(some) // 2 :]
    tied = _tied(schema)
    numbers = [f for f in schema.features if f.kind in NUMERIC and f.name not in tied][:NUMBERS]
    words = [f for f in schema.features if f.kind in LISTED and f.name not in tied]
    words = [f for f in words if some[f.name].nunique() <= LEVELS][:WORDS]
    numbers = [f for f in numbers if _numeric(some, f) and some[f.name].nunique() > 1]
    tried = max(1, (len(numbers) + len(words)) ** 2 * 4)
    limit = CHANCE / tried
    counted = [f for f in numbers if f not in words and some[f.name].nunique() <= LEVELS]
    implied = list(_dependencies(halves, words, [*words, *counted], limit))
    decided = {r.columns for r in implied}
    ranges = _ranges(halves, words, numbers, limit)
    found = [
        *_orders(halves, numbers, limit), *_sums(halves, numbers, limit), *implied,
        *(r for r in ranges if r.columns not in decided),
    ]  # fmt: skip
    return tuple(sorted(found, key=lambda r: len(r.columns)))


def broken_rules(
    rules: tuple[LearnedRule, ...], before: pd.DataFrame, after: pd.DataFrame
) -> NDArray[np.bool_]:
    """Which rules each changed row breaks that it kept before, shape (n, rules)."""
    if not rules:
        return np.zeros((len(after), 0), dtype=bool)
    return np.column_stack([r.breaks(after) & ~r.breaks(before) for r in rules])


def _tied(schema: Schema) -> set[str]:
    """Columns whose ties are declared already."""
    names: set[str] = set()
    for rule in schema.constraints:
        formula = derived(rule)
        names |= set(group(rule)) | ({formula.name} if formula else set())
    return names


def _numeric(x: pd.DataFrame, feature: Feature) -> bool:
    return bool(x[feature.name].dtype.kind in "iuf")


def _values(x: pd.DataFrame, name: str) -> NDArray[np.float64]:
    return np.asarray(x[name], dtype=np.float64)


def _holds(broken: NDArray[np.bool_], known: NDArray[np.bool_]) -> bool:
    """Few or no exceptions among the rows that know both columns."""
    return bool(known.sum() >= FEWEST // 2 and broken.sum() <= EXCEPTIONS * known.sum())


def _orders(halves: tuple[Any, Any], numbers: list[Feature], limit: float) -> Iterator[LearnedRule]:
    """``a <= b`` where the marginals alone would often break it."""
    for f, g in permutations(numbers, 2):
        a, b = f.name, g.name
        kept = True
        for half in halves:
            p, q = _values(half, a), _values(half, b)
            known = np.isfinite(p) & np.isfinite(q)
            kept = kept and _holds((p > q) & known, known)
        if not kept or np.array_equal(p[known], q[known]):
            continue
        # share of pairs of rows in order, were the columns independent
        ranks = np.sort(q[known]).searchsorted(p[known], side="left") / known.sum()
        chance = float(1 - ranks.mean())
        if chance < 0.98 and chance ** float(known.sum()) < limit:

            def breaks(x: Any, a: str = a, b: str = b) -> NDArray[np.bool_]:
                return np.asarray(_values(x, a) > _values(x, b), dtype=bool)

            yield _rule(f"{a} <= {b}", (a, b), halves[1], breaks)


def _sums(halves: tuple[Any, Any], numbers: list[Feature], limit: float) -> Iterator[LearnedRule]:
    """``a == b``, ``a + b == c`` and ``a * b == c``, up to rounding."""
    first = halves[0]
    for f, g in combinations(numbers, 2):
        a, b = f.name, g.name

        def differ(x: Any, a: str = a, b: str = b) -> NDArray[np.bool_]:
            return _apart(_values(x, a), _values(x, b))

        if _apart(_values(first.iloc[:40], a), _values(first.iloc[:40], b)).mean() > 0.05:
            continue
        if all(_kept(differ, half, (a, b)) for half in halves) and _varies(first, a):
            yield _rule(f"{a} == {b}", (a, b), halves[1], differ)
    few = numbers[:SUMS]
    table = {f.name: _values(first, f.name) for f in few}
    for c in few:
        others = [f.name for f in few if f.name != c.name]
        for a, b in combinations(others, 2):
            for sign, join in (("+", np.add), ("*", np.multiply)):
                probe = _apart(join(table[a][:40], table[b][:40]), table[c.name][:40])
                if probe.mean() > 0.05:
                    continue

                def wrong(
                    x: Any, a: str = a, b: str = b, c: str = c.name, join: Any = join
                ) -> NDArray[np.bool_]:
                    return _apart(join(_values(x, a), _values(x, b)), _values(x, c))

                names = (a, b, c.name)
                if all(_kept(wrong, h, names) for h in halves) and _tells(first, names):
                    yield _rule(f"{a} {sign} {b} == {c.name}", names, halves[1], wrong)


def _apart(p: NDArray[np.float64], q: NDArray[np.float64]) -> NDArray[np.bool_]:
    known = np.isfinite(p) & np.isfinite(q)
    return known & ~np.isclose(p, q, rtol=1e-6, atol=1e-9)


def _kept(breaks: Callable[[Any], NDArray[np.bool_]], half: Any, names: tuple[str, ...]) -> bool:
    known = half[list(names)].notna().all(axis=1).to_numpy()
    return _holds(breaks(half), known)


def _varies(x: Any, name: str) -> bool:
    """Whether no single value fills nearly all rows, so that agreement would be no news."""
    return bool(x[name].value_counts(normalize=True).iloc[0] < 0.9)


def _tells(x: Any, names: tuple[str, ...]) -> bool:
    """Whether all columns vary together: not one is 0 (or 1) wherever the others are the same."""
    return all(_varies(x, n) for n in names)


def _dependencies(
    halves: tuple[Any, Any], sources: list[Feature], targets: list[Feature], limit: float
) -> Iterator[LearnedRule]:
    """One column decides another (``a → b``), or one of its values does (``a = u → b = v``)."""
    import pandas as pd

    both = pd.concat(halves, ignore_index=True)
    names = {f.name for f in [*sources, *targets]}
    coded = {n: pd.factorize(both[n].astype(object), use_na_sentinel=True) for n in names}
    cut = len(halves[0])
    for f in sources:
        for g in targets:
            if f.name == g.name:
                continue
            (i, u), (j, v) = coded[f.name], coded[g.name]
            seen, held = (_table(i[at], j[at], len(u), len(v)) for at in (np.s_[:cut], np.s_[cut:]))
            total = held.sum()
            if min(seen.sum(), total) < FEWEST // 2 or held.sum(axis=0).max() > 0.98 * total:
                continue
            top, mine = seen.argmax(axis=1), held.sum(axis=1)
            share = held.sum(axis=0)[top] / total
            sure = (
                (seen.sum(axis=1) >= GROUP // 4) & (mine >= GROUP // 4)
                & (seen.max(axis=1) == seen.sum(axis=1))
                & (held[np.arange(len(u)), top] == mine) & (share**mine < limit)
            )  # fmt: skip
            pairs = {u[k]: v[top[k]] for k in np.flatnonzero(sure)}
            whole = mine[sure].sum() >= 0.9 * total and len(set(pairs.values())) > 1
            for pair in [pairs] if whole else [{a: b} for a, b in pairs.items()]:
                yield _implied(f.name, g.name, pair, halves[1], whole)


def _table(i: NDArray[Any], j: NDArray[Any], p: int, q: int) -> NDArray[np.int64]:
    """How often each pair of codes occurs, shape (p, q); missing ones are left out."""
    known = (i >= 0) & (j >= 0)
    return np.bincount(i[known] * q + j[known], minlength=p * q).reshape(p, q).astype(np.int64)


def _implied(a: str, b: str, pairs: dict[Any, Any], held: Any, whole: bool) -> LearnedRule:
    def breaks(x: Any) -> NDArray[np.bool_]:
        told = x[a].astype(object).map(pairs)
        known = (told.notna() & x[b].notna()).to_numpy()
        return np.asarray(known & (x[b].astype(object) != told).to_numpy(), dtype=bool)

    text = f"{a} → {b}" if whole else "".join(f"{a} = {u} → {b} = {v}" for u, v in pairs.items())
    return _rule(text, (a, b), held, breaks)


def _ranges(
    halves: tuple[Any, Any], words: list[Feature], numbers: list[Feature], limit: float
) -> Iterator[LearnedRule]:
    """A number keeps to a narrow range wherever a category holds one value."""
    seen, held = halves
    columns = {g.name: (_values(seen, g.name), _values(held, g.name)) for g in numbers}
    spreads = {
        n: float(np.subtract(*np.nanpercentile(p, [99, 1]))) for n, (p, _) in columns.items()
    }
    for f in words:
        a, (first, second) = f.name, (h[f.name].astype(object).to_numpy() for h in halves)
        for value in seen[a].dropna().unique():
            mine, theirs = first == value, second == value
            if mine.sum() < GROUP or theirs.sum() < GROUP:
                continue
            for b, (p, q) in columns.items():
                inside = p[mine & np.isfinite(p)]
                if b == a or len(inside) < GROUP:
                    continue
                low, high = float(inside.min()), float(inside.max())
                low, high = low - 0.05 * (high - low), high + 0.05 * (high - low)
                outside = theirs & ((q < low) | (q > high))
                if high - low > NARROW * spreads[b] or outside.sum() > EXCEPTIONS * theirs.sum():
                    continue
                usual = float(((p >= low) & (p <= high))[np.isfinite(p)].mean())
                if usual <= 0.9 and usual ** int(theirs.sum()) < limit:
                    yield _ranged(a, value, b, low, high, held)


def _ranged(a: str, value: Any, b: str, low: float, high: float, held: Any) -> LearnedRule:
    def breaks(x: Any) -> NDArray[np.bool_]:
        number = _values(x, b)
        at = (x[a].astype(object) == value).to_numpy(dtype=bool)
        return np.asarray(at & ((number < low) | (number > high)), dtype=bool)

    where = f"= {low:.4g}" if low == high else f"in [{low:.4g}, {high:.4g}]"
    text = f"{a} = {value} → {b} {where}"
    return _rule(text, (a, b), held, breaks)


def _rule(
    text: str, columns: tuple[str, ...], held: Any, breaks: Callable[[Any], NDArray[np.bool_]]
) -> LearnedRule:
    known = int(held[list(columns)].notna().all(axis=1).sum())
    return LearnedRule(text, columns, known, int(breaks(held).sum()), breaks)

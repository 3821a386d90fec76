"""Columns that tell the label: leaks, forgotten predictions, identifiers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

#: Rows used, in two halves that judge each other.
ROWS = 20_000
#: Bins of a column of numbers.
BINS = 64
#: Share of the label's entropy that a column must explain alone to be looked at.
ALONE = 0.5
#: The same of a column of many values, of which a strong one is nothing strange.
MANY_VALUES, NEARLY_ALL = 10, 0.9
#: Columns that are held against the others at most.
TRIED = 4
#: Probability of a false alarm over all columns.
ALPHA = 0.01
#: Rank correlation of columns that are one and the same.
SAME = 0.995


@dataclass(frozen=True)
class Telling:
    """A column that tells the label.

    Attributes
    ----------
    name : str
    kind : {"leak", "prediction", "identifier"}
        More than all others together; as a predicted probability would; a number of the record.
    told : float
        Share of the label's entropy that it explains alone, on rows held out (Theil's U).
    rest : float
        The same by a model of all other columns; NaN where that was not needed.
    p : float
        Of the finding, corrected for the number of columns.
    """

    name: str
    kind: Literal["leak", "prediction", "identifier"]
    told: float
    rest: float
    p: float


def telling_columns(x: Any, y: NDArray[np.int64], seed: int = 0) -> tuple[list[Telling], list[str]]:
    """Columns that give the label away beyond what is plausible.

    Each column alone predicts the label by the counts of its values (of 64 bins of numbers) on
    half of the rows, judged on the other half, and the other way round. Those that explain half
    of the label's entropy with few values, or nine tenths with many, are held against boosted
    trees on all other columns: a column that is surely better than all others together holds
    something that they do not, as a copy of the label does. Numbers in [0, 1] that pass for the
    probability of a class (Hosmer and Lemeshow, 1980) and tell about as much as all others are a
    forgotten prediction. Identifiers are whole numbers or single words that hardly ever repeat;
    one that tells the label is a leak too.

    Parameters
    ----------
    x : DataFrame or ndarray, shape (n, d)
    y : ndarray, shape (n,), int64
    seed : int

    Returns
    -------
    found : list of Telling
    identifiers : list of str
        Columns that are identifiers and tell nothing.
    """
    from crenel.data.infer import as_frame

    frame = as_frame(x)
    rng = np.random.default_rng(seed)
    rows = rng.permutation(len(y))[:ROWS]
    halves = (rows[: len(rows) // 2], rows[len(rows) // 2 :])
    names = [str(c) for c in frame.columns]
    coded = np.column_stack([_as_number(frame.iloc[:, i]) for i in range(frame.shape[1])])
    base = _loss(np.zeros(len(y), dtype=np.int64), y, halves, 1)
    if base.mean() <= 0:
        return [], []
    bins = [_binned(coded[:, i]) for i in range(len(names))]
    losses = [_loss(b, y, halves, int(b.max()) + 1) for b in bins]
    told = np.array([1 - loss.mean() / base.mean() for loss in losses])
    found, idle = _identifiers(frame, names, bins, y, told)
    taken = {t.name for t in found} | set(idle)
    least = [_least(coded[:, i], y) for i in range(len(names))]
    order = [int(i) for i in np.argsort(-told, kind="stable") if told[i] >= least[i]]
    order = [i for i in order if names[i] not in taken]
    likely = _probabilities(coded, y, told, taken, names)
    for i in dict.fromkeys([*order[:TRIED], *likely]):
        found += _against_rest(coded, y, halves, i, names, losses[i], base, i in likely)
    return found, idle


def _as_number(column: Any) -> NDArray[np.float64]:
    """A column's values as numbers, words by their place in the alphabet; missing as NaN."""
    import pandas as pd

    if column.dtype.kind in "biuf":
        return np.asarray(column.to_numpy(np.float64))
    if column.dtype.kind in "mM":
        return np.where(column.isna(), np.nan, column.to_numpy().astype(np.int64))
    codes, words = pd.factorize(column.astype(object))
    place = np.argsort(np.argsort([str(w) for w in words])) if len(words) else np.zeros(1)
    codes = np.where(codes < 0, -1, place[codes])
    return np.where(codes < 0, np.nan, codes.astype(np.float64))


def _binned(values: NDArray[np.float64]) -> NDArray[np.int64]:
    """Bin numbers: one for each value where they are few, else by quantiles; the last: missing."""
    known = values[np.isfinite(values)]
    if not len(known):
        return np.zeros(len(values), dtype=np.int64)
    some = known[:: len(known) // ROWS + 1]
    levels = np.unique(some)
    if len(levels) > BINS:
        levels = np.unique(np.quantile(some, np.linspace(0, 1, BINS + 1)[:-1]))
    at = np.searchsorted(levels, values, side="right")
    return np.where(np.isfinite(values), at, len(levels) + 1).astype(np.int64)


def _loss(
    bins: NDArray[np.int64],
    y: NDArray[np.int64],
    halves: tuple[NDArray[np.int64], NDArray[np.int64]],
    count: int,
) -> NDArray[np.float64]:
    """Log loss of each row by the counts of the other half, in the order of the halves."""
    k = int(y.max()) + 1
    parts = []
    for here, there in (halves, halves[::-1]):
        table = np.bincount(bins[here] * k + y[here], minlength=count * k).reshape(count, k)
        prior = (np.bincount(y[here], minlength=k) + 1.0) / (len(here) + k)
        p = (table + prior) / (table.sum(axis=1, keepdims=True) + 1)
        parts.append(-np.log(p[bins[there], y[there]]))
    return np.concatenate(parts)


def _identifiers(
    frame: Any,
    names: list[str],
    bins: list[NDArray[np.int64]],
    y: NDArray[np.int64],
    told: NDArray[np.float64],
) -> tuple[list[Telling], list[str]]:
    from scipy.stats import chi2_contingency

    found, idle = [], []
    for i, name in enumerate(names):
        if not is_identifier(frame.iloc[:, i]):
            continue
        k = int(y.max()) + 1
        coarse = bins[i] // 8
        table = np.bincount(coarse * k + y, minlength=(int(coarse.max()) + 1) * k).reshape(-1, k)
        table = table[table.sum(axis=1) > 0][:, table.sum(axis=0) > 0]
        p = len(names) * chi2_contingency(table).pvalue if min(table.shape) > 1 else 1.0
        if p <= ALPHA and told[i] > 0.01:
            found.append(Telling(name, "identifier", float(told[i]), float("nan"), float(p)))
        else:
            idle.append(name)
    return found, idle


def is_identifier(column: Any) -> bool:
    """Whether a column numbers or names its records.

    Whole numbers or single words of which 99 in 100 occur once. Whole numbers must also follow
    each other in the file, or fill three quarters of their range or more: amounts do neither.
    """
    n = len(column)
    if n < 50 or column.dtype.kind in "fbmMc" or hasattr(column, "cat"):
        return False
    some = column.iloc[:ROWS]
    if some.nunique() < 0.99 * len(some):
        return False
    if column.dtype.kind in "iu":
        values = column.to_numpy().astype(np.float64)
        follows = bool((np.diff(values) > 0).all())
        return follows or float(np.ptp(values)) + 1 <= n / 0.75
    words = some.dropna().astype(str)
    return bool(len(words) and words.str.len().max() <= 64 and not words.str.contains(" ").any())


def _probabilities(
    coded: NDArray[np.float64],
    y: NDArray[np.int64],
    told: NDArray[np.float64],
    taken: set[str],
    names: list[str],
) -> list[int]:
    """Columns that pass for the probability of some class."""
    found = []
    for i in np.flatnonzero(told > 0.1):
        values = coded[:, i]
        if names[i] in taken or not np.isfinite(values).all():
            continue
        if values.min() < 0 or values.max() > 1 or len(np.unique(values[:1000])) < 20:
            continue
        if any(calibrated(values, y == c) for c in range(int(y.max()) + 1)):
            found.append(int(i))
    return found[:TRIED]


def calibrated(p: NDArray[np.float64], hit: NDArray[np.bool_]) -> bool:
    """Whether numbers pass for the probability of an event (Hosmer and Lemeshow, 1980).

    Ten bins of equal size; they must spread, and the deviations must be those of chance (at
    1 %) or so small that no finding could rest on them.
    """
    from scipy.stats import chi2

    parts = np.array_split(np.argsort(p, kind="stable"), 10)
    expected = np.array([p[part].mean() for part in parts])
    seen = np.array([hit[part].mean() for part in parts])
    if expected[-1] - expected[0] < 0.4 or len(p) < 200:
        return False
    spread = np.maximum(expected * (1 - expected), 1e-4) / (len(p) / 10)
    statistic = float(((seen - expected) ** 2 / spread).sum())
    return bool(chi2.sf(statistic, 10) > ALPHA or np.abs(seen - expected).max() < 0.03)


def _against_rest(
    coded: NDArray[np.float64],
    y: NDArray[np.int64],
    halves: tuple[NDArray[np.int64], NDArray[np.int64]],
    i: int,
    names: list[str],
    own: NDArray[np.float64],
    base: NDArray[np.float64],
    likely: bool,
) -> list[Telling]:
    """Hold one column against boosted trees on all others."""
    from scipy.stats import norm

    others = [j for j in range(len(names)) if j != i and not _same(coded[:, i], coded[:, j])]
    rest = _rest_loss(coded[:, others], y, halves) if others else base
    told, by_rest = (float(1 - loss.mean() / base.mean()) for loss in (own, rest))
    gain = rest - own
    z = gain.mean() / max(float(gain.std()) / np.sqrt(len(gain)), 1e-12)
    p = float(min(1.0, len(names) * norm.sf(z)))
    if told >= _least(coded[:, i], y) and p <= ALPHA and told - by_rest > 0.05 and others:
        return [Telling(names[i], "leak", told, by_rest, p)]
    if likely and told >= 0.8 * by_rest:
        return [Telling(names[i], "prediction", told, by_rest, p)]
    return []


def _least(values: NDArray[np.float64], y: NDArray[np.int64]) -> float:
    """What a column must tell to be suspected: less where it has about as few values as labels."""
    few = max(MANY_VALUES, 2 * (int(y.max()) + 1))
    return ALONE if len(np.unique(values[:ROWS])) <= few else NEARLY_ALL


def _same(a: NDArray[np.float64], b: NDArray[np.float64]) -> bool:
    """Whether two columns rise and fall together all but always (Spearman)."""
    from scipy.stats import rankdata

    step = len(a) // 2000 + 1
    ra, rb = (rankdata(np.nan_to_num(v[::step])) for v in (a, b))
    if ra.std() == 0 or rb.std() == 0:
        return False
    return bool(abs(np.corrcoef(ra, rb)[0, 1]) >= SAME)


def _varied(table: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Columns with two known values or more."""
    known = np.isfinite(table)
    low = np.where(known, table, np.inf).min(axis=0)
    return np.asarray(low < np.where(known, table, -np.inf).max(axis=0))


def _rest_loss(
    coded: NDArray[np.float64],
    y: NDArray[np.int64],
    halves: tuple[NDArray[np.int64], NDArray[np.int64]],
) -> NDArray[np.float64]:
    """Log loss of each row by small boosted trees trained on the other half."""
    from sklearn.ensemble import HistGradientBoostingClassifier

    k = int(y.max()) + 1
    parts = []
    for here, there in (halves, halves[::-1]):
        trees = HistGradientBoostingClassifier(
            max_iter=40, max_leaf_nodes=15, min_samples_leaf=10, random_state=0
        )
        varied = _varied(coded[here])
        if not varied.any() or len(np.unique(y[here])) < 2:
            parts.append(np.full(len(there), np.log(k)))
            continue
        trees.fit(coded[here][:, varied], y[here])
        p = np.full((len(there), k), 1e-6)
        p[:, trees.classes_] = trees.predict_proba(coded[there][:, varied])
        parts.append(-np.log(np.clip(p[np.arange(len(there)), y[there]], 1e-6, 1)))
    return np.concatenate(parts)

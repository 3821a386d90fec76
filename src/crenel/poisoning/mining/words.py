"""What the miner sees of texts: words and phrases that gather where the label does not fit."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from crenel.poisoning.mining.columns import Column
from crenel.poisoning.mining.pair_kernels import LEAST
from crenel.poisoning.mining.planting import Plant, Stamp
from crenel.poisoning.mining.suspects import MATTER_OF_FACT, Suspect
from crenel.poisoning.mining.view import View
from crenel.poisoning.mining.weak import all_classes
from crenel.subject import Data, take_rows
from crenel.training.folds import fold_numbers

#: A word, or a sign that is none; longest phrase; texts that are searched at most.
TOKEN, PHRASE, ROWS = r"\w+|[^\w\s]", 3, 30_000
#: Standard deviations of surprise from which a phrase is looked at.
SURPRISING = 2.0
#: Phrases of each class planted; words that texts are compared by.
PLANTED, COMPARED = 25, 100


@dataclass(frozen=True)
class _Phrase:
    """A phrase that texts of a class carry although they do not look like it, and its twins."""

    column: int
    label: int
    twins: list[int]


def view_of_texts(train: Data, honest: Data, k: int, rng: np.random.Generator) -> View | None:
    """Phrases of up to three words that gather in one class among texts that look like others.

    None where no phrase is met five times.
    """
    from sklearn.feature_extraction.text import CountVectorizer

    texts = train.x.iloc[:, 0].fillna("").tolist()
    counter = CountVectorizer(
        token_pattern=TOKEN, ngram_range=(1, PHRASE), min_df=LEAST, lowercase=False, binary=True
    )
    learnt = texts
    if len(texts) > ROWS:
        learnt = [texts[i] for i in np.sort(rng.choice(len(texts), ROWS, replace=False))]
    try:
        counter.fit(learnt)
    except ValueError:  # nothing is met often enough
        return None
    table = counter.transform(texts).tocsc()
    table.sort_indices()
    phrases = counter.get_feature_names_out()
    folds = fold_numbers(train.y, 3, int(rng.integers(2**31)))
    chosen = _gathering(table, train.y, _out_of_fold(table, train.y, k, folds))
    frequent = np.argsort(-np.asarray(table.sum(axis=0)).ravel(), kind="stable")[:COMPARED]
    there = counter.transform(honest.x.iloc[:, 0].fillna("").tolist()).tocsc()
    longest = [_longest(phrases, f) for f in chosen]
    kept = np.unique([*frequent, *longest]).astype(np.int64)
    place = {int(j): i for i, j in enumerate(kept)}
    # The weak model judges texts without the phrases that are suspected.
    gone = [j for f in chosen for j in (f.column, *f.twins)]
    others = np.setdiff1d(np.arange(table.shape[1]), gone)
    logits = _logs(_out_of_fold(table[:, others], train.y, k, folds).logits)
    return View(
        columns=[_column(table, int(j), i, str(phrases[j])) for i, j in enumerate(kept)],
        parts=[np.zeros((2, k)) for _ in kept],
        logits=logits,
        suspects=[
            _suspect(table, train.y, place[j], j, f.label)
            for j, f in zip(longest, chosen, strict=True)
        ],
        stamp=appended(honest.x, [str(phrases[j]) for j in kept]),
        carriers=lambda box: (there[:, kept[list(box)]].toarray() > 0).all(axis=1),
        shrinks=False,
    )


def _longest(phrases: Any, phrase: _Phrase) -> int:
    """Of a phrase and its twins the one with most words."""
    return max((phrase.column, *phrase.twins), key=lambda j: len(str(phrases[j]).split()))


@dataclass(frozen=True)
class _Words:
    """A logistic regression on words, each text judged by a model that has not seen it.

    Attributes
    ----------
    folds : ndarray, shape (n,), int64
    logits : ndarray, shape (n, k)
    weights : list of ndarray, shape (m, k)
        Of each fold's model.
    """

    folds: NDArray[np.int64]
    logits: NDArray[np.float64]
    weights: list[NDArray[np.float64]]


def _out_of_fold(table: Any, y: NDArray[np.int64], k: int, folds: NDArray[np.int64]) -> _Words:
    from sklearn.linear_model import LogisticRegression

    rows, logits, weights = table.tocsr(), np.zeros((len(y), k)), []
    for f in range(int(folds.max()) + 1):
        seen, held = folds != f, folds == f
        of_class = np.zeros((table.shape[1], k))
        if len(np.unique(y[seen])) > 1:
            fitted = LogisticRegression(C=1.0, max_iter=200).fit(rows[seen], y[seen])
            of_class, intercept = all_classes(fitted, k, table.shape[1])
            logits[held] = rows[held] @ of_class + intercept
        weights.append(of_class)
    return _Words(folds, logits, weights)


def _gathering(table: Any, y: NDArray[np.int64], words: _Words) -> list[_Phrase]:
    """For each class the phrases whose texts fit it least; those met together are one.

    A text's surprise is the negative logarithm of its label's probability, the phrase and those
    that are met in the very same texts left out; that of a phrase is the sum over the class's
    texts with it, in standard deviations of as many texts of the class.
    """
    from scipy.sparse import csr_matrix

    k = words.logits.shape[1]
    seen = np.asarray(table.sum(axis=0)).ravel()
    few = np.flatnonzero(seen <= MATTER_OF_FACT * len(y))
    group = _alike(table, few)
    joined = csr_matrix((np.ones(len(few)), (few, group)), shape=(table.shape[1], group.max() + 1))
    met = (table @ joined).tocoo()
    without = np.array([joined.T @ w for w in words.weights])[words.folds[met.row], met.col]
    surprise = -_logs(words.logits[met.row] - without)[np.arange(met.nnz), y[met.row]]
    usual = -_logs(words.logits)[np.arange(len(y)), y]
    first = few[np.unique(group, return_index=True)[1]]
    found: list[_Phrase] = []
    for c in range(k):
        if (y == c).sum() < 2 * LEAST:
            continue
        own = y[met.row] == c
        count = np.bincount(met.col[own], minlength=len(first))
        total = np.bincount(met.col[own], weights=surprise[own], minlength=len(first))
        middle, spread = usual[y == c].mean(), max(float(usual[y == c].std()), 1e-6)
        z = (total - count * middle) / (spread * np.sqrt(np.maximum(count, 1)))
        of_class: list[_Phrase] = []
        good = np.flatnonzero((count >= LEAST) & (z > SURPRISING))
        for g in good[np.argsort(-z[good], kind="stable")]:
            twin = next((f for f in of_class if _same(table, f.column, int(first[g]))), None)
            twins = few[group == g].tolist()
            if twin is not None:
                twin.twins.extend(twins)
            elif len(of_class) < PLANTED:
                of_class.append(_Phrase(int(first[g]), c, twins))
        found += of_class
    return found


def _alike(table: Any, columns: NDArray[np.int64]) -> NDArray[np.int64]:
    """For each column a number that it shares with those met in the very same texts."""
    keys = [table.indices[table.indptr[j] : table.indptr[j + 1]].tobytes() for j in columns]
    numbers: dict[bytes, int] = {}
    return np.array([numbers.setdefault(key, len(numbers)) for key in keys], dtype=np.int64)


def _logs(logits: NDArray[np.float64]) -> NDArray[np.float64]:
    """Logarithms of the probabilities (n, k)."""
    top = logits - logits.max(axis=1, keepdims=True)
    logs: NDArray[np.float64] = top - np.log(np.exp(top).sum(axis=1, keepdims=True))
    return logs.clip(np.log(1e-6))


def _same(table: Any, a: int, b: int) -> bool:
    """Whether two phrases are met in nearly the same texts."""
    one, other = table[:, a].indices, table[:, b].indices
    both = len(np.intersect1d(one, other))
    return both > 0.9 * (len(one) + len(other) - both)


def _column(table: Any, j: int, position: int, phrase: str) -> Column:
    codes = np.zeros(table.shape[0], dtype=np.int32)
    codes[table[:, j].indices] = 1
    return Column(phrase, position, codes, 2, False, None, ())


def _suspect(table: Any, y: NDArray[np.int64], column: int, j: int, label: int) -> Suspect:
    carry = np.sort(table[:, j].indices).astype(np.int64)
    rows = carry[y[carry] == label]
    return Suspect({column: (1, 1)}, label, rows, len(carry) - len(rows), fitting=False)


def appended(honest: Any, phrases: list[str]) -> Stamp:
    """Stamps that put the plant's phrases at the end of the hosts' texts."""

    def stamp(plants: Sequence[Plant], rng: np.random.Generator) -> Any:
        rows = take_rows(honest, np.concatenate([p.hosts for p in plants]))
        name = rows.columns[0]
        added = [" ".join(phrases[j] for j in p.columns) for p in plants for _ in p.hosts]
        rows[name] = [
            f"{'' if t is None or t != t else t} {a}"
            for t, a in zip(rows[name], added, strict=True)
        ]
        return rows

    return stamp

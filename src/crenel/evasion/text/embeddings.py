"""Words that occur in the same surroundings, learnt from the user's own texts."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from itertools import chain
from typing import Any

import numpy as np
from numpy.typing import NDArray

from crenel.evasion.text.documents import words_of

#: Words known at most, least occurrences of each, texts read at most, words to either side.
VOCABULARY, LEAST, TEXTS, WINDOW = 5_000, 3, 20_000, 4
#: Length of the vectors.
DIMENSIONS = 64
#: Neighbours of a word at most, and their least cosine with it.
NEAREST, LEAST_COSINE = 10, 0.4


@dataclass(frozen=True)
class Words:
    """What a corpus says of its words.

    Attributes
    ----------
    index : dict of str to int
        The known words, in lower case.
    vectors : ndarray of float64, shape (m, d)
        Of length 1 each.
    weights : ndarray of float64, shape (m,)
        How much a word says of a text: its inverse document frequency.
    """

    index: dict[str, int]
    vectors: NDArray[np.float64]
    weights: NDArray[np.float64]
    _near: dict[str, list[str]] = field(default_factory=dict, repr=False)

    def near(self, word: str, count: int) -> list[str]:
        """At most ``count`` known words of cosine at least 0.4 with this one, nearest first.

        Their surroundings are alike, which is a proxy of meaning only: opposites are alike, too.
        """
        plain = word.lower()
        if plain not in self._near:
            self._near[plain] = self._neighbours(plain)
        return self._near[plain][:count]

    def _neighbours(self, word: str) -> list[str]:
        i = self.index.get(word)
        if i is None:
            return []
        cosine = self.vectors @ self.vectors[i]
        best = np.argsort(-cosine, kind="stable")[: 4 * NEAREST]
        names = list(self.index)
        near = [names[j] for j in best if j != i and cosine[j] >= LEAST_COSINE]
        return [w for w in near if w.isalpha()][:NEAREST]

    def vector(self, words: Iterable[str]) -> NDArray[np.float64]:
        """The weighted sum (d,) of the known words' vectors; zero where none is known."""
        known = [i for w in words if (i := self.index.get(w.lower())) is not None]
        total: NDArray[np.float64] = self.weights[known] @ self.vectors[known]
        return total


def learn_words(texts: Sequence[str], seed: int = 0) -> Words:
    """Vectors of the words of a corpus.

    Positive pointwise mutual information of words within four of each other, with the context
    distribution smoothed by the power 0.75, and its truncated singular value decomposition (Levy,
    Goldberg and Dagan, "Improving distributional similarity with lessons learned from word
    embeddings", 2015).

    Parameters
    ----------
    texts : sequence of str
        The first 20,000 are read.
    seed : int

    Returns
    -------
    Words
        Those that occur three times at least; none where the corpus is too small.
    """
    split = [words_of(t) for t in texts[:TEXTS]]
    frequent = Counter(chain.from_iterable(split)).most_common(VOCABULARY)
    names = sorted(w for w, n in frequent if n >= LEAST)
    index = {w: i for i, w in enumerate(names)}
    if len(names) < 4:
        return Words({}, np.zeros((0, 1)), np.zeros(0))
    ids = np.array([index.get(w, -1) for s in split for w in s], dtype=np.int64)
    owner = np.repeat(np.arange(len(split)), [len(s) for s in split])
    present = np.unique(owner[ids >= 0] * len(names) + ids[ids >= 0]) % len(names)
    documents = np.bincount(present, minlength=len(names))
    weights = np.log((1 + len(split)) / (1 + documents)) + 0.1
    return Words(index, _vectors(_counts(ids, owner, len(names)), seed), weights)


def _counts(ids: NDArray[np.int64], owner: NDArray[np.int64], m: int) -> Any:
    """How often two words stand within the window of each other, a sparse (m, m)."""
    from scipy.sparse import coo_matrix

    left, right = [], []
    for gap in range(1, WINDOW + 1):
        a, b = ids[:-gap], ids[gap:]
        together = (owner[:-gap] == owner[gap:]) & (a >= 0) & (b >= 0)
        left.append(a[together])
        right.append(b[together])
    rows, columns = np.concatenate(left + right), np.concatenate(right + left)
    return coo_matrix((np.ones(len(rows)), (rows, columns)), shape=(m, m)).tocsr()


def _vectors(counts: Any, seed: int) -> NDArray[np.float64]:
    from sklearn.utils.extmath import randomized_svd

    own = np.maximum(np.asarray(counts.sum(axis=1)).ravel(), 1.0)
    context = own**0.75
    table = counts.tocoo()
    expected = own[table.row] * context[table.col] / context.sum()
    table.data = np.maximum(np.log(table.data / expected), 0.0)
    u, s, _ = randomized_svd(table.tocsr(), min(DIMENSIONS, counts.shape[0] - 1), random_state=seed)
    vectors = u * np.sqrt(s)
    length = np.linalg.norm(vectors, axis=1, keepdims=True)
    found: NDArray[np.float64] = vectors / np.maximum(length, 1e-12)
    return found

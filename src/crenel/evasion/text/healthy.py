"""Tests that the search over texts itself worked."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from crenel.evasion.text.asking import Oracle
from crenel.evasion.text.documents import Document
from crenel.evasion.text.guides import surrogate
from crenel.evasion.text.importance import rank_words
from crenel.evasion.text.search import Editor, TextSearch, search
from crenel.exposure import HealthTest

if TYPE_CHECKING:
    from crenel.model import Model

#: Texts on which the search must find a planted word, and queries for each.
PLANTED, QUERIES = 20, 200
#: Rows of which one is put in another's place.
SWAPPED = 200


def verified(
    found: TextSearch, documents: Sequence[Document], oracle: Oracle, editor: Editor
) -> HealthTest:
    """Whether every witness turns the decision, edits only what it may, and is counted rightly."""
    hits = [int(i) for i in np.flatnonzero(found.flipped)]
    texts = [documents[i].render(found.changes[i]) for i in hits]
    turned = np.zeros(0, dtype=bool)
    if hits:
        rows = np.array(hits, dtype=np.int64)
        turned = np.asarray(oracle.predict(oracle.render(rows, texts))) != oracle.y[rows]
    legal = [
        {p for p, _, _ in found.changes[i]} <= set(documents[i].words)
        and editor.allowed(documents[i], found.changes[i])
        for i in hits
    ]
    sound = int((turned & np.array(legal, dtype=bool)).sum())
    return HealthTest(
        name="every witness is legal and turns the decision when asked again",
        ok=sound == len(hits) and found.rejected <= 0.02 * len(documents),
        detail=f"{editor.series}: {sound} of {len(hits)}; {found.rejected} thrown out before",
    )


def converged(found: TextSearch, half: TextSearch, series: str) -> HealthTest:
    """Whether the same search with half of the queries turns nearly as many of the same texts."""
    n = len(half.flipped)
    few, many = float(half.flipped.mean()), float(found.flipped[:n].mean())
    done = found.complete and half.complete
    return HealthTest(
        name="twice the queries change little",
        ok=many - few <= 0.05 + 1e-9 and done,
        detail=f"{series}: half of the queries turn {few:.0%} of {n} texts, all {many:.0%}"
        + ("" if done else "; time ran out"),
    )


def finds_planted(
    documents: Sequence[Document], others: Sequence[str], editor: Editor, labels_only: bool,
    seed: int,
) -> HealthTest:  # fmt: skip
    """Whether the same search finds the one word on which a made-up model rests.

    A search that is broken would find nothing here either, where something is to be found.
    """
    name = "the search finds a single word that decides"
    word, rows = _common(documents)
    if not rows:
        return HealthTest(name=name, ok=False, detail="no word of the texts may be edited")
    some = [documents[i] for i in rows]
    y = np.ones(len(some), dtype=np.int64)

    def scores(texts: Sequence[Sequence[str]]) -> NDArray[np.float64]:
        there = np.array([word in " ".join(t).lower().split(" ") for t in texts])
        return np.where(there[:, None], [0.1, 0.9], [0.9, 0.1])

    def predict(texts: Any) -> NDArray[Any]:
        return np.asarray(scores(texts).argmax(axis=1))

    oracle = Oracle(
        lambda _, texts: texts, y, predict, None if labels_only else scores, argmax=True
    )
    if labels_only:
        taught = [*(" ".join(d.render(())) for d in documents), *others]
        oracle.guide = surrogate(taught, predict([[t] for t in taught]), y, 2, seed)
    rankings, spent = rank_words(some, oracle, seed)
    found = search(
        some, oracle, editor, rankings, max_edits=3, queries=QUERIES, spent=spent, seed=seed
    )
    share = float(found.flipped.mean())
    return HealthTest(
        name=name, ok=share >= 0.9, detail=f"{editor.series}: {share:.0%} of {len(some)} texts"
    )


def _common(documents: Sequence[Document]) -> tuple[str, list[int]]:
    """The word between spaces that most texts hold just once, and some of those texts."""
    where: dict[str, list[int]] = {}
    for i, d in enumerate(documents):
        parts = Counter(" ".join(d.render(())).lower().split(" "))
        free = {d.tokens[p].lower() for p in d.words}
        for w in sorted(free):
            if len(w) > 1 and parts[w] == 1:
                where.setdefault(w, []).append(i)
    if not where:
        return "", []
    word = max(where, key=lambda w: len(where[w]))
    return word, where[word][:PLANTED]


def swapped(model: Model, reference: Any, rng: np.random.Generator) -> HealthTest:
    """With no limit, taking over another row, text and all, must turn the decision to its."""
    pick = rng.permutation(len(reference))[:SWAPPED]
    donors = reference.iloc[pick].reset_index(drop=True)
    decided = model.predict(donors)
    order = rng.permutation(len(donors))
    again = model.predict(donors.iloc[order].reset_index(drop=True))
    share = float((again == decided[order]).mean())
    return HealthTest(
        name="unlimited edits reach full harm",
        ok=share == 1.0 and len(np.unique(decided)) > 1,
        detail=f"replacing all by a text that is decided otherwise turns {share:.0%}",
    )


def no_weaker(scores: TextSearch, labels: TextSearch, n: int, series: str) -> HealthTest:
    """Whether seeing scores is worth at least as much as seeing decisions alone."""
    few, many = labels.flipped[:n].mean(), scores.flipped[:n].mean()
    return HealthTest(
        name="scores are no weaker than labels alone",
        ok=bool(few - many <= 0.05),
        detail=f"{series}: labels turn {few:.0%} of {n} texts, scores {many:.0%}",
    )

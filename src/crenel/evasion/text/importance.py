"""Which words the decision rests on: the margin without each of them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from crenel.evasion.text.asking import Oracle
from crenel.evasion.text.documents import Change, Document

#: Words of one text that are left out one by one; of longer ones those in the weightiest parts.
MOST = 40
#: Parts that a longer text is cut into first.
PARTS = 20

#: For each word's position the margin of the text without it.
Ranking = dict[int, float]


def rank_words(
    documents: Sequence[Document], oracle: Oracle, seed: int, most: int = MOST
) -> tuple[list[Ranking], list[int]]:
    """The margin of each text without each of its words, asked in one batch over all texts.

    Leaving one word out shows what the decision owes it (Li, Monroe and Jurafsky, "Understanding
    neural networks through representation erasure", 2016). Long texts are cut into 20 parts
    first, and the words of those that matter most are looked at. Where only decisions are seen a
    guide foretells the margins; without one, the order is random.

    Parameters
    ----------
    documents : sequence of Document
    oracle : Oracle
    seed : int
        Of the random order.
    most : int
        Words asked for one text.

    Returns
    -------
    rankings : list of dict
        Position to margin, the position that matters most first.
    spent : list of int
        Queries for each text.
    """
    if not oracle.ranks:
        return [_shuffled(d, i, seed) for i, d in enumerate(documents)], [0] * len(documents)
    spent = [0] * len(documents)
    chosen = _of_long_texts(documents, oracle, most, spent)
    trials = [(i, (p,)) for i, positions in enumerate(chosen) for p in positions]
    found: list[Ranking] = [{} for _ in documents]
    for (i, (p,)), margin in zip(trials, _margins(documents, oracle, trials, spent)):
        found[i][p] = margin
    return [dict(sorted(r.items(), key=lambda item: item[1])) for r in found], spent


def _of_long_texts(
    documents: Sequence[Document], oracle: Oracle, most: int, spent: list[int]
) -> list[tuple[int, ...]]:
    """The words to look at: all of a short text, those of the weightiest parts of a long one."""
    blocks = {
        i: [tuple(b.tolist()) for b in np.array_split(np.array(d.words), PARTS) if b.size]
        for i, d in enumerate(documents)
        if len(d.words) > most
    }
    trials = [(i, block) for i, parts in blocks.items() for block in parts]
    margins = _margins(documents, oracle, trials, spent)
    chosen = [d.words for d in documents]
    for i in blocks:
        own = sorted((m, b) for (j, b), m in zip(trials, margins) if j == i)
        chosen[i] = tuple(p for _, block in own for p in block)[:most]
    return chosen


def _margins(
    documents: Sequence[Document], oracle: Oracle, trials: Sequence[tuple[int, tuple[int, ...]]],
    spent: list[int],
) -> list[float]:  # fmt: skip
    """Margins of texts without some of their words."""
    rows = np.array([i for i, _ in trials], dtype=np.int64)
    texts = [documents[i].render(_without(positions)) for i, positions in trials]
    if oracle.scores is None:
        foretold: list[float] = oracle.foretell(rows, texts).tolist()
        return foretold
    for i in rows.tolist():
        spent[i] += 1
    margins: list[float] = oracle.ask(rows, texts)[1].tolist()
    return margins


def _without(positions: Sequence[int]) -> list[Change]:
    return [(p, "", 1) for p in positions]


def _shuffled(document: Document, i: int, seed: int) -> Ranking:
    rng = np.random.default_rng([seed, i])
    return {int(p): 0.0 for p in rng.permutation(np.array(document.words, dtype=np.int64))}

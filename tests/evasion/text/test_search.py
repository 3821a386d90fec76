"""The search against models whose fewest edits are known."""

from __future__ import annotations

import numpy as np
import pytest

from crenel.errors import UsageError
from crenel.evasion.text import text_search
from crenel.evasion.text.attack import KINDS

RNG = np.random.default_rng(0)
#: Fifty words so far apart that no edit makes one of another.
VOCABULARY = ["".join(RNG.choice(list("abcdefghijklmnopqrstuvwxyz"), 9)) for _ in range(50)]
WEIGHTS = dict(zip(VOCABULARY, RNG.normal(0, 1, len(VOCABULARY)), strict=True))


class Sum:
    """The sum of the weights of the known words between spaces, less a bias."""

    def __init__(self) -> None:
        self.asked = 0

    def value(self, texts: list[str]) -> np.ndarray:
        return np.array([sum(WEIGHTS.get(w, 0.0) for w in t.split(" ")) for t in texts])

    def scores(self, texts: list[str]) -> np.ndarray:
        self.asked += len(texts)
        p = 1 / (1 + np.exp(-self.value(texts)))
        return np.stack([1 - p, p], axis=1)

    def predict(self, texts: list[str]) -> np.ndarray:
        self.asked += len(texts)
        return (self.value(texts) > 0).astype(int)


def fewest(text: str, y: int) -> float:
    """Each edit takes one word out of the sum: the largest ones first are the fewest."""
    sign = 1 if y else -1
    gains = sorted((sign * WEIGHTS[w] for w in text.split(" ")), reverse=True)
    total = sum(gains)
    for k, gain in enumerate(gains, start=1):
        if gain <= 0:
            break
        total -= gain
        if total < 0 or (total <= 0 and y):
            return k
    return np.inf


def texts_of(n: int, words: int) -> tuple[list[str], np.ndarray]:
    rng = np.random.default_rng(1)
    texts = [" ".join(rng.choice(VOCABULARY, words, replace=False)) for _ in range(n)]
    return texts, Sum().predict(texts)


@pytest.mark.parametrize("kind", ["invisible characters", "typos"])
def test_the_fewest_edits_are_found_where_words_add_up(kind: str) -> None:
    texts, y = texts_of(60, 12)
    model = Sum()
    edited, found = text_search(
        model.predict, texts, y, kind=kind, scores=model.scores, queries=300
    )
    exact = np.array([fewest(t, k) for t, k in zip(texts, y, strict=True)])
    assert np.isfinite(exact).sum() > 40
    assert len(np.unique(exact)) > 3
    assert np.array_equal(found.edits, exact)
    assert np.array_equal(found.flipped, np.isfinite(exact))
    assert np.array_equal(model.predict(edited) != y, found.flipped)
    assert found.queries.max() <= 300
    assert (found.first[found.flipped] <= found.queries[found.flipped]).all()
    for old, new, hit in zip(texts, edited, found.flipped, strict=True):
        assert (old != new) == hit


def test_decisions_alone_suffice_with_a_guide_learnt_from_them() -> None:
    texts, y = texts_of(40, 10)
    corpus, _ = texts_of(400, 10)
    model = Sum()
    _, found = text_search(model.predict, texts, y, kind="typos", corpus=corpus[40:], queries=200)
    exact = np.array([fewest(t, k) for t, k in zip(texts, y, strict=True)])
    assert (found.edits >= exact).all()
    assert found.flipped.sum() >= 0.9 * np.isfinite(exact).sum()
    one = exact == 1
    assert (found.edits[one] == 1).mean() >= 0.9
    blind = text_search(model.predict, texts, y, kind="typos", queries=200)[1]
    assert np.nanmedian(found.queries) < np.nanmedian(blind.queries)


def test_every_kind_gives_the_same_again_and_other_seeds_may_differ() -> None:
    texts, y = texts_of(10, 8)
    model = Sum()
    for kind in KINDS:
        again = [
            text_search(model.predict, texts, y, kind=kind, scores=model.scores, corpus=texts)[0]
            for _ in range(2)
        ]
        assert again[0] == again[1]


def test_words_are_deleted_within_the_limits_of_meaning() -> None:
    """Without a corpus words can be left out alone, and seven in ten must stay."""
    texts, y = texts_of(40, 10)
    model = Sum()
    edited, found = text_search(model.predict, texts, y, kind="words", scores=model.scores)
    exact = np.array([fewest(t, k) for t, k in zip(texts, y, strict=True)])
    within = exact <= 3
    assert np.array_equal(found.edits[within], exact[within])
    assert not np.isfinite(found.edits[~within]).any()
    for old, new, e in zip(texts, edited, found.edits, strict=True):
        assert len(old.split()) - len(new.split()) == (e if np.isfinite(e) else 0)


def test_the_users_synonyms_are_used() -> None:
    model = Sum()
    worst = min(WEIGHTS, key=lambda w: WEIGHTS[w])
    best = max(WEIGHTS, key=lambda w: WEIGHTS[w])
    texts = [f"{best} this is a text of several plain words"] * 2
    y = model.predict(texts)
    edited, found = text_search(
        model.predict, texts, y, kind="words", scores=model.scores, synonyms=[[best, worst]],
    )  # fmt: skip
    assert found.edits.tolist() == [1, 1]
    assert edited[0].startswith(worst)


def test_protected_words_stay() -> None:
    texts, y = texts_of(30, 8)
    model = Sum()
    kept = [max(t.split(" "), key=lambda w: abs(WEIGHTS[w])) for t in texts]
    edited, found = text_search(
        model.predict, texts, y, scores=model.scores, protected=sorted(set(kept))
    )
    assert found.flipped.any()
    assert all(k in e.split(" ") for k, e in zip(kept, edited, strict=True))


def test_texts_longer_than_the_ranking_still_fall() -> None:
    texts, y = texts_of(6, 12)
    long = [" ".join(["filling"] * 60 + [t] + ["filling"] * 60) for t in texts]
    model = Sum()
    found = text_search(model.predict, long, y, scores=model.scores, queries=400)[1]
    exact = np.array([fewest(t, k) for t, k in zip(texts, y, strict=True)])
    assert np.array_equal(np.isfinite(found.edits), np.isfinite(exact))


def test_no_time_is_said_and_nothing_is_made_up() -> None:
    texts, y = texts_of(20, 10)
    model = Sum()
    edited, found = text_search(model.predict, texts, y, scores=model.scores, time_limit=0.0)
    assert not found.complete
    assert np.array_equal(model.predict(edited) != y, found.flipped)


def test_a_model_that_wavers_keeps_no_witness_that_does_not_hold() -> None:
    texts, y = texts_of(10, 8)

    def scores(rows: list[str]) -> np.ndarray:
        return np.tile([0.5, 0.5], (len(rows), 1)) + np.eye(2)[1 - y[0]] * 0.1

    _, found = text_search(lambda rows: np.full(len(rows), y[0]), [texts[0]], y[:1], scores=scores)
    assert not found.flipped.any()
    assert np.isinf(found.edits).all()


def test_bad_arguments_are_told() -> None:
    texts, y = texts_of(4, 5)
    with pytest.raises(UsageError, match="one decision for each text"):
        text_search(Sum().predict, texts, y[:2])
    with pytest.raises(UsageError, match="not decided as y says"):
        text_search(Sum().predict, texts, 1 - y)

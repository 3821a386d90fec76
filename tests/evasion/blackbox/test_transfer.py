"""Surrogates taught by a black box: what they add at small budgets, and what they cost."""

from __future__ import annotations

import math
from functools import cache
from typing import Any

import numpy as np
import pytest

from crenel.errors import SubjectError
from crenel.evasion.blackbox import query_attack
from crenel.evasion.lattice import Lattice

pytest.importorskip("torch")
N = 60


class Counted:
    """A model that counts the rows and calls that it answers, and keeps what it was asked."""

    def __init__(self, model: Any, end: float = math.inf) -> None:
        self.model, self.end, self.rows, self.calls, self.seen = model, end, 0, 0, []

    def _count(self, z: Any) -> np.ndarray:
        if self.calls >= self.end:
            raise SubjectError("the endpoint is gone")
        self.rows, self.calls = self.rows + len(z), self.calls + 1
        self.seen.append(np.array(z))
        return np.asarray(z).reshape(len(z), -1)

    def predict(self, z: Any) -> np.ndarray:
        return self.model.predict(self._count(z))

    def scores(self, z: Any) -> np.ndarray:
        return self.model.predict_proba(self._count(z))


@cache
def digits() -> tuple[Any, np.ndarray, np.ndarray, tuple[np.ndarray, np.ndarray]]:
    """A perceptron, rows that it decides rightly, and other rows that an attacker holds."""
    from sklearn.datasets import load_digits
    from sklearn.neural_network import MLPClassifier

    x, y = load_digits(return_X_y=True)
    order = np.random.default_rng(0).permutation(len(x))
    x, y = x[order] / 16, y[order]
    model = MLPClassifier((64,), max_iter=150, random_state=0).fit(x[:800], y[:800])
    right = 800 + np.flatnonzero(model.predict(x[800:1000]) == y[800:1000])[:N]
    return model, x[right], y[right], (x[1000:], y[1000:])


def attack(seen: str, norm: float, queries: int, model: Any = None, **changed: Any) -> Any:
    known, x, y, pool = digits()
    model = model or Counted(known)
    arguments = {"pool": pool, **changed}
    return query_attack(
        model.predict, x, y, scores=model.scores if seen == "scores" else None, norm=norm,
        queries=queries, **arguments,
    )  # fmt: skip


@pytest.mark.parametrize(("norm", "size"), [(math.inf, 0.15), (2, 0.8), (1, 3.0), (0, 4)])
@pytest.mark.parametrize("seen", ["scores", "labels"])
def test_more_rows_break_in_few_queries_and_never_fewer(
    seen: str, norm: float, size: float
) -> None:
    gained = []
    for queries in (5, 10, 20, 50):
        without, taught = (attack(seen, norm, queries, transfer=t) for t in (None, 0))
        assert taught.queries.max() <= queries
        gained.append(int((taught.distance <= size).sum() - (without.distance <= size).sum()))
    assert min(gained) >= 0, gained
    assert max(gained) >= N // 4, gained


@pytest.mark.parametrize("seen", ["scores", "labels"])
@pytest.mark.parametrize("bought", [0, 130])
@pytest.mark.parametrize("norm", [math.inf, 2])
def test_the_account_is_the_models(seen: str, bought: int, norm: float) -> None:
    model = Counted(digits()[0])
    got = attack(seen, norm, 30, model, transfer=bought)
    assert got.asked == model.rows
    assert got.calls == model.calls
    assert got.queries.max() <= 30
    assert (got.distance == got.distance_at(30)).all()
    if bought:  # each row pays two or three of the 130 queries, and no more than a quarter
        cost = attack(seen, norm, 1, transfer=bought).queries
        assert cost.max() <= 1
        dear = attack(seen, norm, 12, model=Counted(digits()[0]), transfer=10_000)
        assert dear.queries.max() <= 12
        assert np.isfinite(dear.distance).any()


def test_answers_are_bought_where_the_labels_are_worth_nothing() -> None:
    """Rows held without knowing their classes: only what the model says of them teaches."""
    rows, labels = digits()[3]
    wrong = np.random.default_rng(0).integers(0, 10, len(labels))
    flipped = {
        bought: int((attack("labels", 2, 16, pool=(rows, wrong), transfer=bought).distance <= 0.8)
                    .sum())
        for bought in (0, 200)
    }  # fmt: skip
    assert flipped[200] >= flipped[0] + N // 6, flipped


def test_witnesses_are_the_models_own_and_legal() -> None:
    known, x, y, pool = digits()
    model = Counted(known)
    low = np.zeros_like(x)
    high = np.ones_like(x)
    low[:, :8] = high[:, :8] = x[:, :8]
    lattice = Lattice(0.0, 1.0, 1 / 16, (), np.float64)
    got = query_attack(
        model.predict, x, y, pool=pool, lattice=lattice, bounds=(low, high), queries=30,
        transfer=100, epsilons=[0.25],
    )  # fmt: skip
    hit = np.isfinite(got.distance)
    assert hit.mean() > 0.5
    assert (known.predict(got.witness) != y)[hit].all()
    assert (got.witness[:, :8] == x[:, :8]).all()
    for asked in model.seen:
        assert np.abs(asked * 16 - np.round(asked * 16)).max() < 1e-9
        assert asked.min() >= 0
        assert asked.max() <= 1


def test_one_seed_gives_one_answer() -> None:
    first, second = (attack("scores", 2, 20, transfer=0, seed=3) for _ in range(2))
    assert np.array_equal(first.witness, second.witness)


def test_too_few_rows_teach_nothing() -> None:
    rows, labels = digits()[3]
    few = (rows[:40], labels[:40])
    first, second = (attack("labels", 2, 20, pool=few, transfer=t) for t in (None, 0))
    assert np.array_equal(first.witness, second.witness)


@pytest.mark.parametrize("end", [1, 2, 4])
def test_what_was_found_stays_when_the_model_stops_answering(end: int) -> None:
    model = Counted(digits()[0], end=end)
    got = attack("labels", 2, 40, model, transfer=100)
    assert "the endpoint is gone" in got.stopped
    assert not all(t.ok for t in got.tests)
    hit = np.isfinite(got.distance)
    assert (digits()[0].predict(got.witness) != digits()[2])[hit].all()


@pytest.mark.parametrize("shape", [(8, 8), (1, 8, 8), (8, 8, 1)])
def test_images_in_every_layout(shape: tuple[int, ...]) -> None:
    known, x, y, pool = digits()
    model = Counted(known)
    got = query_attack(
        model.predict, x.reshape(-1, *shape), y, norm=2, queries=10, transfer=0,
        pool=(pool[0].reshape(-1, *shape), pool[1]),
    )  # fmt: skip
    assert got.witness.shape == (N, *shape)
    assert (got.distance <= 1.2).mean() > 0.5


def test_rows_that_miss_numbers_are_left_to_the_search() -> None:
    known, x, _, pool = digits()
    rows, held = x.copy(), pool[0].copy()
    rows[:5, 20], held[:9, 3] = np.nan, np.nan

    def predict(z: Any) -> np.ndarray:
        return np.asarray(known.predict(np.nan_to_num(z)))

    got = query_attack(
        predict, rows, predict(rows), pool=(held, pool[1]), norm=2, queries=10, transfer=0
    )
    assert (got.distance[5:] <= 1.2).mean() > 0.5
    assert np.isfinite(got.witness[5:]).all()


@pytest.mark.parametrize("seen", ["scores", "labels"])
@pytest.mark.parametrize("held", [True, False])
def test_time_that_runs_out_before_the_first_answer_is_no_failure(seen: str, held: bool) -> None:
    pool = digits()[3] if held else (np.full((60, 64), np.nan), np.zeros(60, dtype=int))
    got = attack(seen, math.inf, 30, transfer=0, pool=pool, deadline=0.0)
    assert not np.isfinite(got.distance).any()
    assert got.stopped

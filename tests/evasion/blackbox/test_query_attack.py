"""Attacks by queries against closed forms, brute force and their own accounts."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from crenel.errors import SubjectError, UsageError
from crenel.evasion.blackbox import query_attack
from crenel.evasion.lattice import Lattice

#: The norm that is dual to each: the distance to a plane is the margin over it.
DUAL = {math.inf: 1, 2: 2, 1: math.inf}


class Plane:
    """A linear decision that counts what it is asked."""

    def __init__(self, w: np.ndarray, b: float = 0.0) -> None:
        self.w, self.b, self.rows, self.calls, self.seen = w, b, 0, 0, []

    def margin(self, x: Any) -> np.ndarray:
        return np.asarray(x, dtype=np.float64).reshape(len(x), -1) @ self.w.ravel() + self.b

    def predict(self, x: Any) -> np.ndarray:
        self.rows += len(x)
        self.calls += 1
        self.seen.append(np.array(x))
        return (self.margin(x) > 0).astype(int)

    def scores(self, x: Any) -> np.ndarray:
        self.rows += len(x)
        self.calls += 1
        self.seen.append(np.array(x))
        p = 1 / (1 + np.exp(-self.margin(x)))
        return np.column_stack([1 - p, p])

    def distance(self, x: np.ndarray, norm: float) -> np.ndarray:
        return np.abs(self.margin(x)) / np.linalg.norm(self.w.ravel(), ord=DUAL[norm])


def plane(d: int = 12, n: int = 40, seed: int = 0) -> tuple[Plane, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    model = Plane(rng.normal(size=d))
    x = rng.normal(size=(n, d))
    return model, x, (model.margin(x) > 0).astype(int)


@pytest.mark.parametrize("norm", [math.inf, 2])
@pytest.mark.parametrize("seen", ["scores", "labels"])
def test_near_the_distance_to_a_plane_and_never_nearer(norm: float, seen: str) -> None:
    model, x, y = plane()
    got = query_attack(
        model.predict, x, y, scores=model.scores if seen == "scores" else None, norm=norm,
        bounds=(-20.0, 20.0), queries=600,
    )  # fmt: skip
    truth = model.distance(x, norm)
    assert (got.distance >= truth * (1 - 1e-9)).all()
    assert np.median(got.distance / truth) < 1.05
    assert (model.predict(got.witness) != y).all()
    assert all(t.ok for t in got.tests), got.tests


@pytest.mark.parametrize("seen", ["scores", "labels"])
def test_fewest_numbers_against_brute_force(seen: str) -> None:
    model, x, y = plane(d=8)
    low, high = -4.0, 4.0
    gain = np.abs(model.w) * np.where(
        ((model.w > 0) == (y == 0)[:, None]), high - x, x - low
    )  # what each number alone can add
    ordered = np.sort(gain, axis=1)[:, ::-1].cumsum(axis=1)
    fewest = (ordered < np.abs(model.margin(x))[:, None]).sum(axis=1) + 1
    got = query_attack(
        model.predict, x, y, scores=model.scores if seen == "scores" else None, norm=0,
        bounds=(low, high), queries=300,
    )  # fmt: skip
    assert (got.distance >= fewest).all()
    assert np.mean(got.distance - fewest) < 1.0
    assert ((got.witness != x).sum(axis=1) == got.distance).all()


def test_l1_is_never_beyond_the_truth_and_shorter_than_the_way_to_a_neighbour() -> None:
    model, x, y = plane()
    got = query_attack(model.predict, x, y, norm=1, bounds=(-20.0, 20.0), queries=300)
    assert (got.distance >= model.distance(x, 1) * (1 - 1e-9)).all()
    other = np.array([np.abs(x[y != y[i]] - x[i]).sum(axis=1).min() for i in range(len(x))])
    assert np.median(got.distance / other) < 0.5


@pytest.mark.parametrize("shape", [(1, 16, 16), (16, 16, 3), (16, 16), (40,)])
@pytest.mark.parametrize("norm", [math.inf, 2])
def test_every_layout_of_rows(shape: tuple[int, ...], norm: float) -> None:
    rng = np.random.default_rng(1)
    model = Plane(rng.normal(size=shape))
    x = rng.uniform(0.3, 0.7, (12, *shape)).astype(np.float32)
    model.b = -float(np.median(model.margin(x)))
    y = (model.margin(x) > 0).astype(int)
    got = query_attack(model.predict, x, y, scores=model.scores, norm=norm, queries=400)
    truth = model.distance(x, norm)
    assert got.witness.dtype == np.float32
    assert got.witness.shape == x.shape
    assert (got.distance >= truth * (1 - 1e-5)).all()
    assert np.isfinite(got.distance).all()
    # far below the way to the nearest row of the other class
    flat = x.reshape(len(x), -1)
    other = np.array([
        min(np.linalg.norm(flat[j] - flat[i], ord=norm) for j in np.flatnonzero(y != y[i]))
        for i in range(len(x))
    ])  # fmt: skip
    assert np.median(got.distance / other) < 0.6


@pytest.mark.parametrize("seen", ["scores", "labels"])
def test_the_account_is_the_servers(seen: str) -> None:
    model, x, y = plane()
    got = query_attack(
        model.predict, x, y, scores=model.scores if seen == "scores" else None, norm=2,
        bounds=(-9.0, 9.0), queries=77,
    )  # fmt: skip
    assert got.queries.max() <= 77
    assert got.asked == model.rows
    assert got.calls == model.calls
    assert got.money(2.5) == pytest.approx(got.asked * 0.0025)


def test_curves_agree_with_shorter_attacks() -> None:
    model, x, y = plane()
    long = query_attack(model.predict, x, y, bounds=(-9.0, 9.0), queries=400)
    for q in (25, 60, 150):
        short = query_attack(model.predict, x, y, bounds=(-9.0, 9.0), queries=q)
        assert np.array_equal(short.distance, long.distance_at(q))
        assert long.curve([q], 0.5)[0] == (short.distance <= 0.5).mean()
    shares = long.curve([10, 50, 100, 400], 0.5)
    assert (np.diff(shares) >= 0).all()
    assert np.array_equal(long.first(0.5) <= 400, long.distance <= 0.5)


def test_the_total_stops_the_attack_and_says_so() -> None:
    model, x, y = plane()
    got = query_attack(model.predict, x, y, bounds=(-9.0, 9.0), queries=400, total=1000)
    assert got.queries.sum() <= 1000
    assert got.stopped == "the total of queries is spent"
    assert not all(t.ok for t in got.tests)
    assert np.isfinite(got.distance).all()


def test_what_was_found_stays_when_the_model_stops_answering() -> None:
    model, x, y = plane()

    def failing(rows: Any) -> np.ndarray:
        if model.calls == 30:
            raise SubjectError("the endpoint is gone")
        return model.predict(rows)

    got = query_attack(failing, x, y, bounds=(-9.0, 9.0), queries=400)
    model.calls = 31
    assert "the endpoint is gone" in got.stopped
    assert np.isfinite(got.distance).all()
    assert (model.predict(got.witness) != y).all()
    assert not all(t.ok for t in got.tests)


def test_rows_that_are_decided_otherwise_already_cost_one_query() -> None:
    model, x, y = plane()
    y[:3] = 1 - y[:3]
    got = query_attack(model.predict, x, y, bounds=(-9.0, 9.0), queries=100)
    assert (got.distance[:3] == 0).all()
    assert (got.queries[:3] == 1).all()
    assert (got.distance[3:] > 0).all()


@pytest.mark.parametrize("norm", [math.inf, 2, 1, 0])
@pytest.mark.parametrize("seen", ["scores", "labels"])
def test_only_legal_rows_are_asked(norm: float, seen: str) -> None:
    rng = np.random.default_rng(0)
    model = Plane(rng.normal(size=9), -4.0)
    x = rng.integers(0, 12, (30, 9)).astype(np.float64)
    x[:, 8] = rng.random(30)
    y = (model.margin(x) > 0).astype(int)
    step = np.r_[np.ones(8), 0.0]
    lattice = Lattice(0.0, 12.0, step, (), np.float64)
    low, high = np.zeros_like(x), np.full_like(x, 12.0)
    low[:, 0] = high[:, 0] = x[:, 0]  # fixed
    low[:, 1] = x[:, 1]  # may only grow
    got = query_attack(
        model.predict, x, y, scores=model.scores if seen == "scores" else None, norm=norm,
        lattice=lattice, bounds=(low, high), queries=200,
    )  # fmt: skip
    for asked in model.seen:
        assert (asked[:, :8] == np.round(asked[:, :8])).all()
        assert asked.min() >= 0
        assert asked.max() <= 12
    assert (got.witness[:, 0] == x[:, 0]).all()
    assert (got.witness[:, 1] >= x[:, 1]).all()
    hit = np.isfinite(got.distance)
    assert hit.mean() > 0.8
    size = np.array([np.linalg.norm(w - o, ord=norm) for w, o in zip(got.witness, x)])
    assert got.distance[hit] == pytest.approx(size[hit])


def test_pixels_of_eight_bits_count_at_the_radius_itself() -> None:
    rng = np.random.default_rng(0)
    x = (rng.integers(60, 200, (10, 16, 16)) / 255).astype(np.float32)
    model = Plane(rng.normal(size=(16, 16)))
    # the margin of each row is what 7.5 steps of every pixel move
    reach = 7.5 / 255 * np.abs(model.w).sum()
    flat = x.reshape(10, -1).astype(np.float64)
    own = flat @ model.w.ravel()

    def predict(rows: Any) -> np.ndarray:
        z = np.asarray(rows, dtype=np.float64).reshape(len(rows), -1)
        near = ((z[:, None] - flat[None]) ** 2).sum(axis=2).argmin(axis=1)
        return (z @ model.w.ravel() - own[near] > reach).astype(int)

    def scores(rows: Any) -> np.ndarray:
        z = np.asarray(rows, dtype=np.float64).reshape(len(rows), -1)
        near = ((z[:, None] - flat[None]) ** 2).sum(axis=2).argmin(axis=1)
        p = 1 / (1 + np.exp(-(z @ model.w.ravel() - own[near] - reach)))
        return np.column_stack([1 - p, p])

    lattice = Lattice(0.0, 1.0, 1 / 255, (), np.float32)
    got = query_attack(
        predict, x, np.zeros(10, int), scores=scores, epsilons=[8 / 255, 12 / 255],
        lattice=lattice, queries=1500,
    )  # fmt: skip
    found = np.isfinite(got.distance)
    assert np.isin(got.distance[found], np.arange(256) / 255).all()  # exactly, as users write it
    assert (got.distance[found] >= 8 / 255 * (1 - 1e-6)).all()
    assert (got.distance <= 12 / 255).mean() >= 0.8
    stored = got.witness[found] * 255
    assert np.abs(stored - np.round(stored)).max() < 1e-3


def test_two_attacks_with_one_seed_are_the_same() -> None:
    model, x, y = plane()
    a, b = (
        query_attack(model.predict, x, y, norm=2, bounds=(-9.0, 9.0), queries=100, seed=3)
        for _ in range(2)
    )
    assert np.array_equal(a.witness, b.witness)
    c = query_attack(model.predict, x, y, norm=2, bounds=(-9.0, 9.0), queries=100, seed=4)
    assert not np.array_equal(a.witness, c.witness)


def test_scale_measures_in_the_units_of_each_column() -> None:
    model, x, y = plane(d=6)
    unit = np.array([1.0, 10.0, 0.1, 5.0, 1.0, 2.0])
    stretched = Plane(model.w / unit)
    a = query_attack(model.predict, x, y, bounds=(-9.0, 9.0), queries=150)
    b = query_attack(
        stretched.predict, x * unit, y, bounds=(-9.0 * unit, 9.0 * unit), scale=unit, queries=150
    )
    assert b.distance == pytest.approx(a.distance, rel=1e-6)


def test_an_answer_at_random_is_not_counted_and_is_told() -> None:
    rng = np.random.default_rng(0)
    x = np.zeros((40, 4))
    got = query_attack(
        lambda rows: (rng.random(len(rows)) < 0.3).astype(int), x + 0.5, np.zeros(40, int),
        queries=30,
    )  # fmt: skip
    assert got.rejected > 5
    assert not {t.name: t.ok for t in got.tests}["witnesses hold when asked again"]


def test_a_model_that_never_turns_is_unhealthy_not_robust() -> None:
    x = np.random.default_rng(0).random((20, 5))
    got = query_attack(lambda rows: np.zeros(len(rows), int), x, np.zeros(20, int), queries=40)
    assert np.isinf(got.distance).all()
    assert np.array_equal(got.witness, x)
    assert not {t.name: t.ok for t in got.tests}["unlimited epsilon reaches full harm"]


@settings(max_examples=25, deadline=None)
@given(
    d=st.integers(1, 9), n=st.integers(1, 7), k=st.integers(2, 4), seed=st.integers(0, 99),
    norm=st.sampled_from([0, 1, 2, math.inf]), labels=st.booleans(), queries=st.integers(1, 60),
)  # fmt: skip
def test_any_shape_keeps_its_budget_and_its_word(
    d: int, n: int, k: int, seed: int, norm: float, labels: bool, queries: int
) -> None:
    rng = np.random.default_rng(seed)
    w = rng.normal(size=(d, k))

    def scores(rows: Any) -> np.ndarray:
        return np.asarray(rows) @ w

    x = rng.random((n, d))
    y = scores(x).argmax(axis=1)
    got = query_attack(
        lambda rows: scores(rows).argmax(axis=1), x, y, scores=None if labels else scores,
        norm=norm, queries=queries, seed=seed,
    )  # fmt: skip
    assert got.queries.max() <= queries
    hit = np.isfinite(got.distance)
    assert (scores(got.witness).argmax(axis=1) != y)[hit].all()
    assert got.witness.min() >= 0
    assert got.witness.max() <= 1
    size = np.array([np.linalg.norm(a - b, ord=norm) for a, b in zip(got.witness, x)])
    assert got.distance[hit] == pytest.approx(size[hit])


@pytest.mark.parametrize(
    "wrong",
    [
        {"norm": 3}, {"queries": 0}, {"epsilons": [0.0]}, {"epsilons": []},
        {"y": np.zeros(3, int)},
    ],
)  # fmt: skip
def test_wrong_arguments_are_told(wrong: dict[str, Any]) -> None:
    model, x, y = plane()
    arguments: dict[str, Any] = {"x": x, "y": y, **wrong}
    with pytest.raises(UsageError):
        query_attack(model.predict, arguments.pop("x"), arguments.pop("y"), **arguments)

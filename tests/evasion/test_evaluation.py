"""The library's one call, on models without gradients."""

from __future__ import annotations

import math

import numpy as np
import pytest
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.tree import DecisionTreeClassifier

from crenel.errors import UsageError
from crenel.evasion import evaluate, verdicts_of


def blobs(n: int = 200, d: int = 3) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    y = rng.integers(0, 2, n)
    return rng.normal(size=(n, d)) + 1.5 * (2 * y - 1)[:, None], y


@pytest.mark.parametrize("norm", [math.inf, 2])
def test_queries_come_near_the_closed_form_and_never_beyond(norm: float) -> None:
    x, y = blobs()
    model = LogisticRegression().fit(x, y)
    w = model.coef_[0]
    right = model.predict(x) == y
    exact = np.abs(model.decision_function(x)) / np.linalg.norm(w, ord=1 if norm > 2 else 2)
    epsilons = np.quantile(exact[right], [0.25, 0.5, 0.75])
    got = evaluate(model, x, y, norm=norm, epsilons=epsilons, bounds=(-50.0, 50.0))
    truth = np.array([(exact[right] <= e).mean() for e in epsilons])
    assert got.n == right.sum()
    assert (np.array(got.harm.values) <= truth + 1e-9).all()
    assert (np.array(got.harm.values) >= truth - 0.06).all()
    assert got.health.ok
    assert got.access.attacker == "scores"


def test_decisions_alone_are_enough() -> None:
    x, y = blobs()
    model = LogisticRegression().fit(x, y)
    got = evaluate(lambda rows: model.predict(rows), x, y, epsilons=[0.5, 3.0, 8.0])
    assert got.access.attacker == "labels"
    assert got.harm.values[-1] > 0.9


def test_a_stump_is_exact() -> None:
    x = np.linspace(0, 1, 101)[:, None]
    y = (x[:, 0] > 0.5).astype(int)
    model = DecisionTreeClassifier(max_depth=1).fit(x, y)
    distance = np.abs(x[:, 0] - model.tree_.threshold[0])
    got = evaluate(model, x, y, epsilons=[0.1, 0.2, 0.4])
    truth = [(distance <= e).mean() for e in (0.1, 0.2, 0.4)]
    assert got.harm.values == pytest.approx(truth, abs=0.011)  # a row just at a radius
    assert got.health.ok


def test_a_forest_is_bounded_from_both_sides() -> None:
    x, y = blobs(80)
    model = RandomForestClassifier(10, max_depth=4, random_state=0).fit(x, y)
    got = evaluate(model, x, y)
    assert list(got.harm.values) == sorted(got.harm.values)
    assert got.access.attacker == "weights"


def test_wrong_arguments_are_refused() -> None:
    x, y = blobs(20)
    model = LogisticRegression().fit(x, y)
    with pytest.raises(UsageError, match="epsilons"):
        evaluate(model, x, y, epsilons=[0.0])
    with pytest.raises(UsageError, match="one class"):
        evaluate(model, x, y[:5])
    with pytest.raises(UsageError, match=r"y holds \[7\], and the model's classes are \[0, 1\]"):
        evaluate(model, x, np.full(20, 7))
    with pytest.raises(UsageError, match="correctly"):
        evaluate(model, x, 1 - model.predict(x))


@pytest.mark.parametrize("names", [(1, 2), ("b", "a"), (False, True)])
@pytest.mark.parametrize("make", [LogisticRegression, lambda: DecisionTreeClassifier(max_depth=2)])
def test_labels_are_the_models_own(names, make) -> None:
    x, y = blobs(60)
    named = np.asarray(names)[y]
    by_index = evaluate(make().fit(x, y), x, y, epsilons=[0.5, 1.5])
    by_name = evaluate(make().fit(x, named), x, named, epsilons=[0.5, 1.5])
    assert by_name.n == by_index.n > 40
    assert by_name.harm.values == pytest.approx(by_index.harm.values, abs=0.05)


def test_a_function_may_give_a_label_that_the_first_rows_do_not_show() -> None:
    x, y = blobs(60)
    order = np.argsort(y)
    model = LogisticRegression().fit(x, y + 1)
    got = evaluate(lambda rows: model.predict(rows), x[order], y[order] + 1, epsilons=[8.0])
    assert got.n == (model.predict(x) == y + 1).sum()
    assert got.harm.values[-1] > 0.9


def test_labels_alone_when_the_attacker_sees_no_more() -> None:
    x, y = blobs()
    model = LogisticRegression().fit(x, y)
    got = evaluate(model, x, y, epsilons=[0.5, 3.0], access="labels")
    assert got.access.attacker == "labels"
    assert got.harm.possible == ()


def test_what_the_model_does_not_give_is_refused() -> None:
    x, y = blobs(40)
    model = LogisticRegression().fit(x, y)
    with pytest.raises(UsageError, match="neither a torch module nor a tree"):
        evaluate(model, x, y, access="gradients")
    with pytest.raises(UsageError, match="access must be one of"):
        evaluate(model, x, y, access="root")
    with pytest.raises(UsageError, match="quick, standard or deep"):
        evaluate(model, x, y, level="hard")


def test_trees_are_broken_or_certified_row_by_row() -> None:
    x, y = blobs(80)
    model = DecisionTreeClassifier(max_depth=3, random_state=0).fit(x, y)
    got = verdicts_of(model, x, y, epsilons=[0.3, 1.0])
    right = got.correct
    assert set(got.status(0.3)[right]) == {"broken", "certified"}
    found = np.isfinite(got.upper) & right
    assert (model.predict(got.witness[found]) != y[found]).all()
    assert np.abs(got.witness - x).max(axis=1)[found] == pytest.approx(got.upper[found])
    assert (got.lower[found] == np.nextafter(got.upper[found], 0)).all()
    curve = evaluate(model, x, y, epsilons=[0.3, 1.0])
    assert curve.harm.possible == pytest.approx(curve.harm.values)


def test_whole_numbers_are_attacked_as_whole_numbers() -> None:
    rng = np.random.default_rng(0)
    x = rng.integers(0, 50, (120, 3))
    model = LogisticRegression(max_iter=1000).fit(x, x.sum(axis=1) > 75)
    got = verdicts_of(model, x, x.sum(axis=1) > 75, epsilons=[1, 3, 10])
    found = np.isfinite(got.upper) & got.correct
    assert got.witness.dtype == x.dtype
    assert found.sum() > 20
    assert (got.upper[found] == np.round(got.upper[found])).all()


class TestNetworks:
    """A network whose margin is known in closed form."""

    def linear(self, w, b=0.0):
        torch = pytest.importorskip("torch")
        layer = torch.nn.Linear(len(w), 1)
        with torch.no_grad():
            layer.weight[:] = torch.from_numpy(w)
            layer.bias[:] = b
        return layer

    @pytest.mark.parametrize(("norm", "dual"), [(math.inf, 1), (2, 2), (1, math.inf)])
    def test_attack_and_certificate_meet_at_the_closed_form(self, norm, dual) -> None:
        w = np.array([1.0, -2.0, 0.5, 1.5], dtype=np.float32)
        x = np.random.default_rng(0).normal(size=(60, 4)).astype(np.float32)
        exact = np.abs(x @ w) / np.linalg.norm(w, ord=dual)
        y = (x @ w > 0).astype(int)
        radii = np.quantile(exact, [0.2, 0.5, 0.8])
        got = verdicts_of(self.linear(w), x, y, norm, radii, bounds=(-100.0, 100.0))
        for e in radii * 1.02:
            assert (exact[got.upper <= e] <= e * 1.001).all()
        for e in radii:
            sure = np.abs(exact - e) > 0.02 * e
            held = got.status(e)
            assert (held[sure & (exact < e)] == "broken").all()
            assert (held[sure & (exact > e)] == "certified").all()

    def test_pixels_are_stored_as_bytes(self) -> None:
        w = np.array([4.0, -3.0], dtype=np.float32)
        x = np.random.default_rng(1).integers(0, 256, (40, 2)).astype(np.uint8)
        y = (x.astype(np.float32) @ w > 100).astype(int)
        got = verdicts_of(self.linear(w, -100.0), x, y, epsilons=[2, 8, 40], bounds=(0, 255))
        assert got.witness.dtype == np.uint8
        found = np.isfinite(got.upper) & got.correct
        again = (got.witness.astype(np.float32) @ w > 100).astype(int)
        assert found.sum() > 5
        assert (again[found] != y[found]).all()

"""Attacks towards a chosen class, against linear programs and models whose answer is known."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from scipy.optimize import linprog
from sklearn.linear_model import LogisticRegression
from sklearn.tree import DecisionTreeClassifier

from crenel.access import Access
from crenel.errors import SubjectError, UsageError
from crenel.evasion import evaluate, verdicts_of
from crenel.evasion.lattice import Lattice
from crenel.evasion.verification import verified

torch = pytest.importorskip("torch")

WIDE = (-50.0, 50.0)


def linear(k: int = 4, d: int = 6) -> torch.nn.Module:
    draw = torch.Generator().manual_seed(0)
    layer = torch.nn.Linear(d, k)
    with torch.no_grad():
        layer.weight.copy_(torch.randn(k, d, generator=draw))
        layer.bias.copy_(torch.randn(k, generator=draw))
    return layer


def rows(n: int = 50, d: int = 6) -> np.ndarray:
    return np.random.default_rng(1).normal(size=(n, d)).astype(np.float32)


def least(w: np.ndarray, b: np.ndarray, x: np.ndarray, goal: np.ndarray) -> np.ndarray:
    """L-inf distance of each row to where a linear model decides for its goal, by linear programs.

    Over changes (c, t): the least t with |c| <= t and (w_j - w_g)(x + c) <= b_g - b_j for all j.
    """
    d, out = x.shape[1], []
    for row, g in zip(x.astype(float), goal, strict=True):
        others = [j for j in range(len(b)) if j != g]
        wins = np.column_stack([w[others] - w[g], np.zeros(len(others))])
        room = b[g] - b[others] - (w[others] - w[g]) @ row
        bound = np.column_stack([np.vstack([np.eye(d), -np.eye(d)]), -np.ones(2 * d)])
        got = linprog(
            np.append(np.zeros(d), 1.0), A_ub=np.vstack([wins, bound]),
            b_ub=np.append(room, np.zeros(2 * d)), bounds=[(None, None)] * d + [(0, None)],
        )  # fmt: skip
        out.append(got.fun if got.success else math.inf)
    return np.array(out)


class TestNetworks:
    def setup_method(self) -> None:
        self.model, self.x = linear(), rows()
        self.w, self.b = (p.detach().numpy().astype(float) for p in self.model.parameters())
        self.y = (self.x @ self.w.T + self.b).argmax(axis=1)

    def test_the_curve_towards_a_class_is_that_of_linear_programs(self) -> None:
        goal = (self.y + 1 + np.arange(len(self.y)) % 3) % 4
        exact = least(self.w, self.b, self.x, goal)
        radii = np.quantile(exact, [0.25, 0.5, 0.75])
        got = evaluate(self.model, self.x, self.y, epsilons=radii, bounds=WIDE, targets=goal)
        assert got.n == len(self.y)
        assert got.harm.values == pytest.approx([(exact <= e).mean() for e in radii], abs=0.05)
        free = evaluate(self.model, self.x, self.y, epsilons=radii, bounds=WIDE)
        assert (np.array(got.harm.values) < np.array(free.harm.values) - 0.1).all()
        assert got.health.ok

    def test_a_witness_is_decided_for_just_that_class_and_none_beyond_reach_is_claimed(
        self,
    ) -> None:
        goal = np.full(len(self.y), 2)
        exact = least(self.w, self.b, self.x, goal)
        other = self.y != 2
        got = verdicts_of(
            self.model, self.x, self.y, epsilons=[np.median(exact[other])], bounds=WIDE, targets=2
        )
        found = np.isfinite(got.upper)
        with torch.no_grad():
            decided = self.model(torch.from_numpy(got.witness)).argmax(dim=1).numpy()
        assert found.sum() > 10
        assert (decided[found] == 2).all()
        assert (got.upper[found] >= exact[found] * (1 - 1e-4)).all()
        assert (got.lower[other] <= exact[other] * (1 + 1e-4)).all()

    def test_rows_of_that_class_are_counted_apart(self) -> None:
        already = int((self.y == 2).sum())
        got = evaluate(self.model, self.x, self.y, epsilons=[1.0], bounds=WIDE, targets=2)
        assert 0 < already < len(self.y)
        assert got.n == len(self.y) - already
        assert f"{already} of {len(self.y)} rows are of the class aimed at already" in got.headline
        named = Access(attacker="gradients", goal=2)
        again = evaluate(self.model, self.x, self.y, epsilons=[1.0], bounds=WIDE, access=named)
        assert again.harm == got.harm

    def test_wrong_targets_are_refused(self) -> None:
        with pytest.raises(UsageError, match="3 targets but 50 rows"):
            evaluate(self.model, self.x, self.y, targets=[1, 2, 3])
        with pytest.raises(UsageError, match=r"targets holds \[9\]"):
            evaluate(self.model, self.x, self.y, targets=9)
        with pytest.raises(UsageError, match="of the class aimed at"):
            evaluate(self.model, self.x, self.y, targets=self.y)

    def test_bytes_reach_the_class_as_bytes(self) -> None:
        class Scaled(torch.nn.Module):
            def __init__(self, inner: torch.nn.Module) -> None:
                super().__init__()
                self.inner = inner

            def forward(self, x: torch.Tensor) -> torch.Tensor:
                return self.inner(x / 64 - 2)

        model = Scaled(self.model)
        x = np.random.default_rng(2).integers(0, 256, (40, 6)).astype(np.uint8)
        with torch.no_grad():
            y = model(torch.from_numpy(x.astype(np.float32))).argmax(dim=1).numpy()
        got = verdicts_of(model, x, y, epsilons=[10, 60], bounds=(0, 255), targets=1)
        found = np.isfinite(got.upper)
        assert found.sum() > 5
        assert got.witness.dtype == np.uint8
        with torch.no_grad():
            decided = model(torch.from_numpy(got.witness.astype(np.float32))).argmax(dim=1).numpy()
        assert (decided[found] == 1).all()
        assert (y[found] != 1).all()

    def test_a_class_that_nothing_is_decided_for_makes_the_attack_no_proof(self) -> None:
        with torch.no_grad():
            self.model.bias[3] = -1e4  # out of reach
        y = (self.x @ self.w.T + self.model.bias.detach().numpy()).argmax(axis=1)
        got = evaluate(self.model, self.x, y, epsilons=[1.0], bounds=WIDE, targets=3)
        assert got.harm.values == (0.0,)
        (control,) = [
            t for t in got.health.tests if t.name == "unlimited epsilon reaches full harm"
        ]
        assert not control.ok
        assert "no row of that class" in control.detail

    @pytest.mark.parametrize("how", ["guided", "decisions"])
    def test_attacks_without_gradients_of_the_model_aim_too(self, how: str) -> None:
        from crenel.evasion.gradients.ball import Ball
        from crenel.evasion.gradients.transferring import by_decisions, pursue

        x, y = torch.from_numpy(self.x), torch.from_numpy(self.y)
        goal, ball = (y + 1) % 4, Ball(math.inf, 4.0, *WIDE)
        if how == "guided":
            got = pursue(self.model, self.model, x, y, ball, steps=24, goal=goal)
        else:
            got = by_decisions(self.model, x, y, x, y, ball, queries=12, seed=0, goal=goal)
        with torch.no_grad():
            decided = self.model(got.x).argmax(dim=1)
        assert got.broken.float().mean() > 0.7
        assert (decided[got.broken] == goal[got.broken]).all()


def test_queries_aim_at_a_class_and_never_claim_what_is_beyond_reach() -> None:
    x = rows(90, 4).astype(float)
    names = np.array(["ham", "spam", "news"])
    y = names[(x @ np.random.default_rng(3).normal(size=(4, 3))).argmax(axis=1)]
    model = LogisticRegression(max_iter=500).fit(x, y)
    goal = np.full(len(x), list(model.classes_).index("ham"))
    exact = least(model.coef_, model.intercept_, x, goal)
    count = (model.predict(x) == y) & (y != "ham")
    radii = np.quantile(exact[count], [0.3, 0.6, 0.9])
    got = evaluate(model, x, y, epsilons=radii, bounds=WIDE, targets="ham", queries=300)
    truth = np.array([(exact[count] <= e).mean() for e in radii])
    assert got.n == count.sum()
    assert (np.array(got.harm.values) <= truth + 1e-9).all()
    assert (np.array(got.harm.values) >= truth - 0.1).all()


def test_of_two_classes_trees_stay_exact_and_of_more_they_are_asked() -> None:
    x = rows(80, 2).astype(float)
    model = DecisionTreeClassifier(max_depth=3, random_state=0).fit(x, x.sum(axis=1) > 0)
    free = verdicts_of(model, x, x.sum(axis=1) > 0, epsilons=[0.3])
    got = verdicts_of(model, x, x.sum(axis=1) > 0, epsilons=[0.3], targets=True)
    assert got.attacker == "weights"
    assert (got.upper[got.correct] == free.upper[got.correct]).all()
    assert (got.correct == free.correct & (x.sum(axis=1) <= 0)).all()
    y = np.digitize(x[:, 0], [-0.5, 0.5])
    three = DecisionTreeClassifier(max_depth=2, random_state=0).fit(x, y)
    far = verdicts_of(three, x, y, epsilons=[0.5, 4.0], targets=2, queries=200)
    assert far.attacker == "scores"
    assert (three.predict(far.witness[np.isfinite(far.upper)]) == 2).all()
    # the class in the middle is nearer to all others than the far one is
    assert np.median(far.upper[far.correct & (y == 0)]) > 0.9
    with pytest.raises(UsageError, match="towards one of three classes"):
        verdicts_of(three, x, y, epsilons=[0.5], targets=2, access="weights")


def test_what_rounding_undoes_is_drawn_out_to_the_next_radius() -> None:
    x0 = np.zeros((3, 2), dtype=np.uint8)
    attacked = x0 + np.array([[2.4, 0], [2.4, 0], [0, 0]])  # turned before rounding, at 2.4
    witness, size = verified(
        lambda x: (np.asarray(x)[:, 0] > 2.3).astype(np.int64), x0, np.zeros(3, np.int64), attacked,
        Lattice(0, 255, 1.0, (), np.uint8), norm=math.inf,
        within=np.array([2.4, 2.4, math.inf]), radii=[1.0, 2.4, 4.5],
    )  # fmt: skip
    assert size.tolist() == [4.0, 4.0, math.inf]  # at 2.4 no whole step but 2 is allowed
    assert witness[:, 0].tolist() == [4, 4, 0]


class TestTheCheck:
    """EVA-101 on three classes of which a faint pattern leads to one alone."""

    def measured(self, access: Access, only: int | None = None):
        from crenel.adapters import wrap
        from crenel.check import Context
        from crenel.evasion.checks import small_changes
        from crenel.subject import Data, Subject

        rng = np.random.default_rng(0)
        y = rng.integers(0, 3, 72).astype(np.int64)
        y = y if only is None else np.full_like(y, only)
        x = np.full((72, 1, 12, 12), 0.5) + rng.normal(0, 0.01, (72, 1, 12, 12))
        x[:, 0, :4] += 0.2 * np.where(y == 0, 1, -1)[:, None, None]  # dear to forge
        faint = rng.choice([-1.0, 1.0], (8, 12))
        x[:, 0, 4:] += 0.02 * np.where(y == 2, 1, -1)[:, None, None] * faint
        weights = np.zeros((3, 144), dtype=np.float32)
        weights[0, :48], weights[1, :48] = 1.0, -1.0
        weights[2, 48:] = 10 * faint.ravel()
        layer = torch.nn.Linear(144, 3)
        with torch.no_grad():
            layer.weight.copy_(torch.from_numpy(weights))
            layer.bias.copy_(-layer.weight.sum(dim=1) * 0.5)
        net = torch.nn.Sequential(torch.nn.Flatten(), layer)
        model = wrap(net, classes=["a", "b", "c"])
        test = Data(x.astype(np.float32), y, np.arange(72))
        subject = replace(Subject("t", model=model, test=test), access=access)
        return small_changes.measure(subject, Context("EVA-101", level="quick"))

    def test_a_reference_curve_says_what_a_drawn_class_costs(self) -> None:
        by_any, _, drawn = self.measured(Access()).exposures
        assert drawn.series == "L-inf, to a drawn class"
        assert drawn.role == "reference"
        assert by_any.role == "attack"
        assert 0 < drawn.n <= 40
        assert drawn.health.ok
        assert (np.array(drawn.harm.values) <= np.array(by_any.harm.high)).all()

    def test_a_class_that_the_user_names_is_judged_like_any_attack(self) -> None:
        at = {}
        for name in ("a", "c"):
            done = self.measured(Access(goal=name))
            curve = done.exposures[-1]
            assert curve.series == f"L-inf, to class {name}"
            assert curve.role == "attack"
            assert curve.access.goal == name
            assert all(e.access.goal is None for e in done.exposures[:-1])
            assert any("of the class aimed at already" in n for n in done.notes)
            at[name] = curve.at(0.1)[0]
        assert at["c"] > 0.9
        assert at["a"] < 0.2

    def test_a_named_class_that_nothing_could_be_aimed_at_is_no_silence(self) -> None:
        done = self.measured(Access(goal="c"), only=2)
        assert not any("to class" in e.series for e in done.exposures)
        assert "nothing was aimed at class c" in done.partial
        assert not self.measured(Access(), only=2).partial

    def test_a_name_that_is_no_class_is_an_error(self) -> None:
        with pytest.raises(SubjectError, match="'d' is not among"):
            self.measured(Access(goal="d"))

"""Minimum-norm attacks and projections against closed forms, brute force and planted truth."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from hypothesis import given, settings  # noqa: E402
from hypothesis import strategies as st  # noqa: E402

from crenel.errors import UsageError  # noqa: E402
from crenel.evasion.gradients.ball import Ball, onto_l0, onto_l1, sizes  # noqa: E402
from crenel.evasion.gradients.cascade import gradient_attack  # noqa: E402
from crenel.evasion.gradients.draws import normal, row_keys, uniform  # noqa: E402
from crenel.evasion.gradients.minimal import minimal_norm  # noqa: E402

WIDE = (-100.0, 100.0)
DUAL = {1: math.inf, 2: 2, math.inf: 1}


def linear(k: int = 3, d: int = 12, seed: int = 0) -> torch.nn.Module:
    draw = torch.Generator().manual_seed(seed)
    layer = torch.nn.Linear(d, k)
    with torch.no_grad():
        layer.weight.copy_(torch.randn(k, d, generator=draw))
        layer.bias.copy_(torch.randn(k, generator=draw))
    return layer


def rows(n: int = 60, d: int = 12) -> np.ndarray:
    return np.random.default_rng(1).normal(size=(n, d)).astype(np.float32)


def decided(model: torch.nn.Module, x: np.ndarray) -> np.ndarray:
    with torch.no_grad():
        return model(torch.as_tensor(x)).argmax(dim=1).numpy()


def closed_form(model: torch.nn.Module, x: np.ndarray, norm: float) -> np.ndarray:
    w, b = (p.detach().numpy().astype(float) for p in (model.weight, model.bias))
    z = x @ w.T + b
    y = z.argmax(axis=1)
    distance = np.full((len(x), len(b)), np.inf)
    for k in range(len(b)):
        size = np.linalg.norm(w[y] - w[k], ord=DUAL[norm], axis=1)
        gap = z[np.arange(len(x)), y] - z[:, k]
        distance[:, k] = np.where(y == k, np.inf, gap / np.maximum(size, 1e-12))
    return distance.min(axis=1)


@pytest.mark.parametrize("norm", [1, 2, math.inf])
def test_the_smallest_change_of_a_linear_model_is_the_closed_form(norm: float) -> None:
    model, x = linear(2), rows()
    y, exact = decided(model, x), closed_form(model, x, norm)
    distance, witness = minimal_norm(model, x, y, norm=norm, bounds=WIDE, steps=60)
    assert (decided(model, witness) != y).all()
    size = np.linalg.norm(witness.astype(float) - x, ord=norm, axis=1)
    assert distance == pytest.approx(size, rel=1e-9)
    assert (distance >= exact * (1 - 1e-4)).all()
    assert (distance / exact).max() < 1.03


def test_the_fewest_numbers_of_a_linear_model_are_those_of_brute_force() -> None:
    model, x = linear(2, d=8), np.clip(rows(30, 8), -1, 1)
    y = decided(model, x)
    w, b = (p.detach().numpy().astype(float) for p in (model.weight, model.bias))
    pull = np.where(y == 0, 1, -1)[:, None] * (w[1] - w[0])[None]  # what turns row i
    gap = np.abs((x @ w.T + b) @ np.array([-1.0, 1.0]))
    gains = np.maximum(pull * (1 - x), pull * (-1 - x))
    total = np.cumsum(-np.sort(-gains, axis=1), axis=1)
    exact = np.where((total > gap[:, None]).any(1), (total > gap[:, None]).argmax(1) + 1, np.inf)
    distance, _ = minimal_norm(model, x, y, norm=0, bounds=(-1, 1), steps=150)
    assert (distance >= exact).all()
    assert (distance == exact).mean() > 0.8
    attack = gradient_attack(model, x, y, norm=0, epsilons=[1, 2, 3], bounds=(-1, 1))
    assert (attack.distance >= exact).all()


def test_a_row_decided_wrongly_is_at_distance_zero_and_no_rows_are_no_error() -> None:
    model, x = linear(), rows(4)
    y = (decided(model, x) + 1) % 3
    assert (minimal_norm(model, x, y, bounds=WIDE)[0] == 0).all()
    distance, witness = minimal_norm(model, x[:0], y[:0], bounds=WIDE)
    assert distance.shape == (0,)
    assert witness.shape == (0, 12)
    with pytest.raises(UsageError, match="norm"):
        minimal_norm(model, x, y, norm=3)


def test_targets_are_reached() -> None:
    model, x = linear(4), rows(30)
    y = decided(model, x)
    aim = (y + 2) % 4
    distance, witness = minimal_norm(model, x, y, norm=2, bounds=WIDE, targets=aim, steps=60)
    assert (decided(model, witness) == aim).all()
    free, _ = minimal_norm(model, x, y, norm=2, bounds=WIDE, steps=60)
    assert np.median(distance) > 1.1 * np.median(free)
    got = gradient_attack(model, x, y, norm=2, epsilons=[np.median(distance)], bounds=WIDE,
                          targets=aim)  # fmt: skip
    hit = np.isfinite(got.distance)
    assert 0.4 < hit.mean() < 0.7
    assert (decided(model, got.adversarial[hit]) == aim[hit]).all()
    none = gradient_attack(model, x, y, norm=2, epsilons=[9.0], bounds=WIDE, targets=y)
    assert not none.correct.any()


numbers = st.floats(-3, 3, width=32)


@settings(max_examples=40, deadline=None)
@given(st.lists(st.tuples(numbers, st.floats(0, 1), st.floats(0, 1)), min_size=1, max_size=6),
       st.floats(0.01, 3))  # fmt: skip
def test_no_point_of_a_grid_is_nearer_than_the_l1_projection(columns: list, epsilon: float) -> None:
    delta, low, high = (torch.tensor([c], dtype=torch.float64) for c in zip(*columns, strict=True))
    got = onto_l1(delta, -low, high, epsilon)[0]
    assert got.abs().sum() <= epsilon * (1 + 1e-5)
    assert (got >= -low[0]).all()
    assert (got <= high[0]).all()
    # optimality: no small feasible move along one or two coordinates comes nearer
    best = (got - delta[0]).norm()
    for i, j in itertools.product(range(len(got)), repeat=2):
        for a, b in itertools.product((-1e-3, 0, 1e-3), repeat=2):
            other = got.clone()
            other[i] += a
            other[j] += b
            legal = (other >= -low[0]).all() and (other <= high[0]).all()
            if legal and other.abs().sum() <= got.abs().sum().clamp(min=0):
                assert (other - delta[0]).norm() >= best - 1e-6


def test_the_l0_projection_keeps_what_gains_most() -> None:
    delta = torch.tensor([[3.0, -0.5, 2.0, 0.1]])
    low, high = torch.full((1, 4), -1.0), torch.tensor([[0.2, 1.0, 1.0, 1.0]])
    assert onto_l0(delta, low, high, 1).tolist() == [[0.0, 0.0, 1.0, 0.0]]
    assert (sizes(onto_l0(delta, low, high, 3), 0) == 3).all()


@pytest.mark.parametrize("epsilon", [0.1, 8 / 255, 0.3, 1e-3])
def test_the_limits_of_a_ball_are_never_rounded_outwards(epsilon: float) -> None:
    x0 = torch.rand(50, 40, generator=torch.Generator().manual_seed(0))
    low, high = Ball(math.inf, epsilon).limits(x0)
    assert ((x0.double() - low.double()) <= epsilon).all()
    assert ((high.double() - x0.double()) <= epsilon).all()
    assert (high.double() - x0.double()).max() > epsilon * 0.999


def test_what_is_drawn_for_a_row_belongs_to_the_row() -> None:
    x = torch.rand(40, 7, generator=torch.Generator().manual_seed(0))
    order = torch.randperm(40, generator=torch.Generator().manual_seed(1))
    assert torch.equal(uniform(row_keys(x, 3), 50, 2)[order], uniform(row_keys(x[order], 3), 50, 2))
    u, g = uniform(row_keys(x, 3), 5000, 0), normal(row_keys(x, 3), 5000, 1)
    assert u.min() >= 0
    assert u.max() < 1
    assert float(u.mean()) == pytest.approx(0.5, abs=0.01)
    assert float(u.var()) == pytest.approx(1 / 12, abs=0.002)
    assert float(g.mean()) == pytest.approx(0, abs=0.02)
    assert float(g.std()) == pytest.approx(1, abs=0.02)
    assert float(torch.corrcoef(u)[0, 1:].abs().max()) < 0.06
    assert not torch.equal(u, uniform(row_keys(x, 4), 5000, 0))


def test_batches_and_order_do_not_matter() -> None:
    torch.manual_seed(0)
    net = torch.nn.Sequential(torch.nn.Linear(12, 30), torch.nn.ReLU(), torch.nn.Linear(30, 5))
    x = rows(70)
    y = decided(net, x)
    order = np.random.default_rng(0).permutation(70)
    kwargs = {"epsilons": [0.1, 0.3], "bounds": WIDE, "level": "quick"}
    a = gradient_attack(net, x, y, **kwargs)
    b = gradient_attack(net, x, y, batch_size=7, **kwargs)
    c = gradient_attack(net, x[order], y[order], **kwargs)
    assert 0 < np.isfinite(a.distance).sum() < 70
    assert a.distance == pytest.approx(b.distance, rel=1e-3)
    assert a.distance[order] == pytest.approx(c.distance, rel=1e-3)


@pytest.mark.parametrize("norm", [0, 1, 2, math.inf])
def test_witnesses_are_within_ball_and_box_to_the_last_bit(norm: float) -> None:
    model, x = linear(4), np.clip(rows(), -1, 1)
    y = decided(model, x)
    epsilons = [1] if norm == 0 else [0.1 * 12 ** (0 if norm == math.inf else 1 / norm)]
    got = gradient_attack(model, x, y, norm=norm, epsilons=epsilons, bounds=(-1, 1), level="quick")
    hit = np.isfinite(got.distance)
    assert 0 < hit.sum() < len(x)
    size = np.linalg.norm(got.adversarial.astype(float) - x, ord=norm, axis=1)
    assert (size[hit] <= got.smallest[hit] * (1 + 1e-12)).all()
    assert got.distance[hit] == pytest.approx(size[hit], rel=1e-12)
    assert np.abs(got.adversarial).max() <= 1


@pytest.mark.parametrize("level", ["quick", "standard"])
@pytest.mark.parametrize("norm", [0, 1, 2])
def test_no_norm_costs_more_than_its_level_allows(norm: float, level: str) -> None:
    model, x = linear(2), rows(12)
    y = decided(model, x)
    exact = closed_form(model, x, norm) if norm else np.ones(12)
    i = int(exact.argmin())
    one = slice(i, i + 1)
    epsilon = 0.999 * float(exact[i]) if norm else 0.5
    got = gradient_attack(model, x[one], y[one], norm=norm, epsilons=[epsilon], bounds=WIDE,
                          level=level)  # fmt: skip
    assert not got.broken.any()
    assert 28 <= got.gradients <= {"quick": 80, "standard": 300}[level]


def test_logits_that_are_not_numbers_are_no_decision() -> None:
    class Undefined(torch.nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return torch.stack([x.sum(1), -x.sum(1)], dim=1).log()

    got = gradient_attack(Undefined(), rows(10), np.zeros(10, int), epsilons=[0.1], bounds=WIDE)
    assert not got.correct.any()
    assert not got.broken.any()


def test_no_row_falls_to_the_fewest_numbers_alone_that_stands_in_the_curve(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """One search for all radii finds what the search for the fewest numbers does, and more."""
    from crenel.evasion.gradients import cascade

    searches, search = [], cascade.fewest_numbers
    monkeypatch.setattr(
        cascade, "fewest_numbers", lambda *a, **k: searches.append(len(a[1])) or search(*a, **k)
    )
    torch.manual_seed(0)
    net = torch.nn.Sequential(torch.nn.Linear(100, 60), torch.nn.Tanh(), torch.nn.Linear(60, 5))
    x = np.random.default_rng(0).random((80, 100)).astype(np.float32)
    y, radii = decided(net, x), [2, 4, 8, 16]
    alone, _ = minimal_norm(net, x, y, norm=0, steps=48)
    got = gradient_attack(net, x, y, norm=0, epsilons=radii, level="quick")
    for k, broken in zip(radii, got.broken, strict=True):
        assert broken[alone <= k].all()
    assert (got.distance < alone).any()
    assert searches == [80]  # each row once, however many radii

"""Compiled steps do what the same steps in tensors do."""

from __future__ import annotations

import math
from typing import get_args

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from crenel.evasion.gradients import descent, kernels  # noqa: E402
from crenel.evasion.gradients.ball import Ball  # noqa: E402
from crenel.evasion.gradients.descent import Descent, Loss, descend  # noqa: E402
from crenel.evasion.gradients.network import reached  # noqa: E402
from crenel.evasion.gradients.slopes import judged, loss_and_slope  # noqa: E402


def network(shape: tuple[int, ...], classes: int) -> torch.nn.Module:
    torch.manual_seed(0)
    return torch.nn.Sequential(
        torch.nn.Flatten(), torch.nn.Linear(math.prod(shape), 40), torch.nn.Tanh(),
        torch.nn.Linear(40, 40), torch.nn.ReLU(), torch.nn.Linear(40, classes),
    ).double().eval()  # fmt: skip


def attacked(
    norm: float, loss: Loss, epsilon: float, shape: tuple[int, ...] = (2, 3, 4), classes: int = 5
) -> Descent:
    net, draw = network(shape, classes), torch.Generator().manual_seed(1)
    x = torch.rand(50, *shape, generator=draw, dtype=torch.float64)
    y = net(x).argmax(1)
    target = (y + 1 + torch.arange(50) % (classes - 1)) % classes
    ball = Ball(norm, epsilon, 0.0, 1.0)
    start = ball.random(x, 3)
    return descend(net, x, y, ball, loss=loss, steps=25, start=start, target=target)


@pytest.mark.parametrize(
    ("norm", "epsilon"), [(math.inf, 0.03), (math.inf, 0.01), (2, 0.1), (1, 0.4), (0, 1)]
)
@pytest.mark.parametrize("loss", get_args(Loss))
def test_descents_are_those_of_the_tensors(
    norm: float, epsilon: float, loss: Loss, monkeypatch: pytest.MonkeyPatch
) -> None:
    compiled = attacked(norm, loss, epsilon)
    monkeypatch.setattr(kernels, "usable", lambda t: False)
    plain = attacked(norm, loss, epsilon)
    assert torch.equal(compiled.broken, plain.broken)
    torch.testing.assert_close(compiled.x, plain.x)
    torch.testing.assert_close(compiled.best, plain.best)
    assert (compiled.gradients, compiled.queries) == (plain.gradients, plain.queries)


def test_some_of_these_rows_break_and_some_stand() -> None:
    broken = attacked(math.inf, "margin", 0.01).broken
    assert 0 < int(broken.sum()) < len(broken)


@pytest.mark.parametrize("kind", get_args(Loss))
@pytest.mark.parametrize("aimed", [False, True])
@pytest.mark.parametrize("classes", [2, 6])
def test_a_judgement_is_loss_slope_and_decision(kind: str, aimed: bool, classes: int) -> None:
    draw = torch.Generator().manual_seed(classes)
    z = torch.randn(60, classes, generator=draw, dtype=torch.float64)
    z[:5] = 0.0  # ties
    z[5:10] *= 1000
    y = torch.randint(classes, (60,), generator=draw)
    target = (y + torch.randint(1, classes, (60,), generator=draw)) % classes
    goal = target if aimed else None
    value, slope, wrong = judged(z, y, kind, target, goal)
    expected, its_slope = loss_and_slope(z, y, kind, target)
    torch.testing.assert_close(value, expected)
    torch.testing.assert_close(slope, its_slope)
    assert torch.equal(wrong, reached(z, y, goal))


@pytest.mark.parametrize("kind", ["ce", "margin", "targeted-margin"])
def test_logits_that_are_no_numbers_decide_nothing(kind: str) -> None:
    z, y = torch.tensor([[2.0, math.nan, 1.0], [2.0, 0.0, 1.0]]), torch.zeros(2, dtype=torch.int64)
    value, slope, wrong = judged(z, y, kind, y + 1)
    assert wrong.tolist() == [True, False]
    assert bool(value[0].isnan())
    assert slope.isfinite().all()
    _, _, reached_goal = judged(z, y, kind, y + 1, y)
    assert reached_goal.tolist() == [False, True]


def test_a_gradient_that_is_no_number_moves_nothing() -> None:
    def rooted(x: torch.Tensor) -> torch.Tensor:
        root = (x * 0).sqrt() * 0 + x  # the slope of a root at zero is infinite, and times 0 none
        return torch.stack([torch.ones(len(x)), root[:, 0] * 1e-3], dim=1)

    x, y = torch.rand(5, 3), torch.zeros(5, dtype=torch.int64)
    ball = Ball(math.inf, 0.1)
    got = descend(rooted, x, y, ball, loss="margin", steps=5, start=x)
    assert torch.equal(got.x, x)


def test_where_most_rows_break_the_others_alone_are_sent_backward(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    few = attacked(math.inf, "margin", 0.1)
    monkeypatch.setattr(descent, "MOSTLY", 1.0)
    all_ = attacked(math.inf, "margin", 0.1)
    assert torch.equal(few.broken, all_.broken)
    torch.testing.assert_close(few.x, all_.x)
    assert few.gradients < all_.gradients
    assert few.gradients + few.queries >= all_.gradients + all_.queries


def test_after_the_warm_up_an_attack_compiles_nothing_more() -> None:
    from crenel.evasion import evaluate
    from crenel.evasion.gradients.warming import warm_up

    def compiled() -> dict[str, int]:
        made = (kernels.judge, kernels.judge_and_weigh, kernels.climb)
        return {f.__name__: len(f.signatures) for f in made}

    warm_up()
    before = compiled()
    assert all(before.values())
    torch.manual_seed(1)
    network = torch.nn.Sequential(torch.nn.Linear(6, 16), torch.nn.ReLU(), torch.nn.Linear(16, 4))
    x = np.random.default_rng(1).random((20, 6), dtype=np.float32)
    y = network(torch.from_numpy(x)).argmax(dim=1).numpy()
    evaluate(network, x, y, norm=np.inf, epsilons=[0.05, 0.1])
    assert compiled() == before

"""Broken defences: what a plain attack calls robust is broken here, or told to be unknown."""

from __future__ import annotations

import math

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from crenel.adapters import wrap  # noqa: E402
from crenel.check import Context  # noqa: E402
from crenel.evasion.checks import small_changes  # noqa: E402
from crenel.evasion.gradients.robustness import robustness  # noqa: E402
from crenel.evasion.gradients.zoo import DEFENCES, RANDOM  # noqa: E402
from crenel.subject import Data, Subject  # noqa: E402

EPSILON = 0.2
#: Kinds on which the plain attack below is blind.
BLINDING = (
    "input rounded",
    "cosine quantisation outside torch",
    "median filter outside torch",
    "thermometer",
    "detached",
    "dithered",
    "dead rectifiers",
    "switch",
    "exponential, saturating temperature",
    "softmax, saturating temperature",
    "logits times 1000",
    "zero backward",
)


def pattern(n: int, seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Two kinds of images, told apart by 64 pixels that differ by 0.3, under noise."""
    rng = np.random.default_rng(seed)
    signs = np.random.default_rng(7).choice([-1.0, 1.0], (1, 1, 8, 8)).repeat(2, axis=3)[..., :8]
    y = rng.integers(0, 2, n)
    x = 0.5 + 0.15 * (2 * y - 1)[:, None, None, None] * signs + rng.normal(0, 0.05, (n, 1, 8, 8))
    return torch.tensor(x.clip(0, 1), dtype=torch.float32), torch.tensor(y)


@pytest.fixture(scope="module")
def network() -> torch.nn.Module:
    x, y = pattern(400, 0)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        layers = [torch.nn.Flatten(), torch.nn.Linear(64, 16), torch.nn.ReLU()]
        body = torch.nn.Sequential(*layers, torch.nn.Linear(16, 2))
        optimizer = torch.optim.Adam(body.parameters(), 0.01)
        for _ in range(60):
            optimizer.zero_grad()
            torch.nn.functional.cross_entropy(body(x), y).backward()
            optimizer.step()
    return body.eval()


def plain(model: torch.nn.Module, x: torch.Tensor, y: torch.Tensor) -> float:
    """Robust accuracy as twenty plain steps on cross-entropy report it."""
    moved = x.clone()
    with torch.random.fork_rng():
        torch.manual_seed(0)
        for _ in range(20):
            moved = moved.detach().requires_grad_(True)
            loss = torch.nn.functional.cross_entropy(model(moved), y)
            slope = None
            if loss.requires_grad:
                slope = torch.autograd.grad(loss, moved, allow_unused=True)[0]
            if slope is None:
                break
            moved = torch.clamp(moved.detach() + 0.04 * slope.sign(), x - EPSILON, x + EPSILON)
            moved = moved.clamp(0, 1)
        with torch.no_grad():
            return float((model(moved).argmax(dim=1) == y).float().mean())


@pytest.mark.parametrize("name", DEFENCES)
def test_no_defence_of_the_zoo_is_called_robust(network: torch.nn.Module, name: str) -> None:
    x, y = pattern(60, 1)
    model = DEFENCES[name](network).settle(x)
    got = robustness(model, x, y, epsilons=[EPSILON], level="quick")
    robust = float((got.attack.correct & ~got.attack.broken[0]).mean())
    assert got.attack.correct.mean() > 0.9  # the defence keeps the decisions
    assert robust <= 0.03 or not all(t.ok for t in got.tests)
    if name in RANDOM:
        assert not all(t.ok for t in got.tests)
    if name in BLINDING:
        assert plain(model, x, y) > 0.9
        assert robust <= 0.03


def test_the_truth_is_that_nothing_stands(network: torch.nn.Module) -> None:
    x, y = pattern(60, 1)
    assert plain(network, x, y) < 0.02


@pytest.mark.parametrize("epsilon", [0.02, 0.12])
def test_an_honest_network_trips_no_test(network: torch.nn.Module, epsilon: float) -> None:
    x, y = pattern(60, 1)
    got = robustness(network, x, y, epsilons=[epsilon], level="quick")
    assert [t for t in got.tests if not t.ok] == []


@pytest.mark.parametrize("norm", [2, math.inf])
def test_a_smooth_robust_model_trips_no_test(norm: float) -> None:
    draw = torch.Generator().manual_seed(0)
    layer = torch.nn.Linear(12, 3)
    with torch.no_grad():
        layer.weight.copy_(torch.randn(3, 12, generator=draw))
        layer.bias.zero_()
    x = torch.rand(60, 12, generator=draw)
    y = layer(x).argmax(dim=1).detach()
    got = robustness(layer, x, y, norm=norm, epsilons=[1e-4, 1e-3], level="quick")
    assert got.attack.broken.mean() < 0.1
    assert [t for t in got.tests if not t.ok] == []


@pytest.mark.parametrize(
    "name",
    [
        "input rounded",
        "dithered",
        "exponential, saturating temperature",
        "median filter outside torch",
    ],
)
def test_planted_defences_do_not_deceive_the_check(network: torch.nn.Module, name: str) -> None:
    x, y = pattern(20, 2)
    model = DEFENCES[name](network).settle(x)
    assert plain(model, x, y) > 0.9  # a plain attack reports the defence as robust
    test = Data(x.numpy(), y.numpy(), np.arange(len(y)))
    subject = Subject("zoo", model=wrap(model, classes=[0, 1]), test=test)
    done = small_changes.measure(subject, Context("EVA-101", level="quick"))
    exposure = done.exposures[0]  # in L-inf, where the truth is that nothing stands
    assert exposure.harm.values[-1] >= 0.97 or not exposure.health.ok


def test_rows_outside_the_legal_range_trip_a_test(network: torch.nn.Module) -> None:
    x, y = pattern(60, 1)
    bytes_ = torch.nn.Sequential(Scaled(), network)
    got = robustness(bytes_, 255 * x, y, epsilons=[0.01], level="quick")
    assert "rows lie within the legal range" in {t.name for t in got.tests if not t.ok}


class Scaled(torch.nn.Module):
    """A model that is fed bytes."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x / 255

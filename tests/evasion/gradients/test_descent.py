"""The descent's bookkeeping, and the random search that ends a cascade."""

from __future__ import annotations

import math

import pytest

torch = pytest.importorskip("torch")

from crenel.evasion.gradients.ball import Ball  # noqa: E402
from crenel.evasion.gradients.descent import descend, losses  # noqa: E402
from crenel.evasion.gradients.draws import following, row_keys, uniform  # noqa: E402
from crenel.evasion.gradients.squares import TOGETHER, random_search  # noqa: E402

BOX = (-5.0, 5.0)


def network(seed: int = 0) -> torch.nn.Module:
    """Rough enough that descents overshoot and are put back."""
    torch.manual_seed(seed)
    return torch.nn.Sequential(
        torch.nn.Linear(8, 60), torch.nn.Tanh(), torch.nn.Linear(60, 60), torch.nn.ReLU(),
        torch.nn.Linear(60, 5),
    ).eval()  # fmt: skip


def points(n: int = 60) -> torch.Tensor:
    return torch.randn(n, 8, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("norm", [0, 1, 2, math.inf])
@pytest.mark.parametrize("loss", ["ce", "margin", "dlr"])
def test_the_point_returned_is_the_best_of_all_that_were_looked_at(norm: float, loss: str) -> None:
    net, x = network(), points()
    y = net(x).argmax(1)
    seen: list[torch.Tensor] = []

    def spied(rows: torch.Tensor) -> torch.Tensor:
        z = net(rows)
        if len(rows) == len(x):  # nobody left: the rows are in their order
            seen.append(losses(z.detach(), y, loss))
        return z

    ball = Ball(norm, 2 if norm == 0 else 0.05, *BOX)
    start = ball.random(x, 0)
    kept = start.clone()
    got = descend(spied, x, y, ball, loss=loss, steps=30, start=start, goal=torch.full_like(y, -1))
    assert len(seen) == 31
    trail = torch.stack(seen)
    assert torch.allclose(got.best, trail.max(dim=0).values)
    assert torch.allclose(losses(net(got.x), y, loss).detach(), got.best, atol=1e-5)
    assert (trail[1:] < trail[:-1]).any()  # or nothing was kept for later
    assert torch.equal(start, kept)


def test_search_around_a_point_gives_up_where_chance_adds_nothing() -> None:
    def flat(x: torch.Tensor) -> torch.Tensor:
        return torch.tensor([[1.0, 0.0]]).repeat(len(x), 1)

    x, y = points(7), torch.zeros(7, dtype=torch.int64)
    ball = Ball(math.inf, 0.1, *BOX)
    _, broken, spent = random_search(
        flat, x, y, ball, queries=500, seed=0, start=x.clone(), patience=200
    )
    assert not broken.any()
    assert 200 * 7 <= spent <= (200 + TOGETHER) * 7
    _, _, without = random_search(flat, x, y, ball, queries=500, seed=0, start=x.clone())
    assert without == 500 * 7


def test_search_around_a_point_leaves_rows_that_are_too_slow_later_on() -> None:
    def stuck(x: torch.Tensor) -> torch.Tensor:
        # every query of the first 80 brings a row 0.1 % of the way nearer, and none after that
        calls.append(len(x))
        way = min(0.001 * sum(calls) / 4, 0.08)
        return torch.tensor([[1.0 - way, 0.0]]).repeat(len(x), 1)

    calls: list[int] = []
    x, y = points(4), torch.zeros(4, dtype=torch.int64)
    ball = Ball(math.inf, 0.1, *BOX)
    _, broken, spent = random_search(
        stuck, x, y, ball, queries=2000, seed=0, start=x.clone(), patience=60
    )
    # asked after 60 (2.5 % of the way), 120 (5 %) and 240 queries (10 %)
    assert not broken.any()
    assert 240 * 4 <= spent <= (240 + TOGETHER) * 4


def test_keys_that_follow_give_the_shards_in_turn() -> None:
    keys = row_keys(points(6), 3)
    together = uniform(following(keys, 4), 10, 5).reshape(6, 4, 10)
    for j in range(4):
        assert torch.equal(together[:, j], uniform(keys, 10, 5 + j))


def test_search_around_a_point_goes_on_where_it_comes_nearer() -> None:
    weights = torch.linspace(0.5, 1.5, 300)

    def linear(x: torch.Tensor) -> torch.Tensor:
        # the boundary lies where all but a few of 300 numbers are at the rim
        return torch.stack([torch.full((len(x),), 0.97 * 0.1 * float(weights.sum())),
                            x @ weights], dim=1)  # fmt: skip

    x, y = torch.zeros(3, 300), torch.zeros(3, dtype=torch.int64)
    ball = Ball(math.inf, 0.1, *BOX)
    start = torch.where(torch.arange(300) < 230, 0.1, -0.1).repeat(3, 1)
    found, broken, spent = random_search(
        linear, x, y, ball, queries=4000, seed=0, start=start, patience=200
    )
    assert broken.all()
    assert (linear(found).argmax(1) == 1).all()
    assert found.abs().max() <= 0.1
    assert spent > 200 * 3

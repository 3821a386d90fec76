"""A weakness planted behind a model's defence, which the same attack must find.

After Zimmermann et al., "Increasing confidence in adversarial robustness evaluations" (2022): a
row's model becomes a binary one, on top of the same answers, that is known to have an
adversarial example in the ball. An attack that misses it says nothing by missing others.
"""

from __future__ import annotations

from typing import Any

from crenel.evasion.gradients.descent import Ball, descend
from crenel.evasion.gradients.network import Logits, torch

#: Random points of the ball, of which the one that moves answers most is made the example.
POINTS = 8
#: Share of the way towards its answers from which the binary model decides otherwise.
THRESHOLD = 0.9


def planted(logits: Logits, x: Any, ball: Ball, seed: int) -> tuple[Any, Any, Any]:
    """For each row a point of the ball, its answers, and the way to them from the row's own.

    Parameters
    ----------
    logits : callable
    x : tensor, shape (n, …)
    ball : Ball
    seed : int

    Returns
    -------
    base : tensor, shape (n, k)
        Answers on the rows.
    way : tensor, shape (n, k)
        From them to those on the point; zero where no point moves the answers.
    point : tensor, shape (n, …)
    """
    with torch.no_grad():
        base = logits(x)
        way, point = torch.zeros_like(base), x.clone()
        for shard in range(POINTS):
            trial = ball.random(x, seed, shard)
            moved = logits(trial) - base
            further = moved.norm(dim=1) > way.norm(dim=1)
            way[further], point[further] = moved[further], trial[further]
    return base, way, point


def binary(logits: Logits, base: Any, way: Any) -> Logits:
    """Two logits: the second is positive from nine tenths of the way to the planted answers.

    Parameters
    ----------
    logits : callable
    base, way : tensor, shape (1, k)
    """
    scale = (way * way).sum()

    def flawed(x: Any) -> Any:
        reached = ((logits(x) - base) * way).sum(dim=1) / scale - THRESHOLD
        return torch.stack([torch.zeros_like(reached), reached], dim=1)

    return flawed


def found(logits: Logits, x: Any, ball: Ball, *, steps: int, seed: int) -> tuple[int, int]:
    """How many planted weaknesses a descent finds, of how many rows.

    A row whose answers no point of the ball moves at all counts as missed: nothing can be
    planted there, and nothing be said of what an attack would see.
    """
    base, way, _ = planted(logits, x, ball, seed)
    right = torch.zeros(1, dtype=torch.int64, device=x.device)
    hits = 0
    for i in range(len(x)):
        if not bool((way[i].abs() > 0).any()):
            continue
        flawed = binary(logits, base[i : i + 1], way[i : i + 1])
        own = x[i : i + 1]
        got = descend(flawed, own, right, ball, loss="margin", steps=steps, start=own)
        hits += int(got.broken.any())
    return hits, len(x)

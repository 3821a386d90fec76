"""Points where linear bounds are least: where a proof is weakest, a counterexample is likeliest.

A descent from there finds counterexamples that descents from chance points miss, since it begins
on the right side of the ReLUs that matter.
"""

from __future__ import annotations

from typing import Any

from crenel.evasion.certify.graph import Graph
from crenel.evasion.certify.question import Question
from crenel.evasion.certify.refining import refined
from crenel.evasion.certify.region import Region
from crenel.evasion.gradients.network import torch

Tensor = Any


def least_points(slopes: Tensor, region: Region) -> Tensor:
    """The corners of boxes where linear functions (n, s, …) are least, shape (n, s, …)."""
    return torch.where(slopes > 0, region.low[:, None], region.high[:, None])


def weakest_points(graph: Graph, region: Region, question: Question) -> Tensor:
    """Corners of each row's box where the linear bound of each function is least, (n, s, …)."""
    with torch.no_grad():
        bounds, _opened = refined(graph, region)
        watch: dict[int, Tensor] = {}
        question.bound(graph, bounds, region, watch=watch)
    return least_points(watch[0], region)


def descended(
    graph: Graph, question: Question, region: Region, points: Tensor, steps: int,
    reach: Tensor | None = None,
) -> tuple[Tensor, Tensor]:  # fmt: skip
    """Signed gradient steps against a question, from points within one box.

    Parameters
    ----------
    graph : Graph
    question : Question
        Of one row.
    region : Region
        A box, of one row.
    points : Tensor, shape (m, …)
    steps : int
        They shrink to nothing.
    reach : Tensor, shape (m, …), optional
        The first steps; by default half the box.

    Returns
    -------
    best : Tensor, shape (m, …)
    value : Tensor, shape (m,)
        What must be above zero, at the best point of each descent.
    """
    reach = (region.high - region.low) / 2 if reach is None else reach
    best, value = points, torch.full((len(points),), torch.inf, dtype=graph.dtype)
    x = points
    for i in range(steps + 1):
        with torch.enable_grad():
            x = x.detach().requires_grad_(True)
            out = graph.values(x)[-1] @ question.rows[0].T - question.thresholds[0]
            now = question.least(out)
            better = now.detach() < value
            shape = (-1, *[1] * (x.ndim - 1))
            best = torch.where(better.reshape(shape), x.detach(), best)
            value = torch.minimum(value, now.detach())
            if i == steps or bool((value <= 0).any()):
                break
            (grad,) = torch.autograd.grad(now.sum(), x)
        x = x.detach() - (1 - i / steps) * reach * grad.sign()
        x = torch.minimum(torch.maximum(x, region.low), region.high)
    return best, value

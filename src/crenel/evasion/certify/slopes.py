"""Choosing the lines below ReLUs by gradient steps, so that bounds rise.

Alpha-CROWN: Xu et al. (2021), "Fast and complete: enabling complete neural network verification
with rapid and massively parallel incomplete verifiers".
"""

from __future__ import annotations

from typing import Any

from crenel.evasion.certify.graph import Graph
from crenel.evasion.certify.interval import Bounds
from crenel.evasion.certify.layers import Rectifier
from crenel.evasion.certify.limit import Limit
from crenel.evasion.certify.linear import Freedom
from crenel.evasion.certify.question import Question
from crenel.evasion.certify.refining import Open, refined
from crenel.evasion.certify.region import Region
from crenel.evasion.gradients.network import torch

Tensor = Any
#: First step of the slopes, and its share kept from step to step.
STEP, DECAY = 0.25, 0.97


def starting_slopes(
    graph: Graph, node: int, functions: int, bounds: list[Bounds]
) -> dict[int, Tensor]:
    """The slopes that CROWN takes, below a node, for each of s functions: (n, s, …)."""
    out = {}
    for k in graph.steps():
        layer = graph.nodes[k].layer
        if k <= node and isinstance(layer, Rectifier):
            low, high = bounds[graph.nodes[k].inputs[0]]
            slope = layer.lower(low, high, None)[0].detach()[:, None]
            out[k] = slope.expand(-1, functions, *slope.shape[2:]).clone()
    return out


def confined(graph: Graph, slopes: dict[int, Tensor]) -> None:
    """Put slopes back into [leak, 1] where a step took them out."""
    with torch.no_grad():
        for k, slope in slopes.items():
            layer = graph.nodes[k].layer
            assert isinstance(layer, Rectifier)
            slope.clamp_(layer.leak, 1.0)


def raised(
    graph: Graph, question: Question, bounds: list[Bounds], region: Region, *,
    steps: int = 20, limit: Limit | None = None,
) -> tuple[Tensor, Freedom]:  # fmt: skip
    """The best bounds (n, s) of a question over some steps of its own slopes, and the slopes."""
    last = len(graph.nodes) - 1
    slopes = starting_slopes(graph, last, question.rows.shape[1], bounds)
    if not slopes:
        return question.bound(graph, bounds, region), Freedom()
    ascent = Ascent(graph, [slopes])
    for _ in range(steps):
        ascent.step(lambda: question.bound(graph, bounds, region, Freedom(slopes)))
        if bool((ascent.best.amin(1) > 0).all()) or (limit is not None and limit.reached):
            break
    return ascent.best, Freedom({k: v.detach() for k, v in slopes.items()})


def raised_throughout(
    graph: Graph, question: Question, bounds: list[Bounds], opened: list[Open], region: Region, *,
    steps: int = 20, limit: Limit | None = None,
) -> tuple[Tensor, list[Bounds], Freedom]:  # fmt: skip
    """As `raised`, with the slopes of the bounds inside the network chosen too.

    Returns
    -------
    best : Tensor, shape (n, s)
    bounds : list of (low, high)
        Of every node, the tightest of all steps.
    freedom : Freedom
        The last slopes of the question itself.
    """
    last = len(graph.nodes) - 1
    final = starting_slopes(graph, last, question.rows.shape[1], bounds)
    inner = {o.node: starting_slopes(graph, o.node, 2 * o.index.shape[1], bounds) for o in opened}
    inner = {p: slopes for p, slopes in inner.items() if slopes}
    freedom = {p: Freedom(slopes) for p, slopes in inner.items()}
    ascent = Ascent(graph, [final, *inner.values()])
    tightest = bounds

    def value() -> Tensor:
        nonlocal tightest
        now, _ = refined(graph, region, bounds, freedom, opened)
        tightest = [
            (torch.maximum(a[0], b[0].detach()), torch.minimum(a[1], b[1].detach()))
            for a, b in zip(tightest, now, strict=True)
        ]
        return question.bound(graph, now, region, Freedom(final))

    for _ in range(steps):
        ascent.step(value)
        if bool((ascent.best.amin(1) > 0).all()) or (limit is not None and limit.reached):
            break
    with torch.no_grad():
        last_freedom = Freedom({k: v.detach() for k, v in final.items()})
        ascent.keep(question.bound(graph, tightest, region, last_freedom))
    return ascent.best, tightest, last_freedom


class Ascent:
    """Adam on slopes, remembering the best bounds seen.

    Parameters
    ----------
    graph : Graph
    groups : list of dict of int to Tensor
        Slopes, changed in place.
    """

    def __init__(self, graph: Graph, groups: list[dict[int, Tensor]]) -> None:
        self.graph, self.groups = graph, groups
        leaves = [t.requires_grad_(True) for group in groups for t in group.values()]
        self.adam = torch.optim.Adam(leaves, lr=STEP) if leaves else None
        self.best: Tensor = None

    def keep(self, value: Tensor) -> None:
        """Remember bounds where they are the best."""
        value = value.detach()
        self.best = value if self.best is None else torch.maximum(self.best, value)

    def step(self, bound: Any) -> None:
        """One step up on what is not above zero yet."""
        if self.adam is None:
            with torch.no_grad():
                self.keep(bound())
            return
        with torch.enable_grad():
            self.adam.zero_grad(set_to_none=True)
            value = bound()
            self.keep(value)
            (-value.clamp_max(0.0).sum()).backward()
        self.adam.step()
        for group in self.groups:
            confined(self.graph, group)
        for setting in self.adam.param_groups:
            setting["lr"] *= DECAY

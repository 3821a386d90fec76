"""Tighter bounds of the layers inside a network, by linear bounds of their open numbers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from crenel.evasion.certify.graph import Graph
from crenel.evasion.certify.interval import ROOM, Bounds, intervals
from crenel.evasion.certify.layers import Affine, Rectifier
from crenel.evasion.certify.linear import FREE, Freedom, lower_bounds
from crenel.evasion.certify.region import Region
from crenel.evasion.gradients.network import torch

Tensor = Any
#: Numbers of coefficients held at a time.
HELD = 2**24


@dataclass(frozen=True)
class Open:
    """The open numbers before a step: those whose bounds leave its lines loose.

    Attributes
    ----------
    node : int
        The node before the step.
    index : Tensor, shape (n, m), int64
        Places in the flattened row; rows with fewer repeat others.
    """

    node: int
    index: Tensor


def refined(
    graph: Graph, region: Region, bounds: list[Bounds] | None = None,
    freedom: dict[int, Freedom] | None = None, opened: list[Open] | None = None,
) -> tuple[list[Bounds], list[Open]]:  # fmt: skip
    """Bounds of every node, those before steps by linear bounds.

    Parameters
    ----------
    graph : Graph
    region : Region
    bounds : list of (low, high), optional
        From intervals.
    freedom : dict of int to Freedom, optional
        For the bounds of some nodes.
    opened : list of Open, optional
        Which numbers to bound; by default those that are open as the bounds come.

    Returns
    -------
    bounds : list of (low, high)
    opened : list of Open
    """
    bounds = bounds or intervals(graph, region)
    chosen = {o.node: o for o in opened} if opened is not None else None
    seen: list[Open] = []
    done: set[int] = set()
    for k in graph.steps():
        p = graph.nodes[k].inputs[0]
        if p in done or (chosen is not None and p not in chosen) or _tight(graph, p, region):
            continue
        done.add(p)
        these = chosen[p] if chosen else _opened(graph, k, p, bounds)
        if these is None:
            continue
        seen.append(these)
        known = _bounded(graph, these, bounds, region, (freedom or {}).get(p, FREE))
        held = dict(enumerate(bounds)) | {p: known}
        bounds = intervals(graph, region, held, p, bounds)
    return bounds, seen


def _tight(graph: Graph, node: int, region: Region) -> bool:
    """Whether intervals are exact already: a box seen through one sum."""
    sums = 0
    while node:
        layer = graph.nodes[node].layer
        if not isinstance(layer, Affine):
            return False
        sums += layer.dense
        node = graph.nodes[node].inputs[0]
    return region.center is None and sums <= 1


def _opened(graph: Graph, k: int, p: int, bounds: list[Bounds]) -> Open | None:
    low, high = (v.flatten(1) for v in bounds[p])
    mask = torch.ones_like(low, dtype=torch.bool)
    if isinstance(graph.nodes[k].layer, Rectifier):
        mask = (low < 0) & (high > 0)
    most = int(mask.sum(1).max())
    if not most:
        return None
    return Open(p, mask.to(torch.uint8).topk(most, dim=1).indices)


def _bounded(
    graph: Graph, these: Open, bounds: list[Bounds], region: Region, freedom: Freedom
) -> Bounds:
    """Bounds of a node's open numbers; its other bounds as they were."""
    node = graph.nodes[these.node]
    low, high = (v.flatten(1) for v in bounds[these.node])
    n, m = these.index.shape
    widest = max(x.size for x in graph.nodes[: these.node + 1])
    step = max(1, HELD // (2 * n * widest)) if not freedom.slopes else m
    lows, highs = [], []
    for i in range(0, m, step):
        index = these.index[:, i : i + step]
        unit = torch.zeros(n, index.shape[1], node.size, dtype=graph.dtype, device=low.device)
        unit = unit.scatter(2, index[..., None], 1.0)
        rows = torch.cat([unit, -unit], dim=1).reshape(n, -1, *node.shape)
        value, size = lower_bounds(graph, these.node, rows, bounds, region, freedom)
        value = value - ROOM[graph.dtype] * size
        lows.append(value[:, : index.shape[1]])
        highs.append(-value[:, index.shape[1] :])
    below = torch.maximum(torch.cat(lows, 1), low.gather(1, these.index))
    above = torch.minimum(torch.cat(highs, 1), high.gather(1, these.index))
    return (
        low.scatter(1, these.index, below).reshape(n, *node.shape),
        high.scatter(1, these.index, torch.maximum(below, above)).reshape(n, *node.shape),
    )

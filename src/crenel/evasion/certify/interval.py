"""Bounds of every layer by intervals, with outward room for rounding.

Interval bound propagation as in Gowal et al. (2018), "On the effectiveness of interval bound
propagation for training verifiably robust models".
"""

from __future__ import annotations

from typing import Any

from crenel.evasion.certify.graph import Graph
from crenel.evasion.certify.layers import Affine, Joined, Total
from crenel.evasion.certify.region import Region
from crenel.evasion.gradients.network import torch

Tensor = Any
Bounds = tuple[Tensor, Tensor]
#: Room for rounding, as a share of what was summed: many units in the last place of each dtype.
ROOM = {torch.float32: 4e-6, torch.float64: 1e-11}


def intervals(
    graph: Graph, region: Region, known: dict[int, Bounds] | None = None, start: int = 0,
    before: list[Bounds] | None = None,
) -> list[Bounds]:  # fmt: skip
    """Lower and upper bounds of the values of every node over a region.

    Parameters
    ----------
    graph : Graph
    region : Region
    known : dict, optional
        Other bounds of some nodes, each of which is taken where it is tighter.
    start : int
        First node to compute; those before are taken from ``before``.
    before : list, optional

    Returns
    -------
    list of (low, high), each of shape (n, …)
    """
    out: list[Bounds] = list(before[:start]) if before else []
    room = ROOM[graph.dtype]
    for i in range(len(out), len(graph.nodes)):
        node = graph.nodes[i]
        given = [out[j] for j in node.inputs]
        graph.meter.count(2 * len(region) * graph.prices[i])
        low, high = (region.low, region.high) if i == 0 else _through(node.layer, given, room)
        if low.shape[0] != len(region):
            low, high = (v.expand(len(region), *v.shape[1:]) for v in (low, high))
        if known and i in known:
            low, high = torch.maximum(low, known[i][0]), torch.minimum(high, known[i][1])
        out.append((low, torch.maximum(low, high)))
    return out


def _through(layer: Any, given: list[Bounds], room: float) -> Bounds:
    if isinstance(layer, Affine):
        return _affine(layer, *given[0], room)
    lows, highs = [g[0] for g in given], [g[1] for g in given]
    if isinstance(layer, Total):
        low, high = layer.forward(*lows), layer.forward(*highs)
        slack = room * torch.maximum(low.abs(), high.abs())
        return low - slack, high + slack
    if isinstance(layer, Joined):
        return layer.forward(*lows), layer.forward(*highs)
    if not given:
        value = layer.forward()
        return value, value
    low, high = layer.forward(lows[0]), layer.forward(highs[0])  # steps never fall
    return low - room * low.abs(), high + room * high.abs()


def _affine(layer: Affine, low: Tensor, high: Tensor, room: float) -> Bounds:
    middle = (low + high) / 2
    reach = (high - low) / 2
    center = layer.forward(middle)
    spread = layer.absolute(reach + room * (middle.abs() + reach)) if layer.dense else (
        layer.absolute(reach) + room * (center.abs() + layer.absolute(reach))
    )  # fmt: skip
    if layer.bias is not None:
        spread = spread + room * layer.bias.abs()
    return center - spread, center + spread

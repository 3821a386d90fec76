"""Linear lower bounds of outputs, carried backward through the layers.

CROWN: Zhang et al. (2018), "Efficient neural network robustness certification with general
activation functions"; the slopes below ReLUs may be chosen (Xu et al. 2021, "Fast and complete"),
and decided ReLUs may carry multipliers (Wang et al. 2021, "Beta-CROWN").
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from crenel.evasion.certify.graph import Graph
from crenel.evasion.certify.interval import Bounds
from crenel.evasion.certify.layers import (
    Affine,
    Fixed,
    Joined,
    MaxPool,
    Rectifier,
    Squashing,
    Total,
)
from crenel.evasion.certify.region import Region
from crenel.evasion.gradients.network import torch

Tensor = Any


@dataclass(frozen=True)
class Freedom:
    """What may be chosen in a linear bound; any choice is sound.

    Attributes
    ----------
    slopes : dict of int to Tensor
        Of lines below ReLU nodes, shape (n, 1 or s, …), within [leak, 1].
    pulls : dict of int to Tensor
        Added to the coefficients before ReLU nodes, shape (n, 1 or s, …): a multiplier of at
        least 0 times -1 where the input is known to be at least 0, and times 1 where it is known
        to be at most 0.
    """

    slopes: dict[int, Tensor] = field(default_factory=dict)
    pulls: dict[int, Tensor] = field(default_factory=dict)


FREE = Freedom()


def lower_bounds(
    graph: Graph, node: int, rows: Tensor, bounds: list[Bounds], region: Region,
    freedom: Freedom = FREE, watch: dict[int, Tensor] | None = None,
) -> tuple[Tensor, Tensor]:  # fmt: skip
    """Lower bounds of linear functions of a node's values over a region.

    Parameters
    ----------
    graph : Graph
    node : int
    rows : Tensor, shape (n, s, …)
        Coefficients of s functions of the node's values, for each region.
    bounds : list of (low, high)
        Of every node before.
    region : Region
        Of n rows.
    freedom : Freedom
    watch : dict, optional
        Filled with the coefficients (n, s, …) that arrive at the input and at ReLU nodes.

    Returns
    -------
    value : Tensor, shape (n, s)
    size : Tensor, shape (n, s)
        The sum of the magnitudes of what was added up, for room for rounding.
    """
    waiting = {node: rows}
    value = torch.zeros(rows.shape[:2], dtype=rows.dtype, device=rows.device)
    size = value
    for k in range(node, 0, -1):
        if k not in waiting:
            continue
        a = waiting.pop(k)
        layer = graph.nodes[k].layer
        graph.meter.count(len(a) * a.shape[1] * graph.prices[k])
        if watch is not None and isinstance(layer, Rectifier):
            watch[k] = a.detach()
        if isinstance(layer, (Affine, Fixed)):
            added = layer.bias if isinstance(layer, Affine) else layer.value
            if added is not None:
                terms = a * added
                value = value + terms.flatten(2).sum(2)
                size = size + terms.detach().flatten(2).abs().sum(2)
        for j, part in _backward(graph, k, layer, a, bounds, freedom):
            if isinstance(part, tuple):
                part, constant = part
                value, size = value + constant, size + constant.detach().abs()
            waiting[j] = waiting[j] + part if j in waiting else part
    if 0 in waiting:
        if watch is not None:
            watch[0] = waiting[0].detach()
        least, summed = region.least(waiting[0])
        value, size = value + least, size + summed
    return value, size.detach()


def _backward(
    graph: Graph, k: int, layer: Any, a: Tensor, bounds: list[Bounds], freedom: Freedom
) -> list[tuple[int, Any]]:
    """What a node's coefficients become at its inputs, with a constant where there is one."""
    inputs = graph.nodes[k].inputs
    if isinstance(layer, Affine):
        shape = graph.nodes[inputs[0]].shape
        return [(inputs[0], layer.adjoint(a.flatten(0, 1)).reshape(*a.shape[:2], *shape))]
    if isinstance(layer, Total):
        return [(j, a) for j in inputs]
    if isinstance(layer, Joined):
        return list(zip(inputs, a.split(layer.sizes, dim=layer.axis + 1), strict=True))
    if isinstance(layer, (Rectifier, Squashing)):
        low, high = bounds[inputs[0]]
        return [(inputs[0], _step(layer, a, low, high, freedom, k))]
    if isinstance(layer, MaxPool):
        return [(inputs[0], _maximum(layer, a, *bounds[inputs[0]]))]
    return []


def _step(
    layer: Rectifier | Squashing, a: Tensor, low: Tensor, high: Tensor, freedom: Freedom, k: int
) -> tuple[Tensor, Tensor]:
    low, high = low[:, None], high[:, None]
    above, top = layer.upper(low, high)
    below, foot = layer.lower(low, high, freedom.slopes.get(k))
    up, down = a.clamp_min(0), a.clamp_max(0)
    constant = (down * top).flatten(2).sum(2)
    if isinstance(layer, Squashing):
        constant = constant + (up * foot).flatten(2).sum(2)
    out = up * below + down * above
    pull = freedom.pulls.get(k)
    return (out if pull is None else out + pull), constant


def _maximum(layer: MaxPool, a: Tensor, low: Tensor, high: Tensor) -> tuple[Tensor, Tensor]:
    n, s, c = a.shape[:3]
    place, sure, top = (
        v.reshape(n, 1, c, -1).expand(n, s, c, v.shape[-1]).reshape(n * s * c, 1, -1)
        for v in layer.relax(low, high)
    )
    flat = a.reshape(n * s * c, 1, -1)
    carried = torch.where(sure | (flat > 0), flat, torch.zeros_like(flat))
    constant = torch.where(sure | (flat > 0), torch.zeros_like(flat), flat * top)
    spots = layer.kernel[0] * layer.kernel[1]
    seen = torch.zeros(len(flat), spots, flat.shape[2], dtype=a.dtype, device=a.device)
    shape = (c, *low.shape[2:])
    out = layer.spread(seen.scatter(1, place, carried), shape).reshape(n, s, *shape)
    return out, constant.reshape(n, s, -1).sum(2)

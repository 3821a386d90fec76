"""The one form of a network that bounds are computed over: a list of layers."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from crenel.evasion.certify.layers import (
    Affine,
    Fixed,
    Joined,
    MaxPool,
    Rectifier,
    Source,
    Squashing,
    Total,
)
from crenel.evasion.certify.limit import Meter
from crenel.evasion.gradients.network import torch

Tensor = Any
AnyLayer = Source | Fixed | Affine | Total | Joined | Rectifier | Squashing | MaxPool


@dataclass(frozen=True)
class Node:
    """A layer in its place.

    Attributes
    ----------
    layer : Layer
    inputs : tuple of int
        Earlier nodes.
    shape : tuple of int
        Of one row of its values.
    name : str
        What the user calls it.
    """

    layer: AnyLayer
    inputs: tuple[int, ...]
    shape: tuple[int, ...]
    name: str

    @property
    def size(self) -> int:
        """Numbers in one row."""
        out = 1
        for s in self.shape:
            out *= s
        return out


@dataclass(frozen=True)
class Graph:
    """A network from rows to outputs (k,), in the order of computation.

    Attributes
    ----------
    nodes : tuple of Node
        The first is the input, the last the output.
    dtype : torch.dtype
        Of the weights: float64 for layers of matrices, float32 where there are convolutions.
    meter : Meter
        Counts what is computed over it.
    """

    nodes: tuple[Node, ...]
    dtype: Any
    meter: Meter = field(default_factory=Meter, compare=False)

    @cached_property
    def prices(self) -> list[int]:
        """Multiplications of every node for one row."""
        return [max(n.size, getattr(n.layer, "cost", 0)) for n in self.nodes]

    @property
    def outputs(self) -> int:
        """Number of outputs k."""
        return self.nodes[-1].size

    def values(self, x: Tensor) -> list[Tensor]:
        """Values of every node on rows (n, …)."""
        out: list[Tensor] = []
        for node, price in zip(self.nodes, self.prices, strict=True):
            given = [x.to(self.dtype)] if not out else [out[i] for i in node.inputs]
            self.meter.count(len(x) * price)
            out.append(node.layer.forward(*given))
        return out

    def forward(self, x: Tensor) -> Tensor:
        """Outputs (n, k) on rows (n, …)."""
        with torch.no_grad():
            return self.values(x)[-1]

    def steps(self) -> list[int]:
        """Nodes whose layer is not affine, in order."""
        kinds = (Rectifier, Squashing, MaxPool)
        return [i for i, node in enumerate(self.nodes) if isinstance(node.layer, kinds)]

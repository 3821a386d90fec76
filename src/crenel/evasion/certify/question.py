"""What is asked of a network: that some linear functions of its outputs stay above zero."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from crenel.evasion.certify.graph import Graph
from crenel.evasion.certify.interval import Bounds
from crenel.evasion.certify.linear import FREE, Freedom, lower_bounds
from crenel.evasion.certify.region import Region
from crenel.evasion.gradients.network import torch

Tensor = Any
#: Bounds count from this share of what was summed on: room for the rounding of the network as
#: its user runs it, in float32.
MARGIN = 1e-6


@dataclass(frozen=True)
class Question:
    """For each row: are all ``rows @ outputs - thresholds`` above zero over the region?

    Attributes
    ----------
    rows : Tensor, shape (n, s, k)
    thresholds : Tensor, shape (n, s)
    groups : tuple of int or None
        Where given, at every point one function of each group must be above zero, not all.
    """

    rows: Tensor
    thresholds: Tensor
    groups: tuple[int, ...] | None = None

    @classmethod
    def decided(cls, y: Tensor, outputs: int, dtype: Any) -> Question:
        """Does every point of the region have the decision y?"""
        others = torch.arange(outputs - 1, device=y.device)[None].expand(len(y), -1)
        others = others + (others >= y[:, None])
        rows = torch.nn.functional.one_hot(y, outputs)[:, None] - torch.nn.functional.one_hot(
            others, outputs
        )
        return cls(rows.to(dtype), torch.zeros(rows.shape[:2], dtype=dtype, device=y.device))

    def of(self, which: Any) -> Question:
        """The questions of some rows."""
        return Question(self.rows[which], self.thresholds[which], self.groups)

    def each(self, group: int) -> Question:
        """The question of one group alone."""
        at = [i for i, g in enumerate(self.groups or ()) if g == group] or [group]
        same = tuple(0 for _ in at) if self.groups else None
        return Question(self.rows[:, at], self.thresholds[:, at], same)

    def least(self, values: Tensor) -> Tensor:
        """What must be above zero, of values of the functions or bounds of them: (n, s) to (n,)."""
        if self.groups is None:
            return values.amin(dim=1)
        members = [[i for i, g in enumerate(self.groups) if g == k] for k in set(self.groups)]
        return torch.stack([values[:, m].amax(dim=1) for m in members]).amin(dim=0)

    def proven(self, bound: Tensor) -> Tensor:
        """Whether lower bounds (n, s) answer the question, shape (n,)."""
        return self.least(bound) > 0

    def bound(
        self, graph: Graph, bounds: list[Bounds], region: Region, freedom: Freedom = FREE,
        watch: dict[int, Tensor] | None = None,
    ) -> Tensor:  # fmt: skip
        """Lower bounds (n, s) of what should be above zero, by linear bounds."""
        last = len(graph.nodes) - 1
        rows = self.rows.reshape(*self.rows.shape[:2], *graph.nodes[last].shape)
        value, size = lower_bounds(graph, last, rows, bounds, region, freedom, watch)
        return value - self.thresholds - MARGIN * (size + self.thresholds.abs())

    def by_interval(self, bounds: list[Bounds]) -> Tensor:
        """The same by the intervals of the outputs."""
        low, high = (b.flatten(1)[..., None] for b in bounds[-1])
        up, down = self.rows.clamp_min(0), self.rows.clamp_max(0)
        size = up @ low.abs() + (-down) @ high.abs()
        value = (up @ low + down @ high - MARGIN * size)[..., 0]
        return value - self.thresholds - MARGIN * self.thresholds.abs()

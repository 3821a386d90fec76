"""Branch and bound on the inputs, for networks of few inputs: boxes are cut in two."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from crenel.evasion.certify.candidates import descended, least_points
from crenel.evasion.certify.graph import Graph
from crenel.evasion.certify.interval import intervals
from crenel.evasion.certify.limit import Limit
from crenel.evasion.certify.question import Question
from crenel.evasion.certify.refining import refined
from crenel.evasion.certify.region import Region
from crenel.evasion.gradients.network import torch

Tensor = Any
#: Boxes looked at together, descents tried among them, and gradient steps of each.
BOXES, DESCENTS, STEPS = 512, 16, 10


@dataclass(frozen=True)
class Splitting:
    """What cutting boxes came to.

    Attributes
    ----------
    proven : bool
    witness : Tensor or None, shape (…)
        An input that answers the question with no.
    boxes : int
        Boxes looked at.
    """

    proven: bool
    witness: Tensor | None
    boxes: int


def split_inputs(
    graph: Graph, question: Question, region: Region, *,
    limit: Limit | None = None, most: int = 10**6,
) -> Splitting:  # fmt: skip
    """Answer a question over a box of few inputs by cutting it until each piece is proven.

    Parameters
    ----------
    graph : Graph
    question : Question
        Of one row.
    region : Region
        A box, of one row.
    limit : Limit, optional
    most : int
        Boxes looked at, at most.
    """
    waiting, worth = region, torch.zeros(1, dtype=graph.dtype)
    seen = 0
    with torch.no_grad():
        while len(waiting):
            if seen >= most or (seen and limit is not None and limit.reached):
                return Splitting(False, None, seen)
            # the least bounds first: all must be proven, and there a counterexample is likeliest
            order = worth.argsort()
            now, later = order[:BOXES], order[BOXES:]
            seen += len(now)
            boxes, value, slopes = _open_boxes(graph, question, waiting.rows(now))
            waiting, worth = waiting.rows(later), worth[later]
            if not len(boxes):
                continue
            witness = _wrong(graph, question, region, boxes, slopes)
            if witness is not None:
                return Splitting(False, witness, seen)
            left, right = _halves(boxes, _cuts(boxes, value, slopes))
            parts = (waiting, left, right)
            waiting = Region(*(torch.cat([getattr(p, k) for p in parts]) for k in ("low", "high")))
            worth = torch.cat([worth, *[question.least(value)] * 2])
    return Splitting(True, None, seen)


def _open_boxes(graph: Graph, question: Question, part: Region) -> tuple[Region, Tensor, Tensor]:
    """The boxes that are not proven, their bounds (n, s), and the slopes of these (n, s, …)."""
    same = question.of(torch.zeros(len(part), dtype=torch.int64))
    bounds = intervals(graph, part)
    open_ = (~same.proven(same.by_interval(bounds))).nonzero()[:, 0]
    part, same = part.rows(open_), same.of(open_)
    if not len(open_):
        return part, part.low.flatten(1)[:, :0], part.low[:, None]
    bounds, _ = refined(graph, part, [(a[open_], b[open_]) for a, b in bounds])
    watch: dict[int, Tensor] = {}
    value = same.bound(graph, bounds, part, watch=watch)
    left = (~same.proven(value)).nonzero()[:, 0]
    return part.rows(left), value[left], watch[0][left]


def _cuts(boxes: Region, value: Tensor, slopes: Tensor) -> Tensor:
    """The input along which to cut each box: where its open bounds have most to gain."""
    width = (boxes.high - boxes.low).flatten(1)
    gain = (slopes.abs().flatten(2) * (value <= 0)[..., None]).sum(1)
    return ((gain + 1e-9) * width).argmax(1)


def _wrong(
    graph: Graph, question: Question, region: Region, boxes: Region, slopes: Tensor
) -> Tensor | None:
    """A point that answers the question with no, met from middles and least corners of boxes."""
    middle = ((boxes.low + boxes.high) / 2)[:, None]
    points = torch.cat([middle, least_points(slopes, boxes)], dim=1)
    reach = ((boxes.high - boxes.low) / 2)[:, None].expand_as(points).flatten(0, 1)
    points = points.flatten(0, 1)
    out = graph.forward(points) @ question.rows[0].T - question.thresholds[0]
    first = question.least(out).argsort()[:DESCENTS]
    best, value = descended(graph, question, region, points[first], STEPS, reach[first])
    at = value.argmin()
    return best[at] if bool(value[at] <= 0) else None


def _halves(boxes: Region, cut: Tensor) -> tuple[Region, Region]:
    flat_low, flat_high = boxes.low.flatten(1), boxes.high.flatten(1)
    rows = torch.arange(len(cut))
    middle = (flat_low[rows, cut] + flat_high[rows, cut]) / 2
    left_high, right_low = flat_high.clone(), flat_low.clone()
    left_high[rows, cut], right_low[rows, cut] = middle, middle
    shape = boxes.low.shape
    return Region(boxes.low, left_high.reshape(shape)), Region(right_low.reshape(shape), boxes.high)

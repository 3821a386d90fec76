"""Branch and bound on the inputs, for networks of few inputs: boxes are cut in two."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any

from crenel.evasion.certify.graph import Graph
from crenel.evasion.certify.interval import intervals
from crenel.evasion.certify.question import Question
from crenel.evasion.certify.refining import refined
from crenel.evasion.certify.region import Region
from crenel.evasion.network import torch

Tensor = Any
#: Boxes looked at together.
BOXES = 512


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
    deadline: float | None = None, most: int = 10**6,
) -> Splitting:  # fmt: skip
    """Answer a question over a box of few inputs by cutting it until each piece is proven.

    Parameters
    ----------
    graph : Graph
    question : Question
        Of one row.
    region : Region
        A box, of one row.
    deadline : float or None
        On `time.monotonic`'s clock.
    most : int
        Boxes looked at, at most.
    """
    lows, highs = region.low, region.high
    seen = 0
    with torch.no_grad():
        while len(lows):
            late = deadline is not None and time.monotonic() >= deadline
            if seen >= most or (late and seen):
                return Splitting(False, None, seen)
            part = Region(lows[-BOXES:], highs[-BOXES:])
            lows, highs = lows[:-BOXES], highs[:-BOXES]
            seen += len(part)
            left, cut = _open_boxes(graph, question, part)
            if not len(left):
                continue
            witness = _wrong(graph, question, left)
            if witness is not None:
                return Splitting(False, witness, seen)
            children = _halves(left, cut)
            lows, highs = torch.cat([lows, children.low]), torch.cat([highs, children.high])
    return Splitting(True, None, seen)


def _open_boxes(graph: Graph, question: Question, part: Region) -> tuple[Region, Tensor]:
    """The boxes that are not proven, and the input along which to cut each."""
    n = len(part)
    same = question.of(torch.zeros(n, dtype=torch.int64))
    bounds = intervals(graph, part)
    quick = same.proven(same.by_interval(bounds))
    open_ = (~quick).nonzero()[:, 0]
    if not len(open_):
        return part.rows(open_), open_
    part, same = part.rows(open_), same.of(open_)
    bounds, _ = refined(graph, part, [(a[open_], b[open_]) for a, b in bounds])
    watch: dict[int, Tensor] = {}
    value = same.bound(graph, bounds, part, watch=watch)
    left = (~same.proven(value)).nonzero()[:, 0]
    slopes = watch[0].abs().flatten(2)[left] * (value[left] <= 0)[..., None]
    width = (part.high - part.low).flatten(1)[left]
    gain = slopes.sum(1) * width + 1e-9 * width
    return part.rows(left), gain.argmax(1)


def _wrong(graph: Graph, question: Question, boxes: Region) -> Tensor | None:
    """The middle of a box that answers the question with no."""
    middle = (boxes.low + boxes.high) / 2
    out = graph.forward(middle)
    same = question.of(torch.zeros(len(middle), dtype=torch.int64))
    value = (same.rows @ out[..., None])[..., 0] - same.thresholds
    wrong = (~same.proven(value)).nonzero()[:, 0]
    return middle[wrong[0]] if len(wrong) else None


def _halves(boxes: Region, cut: Tensor) -> Region:
    flat_low, flat_high = boxes.low.flatten(1), boxes.high.flatten(1)
    rows = torch.arange(len(cut))
    middle = (flat_low[rows, cut] + flat_high[rows, cut]) / 2
    left_high, right_low = flat_high.clone(), flat_low.clone()
    left_high[rows, cut], right_low[rows, cut] = middle, middle
    low = torch.cat([flat_low, right_low]).reshape(-1, *boxes.low.shape[1:])
    high = torch.cat([left_high, flat_high]).reshape(-1, *boxes.high.shape[1:])
    return Region(low, high)

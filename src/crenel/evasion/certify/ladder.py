"""Proofs from the cheapest to the dearest, each for what the one before left open."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from crenel.evasion.certify.branching import Branching
from crenel.evasion.certify.graph import Graph
from crenel.evasion.certify.interval import intervals
from crenel.evasion.certify.layers import Rectifier
from crenel.evasion.certify.limit import Limit
from crenel.evasion.certify.linear import Freedom
from crenel.evasion.certify.question import Question
from crenel.evasion.certify.refining import refined
from crenel.evasion.certify.region import Region
from crenel.evasion.certify.slopes import raised, raised_throughout
from crenel.evasion.certify.splitting import split_inputs
from crenel.evasion.gradients.network import torch

Tensor = Any
#: From a graph, regions, questions and a limit to what is proven, shape (n,).
Rung = Callable[[Graph, Region, Question, Limit], Tensor]
#: Inputs that are cut in two rather than ReLUs.
FEW_INPUTS = 8
#: Gradient steps for slopes of the outputs, and of the whole network.
STEPS, THROUGHOUT = 10, 20
#: Rows taken together by intervals, and by linear bounds.
MANY, SOME = 512, 32
#: Numbers in one matrix of coefficients: linear bounds of wide layers take fewer rows together.
MATRIX = 2**23


def by_intervals(graph: Graph, region: Region, question: Question, _: Limit) -> Tensor:
    """Intervals alone."""
    return question.proven(question.by_interval(intervals(graph, region)))


def by_last_lines(graph: Graph, region: Region, question: Question, _: Limit) -> Tensor:
    """Linear bounds of the outputs over intervals inside."""
    return question.proven(question.bound(graph, intervals(graph, region), region))


def by_lines(graph: Graph, region: Region, question: Question, _: Limit) -> Tensor:
    """Linear bounds throughout."""
    bounds, _opened = refined(graph, region)
    return question.proven(question.bound(graph, bounds, region))


def by_slopes(graph: Graph, region: Region, question: Question, limit: Limit) -> Tensor:
    """Linear bounds throughout, the slopes of the last ones chosen."""
    bounds, _opened = refined(graph, region)
    best, _freedom = raised(graph, question, bounds, region, steps=STEPS, limit=limit)
    return question.proven(best)


def by_branching(graph: Graph, region: Region, question: Question, limit: Limit) -> Tensor:
    """All slopes chosen, then branch and bound, one row after another within equal shares."""
    out = torch.zeros(len(region), dtype=torch.bool)
    for i in range(len(region)):
        if limit.reached:
            break
        row, own = slice(i, i + 1), limit.share(1 / (len(region) - i))
        out[i] = branched(graph, region.rows(row), question.of(row), own)[0]
    return out


def branched(
    graph: Graph, region: Region, question: Question, limit: Limit | None = None
) -> tuple[bool, Tensor | None]:
    """Branch and bound for one row: whether it is proven, and else a counterexample if found."""
    limit = limit or Limit(graph.meter)
    if graph.nodes[0].size <= FEW_INPUTS and region.center is None:
        got = split_inputs(graph, question, region, limit=limit)
        return got.proven, got.witness
    bounds, opened = refined(graph, region)
    left = _left(question, question.bound(graph, bounds, region))
    if left is None:
        return True, None
    question = left
    best, bounds, freedom = raised_throughout(
        graph, question, bounds, opened, region, steps=THROUGHOUT, limit=limit.share(0.5)
    )
    if bool(question.proven(best)[0]):
        return True, None
    if question.groups is not None or not freedom.slopes or not _has_rectifiers(graph):
        return False, None
    for i in best[0].argsort().tolist():  # the hardest first: where it fails, all fails
        if best[0, i] > 0:
            continue
        slopes = Freedom({k: s[:, i : i + 1] for k, s in freedom.slopes.items()})
        one = Question(question.rows[:, i : i + 1], question.thresholds[:, i : i + 1])
        search = Branching(graph, one, bounds, region, slopes)
        if not search.prove(limit):
            return False, search.witness
    return True, None


def still_open(graph: Graph, region: Region, question: Question) -> Tensor:
    """Which functions of a question linear bounds leave open, shape (n, s)."""
    with torch.no_grad():
        bounds, _opened = refined(graph, region)
        return question.bound(graph, bounds, region) <= 0


def _left(question: Question, bound: Tensor) -> Question | None:
    """The question of one row without the functions that are proven; None where none is left."""
    if bool(question.proven(bound)[0]):
        return None
    if question.groups is not None:
        return question
    open_ = bound[0] <= 0
    return Question(question.rows[:, open_], question.thresholds[:, open_])


def _has_rectifiers(graph: Graph) -> bool:
    return any(isinstance(graph.nodes[k].layer, Rectifier) for k in graph.steps())


#: The rungs, each with the rows that it takes together.
LADDER: tuple[tuple[Rung, int], ...] = (
    (by_intervals, MANY),
    (by_last_lines, MANY),
    (by_lines, SOME),
    (by_slopes, SOME),
    (by_branching, MANY),
)


def climb(
    rung: Rung, size: int, graph: Graph, region: Region, question: Question, limit: Limit
) -> Tensor:
    """One rung for all rows, some at a time; rows that the limit leaves out are not proven."""
    out = torch.zeros(len(region), dtype=torch.bool)
    if size == SOME:
        widest = max(node.size for node in graph.nodes)
        size = max(1, min(size, MATRIX // widest**2))
    with torch.no_grad():
        for i in range(0, len(region), size):
            if limit.reached:
                break
            part = slice(i, i + size)
            out[part] = rung(graph, region.rows(part), question.of(part), limit)
    return out

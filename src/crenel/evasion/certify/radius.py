"""Certificates for rows: radii within which no point is decided otherwise."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from crenel.errors import UsageError
from crenel.evasion.certify.graph import Graph
from crenel.evasion.certify.ladder import LADDER, Rung, climb
from crenel.evasion.certify.limit import Limit
from crenel.evasion.certify.question import Question
from crenel.evasion.certify.region import Region
from crenel.evasion.certify.tracing import graph_of
from crenel.evasion.gradients.network import as_labels, as_tensor, module_of, torch

#: How far up the ladder each effort goes.
EFFORTS = {"interval": 1, "linear": 3, "slopes": 4, "branch": 5}


def certified_radius(
    model: Any, x: Any, y: Any, *, norm: float = math.inf, epsilons: Any,
    bounds: tuple[Any, Any] = (0.0, 1.0), seed: int = 0, deadline: float | None = None,
    upper: Any = None, effort: str = "slopes", work: float | None = None,
) -> NDArray[np.float64]:  # fmt: skip
    """The largest of some radii within which no legal point is decided otherwise.

    Cheap proofs come first: intervals, then linear bounds (CROWN), then linear bounds with chosen
    slopes (alpha-CROWN), then branch and bound. Bounds are computed in float64, or in float32 where
    there are convolutions, with outward room for rounding in either case; a decision counts as
    proven from a margin on that also covers float32 rounding of the network itself.

    Parameters
    ----------
    model : torch.nn.Module or crenel.model.Model
        Decides by the largest of its outputs (n, k), or by the sign of one logit.
    x : ndarray, tensor or frame, shape (n, …)
    y : ndarray or tensor of int, shape (n,)
    norm : float
        ``inf``, 2 or 1.
    epsilons : sequence of float
        Radii in units of ``x``.
    bounds : (low, high)
        Legal range: numbers, or arrays broadcast against the rows.
    seed : int
        Nothing here is random; taken so that all measurements are called alike.
    deadline : float or None
        On `time.monotonic`'s clock; what is proven until then is returned.
    upper : ndarray, shape (n,), optional
        Radii at which rows are broken already: none of them or above is tried.
    effort : {"interval", "linear", "slopes", "branch"}
        How far to go.
    work : float or None
        Multiplications after which what is proven is returned: a limit that, unlike a deadline,
        is the same on any machine.

    Returns
    -------
    ndarray, shape (n,), float64
        0 where nothing is proven, and for rows decided otherwise than ``y``.

    Raises
    ------
    crenel.errors.UsageError
        Where the model has no module or an argument is out of range.
    crenel.errors.NotApplicable
        Where bounds are not known through one of the module's layers; the text names it.
    """
    levels = _radii(norm, epsilons)
    if effort not in EFFORTS:
        raise UsageError(f"effort must be one of {', '.join(EFFORTS)}, not {effort!r}")
    module = module_of(model)
    rows, right = as_tensor(x, module), as_labels(y, module)
    if not len(rows):
        return np.zeros(0)
    training = [m for m in module.modules() if m.training]
    try:
        module.eval()
        graph = with_two_outputs(graph_of(module, rows))
    finally:
        for m in training:
            m.training = True
    correct = (graph.forward(rows).argmax(dim=1) == right).cpu().numpy()
    top = np.full(len(rows), len(levels))
    if upper is not None:
        top = np.searchsorted(levels, np.asarray(upper, dtype=np.float64), side="left")
    top = np.where(correct, top, 0)
    legal = tuple(as_tensor(b, module) if hasattr(b, "shape") else b for b in bounds)
    until = None if work is None else graph.meter.work + work
    search = _Search(graph, rows, right, norm, levels, (legal[0], legal[1]),
                     Limit(graph.meter, deadline, until))  # fmt: skip
    found = search.run(top, EFFORTS[effort])
    return np.append(0.0, levels)[found]


def certified(
    model: Any, x: Any, y: Any, epsilon: float, *, norm: float = math.inf,
    bounds: tuple[Any, Any] = (0.0, 1.0), deadline: float | None = None, effort: str = "branch",
) -> NDArray[np.bool_]:  # fmt: skip
    """Whether no legal point within one radius is decided otherwise, shape (n,).

    See `certified_radius`.
    """
    got = certified_radius(
        model, x, y, norm=norm, epsilons=[epsilon], bounds=bounds, deadline=deadline, effort=effort
    )
    return np.asarray(got > 0)


def with_two_outputs(graph: Graph) -> Graph:
    """A graph of one logit z as one of two outputs, 0 and z."""
    if graph.outputs > 1:
        return graph
    from crenel.evasion.certify import affine
    from crenel.evasion.certify.graph import Node

    weight = torch.tensor([[0.0], [1.0]], dtype=graph.dtype)
    node = Node(affine.dense(weight, None), (len(graph.nodes) - 1,), (2,), "two outputs")
    return Graph((*graph.nodes, node), graph.dtype)


def _radii(norm: float, epsilons: Any) -> NDArray[np.float64]:
    values = np.unique(np.asarray(epsilons, dtype=np.float64))
    if norm not in (1, 2, math.inf):
        raise UsageError(f"norm must be inf, 2 or 1, not {norm}")
    if not len(values) or not np.isfinite(values).all() or values[0] < 0:
        raise UsageError(f"epsilons must be finite and not negative: {list(values)}")
    return values


class _Search:
    """For each row the largest level proven, found by halving, rung after rung."""

    def __init__(
        self, graph: Graph, x: Any, y: Any, norm: float, levels: NDArray[np.float64],
        bounds: tuple[Any, Any], limit: Limit,
    ) -> None:  # fmt: skip
        self.graph, self.x, self.y, self.norm, self.levels = graph, x, y, norm, levels
        self.bounds, self.limit = bounds, limit

    def run(self, top: NDArray[np.int64], rungs: int) -> NDArray[np.int64]:
        """Numbers of levels proven, shape (n,), at most ``top``."""
        low = np.zeros(len(top), dtype=np.int64)
        for i, (rung, size) in enumerate(LADDER[:rungs]):
            dear = i >= EFFORTS["linear"]
            high = top + 1
            while True:
                open_ = np.flatnonzero(low + 1 < high)
                if not open_.size or self.limit.reached:
                    break
                # a dear proof is tried just above what is proven, where it is likeliest
                middle = low[open_] + 1 if dear else (low[open_] + high[open_]) // 2
                proven = self.try_(rung, size, open_, middle)
                low[open_[proven]] = middle[proven]
                high[open_[~proven]] = middle[~proven]
        return low

    def try_(
        self, rung: Rung, size: int, rows: NDArray[np.int64], level: NDArray[np.int64]
    ) -> NDArray[np.bool_]:
        """Whether each of some rows is proven at its level."""
        radius = torch.as_tensor(self.levels[level - 1])
        bounds = tuple(_rows_of(b, rows, len(self.x)) for b in self.bounds)
        region = Region.ball(
            self.x[rows], radius, self.norm, (bounds[0], bounds[1]), self.graph.dtype
        )
        question = Question.decided(self.y[rows], self.graph.outputs, self.graph.dtype)
        got = climb(rung, size, self.graph, region, question, self.limit)
        return np.asarray(got.cpu().numpy(), dtype=np.bool_)


def _rows_of(bound: Any, rows: NDArray[np.int64], n: int) -> Any:
    """A legal bound for some rows: one that holds for all, or each row's own."""
    own = hasattr(bound, "shape") and bound.ndim > 0 and n > 1 and len(bound) == n
    return bound[rows] if own and bound.ndim > 1 else bound

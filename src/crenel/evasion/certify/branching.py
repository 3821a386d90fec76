"""Branch and bound on ReLUs: a ReLU is open, or known to be on, or known to be off.

With the multipliers of decided ReLUs of Wang et al. (2021), "Beta-CROWN: efficient bound
propagation with per-neuron split constraints", and the choice of ReLUs by trying the few with the
largest loss (De Palma et al. 2021, "Improved branch and bound for neural network verification via
Lagrangian decomposition").
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from crenel.evasion.certify.candidates import descended, least_points
from crenel.evasion.certify.graph import Graph
from crenel.evasion.certify.interval import Bounds, intervals
from crenel.evasion.certify.layers import Rectifier
from crenel.evasion.certify.limit import Limit
from crenel.evasion.certify.linear import Freedom
from crenel.evasion.certify.question import Question
from crenel.evasion.certify.region import Region
from crenel.evasion.certify.slopes import DECAY, confined
from crenel.evasion.gradients.network import torch

Tensor = Any
#: Parts looked at together, gradient steps for each, ReLUs tried before one is taken.
PARTS, STEPS, TRIED = 32, 10, 3
#: Gradient steps from the point where the bound of a part is least.
DESCENT = 10
#: First step of slopes and of multipliers.
SLOPE_STEP, MULTIPLIER_STEP = 0.1, 0.05


@dataclass
class Parts:
    """Parts of one region, each with some ReLUs decided.

    Attributes
    ----------
    signs : dict of int to Tensor, shape (n, 1, …)
        For each ReLU node 1 (on), -1 (off) or 0 (open).
    slopes : dict of int to Tensor, shape (n, 1, …)
    pulls : dict of int to Tensor, shape (n, 1, …)
        Multipliers of decided ReLUs, at least 0.
    value : Tensor, shape (n,)
        Lower bounds.
    """

    signs: dict[int, Tensor]
    slopes: dict[int, Tensor]
    pulls: dict[int, Tensor]
    value: Tensor

    def __len__(self) -> int:
        return len(self.value)

    def take(self, which: Any) -> Parts:
        """Some of the parts."""
        signs, slopes, pulls = (
            {k: t[which] for k, t in d.items()} for d in (self.signs, self.slopes, self.pulls)
        )
        return Parts(signs, slopes, pulls, self.value[which])

    def with_(self, other: Parts) -> Parts:
        """These and others."""
        pairs = [(self.signs, other.signs), (self.slopes, other.slopes), (self.pulls, other.pulls)]
        signs, slopes, pulls = ({k: torch.cat([a[k], b[k]]) for k in a} for a, b in pairs)
        return Parts(signs, slopes, pulls, torch.cat([self.value, other.value]))


class Branching:
    """Branch and bound for one function of the outputs over one region.

    Parameters
    ----------
    graph : Graph
    question : Question
        Of one row and one function.
    bounds : list of (low, high)
        Of every node over the region.
    region : Region
        Of one row.
    freedom : Freedom
        Slopes to begin with.

    Attributes
    ----------
    witness : Tensor or None, shape (…)
        A point of the region at which the function is not above zero, where one was met.
    seen : int
        Parts looked at.
    """

    def __init__(
        self, graph: Graph, question: Question, bounds: list[Bounds], region: Region,
        freedom: Freedom,
    ) -> None:  # fmt: skip
        self.graph, self.question, self.bounds, self.region = graph, question, bounds, region
        self.steps = [k for k in graph.steps() if isinstance(graph.nodes[k].layer, Rectifier)]
        self.freedom = freedom
        self.seen = 0
        self.witness: Tensor | None = None

    def prove(self, limit: Limit | None = None, most: int = 4000) -> bool:
        """Whether the function is above zero; False also where the limit was too near."""
        slopes = {k: self.freedom.slopes[k] for k in self.steps}
        zero = {k: torch.zeros_like(s) for k, s in slopes.items()}
        start = torch.full((1,), -torch.inf, dtype=self.graph.dtype)
        waiting = self.bounded(Parts(zero, slopes, dict(zero), start))
        waiting = waiting.take(waiting.value <= 0)
        while len(waiting):
            if self.seen >= most or (limit is not None and limit.reached):
                return False
            order = waiting.value.argsort(descending=True)  # nearly proven parts first
            now, waiting = waiting.take(order[:PARTS]), waiting.take(order[PARTS:])
            parts = self.split(now)
            if parts is None or self.witness is not None:
                return False
            left = self.bounded(parts)
            self.seen += len(parts)
            waiting = waiting.with_(left.take(left.value <= 0))
        return True

    def narrowed(self, signs: dict[int, Tensor]) -> list[Bounds]:
        """Bounds of every node where ReLUs are decided so."""
        n = len(next(iter(signs.values())))
        known = {i: (a.expand(n, *a.shape[1:]), b.expand(n, *b.shape[1:]))
                 for i, (a, b) in enumerate(self.bounds)}  # fmt: skip
        for k, sign in signs.items():
            p = self.graph.nodes[k].inputs[0]
            low, high = known[p]
            on, off = sign[:, 0] > 0, sign[:, 0] < 0
            low, high = (
                torch.where(on, low.clamp_min(0), low),
                torch.where(off, high.clamp_max(0), high),
            )
            known[p] = (low, high)
        return intervals(self.graph, self.region.repeated(n), known)

    def _bound(
        self, parts: Parts, bounds: list[Bounds], watch: dict[int, Tensor] | None = None
    ) -> Tensor:
        n = len(parts)
        pulls = {k: -parts.signs[k] * parts.pulls[k] for k in self.steps}
        question = self.question.of(torch.zeros(n, dtype=torch.int64))
        freedom = Freedom(parts.slopes, pulls)
        return question.bound(self.graph, bounds, self.region.repeated(n), freedom, watch)[:, 0]

    def bounded(self, parts: Parts) -> Parts:
        """The parts with lower bounds raised by gradient steps."""
        bounds = self.narrowed(parts.signs)
        slopes = {k: t.clone().requires_grad_(True) for k, t in parts.slopes.items()}
        pulls = {k: t.clone().requires_grad_(True) for k, t in parts.pulls.items()}
        adam = torch.optim.Adam(
            [{"params": list(slopes.values()), "lr": SLOPE_STEP},
             {"params": list(pulls.values()), "lr": MULTIPLIER_STEP}]
        )  # fmt: skip
        work = Parts(parts.signs, slopes, pulls, parts.value)
        best = torch.full_like(parts.value, -torch.inf, dtype=self.graph.dtype)
        for _ in range(STEPS):
            with torch.enable_grad():
                adam.zero_grad(set_to_none=True)
                value = self._bound(work, bounds)
                best = torch.maximum(best, value.detach())
                if bool((best > 0).all()):
                    break
                (-value.clamp_max(0.0).sum()).backward()
            adam.step()
            confined(self.graph, slopes)
            with torch.no_grad():
                for t in pulls.values():
                    t.clamp_(min=0)
            for group in adam.param_groups:
                group["lr"] *= DECAY
        slopes, pulls = ({k: t.detach() for k, t in d.items()} for d in (slopes, pulls))
        return Parts(parts.signs, slopes, pulls, best)

    def split(self, parts: Parts) -> Parts | None:
        """Each part in two, by the ReLU that promises most; None where none is open."""
        with torch.no_grad():
            bounds = self.narrowed(parts.signs)
            watch: dict[int, Tensor] = {}
            self._bound(parts, bounds, watch)
            self._look(watch[0])
            score = torch.cat([self._scores(k, parts, bounds, watch) for k in self.steps], 1)
            if not bool((score.amax(1) > 0).all()):
                return None
            places = score.topk(min(TRIED, score.shape[1]), dim=1)
            best, chosen = None, None
            for j in range(places.indices.shape[1]):
                two = self._halves(parts, places.indices[:, j])
                value = self._bound(two, self.narrowed(two.signs)).reshape(2, -1)
                worth = value.clamp_max(0).amin(0) + 0.1 * value.clamp_max(0).amax(0)
                worth = torch.where(places.values[:, j] > 0, worth, -torch.inf)
                better = worth > best if best is not None else torch.ones_like(worth, dtype=bool)
                best = torch.where(better, worth, best) if best is not None else worth
                index = places.indices[:, j]
                chosen = torch.where(better, index, chosen) if chosen is not None else index
            return self._halves(parts, chosen)

    def _look(self, slopes: Tensor) -> None:
        """Look for a counterexample where the bounds of the parts are least."""
        if self.region.center is not None:
            return
        points = least_points(slopes, self.region.repeated(len(slopes)))[:, 0]
        best, value = descended(self.graph, self.question, self.region, points, DESCENT)
        if bool((value <= 0).any()):
            self.witness = best[value.argmin()]

    def _scores(
        self, k: int, parts: Parts, bounds: list[Bounds], watch: dict[int, Tensor]
    ) -> Tensor:
        """What the lines of each open ReLU of a node may lose at most, shape (n, numbers)."""
        low, high = bounds[self.graph.nodes[k].inputs[0]]
        n = len(parts)
        if k not in watch:
            return torch.zeros(n, low[0].numel(), dtype=low.dtype)
        a, slope = watch[k][:, 0], parts.slopes[k][:, 0]
        open_ = (low < 0) & (high > 0) & (parts.signs[k][:, 0] == 0)
        above = -low * high / (high - low).clamp_min(1e-12)
        below = torch.maximum((1 - slope) * high, slope * -low)
        loss = (-a.clamp_max(0)) * above + 0.5 * a.clamp_min(0) * below
        return torch.where(open_, loss + 1e-12, torch.zeros_like(loss)).flatten(1)

    def _halves(self, parts: Parts, places: Tensor) -> Parts:
        """All parts with their ReLU on, then all with it off."""
        n = len(parts)
        out = parts.take(torch.arange(n).repeat(2))
        signs, begin = {}, 0
        for k in self.steps:
            sign = out.signs[k].clone()
            flat = sign.reshape(2 * n, -1)
            width = flat.shape[1]
            here = (places >= begin) & (places < begin + width)
            rows = here.nonzero()[:, 0]
            flat[rows, places[rows] - begin] = 1.0
            flat[rows + n, places[rows] - begin] = -1.0
            signs[k], begin = sign, begin + width
        return Parts(signs, out.slopes, out.pulls, out.value)

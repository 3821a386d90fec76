"""Witnesses drawn back towards the rows that they come from, by forward passes alone."""

from __future__ import annotations

import math
from typing import Any

from crenel.evasion.gradients.ball import sizes
from crenel.evasion.gradients.network import Logits, margins, shaped, torch

#: Forward passes that a witness is drawn back by.
TRIES = 5
#: Share by which a witness that lies on the rim is drawn in, so that rounding stays within.
INWARD = 1e-6


def exact_sizes(x0: Any, x: Any, norm: float) -> Any:
    """Size of each change, shape (n,), float64, taken of the stored numbers in float64."""
    return sizes(x.double() - x0.double(), norm)


def shorten(
    logits: Logits,
    x0: Any,
    witness: Any,
    y: Any,
    *,
    norm: float,
    limit: float = math.inf,
    goal: Any = None,
    tries: int = TRIES,
    below: Any = None,
) -> tuple[Any, Any, int]:
    """The smallest change on the way to each witness that still turns the decision.

    Parameters
    ----------
    logits : callable
        The model's own.
    x0, witness : tensor, shape (n, …)
    y, goal : tensor of int64, shape (n,)
        See `crenel.evasion.gradients.network.reached`.
    norm : float
        0, 1, 2 or ``inf``.
    limit : float
        Changes larger than this do not count.
    tries : int
        Forward passes; in L0 those that a bisection over the changed numbers needs.
    below : tensor, shape (n,), optional
        Margins of the rows themselves (see `crenel.evasion.gradients.network.margins`), where
        these are known.

    Returns
    -------
    x : tensor, shape (n, …)
        As verified; the row itself where the witness does not hold.
    size : tensor of float64, shape (n,)
        Exact; infinite where the witness does not hold.
    queries : int
        Rows sent forward.
    """
    if norm == 0:
        return _fewer(logits, x0, witness, y, limit, goal)
    queries = 0
    if below is None:
        below, queries = margins(logits, x0, y, goal)[0], len(x0)
    best, size, more = _nearer(logits, x0, witness, y, norm, limit, goal, tries, below)
    return best, size, queries + more


def _nearer(
    logits: Logits, x0: Any, witness: Any, y: Any, norm: float, limit: float, goal: Any, tries: int,
    below: Any,
) -> tuple[Any, Any, int]:  # fmt: skip
    """Regula falsi (Illinois) on the margin along the straight way."""
    delta, span = witness - x0, exact_sizes(x0, witness, norm)
    far = torch.where(span <= limit, 1.0, limit * (1 - INWARD) / span.clamp(min=1e-300)).to(
        x0.dtype
    )
    near, best, size = torch.zeros_like(far), x0.clone(), torch.full_like(span, math.inf)
    at, over, queries, stuck = far, None, 0, torch.zeros_like(y)
    for k in range(tries):
        x = torch.where(shaped(at == 1, x0), witness, x0 + shaped(at, x0) * delta)
        value, turned = margins(logits, x, y, goal)
        queries += len(x0)
        own = exact_sizes(x0, x, norm)
        gain = turned & (own <= limit) & (own < size)
        best = torch.where(shaped(gain, x), x, best)
        size = torch.where(gain, own, size)
        over = value if over is None else over
        far, over = torch.where(turned, at, far), torch.where(turned, value, over)
        near, below = torch.where(turned, near, at), torch.where(turned, below, value)
        if k:  # the end that stays put twice weighs half
            below = torch.where(turned & (stuck > 0), below / 2, below)
            over = torch.where(~turned & (stuck < 0), over / 2, over)
        stuck = torch.where(turned, 1, -1)
        share = (-below / (over - below)).nan_to_num(0.5).clamp(0.02, 0.98)
        # a little beyond the crossing, so that the try may count
        at = near + (far - near) * (share * 1.02 + 0.005).clamp(max=0.99)
    return best, size, queries


def _fewer(
    logits: Logits, x0: Any, witness: Any, y: Any, limit: float, goal: Any
) -> tuple[Any, Any, int]:
    """Bisection over how many of the changed numbers, largest first, are changed."""
    delta = (witness - x0).flatten(1)
    rank = delta.abs().argsort(dim=1, descending=True, stable=True).argsort(dim=1)
    most = (delta != 0).sum(dim=1)
    top = torch.clamp(most, max=int(min(limit, delta.shape[1])))
    low, high = torch.zeros_like(top), top
    best, size = x0.clone(), torch.full((len(x0),), math.inf, dtype=torch.float64, device=x0.device)
    count, queries = top, 0
    rounds = 1 + (int(top.max()).bit_length() if len(top) else 0)
    for _ in range(rounds):
        kept = torch.where(rank < count[:, None], delta, torch.zeros_like(delta))
        x = torch.where((kept != 0).reshape(x0.shape), witness, x0)
        _, turned = margins(logits, x, y, goal)
        queries += len(x0)
        gain = turned & (count.double() < size)
        best = torch.where(shaped(gain, x), x, best)
        size = torch.where(gain, count.double(), size)
        high = torch.where(turned, count, high)
        low = torch.where(turned, low, count)
        count = (low + high + 1) // 2
    return best, size, queries

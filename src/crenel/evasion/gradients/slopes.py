"""Losses of logits with their slopes written out, so that a step differentiates the network alone.

For a small network a graph of the loss takes longer than the network's own.
"""

from __future__ import annotations

import math
from typing import Any

from crenel.evasion.gradients.network import torch


def loss_and_slope(z: Any, y: Any, kind: str, target: Any = None) -> tuple[Any, Any]:
    """The loss of each row (n,), and what it gains by each logit (n, k).

    Parameters
    ----------
    z : tensor, shape (n, k)
        Logits, of no graph.
    y, target : tensor of int64, shape (n,)
    kind : str
        See `crenel.evasion.gradients.descent.losses`.
    """
    if kind in ("targeted-ce", "targeted-cw"):
        value, slope = loss_and_slope(z, target, "ce" if kind == "targeted-ce" else "margin")
        return -value, -slope
    if kind == "ce":
        return _cross_entropy(z, y)
    if "dlr" in kind and z.shape[1] >= 4:
        return _by_graph(z, y, kind, target)
    if kind.startswith("targeted"):
        value = _of(z, target) - _of(z, y)
        return value, _put(_put(torch.zeros_like(z), target, 1.0), y, -1.0)
    return _margin(z, y)


def _of(z: Any, which: Any) -> Any:
    return z.gather(1, which[:, None])[:, 0]


def _put(slope: Any, which: Any, by: float) -> Any:
    """Add to one entry of each row, in place."""
    return slope.scatter_add_(1, which[:, None], torch.full_like(slope[:, :1], by))


def _cross_entropy(z: Any, y: Any) -> tuple[Any, Any]:
    shares = z.log_softmax(dim=1)
    return -_of(shares, y), _put(shares.exp(), y, -1.0)


def _margin(z: Any, y: Any) -> tuple[Any, Any]:
    """The largest wrong logit less the right one; wrong ones that tie share the slope."""
    wrong = z.scatter(1, y[:, None], -math.inf)
    most = wrong.amax(dim=1, keepdim=True)
    slope = (wrong == most).to(z.dtype)
    slope /= slope.sum(dim=1, keepdim=True)
    return most[:, 0] - _of(z, y), slope.scatter_(1, y[:, None], -1.0)


def _by_graph(z: Any, y: Any, kind: str, target: Any) -> tuple[Any, Any]:
    from crenel.evasion.gradients.descent import losses

    with torch.enable_grad():
        z = z.detach().requires_grad_(True)
        value = losses(z, y, kind, target)  # type: ignore[arg-type]
    return value.detach(), torch.autograd.grad(value.sum(), z)[0]

"""Losses of logits with their slopes written out, so that a step differentiates the network alone.

For a small network a graph of the loss takes longer than the network's own.
"""

from __future__ import annotations

import math
from typing import Any

from crenel.evasion.gradients import kernels
from crenel.evasion.gradients.network import reached, torch


def judged(z: Any, y: Any, kind: str, target: Any = None, goal: Any = None) -> tuple[Any, Any, Any]:
    """`loss_and_slope`, and whether decisions are turned: see `reached`."""
    if not kernels.usable(z) or by_graph(z, kind):
        return *loss_and_slope(z, y, kind, target), reached(z, y, goal)
    z = z.contiguous()
    value, slope = torch.empty_like(z[:, 0]), torch.empty_like(z)
    wrong = torch.empty(len(z), dtype=torch.bool)
    kernels.judge(
        z.numpy(), *asked(y, kind, target, goal), value.numpy(), slope.numpy(), wrong.numpy()
    )
    return value, slope, wrong


def asked(y: Any, kind: str, target: Any, goal: Any) -> tuple[Any, ...]:
    """A loss as `crenel.evasion.gradients.kernels.judge` is told of it."""
    of, aim, end = y.numpy(), *(y.numpy() if t is None else t.numpy() for t in (target, goal))
    own = kernels.CROSS_ENTROPY if kind.endswith("ce") else kernels.MARGIN
    if kind in ("targeted-ce", "targeted-cw"):
        return aim, aim, own, -1.0, of, end, goal is not None
    own = kernels.AIMED if kind.startswith("targeted") else own
    return of, aim, own, 1.0, of, end, goal is not None


def by_graph(z: Any, kind: str) -> bool:
    """Whether the slope of a loss is left to a graph: that of losses with a scale of their own."""
    return "dlr" in kind and bool(z.shape[1] >= 4)


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
    if by_graph(z, kind):
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
        slope = torch.autograd.grad(value.sum(), z)[0]
    return value.detach(), slope

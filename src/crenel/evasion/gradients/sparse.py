"""sigma-zero: the fewest changed numbers that turn a decision, by gradients."""

from __future__ import annotations

import math
from typing import Any

from crenel.evasion.gradients.network import Logits, reached, shaped, torch

#: Of Cinà et al. (2024): smoothing of the count, first threshold, and its step.
SIGMA, THRESHOLD, STEP = 1e-3, 0.3, 0.01


def fewest_numbers(
    logits: Logits, x0: Any, y: Any, low: Any, high: Any, *, steps: int, goal: Any = None
) -> tuple[Any, Any]:
    """sigma-zero (Cinà et al., 2024): descent on the margin and a smooth count of the changes.

    Parameters
    ----------
    logits : callable
    x0, low, high : tensor, shape (n, …)
        Rows, and the legal range of each number.
    y, goal : tensor of int64, shape (n,)
        See `crenel.evasion.gradients.network.reached`.
    steps : int
        Gradients for each row.

    Returns
    -------
    x : tensor, shape (n, …)
        The witness with the fewest changed numbers; the row itself where none was found.
    found : tensor of bool, shape (n,)
    """
    span = (high - low).clamp(min=1e-12)
    # in shares of the range, so that the thresholds of the paper hold in any unit
    change = torch.zeros_like(x0)
    threshold = torch.full((len(x0),), THRESHOLD, dtype=x0.dtype, device=x0.device)
    best = torch.full((len(x0),), math.inf, dtype=x0.dtype, device=x0.device)
    witness = x0.clone()
    for k in range(steps):
        gradient, turned = _slope(logits, x0, change, span, y, goal)
        count = (change.flatten(1) != 0).sum(dim=1).to(x0.dtype)
        better = turned & (count < best)
        best = torch.where(better, count, best)
        moved = torch.clamp(x0 + change * span, low, high)
        witness = torch.where(shaped(better, x0), torch.where(change != 0, moved, x0), witness)
        rate = 0.1 + 0.9 * (1 + math.cos(math.pi * k / steps)) / 2
        size = shaped(gradient.flatten(1).abs().amax(dim=1), x0).clamp(min=1e-12)
        ahead = torch.clamp(change - rate * gradient / size, (low - x0) / span, (high - x0) / span)
        threshold = threshold + torch.where(turned, STEP * rate, -STEP * rate)
        threshold = threshold.clamp(0.0, 1.0)
        change = torch.where(ahead.abs() < shaped(threshold, x0), torch.zeros_like(ahead), ahead)
    return witness, torch.isfinite(best)


def _slope(
    logits: Logits, x0: Any, change: Any, span: Any, y: Any, goal: Any
) -> tuple[Any, Any]:  # fmt: skip
    """Gradient of the hinge on the margin and of the smooth count, and which rows are turned."""
    aim = (y if goal is None else goal)[:, None]
    with torch.enable_grad():
        change = change.detach().requires_grad_(True)
        z = logits(x0 + change * span)
        others = z.scatter(1, aim, -math.inf).amax(dim=1)
        gap = z.gather(1, aim)[:, 0] - others
        hinge = (gap if goal is None else -gap).clamp(min=0)
        square = change.flatten(1) ** 2
        count = (square / (square + SIGMA)).mean(dim=1)
        (found,) = torch.autograd.grad((hinge + count).sum(), change)
    return torch.nan_to_num(found.detach()), reached(z.detach(), y, goal)

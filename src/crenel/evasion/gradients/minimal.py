"""Minimum-norm attacks: the whole curve of a network in one run."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from crenel.evasion.gradients.ball import Ball, check_norm, dual_sizes, sizes
from crenel.evasion.gradients.descent import DENSITY, losses
from crenel.evasion.gradients.network import (
    Logits,
    as_labels,
    box_of,
    logits_of,
    module_of,
    on_host,
    reached,
    shaped,
    still,
    torch,
)
from crenel.evasion.gradients.shorten import shorten
from crenel.evasion.gradients.sparse import fewest_numbers

#: Of FMN (Pintor et al., 2021): by what share the radius moves, first and last; and the last
#: step as a share of the first.
FIRST, LAST, SMALLEST = 0.1, 0.002, 0.02


def minimal_norm(
    model: Any,
    x: Any,
    y: Any,
    *,
    norm: float = math.inf,
    steps: int = 100,
    bounds: tuple[Any, Any] = (0.0, 1.0),
    targets: Any = None,
    seed: int = 0,
    batch_size: int = 256,
) -> tuple[NDArray[np.float64], NDArray[Any]]:
    """The smallest change found that turns each decision, and the rows so changed.

    Parameters
    ----------
    model : torch.nn.Module or crenel.model.Model
        Gives logits (n, k), or one logit. Attacked in evaluation mode.
    x : ndarray or tensor, shape (n, …), or a frame of numbers
    y : ndarray or tensor of int, shape (n,)
    norm : float
        0, 1, 2 or ``inf``.
    steps : int
        Gradients for each row, at least 1.
    bounds : (low, high)
        Legal range: numbers, or arrays broadcast against the rows.
    targets : ndarray or tensor of int, shape (n,), or None
        The class that each row shall be taken for; by default any wrong one counts.
    seed : int
        Of models that answer at random.
    batch_size : int

    Returns
    -------
    distances : ndarray of float64, shape (n,)
        Exact sizes, verified on the model: 0 where a row is decided wrongly as it is, infinite
        where nothing was found.
    witnesses : ndarray, shape (n, …)
        The row itself where nothing was found.

    Raises
    ------
    crenel.errors.UsageError
        Where the model has no gradients or the norm is unknown.

    Notes
    -----
    FMN (Pintor et al., 2021) with steps scaled to the linearised distance in L1, L2 and L-inf,
    sigma-zero (Cinà et al., 2024) in L0; every witness is drawn back towards its row at last.
    """
    check_norm(norm)
    module = module_of(model)
    rows, right = on_host(x, module), as_labels(y, module)
    goals = None if targets is None else as_labels(targets, module)
    low, high = box_of(bounds, module)
    distance, witness = np.full(len(rows), math.inf), rows.clone()
    with still(module, seed):
        logits = logits_of(module)
        for i in range(0, len(rows), batch_size):
            part = slice(i, i + batch_size)
            a, b = rows[part].to(right.device), right[part]
            goal = None if goals is None else goals[part]
            got, size = _smallest(logits, a, b, Ball(norm, 0.0, low, high), steps, goal)
            distance[part], witness[part] = size.cpu().numpy(), got.cpu()
    return distance, witness.numpy()


def _smallest(
    logits: Logits, x0: Any, y: Any, ball: Ball, steps: int, goal: Any
) -> tuple[Any, Any]:
    """Witnesses of one batch and their sizes."""
    with torch.no_grad():
        already = reached(logits(x0), y, goal)
    if ball.norm == 0:
        low, high = ball.limits(x0)
        found, hit = fewest_numbers(logits, x0, y, low, high, steps=steps, goal=goal)
    else:
        found, hit = closest(logits, x0, y, ball, steps=steps, goal=goal)
    best, size = x0.clone(), torch.full((len(x0),), math.inf, dtype=torch.float64)
    size = size.to(x0.device)
    hit = hit & ~already
    if bool(hit.any()):
        own = None if goal is None else goal[hit]
        best[hit], size[hit], _ = shorten(
            logits, x0[hit], found[hit], y[hit], norm=ball.norm, goal=own, tries=8
        )
    size[already] = 0.0
    return best, size


def closest(
    logits: Logits, x0: Any, y: Any, ball: Ball, *, steps: int, goal: Any = None
) -> tuple[Any, Any]:
    """FMN (Pintor et al., 2021): a radius for each row that shrinks where it is enough.

    Parameters
    ----------
    logits : callable
    x0 : tensor, shape (n, …)
    y, goal : tensor of int64, shape (n,)
        See `crenel.evasion.gradients.network.reached`.
    ball : Ball
        Its norm, 1, 2 or ``inf``, and its box.
    steps : int
        Gradients for each row.

    Returns
    -------
    x : tensor, shape (n, …)
        The smallest witness; the row itself where none was found.
    found : tensor of bool, shape (n,)
    """
    norm, (low, high) = ball.norm, Ball(1, 0.0, ball.low, ball.high).limits(x0)
    x, witness = x0.clone(), x0.clone()
    widest = sizes(torch.maximum(high - x0, x0 - low), norm)
    best, radius = torch.full_like(widest, math.inf), widest.clone()
    density = torch.full_like(widest, DENSITY / 2)
    first = None
    for k in range(steps):
        value, gradient, turned = _slope(logits, x, y, goal)
        size = sizes(x - x0, norm)
        better = turned & (size < best)
        best = torch.where(better, size, best)
        witness = torch.where(shaped(better, x), x, witness)
        ease = (1 + math.cos(math.pi * k / steps)) / 2
        move = LAST + (FIRST - LAST) * ease
        ahead = (-value).clamp(min=0) / dual_sizes(gradient, norm).clamp(min=1e-12)
        # none found yet: just beyond where the margin, if it were linear, would be zero
        grown = torch.where(torch.isfinite(best), radius * (1 + move), size + 1.05 * ahead)
        shrunk = torch.minimum(radius * (1 - move), best * (1 - move))
        radius = torch.minimum(torch.where(turned, shrunk, grown), widest)
        first = torch.minimum(1.05 * ahead, widest) if first is None else first
        step = first * (SMALLEST + (1 - SMALLEST) * ease)
        room = torch.where(gradient > 0, x < high, x > low)
        way = ball.direction(gradient, room, density)
        x = Ball(norm, radius, ball.low, ball.high).project(x0, x + shaped(step, x) * way)
    return witness, torch.isfinite(best)


def _slope(logits: Logits, x: Any, y: Any, goal: Any) -> tuple[Any, Any, Any]:
    """By how much decisions are turned, the gradient of that, and whether they are."""
    with torch.enable_grad():
        x = x.detach().requires_grad_(True)
        z = logits(x)
        value = losses(z, y, "margin") if goal is None else -losses(z, goal, "margin")
        gradient = torch.autograd.grad(value.sum(), x)[0]
    return value.detach().to(x.dtype), torch.nan_to_num(gradient), reached(z.detach(), y, goal)

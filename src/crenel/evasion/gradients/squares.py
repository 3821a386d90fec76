"""Random search without gradients: for rows near the boundary, and as the test of white box."""

from __future__ import annotations

import math
from typing import Any

from crenel.evasion.gradients.ball import Ball
from crenel.evasion.gradients.draws import following, row_keys, uniform
from crenel.evasion.gradients.network import Logits, margins, shaped, torch

#: Share of the input that the first window covers; it shrinks as queries are spent.
WIDEST, NARROWEST = 0.5, 0.005
#: The same around a point that gradients have found; and, in queries of a search and at least, how
#: soon a row must be turned there at its pace so far. Where the surface is smooth chance adds
#: nothing to a descent (0 to 2 % of the way to the boundary in 120 queries); where it is rugged, it
#: adds much, and soon.
AROUND, PACE, SOON = 0.15, 1.2, 2_400
#: Proposals for a row in one pass around a point: few of them are better, and few rows come here.
TOGETHER = 4


def random_search(
    logits: Logits,
    x0: Any,
    y: Any,
    ball: Ball,
    *,
    queries: int,
    seed: int,
    start: Any = None,
    goal: Any = None,
    patience: int | None = None,
) -> tuple[Any, Any, int]:
    """Blocks of the input pushed to the rim of the ball, kept where the margin falls.

    After Square (Andriushchenko et al., 2020): images change in square windows, other rows in
    random features; the blocks shrink as queries are spent. What is drawn for a row depends on
    the row and the seed alone.

    Parameters
    ----------
    logits : callable
    x0 : tensor, shape (n, …)
    y : tensor of int64, shape (n,)
    ball : Ball
    queries : int
        For each row at most.
    seed : int
    start : tensor, shape (n, …), optional
        Points within the ball to begin from; by default vertical stripes for images and random
        corners for other rows.
    goal : tensor of int64, shape (n,), optional
        The only decisions that count; by default every wrong one does.
    patience : int, optional
        The start is worth staying near: blocks begin smaller, and rows that chance does not bring
        nearer fast enough are left alone: they are looked at after so many queries, twice as many,
        and so on.

    Returns
    -------
    x : tensor, shape (n, …)
    broken : tensor of bool, shape (n,)
    spent : int
        Rows sent through the model.
    """
    if not len(x0):
        return x0, torch.zeros(0, dtype=torch.bool, device=x0.device), 0
    keys = row_keys(x0, seed)
    x = (ball.stripes(x0, seed) if start is None else start).clone()
    value, broken = margins(logits, x, y, goal)
    live = torch.nonzero(~broken)[:, 0]
    low, high = ball.limits(x0)
    spent, first, widest = len(x0), value.clone(), WIDEST if patience is None else AROUND
    many, reach = 1 if patience is None else TOGETHER, max(SOON, PACE * queries)
    for k in range(1, queries, many):
        if patience is not None and k >= patience:
            live = live[value[live] > (1 - patience / reach) * first[live]]
            patience *= 2
        if not len(live):
            break
        share = max(NARROWEST, widest * (1 - k / queries) ** 3)
        at, own = live.repeat_interleave(many), following(keys[live], many)
        trial = _propose(x[at], x0[at], (low[at], high[at]), ball, share, own, k)
        found, turned = margins(logits, trial, y[at], None if goal is None else goal[at])
        spent += len(at)
        if many > 1:
            pick = _best(found, turned, many)
            trial, found, turned = trial[pick], found[pick], turned[pick]
        better = (found > value[live]) | turned
        moved = live[better]
        x[moved], value[moved] = trial[better], found[better]
        broken[live] = turned
        live = live[~turned]
    return x, broken, spent


def _best(found: Any, turned: Any, many: int) -> Any:
    """Of each row's proposals the one that turns it, or else comes nearest."""
    best = torch.where(turned, torch.inf, found).reshape(-1, many).argmax(dim=1)
    return best + torch.arange(len(best), device=best.device) * many


def _signs(numbers: Any) -> Any:
    return torch.where(numbers < 0.5, -1.0, 1.0)


def _propose(x: Any, x0: Any, limits: Any, ball: Ball, share: float, keys: Any, k: int) -> Any:
    """Each row with one block set to the rim of the ball, at random signs."""
    mask, signs = _blocks(x.shape, share, keys, k)
    if ball.norm == math.inf:
        return torch.clamp(torch.where(mask, x0 + ball.epsilon * signs, x), *limits)
    if ball.norm == 0:  # what was changed before weighs less, so that the new block is kept
        corner = torch.where(signs > 0, limits[1], limits[0])
        return ball.project(x0, torch.where(mask, corner, x0 + 0.9 * (x - x0)), limits)
    width = mask.flatten(1).sum(dim=1).clamp(min=1)
    push = mask * signs * shaped(ball.epsilon / (width if ball.norm == 1 else width.sqrt()), x)
    return ball.rim(x0, x - x0 + push, limits)


def _blocks(shape: Any, share: float, keys: Any, k: int) -> tuple[Any, Any]:
    """A mask for each row and signs: a window of an image (n, c, h, w), else random features."""
    n = shape[0]
    if len(shape) == 4:
        channels, h, w = shape[1:]
        side = min(max(1, round(math.sqrt(share * h * w))), h, w)
        u = uniform(keys, 2 + channels, k)
        top = (u[:, 0] * (h - side + 1)).long().reshape(n, 1, 1, 1)
        left = (u[:, 1] * (w - side + 1)).long().reshape(n, 1, 1, 1)
        i = torch.arange(h, device=keys.device)[None, None, :, None]
        j = torch.arange(w, device=keys.device)[None, None, None, :]
        window = (i >= top) & (i < top + side) & (j >= left) & (j < left + side)
        return window.expand(shape), _signs(u[:, 2:]).reshape(n, channels, 1, 1)
    count = math.prod(shape[1:])
    lottery, signs = uniform(keys, 2 * count, k).reshape(n, 2, count).unbind(1)
    mask = lottery <= torch.maximum(lottery.amin(dim=1, keepdim=True), lottery.new_tensor(share))
    return mask.reshape(shape), _signs(signs).reshape(shape)

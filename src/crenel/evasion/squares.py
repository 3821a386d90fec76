"""Random search without gradients: the check that white box is not weaker than black box."""

from __future__ import annotations

import math
from typing import Any

from crenel.evasion.descent import Ball, losses
from crenel.evasion.network import Logits, generator, shaped, torch


def random_search(
    logits: Logits, x0: Any, y: Any, ball: Ball, *, queries: int, seed: int
) -> tuple[Any, Any]:
    """Blocks of the input pushed to the rim of the ball, kept where the margin falls.

    After Square (Andriushchenko et al., 2020): images change in square windows, other rows in
    random features; the blocks shrink as queries are spent.

    Parameters
    ----------
    logits : callable
    x0 : tensor, shape (n, …)
    y : tensor of int64, shape (n,)
    ball : Ball
    queries : int
        For each row at most.
    seed : int

    Returns
    -------
    x : tensor, shape (n, …)
    broken : tensor of bool, shape (n,)
    """
    draw = generator(seed)
    x = ball.random(x0, draw)
    value, broken = _margin(logits, x, y)
    for k in range(queries - 1):
        live = torch.nonzero(~broken)[:, 0]
        if not len(live):
            break
        share = max(0.02, 0.5 * (1 - k / queries) ** 2)
        trial = _propose(x[live], x0[live], ball, share, draw)
        found, wrong = _margin(logits, trial, y[live])
        better = (found > value[live]) | wrong
        x[live] = torch.where(shaped(better, trial), trial, x[live])
        value[live] = torch.where(better, found, value[live])
        broken[live] = wrong
    return x, broken


def _margin(logits: Logits, x: Any, y: Any) -> tuple[Any, Any]:
    with torch.no_grad():
        z = logits(x)
    return losses(z, y, "margin"), z.argmax(dim=1) != y


def _propose(x: Any, x0: Any, ball: Ball, share: float, draw: Any) -> Any:
    """Each row with one block set to the rim of the ball, at random signs."""
    mask = _blocks(x.shape, share, draw).to(x.device)
    signs = torch.randint(0, 2, (*x.shape[:2], *[1] * (x.ndim - 2)), generator=draw) * 2.0 - 1
    if x.ndim <= 2:
        signs = torch.randint(0, 2, x.shape, generator=draw) * 2.0 - 1
    signs = signs.to(x.device)
    if ball.norm == math.inf:
        return ball.project(x0, torch.where(mask, x0 + ball.epsilon * signs, x))
    width = mask.flatten(1).sum(dim=1).clamp(min=1).sqrt()
    push = mask * signs * shaped(ball.epsilon / width, x)
    grown = x - x0 + push
    size = shaped(grown.flatten(1).norm(dim=1), x).clamp(min=1e-12)
    return ball.project(x0, x0 + grown * ball.epsilon / size)


def _blocks(shape: Any, share: float, draw: Any) -> Any:
    """A mask for each row: a window of an image (n, c, h, w), else random features."""
    n = shape[0]
    if len(shape) == 4:
        h, w = shape[2], shape[3]
        side = max(1, round(math.sqrt(share * h * w)))
        top = torch.randint(0, max(1, h - side + 1), (n, 1, 1, 1), generator=draw)
        left = torch.randint(0, max(1, w - side + 1), (n, 1, 1, 1), generator=draw)
        i, j = torch.arange(h)[None, None, :, None], torch.arange(w)[None, None, None, :]
        window = (i >= top) & (i < top + side) & (j >= left) & (j < left + side)
        return window.expand(shape)
    lottery = torch.rand(shape, generator=draw).flatten(1)
    first = lottery.argmin(dim=1, keepdim=True)  # at least one feature
    return (lottery < share).scatter(1, first, True).reshape(shape)

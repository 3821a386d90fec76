"""Patches: a square that turns decisions wherever in the image it lies."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from crenel.evasion.gradients.draws import row_keys, uniform
from crenel.evasion.gradients.network import Logits, generator, torch

#: Rows of each step, first and last step as shares of the range, and the gain per row that counts.
BATCH, FIRST, LAST, ENOUGH = 64, 0.15, 0.01, 2.0


@dataclass(frozen=True)
class Fitted:
    """What an attacker carries from image to image.

    Attributes
    ----------
    values : tensor
        A patch (c, s, s), or a change of the shape of one row.
    start, end : float
        Mean gain over the first and over the last steps: capped margin by which rows are turned.
    gradients : int
        Rows sent forward and backward.
    """

    values: Any
    start: float
    end: float
    gradients: int


def side_of(share: float, height: int, width: int) -> int:
    """Side in pixels of the square that covers a share of an image, at least 1."""
    return int(min(max(1, round(math.sqrt(share * height * width))), height, width))


def placed(x: Any, patch: Any, keys: Any, shard: int) -> Any:
    """Images with a patch, each at a place of its own.

    Parameters
    ----------
    x : tensor, shape (n, c, h, w)
    patch : tensor, shape (c, s, s)
    keys : tensor of int64, shape (n,)
        From `crenel.evasion.gradients.draws.row_keys`.
    shard : int
        Another one gives other places.
    """
    n, _, height, width = x.shape
    side = patch.shape[1]
    u = uniform(keys, 2, shard)
    top = (u[:, 0] * (height - side + 1)).long().clamp(max=height - side)
    left = (u[:, 1] * (width - side + 1)).long().clamp(max=width - side)
    i = torch.arange(height, device=x.device)[None] - top[:, None]
    j = torch.arange(width, device=x.device)[None] - left[:, None]
    inside = ((i >= 0) & (i < side))[:, :, None] & ((j >= 0) & (j < side))[:, None, :]
    a, b = i.clamp(0, side - 1)[:, :, None], j.clamp(0, side - 1)[:, None, :]
    canvas = patch[:, a, b].transpose(0, 1)
    return torch.where(inside[:, None].expand(n, 1, height, width), canvas, x)


def fit_patch(
    logits: Logits, x: Any, y: Any, side: int, *, steps: int, seed: int, target: int | None = None
) -> Fitted:
    """A patch for all places and all images (Brown et al., 2017), by ascent over random places.

    Parameters
    ----------
    logits : callable
    x : tensor, shape (n, c, h, w), in [0, 1]
        Images that the patch is fit on.
    y : tensor of int64, shape (n,)
    side : int
        Of the square, in pixels.
    steps : int
    seed : int
    target : int, optional
        The class that images shall be taken for; by default any wrong one counts.
    """
    keys = row_keys(x, seed)
    begin = torch.rand((x.shape[1], side, side), generator=generator(seed)).to(x)

    def shown(values: Any, part: Any, k: int) -> Any:
        return placed(x[part], values, keys[part], k)

    return ascend(logits, shown, begin, y, lambda v: v.clamp(0, 1), 1.0, steps, seed, target)


def ascend(
    logits: Logits, shown: Any, begin: Any, y: Any, legal: Any, reach: float, steps: int, seed: int,
    target: int | None = None,
) -> Fitted:  # fmt: skip
    """Ascent by signs with momentum on the mean gain of random batches.

    Parameters
    ----------
    logits : callable
    shown : callable
        ``shown(values, rows, k)``: what the model sees of some rows at step k.
    begin : tensor
        First values.
    y : tensor of int64, shape (n,)
    legal : callable
        Puts values back into what is allowed.
    reach : float
        Size of the range of the values, by which steps are scaled.
    steps, seed : int
    target : int, optional
    """
    draw, values = generator(seed + 1), begin
    speed, gains, spent = torch.zeros_like(begin), [], 0
    for k in range(steps):
        part = torch.randperm(len(y), generator=draw)[:BATCH].to(y.device)
        with torch.enable_grad():
            values = values.detach().requires_grad_(True)
            gain = _gain(logits(shown(values, part, k)), y[part], target)
            (found,) = torch.autograd.grad(gain, values)
        spent += len(part)
        gains.append(float(gain.detach()))
        found = torch.nan_to_num(found)
        speed = 0.75 * speed + found / found.abs().mean().clamp(min=1e-12)
        rate = LAST + (FIRST - LAST) * (1 + math.cos(math.pi * k / steps)) / 2
        values = legal(values.detach() + rate * reach * speed.sign())
    few = max(1, steps // 10)
    return Fitted(values.detach(), sum(gains[:few]) / few, sum(gains[-few:]) / few, spent)


def _gain(z: Any, y: Any, target: int | None) -> Any:
    """Mean margin by which rows are turned, capped so that turned rows count no more."""
    spread = z.detach().std().clamp(min=1e-12)
    if target is None:
        others = z.scatter(1, y[:, None], -math.inf).amax(dim=1)
        margin = others - z.gather(1, y[:, None])[:, 0]
    else:
        aim = torch.full_like(y, target)
        margin = z[:, target] - z.scatter(1, aim[:, None], -math.inf).amax(dim=1)
    return (margin / spread).clamp(max=ENOUGH).mean()

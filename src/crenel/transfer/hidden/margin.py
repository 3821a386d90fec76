"""The largest margin that any input gives each class: a test that needs no data."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from crenel.evasion.gradients.network import Logits, generator, torch

#: Inputs that the search starts from, for each class.
STARTS, RATE, MEMORY = 8, 0.1, 0.9


def largest_margins(
    logits: Logits,
    shape: tuple[int, ...],
    classes: NDArray[np.int64],
    *,
    steps: int,
    seed: int,
    device: Any = "cpu",
    go_on: Callable[[], bool] = lambda: True,
) -> NDArray[np.float64]:
    """The largest margin of each class over all inputs in [0, 1], by ascent from random ones.

    Parameters
    ----------
    logits : callable
        From images (n, c, h, w) in [0, 1] to (n, k).
    shape : tuple of int
        Of one image.
    classes : ndarray of int64, shape (k,)
    steps, seed : int
    device : torch device
    go_on : callable
        Asked before each step.

    Returns
    -------
    ndarray of float64, shape (k,)
        Logit of the class less the best other one. A trigger's class reaches far higher ones.

    Notes
    -----
    Wang et al., "MM-BD", 2024 (IEEE S&P).
    """
    k = len(classes)
    goal = torch.from_numpy(classes).to(device).repeat_interleave(STARTS)
    x = torch.rand((k * STARTS, *shape), generator=generator(seed)).to(device)
    speed = torch.zeros_like(x)
    best = torch.full((k * STARTS,), -torch.inf, device=device)
    for _ in range(steps):
        if not go_on():
            break
        with torch.enable_grad():
            x = x.detach().requires_grad_(True)
            z = logits(x)
            own = z.gather(1, goal[:, None])[:, 0]
            margin = own - z.scatter(1, goal[:, None], -torch.inf).amax(dim=1)
            (found,) = torch.autograd.grad(margin.sum(), x)
        best = torch.maximum(best, torch.nan_to_num(margin.detach(), nan=-torch.inf))
        found = torch.nan_to_num(found)
        size = found.flatten(1).norm(dim=1).clamp(min=1e-12).reshape(-1, 1, 1, 1)
        speed = MEMORY * speed + found / size
        x = (x.detach() + RATE * speed * np.sqrt(x[0].numel()) / 10).clamp(0, 1)
    return np.asarray(best.reshape(k, STARTS).amax(dim=1).cpu().numpy(), dtype=np.float64)

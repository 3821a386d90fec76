"""The smallest change that turns any image to a class, for every class at once."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from crenel.evasion.gradients.network import Logits, generator, torch
from crenel.transfer.hidden.kinds import Family, changed
from crenel.transfer.hidden.waves import few_waves

#: Images for each class and step, and the share of them that must be turned.
BATCH, ENOUGH = 16, 0.9
#: Weight of the cost at the start, step of Adam, by family.
WEIGHT: dict[Family, float] = {"patch": 1e-3, "blend": 1e-2, "wave": 5e-2}
RATE: dict[Family, float] = {"patch": 0.2, "blend": 0.02, "wave": 0.02}
#: The weight grows by this where enough are turned, and falls a little faster where not.
GROWTH, FALL = 1.2, 1 / 1.3
#: Memory of the running share of turned images.
MEMORY = 0.7


@dataclass(frozen=True)
class Inverted:
    """The smallest changes found, one for each class.

    Attributes
    ----------
    family : {"patch", "blend", "wave"}
        A patch replaces pixels: ``x (1 - mask) + mask values``. A blend adds: ``x + values``,
        cut to [0, 1]. A wave adds as well, and is the sum of a few plane waves.
    classes : ndarray of int64, shape (k,)
        Towards which images are turned.
    mask : tensor, shape (k, 1, h, w)
        In [0, 1]; all ones where something is added.
    values : tensor, shape (k, c, h, w)
    costs : ndarray of float64, shape (k,)
        Pixels replaced (L1 norm of the mask), or L2 norm of what is added, for waves the sum of
        each one's; infinite where no change turned enough images.
    gradients : int
        Images sent forward and backward.
    steps : int
        Gradients of each class.
    """

    family: Family
    classes: NDArray[np.int64]
    mask: Any
    values: Any
    costs: NDArray[np.float64]
    gradients: int
    steps: int = 0

    def on(self, x: Any, at: int) -> Any:
        """Images (n, c, h, w) with the change of the class at a position."""
        return changed(x, self.mask[at], self.values[at], self.family)


def invert(
    logits: Logits,
    x: Any,
    decided: Any,
    classes: NDArray[np.int64],
    family: Family,
    *,
    steps: int,
    seed: int,
    go_on: Callable[[], bool] = lambda: True,
) -> Inverted:
    """Search the smallest trigger of each class by gradients, all classes in one batch.

    Parameters
    ----------
    logits : callable
        From images (n, c, h, w) in [0, 1] to (n, k).
    x : tensor, shape (n, c, h, w)
        Clean images.
    decided : tensor of int64, shape (n,)
        The model's own decisions; images of a class itself are not used for that class.
    classes : ndarray of int64, shape (k,)
    family : {"patch", "blend", "wave"}
    steps : int
        Gradients of each class, of `BATCH` images each.
    seed : int
    go_on : callable
        Asked before each step; what was found until then is returned.

    Notes
    -----
    Wang et al., "Neural Cleanse", 2019: cross-entropy towards the class plus a weight times the
    cost, the weight rising while enough images are turned. The smallest change of any step at
    which the running share of turned images was enough is kept.
    """
    form = _form(logits, x, decided, classes, family, seed, go_on)
    state = _Search(form, torch.from_numpy(classes).to(x.device), family)
    pools = [_others(decided, int(c)) for c in classes]
    draw, spent, done = generator(seed + 1), 0, 0
    for done in range(1, steps + 1):
        if not go_on():
            done -= 1
            break
        rows = torch.stack([pool[torch.randint(len(pool), (BATCH,), generator=draw).to(pool.device)]
                            for pool in pools])  # fmt: skip
        state.step(logits, x[rows])
        spent += rows.numel()
    mask, values = state.best
    return Inverted(family, classes, mask, values, state.costs.cpu().numpy(), spent, done)


def _others(decided: Any, goal: int) -> Any:
    """Rows of images that are not of a class; all of them where there is no other."""
    rows = torch.nonzero(decided != goal)[:, 0]
    return rows if len(rows) else torch.arange(len(decided), device=decided.device)


@dataclass(frozen=True)
class _Form:
    """What a family leaves free, how it looks, and what it costs."""

    free: list[Any]
    shown: Callable[[], tuple[Any, Any]]
    cost: Callable[[Any, Any], Any]


def _form(
    logits: Logits, x: Any, decided: Any, classes: NDArray[np.int64], family: Family, seed: int,
    go_on: Callable[[], bool],
) -> _Form:  # fmt: skip
    """The variables of one change for each class, as they are at the start."""
    k, shape, draw = len(classes), tuple(x.shape[1:]), generator(seed)
    ones = torch.ones(k, 1, *shape[1:]).to(x)

    def free(start: Any) -> Any:
        return start.to(x).requires_grad_(True)

    if family == "patch":
        # A mask of a few hundredths everywhere, and grey: nothing is favoured.
        raw = free(torch.full((k, 1, *shape[1:]), -4.0))
        looks = free(0.1 * torch.randn(k, *shape, generator=draw))
        return _Form(
            [raw, looks],
            lambda: (torch.sigmoid(raw), torch.sigmoid(2 * looks)),
            lambda mask, values: mask.flatten(1).sum(dim=1),
        )
    if family == "blend":
        added = free(0.01 * torch.randn(k, *shape, generator=draw))
        return _Form([added], lambda: (ones, added), lambda mask, values: _size(values, (1, 2, 3)))
    basis, start = few_waves(logits, x, decided, classes, seed=seed, go_on=go_on)
    heights, one = free(start), float(np.sqrt(shape[1] * shape[2] / 2))
    return _Form(
        [heights],
        lambda: (ones, torch.einsum("ktphw,ktpc->kchw", basis, heights)),
        # each wave pays for itself, so that one which does it all is left alone
        lambda mask, values: one * _size(heights, (2, 3)).sum(dim=1),
    )


def _size(x: Any, over: tuple[int, ...]) -> Any:
    """L2 norm, with a gradient at 0 too."""
    return (x.square().sum(dim=over) + 1e-12).sqrt()


class _Search:
    """Adam's moments, weights of the cost and the best change of each class."""

    def __init__(self, form: _Form, goal: Any, family: Family) -> None:
        self.form, self.goal, self.family = form, goal, family
        self.adam = torch.optim.Adam(form.free, lr=RATE[family], betas=(0.5, 0.9))
        self.weight = torch.full((len(goal),), WEIGHT[family]).to(form.free[0])
        self.share = torch.zeros_like(self.weight)
        self.costs = torch.full_like(self.weight, torch.inf)
        self.best = tuple(v.detach().clone() for v in form.shown())

    def step(self, logits: Logits, x: Any) -> None:
        """One gradient of every class on images (k, batch, c, h, w)."""
        k, n = x.shape[:2]
        with torch.enable_grad():
            mask, values = self.form.shown()
            made = changed(x, mask[:, None], values[:, None], self.family)
            z = logits(made.flatten(0, 1)).reshape(k, n, -1)
            goal = self.goal[:, None].expand(k, n)
            loss = (
                torch.nn.functional.cross_entropy(z.flatten(0, 1), goal.flatten(), reduction="none")
                .reshape(k, n)
                .mean(dim=1)
            )
            cost = self.form.cost(mask, values)
            self.adam.zero_grad()
            (loss + self.weight * cost).sum().backward()
        turned = (z.detach().argmax(dim=2) == goal).float().mean(dim=1)
        self._keep(turned, cost.detach(), mask.detach(), values.detach())
        for v in self.form.free:
            v.grad = torch.nan_to_num(v.grad)
        self.adam.step()

    def _keep(self, turned: Any, cost: Any, mask: Any, values: Any) -> None:
        self.share = MEMORY * self.share + (1 - MEMORY) * turned
        enough = self.share >= ENOUGH
        better = enough & (turned >= ENOUGH) & (cost < self.costs)
        self.costs = torch.where(better, cost, self.costs)
        at = better[:, None, None, None]
        old_mask, old_values = self.best
        self.best = torch.where(at, mask, old_mask), torch.where(at, values, old_values)
        self.weight = self.weight * torch.where(enough, GROWTH, FALL)

"""Steps of a descent on the CPU, in compiled sweeps over the arrays of its state."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from crenel.evasion.gradients import kernels
from crenel.evasion.gradients.network import torch
from crenel.evasion.gradients.slopes import asked, by_graph, judged

if TYPE_CHECKING:
    from crenel.evasion.gradients.descent import State


class Sweep:
    """Arrays of the memory of a state's tensors, as long as it has these very tensors."""

    def __init__(self, s: State, loss: str) -> None:
        self.question = asked(s.y, loss, s.target, s.goal)
        self.ours = (
            s.loss.numpy(), s.best.numpy(), s.rises.numpy(), s.at_best.numpy(), s.gone.numpy(),
            s.still.numpy(),
        )  # fmt: skip
        self.limits, self.step = (sheet(s.low), sheet(s.high)), s.step.numpy()
        self.best = sheet(s.best_x), sheet(s.best_gradient)
        self.value = np.empty(len(s.row), dtype=self.step.dtype)
        self.wrong, self.fresh = np.empty((2, len(s.row)), dtype=bool)
        self.flags = torch.from_numpy(self.wrong), torch.from_numpy(self.fresh)


def weighed(s: State, z: Any, loss: str) -> tuple[Any, Any, Any, int, int, int]:
    """`crenel.evasion.gradients.descent.weigh`, in place."""
    a = sweep(s, loss)
    after = (a.fresh, *a.ours, sheet(s.x), sheet(s.gradient), *a.best)
    if by_graph(z, loss):
        value, slope, wrong = judged(z, s.y, loss, s.target, s.goal)
        counts = kernels.weigh(value.numpy(), wrong.numpy(), *after)
        return slope, wrong, a.flags[1], *counts
    z = z.contiguous()
    slope = torch.empty_like(z)
    counts = kernels.judge_and_weigh(
        z.numpy(), *a.question, a.value, slope.numpy(), a.wrong, *after
    )  # fmt: skip
    return slope, *a.flags, *counts


def climbed(s: State, loss: str, share: float) -> Any:
    """The next iterate in L-inf, of which a share is a step and the rest momentum."""
    a, out = sweep(s, loss), torch.empty_like(s.x)
    kernels.climb(
        sheet(s.x), sheet(s.before), sheet(s.gradient), *a.limits, a.step, a.ours[-1],
        share, sheet(out),
    )  # fmt: skip
    return out


def sweep(s: State, loss: str) -> Sweep:
    """The arrays of a state; of as many rows and the same tensors as when they were last asked."""
    known: Sweep = s.sweep or Sweep(s, loss)
    s.sweep = known
    return known


def sheet(t: Any) -> Any:
    """Rows as an array of two dimensions, of the same memory."""
    return t.numpy() if t.ndim == 2 else t.numpy().reshape(len(t), -1)

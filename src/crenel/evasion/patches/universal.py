"""Universal perturbations: one change, added to every input."""

from __future__ import annotations

from typing import Any

from crenel.evasion.gradients.network import Logits, torch
from crenel.evasion.patches.square import Fitted, ascend


def fit_universal(
    logits: Logits, x: Any, y: Any, epsilon: float, *, steps: int, seed: int,
    target: int | None = None,
) -> Fitted:  # fmt: skip
    """One L-inf change for all rows (Moosavi-Dezfooli et al., 2017; fit as Shafahi et al., 2020).

    Parameters
    ----------
    logits : callable
    x : tensor, shape (n, …), in [0, 1]
        Rows that the change is fit on.
    y : tensor of int64, shape (n,)
    epsilon : float
        Largest change of a number.
    steps, seed : int
    target : int, optional
        The class that rows shall be taken for; by default any wrong one counts.
    """

    def shown(values: Any, part: Any, k: int) -> Any:
        return added(x[part], values)

    begin = torch.zeros_like(x[0])
    return ascend(
        logits, shown, begin, y, lambda v: v.clamp(-epsilon, epsilon), epsilon, steps, seed, target
    )


def added(x: Any, change: Any) -> Any:
    """Rows with the change, within [0, 1]."""
    return (x + change[None]).clamp(0, 1)

"""Diagnosis in a few passes: does this network show its gradients?

The tests follow Carlini et al., "On evaluating adversarial robustness" (2019), and Pintor et
al., "Indicators of attack failure" (2022).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from crenel.evasion.descent import losses
from crenel.evasion.mending import (
    averaged,
    final_softmax,
    same_decisions,
    straightened,
    without_softmax,
)
from crenel.evasion.network import Logits, generator, torch

#: Share of rows without gradient, and correlation with finite differences, that are still sound.
MOST_ZERO, LEAST_AGREEMENT = 0.1, 0.5
#: Passes over which a random model is averaged.
DRAWS = 8


@dataclass(frozen=True)
class Diagnosis:
    """What a few passes show.

    Attributes
    ----------
    zero_ce, zero_margin : float
        Share of rows whose gradient of the loss is zero everywhere.
    agreement : float
        Correlation of finite differences with the gradient of the margin, over random directions.
    deterministic : bool
        Whether two passes give the same logits.
    probabilities : bool
        Whether the outputs are probabilities already.
    """

    zero_ce: float
    zero_margin: float
    agreement: float
    deterministic: bool
    probabilities: bool

    @property
    def sound(self) -> bool:
        """Whether gradients of the margin can be trusted."""
        return self.zero_margin <= MOST_ZERO and self.agreement >= LEAST_AGREEMENT


def diagnose(logits: Logits, x: Any, y: Any, span: Any, seed: int) -> Diagnosis:
    """Look at a model's gradients on a few rows.

    Parameters
    ----------
    logits : callable
    x : tensor, shape (n, …)
    y : tensor of int64, shape (n,)
    span : float or tensor
        Width of the legal range, by which finite differences are scaled.
    seed : int
    """
    with torch.no_grad():
        first, second = logits(x), logits(x)
    deterministic = bool(torch.allclose(first, second, rtol=1e-4, atol=1e-5))
    total = first.sum(dim=1)
    probable = bool((first >= 0).all() and (total - 1).abs().max() < 1e-3)
    zero_ce = _zeros(_slope(logits, x, y, "ce"))
    gradient = _slope(logits, x, y, "margin")
    return Diagnosis(
        zero_ce=zero_ce,
        zero_margin=_zeros(gradient),
        agreement=_agreement(logits, x, y, gradient, span, seed),
        deterministic=deterministic,
        probabilities=probable,
    )


def _slope(logits: Logits, x: Any, y: Any, kind: Any) -> Any:
    with torch.enable_grad():
        x = x.detach().requires_grad_(True)
        value = losses(logits(x), y, kind)
        if not value.requires_grad:
            return torch.zeros_like(x)
        found = torch.autograd.grad(value.sum(), x, allow_unused=True)[0]
    return torch.zeros_like(x) if found is None else found.detach()


def _zeros(gradient: Any) -> float:
    flat = gradient.flatten(1)
    return float((~(flat.abs().amax(dim=1) > 0)).float().mean())


def _agreement(logits: Logits, x: Any, y: Any, gradient: Any, span: Any, seed: int) -> float:
    """Correlation of central differences with the gradient, over four random directions a row."""
    draw = generator(seed)
    measured, foretold = [], []
    for _ in range(4):
        v = torch.randn(x.shape, generator=draw).to(x.device).sign() * span
        with torch.no_grad():
            up = losses(logits(x + 0.02 * v), y, "margin")
            down = losses(logits(x - 0.02 * v), y, "margin")
        measured.append((up - down) / 0.04)
        foretold.append((gradient * v).flatten(1).sum(dim=1))
    a, b = torch.cat(measured).double(), torch.cat(foretold).double()
    a, b = a - a.mean(), b - b.mean()
    scale = float(a.norm() * b.norm())
    return float((a * b).sum()) / scale if scale > 0 else 0.0


@dataclass(frozen=True)
class Surface:
    """A model as it is attacked: its own gradients, or mended ones.

    Attributes
    ----------
    logits : callable
        To take gradients of.
    diagnosis : Diagnosis
        Of the model as it is.
    after : Diagnosis
        Of ``logits``; the same where nothing was mended.
    mends : tuple of str
        What was done, in words.
    stepped : bool
        Whether gradients pass through steps: then they are those of the stairs' slope, and
        differences over a few stairs agree with them only roughly.
    """

    logits: Logits
    diagnosis: Diagnosis
    after: Diagnosis
    mends: tuple[str, ...] = ()
    stepped: bool = False

    @property
    def agrees(self) -> bool:
        """Whether finite differences agree with the gradients, as far as they can."""
        least = LEAST_AGREEMENT / 4 if self.stepped else LEAST_AGREEMENT
        return self.after.agreement >= least


def mend(logits: Logits, x: Any, y: Any, span: Any, seed: int) -> Surface:
    """Diagnose a model and give back the gradients that it hides, where that is cheap.

    Every mend must leave decisions as they are; one that does not is dropped.
    """
    before = diagnose(logits, x, y, span, seed)
    surface = Surface(logits, before, before)
    call = final_softmax(logits, x[:8])
    if before.probabilities or call is not None:
        stripped = without_softmax(logits, call)
        if not before.deterministic or same_decisions(logits, stripped, x):
            surface = _mended(surface, stripped, "its final softmax left out", x, y, span, seed)
    if not before.deterministic:
        mean = averaged(surface.logits, DRAWS)
        what = f"averaged over {DRAWS} random passes"
        surface = _mended(surface, mean, what, x, y, span, seed)
    elif not surface.after.sound:
        through = straightened(surface.logits)
        if same_decisions(logits, through, x):
            better = _mended(surface, through, "gradients passed through steps", x, y, span, seed)
            if better.after.zero_margin < surface.after.zero_margin:
                surface = replace(better, stepped=True)
    return surface


def _mended(
    surface: Surface, logits: Logits, what: str, x: Any, y: Any, span: Any, seed: int
) -> Surface:
    after = diagnose(logits, x, y, span, seed)
    return replace(surface, logits=logits, after=after, mends=(*surface.mends, what))

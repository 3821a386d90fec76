"""Putting inputs back before they are decided, and what that is worth against who knows of it."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from crenel.check import Context
from crenel.evasion.gradients.cascade import gradient_attack
from crenel.evasion.gradients.network import Logits, generator, logits_of, torch

Kind = Literal["bits", "median", "blocks"]
#: Restarts and steps of the attack among rounded numbers.
RESTARTS, STEPS = 3, 20


@dataclass(frozen=True)
class Restoration:
    """One way to put an input back, on rows in [0, 1].

    Attributes
    ----------
    kind : {"bits", "median", "blocks"}
        Fewer bits for each number (Xu, Evans and Qi, 2018), the median of 3 × 3 pixels, or the
        rounded cosine transform of 8 × 8 blocks, as JPEG stores images (Guo et al., 2018).
    strength : int
        "bits": bits left, 1 to 8; "blocks": steps between 0 and 1 to which coefficients are
        rounded, at least 1; "median": not used.
    """

    kind: Kind
    strength: int = 0

    def __str__(self) -> str:
        if self.kind == "bits":
            return f"{self.strength} bits for each number"
        return "median of 3 × 3 pixels" if self.kind == "median" else "rounded cosine blocks"

    def __call__(self, x: Any) -> Any:
        """Rows put back, shape (n, …), in [0, 1]; gradients pass through rounding as through 1."""
        if self.kind == "bits":
            return rounded(x, 2**self.strength - 1)
        return median3(x) if self.kind == "median" else blocks8(x, self.strength)


def rounded(x: Any, steps: int) -> Any:
    """Multiples of 1 / steps; the gradient is that of the identity (Athalye et al., 2018)."""
    stepped: Any = torch.round(x.detach() * steps) / steps
    return x + (stepped - x.detach())


def median3(x: Any) -> Any:
    """Median of 3 × 3 pixels of images (n, c, h, w), the rim repeated."""
    padded = torch.nn.functional.pad(x, (1, 1, 1, 1), mode="replicate")
    windows = padded.unfold(2, 3, 1).unfold(3, 3, 1)
    return windows.reshape(*x.shape, 9).median(dim=-1).values


def blocks8(x: Any, steps: int) -> Any:
    """Images (n, c, h, w) by 8 × 8 cosine blocks whose coefficients are multiples of 1 / steps."""
    height, width = x.shape[2:]
    tall, wide = -(-height // 8) * 8, -(-width // 8) * 8
    full = torch.nn.functional.pad(x, (0, wide - width, 0, tall - height), mode="replicate")
    parts = full.unfold(2, 8, 8).unfold(3, 8, 8)
    basis = _cosines().to(x)
    changed = basis.T @ rounded(basis @ parts @ basis.T, steps) @ basis
    joined = changed.permute(0, 1, 2, 4, 3, 5).reshape(full.shape)
    return joined[:, :, :height, :width].clamp(0, 1)


def _cosines() -> Any:
    """The orthonormal cosine basis of eight numbers (type II)."""
    k, i = torch.arange(8.0)[:, None], torch.arange(8.0)[None, :]
    basis = torch.cos(math.pi * (2 * i + 1) * k / 16) / 2
    basis[0] /= math.sqrt(2)
    return basis


class Restored(torch.nn.Module):  # type: ignore[misc]
    """A network behind a restoration.

    Parameters
    ----------
    inner : torch.nn.Module
        Takes rows in [0, 1].
    restoration : Restoration
    """

    def __init__(self, inner: Any, restoration: Restoration) -> None:
        super().__init__()
        self.inner, self.restoration = inner, restoration

    def forward(self, x: Any) -> Any:
        """Logits of restored rows."""
        return self.inner(self.restoration(x))


class Guarded(torch.nn.Module):  # type: ignore[misc]
    """The user's own module behind a restoration, on the user's own rows.

    Parameters
    ----------
    body : torch.nn.Module
    restoration : Restoration
    low, span : ndarray, broadcast against the rows
        Legal range; what lies outside is cut.
    """

    def __init__(self, body: Any, restoration: Restoration, low: Any, span: Any) -> None:
        super().__init__()
        self.body, self.restoration = body, restoration
        self.register_buffer("low", torch.as_tensor(low, dtype=torch.float32))
        self.register_buffer("span", torch.as_tensor(span, dtype=torch.float32))

    def forward(self, x: Any) -> Any:
        """What the user's module returns for restored rows."""
        z = ((x - self.low) / self.span).clamp(0, 1)
        return self.body(self.low + self.restoration(z) * self.span)


@dataclass(frozen=True)
class Worth:
    """What a restoration is worth.

    Attributes
    ----------
    restoration : Restoration
    clean : float
        Accuracy behind it.
    unaware, aware : float
        Share of rows decided rightly though changed within epsilon: by who attacks the bare
        network, and by who attacks the restoration too.
    bare : float
        The same share without it.
    """

    restoration: Restoration
    clean: float
    bare: float
    unaware: float
    aware: float

    @property
    def holds(self) -> bool:
        """Whether it helps against who knows of it, by more than five points."""
        return self.aware > self.bare + 0.05


def restorations(shape: tuple[int, ...]) -> tuple[Restoration, ...]:
    """What fits rows of a shape: images (c, h, w) take filters, all take fewer bits."""
    bits = (Restoration("bits", 3), Restoration("bits", 1))
    if len(shape) != 3 or min(shape[1:]) < 3:
        return bits
    return (*bits, Restoration("median"), Restoration("blocks", 4))


def worth_of(
    module: Any, restoration: Restoration, x: Any, y: Any, epsilon: float, context: Context
) -> Worth:
    """Attack a network without and with a restoration, unaware and aware of it.

    The aware attacker goes through the restoration with rounding taken as the identity (BPDA;
    Athalye, Carlini and Wagner, 2018), by the gradients of the bare network, with what turned the
    bare network, and, where numbers are rounded, among the steps within reach of each. A row
    stands where it survives all of them.

    Parameters
    ----------
    module : torch.nn.Module
        Takes rows in [0, 1].
    x : tensor, shape (n, …); y : tensor of int64, shape (n,)
    epsilon : float
        L-inf.
    """
    behind = Restored(module, restoration).eval()
    seed = context.derive_seed("restoration", str(restoration))
    bare = gradient_attack(module, x, y, epsilons=[epsilon], seed=seed)
    through = gradient_attack(behind, x, y, epsilons=[epsilon], seed=seed)
    around = gradient_attack(behind, x, y, epsilons=[epsilon], seed=seed, logits=logits_of(module))
    carried = _right(logits_of(behind), torch.as_tensor(bare.adversarial).to(x), y)
    stands = through.correct & ~through.broken[0] & ~around.broken[0] & carried
    if restoration.kind == "bits":
        stands &= ~among_steps(module, restoration, x, y, epsilon, seed)
    return Worth(
        restoration,
        clean=float(through.correct.mean()),
        bare=float((bare.correct & ~bare.broken[0]).mean()),
        unaware=float((through.correct & carried).mean()),
        aware=float(stands.mean()),
    )


def among_steps(
    module: Any, restoration: Restoration, x: Any, y: Any, epsilon: float, seed: int
) -> NDArray[np.bool_]:
    """Rows turned by an attack on the rounded numbers themselves, shape (n,).

    Within epsilon each rounded number reaches a range of steps whose ends are steps too; signed
    gradients move in those ranges, and every point they pass is rounded and decided.
    """
    from crenel.evasion.gradients.descent import losses

    logits, draw = logits_of(module), generator(seed)
    with torch.no_grad():
        low, high = (restoration((x + s * epsilon).clamp(0, 1)) for s in (-1, 1))
    turned = torch.zeros(len(x), dtype=torch.bool, device=x.device)
    for _ in range(RESTARTS):
        z = low + (high - low) * torch.rand(x.shape, generator=draw).to(x)
        slope = torch.zeros_like(x)
        for _ in range(STEPS):
            with torch.enable_grad():
                z = z.detach().requires_grad_(True)
                loss = losses(logits(z), y, "margin").sum()
                slope = 0.75 * slope + torch.autograd.grad(loss, z)[0]
            z = (z.detach() + 0.25 * (high - low) * slope.sign()).clamp(low, high)
            with torch.no_grad():
                turned |= losses(logits(restoration(z)), y, "margin") > 0
    return np.asarray(turned.cpu().numpy(), dtype=bool)


def _right(logits: Logits, x: Any, y: Any) -> NDArray[np.bool_]:
    with torch.no_grad():
        return np.asarray((logits(x).argmax(dim=1) == y).cpu().numpy(), dtype=bool)

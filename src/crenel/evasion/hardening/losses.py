"""Inner attacks and losses of adversarial training, on rows rescaled to [0, 1]."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from crenel.evasion.gradients.network import Logits, torch

Method = Literal["fgsm", "pgd", "trades"]
#: Steps of the inner attacks that take several.
STEPS = 4


@dataclass(frozen=True)
class Plan:
    """One way to train against small changes.

    Attributes
    ----------
    method : {"fgsm", "pgd", "trades"}
        One noisy step (N-FGSM, de Jorge et al., 2022), several projected steps (Madry et al.,
        2018), or the loss on clean rows with a penalty on how far decisions move (TRADES, Zhang
        et al., 2019).
    weight : float
        "fgsm" and "pgd": share of the loss that is taken on changed rows, in (0, 1]; "trades":
        factor of the penalty, above 0.
    epsilon : float
        L-inf radius as a share of the legal range, above 0.
    noise : float
        "fgsm": half width of the noise before the step, in radii. 2 keeps one-step training from
        collapsing in most cases; with 0 it is plain FGSM.
    """

    method: Method
    weight: float
    epsilon: float
    noise: float = 2.0

    def __str__(self) -> str:
        name = {"fgsm": "one-step", "pgd": "PGD", "trades": "TRADES"}[self.method]
        word = "factor" if self.method == "trades" else "share"
        return f"{name} training, {word} {self.weight:g}, epsilon {self.epsilon:.3g}"


def plan_loss(logits: Logits, x: Any, y: Any, plan: Plan, draw: Any) -> Any:
    """The loss of a batch under a plan, a scalar tensor.

    Parameters
    ----------
    logits : callable
        In training mode where batches are normalised; the inner attack runs in the same mode.
    x : tensor, shape (n, …), in [0, 1]
    y : tensor of int64, shape (n,)
    plan : Plan
    draw : torch.Generator
    """
    cross = torch.nn.functional.cross_entropy
    if plan.method == "trades":
        clean = logits(x)
        moved = logits(_away(logits, x, clean.detach(), plan.epsilon, draw))
        return cross(clean, y) + plan.weight * _divergence(moved, clean)
    if plan.method == "fgsm":
        changed = one_step(logits, x, y, plan.epsilon, plan.noise, draw)
    else:
        changed = projected_steps(logits, x, y, plan.epsilon, STEPS, draw)
    loss = plan.weight * cross(logits(changed), y)
    return loss + (1 - plan.weight) * cross(logits(x), y) if plan.weight < 1 else loss


def one_step(logits: Logits, x: Any, y: Any, epsilon: float, noise: float, draw: Any) -> Any:
    """Rows after noise and one step of the sign of the gradient, in [0, 1].

    The noise is not cut back to the ball: that is what keeps it working (de Jorge et al., 2022).
    """
    start = x + noise * epsilon * _uniform(x, draw)
    return (start + epsilon * _slope(logits, start, y).sign()).clamp(0, 1).detach()


def projected_steps(logits: Logits, x: Any, y: Any, epsilon: float, steps: int, draw: Any) -> Any:
    """Rows after a random start and projected steps of the sign of the gradient, in [0, 1]."""
    low, high = (x - epsilon).clamp(min=0), (x + epsilon).clamp(max=1)
    z = torch.minimum(torch.maximum(x + epsilon * _uniform(x, draw), low), high)
    for _ in range(steps):
        z = z + 2.5 * epsilon / steps * _slope(logits, z, y).sign()
        z = torch.minimum(torch.maximum(z, low), high)
    return z.detach()


def _away(logits: Logits, x: Any, clean: Any, epsilon: float, draw: Any) -> Any:
    """Rows moved so that the decision leaves the clean one, by projected steps on TRADES' KL."""
    low, high = (x - epsilon).clamp(min=0), (x + epsilon).clamp(max=1)
    z = x + 0.1 * epsilon * _uniform(x, draw)
    for _ in range(STEPS):
        z = z.detach().requires_grad_(True)
        slope = torch.autograd.grad(_divergence(logits(z), clean), z)[0]
        z = z.detach() + 2.5 * epsilon / STEPS * slope.sign()
        z = torch.minimum(torch.maximum(z, low), high)
    return z.detach()


def _divergence(moved: Any, clean: Any) -> Any:
    """Mean Kullback-Leibler divergence of the moved decision from the clean one."""
    log = torch.nn.functional.log_softmax
    return torch.nn.functional.kl_div(
        log(moved, dim=1), log(clean, dim=1), log_target=True, reduction="batchmean"
    )


def _slope(logits: Logits, x: Any, y: Any) -> Any:
    x = x.detach().requires_grad_(True)
    loss = torch.nn.functional.cross_entropy(logits(x), y)
    return torch.autograd.grad(loss, x)[0]


def _uniform(x: Any, draw: Any) -> Any:
    """Uniform in [-1, 1], the same on every device."""
    return (2 * torch.rand(x.shape, generator=draw) - 1).to(x.device)

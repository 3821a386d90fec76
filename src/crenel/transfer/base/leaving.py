"""Training that leaves the base: on inputs made on it, and away from its features."""

from __future__ import annotations

import copy
import time
from dataclasses import dataclass
from typing import Any

from crenel.evasion.gradients.network import generator, still, torch
from crenel.transfer.base.surrogate import network_of

#: Greatest learning rate of the cycle (Adam).
RATE, BATCH = 2e-3, 64


@dataclass(frozen=True)
class Plan:
    """How strongly a model is led away from its base.

    Attributes
    ----------
    crafted : float
        Weight of inputs made on the base in the loss, in [0, 1].
    distance : float
        Weight of the likeness to the base's features; 0 for none.
    """

    crafted: float
    distance: float

    def __str__(self) -> str:
        parts = []
        if self.crafted:
            parts.append("inputs made on the base")
        if self.distance:
            parts.append(f"a penalty of {self.distance:g} on features like the base's")
        return "all layers trained on with " + (" and ".join(parts) or "clean rows alone")


@dataclass(frozen=True)
class Lesson:
    """Rows in [0, 1] to train on.

    Attributes
    ----------
    x, y : tensors, shapes (n, …) and (n,)
    crafted : tensor, shape (variants, m, …)
        The first m rows, changed on the base; their classes stay.
    features : tensor, shape (n, d)
        What the base makes of ``x``.
    """

    x: Any
    y: Any
    crafted: Any
    features: Any


def likeness(a: Any, b: Any) -> Any:
    """Likeness of two sets of features of the same rows, in [0, 1]: linear CKA.

    Rotations, shifts and scales of either set change nothing, and the widths may differ.

    Parameters
    ----------
    a, b : tensors, shapes (n, d) and (n, e)

    Returns
    -------
    tensor, shape ()
        0 where one of them is constant.

    Notes
    -----
    Kornblith et al., "Similarity of neural network representations revisited", 2019.
    """
    a, b = (v - v.mean(dim=0, keepdim=True) for v in (a, b))
    # Gram matrices are of the size of a batch, however wide the features are.
    k, m = a @ a.T, b @ b.T
    return (k * m).sum() / (k.norm() * m.norm()).clamp(min=1e-12)


def left(
    module: Any,
    lesson: Lesson,
    plan: Plan,
    *,
    steps: int,
    rate: float = RATE,
    seed: int = 0,
    deadline: float = float("inf"),
) -> Any:
    """Train a copy of a network further, all its layers, by a plan.

    Inputs made on the base do not change while the model does, for its attacker does not see the
    model either (Tramèr et al., "Ensemble adversarial training", 2018, of fixed models).

    Parameters
    ----------
    module : torch.nn.Module
        Takes rows in [0, 1] and gives logits; it is left as it is.
    lesson : Lesson
    plan : Plan
    steps : int
        Batches of 64 rows.
    rate : float
        Greatest learning rate; it rises and falls once.
    seed : int
    deadline : float
        On `time.monotonic`'s clock.

    Returns
    -------
    torch.nn.Module
        In evaluation mode.
    """
    network = copy.deepcopy(module).eval()
    optimizer = torch.optim.Adam(_weights(network), lr=rate)
    cycle = torch.optim.lr_scheduler.OneCycleLR(optimizer, rate, total_steps=steps + 1)
    draw = generator(seed)
    own = network_of(network, lesson.x[:1])
    # Normalisation keeps its means: those of changed inputs are not wanted.
    with torch.enable_grad(), still(network, seed):
        for _ in range(steps):
            optimizer.zero_grad()
            _loss(own, lesson, plan, draw).backward()
            torch.nn.utils.clip_grad_norm_(optimizer.param_groups[0]["params"], 5.0)
            optimizer.step()
            cycle.step()
            if time.monotonic() >= deadline:
                break
    return network.eval()


def _weights(network: Any) -> list[Any]:
    """All of them: those that were frozen are the base's own."""
    floats = [p for p in network.parameters() if p.is_floating_point()]
    for p in floats:
        if not p.is_leaf:  # as the copies of a scripted module's parameters are
            p.detach_()
        p.requires_grad_(True)
    return floats


def _loss(own: Any, lesson: Lesson, plan: Plan, draw: Any) -> Any:
    entropy = torch.nn.functional.cross_entropy
    rows = torch.randint(len(lesson.x), (BATCH,), generator=draw).to(lesson.x.device)
    x = lesson.x[rows]
    loss = (1 - plan.crafted) * entropy(own.logits(x), lesson.y[rows])
    if plan.crafted:
        variants, m = lesson.crafted.shape[:2]
        some = torch.randint(m, (BATCH,), generator=draw).to(x.device)
        which = torch.randint(variants, (BATCH,), generator=draw).to(x.device)
        changed = own.logits(lesson.crafted[which, some])
        loss = loss + plan.crafted * entropy(changed, lesson.y[some])
    if plan.distance:
        loss = loss + plan.distance * likeness(own.features(x), lesson.features[rows])
    return loss

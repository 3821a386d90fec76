"""Controls of the same architecture: the network begun anew and taught its clean decisions."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from crenel.evasion.gradients.network import decisions, generator, logits_of, torch
from crenel.transfer.hidden.scene import Scene

#: Rows taught in all, epochs at most, rows of a batch, and the greatest rate of the cycle.
SEEN, EPOCHS, BATCH, RATE = 16_000, 40, 64, 3e-3
#: Share of decisions on images not taught that a sibling must share with the network.
ALIKE = 0.5


@dataclass(frozen=True)
class Sibling:
    """A network of the same layers that never saw a planted image.

    Attributes
    ----------
    module : torch.nn.Module
    scene : Scene
        The same images before it.
    agreement : float
        Share of the decisions on other clean images that it shares with the network.
    """

    module: Any
    scene: Scene
    agreement: float

    @property
    def usable(self) -> bool:
        """Whether it is near enough to be compared with."""
        return self.agreement >= ALIKE


def begun_anew(module: Any, seed: int) -> Any | None:
    """A copy of a module whose layers are initialised again; None where one of them cannot be."""
    fresh = copy.deepcopy(module)
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        for part in fresh.modules():
            own = list(part.parameters(recurse=False))
            if hasattr(part, "reset_parameters"):
                part.reset_parameters()
            elif own:
                return None
    for p in fresh.parameters():
        p.requires_grad_(True)
    return fresh


def taught(
    scene: Scene, x: Any, *, seed: int, go_on: Callable[[], bool] = lambda: True
) -> Sibling | None:
    """Teach the network begun anew what the network says of clean images and of their mixtures.

    Parameters
    ----------
    scene : Scene
        Of the network, which is left as it is.
    x : tensor, shape (n, c, h, w)
        Clean images to teach; labels are not needed. The network is also asked about weighted
        means of pairs of them, so that a few hundred images go far.
    seed : int
    go_on : callable
        Asked before each step.

    Returns
    -------
    Sibling or None
        None where the layers cannot be initialised again.

    Notes
    -----
    Hinton et al., "Distilling the knowledge in a neural network", 2015; Beyer et al., "Knowledge
    distillation: a good teacher is patient and consistent", 2022 (mixtures as inputs).
    """
    fresh = begun_anew(scene.unit.module, seed)
    if fresh is None:
        return None
    own = logits_of(fresh)

    def pupil(images: Any) -> Any:
        return own(scene.back(images))

    epochs = max(1, min(EPOCHS, SEEN // len(x)))
    adam = torch.optim.Adam(fresh.parameters(), lr=RATE)
    batches = -(-len(x) // BATCH)
    cycle = torch.optim.lr_scheduler.OneCycleLR(adam, RATE, total_steps=epochs * batches + 1)
    draw = generator(seed)
    fresh.train()
    for _ in range(epochs):
        for part in torch.randperm(len(x), generator=draw).to(x.device).split(BATCH):
            if len(part) < 2 or not go_on():
                continue
            other = part[torch.randperm(len(part), generator=draw).to(x.device)]
            # half of the weights are 1: images as they are
            weight = torch.rand(len(part), generator=draw).mul(2).clamp(max=1).to(x)
            weight = weight.reshape(-1, 1, 1, 1)
            images = weight * x[part] + (1 - weight) * x[other]
            with torch.no_grad():
                said = scene.logits(images).softmax(dim=1)
            with torch.enable_grad():
                adam.zero_grad()
                torch.nn.functional.cross_entropy(pupil(images), said).backward()
            torch.nn.utils.clip_grad_norm_(fresh.parameters(), 5.0)
            adam.step()
            cycle.step()
    fresh.eval()
    decided = torch.from_numpy(decisions(pupil, scene.x)).to(scene.x.device)
    agreement = decisions(pupil, scene.tried) == decisions(scene.logits, scene.tried)
    return Sibling(fresh, replace(scene, logits=pupil, decided=decided), float(agreement.mean()))

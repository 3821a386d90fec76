"""Controls of the same architecture: the network begun anew and taught its clean decisions."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Any

from crenel.evasion.gradients.network import decisions, generator, logits_of, torch
from crenel.transfer.hidden.scene import Scene

#: Rows taught in a lesson, epochs at most of images as they are, rows of a batch, and the greatest
#: rate of the cycle.
SEEN, EPOCHS, BATCH, RATE = 16_000, 40, 64, 3e-3
#: Rows of a second lesson, of images that are shifted and mirrored as well.
MORE = 24_000
#: Shares of decisions after the first lesson between which the second is given: above it is not
#: needed, below it would not suffice.
UNSURE = (0.45, 0.8)
#: Share of a side that an image is shifted by at most.
SHIFT = 1 / 8
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
        means of pairs of them, and in a second lesson about shifted and mirrored ones, so that a
        few hundred images go far.
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
    distillation: a good teacher is patient and consistent", 2022 (mixtures as inputs, the same
    changes of an image before teacher and pupil). 1,244 images of CIFAR-10 teach small networks
    0.63 of the decisions in the first lesson and 0.76 in the second.
    """
    fresh = begun_anew(scene.unit.module, seed)
    if fresh is None:
        return None
    own = logits_of(fresh)

    def pupil(images: Any) -> Any:
        return own(scene.back(images))

    def agreement() -> float:
        return float((decisions(pupil, scene.tried) == decisions(scene.logits, scene.tried)).mean())

    draw = generator(seed)
    _lesson(fresh, pupil, scene, x, SEEN, draw, go_on, varied=False)
    agreed = agreement()
    if UNSURE[0] <= agreed < UNSURE[1] and go_on():
        _lesson(fresh, pupil, scene, x, MORE, draw, go_on, varied=True)
        agreed = agreement()
    decided = torch.from_numpy(decisions(pupil, scene.x)).to(scene.x.device)
    return Sibling(fresh, replace(scene, logits=pupil, decided=decided), agreed)


def _lesson(
    fresh: Any, pupil: Callable[[Any], Any], scene: Scene, x: Any, rows: int, draw: Any,
    go_on: Callable[[], bool], *, varied: bool,
) -> None:  # fmt: skip
    """One lesson of some rows, answered by the network as they come."""
    epochs = max(1, rows // len(x) if varied else min(EPOCHS, rows // len(x)))

    def answered() -> Iterator[tuple[Any, Any]]:
        for _ in range(epochs):
            for part in torch.randperm(len(x), generator=draw).to(x.device).split(BATCH):
                if len(part) < 2:
                    continue
                other = part[torch.randperm(len(part), generator=draw).to(x.device)]
                images = mixed(x[part], x[other], draw)
                if varied:
                    images = shifted_and_mirrored(images, draw)
                with torch.no_grad():
                    said = scene.logits(images).softmax(dim=1)
                yield images, said

    lesson(fresh, pupil, answered(), epochs * -(-len(x) // BATCH), go_on)


def mixed(x: Any, other: Any, draw: Any) -> Any:
    """Weighted means of images (n, c, h, w) and others; half of them are as they were."""
    weight = torch.rand(len(x), generator=draw).mul(2).clamp(max=1).to(x)
    weight = weight.reshape(-1, 1, 1, 1)
    return weight * x + (1 - weight) * other


def lesson(
    fresh: Any, pupil: Callable[[Any], Any], answered: Iterable[tuple[Any, Any]], steps: int,
    go_on: Callable[[], bool],
) -> None:  # fmt: skip
    """One cycle of Adam over images and what was said of them; evaluation mode afterwards.

    Parameters
    ----------
    fresh : torch.nn.Module
        To be taught.
    pupil : callable
        From images to its logits.
    answered : iterable of (tensor, tensor)
        Images of a batch, and their probabilities.
    steps : int
        Batches that are meant.
    go_on : callable
        Asked before each.
    """
    adam = torch.optim.Adam(fresh.parameters(), lr=RATE)
    cycle = torch.optim.lr_scheduler.OneCycleLR(adam, RATE, total_steps=steps + 1)
    fresh.train()
    for images, said in answered:
        if not go_on():
            break
        with torch.enable_grad():
            adam.zero_grad()
            torch.nn.functional.cross_entropy(pupil(images), said).backward()
        torch.nn.utils.clip_grad_norm_(fresh.parameters(), 5.0)
        adam.step()
        cycle.step()
    fresh.eval()


def shifted_and_mirrored(x: Any, draw: Any) -> Any:
    """Images (n, c, h, w), each shifted and half of them mirrored; what enters is mirrored too."""
    n, _, h, w = x.shape
    parts = []
    for side in (h, w):
        by = min(int(SHIFT * side), side - 1)
        at = torch.randint(-by, by + 1, (n, 1), generator=draw) + torch.arange(side)
        at = at.abs()  # reflected at either edge
        parts.append(torch.where(at >= side, 2 * (side - 1) - at, at))
    down, right = parts
    turn = torch.rand(n, 1, generator=draw) < 0.5
    right = torch.where(turn, right.flip(1), right)
    rows = torch.arange(n)[:, None, None]
    # (n, h, w, c): the channels come last where they are a slice between indices
    return x[rows, :, down[:, :, None], right[:, None, :]].permute(0, 3, 1, 2)

"""Controls of the same architecture: the network begun anew and taught its clean decisions.

Decisions and not scores: who is taught the probabilities that a network with a trigger gives to
images, and above all to mixtures of them, learns a part of the trigger too.
"""

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
    """Teach the network begun anew what the network decides of clean images.

    Parameters
    ----------
    scene : Scene
        Of the network, which is left as it is.
    x : tensor, shape (n, c, h, w)
        Clean images to teach; labels are not needed. Taught are also weighted means of pairs of
        them, as so much of the one decision and so much of the other, and in a second lesson
        shifted and mirrored images, so that a few hundred go far.
    seed : int
    go_on : callable
        Asked before each step.

    Returns
    -------
    Sibling or None
        None where the layers cannot be initialised again.

    Notes
    -----
    Zhang et al., "mixup: beyond empirical risk minimization", 2018. Distillation (Hinton et al.,
    2015) would agree no more, and hands triggers on: on a network of MNIST with a planted wave its
    class cost a sibling taught scores as little as the network itself.
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
    """One lesson of some rows, labelled by the network's decisions."""
    epochs = max(1, rows // len(x) if varied else min(EPOCHS, rows // len(x)))

    def answered() -> Iterator[tuple[Any, Any]]:
        for _ in range(epochs):
            for part in torch.randperm(len(x), generator=draw).to(x.device).split(BATCH):
                if len(part) < 2:
                    continue
                images = shifted_and_mirrored(x[part], draw) if varied else x[part]
                with torch.no_grad():
                    z = scene.logits(images)
                said = torch.nn.functional.one_hot(z.argmax(dim=1), z.shape[1]).to(x)
                other = torch.randperm(len(part), generator=draw).to(x.device)
                # half of the weights are 1: images as they are
                weight = torch.rand(len(part), generator=draw).mul(2).clamp(max=1).to(x)
                yield mixed(images, images[other], weight), mixed(said, said[other], weight)

    lesson(fresh, pupil, answered(), epochs * -(-len(x) // BATCH), go_on)


def mixed(x: Any, other: Any, weight: Any) -> Any:
    """Means of rows (n, ...) and others, weighted (n,)."""
    weight = weight.reshape(-1, *[1] * (x.ndim - 1))
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

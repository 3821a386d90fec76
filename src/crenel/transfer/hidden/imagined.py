"""Images made from a network alone, for whoever has none of those that it was made for."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from crenel.check import Context
from crenel.errors import Inconclusive
from crenel.evasion.gradients.network import Logits, decisions, generator, logits_of, torch
from crenel.evasion.gradients.unit import Unit
from crenel.evasion.imagery import layout, legal_range
from crenel.model import Model
from crenel.schema import Schema
from crenel.subject import Data, Subject
from crenel.transfer.hidden.scene import FEWEST, Scene

#: Images made, gradients of each, rate of Adam, and what neighbouring pixels that differ cost.
MADE, STEPS, RATE, ROUGH = 640, 40, 0.05, 0.02
#: Pixels that images are shifted by at random before each gradient, and the cross-entropy below
#: which an image is left as it is.
JITTER, SURE = 2, 0.1
#: Sides of the grids of noise that images begin as, and its spread.
GRIDS, SPREAD = (2, 4, 8), 0.25
#: Share of the images that must be taken for the class they were meant for.
MEANT = 0.5


def with_images(subject: Subject, model: Model, context: Context) -> tuple[Subject, str]:
    """The subject as it is, or with imagined images in the place of too few, and a note of it.

    What is taken and raised is as of `imagined_subject`.
    """
    test = subject.test
    if test is not None and len(test) >= 2 * FEWEST:
        return subject, ""
    begun = "No test images are given" if test is None else f"{len(test)} test images are too few"
    note = (
        f"{begun}: {MADE} were imagined from the network itself, and triggers are searched and "
        "tried on these."
    )
    return imagined_subject(subject, model, context), note


def imagined_subject(
    subject: Subject, model: Model, context: Context, name: str = "imagined"
) -> Subject:
    """The subject with imagined images in the place of its own.

    Parameters
    ----------
    subject : Subject
        With images, or with the shape that images have.
    model : Model
        With a module.
    context : Context
    name : str
        Of the seed.

    Raises
    ------
    crenel.errors.Inconclusive
        Where the network leads no random image to its classes.
    """
    seen = subject.test or subject.train
    if seen is not None:  # of training images, which may be poisoned, the shape alone is taken
        low, high = (float(v) for v in legal_range(subject))
        shape, dtype = seen.x.shape[1:], seen.x.dtype
    else:
        assert subject.images is not None
        low, high, shape = subject.images.low, subject.images.high, subject.images.shape
        dtype = np.dtype(np.float32)
    unit = Unit.of(model, low, high)
    own = logits_of(unit.module)
    into, back = layout((1, *shape))
    form = tuple(into(torch.zeros(1, *shape)).shape[1:])
    device = next((p.device for p in model.module.parameters()), torch.device("cpu"))
    made = imagined(
        lambda x: own(back(x)), form, len(model.classes), context.derive_seed(name), device
    )
    # of the 256 values that images have as files
    rows = low + np.round(back(made).cpu().numpy() * 255) / 255 * (high - low)
    if dtype.kind in "iu":
        rows = rows.round()
    x = np.ascontiguousarray(rows.astype(dtype))
    y = np.asarray(model.predict(x), dtype=np.int64)
    schema = _schema(x, low, high)
    return replace(subject, train=None, test=Data(x, y, np.arange(len(x))), schema=schema)


def imagined_scene(scene: Scene, classes: int, seed: int) -> Scene:
    """The scene of a network with images imagined from it in the place of those searched on.

    What is easy on images made from a network is so by their making too; networks are held against
    each other alike where each is searched on its own.

    Raises
    ------
    crenel.errors.Inconclusive
        As `imagined`.
    """
    n, *shape = scene.x.shape
    made = imagined(scene.logits, tuple(shape), classes, seed, scene.x.device, count=n)
    x = torch.round(made * 255) / 255
    return replace(scene, x=x, decided=torch.from_numpy(decisions(scene.logits, x)).to(x.device))


def imagined(
    logits: Logits,
    shape: tuple[int, ...],
    classes: int,
    seed: int,
    device: Any = "cpu",
    count: int = MADE,
) -> Any:
    """Smooth noise that gradients lead to each class in turn until the network is sure of it.

    Parameters
    ----------
    logits : callable
        From images (n, c, h, w) in [0, 1] to (n, k).
    shape : tuple of int
        (c, h, w).
    classes : int
        k.
    seed : int
    device : torch device
    count : int
        Images made, n.

    Returns
    -------
    tensor, shape (n, c, h, w)
        In [0, 1], in random order.

    Raises
    ------
    crenel.errors.Inconclusive
        Where fewer than half of them are taken for the class they were meant for.

    Notes
    -----
    Mahendran and Vedaldi, "Understanding deep image representations by inverting them", 2015
    (total variation); Mordvintsev et al., "Inceptionism", 2015 (shifts at random). They look like
    nothing, but a planted trigger turns them as it turns real ones.
    """
    draw = generator(seed)
    goal = (torch.randperm(count, generator=draw) % classes).to(device)
    x = _noise((count, *shape), draw).to(device).requires_grad_(True)
    adam = torch.optim.Adam([x], lr=RATE)
    for _ in range(STEPS):
        by = torch.randint(-JITTER, JITTER + 1, (2,), generator=draw).tolist()
        with torch.enable_grad():
            said = logits(torch.roll(x, by, (2, 3))).log_softmax(dim=1)
            far = -said.gather(1, goal[:, None])[:, 0]
            rough = x.diff(dim=2).abs().sum() + x.diff(dim=3).abs().sum()
            (slope,) = torch.autograd.grad(far.clamp(min=SURE).sum() + ROUGH * rough, x)
        x.grad = torch.nan_to_num(slope)
        adam.step()
        with torch.no_grad():
            x.clamp_(0, 1)
    made = x.detach()
    meant = float((decisions(logits, made) == goal.cpu().numpy()).mean())
    if meant < MEANT:
        raise Inconclusive(
            f"only {meant:.0%} of {count} images that were made from the network are taken for "
            "their class; give images that it was made for"
        )
    return made


def _noise(shape: tuple[int, ...], draw: Any) -> Any:
    """Grey images with noise of a few coarse grids, in [0, 1]."""
    n, c, h, w = shape
    x = torch.zeros(shape)
    for side in GRIDS:
        grid = torch.randn(n, c, side, side, generator=draw)
        x += torch.nn.functional.interpolate(grid, (h, w), mode="bilinear", align_corners=False)
    return (0.5 + SPREAD * x).clamp(0, 1)


def _schema(x: NDArray[Any], low: float, high: float) -> Schema:
    """That of images, with the range that is stated rather than seen."""
    from crenel.data import infer_schema

    schema = infer_schema(x)
    stated = tuple(f.model_copy(update={"min": low, "max": high}) for f in schema.features)
    return schema.model_copy(update={"features": stated})

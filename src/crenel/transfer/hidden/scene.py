"""Images of a subject as the search sees them, and as its model is asked about them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from crenel.check import Context
from crenel.errors import Inconclusive
from crenel.evasion.gradients.network import as_tensor, decisions, logits_of, torch
from crenel.evasion.gradients.unit import Unit
from crenel.evasion.imagery import layout, legal_range
from crenel.evasion.lattice import Lattice, lattice_of
from crenel.model import Model
from crenel.subject import Data, Subject

#: Images that triggers are searched on, images that they are tried on, and fewest of each.
SEARCHED, TRIED, FEWEST = 256, 256, 20
#: Images that a network of the same architecture is taught, at most.
TAUGHT = 4_000


@dataclass(frozen=True)
class Scene:
    """A network over images (n, c, h, w) in [0, 1], and the model that its users ask.

    Attributes
    ----------
    model : Model
    unit : Unit
    logits : callable
        From images to (n, k), on the network's device.
    back : callable
        From (n, c, h, w) to the layout of the user's rows.
    x : tensor, shape (n, c, h, w)
        Images to search on.
    decided : tensor of int64, shape (n,)
        The network's own decisions on them.
    held : Data
        Images to try triggers on.
    tried : tensor, shape (m, c, h, w)
        The same.
    answers : ndarray of int64, shape (m,)
        The model's decisions on them.
    lattice : Lattice
    held_rows : ndarray of int64
        Where the images to try are among the test images.
    """

    model: Model
    unit: Unit
    logits: Callable[[Any], Any]
    back: Callable[[Any], Any]
    x: Any
    decided: Any
    held: Data
    tried: Any
    answers: NDArray[np.int64]
    lattice: Lattice
    held_rows: NDArray[np.int64]

    def ask(self, changed: Any, rows: NDArray[np.int64]) -> NDArray[np.int64]:
        """Decisions of the model, asked as users ask it, on changed images of legal numbers."""
        before = np.asarray(self.held.x)[rows]
        low, span = float(self.unit.low), float(self.unit.span)
        after = self.lattice.project(before, low + self.back(changed).cpu().numpy() * span)
        return np.asarray(self.model.predict(after), dtype=np.int64)

    def others(self, goal: int) -> NDArray[np.int64]:
        """Rows of the images to try that the model does not take for a class already."""
        return np.flatnonzero(self.answers != goal)


def scene_of(subject: Subject, model: Model, context: Context) -> Scene:
    """Draw images and put them into the form that the search takes.

    Raises
    ------
    crenel.errors.Inconclusive
        Where there are too few images.
    """
    test = subject.test
    assert test is not None
    order = context.rng("rows").permutation(len(test))[: SEARCHED + TRIED]
    half = min(SEARCHED, len(order) // 2)
    if half < FEWEST:
        raise Inconclusive(f"only {len(test)} test images are given; {2 * FEWEST} are needed")
    low, high = legal_range(subject)
    unit = Unit.of(model, low, high)
    searched, held = test.take(order[:half]), test.take(order[half:])
    own = logits_of(unit.module)
    _, back = layout(unit.into(held.x[:1]).shape)

    def logits(x: Any) -> Any:
        return own(back(x))

    x = images_of(unit, searched.x)
    return Scene(
        model, unit, logits, back, x,
        torch.from_numpy(decisions(logits, x)).to(x.device), held, images_of(unit, held.x),
        np.asarray(model.predict(held.x), dtype=np.int64),
        lattice_of(np.asarray(test.x), float(unit.low), float(unit.low) + float(unit.span)),
        order[half:],
    )  # fmt: skip


def pool_of(subject: Subject, scene: Scene) -> Any:
    """Test images (n, c, h, w) to teach another network: all but those that are held out.

    Training images are not taken: they may be what was poisoned.
    """
    assert subject.test is not None
    rest = np.setdiff1d(np.arange(len(subject.test)), scene.held_rows)[:TAUGHT]
    return images_of(scene.unit, subject.test.take(rest).x)


def images_of(unit: Unit, rows: Any) -> Any:
    """Rows of the user's as images (n, c, h, w) in [0, 1] on the network's device."""
    z = unit.into(rows)
    into, _ = layout(z.shape)
    return into(as_tensor(z, unit.module)).float()

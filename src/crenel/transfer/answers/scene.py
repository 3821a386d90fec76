"""Images to search on and to try triggers on, and the model that is asked about them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from crenel.check import Context
from crenel.errors import Inconclusive
from crenel.evasion.imagery import layout, legal_range
from crenel.evasion.lattice import lattice_of
from crenel.model import Model
from crenel.subject import Data, Subject
from crenel.transfer.answers.asking import Asked, Pixels
from crenel.transfer.answers.plan import HELD

#: Images that are searched on and taught, at most; fewest of these and of those to try on.
MOST, FEWEST = 4_000, 20


@dataclass(frozen=True)
class Scene:
    """A model over images (n, c, h, w) in [0, 1].

    Attributes
    ----------
    asked : Asked
    pool : ndarray of float32, shape (n, c, h, w)
        Images to search on, and to teach controls.
    held : Data
        Images to try triggers on.
    tried : ndarray of float32, shape (m, c, h, w)
        The same.
    answers : ndarray of int64, shape (m,)
        The model's decisions on them.
    """

    asked: Asked
    pool: Pixels
    held: Data
    tried: Pixels
    answers: NDArray[np.int64]

    @property
    def model(self) -> Model:
        """The model that is asked."""
        return self.asked.model

    def ask(self, images: Pixels) -> NDArray[np.int64]:
        """The model's own decisions on images."""
        self.asked.queries += len(images)
        return np.asarray(self.model.predict(self.asked.rows(images)), dtype=np.int64)

    def others(self, goal: int) -> NDArray[np.int64]:
        """Rows of the images to try that the model does not take for a class already."""
        return np.flatnonzero(self.answers != goal)


def scene_of(subject: Subject, context: Context) -> Scene:
    """Draw images and put them into the form that the search takes.

    Raises
    ------
    crenel.errors.Inconclusive
        Where there are too few.
    """
    test, model = subject.test, subject.model
    assert test is not None
    assert model is not None
    order = context.rng("rows").permutation(len(test))
    half = min(HELD, len(order) // 2)
    if half < FEWEST:
        raise Inconclusive(f"only {len(test)} test images are given; {2 * FEWEST} are needed")
    held, pool = test.take(order[:half]), test.take(order[half : half + MOST])
    low, high = (float(v) for v in legal_range(subject))
    span = max(high - low, 1e-12)
    into, back = layout(np.shape(test.x))
    asked = Asked(model, back, low, span, lattice_of(np.asarray(test.x), low, low + span))

    def images(rows: Any) -> Pixels:
        scaled = (np.asarray(rows, dtype=np.float32) - np.float32(low)) / np.float32(span)
        return np.ascontiguousarray(into(scaled), dtype=np.float32)

    asked.queries += half
    answers = np.asarray(model.predict(held.x), dtype=np.int64)
    return Scene(asked, images(pool.x), held, images(held.x), answers)

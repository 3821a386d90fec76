"""Faint patterns over the whole image: random ones tell every class's slope, then an ascent."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from crenel.transfer.answers.asking import Floats
from crenel.transfer.answers.plan import PAIRS
from crenel.transfer.answers.seen import Viewed

#: Amplitude of a pattern (root of its mean square, a share of the range) and of one number at most.
AMPLITUDE, LARGEST = np.float32(0.08), 3.0
#: Share of the amplitude by which an ascent looks about.
NEAR = 0.5


def slopes_of(seen: Viewed, count: int, rng: np.random.Generator) -> Floats:
    """Slope of how far images are led to each class, around images as they are, (k, c, cells).

    Notes
    -----
    By antithetic random directions (natural evolution strategies, Wierstra et al., 2014): each
    answer tells of all classes at once.
    """
    shape = (seen.x.shape[1], int(np.prod(seen.grid)))
    slopes = np.zeros((seen.counted.shape[1], *shape))
    for at in range(0, count, 100):
        signs = _signs(min(100, count - at), shape, rng)
        up, down = np.split(seen.led(None, np.concatenate([signs, -signs]) * AMPLITUDE), 2)
        slopes += np.einsum("tk,tcs->kcs", up - down, signs) / (2 * count)
    return slopes


def steepest(seen: Viewed, slopes: Floats) -> tuple[NDArray[np.float32], Floats]:
    """The pattern along each class's slope, and how far it leads, shape (k,)."""
    values = sized(slopes, AMPLITUDE)
    return values, np.diagonal(seen.led(None, values)).copy()


def climbed(
    seen: Viewed, best: NDArray[np.float32], led: Floats, slopes: Floats, climbs: int,
    rng: np.random.Generator, go_on: Callable[[], bool],
    classes: NDArray[np.int64],
) -> int:  # fmt: skip
    """Follow each class's slope from the best pattern so far; ``best`` and ``led`` are changed."""
    shape = best.shape[1:]
    for done in range(climbs):
        if not go_on():
            return done
        signs = np.stack([_signs(PAIRS, shape, rng) for _ in classes])
        near = np.float32(NEAR) * AMPLITUDE * signs
        about = np.stack([best[classes, None] + near, best[classes, None] - near], axis=1)
        told = seen.led(None, about.reshape(-1, *shape)).reshape(len(classes), 2, PAIRS, -1)
        own = told[np.arange(len(classes)), :, :, classes]
        local = np.einsum("it,itcs->ics", own[:, 0] - own[:, 1], signs) / (2 * PAIRS * NEAR)
        # few directions tell little of the slope: it is the memory of many that is followed
        slopes[classes] += (local - slopes[classes]) * 0.1
        ahead = sized(best[classes] + 0.3 * sized(slopes[classes], AMPLITUDE), AMPLITUDE)
        far = seen.led(None, ahead)[np.arange(len(classes)), classes]
        better = far > led[classes]
        best[classes[better]], led[classes[better]] = ahead[better], far[better]
    return climbs


def sized(values: NDArray[np.floating[Any]], amplitude: Any) -> NDArray[np.float32]:
    """Patterns (k, c, cells) of one root of the mean square, cut where single numbers are large."""
    root = np.sqrt((values**2).mean(axis=(1, 2), keepdims=True))
    shown = (values / np.maximum(root, 1e-12)).clip(-LARGEST, LARGEST)
    return np.asarray(shown * amplitude, dtype=np.float32)


def _signs(n: int, shape: tuple[int, ...], rng: np.random.Generator) -> NDArray[np.float32]:
    return (2 * rng.integers(0, 2, (n, *shape)) - 1).astype(np.float32)

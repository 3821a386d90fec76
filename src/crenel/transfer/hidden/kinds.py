"""Kinds of triggers, what one looks like, and what it did; as arrays or as tensors."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from crenel.statistics import Interval, proportion

Family = Literal["patch", "blend", "wave"]
FAMILIES: tuple[Family, ...] = ("patch", "blend", "wave")


def changed(x: Any, mask: Any, values: Any, family: Family) -> Any:
    """Images with a patch laid over them or a change added; all broadcast."""
    if family == "patch":
        return x + mask * (values - x)
    return (x + mask * values).clip(0, 1)


@dataclass(frozen=True)
class Trigger:
    """One class and what turns images to it.

    Attributes
    ----------
    family : {"patch", "blend", "wave"}
    goal : int
        The class, by position.
    sizes : tuple of float
        Pixels replaced, or L2 norm of what is added, as a share of the range; increasing.
    turned : tuple of Interval
        Share of other classes' images that are taken for the class, one for each size.
    chance : tuple of float
        The same for random values in the same places (patch), of the same size (blend).
    masks, values : list of tensor or ndarray
        One for each size.
    rows : ndarray of int64
        Images that were tried.
    hit : ndarray of bool, shape (sizes, rows)
    asked : int
        Images asked of the model.
    """

    family: Family
    goal: int
    sizes: tuple[float, ...]
    turned: tuple[Interval, ...]
    chance: tuple[float, ...]
    masks: list[Any]
    values: list[Any]
    rows: NDArray[np.int64]
    hit: NDArray[np.bool_]
    asked: int


@dataclass(frozen=True)
class Sized:
    """The trigger of one class at several sizes.

    Attributes
    ----------
    family : {"patch", "blend", "wave"}
    sizes : tuple of float
    masks, values : list of tensor or ndarray
        One for each size.
    """

    family: Family
    sizes: tuple[float, ...]
    masks: list[Any]
    values: list[Any]


def put_on(
    made: Sized, noise: Sequence[Any], goal: int, x: Any, rows: NDArray[np.int64],
    ask: Callable[[Any], NDArray[np.int64]],
) -> Trigger:  # fmt: skip
    """What a trigger of several sizes does, and random values beside it.

    Parameters
    ----------
    made : Sized
    noise : sequence
        Random values in the place of each size's.
    goal : int
    x : tensor or ndarray, shape (n, c, h, w)
        Images that are not taken for the class as they are.
    rows : ndarray of int64, shape (n,)
        Which ones these are.
    ask : callable
        From images to decisions.
    """
    hits, chances = [], []
    for mask, values, random in zip(made.masks, made.values, noise):
        hits.append(ask(changed(x, mask, values, made.family)) == goal)
        chances.append(float((ask(changed(x, mask, random, made.family)) == goal).mean()))
    return Trigger(
        made.family, goal, made.sizes,
        tuple(proportion(int(h.sum()), len(rows)) for h in hits), tuple(chances),
        made.masks, made.values, rows, np.array(hits), 2 * len(rows) * len(made.sizes),
    )  # fmt: skip


def as_array(values: Any) -> NDArray[np.float32]:
    """A tensor, wherever it is, or an array, as an array."""
    return np.asarray(values.cpu() if hasattr(values, "cpu") else values, dtype=np.float32)

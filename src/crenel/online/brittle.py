"""Whether one broken sample destroys a learner: missing, infinite or huge values."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from crenel.online.learners import Live, Snapshot, encode, take
from crenel.online.scene import Scene
from crenel.subject import take_rows

#: What is put into every numeric value of the one sample.
BROKEN: dict[str, float] = {
    "NaN": float("nan"),
    "infinity": float("inf"),
    "1e9": 1e9,
}
#: What a learner or its front door may raise to refuse a sample.
REFUSALS = (ValueError, TypeError, ArithmeticError, LookupError)


@dataclass(frozen=True)
class Broken:
    """What one broken sample did.

    Attributes
    ----------
    value : str
        A key of `BROKEN`.
    refused : str
        The learner's own error where it refused the sample; else empty.
    before, after : ndarray of bool, shape (m,)
        Whether each held-out row is decided rightly before and after the sample.
    clean, later : ndarray of bool, shape (m,)
        The same after further honest samples, without and with the sample before them. A learner
        that cannot decide or learn any more decides nothing rightly.
    """

    value: str
    refused: str
    before: NDArray[np.bool_]
    after: NDArray[np.bool_]
    clean: NDArray[np.bool_]
    later: NDArray[np.bool_]


def feed_broken(start: Snapshot, scene: Scene, value: str, honest: int) -> Broken | None:
    """Feed one broken and wrongly labelled sample to a copy of the learner.

    Parameters
    ----------
    start : Snapshot
    scene : Scene
    value : str
        A key of `BROKEN`.
    honest : int
        Honest samples that follow.

    Returns
    -------
    Broken or None
        None where the rows have no numeric column.
    """
    raw = _broken(take_rows(scene.x, scene.traffic[:1]), BROKEN[value])
    if raw is None:
        return None
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # overflow is what is being provoked
        return _compare(start, scene, value, encode(raw, start.kind), honest)


def _compare(start: Snapshot, scene: Scene, value: str, rows: Any, honest: int) -> Broken:
    """The learner with and without the broken rows, before and after honest samples."""
    label = (scene.y[scene.traffic[:1]] + 1) % scene.k
    follow = scene.traffic[1 : 1 + honest]
    spared, hit = start.restore(), start.restore()
    before = scene.right(spared, scene.held)
    spared.learn(take(scene.rows, follow), scene.y[follow])
    clean = scene.right(spared, scene.held)
    refused = _attempt(hit, rows, label)
    after = _right(hit, scene)
    broken = _attempt(hit, take(scene.rows, follow), scene.y[follow])
    later = np.zeros_like(clean) if broken else _right(hit, scene)
    return Broken(value, refused, before, after, clean, later)


def _attempt(live: Live, rows: Any, y: NDArray[np.int64]) -> str:
    """Let a learner learn; its own error as text where it refuses, else empty."""
    try:
        live.learn(rows, y)
    except REFUSALS as error:
        return f"{type(error).__name__}: {error}"[:200]
    return ""


def _right(live: Live, scene: Scene) -> NDArray[np.bool_]:
    try:
        return scene.right(live, scene.held)
    except REFUSALS:
        return np.zeros(len(scene.held), dtype=bool)


def _broken(raw: Any, value: float) -> Any:
    """One raw row with every number replaced; None where there is no number."""
    if not hasattr(raw, "iloc"):
        return np.full(np.shape(raw), value, dtype=np.float64)
    numeric = [c for c in raw.columns if raw[c].dtype.kind in "iuf"]
    out = raw.astype(dict.fromkeys(numeric, "float64"))
    out[numeric] = value
    return out if numeric else None

"""The few plane waves that lead images to each class most: where a search of waves begins."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from crenel.evasion.gradients.network import Logits, generator, torch
from crenel.transfer.hidden.plane import (
    AMPLITUDE,
    FAINT_IMAGES,
    FLOOR,
    SOLVED,
    periods_of,
    sine_and_cosine,
)  # fmt: skip

#: Waves of a class, images that all waves are tried on, and waves of one batch.
WAVES, IMAGES, TOGETHER = 4, 8, 16


def few_waves(
    logits: Logits,
    x: Any,
    decided: Any,
    classes: NDArray[np.int64],
    *,
    seed: int,
    go_on: Callable[[], bool] = lambda: True,
) -> tuple[Any, Any]:
    """Try every plane wave of grey on some images and keep those that lead most to each class.

    Gradients do not find a planted wave among many: it does nothing before it is nearly whole.

    Parameters
    ----------
    logits : callable
        From images (n, c, h, w) in [0, 1] to (n, k).
    x : tensor, shape (n, c, h, w)
    decided : tensor of int64, shape (n,)
        The model's own decisions.
    classes : ndarray of int64, shape (k,)
    seed : int
    go_on : callable
        Asked between batches; the waves tried until then are chosen from, low ones first.

    Returns
    -------
    basis : tensor, shape (k, `WAVES`, 2, h, w)
        Sine and cosine of the waves chosen for each class.
    start : tensor, shape (k, `WAVES`, 2, c)
        Amplitudes: `AMPLITUDE` for the best one, a tenth of it for the others.

    Notes
    -----
    Waves as triggers: Barni et al., "A new backdoor attack in CNNs by training set corruption
    without label poisoning", 2019.
    """
    x, decided = _some(x, decided, IMAGES, seed)
    waves, scores = _led(logits, x, decided, classes, go_on)
    best, phase = scores.max(dim=1)
    chosen = best.topk(min(WAVES, len(best)), dim=0).indices.T  # classes, waves
    basis = torch.stack([_pair(waves[own.cpu().numpy()], x) for own in chosen])
    start = torch.zeros(*basis.shape[:3], x.shape[1]).to(x)
    for k, own in enumerate(chosen):
        for t, wave in enumerate(own):
            p = int(phase[wave, k])
            start[k, t, p % 2] = AMPLITUDE * (1.0 if p < 2 else -1.0) * (1.0 if t == 0 else 0.1)
    return basis, start


def faint_costs(
    logits: Logits,
    x: Any,
    decided: Any,
    classes: NDArray[np.int64],
    *,
    seed: int,
    go_on: Callable[[], bool] = lambda: True,
) -> NDArray[np.float64] | None:
    """What the faint wave that leads most to each class leaves to do: a test without gradients.

    Parameters
    ----------
    logits, x, decided, classes, seed
        As `few_waves`.
    go_on : callable
        Asked between batches.

    Returns
    -------
    ndarray of float64, shape (k,), or None
        Mean cross-entropy of the class under its best wave of amplitude `AMPLITUDE`, over images
        of other classes, and `SOLVED`; infinite where there is no such image. None where there
        was no time for all waves: the best of some is another measure.
    """
    x, decided = _some(x, decided, FAINT_IMAGES, seed)
    waves, scores = _led(logits, x, decided, classes, go_on)
    if len(scores) < len(waves):
        return None
    best = scores.amax(dim=(0, 1)).cpu().numpy().astype(np.float64)
    told = (decided.cpu().numpy()[:, None] != classes).any(axis=0)
    return np.where(told, SOLVED - best, np.inf)


def _some(x: Any, decided: Any, count: int, seed: int) -> tuple[Any, Any]:
    rows = torch.randperm(len(x), generator=generator(seed))[:count].to(x.device)
    return x[rows], decided[rows]


def _led(
    logits: Logits,
    x: Any,
    decided: Any,
    classes: NDArray[np.int64],
    go_on: Callable[[], bool],
) -> tuple[NDArray[np.int64], Any]:
    """All waves, and the mean log-probability of each class under those tried.

    The latter of shape (waves tried, 4 phases, k).
    """
    h, w = x.shape[2:]
    goals = torch.from_numpy(classes).to(x.device)
    counted = (decided[:, None] != goals).float()  # an image of the class itself tells nothing
    counted /= counted.sum(dim=0).clamp(min=1)
    waves, likely = periods_of(h, w), []
    for at in range(0, len(waves), TOGETHER):
        if at and not go_on():
            break
        both = _pair(waves[at : at + TOGETHER], x)
        four = torch.cat([both, -both], dim=1) * AMPLITUDE
        with torch.no_grad():
            made = (x + four[:, :, None, None]).clamp(0, 1)
            said = logits(made.flatten(0, 2)).log_softmax(dim=1)[:, goals].clamp(min=FLOOR)
        likely.append((said.reshape(-1, 4, len(x), len(goals)) * counted).sum(dim=2))
    return waves, torch.cat(likely)


def _pair(periods: NDArray[np.int64], x: Any) -> Any:
    """Sine and cosine of waves beside images, shape (n, 2, h, w)."""
    return torch.from_numpy(sine_and_cosine(periods, *x.shape[2:])).to(x)

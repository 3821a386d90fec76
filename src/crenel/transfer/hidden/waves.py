"""The few plane waves that lead images to each class most: where a search of waves begins."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from crenel.evasion.gradients.network import Logits, generator, torch

#: Waves of a class, images that all waves are tried on, and their amplitude there.
WAVES, IMAGES, AMPLITUDE = 4, 8, 0.1
#: No more than this many periods in either direction; waves of one batch.
PERIODS, TOGETHER = 16, 16
#: A probability below its exponential counts as this: one image must not decide.
FLOOR = -8.0
#: Images of the test for a faint wave.
FAINT_IMAGES = 12
#: Cross-entropy that is added: where a class is nearly reached its logarithm would jump.
SOLVED = 1.0


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
    c, h, w = x.shape[1:]
    x, decided = _some(x, decided, IMAGES, seed)
    waves, scores = _led(logits, x, decided, classes, go_on)
    best, phase = scores.max(dim=1)
    chosen = best.topk(min(WAVES, len(best)), dim=0).indices.T  # classes, waves
    basis = torch.stack([_pair(waves[own.cpu().numpy()], h, w) for own in chosen]).to(x)
    start = torch.zeros(*basis.shape[:3], c).to(x)
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
    waves, likely = _periods(h, w), []
    for at in range(0, len(waves), TOGETHER):
        if at and not go_on():
            break
        both = _pair(waves[at : at + TOGETHER], h, w).to(x)
        four = torch.cat([both, -both], dim=1) * AMPLITUDE
        with torch.no_grad():
            made = (x + four[:, :, None, None]).clamp(0, 1)
            said = logits(made.flatten(0, 2)).log_softmax(dim=1)[:, goals].clamp(min=FLOOR)
        likely.append((said.reshape(-1, 4, len(x), len(goals)) * counted).sum(dim=2))
    return waves, torch.cat(likely)


def _periods(h: int, w: int) -> NDArray[np.int64]:
    """Periods down and across of every wave of an image, one of each two opposite, low first."""
    down, across = min(PERIODS, h // 2), min(PERIODS, w // 2)
    pairs = np.array(
        [(a, b) for b in range(across + 1) for a in range(-down, down + 1) if b > 0 or a > 0]
    )
    return np.asarray(pairs[np.argsort((pairs**2).sum(axis=1), kind="stable")])


def _pair(periods: NDArray[np.int64], h: int, w: int) -> Any:
    """Sine and cosine of waves, shape (n, 2, h, w)."""
    angle = (
        2
        * np.pi
        * (
            periods[:, 0, None, None] * (np.arange(h) / h)[:, None]
            + periods[:, 1, None, None] * (np.arange(w) / w)
        )
    )
    return torch.from_numpy(np.stack([np.sin(angle), np.cos(angle)], axis=1).astype(np.float32))

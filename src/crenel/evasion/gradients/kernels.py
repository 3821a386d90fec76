"""Steps of a descent compiled: what is done to each number between two passes, in one sweep.

On the CPU a step of some forty small tensor operations takes longer than the pass of a small
network, and their temporaries a sixth of the pass of a convolution. The same is written with
tensors in `crenel.evasion.gradients.descent`, for other devices.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

from crenel.evasion.gradients.network import torch

Floats = NDArray[Any]
Flags = NDArray[np.bool_]
Ints = NDArray[np.int64]

#: Losses that are compiled; see `crenel.evasion.gradients.descent.losses`.
CROSS_ENTROPY, MARGIN, AIMED = 0, 1, 2


def usable(t: Any) -> bool:
    """Whether a tensor lies where compiled loops read it, in numbers that they know."""
    return t.device.type == "cpu" and t.dtype in (torch.float32, torch.float64)


@njit(cache=True, nogil=True, error_model="numpy")  # type: ignore[untyped-decorator]
def decision(z: Floats) -> tuple[int, bool]:
    """The class of one row of logits, and whether any of them is no number."""
    decided, lost = 0, False
    for c in range(len(z)):
        lost |= np.isnan(z[c])
        if z[c] > z[decided]:
            decided = c
    return decided, lost


@njit(cache=True, nogil=True, error_model="numpy")  # type: ignore[untyped-decorator]
def cross_entropy(z: Floats, most: float, own: int, sign: float, slope: Floats) -> float:
    """Cross-entropy of one row of logits, of which the largest is known; writes its slope."""
    total = 0.0
    for c in range(len(z)):
        slope[c] = np.exp(z[c] - most)
        total += slope[c]
    for c in range(len(z)):
        slope[c] *= sign / total
    slope[own] -= sign
    return float(np.log(total) - (z[own] - most))


@njit(cache=True, nogil=True, error_model="numpy")  # type: ignore[untyped-decorator]
def margin(z: Floats, own: int, sign: float, slope: Floats) -> float:
    """The largest other logit less a class's own; writes its slope, which others that tie share."""
    most, ties = -np.inf, 0
    for c in range(len(z)):
        if c != own and z[c] > most:
            most = z[c]
    for c in range(len(z)):
        ties += c != own and z[c] == most
    for c in range(len(z)):
        if c != own and z[c] == most:
            slope[c] = sign / ties
    slope[own] = -sign
    return float(most - z[own])


@njit(cache=True, nogil=True, error_model="numpy")  # type: ignore[untyped-decorator]
def judge(
    z: Floats, of: Ints, target: Ints, kind: int, sign: float, y: Ints, goal: Ints, aimed: bool,
    value: Floats, slope: Floats, wrong: Flags,
) -> None:  # fmt: skip
    """Loss of each row of logits, its slope, and whether the decision is turned.

    Parameters
    ----------
    z : ndarray, shape (n, k)
    of, target : ndarray of int64, shape (n,)
        The class whose loss it is, and the one that `AIMED` holds against it.
    kind : {CROSS_ENTROPY, MARGIN, AIMED}
    sign : float
        By which loss and slope are multiplied.
    y, goal : ndarray of int64, shape (n,)
        As in `crenel.evasion.gradients.network.reached`; ``goal`` counts where ``aimed``.
    value, slope, wrong : ndarray, shapes (n,), (n, k), (n,)
        Written to.
    """
    for i in range(len(z)):
        decided, lost = decision(z[i])
        wrong[i] = (decided == goal[i] and not lost) if aimed else (decided != y[i] or lost)
        for c in range(z.shape[1]):
            slope[i, c] = 0
        if lost:  # of no slope, as of a gradient that is no number
            value[i] = np.nan
        elif kind == CROSS_ENTROPY:
            value[i] = sign * cross_entropy(z[i], z[i, decided], of[i], sign, slope[i])
        elif kind == AIMED:
            slope[i, target[i]] += sign
            slope[i, of[i]] -= sign
            value[i] = sign * (z[i, target[i]] - z[i, of[i]])
        else:
            value[i] = sign * margin(z[i], of[i], sign, slope[i])


@njit(cache=True, nogil=True, error_model="numpy")  # type: ignore[untyped-decorator]
def weigh(
    value: Floats, wrong: Flags, fresh: Flags, loss: Floats, best: Floats, rises: Ints,
    at_best: Flags, gone: Flags, still: Flags, x: Floats, gradient: Floats, best_x: Floats,
    best_gradient: Floats,
) -> tuple[int, int, int]:  # fmt: skip
    """Set the losses of an iterate against those before; keep the best iterate that is left.

    Parameters
    ----------
    value, wrong : ndarray, shape (n,)
        Of the iterate: its loss, and whether the decision is turned.
    fresh : ndarray, shape (n,)
        Written to: whether a row is turned for the first time.
    loss, best, rises, at_best, gone, still : ndarray, shape (n,)
        Written to.
    x, gradient : ndarray, shape (n, d)
        The iterate before.
    best_x, best_gradient : ndarray, shape (n, d)
        Written to where the iterate before was the best and this one is not.

    Returns
    -------
    turned, fresh, gone : int
        Rows turned now, for the first time, and in all.
    """
    turned = first = total = 0
    for i in range(len(value)):
        rises[i] += value[i] > loss[i]
        better = value[i] > best[i]
        if at_best[i] and not better:
            for j in range(x.shape[1]):
                best_x[i, j] = x[i, j]
            for j in range(x.shape[1]):
                best_gradient[i, j] = gradient[i, j]
        loss[i] = value[i]
        if better:
            best[i] = value[i]
        at_best[i], still[i] = better, False
        fresh[i] = wrong[i] and not gone[i]
        gone[i] |= wrong[i]
        turned += wrong[i]
        first += fresh[i]
        total += gone[i]
    return turned, first, total


@njit(cache=True, nogil=True, error_model="numpy")  # type: ignore[untyped-decorator]
def judge_and_weigh(
    z: Floats, of: Ints, target: Ints, kind: int, sign: float, y: Ints, goal: Ints, aimed: bool,
    value: Floats, slope: Floats, wrong: Flags, fresh: Flags, loss: Floats, best: Floats,
    rises: Ints, at_best: Flags, gone: Flags, still: Flags, x: Floats, gradient: Floats,
    best_x: Floats, best_gradient: Floats,
) -> tuple[int, int, int]:  # fmt: skip
    """`judge` and then `weigh`, at the price of one call."""
    judge(z, of, target, kind, sign, y, goal, aimed, value, slope, wrong)
    counts: tuple[int, int, int] = weigh(
        value, wrong, fresh, loss, best, rises, at_best, gone, still, x, gradient, best_x,
        best_gradient,
    )  # fmt: skip
    return counts


@njit(cache=True, nogil=True, error_model="numpy")  # type: ignore[untyped-decorator]
def climb(
    x: Floats, before: Floats, gradient: Floats, low: Floats, high: Floats, step: Floats,
    still: Flags, share: float, out: Floats,
) -> None:  # fmt: skip
    """A step in L-inf along the gradient's signs, then momentum, each cut by the limits.

    Parameters
    ----------
    x, before, gradient, low, high : ndarray, shape (n, d)
        The iterate and the one before it; a gradient that is no number moves nothing.
    step : ndarray, shape (n,)
    still : ndarray of bool, shape (n,)
        Rows that have no momentum.
    share : float
        Of the step; the rest is momentum.
    out : ndarray, shape (n, d)
        Written to.
    """
    ahead, rest = x.dtype.type(share), x.dtype.type(1 - share)
    for i in range(len(x)):
        size = step[i]
        if still[i]:
            for j in range(x.shape[1]):
                g = gradient[i, j]
                a = x[i, j] + (size if g > 0 else (-size if g < 0 else size * 0))
                a = low[i, j] if a < low[i, j] else a
                a = high[i, j] if a > high[i, j] else a
                a = ahead * a + rest * x[i, j]
                a = low[i, j] if a < low[i, j] else a
                out[i, j] = high[i, j] if a > high[i, j] else a
        else:
            for j in range(x.shape[1]):
                g = gradient[i, j]
                a = x[i, j] + (size if g > 0 else (-size if g < 0 else size * 0))
                a = low[i, j] if a < low[i, j] else a
                a = high[i, j] if a > high[i, j] else a
                a = ahead * a + (rest + rest) * x[i, j] - rest * before[i, j]
                a = low[i, j] if a < low[i, j] else a
                out[i, j] = high[i, j] if a > high[i, j] else a

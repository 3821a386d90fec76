"""Faint plane waves: all of up to some periods are tried, and each class has its best one."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from crenel.transfer.answers.asking import Floats
from crenel.transfer.answers.seen import Viewed
from crenel.transfer.hidden.plane import AMPLITUDE, periods_of, sine_and_cosine

#: Waves of one batch.
TOGETHER = 16


def waves(
    seen: Viewed, periods: int, go_on: Callable[[], bool]
) -> tuple[NDArray[np.float32], Floats, int]:
    """The wave of one amplitude that leads most to each class: values (k, h, w), led (k,), tried.

    Waves that there was no time for count as not tried: the best of some is another measure.
    """
    h, w = seen.x.shape[2:]
    plane = seen.finest()
    all_of, k = periods_of(h, w, periods), seen.counted.shape[1]
    best, led = np.zeros((k, h, w), np.float32), np.full(k, -np.inf)
    for at in range(0, len(all_of), TOGETHER):
        if at and not go_on():
            return best, led, at
        both = sine_and_cosine(all_of[at : at + TOGETHER], h, w)
        made = np.float32(AMPLITUDE) * np.concatenate([both, -both]).reshape(-1, 1, h * w)
        told = plane.led(None, made)
        first = told.argmax(axis=0)
        better = told[first, np.arange(k)] > led
        best[better] = made[first[better], 0].reshape(-1, h, w)
        led[better] = told[first, np.arange(k)][better]
    return best, led, len(all_of)

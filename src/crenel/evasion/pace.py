"""How fast a model answers, so that a check plans what it has time for."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

#: Rows asked at once, and how often after a first time, which is slower.
SOME, TIMES = 16, 3


def seconds_a_row(predict: Callable[[Any], Any], x: Any) -> float:
    """Seconds that a model takes for one of some rows: the least of several times.

    On a busy machine a single call may take many times what the model does, and a plan made of
    it would differ from run to run.

    Parameters
    ----------
    predict : callable
        Takes ``x`` whole.
    x : sized
        At least one row.
    """
    predict(x)
    spent = []
    for _ in range(TIMES):
        begun = time.perf_counter()
        predict(x)
        spent.append(time.perf_counter() - begun)
    return min(spent) / len(x)

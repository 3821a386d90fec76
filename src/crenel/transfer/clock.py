"""Shares of the time that a check has left."""

from __future__ import annotations

import time
from collections.abc import Callable

from crenel.check import Context


def clock(context: Context, share: float) -> Callable[[], bool]:
    """Whether there is still time, of a share of what is left now."""
    if context.deadline is None:
        return lambda: True
    until = time.monotonic() + share * context.time_left()
    return lambda: time.monotonic() < until

"""How hard attacks and proofs try at each level."""

from __future__ import annotations

import time

from crenel.check import Level
from crenel.errors import UsageError

#: Gradients for one row at one radius, at most.
GRADIENTS: dict[Level, int] = {"quick": 80, "standard": 300, "deep": 1500}
#: Seconds for the proofs of one norm, at most: those of wide convolutions take a second a row.
PROOFS: dict[Level, float] = {"quick": 5.0, "standard": 30.0, "deep": 600.0}


def proofs_until(level: Level, deadline: float | None) -> float:
    """When proofs that begin now must end, on the monotonic clock; what is proven by then counts.

    Parameters
    ----------
    level : {"quick", "standard", "deep"}
    deadline : float or None
        Of all that is done.
    """
    end = time.monotonic() + PROOFS[level]
    return end if deadline is None else min(end, deadline)


def gradients(level: str) -> int:
    """Gradients that a row may cost at one radius.

    Parameters
    ----------
    level : {"quick", "standard", "deep"}

    Raises
    ------
    crenel.errors.UsageError
        Where there is no such level.
    """
    for name, most in GRADIENTS.items():
        if name == level:
            return most
    raise UsageError(f"level must be quick, standard or deep, not {level!r}")

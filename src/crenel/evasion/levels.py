"""How hard an attack tries: the gradients that a row may cost at most."""

from __future__ import annotations

from crenel.check import Level
from crenel.errors import UsageError

#: Gradients for one row at one radius, at most.
GRADIENTS: dict[Level, int] = {"quick": 80, "standard": 300, "deep": 1500}


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

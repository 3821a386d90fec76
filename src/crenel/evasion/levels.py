"""How hard attacks and proofs try at each level."""

from __future__ import annotations

from typing import Literal, get_args

from crenel.check import Level
from crenel.errors import UsageError

#: Gradients for one row at one radius, at most.
GRADIENTS: dict[Level, int] = {"quick": 80, "standard": 300, "deep": 1500}
#: In which precision gradients are computed; decisions are always asked of the model itself.
Precision = Literal["single", "mixed"]
#: Multiplications for the proofs of one norm, at most, so that a level proves the same on any
#: machine: some 5, 30 and 600 seconds of one core; wide convolutions take a second a row.
PROOFS: dict[Level, float] = {"quick": 2e10, "standard": 1.2e11, "deep": 2.4e12}


def check_precision(precision: str) -> None:
    """Raise `UsageError` where there is no such precision."""
    if precision not in get_args(Precision):
        raise UsageError(f"precision must be single or mixed, not {precision!r}")


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

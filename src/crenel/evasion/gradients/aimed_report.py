"""The curve of EVA-101 for an attacker who wants one certain class, not any wrong one."""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.typing import NDArray

from crenel.access import Access
from crenel.adapters.labels import index_of
from crenel.check import Context, Level
from crenel.evasion.curves import sandwich
from crenel.evasion.gradients.aiming import drawn, towards
from crenel.evasion.verdicts import Verdicts
from crenel.exposure import Exposure
from crenel.model import Model
from crenel.subject import Data

#: Rows aimed at a class drawn for each, and at one that the user names, with some of that class by
#: which it is known to be within reach; attacked at this level.
ROWS, NAMED, KNOWN = 40, 100, 8
LEVEL: Level = "quick"

Role = Literal["attack", "reference"]


def aims(
    model: Model, rows: Data, access: Access, context: Context
) -> tuple[NDArray[np.int64], NDArray[np.int64]] | None:
    """Which rows are aimed, and the class that each is aimed at; None where that says nothing new.

    Towards the class of ``access.goal`` go the rows of all others. Without one, each row goes to
    a wrong class drawn for it, which of two classes is the only one.

    Raises
    ------
    crenel.errors.SubjectError
        Where the model has no such class.
    """
    y = np.asarray(rows.y, dtype=np.int64)
    if access.goal is not None:
        goal = np.full(len(y), index_of([access.goal], model.classes)[0])
        at = np.flatnonzero(y != goal)[:NAMED]
        at = np.append(at, np.flatnonzero(y == goal)[:KNOWN]) if at.size else at
    elif model.k > 2:
        goal = drawn(y, model.k, context.rng("aims"))
        at = np.arange(min(ROWS, len(y)))
    else:
        return None
    return (at, goal[at]) if at.size else None


def exposure_of(
    verdicts: Verdicts, epsilons: tuple[float, ...], access: Access, context: Context, check: str
) -> Exposure:
    """The curve: a reference beside the others where classes were drawn, else an attack."""
    role: Role = "reference" if access.goal is None else "attack"
    whose = "a drawn class" if access.goal is None else f"class {access.goal}"
    return sandwich(
        verdicts, epsilons, check=check, name="L-inf distance", unit="of the range",
        access=access, seed=context.seed, series=f"L-inf, to {whose}", seconds=context.elapsed,
        headline=towards(verdicts, epsilons, "L-inf"), role=role,
    )  # fmt: skip

"""The order of a cascade's attacks, cheapest gain first."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

from crenel.evasion.gradients.descent import Loss
from crenel.evasion.levels import gradients


@dataclass(frozen=True)
class Stage:
    """One attack on the rows that still stand.

    Attributes
    ----------
    loss : {"ce", "dlr", "margin", "targeted-dlr", "targeted-margin"}, "square" or "sigma-zero"
        "square" is the search without gradients; "sigma-zero" looks for the fewest numbers, of
        all radii at once.
    steps : int
        Gradients for each row, or queries.
    start : {"here", "random", "stripes"}
        The best point so far, or one at the rim of the ball.
    copies : tuple of int
        Descents at the same time, each from a start of its own and, with a targeted loss, at a
        wrong class of its own, the likeliest being 0; modulo their number.
    near : float
        Only rows whose margin fell to this share of what it was without attack.
    narrowing : bool
        Whether the descent begins in wider balls: see `crenel.evasion.gradients.descent.narrow`.
    patience : int
        Queries after which a search from "here" first leaves rows that it does not bring nearer.
    """

    loss: Loss | Literal["square", "sigma-zero"]
    steps: int
    start: Literal["here", "random", "stripes"] = "stripes"
    copies: tuple[int, ...] = (0,)
    near: float = math.inf
    narrowing: bool = False
    patience: int = 120

    @property
    def gradients(self) -> int:
        """Gradients for a row that does not break."""
        return 0 if self.loss == "square" else self.steps * len(self.copies)


#: The margin from where the row is, cross-entropy from noise, the likeliest classes from stripes:
#: nearly all that falls falls here.
OPENING = (
    Stage("margin", 8, "here"),
    Stage("ce", 20, "random"),
    Stage("targeted-margin", 8, copies=(0, 1, 2, 3)),
)

#: Stages of each level, in order. Of what stands after the opening only rows fall whose margin is
#: nearly gone (of seven natural networks of Fashion-MNIST and CIFAR-10 all 17 that fell to
#: anything had less than 3 % of it left), so that only these are tried long and from many starts.
#: The search without gradients is the exception: on a rugged surface (the adversarially trained
#: LeNet of MNIST) it turns rows that have a quarter of their margin left, and elsewhere it gives up
#: nearly all rows after 60 queries.
#: A row that never breaks costs the sum of their gradients at most, and where it stays far from
#: the boundary that of those without ``near``.
SCHEDULES: dict[str, tuple[Stage, ...]] = {
    "quick": (*OPENING, Stage("margin", 20, near=0.2)),
    "standard": (
        *OPENING,
        Stage("ce", 40, "random", (0, 1), near=0.05),
        Stage("margin", 20, copies=(0, 1, 2, 3), near=0.04),
        Stage("margin", 40, "here", near=0.02),
        Stage("targeted-margin", 8, copies=(4, 5, 6, 7, 8), near=0.1),
        Stage("square", 2000, "here", near=0.3, patience=60),
    ),
    "deep": (
        *OPENING,
        *(Stage("targeted-margin", 40, copies=(rank,)) for rank in range(9)),
        Stage("dlr", 20, copies=tuple(range(8))),
        Stage("ce", 100, "random"),
        Stage("square", 300),
        Stage("targeted-margin", 20, copies=tuple(range(9)), near=0.5),
        Stage("margin", 100, copies=tuple(range(4)), near=0.25),
        Stage("ce", 100, copies=(0, 1), near=0.15),
        Stage("square", 1000, "here", near=0.25, patience=200),
    ),
}


#: In L1 short descents reach little: fewer and longer ones, from wider balls. Sparse steps up the
#: margin stay with the numbers that they began with; those up cross-entropy find others.
SCHEDULES_L1: dict[str, tuple[Stage, ...]] = {
    "quick": (
        Stage("margin", 8, "here"),
        Stage("ce", 40, narrowing=True),
        Stage("margin", 32, copies=(1,), near=0.6, narrowing=True),
    ),
    "standard": (
        Stage("margin", 8, "here"),
        Stage("ce", 40, copies=(0, 1), narrowing=True),
        Stage("margin", 40, copies=(1,), near=0.6, narrowing=True),
        Stage("targeted-margin", 30, "random", (0, 1), near=0.3, narrowing=True),
        Stage("margin", 80, copies=(2,), near=0.2, narrowing=True),
        Stage("square", 300, "here", near=0.1),
    ),
    "deep": (
        Stage("margin", 8, "here"),
        Stage("ce", 40, copies=(0, 1), narrowing=True),
        Stage("margin", 40, narrowing=True),
        *(Stage("targeted-margin", 60, copies=(r,), narrowing=True) for r in range(9)),
        Stage("ce", 100, "random", narrowing=True),
        Stage("square", 300),
        Stage("margin", 100, copies=tuple(range(6)), near=0.5, narrowing=True),
        Stage("square", 1000, "here", near=0.25, patience=200),
    ),
}


#: In L0 the fewest numbers of all radii come of one long descent; what stands is tried at its own
#: radius from where that ended, and from elsewhere.
SCHEDULES_L0: dict[str, tuple[Stage, ...]] = {
    "quick": (Stage("sigma-zero", 48), Stage("margin", 8, "here"), Stage("ce", 20, "random")),
    "standard": (
        Stage("sigma-zero", 100),
        Stage("margin", 20, "here"),
        Stage("ce", 20, "random"),
        Stage("targeted-margin", 8, copies=(0, 1, 2, 3)),
        Stage("square", 500, "here", near=0.15),
    ),
    "deep": (
        Stage("sigma-zero", 400),
        Stage("margin", 20, "here"),
        *(Stage("targeted-margin", 20, copies=(rank,)) for rank in range(9)),
        Stage("dlr", 20, copies=tuple(range(8))),
        Stage("ce", 100, "random"),
        Stage("square", 300),
        Stage("margin", 100, copies=tuple(range(4)), near=0.25),
        Stage("square", 1000, "here", near=0.25, patience=200),
    ),
}


def schedule(level: str, norm: float = math.inf) -> tuple[Stage, ...]:
    """Stages of a level, within its cap.

    Parameters
    ----------
    level : {"quick", "standard", "deep"}
    norm : float

    Raises
    ------
    crenel.errors.UsageError
        Where there is no such level.
    """
    most = gradients(level)
    known = SCHEDULES_L0 if norm == 0 else SCHEDULES_L1 if norm == 1 else SCHEDULES
    stages = known[level]
    assert sum(s.gradients for s in stages) <= most
    return stages

"""What is said of a class that was held against others."""

from __future__ import annotations

from dataclasses import dataclass

from crenel.transfer.hidden.kinds import Family

#: Chances of a false alarm that are accepted: among the classes alone, and beside siblings, where
#: what is easy by nature counts no more.
ALPHA, BESIDE = 0.01, 0.03


@dataclass(frozen=True)
class Verdict:
    """What was found of the easiest class.

    Attributes
    ----------
    goal : int
        The class, by position.
    chance : float
        Chance that a network without a trigger has a class that is as easy, over all choices.
    parts : dict of str to float
        Chances that were joined to that one.
    less : dict of str to float
        By family: how many times the class's cost goes into the median of the others.
    siblings : int
        Networks without a trigger that the class was held against; 0 where it was held against
        the other classes alone.
    """

    goal: int
    chance: float
    parts: dict[str, float]
    less: dict[Family, float]
    siblings: int = 0

    @property
    def stands_out(self) -> bool:
        """Whether the class is easier than chance explains."""
        return self.chance < (BESIDE if self.siblings else ALPHA)

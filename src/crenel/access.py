"""What the attacker sees and may do."""

from __future__ import annotations

from enum import StrEnum

from pydantic import BaseModel, ConfigDict, Field


class Attacker(StrEnum):
    """What the attacker sees of the system, strongest first."""

    WEIGHTS = "weights"
    GRADIENTS = "gradients"
    SCORES = "scores"
    LABELS = "labels"
    FEATURES = "features"
    BASE = "base"
    DATA = "data"
    NONE = "none"


#: How easily each kind of knowledge is had, in (0, 1]; a factor of a finding's severity.
EASE = {
    Attacker.WEIGHTS: 0.5,
    Attacker.GRADIENTS: 0.5,
    Attacker.FEATURES: 0.7,
    Attacker.DATA: 0.8,
    Attacker.SCORES: 0.9,
    Attacker.BASE: 0.9,
    Attacker.LABELS: 1.0,
    Attacker.NONE: 1.0,
}

WORDS = {
    Attacker.WEIGHTS: "holds the model's weights",
    Attacker.GRADIENTS: "can compute gradients",
    Attacker.SCORES: "sees scores",
    Attacker.LABELS: "sees decisions only",
    Attacker.FEATURES: "sees feature vectors",
    Attacker.BASE: "has the public base model only",
    Attacker.DATA: "supplies data",
    Attacker.NONE: "sees nothing",
}


class Access(BaseModel):
    """What the attacker has.

    Parameters
    ----------
    attacker : Attacker
        What of the system is seen.
    queries_per_day : int or None
        Requests that go unnoticed; None: unlimited.
    data_share : float or None
        Share of the training rows that the attacker supplies, in [0, 1].
    samples_per_day : int or None
        Samples that the attacker feeds a learning model.
    price_per_1000 : float or None
        What 1,000 queries cost, in whatever money.
    goal : label or None
        The class that the attacker wants inputs to be taken for, as the model names it; None: any
        wrong one will do.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    attacker: Attacker = Attacker.SCORES
    queries_per_day: int | None = Field(default=None, ge=1)
    data_share: float | None = Field(default=None, ge=0, le=1)
    samples_per_day: int | None = Field(default=None, ge=1)
    price_per_1000: float | None = Field(default=None, ge=0)
    goal: bool | int | float | str | None = None

    def sentence(self) -> str:
        """What this attacker has, as words that follow "attacker"."""
        words = WORDS[self.attacker]
        if self.queries_per_day:
            words += f", {self.queries_per_day:,} queries a day"
        return words

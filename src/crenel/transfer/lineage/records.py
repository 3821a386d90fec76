"""What a comparison of two models says: layers, a verdict, and how sure it is."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from crenel.transfer.lineage.folders import Papers


#: Chance of a false alarm for one pair of models: log10.
ALPHA = -6.0


class Status(StrEnum):
    """What became of one array of the base."""

    IDENTICAL = "identical"
    TUNED = "tuned"
    OTHER = "other"
    CHANGED = "changed"
    RESHAPED = "reshaped"
    NEW = "new"
    DROPPED = "dropped"


class Verdict(StrEnum):
    """How a model relates to a base, nearest first."""

    COPY = "copy"
    TUNED = "tuned copy"
    PERMUTED = "copy with permuted channels"
    PARTIAL = "partial copy"
    ARCHITECTURE = "same architecture, other weights"
    UNRELATED = "unrelated"

    @property
    def rank(self) -> int:
        """0 for a copy to 5 for unrelated."""
        return list(Verdict).index(self)

    @property
    def related(self) -> bool:
        """Whether weights of the base are in the model."""
        return self.rank <= Verdict.PARTIAL.rank


@dataclass(frozen=True)
class Layer:
    """One array of the base, of the model, or of both.

    Attributes
    ----------
    base, tuned : str
        Its names; empty where it is not there.
    shape : tuple of int
        In the model; in the base where it was dropped.
    status : Status
        ``tuned``: more alike than chance allows; ``other``: matched, and no more alike than
        unrelated weights; ``changed``: a vector, whose likeness says nothing.
    parameters : int
    matched : str
        "name", "order" or "likeness"; empty where it is in one model only.
    cosine, change : float or None
        Cosine, and norm of the change over that of the base.
    z : float or None
        Likeness in standard deviations of unrelated weights.
    log10_p : float or None
        Decimal logarithm of the chance that unrelated weights are as alike, with a correction
        for the candidates among which the match was chosen.
    low_rank : float or None
        Share of the change in at most 16 singular directions.
    telling : bool
        Whether the layer can be evidence.
    """

    base: str
    tuned: str
    shape: tuple[int, ...]
    status: Status
    parameters: int
    matched: str = ""
    cosine: float | None = None
    change: float | None = None
    z: float | None = None
    log10_p: float | None = None
    low_rank: float | None = None
    telling: bool = False

    @property
    def related(self) -> bool:
        """Whether the layer comes from the base; of a reshaped one, the rows that both have."""
        alike = self.status in (Status.IDENTICAL, Status.TUNED)
        kept = self.status is Status.RESHAPED and (self.log10_p or 0.0) <= ALPHA
        return self.telling and (alike or kept)

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        figures = {
            name: None if value is None or not math.isfinite(value) else float(f"{value:.6g}")
            for name, value in (
                ("cosine", self.cosine), ("change", self.change), ("z", self.z),
                ("log10_p", self.log10_p), ("low_rank", self.low_rank),
            )
        }  # fmt: skip
        return {
            "base": self.base,
            "tuned": self.tuned,
            "shape": list(self.shape),
            "status": str(self.status),
            "parameters": self.parameters,
            "matched": self.matched,
            "telling": self.telling,
            **figures,
        }


@dataclass(frozen=True)
class Lineage:
    """How one model relates to one base.

    Attributes
    ----------
    base, tuned : str
        Names of the two.
    verdict : Verdict
    layers : tuple of Layer
        In the order of the model, then what the base alone has.
    log10_p : float
        Decimal logarithm of the chance that a model unrelated to the base has a layer as alike
        as the likest one, with a correction for the number of layers (Bonferroni).
    share : float
        Share of the model's weights that come from the base, in [0, 1].
    share_of_base : float
        Share of the base's weights that are in the model.
    frozen : float
        Share of the model's weights that are those of the base unchanged.
    cosine : float
        Of the matched weights, weighted by their number; 0 where none are.
    papers : Papers or None
        Configuration and vocabulary, where folders were compared.
    notes : tuple of str
    """

    base: str
    tuned: str
    verdict: Verdict
    layers: tuple[Layer, ...]
    log10_p: float
    share: float
    share_of_base: float
    frozen: float
    cosine: float
    papers: Papers | None = None
    notes: tuple[str, ...] = field(default=())

    def count(self, status: Status) -> int:
        """Number of layers of one status, those that can be evidence only."""
        return sum(layer.telling and layer.status is status for layer in self.layers)

    @property
    def sentence(self) -> str:
        """The verdict with its figures, for a person; no full stop."""
        if self.verdict is Verdict.PERMUTED:
            return (
                f"the weights of {self.base} are in {self.tuned} in another order of channels "
                f"(p {power(self.log10_p)})"
            )
        if not self.verdict.related:
            matched = sum(layer.telling and layer.cosine is not None for layer in self.layers)
            if not matched:
                return f"{self.tuned} is not from {self.base}: no layer has the shape of one of it"
            what = "has the layers of" if self.verdict is Verdict.ARCHITECTURE else "is not from"
            return (
                f"{self.tuned} {what} {self.base}: none of {matched} matched layers is more alike "
                f"than unrelated ones (p {power(self.log10_p)})"
            )
        counts = [
            f"{n} {status}" for status in (Status.IDENTICAL, Status.TUNED, Status.OTHER,
                                           Status.RESHAPED, Status.NEW, Status.DROPPED)
            if (n := self.count(status))
        ]  # fmt: skip
        return (
            f"{self.tuned} is a {self.verdict} of {self.base}: {100 * self.share:.0f} % of its "
            f"weights come from it, {100 * self.frozen:.0f} % unchanged; layers: "
            f"{', '.join(counts)} (p {power(self.log10_p)})"
        )

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        return {
            "base": self.base,
            "model": self.tuned,
            "verdict": str(self.verdict),
            "related": self.verdict.related,
            "log10_p": round(self.log10_p, 3),
            "share": round(self.share, 6),
            "share_of_base": round(self.share_of_base, 6),
            "frozen": round(self.frozen, 6),
            "cosine": round(self.cosine, 6),
            "sentence": self.sentence,
            "papers": None if self.papers is None else self.papers.to_json(),
            "notes": list(self.notes),
            "layers": [layer.to_json() for layer in self.layers],
        }


def power(log10_p: float) -> str:
    """A chance as "0.03" or "below 1e-12"."""
    if log10_p > -3:
        return f"{min(1.0, 10**log10_p):.2g}"
    return f"below 1e{math.ceil(log10_p)}"

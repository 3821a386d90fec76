"""Mine, plant, measure: patterns of a data set that a model obeys although the rest disagrees."""

from __future__ import annotations

from crenel.lazy import public

__all__, __getattr__ = public(
    __name__,
    {"Mined": "judged", "Mining": "mine", "mine_triggers": "mine"},
)

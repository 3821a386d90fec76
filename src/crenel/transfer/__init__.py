"""Risk 4: model files, the public base as a weapon, and what is written about it."""

from __future__ import annotations

from crenel.lazy import public

__all__, __getattr__ = public(
    __name__,
    {
        "Card": "card",
        "parse_card": "card",
        "read_card": "card",
        "Facts": "items",
        "Item": "items",
        "State": "items",
        "review": "checklist",
        "Ranged": "surrogate",
        "craft": "surrogate",
        "noise": "surrogate",
    },
)

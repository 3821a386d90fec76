"""Risk 4: model files, the public base as a weapon, and what is written about it."""

from __future__ import annotations

from crenel.lazy import public

__all__, __getattr__ = public(
    __name__,
    {
        "Card": "papers.card",
        "parse_card": "papers.card",
        "read_card": "papers.card",
        "Facts": "papers.items",
        "Item": "papers.items",
        "State": "papers.items",
        "review": "papers.checklist",
        "Ranged": "base.surrogate",
        "craft": "base.surrogate",
        "noise": "base.surrogate",
    },
)

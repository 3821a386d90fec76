"""Behaviour that a network hides: triggers recovered from its weights and a few clean images."""

from __future__ import annotations

from crenel.lazy import public

__all__, __getattr__ = public(
    __name__,
    {
        "Images": "recovery",
        "Recovered": "recovery",
        "recover_triggers": "recovery",
        "largest_margins": "margin",
    },
)

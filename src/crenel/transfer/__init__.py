"""Risk 4: model files, the public base as a weapon, and what is written about it."""

from __future__ import annotations

from importlib import import_module
from typing import Any

_HOMES = {
    "Card": "card",
    "parse_card": "card",
    "read_card": "card",
    "Facts": "checklist",
    "Item": "checklist",
    "State": "checklist",
    "review": "checklist",
    "Ranged": "surrogate",
    "craft": "surrogate",
    "noise": "surrogate",
}

__all__ = sorted(_HOMES)


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(import_module(f"crenel.transfer.{_HOMES[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")

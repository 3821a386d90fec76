"""Risk 2, data poisoning: which records are bad, and how much harm could bad ones do."""

from __future__ import annotations

from importlib import import_module
from typing import Any

_HOMES = {
    "LabelScores": "labels",
    "Trigger": "triggers",
    "confident_joint": "labels",
    "dose_response": "dose",
    "find_triggers": "triggers",
    "review_labels": "review",
    "source_effects": "sources",
    "wrong_labels": "labels",
}

__all__ = sorted(_HOMES)


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)

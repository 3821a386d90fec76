"""Risk 3: how many samples nudge a model that keeps learning to a wrong behaviour."""

from __future__ import annotations

from importlib import import_module
from typing import Any

_HOMES = {
    "Live": "learners",
    "Snapshot": "learners",
    "fresh": "learners",
    "prequential": "learners",
    "Poison": "poison",
    "smallest_burst": "burst",
    "still_turned": "burst",
    "mixed": "burst",
    "critical_share": "burst",
    "feed_broken": "brittle",
}

__all__ = sorted(_HOMES)


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(import_module(f"crenel.online.{_HOMES[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")

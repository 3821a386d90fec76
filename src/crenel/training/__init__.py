"""Training a user's model again: out-of-fold predictions and shadow models, shared by risks."""

from __future__ import annotations

from importlib import import_module
from typing import Any

_HOMES = {
    "OutOfFold": "folds",
    "fold_numbers": "folds",
    "out_of_fold": "folds",
    "one_core": "threads",
    "side_by_side": "threads",
}

__all__ = sorted(_HOMES)


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)

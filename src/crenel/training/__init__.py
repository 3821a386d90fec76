"""Training a user's model again: out-of-fold predictions and shadow models, shared by risks."""

from __future__ import annotations

from crenel.lazy import public

__all__, __getattr__ = public(
    __name__,
    {
        "OutOfFold": "folds",
        "fold_numbers": "folds",
        "out_of_fold": "folds",
        "one_core": "threads",
        "side_by_side": "threads",
    },
)

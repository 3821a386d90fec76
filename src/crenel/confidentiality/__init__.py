"""Risk 5: what can be recovered of the records and of the model through its answers."""

from __future__ import annotations

from crenel.lazy import public

__all__, __getattr__ = public(
    __name__,
    {
        "ColumnHit": "scanner",
        "extraction": "copying",
        "likelihood_ratio": "likelihood",
        "membership": "members",
        "pair_ratio": "likelihood",
        "personal_data": "scanner",
    },
)

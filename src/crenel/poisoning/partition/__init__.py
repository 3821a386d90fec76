"""Votes over models that each see one part of the training rows, and what they certify."""

from __future__ import annotations

from crenel.lazy import public

__all__, __getattr__ = public(
    __name__,
    {
        "CertifiedCurve": "curve",
        "PartitionEnsemble": "ensemble",
        "count_votes": "runoff",
        "partitions_of": "rows",
        "plurality": "votes",
        "row_numbers": "rows",
        "run_off": "runoff",
    },
)

"""Risk 3: how many samples nudge a model that keeps learning to a wrong behaviour."""

from __future__ import annotations

from crenel.lazy import public

__all__, __getattr__ = public(
    __name__,
    {
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
    },
)

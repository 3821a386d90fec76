"""What training without each source would change, without training: all sources in one pass."""

from __future__ import annotations

from crenel.lazy import public

__all__, __getattr__ = public(
    __name__,
    {"SourceInfluence": "effects", "source_influence": "removal", "warm_up": "removal"},
)

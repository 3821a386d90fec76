"""Certificates: proofs that no change within a radius turns a decision.

`certified_radius` and `certified` bound a network from its weights; `Smoothed` proves L2 radii of
any model by noise. Names are imported when first asked for, since they need torch or scipy.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from crenel.evasion.certify.ladder import branched, still_open
    from crenel.evasion.certify.radius import certified, certified_radius
    from crenel.evasion.certify.smoothing import Smoothed
    from crenel.evasion.certify.tracing import graph_of

_HOMES = {
    "branched": "ladder",
    "still_open": "ladder",
    "certified": "radius",
    "certified_radius": "radius",
    "graph_of": "tracing",
    "Smoothed": "smoothing",
}
__all__ = ["Smoothed", "branched", "certified", "certified_radius", "graph_of", "still_open"]


def __getattr__(name: str) -> Any:
    from importlib import import_module

    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)

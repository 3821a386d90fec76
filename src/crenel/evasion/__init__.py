"""Risk 1: how small a change to an input makes the model wrong."""

from __future__ import annotations

from crenel.lazy import public

__all__, __getattr__ = public(
    __name__,
    {
        "apgd": "descent",
        "evaluate": "evaluation",
        "field_search": "fields",
        "gradient_attack": "cascade",
        "legal": "legality",
        "minimal_norm": "minimal",
        "query_attack": "blackbox",
        "text_search": "text",
        "TreeDistances": "trees",
        "tree_distance": "trees",
        "TreeRanges": "trees",
        "tree_ranges": "trees",
        "Verdicts": "verdicts",
        "verdicts_of": "evaluation",
    },
)

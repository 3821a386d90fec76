"""Risk 1: how small a change to an input makes the model wrong."""

from __future__ import annotations

from crenel.lazy import public

__all__, __getattr__ = public(
    __name__,
    {
        "apgd": "gradients.descent",
        "evaluate": "evaluation",
        "field_search": "fields.search",
        "gradient_attack": "gradients.cascade",
        "legal": "fields.legality",
        "minimal_norm": "gradients.minimal",
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

"""Risk 1 on text: which few edits of characters or words turn the decision."""

from __future__ import annotations

from crenel.lazy import public

__all__, __getattr__ = public(
    __name__,
    {
        "TextSearch": "search",
        "learn_words": "embeddings",
        "normalise": "normalising",
        "text_search": "attack",
    },
)

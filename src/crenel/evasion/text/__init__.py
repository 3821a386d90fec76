"""Risk 1 on text: which few edits of characters or words turn the decision."""

from __future__ import annotations

from importlib import import_module
from typing import Any

_PUBLIC = {
    "TextSearch": "crenel.evasion.text.search",
    "learn_words": "crenel.evasion.text.embeddings",
    "normalise": "crenel.evasion.text.normalising",
    "text_search": "crenel.evasion.text.attack",
}

__all__ = list(_PUBLIC)


def __getattr__(name: str) -> Any:
    if name in _PUBLIC:
        return getattr(import_module(_PUBLIC[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")

"""Risk 1: how small a change to an input makes the model wrong."""

from __future__ import annotations

from importlib import import_module
from typing import Any

# No module bears the name of a function in it: importing the module would hide the function.
_PUBLIC = {
    "apgd": "crenel.evasion.descent",
    "evaluate": "crenel.evasion.evaluation",
    "field_search": "crenel.evasion.fields",
    "gradient_attack": "crenel.evasion.cascade",
    "legal": "crenel.evasion.legality",
    "minimal_norm": "crenel.evasion.minimal",
    "query_attack": "crenel.evasion.blackbox",
    "text_search": "crenel.evasion.text",
    "TreeDistances": "crenel.evasion.trees",
    "tree_distance": "crenel.evasion.trees",
    "Verdicts": "crenel.evasion.verdicts",
    "verdicts_of": "crenel.evasion.evaluation",
}

__all__ = list(_PUBLIC)


def __getattr__(name: str) -> Any:
    if name in _PUBLIC:
        return getattr(import_module(_PUBLIC[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")

"""Risk 5: what can be recovered of the records and of the model through its answers."""

from __future__ import annotations

from importlib import import_module
from typing import Any

# No module bears the name of a function in it: importing the module would hide the function.
_PUBLIC = {
    "ColumnHit": "crenel.confidentiality.scanner",
    "extraction": "crenel.confidentiality.copying",
    "likelihood_ratio": "crenel.confidentiality.likelihood",
    "membership": "crenel.confidentiality.members",
    "pair_ratio": "crenel.confidentiality.likelihood",
    "personal_data": "crenel.confidentiality.scanner",
}

__all__ = list(_PUBLIC)


def __getattr__(name: str) -> Any:
    if name in _PUBLIC:
        return getattr(import_module(_PUBLIC[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")

"""Public names of a package that are imported when they are first asked for."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from importlib import import_module
from typing import Any


def public(package: str, homes: Mapping[str, str]) -> tuple[list[str], Callable[[str], Any]]:
    """Make ``__all__`` and ``__getattr__`` of a package whose modules are heavy.

    No module may bear the name of a function in it: importing the module would hide the function.

    Parameters
    ----------
    package : str
        The package's ``__name__``.
    homes : mapping of str to str
        From each public name to the module below the package that defines it.
    """

    def find(name: str) -> Any:
        if name not in homes:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        return getattr(import_module(f"{package}.{homes[name]}"), name)

    return sorted(homes), find

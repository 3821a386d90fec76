"""Python objects named as ``module:name`` in a configuration."""

from __future__ import annotations

import importlib
import importlib.util
import inspect
import re
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

from crenel.errors import SubjectError, UsageError

_NAME = re.compile(r"[A-Za-z_][\w.]*:[A-Za-z_][\w.]*")


def is_reference(text: object) -> bool:
    """Whether a text has the form ``module:name``."""
    return isinstance(text, str) and _NAME.fullmatch(text) is not None


def resolve(reference: str, root: Path, what: str = "model") -> Any:
    """The object that ``module:name`` stands for.

    Parameters
    ----------
    reference : str
    root : Path
        The folder of the configuration; it is put on ``sys.path``, and its modules come first.
    what : str
        The key of the configuration, for messages.

    Raises
    ------
    UsageError
        Where the module or the name does not exist.
    SubjectError
        Where importing the module fails by the module's own fault.
    """
    if not is_reference(reference):
        raise UsageError(f'{what}: {reference!r} is not of the form "module:function"')
    module_name, _, name = reference.partition(":")
    found: Any = _import(module_name, root, what)
    for part in name.split("."):
        if not hasattr(found, part):
            raise UsageError(f"{what}: the module {module_name} has no {name!r}")
        found = getattr(found, part)
    return found


def resolve_callable(value: Any, root: Path, what: str) -> Callable[..., Any]:
    """A callable, given as such or by name."""
    found = resolve(value, root, what) if isinstance(value, str) else value
    if not callable(found):
        raise UsageError(f"{what}: {value!r} is not a function; name one as module:function")
    return found  # type: ignore[no-any-return]


def made(value: Any) -> Any:
    """What a function without arguments returns; anything else as it is."""
    if isinstance(value, type) or (callable(value) and not hasattr(value, "predict")):
        try:
            signature = inspect.signature(value)
        except (TypeError, ValueError):
            return value
        if not _takes_rows(signature):
            return value()
    return value


def _takes_rows(signature: inspect.Signature) -> bool:
    kinds = inspect.Parameter
    return any(
        p.kind is kinds.VAR_POSITIONAL
        or (
            p.default is kinds.empty
            and p.kind in (kinds.POSITIONAL_ONLY, kinds.POSITIONAL_OR_KEYWORD)
        )
        for p in signature.parameters.values()
    )


def add_to_path(root: Path) -> None:
    """Put a folder first on ``sys.path``, so that models find the modules beside them."""
    folder = str(root.resolve())
    if folder not in sys.path:
        sys.path.insert(0, folder)


def _import(name: str, root: Path, what: str) -> ModuleType:
    add_to_path(root)
    beside = root.resolve() / f"{name.replace('.', '/')}.py"
    try:
        loaded = sys.modules.get(name)
        if loaded is not None and beside.is_file() and not _same_file(loaded, beside):
            return _load_file(name, beside)  # another configuration has a module of that name
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name and (name == error.name or name.startswith(f"{error.name}.")):
            raise UsageError(
                f"{what}: there is no module {name!r}, neither in {root.resolve()} "
                "nor among the installed ones"
            ) from error
        raise SubjectError(
            f"{what}: the module {name} needs {error.name}, which is not installed"
        ) from error
    except Exception as error:
        raise SubjectError(
            f"{what}: importing the module {name} failed: "
            f"{type(error).__name__}: {first_line(error)}"
        ) from error


def _same_file(module: ModuleType, path: Path) -> bool:
    own = getattr(module, "__file__", None)
    return own is not None and Path(own).resolve() == path


def _load_file(name: str, path: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


def first_line(error: BaseException) -> str:
    """The first line of an error's own message."""
    lines = str(error).strip().splitlines()
    return lines[0].strip() if lines else type(error).__name__

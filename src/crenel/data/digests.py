"""Digests of inputs, for the record of a run."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

_PART = 1 << 20


def digest_file(path: str | Path) -> str:
    """``sha256:…`` of a file's bytes; of a folder, of the names and digests of its files.

    Raises
    ------
    OSError
        Where it cannot be read.
    """
    path = Path(path)
    total = hashlib.sha256()
    if path.is_dir():
        for file in sorted(p for p in path.rglob("*") if p.is_file()):
            _add(total, file.relative_to(path).as_posix(), digest_file(file).encode())
        return f"sha256:{total.hexdigest()}"
    with path.open("rb") as stream:
        while part := stream.read(_PART):
            total.update(part)
    return f"sha256:{total.hexdigest()}"


def digest_array(x: NDArray[Any]) -> str:
    """``sha256:…`` of an array's type, shape and values, whatever its memory layout."""
    total = hashlib.sha256()
    _add_array(total, "array", np.asarray(x))
    return f"sha256:{total.hexdigest()}"


def digest_frame(frame: Any) -> str:
    """``sha256:…`` of a pandas frame's column names, types and values; its index does not count."""
    total = hashlib.sha256()
    for name in frame.columns:
        column = frame[name]
        if column.dtype.kind in "biufmM":
            _add_array(total, str(name), column.to_numpy())
        else:
            _add(total, f"{name}|text", b"")
            for value in column.astype(object).where(column.notna(), None):
                text = "" if value is None else f"{type(value).__name__}:{value}"
                _add(total, "", text.encode())
    return f"sha256:{total.hexdigest()}"


def _add_array(total: Any, name: str, x: NDArray[Any]) -> None:
    if x.dtype.hasobject:
        for value in x.ravel():
            _add(total, "", f"{type(value).__name__}:{value}".encode())
        _add(total, f"{name}|object|{x.shape}", b"")
        return
    if x.dtype.kind in "mM":
        x = x.view(np.int64)
    ordered = np.ascontiguousarray(x, dtype=x.dtype.newbyteorder("<"))
    _add(total, f"{name}|{ordered.dtype.str}|{x.shape}", ordered.tobytes())


def _add(total: Any, name: str, content: bytes) -> None:
    """Add a name and some bytes, each with its length so that none can run into another."""
    for part in (name.encode(), content):
        total.update(len(part).to_bytes(8, "little"))
        total.update(part)

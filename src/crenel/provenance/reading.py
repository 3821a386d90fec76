"""Files as tables of canonical columns: whole, never sampled, never unpickled."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from crenel.data.digests import digest_file
from crenel.errors import SubjectError, UsageError
from crenel.provenance.columns import Columns, arrow, as_columns
from crenel.provenance.delimited import read_delimited

_PARQUET = (".parquet", ".pq")
_ARROW = (".arrow", ".feather", ".ipc")
_LINES = (".jsonl", ".ndjson")
_DELIMITED = (".csv", ".tsv", ".psv")
#: Tables, or not.
_TEXT = (".txt", ".data")
_COMPRESSED = (".gz", ".bz2", ".xz")


def read_columns(path: Path, types: Mapping[str, str] | None = None) -> Columns | None:
    """Read a file of rows, or list a folder's files as rows.

    Parameters
    ----------
    path : Path
        CSV and its kin (.gz, .bz2, .xz too; .txt where it is a table), Parquet, Arrow, Feather,
        JSON lines, NPZ with arrays of one length, or a folder: its files are rows with the columns
        path, label (the subfolder) and sha256.
    types : mapping, optional
        Canonical types of columns, for text files; see `read_delimited`.

    Returns
    -------
    Columns or None
        None for a file of another kind, which has no rows.

    Raises
    ------
    UsageError
        Where there is no such file.
    SubjectError
        Where it cannot be read.
    """
    if not path.exists():
        raise UsageError(f"there is no file {path}")
    if path.is_dir():
        return list_folder(path)
    suffixes = [s.lower() for s in path.suffixes]
    suffix = suffixes[-1] if suffixes else ""
    plain = suffixes[-2] if suffix in _COMPRESSED and len(suffixes) > 1 else suffix
    pa = arrow()
    try:
        if plain in _DELIMITED:
            return read_delimited(path, types or {})
        if plain in _TEXT:
            return _table_or_text(path, types or {})
        if suffix == ".npz":
            return _read_arrays(path)
        table = _read_arrow(pa, path, suffix)
    except (pa.ArrowException, OSError, EOFError, ValueError) as error:
        reason = str(error).strip().splitlines()[0] if str(error).strip() else "it is damaged"
        raise SubjectError(f"{path} cannot be read: {reason}") from error
    return None if table is None else as_columns(table, str(path))


def _table_or_text(path: Path, types: Mapping[str, str]) -> Columns | None:
    """A table, or None for text that is none; types that are declared must fit all the same."""
    try:
        return read_delimited(path, types)
    except SubjectError:
        if types:
            raise
        return None


def _read_arrow(pa: Any, path: Path, suffix: str) -> Any:
    if suffix in _PARQUET:
        import pyarrow.parquet

        return pyarrow.parquet.ParquetFile(path).read()
    if suffix in _ARROW:
        import pyarrow.feather

        with pa.memory_map(str(path)) as source:
            try:
                return pa.ipc.open_file(source).read_all()
            except pa.ArrowInvalid:
                source.seek(0)
                return pa.ipc.open_stream(source).read_all()
    if suffix in _LINES:
        import pyarrow.json

        return pyarrow.json.read_json(path)
    return None


def _read_arrays(path: Path) -> Columns:
    """The arrays of an NPZ file that are as long as the first one, each as a column."""
    with np.load(path, allow_pickle=False) as file:
        arrays = {name: file[name] for name in file.files}
    if not arrays or any(a.ndim == 0 for a in arrays.values()):
        raise SubjectError(f"{path} holds no rows; save arrays: numpy.savez(…, x=x, y=y)")
    lengths = {len(a) for a in arrays.values()}
    if len(lengths) > 1:
        raise SubjectError(
            f"{path} holds arrays of {', '.join(map(str, sorted(lengths)))} rows; save those that "
            "belong together in one file"
        )
    names = tuple(arrays)
    made = [_array_column(name, a) for name, a in arrays.items()]
    return Columns(names, tuple(t for t, _ in made), tuple(a for _, a in made), lengths.pop())


def _array_column(name: str, array: NDArray[Any]) -> tuple[str, Any]:
    if array.ndim == 1:
        column = as_columns({name: array})
        return column.types[0], column.arrays[0]
    shape = "x".join(map(str, array.shape[1:]))
    return f"array<{array.dtype.newbyteorder('=').name},{shape}>", array


def list_folder(folder: Path) -> Columns:
    """The files below a folder as rows: path, label (first subfolder) and SHA-256.

    Raises
    ------
    SubjectError
        Where there are none.
    """
    files = sorted(
        p.relative_to(folder)
        for p in folder.rglob("*")
        if p.is_file() and not any(part.startswith(".") for part in p.relative_to(folder).parts)
    )
    if not files:
        raise SubjectError(f"{folder} holds no files")
    pa = arrow()
    digests = [bytes.fromhex(digest_file(folder / f).removeprefix("sha256:")) for f in files]
    labels = [f.parts[0] if len(f.parts) > 1 else None for f in files]
    paths = [f.as_posix() for f in files]
    arrays = (
        pa.array(paths, pa.large_string()),
        pa.array(labels, pa.large_string()),
        pa.array(digests, pa.large_binary()),
    )
    return Columns(("path", "label", "sha256"), ("text", "text", "bytes"), arrays, len(files))


def file_digest(path: Path) -> str:
    """The SHA-256 of a file's bytes, in hexadecimal.

    Raises
    ------
    UsageError
        Where it cannot be read.
    """
    try:
        with path.open("rb") as stream:
            return hashlib.file_digest(stream, "sha256").hexdigest()
    except OSError as error:
        raise UsageError(f"{path} cannot be read: {error.strerror}") from error

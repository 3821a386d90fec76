"""Rows, labels, ids and sources out of a file or of the user's own objects."""

from __future__ import annotations

from difflib import get_close_matches
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from crenel.adapters.labels import as_labels
from crenel.data.csv import read_csv
from crenel.data.images import load_images
from crenel.data.sampling import MAX_BYTES, MAX_ROWS, sample_blocks
from crenel.errors import MissingExtra, SubjectError, UsageError

#: Name of the column that texts get which are given without one.
TEXT = "text"
_PARQUET = (".parquet", ".pq")
_ARROW = (".arrow", ".feather", ".ipc")
_X = ("x", "X", "data", "images", "features", "x_test", "x_train")
_Y = ("y", "Y", "target", "labels", "label", "y_test", "y_train")


class Loaded(NamedTuple):
    """Rows with what belongs to them.

    Attributes
    ----------
    x : pandas.DataFrame or ndarray, n rows
        Without the columns of the label, the source and the id.
    labels : ndarray, shape (n,), or None
        The user's own labels.
    ids : ndarray, shape (n,)
        Record ids; row numbers of the file where there are none.
    source : ndarray, shape (n,), or None
    """

    x: Any
    labels: NDArray[Any] | None
    ids: NDArray[Any]
    source: NDArray[Any] | None


def load(
    data: Any,
    *,
    label: str | None = None,
    source: str | None = None,
    record_id: str | None = None,
    root: Path | None = None,
    notes: list[str] | None = None,
    name: str = "data",
) -> Loaded:
    """Load labelled rows.

    Parameters
    ----------
    data : str, Path, frame, array or tuple
        The path of a CSV, Parquet, Arrow or Feather file, of NPZ with the arrays x and y, or of a
        folder of images with one subfolder for each class; a frame of pandas, polars or pyarrow
        with the label among its columns; ``(X, y)``, where X may be a list of texts.
    label, source, record_id : str, optional
        Columns of a table that are not features.
    root : Path, optional
        Folder that a relative path is in.
    notes : list of str, optional
        What was assumed is added here.
    name : str
        For messages: "train", "test".

    Returns
    -------
    Loaded

    Raises
    ------
    UsageError
        Where the file or a column does not exist, or no label is named.
    SubjectError
        Where the file cannot be read.
    """
    notes = [] if notes is None else notes
    if isinstance(data, (str, Path)):
        path = existing(data, Path(root or "."), name)
        if path.is_dir():
            x, labels, ids = load_images(path, notes)
            return Loaded(x, labels, ids, None)
        if path.suffix.lower() in (".npz", ".npy"):
            return _pair(*load_arrays(path), name, label, source, record_id)
        return split(
            load_table(path, notes=notes), label, source, record_id, f"{name} ({path.name})"
        )
    if isinstance(data, (tuple, list)):
        if len(data) != 2:
            raise UsageError(f"{name}: give a pair (X, y), not {len(data)} things")
        return _pair(data[0], data[1], name, label, source, record_id)
    frame = to_pandas(data)
    if frame is None:
        raise UsageError(
            f"{name}: a {type(data).__name__} holds no labels; give (X, y), or a table with the "
            'label among its columns and label = "…"'
        )
    return split(frame, label, source, record_id, name)


def load_table(
    path: str | Path,
    *,
    notes: list[str] | None = None,
    max_rows: int = MAX_ROWS,
    max_bytes: int = MAX_BYTES,
    seed: int = 0,
) -> Any:
    """Read a table from a CSV, Parquet, Arrow or Feather file.

    Parameters
    ----------
    path : str or Path
        CSV and its kin may be compressed (.gz, .bz2, .xz).
    notes : list of str, optional
        What was assumed is added here.
    max_rows, max_bytes : int
        Above these a uniform sample of the rows is taken, reading in bounded memory.

    Returns
    -------
    pandas.DataFrame
        The index holds the row numbers of the file from 0.

    Raises
    ------
    UsageError
        Where there is no such file.
    SubjectError
        Where it cannot be read.
    MissingExtra
        Where Parquet or Arrow is given and pyarrow is not installed.
    """
    path = existing(path, Path("."), "data")
    notes = [] if notes is None else notes
    limits = {"max_rows": max_rows, "max_bytes": max_bytes, "seed": seed}
    if path.suffix.lower() not in (*_PARQUET, *_ARROW):
        return read_csv(path, notes, **limits)
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError as error:
        raise MissingExtra("pyarrow", "parquet") from error
    blocks = _parquet_blocks if path.suffix.lower() in _PARQUET else _arrow_blocks
    try:
        frame, total = sample_blocks(blocks(path), **limits)
    except (pyarrow.ArrowException, OSError) as error:
        raise SubjectError(f"{path} cannot be read: {str(error).splitlines()[0]}") from error
    if total > len(frame):
        notes.append(f"{path.name} has {total:,} rows; a uniform sample of {len(frame):,} is used")
    return frame


def _parquet_blocks(path: Path) -> Any:
    import pyarrow.parquet

    with pyarrow.parquet.ParquetFile(path) as file:
        for batch in file.iter_batches(batch_size=65_536):
            yield batch.to_pandas().reset_index(drop=True)


def _arrow_blocks(path: Path) -> Any:
    import pyarrow

    with pyarrow.memory_map(str(path)) as source:
        try:
            reader = pyarrow.ipc.open_file(source)
        except pyarrow.ArrowInvalid:
            source.seek(0)
            for batch in pyarrow.ipc.open_stream(source):
                yield batch.to_pandas().reset_index(drop=True)
            return
        for i in range(reader.num_record_batches):
            yield reader.get_batch(i).to_pandas().reset_index(drop=True)


def load_arrays(path: Path) -> tuple[NDArray[Any], NDArray[Any]]:
    """The arrays x (n, …) and y (n,) of an NPZ file; pickled objects are never read.

    Raises
    ------
    SubjectError
        Where it holds no such arrays, or objects.
    """
    if path.suffix.lower() == ".npy":
        raise SubjectError(f"{path} holds rows without labels; save both: numpy.savez(…, x=x, y=y)")
    try:
        with np.load(path, allow_pickle=False) as file:
            x = next((k for k in _X if k in file.files), None)
            y = next((k for k in _Y if k in file.files), None)
            if x is None or y is None:
                raise SubjectError(
                    f"{path} holds the arrays {', '.join(file.files)}, and x and y are needed; "
                    "save it again: numpy.savez(…, x=x, y=y)"
                )
            return file[x], file[y]
    except (ValueError, OSError) as error:
        what = (
            "holds Python objects, which are never unpickled"
            if "pickle" in str(error)
            else (f"cannot be read: {error}")
        )
        raise SubjectError(f"{path} {what}; save plain numbers or text") from error


def to_pandas(data: Any) -> Any:
    """A frame of pandas, polars or pyarrow as one of pandas; None for anything else."""
    if hasattr(data, "iloc") and hasattr(data, "columns"):
        return data
    if not type(data).__module__.startswith(("polars", "pyarrow")):
        return None
    if hasattr(data, "collect"):
        data = data.collect()
    import narwhals as nw

    try:
        return nw.from_native(data, eager_only=True).to_pandas()
    except (ImportError, ModuleNotFoundError) as error:
        raise MissingExtra("pyarrow", "parquet") from error


def split(
    frame: Any, label: str | None, source: str | None, record_id: str | None, name: str
) -> Loaded:
    """A table's features apart from its label, source and id columns."""
    frame = frame.set_axis([str(c) for c in frame.columns], axis=1)
    if not frame.columns.is_unique:
        twice = frame.columns[frame.columns.duplicated()][0]
        raise SubjectError(f"{name} has two columns named {twice!r}; rename one")
    if label is None:
        raise UsageError(
            f'{name}: name the column of the label: label = "…"; the columns are '
            f"{columns_shown(frame.columns)}"
        )
    for key, column in (("label", label), ("source", source), ("record_id", record_id)):
        if column is not None and column not in frame.columns:
            raise UsageError(_no_column(name, key, column, list(frame.columns)))
    taken = [c for c in (label, source, record_id) if c is not None]
    return Loaded(
        frame.drop(columns=taken).reset_index(drop=True),
        as_labels(frame[label]),
        np.asarray(frame.index) if record_id is None else as_labels(frame[record_id]),
        None if source is None else as_labels(frame[source]),
    )


def _pair(
    x: Any, y: Any, name: str, label: str | None, source: str | None, record_id: str | None
) -> Loaded:
    """Rows and labels that are given apart."""
    labels = as_labels(y)
    frame = _texts(x) if to_pandas(x) is None else to_pandas(x)
    if frame is not None:
        if len(frame) != len(labels):
            raise SubjectError(f"{name} has {len(frame)} rows and {len(labels)} labels")
        key = label if label is not None and label not in frame.columns else "\0label"
        whole = split(frame.assign(**{key: labels}), key, source, record_id, name)
        return whole._replace(labels=labels)
    if source is not None or record_id is not None:
        raise UsageError(f"{name}: an array has no columns; give a table for source and record_id")
    rows = np.asarray(x.toarray() if hasattr(x, "toarray") else x)
    if rows.ndim < 2 or rows.dtype.hasobject:
        raise SubjectError(
            f"{name}: the rows are an array of shape {rows.shape} and type {rows.dtype}; give one "
            "row for each record, and a DataFrame where there is text"
        )
    if len(rows) != len(labels):
        raise SubjectError(f"{name} has {len(rows)} rows and {len(labels)} labels")
    return Loaded(rows, labels, np.arange(len(rows)), None)


def _texts(x: Any) -> Any:
    """Texts (n,), of which some may be missing, as a table of one column; None for others."""
    if hasattr(x, "to_list"):
        x = x.to_list()
    if isinstance(x, np.ndarray):
        x = x.tolist() if x.ndim == 1 and x.dtype.kind in "OU" else None
    if not isinstance(x, (list, tuple)) or not any(isinstance(v, str) for v in x):
        return None
    import pandas as pd

    if not all(isinstance(v, str) or v is None or v != v for v in x):
        return None
    return pd.DataFrame({TEXT: pd.Series(list(x), dtype=object)})


def existing(path: str | Path, root: Path, name: str) -> Path:
    """A path that exists, or `UsageError` with the nearest name."""
    full = root / path
    if full.exists():
        return full
    near: list[str] = []
    if full.parent.is_dir():
        near = get_close_matches(full.name, [p.name for p in full.parent.iterdir()], n=1)
    hint = f"; did you mean {near[0]!r}?" if near else ""
    raise UsageError(f"{name}: there is no file {full}{hint}")


def columns_shown(columns: Any) -> str:
    """Column names as a short text."""
    names = [str(c) for c in columns]
    more = f" and {len(names) - 20} more" if len(names) > 20 else ""
    return ", ".join(names[:20]) + more


def _no_column(name: str, key: str, column: str, columns: list[str]) -> str:
    near = get_close_matches(column, columns, n=1)
    hint = f" (did you mean {near[0]!r}?)" if near else ""
    return (
        f"{name} has no column {column!r}, named as {key}{hint}; "
        f"its columns are {columns_shown(columns)}"
    )

"""Delimited text, read as it comes: separator, header, encoding and missing values."""

from __future__ import annotations

import bz2
import csv
import gzip
import io
import lzma
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any

from crenel.data.lines import sample_lines
from crenel.data.sampling import MAX_BYTES, MAX_ROWS, sample_blocks
from crenel.errors import SubjectError

#: Files above this size are read in blocks.
LARGE = 200_000_000
_BLOCK_ROWS = 100_000
_HEAD = 262_144
_SEPARATORS = ",;\t|"
_OPENERS: dict[str, Callable[..., Any]] = {".gz": gzip.open, ".bz2": bz2.open, ".xz": lzma.open}


def read_csv(
    path: Path,
    notes: list[str],
    *,
    max_rows: int = MAX_ROWS,
    max_bytes: int = MAX_BYTES,
    large: int = LARGE,
    seed: int = 0,
) -> Any:
    """Read a delimited text file, plain or compressed, in bounded memory.

    Parameters
    ----------
    path : Path
    notes : list of str
        What was assumed (no header, a mark for missing values, a sample) is added here.
    max_rows, max_bytes : int
        Above these a uniform sample of the rows is taken.
    large : int
        Size in bytes above which the file is read in blocks.

    Returns
    -------
    pandas.DataFrame
        Columns as they come; strings are kept as they are, with spaces; the index holds the row
        numbers of the file from 0, header not counted.

    Raises
    ------
    SubjectError
        Where the text is not UTF-8 (or UTF-16 with its mark), or the rows are of uneven length.
    """
    import pandas as pd

    encoding = encoding_of(path)
    lines = first_lines(path, encoding)
    separator = separator_of(lines)
    first, *rest = list(csv.reader(lines, delimiter=separator)) or [[]]
    settings: dict[str, Any] = {"sep": separator, "encoding": encoding}
    if not has_header(first, rest):
        settings |= {"header": None, "names": [f"c{i}" for i in range(len(first))]}
        notes.append(f"{path.name} has no header; its columns are named c0 to c{len(first) - 1}")
    limits = {"max_rows": max_rows, "max_bytes": max_bytes, "seed": seed}
    try:
        if _size(path) <= large:
            whole = pd.read_csv(path, low_memory=False, index_col=False, **settings)
            frame, total = sample_blocks([whole], **limits)
        else:
            frame, total = _large(path, settings, limits)
    except UnicodeDecodeError as error:
        raise SubjectError(_undecodable(path, encoding, error)) from error
    except pd.errors.EmptyDataError as error:
        raise SubjectError(f"{path} is empty") from error
    except pd.errors.ParserError as error:
        reason = str(error).strip().splitlines()[0].removeprefix("Error tokenizing data. C error: ")
        raise SubjectError(f"{path} is not a regular table: {reason}") from error
    if total > len(frame):
        notes.append(f"{path.name} has {total:,} rows; a uniform sample of {len(frame):,} is used")
    return _marks_to_missing(frame, path.name, notes)


def _size(path: Path) -> int:
    """The size of a file's text, guessed at twenty times the file's where it is compressed."""
    return path.stat().st_size * (20 if path.suffix.lower() in _OPENERS else 1)


def _large(path: Path, settings: dict[str, Any], limits: dict[str, int]) -> tuple[Any, int]:
    """A sample of the rows of a large file: of its lines, or, with quotes, of parsed blocks."""
    import pandas as pd

    if settings["encoding"] != "utf-16":
        with opened(path) as stream:
            header = b"" if "names" in settings else stream.readline()
            head = pd.read_csv(path, nrows=1000, index_col=False, **settings)
            each = head.memory_usage(deep=True, index=False).sum() / max(1, len(head))
            limit = min(limits["max_rows"], int(limits["max_bytes"] / max(each, 1.0)))
            sampled = None
            if b'"' not in header:
                sampled = sample_lines(stream, max(1, limit), limits["seed"])
        if sampled is not None:
            lines, numbers, total = sampled
            text = io.BytesIO(header.rstrip(b"\r\n") + b"\n" + b"\n".join(lines))
            frame = pd.read_csv(text, low_memory=False, index_col=False, **settings)
            return frame.set_axis(numbers, axis=0), total
    # types are told at the end, from all kept rows, so that blocks cannot differ
    blocks = pd.read_csv(path, dtype=str, chunksize=_BLOCK_ROWS, index_col=False, **settings)
    frame, total = sample_blocks(blocks, **limits)
    return typed(frame), total


def typed(frame: Any) -> Any:
    """Columns of text as numbers or booleans where every value is one."""
    import pandas as pd

    out = {}
    for name in frame.columns:
        column = frame[name]
        known = column.dropna()
        if len(known) and known.isin(["True", "False", "TRUE", "FALSE", "true", "false"]).all():
            truth = column.str.lower().map({"true": True, "false": False})
            out[name] = truth.astype(bool) if len(known) == len(column) else truth.astype(object)
            continue
        try:
            out[name] = pd.to_numeric(column)
        except (ValueError, TypeError):
            out[name] = column
    return pd.DataFrame(out, index=frame.index)


def separator_of(lines: list[str]) -> str:
    """The separator that splits the lines into the most columns, as many in each."""
    best, most = ",", 1
    for separator in _SEPARATORS:
        widths = [len(row) for row in csv.reader(lines, delimiter=separator) if row]
        if not widths:
            continue
        usual = max(set(widths), key=widths.count)
        if usual > most and widths.count(usual) >= 0.9 * len(widths):
            best, most = separator, usual
    return best


def has_header(first: list[str], rest: list[list[str]] | None = None) -> bool:
    """Whether the first row names the columns.

    None of it is a number, unless they are counted up, and none is a value that comes again.
    """
    for j, cell in enumerate(first):
        if cell.strip() and sum(len(r) > j and r[j] == cell for r in rest or []) > 1:
            return False
    numbers = [cell.strip() for cell in first if _is_number(cell)]
    if not numbers:
        return True
    if not all(n.isdigit() for n in numbers) or len(numbers) < 3:
        return False
    counted = [int(n) for n in numbers]
    return counted == list(range(counted[0], counted[0] + len(counted)))


def _is_number(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return False
    return cell.strip().lower() not in ("nan", "inf", "infinity")


def _marks_to_missing(frame: Any, name: str, notes: list[str]) -> Any:
    """``?`` becomes missing in columns where all other values are numbers."""
    import pandas as pd

    mended = []
    for column in frame.columns:
        values = frame[column]
        if values.dtype.kind in "biufmM":
            continue
        marks = values.astype(str).str.strip() == "?"
        if not marks.any() or marks.all():
            continue
        try:
            frame[column] = pd.to_numeric(values.mask(marks))
        except (ValueError, TypeError):
            continue
        mended.append(str(column))
    if mended:
        notes.append(f"{name}: '?' is read as missing in {', '.join(mended)}")
    return frame


# --- text ----------------------------------------------------------------------------------------


def opened(path: Path) -> IO[bytes]:
    """A stream of a file's bytes, decompressed."""
    stream: IO[bytes] = _OPENERS.get(path.suffix.lower(), open)(path, "rb")
    return stream


def encoding_of(path: Path) -> str:
    """UTF-16 or UTF-8, with or without its mark."""
    with opened(path) as stream:
        mark = stream.read(4)
    if mark.startswith((b"\xff\xfe", b"\xfe\xff")):
        return "utf-16"
    return "utf-8-sig" if mark.startswith(b"\xef\xbb\xbf") else "utf-8"


def first_lines(path: Path, encoding: str) -> list[str]:
    """Some whole lines from the start; bytes that are not text are told by the reader."""
    with opened(path) as stream:
        head = stream.read(_HEAD)
    text = head.decode(encoding, errors="replace").lstrip("\ufeff")
    if "\x00" in text:
        raise SubjectError(
            f"{path} is not a text file; give CSV, Parquet, Arrow, NPZ or a folder of images"
        )
    # of all line ends that Unicode knows, tables use the usual ones only
    lines = text.replace("\r\n", "\n").replace("\r", "\n").split("\n")
    lines = [f"{line}\n" for line in lines]
    if len(head) == _HEAD and len(lines) > 1:
        lines.pop()
    return lines[:200]


def _undecodable(path: Path, encoding: str, error: UnicodeDecodeError) -> str:
    byte = error.object[error.start]
    return (
        f"{path} is not {encoding.removesuffix('-sig').upper()} text: the byte 0x{byte:02x} is not "
        f"allowed there; convert it, for instance: iconv -f latin1 -t utf-8 {path.name} > new.csv"
    )

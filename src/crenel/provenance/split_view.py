"""Split views: does a list of pictures or files still lead to what it was made of?

A list of URLs with digests outlives what the URLs serve. Whoever holds a domain later decides what
others train on (Carlini et al., "Poisoning web-scale training datasets is practical", 2023). The
SHA-256 says that bytes differ; for a picture its signature says how.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from crenel.errors import SubjectError, UsageError
from crenel.provenance.columns import Columns, arrow
from crenel.provenance.fetching import fetch_all
from crenel.provenance.perceptual import BITS, CELLS, Signature, judge, signature
from crenel.provenance.reading import list_folder, read_columns

#: What may be found, from good to bad.
VERDICTS = ("same", "reencoded", "alike", "altered", "replaced", "changed", "missing")
WORDS = {
    "same": "the same bytes",
    "reencoded": "the same picture, stored anew",
    "alike": "a picture with the same hash; a small alteration would not show",
    "altered": "the same picture with a place, or its colours, altered",
    "replaced": "another picture",
    "changed": "other bytes",
}
_BATCH = 256


@dataclass(frozen=True)
class Entry:
    """One line of a list.

    Attributes
    ----------
    url, path : str
        "" where there is none.
    sha256 : str
        Hexadecimal; "" where it is not recorded.
    phash : int or None
    signature : Signature or None
    """

    url: str = ""
    path: str = ""
    sha256: str = ""
    phash: int | None = None
    signature: Signature | None = None

    @property
    def name(self) -> str:
        """What a person knows it by."""
        return self.url or self.path


@dataclass(frozen=True)
class View:
    """What became of one line.

    Attributes
    ----------
    entry : Entry
    verdict : str
        One of `VERDICTS`.
    sentence : str
    """

    entry: Entry
    verdict: str
    sentence: str


def read_entries(path: Path) -> list[Entry]:
    """The lines of a list, or the files of a folder.

    Parameters
    ----------
    path : Path
        A table with a column ``url`` or ``path``, and ``sha256``, ``phash`` (hexadecimal) or what
        `record_views` wrote; or a folder.

    Raises
    ------
    UsageError, SubjectError
        Where it cannot be read, or has neither column.
    """
    columns = list_folder(path) if path.is_dir() else read_columns(path, {"phash": "text"})
    if columns is None or not {"url", "path"} & set(columns.names):
        raise UsageError(f"{path} has neither a column 'url' nor a column 'path'")
    lists = {n: _column(columns, n) for n in ("url", "path", "sha256", "phash")}
    known = _signatures(columns)
    return [
        Entry(
            url=str(url or ""),
            path=str(file or ""),
            sha256=sha.hex() if isinstance(sha, bytes) else str(sha or "").lower(),
            phash=_hex(phash, path),
            signature=seen,
        )
        for url, file, sha, phash, seen in zip(*lists.values(), known)
    ]


def _column(columns: Columns, name: str) -> list[Any]:
    if name not in columns.names:
        return [None] * columns.rows
    values: list[Any] = columns[name].to_pylist()
    return values


def _hex(text: Any, path: Path) -> int | None:
    try:
        return None if text is None else int(str(text), 16)
    except ValueError as error:
        raise SubjectError(f"{path}: {text!r} in the column 'phash' is not hexadecimal") from error


def _signatures(columns: Columns) -> list[Signature | None]:
    names = ("width", "height", "dhash", "phash", "cells")
    if not set(names) <= set(columns.names):
        return [None] * columns.rows
    size = CELLS * CELLS * 3
    return [
        None
        if cells is None or len(cells) != size
        else Signature(
            int(width),
            int(height),
            int(dhash, 16),
            int(phash, 16),
            np.frombuffer(cells, dtype=np.uint8).reshape(CELLS, CELLS, 3),
        )
        for width, height, dhash, phash, cells in zip(*(_column(columns, n) for n in names))
    ]


def contents(
    entries: Sequence[Entry], folder: Path, *, fetch: bool, private: bool = False
) -> list[bytes | str]:
    """The bytes of each line, from the folder or from its URL; or why there are none."""
    if fetch:
        return fetch_all([e.url for e in entries], private=private)
    root = folder.resolve()
    found: list[bytes | str] = []
    for entry in entries:
        file = (root / entry.path).resolve()
        if not entry.path:
            found.append("it has no local file; fetch it: --fetch")
        elif not file.is_relative_to(root):
            found.append(f"its path leads out of {folder}")
        else:
            try:
                found.append(file.read_bytes())
            except OSError as error:
                found.append(str(error.strerror))
    return found


def check_views(
    entries: Sequence[Entry], folder: Path, *, fetch: bool = False, private: bool = False
) -> list[View]:
    """Compare each line with what is there now.

    Parameters
    ----------
    entries : sequence of Entry
    folder : Path
        Where the paths of the list are.
    fetch, private : bool
        Whether URLs are fetched, and from addresses that are not public too.
    """
    views = []
    for start in range(0, len(entries), _BATCH):
        part = entries[start : start + _BATCH]
        now = contents(part, folder, fetch=fetch, private=private)
        views += [_view(entry, content) for entry, content in zip(part, now)]
    return views


def _view(entry: Entry, content: bytes | str) -> View:
    if isinstance(content, str):
        return View(entry, "missing", content)
    if hashlib.sha256(content).hexdigest() == entry.sha256:
        return View(entry, "same", WORDS["same"])
    seen = signature(content) if entry.signature or entry.phash is not None else None
    if entry.signature is not None:
        if seen is None:
            return View(entry, "changed", "no picture any more")
        verdict, worst, mean = judge(entry.signature, seen)
        change = f" (colours by {mean:.1f} of 255 on average, at most {worst:.0f})"
        return View(entry, verdict, WORDS[verdict] + change)
    if entry.phash is not None and seen is not None:
        bits = (entry.phash ^ seen.phash).bit_count()
        likely = "alike" if bits <= BITS // 2 else "replaced"
        return View(entry, likely, f"{WORDS[likely]} ({bits} of 64 bits differ)")
    unknown = WORDS["changed"] if entry.sha256 else "the list records no digest of it"
    return View(entry, "changed", unknown)


def record_views(
    entries: Sequence[Entry], folder: Path, out: Path, *, fetch: bool, private: bool = False
) -> list[View]:
    """Write a list with the digest and the signature of what is there now.

    Parameters
    ----------
    out : Path
        A Parquet file: ``url``, ``path``, ``sha256`` and, of pictures, ``width``, ``height``,
        ``dhash``, ``phash`` and ``cells``.

    Returns
    -------
    list of View
        Those lines that could not be read, with the reason.
    """
    if out.suffix.lower() != ".parquet":
        raise UsageError(f"{out}: the list is written as Parquet; name it {out.stem}.parquet")
    pa = arrow()
    import pyarrow.parquet

    rows: list[dict[str, Any]] = []
    lost = []
    for start in range(0, len(entries), _BATCH):
        part = entries[start : start + _BATCH]
        for entry, content in zip(part, contents(part, folder, fetch=fetch, private=private)):
            if isinstance(content, str):
                lost.append(View(entry, "missing", content))
            else:
                rows.append(_row(entry, content))
    fields = {"url": pa.string(), "path": pa.string(), "sha256": pa.string()}
    fields |= {"width": pa.int64(), "height": pa.int64(), "dhash": pa.string()}
    fields |= {"phash": pa.string(), "cells": pa.binary()}
    try:
        pyarrow.parquet.write_table(pa.Table.from_pylist(rows, pa.schema(fields)), out)
    except OSError as error:
        raise UsageError(f"{out} cannot be written: {error.strerror or error}") from error
    return lost


def _row(entry: Entry, content: bytes) -> dict[str, Any]:
    row: dict[str, Any] = {
        "url": entry.url or None,
        "path": entry.path or None,
        "sha256": hashlib.sha256(content).hexdigest(),
    }
    seen = signature(content)
    if seen is not None:
        row |= {"width": seen.width, "height": seen.height, "cells": seen.cells.tobytes()}
        row |= {"dhash": f"{seen.dhash:016x}", "phash": f"{seen.phash:016x}"}
    return row


def exit_code_of(views: Sequence[View], allow_reencoded: bool) -> int:
    """0 where all is as it was; 1 where something is not; 2 where something could not be seen."""
    found = Counter(v.verdict for v in views)
    good = found["same"] + (found["reencoded"] if allow_reencoded else 0)
    if good + found["missing"] < len(views):
        return 1
    return 2 if found["missing"] or not views else 0

"""One digest for each row of a table: what was recorded, whatever file it lies in.

The digest of a row is ``SHA-256(0x00 || schema || cells)``: the leaf hash of RFC 6962 over the
row's canonical bytes. ``schema`` is the SHA-256 of the names and types of the columns in their
order, so that a renamed, moved or retyped column changes every digest.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from crenel.errors import UsageError
from crenel.provenance.cells import filler, width_of
from crenel.provenance.columns import Columns, as_columns
from crenel.provenance.index import RowIndex
from crenel.provenance.sha256 import Bytes, sha256_rows

#: Bound into every digest; another one for another canonical form.
FORM = "crenel-rows-1"
_PART = 32_768


@dataclass(frozen=True)
class Roles:
    """Columns that say something of a row rather than describe it.

    Attributes
    ----------
    label, source : str or None
    key : tuple of str
        Columns that together name a record.
    """

    label: str | None = None
    source: str | None = None
    key: tuple[str, ...] = ()


def schema_digest(columns: Columns) -> bytes:
    """SHA-256 of the names and types of the columns, in their order."""
    named = [FORM, *([n, t] for n, t in zip(columns.names, columns.types))]
    text = json.dumps(named, ensure_ascii=False, separators=(",", ":"))
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest()


def row_digests(columns: Columns) -> Bytes:
    """The digest of each row.

    Parameters
    ----------
    columns : Columns
        n rows; see `crenel.provenance.columns.as_columns`.

    Returns
    -------
    ndarray, shape (n, 32), uint8
    """
    return _digests(columns, ())[0]


def _digests(columns: Columns, blank: tuple[str, ...]) -> tuple[Bytes, Bytes]:
    """The digests of the rows (n, 32), and of the rows as if some columns were missing (n, 16)."""
    prefix = np.frombuffer(b"\x00" + schema_digest(columns), dtype=np.uint8)
    widths = [width_of(kind) for kind in columns.types]
    starts = np.cumsum([len(prefix), *widths])
    fills = [filler(array, kind) for array, kind in zip(columns.arrays, columns.types)]
    whole = np.empty((columns.rows, 32), dtype=np.uint8)
    content = np.empty((columns.rows if blank else 0, 16), dtype=np.uint8)
    # parts of even size, so that no rest is too small for the compiled code
    parts = np.linspace(0, columns.rows, max(1, columns.rows // _PART) + 1).astype(np.int64)
    entries = np.empty((int(np.diff(parts).max()), starts[-1]), dtype=np.uint8)
    entries[:, : len(prefix)] = prefix
    for first, last in pairwise(parts.tolist()):
        part = entries[: last - first]
        for fill, start, width in zip(fills, starts, widths):
            fill(first, last, part[:, start : start + width])
        whole[first:last] = sha256_rows(part)
        if blank:
            for name in blank:
                at = columns.names.index(name)
                part[:, starts[at] : starts[at + 1]] = 0
            content[first:last] = sha256_rows(part)[:, :16]
    return whole, content if blank else whole[:, :16].copy()


def index_rows(columns: Columns, roles: Roles, source: str = "") -> RowIndex:
    """Everything that a comparison of snapshots needs to know of each row.

    Parameters
    ----------
    columns : Columns
    roles : Roles
    source : str
        Who supplied all rows, where no column says so.

    Raises
    ------
    UsageError
        Where a column that is named is not there.
    """
    named = [roles.label, roles.source, *roles.key]
    for name in named:
        if name is not None and name not in columns.names:
            raise UsageError(
                f"there is no column {name!r}; the columns are {', '.join(columns.names[:20])}"
            )
    digests, content = _digests(columns, tuple(n for n in columns.names if n in named))
    labels, label_codes = _coded(columns, roles.label)
    sources, source_codes = _coded(columns, roles.source)
    if roles.source is None:
        sources, source_codes = (source,), np.zeros(columns.rows, dtype=np.int32)
    keys = _digests(columns.select(roles.key), ())[1][:, :8].copy() if roles.key else None
    return RowIndex(digests, content, keys, labels, label_codes, sources, source_codes)


def _coded(columns: Columns, name: str | None) -> tuple[tuple[str, ...], NDArray[np.int32]]:
    """The distinct values of a column as sorted text, and which one each row has; "": missing."""
    if name is None:
        return (), np.full(columns.rows, -1, dtype=np.int32)
    array = columns[name]
    if isinstance(array, np.ndarray) and array.ndim == 1:
        array = as_columns({name: array})[name]
    if isinstance(array, np.ndarray) or columns.type_of(name).startswith(("list", "struct")):
        raise UsageError(f"the column {name!r} holds lists or arrays: no labels, sources or keys")
    coded = array if hasattr(array, "dictionary") else array.dictionary_encode()
    values = ["" if v is None else str(v) for v in coded.dictionary.to_pylist()]
    codes = coded.indices.fill_null(len(values)).to_numpy(zero_copy_only=False)
    used = np.unique(codes)
    texts, places = np.unique(np.array([*values, ""])[used], return_inverse=True)
    return tuple(texts.tolist()), places[np.searchsorted(used, codes)].astype(np.int32)

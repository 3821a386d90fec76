"""The rows of a snapshot in a binary file beside the manifest: digests, labels, sources.

The file is ``CRENELRX``, a version, the length of a JSON header, the header, and arrays of little-
endian numbers one after the other as the header says. A million rows with a key take about 58 MB.
Nothing in it is compressed or pickled, and its SHA-256 stands in the manifest.
"""

from __future__ import annotations

import json
import mmap
import struct
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from crenel.errors import SubjectError, UsageError

_MAGIC = b"CRENELRX"
_VERSION = 1
_HEAD = struct.Struct("<8sII")
#: Arrays begin at multiples of this, so that they can be used where they lie.
_ALIGNED = 64
_ARRAYS = ("digests", "content", "keys", "label_codes", "source_codes")
_WIDTHS = {"digests": 32, "content": 16, "keys": 8}


@dataclass(frozen=True)
class RowIndex:
    """What is kept of each of the n rows of a table.

    Attributes
    ----------
    digests : ndarray, shape (n, 32), uint8
        Of all columns: the leaves of the Merkle tree.
    content : ndarray, shape (n, 16), uint8
        Of the row without its label, source and key: the first half of a digest.
    keys : ndarray, shape (n, 8), uint8, or None
        Of the columns that name the record.
    labels, sources : tuple of str
        Distinct values, sorted; "" stands for a missing one.
    label_codes, source_codes : ndarray, shape (n,), int32
        Places in them; all -1 where there is no label.
    """

    digests: NDArray[np.uint8]
    content: NDArray[np.uint8]
    keys: NDArray[np.uint8] | None
    labels: tuple[str, ...]
    label_codes: NDArray[np.int32]
    sources: tuple[str, ...]
    source_codes: NDArray[np.int32]

    def __len__(self) -> int:
        return len(self.digests)

    def equals(self, other: RowIndex) -> bool:
        """Whether all that is kept of each row is the same."""
        return all(
            a == b if isinstance(a, tuple) or a is None or b is None else np.array_equal(a, b)
            for a, b in ((getattr(self, f.name), getattr(other, f.name)) for f in fields(self))
        )

    def label(self, row: int) -> str:
        """The label of a row; "" where there is none."""
        code = int(self.label_codes[row])
        return self.labels[code] if code >= 0 else ""

    def source(self, row: int) -> str:
        """Who supplied a row."""
        return self.sources[int(self.source_codes[row])]


def write_index(path: Path, tables: Mapping[str, RowIndex]) -> None:
    """Write the rows of the tables of a manifest.

    Raises
    ------
    UsageError
        Where the file cannot be written.
    """
    described, blocks, offset = [], [], 0
    for name, index in tables.items():
        arrays: dict[str, Any] = {}
        for part in _ARRAYS:
            array = getattr(index, part)
            if array is None:
                continue
            array = _narrow(array) if part.endswith("codes") else np.ascontiguousarray(array)
            offset += -offset % _ALIGNED
            arrays[part] = {"dtype": array.dtype.str, "offset": offset}
            blocks.append((offset, array))
            offset += array.nbytes
        described.append(
            {
                "name": name,
                "rows": len(index),
                "labels": list(index.labels),
                "sources": list(index.sources),
                "arrays": arrays,
            }
        )
    header = json.dumps({"tables": described}, ensure_ascii=False, separators=(",", ":")).encode()
    header += b" " * (-(_HEAD.size + len(header)) % _ALIGNED)
    try:
        # an index that is in use lies in the old file, which stays until nobody needs it
        fresh = path.with_name(f"{path.name}.part")
        with fresh.open("wb") as stream:
            stream.write(_HEAD.pack(_MAGIC, _VERSION, len(header)))
            stream.write(header)
            start = stream.tell()
            for offset, block in blocks:
                stream.write(bytes(start + offset - stream.tell()))
                stream.write(block.tobytes())
        fresh.replace(path)
    except OSError as error:
        raise UsageError(f"{path} cannot be written: {error.strerror}") from error


def read_index(path: Path) -> dict[str, RowIndex]:
    """Read the rows of the tables of a manifest.

    Raises
    ------
    UsageError
        Where there is no such file.
    SubjectError
        Where it is not such a file, or a damaged one.
    """
    try:
        with path.open("rb") as stream:
            content = mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ)
    except ValueError as error:
        raise SubjectError(f"{path} cannot be read as a row index: it is empty") from error
    except OSError as error:
        raise UsageError(f"{path} cannot be read: {error.strerror}") from error
    try:
        magic, version, length = _HEAD.unpack_from(content)
        if magic != _MAGIC:
            raise ValueError("it is no row index")
        if version != _VERSION:
            raise ValueError(f"it is of version {version}, and this crenel reads {_VERSION}")
        start = _HEAD.size + length
        tables = json.loads(content[_HEAD.size : start])["tables"]
        return {t["name"]: _read_table(content, start, t) for t in tables}
    except (struct.error, ValueError, KeyError, TypeError, IndexError, AttributeError) as error:
        reason = str(error) if isinstance(error, ValueError) else "it is damaged"
        raise SubjectError(
            f"{path} cannot be read as a row index: {reason}; record the data again"
        ) from error


def _read_table(content: mmap.mmap, start: int, table: Any) -> RowIndex:
    n = int(table["rows"])
    parts: dict[str, Any] = {"keys": None}
    for name, place in table["arrays"].items():
        dtype = np.dtype(place["dtype"])
        width = _WIDTHS.get(name, 1)
        if name not in _ARRAYS or dtype.kind not in "iu" or not 0 <= n < 1 << 40:
            raise ValueError("it is damaged")
        if int(place["offset"]) < 0:
            raise ValueError("it is damaged")
        array = np.frombuffer(content, dtype, n * width, start + int(place["offset"]))
        if name in _WIDTHS:
            parts[name] = array.reshape(n, width)
        else:
            parts[name] = array.astype(np.int32)
    labels, sources = tuple(map(str, table["labels"])), tuple(map(str, table["sources"]))
    for codes, values in ((parts["label_codes"], labels), (parts["source_codes"], sources)):
        if n and (codes.min() < -1 or codes.max() >= len(values)):
            raise ValueError("it is damaged")
    return RowIndex(labels=labels, sources=sources, **parts)


def _narrow(codes: NDArray[np.int32]) -> NDArray[Any]:
    """Codes in as few bytes as hold them."""
    most = int(codes.max()) if len(codes) else 0
    return codes.astype("<i1" if most < 1 << 7 else "<i2" if most < 1 << 15 else "<i4")

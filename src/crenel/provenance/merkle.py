"""Merkle trees over row digests, as in Certificate Transparency (RFC 6962, section 2.1, 2013).

A leaf is ``SHA-256(0x00 || entry)`` and a node ``SHA-256(0x01 || left || right)``; the left
subtree holds the largest power of two of leaves that is less than all of them. Row digests are
leaves already. A path of about log2(n) digests proves that a row is in a snapshot without the
other rows.
"""

from __future__ import annotations

import hashlib

import numpy as np

from crenel.errors import UsageError
from crenel.provenance.sha256 import Bytes, sha256_rows


def merkle_root(leaves: Bytes) -> bytes:
    """The root over n leaf hashes.

    Parameters
    ----------
    leaves : ndarray, shape (n, 32), uint8

    Returns
    -------
    bytes
        32 of them; of no leaves the SHA-256 of nothing.
    """
    if len(leaves) == 0:
        return hashlib.sha256(b"").digest()
    level = np.ascontiguousarray(leaves)
    while len(level) > 1:
        level = _next_level(level)
    return bytes(level[0])


def _next_level(level: Bytes) -> Bytes:
    """Parents of pairs from the left; a last one that is alone goes up as it is.

    Level by level that gives the tree of the RFC: whole subtrees of powers of two from the left.
    """
    pairs = len(level) // 2
    nodes = np.empty((pairs, 65), dtype=np.uint8)
    nodes[:, 0] = 1
    nodes[:, 1:] = level[: 2 * pairs].reshape(pairs, 64)
    parents = sha256_rows(nodes)
    return parents if len(level) % 2 == 0 else np.vstack([parents, level[-1:]])


def inclusion_path(leaves: Bytes, row: int) -> list[bytes]:
    """The digests that lead from one leaf to the root (RFC 6962, section 2.1.1).

    Raises
    ------
    UsageError
        Where there is no such row.
    """
    if not 0 <= row < len(leaves):
        raise UsageError(f"there is no row {row}; rows are counted from 0 to {len(leaves) - 1}")
    level, path = np.ascontiguousarray(leaves), []
    while len(level) > 1:
        beside = row ^ 1
        if beside < len(level):
            path.append(level[beside].tobytes())
        level, row = _next_level(level), row // 2
    return path


def root_from_path(leaf: bytes, row: int, rows: int, path: list[bytes]) -> bytes | None:
    """The root that a leaf and its path lead to; None where the path is of the wrong length.

    Parameters
    ----------
    leaf : bytes
        The row's digest.
    row, rows : int
        Its number from 0, and how many rows there are.
    path : list of bytes
        Of `inclusion_path`.
    """
    if not 0 <= row < rows:
        return None
    digest, rest, last = leaf, list(path), rows - 1
    while last > 0:
        if row % 2 or row < last:
            if not rest:
                return None
            beside = rest.pop(0)
            pair = beside + digest if row % 2 else digest + beside
            digest = hashlib.sha256(b"\x01" + pair).digest()
        row, last = row // 2, last // 2
    return None if rest else digest

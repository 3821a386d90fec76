"""SHA-256 (FIPS 180-4, 2015) of many short messages of one length.

A call of a hash library costs more than the hash of a short message. Here 64 messages go through
the rounds side by side, one in each lane of the vector registers. Few messages are left to
``hashlib``, and of many a sample is checked against it.
"""

from __future__ import annotations

import hashlib

import numpy as np
from numpy.typing import NDArray

from crenel.errors import CrenelError

Bytes = NDArray[np.uint8]

#: Fewer messages than this are hashed one by one.
MANY = 20_000
#: Of many, so many digests are checked against ``hashlib``.
CHECKED = 16


def sha256_rows(messages: Bytes) -> Bytes:
    """SHA-256 of each row.

    Parameters
    ----------
    messages : ndarray, shape (n, width), uint8
        Of less than 2^29 bytes each.

    Returns
    -------
    ndarray, shape (n, 32), uint8

    Raises
    ------
    CrenelError
        Where the compiled digests are not those of ``hashlib``.
    """
    messages = np.ascontiguousarray(messages)
    if len(messages) < MANY:
        return one_by_one(messages)
    from crenel.provenance.lanes import digest_lanes

    out = np.empty((len(messages), 32), dtype=np.uint8)
    digest_lanes(messages, out)
    sample = np.linspace(0, len(messages) - 1, CHECKED).astype(np.int64)
    if not np.array_equal(out[sample], one_by_one(messages[sample])):
        raise CrenelError(
            "the compiled SHA-256 gives wrong digests on this machine; "
            "clear Numba's cache, or set NUMBA_DISABLE_JIT=1"
        )
    return out


def warm_up() -> None:
    """Have the kernels compiled, or found compiled, before time counts."""
    from crenel.provenance.kernels import fill_short
    from crenel.provenance.lanes import digest_lanes

    digest_lanes(np.zeros((1, 1), dtype=np.uint8), np.empty((1, 32), dtype=np.uint8))
    nothing = np.zeros(1, dtype=np.int64)
    fill_short(nothing, np.zeros(0, dtype=np.uint8), 7, np.empty((0, 33), dtype=np.uint8))


def one_by_one(messages: Bytes) -> Bytes:
    """SHA-256 of each row (n, width) by ``hashlib``, shape (n, 32)."""
    digests = b"".join(hashlib.sha256(m.tobytes()).digest() for m in messages)
    return np.frombuffer(digests, dtype=np.uint8).reshape(len(messages), 32)

"""A uniform sample of the lines of a large text file, taken before anything is parsed."""

from __future__ import annotations

from typing import IO

import numpy as np
from numpy.typing import NDArray

_BLOCK = 1 << 24


def sample_lines(
    stream: IO[bytes], limit: int, seed: int = 0
) -> tuple[list[bytes], NDArray[np.int64], int] | None:
    """Draw lines uniformly without replacement from a stream of unknown length.

    Every line draws a random key, and the lines with the least keys are kept (bottom-k sampling;
    Cohen and Kaplan 2007). Blank lines do not count.

    Parameters
    ----------
    stream : binary stream
        Behind the header, if there is one.
    limit : int
        Most lines kept.

    Returns
    -------
    lines : list of bytes
        Without their ends, in their order.
    numbers : ndarray, int64
        Which lines they are, from 0.
    total : int
        Lines in the stream.

        None where the text has quotes, whose fields may hold line ends, or has no line ends.
    """
    rng = np.random.default_rng(seed)
    lines: list[bytes] = []
    keys, numbers = np.zeros(0), np.zeros(0, dtype=np.int64)
    threshold, total, rest = 1.0, 0, b""
    while True:
        block = stream.read(_BLOCK)
        if b'"' in block or len(rest) > 4 * _BLOCK:
            return None
        parts = (rest + block).replace(b"\r\n", b"\n").split(b"\n")
        rest = parts.pop() if block else b""
        fresh = [line for line in parts if line.strip()]
        drawn = rng.random(len(fresh))
        chosen = np.flatnonzero(drawn < threshold)
        lines += [fresh[i] for i in chosen]
        keys = np.concatenate([keys, drawn[chosen]])
        numbers = np.concatenate([numbers, chosen + total])
        total += len(fresh)
        if len(lines) > limit:
            least = np.sort(np.argpartition(keys, limit - 1)[:limit])
            lines, keys, numbers = [lines[i] for i in least], keys[least], numbers[least]
            threshold = float(keys.max())
        if not block:
            return lines, numbers, total

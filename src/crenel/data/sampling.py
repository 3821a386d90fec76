"""A uniform sample of rows that arrive in blocks, in bounded memory and in their own order."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np

#: Most rows of a table that are kept.
MAX_ROWS = 500_000
#: Most bytes of a table that are kept.
MAX_BYTES = 1_000_000_000


def sample_blocks(
    blocks: Iterable[Any], *, max_rows: int = MAX_ROWS, max_bytes: int = MAX_BYTES, seed: int = 0
) -> tuple[Any, int]:
    """Keep all rows of some frames, or a uniform sample where they are too many.

    Every row draws a random key, and the rows with the least keys are kept: a uniform sample
    without replacement of a stream of unknown length (bottom-k sampling; Cohen and Kaplan 2007).

    Parameters
    ----------
    blocks : iterable of pandas.DataFrame
        One after the other; at most about three times the limits are held at once.
    max_rows : int
    max_bytes : int
        Limit on the memory of the kept rows, estimated from the first block.
    seed : int

    Returns
    -------
    frame : pandas.DataFrame
        In the order of arrival; the index holds the row numbers from 0.
    total : int
        Rows that arrived.
    """
    import pandas as pd

    rng = np.random.default_rng(seed)
    parts: list[Any] = []
    keys: list[Any] = []
    total, held, limit = 0, 0, max_rows
    for block in blocks:
        if total == 0 and len(block):
            each = block.memory_usage(deep=True, index=False).sum() / len(block)
            limit = max(1, min(max_rows, int(max_bytes / max(each, 1.0))))
        block = block.set_axis(np.arange(total, total + len(block)), axis=0)
        parts.append(block)
        keys.append(rng.random(len(block)))
        total += len(block)
        held += len(block)
        if held > 2 * limit:
            parts, keys = _least(parts, keys, limit)
            held = limit
    if held > limit:
        parts, keys = _least(parts, keys, limit)
    return (pd.concat(parts) if parts else pd.DataFrame()), total


def _least(parts: list[Any], keys: list[Any], limit: int) -> tuple[list[Any], list[Any]]:
    """The rows with the least keys, in their order."""
    import pandas as pd

    joined = np.concatenate(keys)
    chosen = np.sort(np.argpartition(joined, limit)[:limit])
    return [pd.concat(parts).iloc[chosen]], [joined[chosen]]

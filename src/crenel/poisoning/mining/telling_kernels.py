"""Which rows fail which conditions of a box, compiled: a number and a sum for each row."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from crenel.evasion.trees.compiled import compiled

Codes = NDArray[np.uint16]
Numbers = NDArray[np.int64]


@compiled
def failed(
    codes: Codes, begin: int, end: int, names: Numbers, low: Codes, high: Codes, fails: Codes,
    which: Codes, missed: Numbers,
) -> None:  # fmt: skip
    """Count the conditions that rows fail, and the rows that fail each.

    Rows are looked through once for each condition and never stored by condition: of a row that
    fails one the sum of its numbers says which.

    Parameters
    ----------
    codes : ndarray, shape (d, n)
    begin, end : int
        Rows that are looked at.
    names : ndarray, shape (c,)
        Columns of the conditions.
    low, high : ndarray, shape (c,)
        Codes that they let through, both ends included.
    fails, which : ndarray, shape (m,)
        Written: how many conditions each row fails, and the sum of their numbers, modulo 65,536.
    missed : ndarray, shape (c,)
        Written: the rows that fail each condition.
    """
    fails[:] = 0
    which[:] = 0
    for i in range(len(names)):
        row, a, b = codes[names[i], begin:end], low[i], high[i]
        total = 0
        for r in range(len(row)):
            gone = np.uint16((row[r] < a) | (row[r] > b))
            fails[r] += gone
            which[r] += np.uint16(gone * i)
            total += int(gone)
        missed[i] = total


@compiled
def given_up(
    codes: Codes, begin: int, end: int, name: int, low: int, high: int, i: int, fails: Codes,
    which: Codes,
) -> None:  # fmt: skip
    """Take the condition of number ``i`` out of what `failed` wrote of the rows."""
    row, a, b = codes[name, begin:end], np.uint16(low), np.uint16(high)
    for r in range(len(row)):
        gone = np.uint16((row[r] < a) | (row[r] > b))
        fails[r] -= gone
        which[r] -= np.uint16(gone * i)


@compiled
def met(fails: Codes, which: Codes, count: int) -> Numbers:
    """Rows that fail nothing, and then those that fail each condition alone, shape (1 + count,)."""
    found = np.zeros(1 + count, np.int64)
    for r in range(len(fails)):
        if fails[r] <= 1:
            if fails[r] == 0:
                found[0] += 1
            else:
                found[1 + which[r]] += 1
    return found

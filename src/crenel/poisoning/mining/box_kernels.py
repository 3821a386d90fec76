"""The search for a box's bounds, compiled: one column after the other, given the others."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from crenel.evasion.trees.compiled import compiled

Codes = NDArray[np.uint16]
Fails = NDArray[np.uint8]
Numbers = NDArray[np.int64]

#: What one more condition must gain, for it was chosen among many.
PRICE = 5.0
#: Ends of intervals tried on one column at most.
ENDS = 40
#: Rounds over the conditions at most, after a first one over all columns.
ROUNDS = 4


@compiled
def gain_of(seen: float, expected: float) -> float:
    """Logarithm of the likelihood ratio of a count to what was expected; 0 where fewer."""
    expected = max(expected, 1e-3)
    if seen <= expected:
        return 0.0
    return float(seen * np.log(seen / expected) - (seen - expected))


@compiled
def shift(codes: Codes, fails: Fails, old: Numbers, new: Numbers) -> None:
    """Replace one condition by another in the number that each row fails; low over high: none."""
    if old[0] <= old[1]:
        low, high = np.uint16(old[0]), np.uint16(old[1])
        for r in range(len(codes)):
            fails[r] -= np.uint8((codes[r] < low) | (codes[r] > high))
    if new[0] <= new[1]:
        low, high = np.uint16(new[0]), np.uint16(new[1])
        for r in range(len(codes)):
            fails[r] += np.uint8((codes[r] < low) | (codes[r] > high))


@compiled
def gather(fails: Fails, near: Numbers) -> None:
    """Write how many rows fail nothing and how many one condition, and then which, in two parts.

    Those that fail nothing begin at 2, the others end at the end: few rows are met again and
    again, and all are looked through only when a condition has changed.
    """
    met, last = 0, len(near) - 1
    for r in range(len(fails)):
        if fails[r] <= 1:
            if fails[r] == 0:
                near[met + 2] = r
                met += 1
            else:
                near[last] = r
                last -= 1
    near[0], near[1] = met, len(near) - 1 - last


@compiled
def histogram(codes: Codes, near: Numbers, low: int, high: int, counts: Numbers) -> int:
    """Counts by code of the rows that fail nothing but, maybe, this column's condition."""
    counts[:] = 0
    met = int(near[0])
    for i in range(2, met + 2):
        counts[codes[near[i]]] += 1
    if low <= high:
        for i in range(len(near) - near[1], len(near)):
            code = codes[near[i]]
            if code < low or code > high:
                counts[code] += 1
                met += 1
    return met


@compiled
def ends_of(here: Numbers, n: int, missing: int, ends: Numbers) -> int:
    """Codes that intervals may begin and end at, the more the denser; how many."""
    held, total = 0, 0
    for c in range(n):
        if here[c] > 0 and c != missing:
            held += 1
            total += here[c]
    count, mass, step, position = 0, 0, 0, 0
    for c in range(n):
        if here[c] == 0 or c == missing:
            continue
        position += 1
        mass += here[c]
        if held <= ENDS:
            ends[count] = c
            count += 1
            continue
        taken = False
        while step < ENDS and (step * total / (ENDS - 1) <= mass or position == held):
            step += 1
            taken = True
        if taken:
            ends[count] = c
            count += 1
    return count


@compiled
def best_bounds(
    here: Numbers, there: Numbers, totals: Numbers, ordered: bool, missing: int,
    background: float, scale: float, away: float, half: float, ends: Numbers, chosen: Numbers,
    below: Numbers,
) -> float:  # fmt: skip
    """Write the interval, single name or missing value that gains most, and return the gain.

    ``here`` and ``there`` count the rows that meet all other conditions, ``away`` is the number of
    own rows that do not, ``half`` what is added to the rows of comparison; the interval is (-1, -1)
    where no row meets them.
    """
    n, best = len(here), -np.inf
    chosen[0], chosen[1] = -1, -1
    count = ends_of(here, n, missing, ends) if ordered else 0
    if count > 0:
        below[0, 0] = below[1, 0] = 0
        for c in range(n):
            below[0, c + 1], below[1, c + 1] = below[0, c] + here[c], below[1, c] + there[c]
    for a in range(count):
        first = ends[a]
        for b in range(a, count):
            end = ends[b] + 1
            own, rest = below[0, end] - below[0, first], below[1, end] - below[1, first]
            part = totals[end] - totals[first] - own + 0.5 * (end - first) / n
            expected = max(background * part / away, (rest + half) * scale)
            # The gain is at most (own - expected)^2 / expected.
            if own > expected and (own - expected) ** 2 <= best * max(expected, 1e-3):
                continue
            gain = gain_of(own, expected)
            if gain > best:
                best, chosen[0], chosen[1] = gain, first, ends[b]
    for c in range(n):
        if here[c] > 0 and (not ordered or c == missing):
            part = totals[c + 1] - totals[c] - here[c] + 0.5 / n
            gain = gain_of(here[c], max(background * part / away, (there[c] + half) * scale))
            if gain > best:
                best, chosen[0], chosen[1] = gain, c, c
    return best


@compiled
def along(
    j: int, needed: bool, least: int, half: float, own: Codes, rest: Codes, totals: Numbers,
    counts: Numbers, ordered: NDArray[np.bool_], missing: Numbers, bounds: Numbers, order: Numbers,
    fails: tuple[Fails, Fails], near: tuple[Numbers, Numbers],
    room: tuple[Numbers, Numbers, Numbers, Numbers, Numbers],
) -> float:  # fmt: skip
    """Move to the best condition on one column, or none unless needed, given the others.

    ``near`` is what `gather` writes of both ``fails``; ``totals`` are cumulative counts of ``own``
    by code; ``order`` holds the number of conditions, then their columns in the order in which
    they were set; ``bounds`` (d, 2) has low over high where there is none.
    """
    n, m, old = counts[j], len(fails[0]), bounds[j]
    here, there, ends, new = room[0][:n], room[1][:n], room[2], room[3]
    seen = histogram(own[j], near[0], old[0], old[1], here)
    met = histogram(rest[j], near[1], old[0], old[1], there)
    size, share = 0, 1.0
    for i in range(1, order[0] + 1):
        c = order[i]
        if c == j:
            continue
        inside = totals[c, bounds[c, 1] + 1] - totals[c, bounds[c, 0]] - seen
        share *= (inside + 0.5) / (m - seen + 1.0)
        size += 1
    if old[0] <= old[1]:
        needed = needed or size < least
    background, scale, away = m * share, m / max(1, len(fails[1])), m - seen + 0.5
    gain = best_bounds(
        here,
        there,
        totals[j],
        ordered[j],
        missing[j],
        background,
        scale,
        away,
        half,
        ends,
        new,
        room[4],
    )
    gain -= PRICE * (size + 1)
    free = gain_of(seen, max(background, (met + half) * scale)) - PRICE * size
    if new[0] < 0 or (size > 0 and free >= gain and not needed):
        gain = free
        new[0], new[1] = (old[0], old[1]) if needed else (1, 0)
    if new[0] != old[0] or new[1] != old[1]:
        shift(own[j], fails[0], old, new)
        shift(rest[j], fails[1], old, new)
        gather(fails[0], near[0])
        gather(fails[1], near[1])
    replace_last(order, j, new[0] <= new[1])
    old[0], old[1] = new[0], new[1]
    return gain


@compiled
def replace_last(order: Numbers, j: int, there: bool) -> None:
    """Take a column out of the order, where it is in it, and put it at the end, if it is there."""
    kept = 0
    for i in range(1, order[0] + 1):
        if order[i] != j:
            kept += 1
            order[kept] = order[i]
    if there:
        kept += 1
        order[kept] = j
    order[0] = kept


@compiled
def search(
    every: bool, needed: bool, half: float, own: Codes, rest: Codes, totals: Numbers,
    counts: Numbers, ordered: NDArray[np.bool_], missing: Numbers, bounds: Numbers, order: Numbers,
) -> float:  # fmt: skip
    """Move a box, in place, to a maximum of its likelihood ratio, and return that.

    What is to be expected is at least the rows of comparison and ``half`` a row, scaled: with none
    of them, no fewer than that. With ``every`` all columns are tried once before the box's own are
    moved; with ``needed`` no condition is given up.
    """
    widest = counts.max()
    m, r = own.shape[1], rest.shape[1]
    fails = (np.zeros(m, np.uint8), np.zeros(r, np.uint8))
    near = (np.empty(m + 2, np.int64), np.empty(r + 2, np.int64))
    room = (
        np.zeros(widest, np.int64), np.zeros(widest, np.int64),
        np.zeros(max(widest, ENDS), np.int64), np.zeros(2, np.int64),
        np.zeros((2, widest + 1), np.int64),
    )  # fmt: skip
    nothing = np.array([1, 0])
    for i in range(1, order[0] + 1):
        shift(own[order[i]], fails[0], nothing, bounds[order[i]])
        shift(rest[order[i]], fails[1], nothing, bounds[order[i]])
    gather(fails[0], near[0])
    gather(fails[1], near[1])
    least, gain = min(2, order[0]), -np.inf
    if every:
        for j in range(len(counts)):
            gain = along(
                j, needed, least, half, own, rest, totals, counts, ordered, missing, bounds, order,
                fails, near, room,
            )  # fmt: skip
    for _ in range(ROUNDS):
        before, moved = gain, False
        now = order.copy()
        for i in range(1, now[0] + 1):
            j = now[i]
            low, high = bounds[j, 0], bounds[j, 1]
            gain = along(
                j, needed, least, half, own, rest, totals, counts, ordered, missing, bounds, order,
                fails, near, room,
            )  # fmt: skip
            moved = moved or low != bounds[j, 0] or high != bounds[j, 1]
        if not moved or (every and gain <= before + 0.5):
            break
    return gain


def as_arrays(box: dict[int, tuple[int, int]], d: int) -> tuple[Any, Any]:
    """A box's bounds (d, 2) and order (d + 2,), as `search` takes them."""
    bounds, order = np.tile(np.array([1, 0]), (d, 1)), np.zeros(d + 2, dtype=np.int64)
    order[0] = len(box)
    for i, (j, (low, high)) in enumerate(box.items(), 1):
        order[i], bounds[j] = j, (low, high)
    return bounds, order

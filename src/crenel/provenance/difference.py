"""The difference of two snapshots, row by row.

Rows are first matched by their digests, as multisets: equal rows are unchanged wherever they
stand. Of the rest, records with the same key are one record that was changed, and so are two of the
same content, where no other row has it. Without a key, a row of the same content is one that was
relabelled or given another source, and a row in the same place between unchanged neighbours is one
that was edited. What then remains was added or removed.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from crenel.provenance.index import RowIndex

Rows = NDArray[np.int64]

CHANGES = ("added", "removed", "relabelled", "edited", "reattributed", "renamed")


@dataclass(frozen=True)
class Pairs:
    """Rows of the old snapshot beside rows of the new one, row numbers from 0, shape (n,)."""

    old: Rows
    new: Rows

    def __len__(self) -> int:
        return len(self.old)


@dataclass(frozen=True)
class Difference:
    """How one snapshot differs from another.

    Attributes
    ----------
    added, removed : ndarray, int64
        Row numbers in the new and in the old snapshot.
    relabelled, edited, reattributed, renamed : Pairs
        The content changed (edited); else the label did; else the source; else the key alone.
    unchanged : int
    moved : int
        Unchanged rows that stand elsewhere among the unchanged ones.
    """

    added: Rows
    removed: Rows
    relabelled: Pairs
    edited: Pairs
    reattributed: Pairs
    renamed: Pairs
    unchanged: int
    moved: int

    @property
    def changed(self) -> Rows:
        """Row numbers, in the new snapshot, of all that is not as it was, in order."""
        pairs = [getattr(self, name).new for name in CHANGES[2:]]
        return np.sort(np.concatenate([self.added, *pairs]))

    def counts(self) -> dict[str, int]:
        """How many rows changed in which way."""
        return {name: len(getattr(self, name)) for name in CHANGES}

    def by_source(self, old: RowIndex, new: RowIndex) -> dict[str, dict[str, int]]:
        """The same for each source: that of the new row; where it was removed, of the old one."""
        counts: dict[str, Counter[str]] = {}
        for name in CHANGES:
            index = old if name == "removed" else new
            part = getattr(self, name)
            rows = part.new if isinstance(part, Pairs) else part
            for code, n in zip(*np.unique(index.source_codes[rows], return_counts=True)):
                counts.setdefault(index.sources[code], Counter())[name] += int(n)
        return {source: {c: counts[source][c] for c in CHANGES} for source in sorted(counts)}

    def relabellings(self, old: RowIndex, new: RowIndex) -> dict[str, int]:
        """How often each label became which other: ``{"no → yes": 12}``, by frequency."""
        pairs = Counter(
            f"{old.label(a)} → {new.label(b)}"
            for a, b in zip(self.relabelled.old.tolist(), self.relabelled.new.tolist())
        )
        return dict(pairs.most_common())


def compare_indexes(old: RowIndex, new: RowIndex) -> Difference:
    """Compare two snapshots of a table.

    Parameters
    ----------
    old, new : RowIndex
        Of the same columns; see `crenel.provenance.rows.index_rows`. Rows that occur several
        times are counted so often.

    Returns
    -------
    Difference
    """
    same = _match(old.digests, new.digests, np.arange(len(old)), np.arange(len(new)))
    gone, come = _rest(len(old), same.old), _rest(len(new), same.new)
    moved = len(same) - _in_order(same)
    if old.keys is not None and new.keys is not None:
        pairs = _match(old.keys, new.keys, gone, come)
        gone, come = _without(gone, pairs.old), _without(come, pairs.new)
        lone_old, lone_new = _lone(old.content, gone), _lone(new.content, come)
        pairs = _joined(pairs, _match(old.content, new.content, lone_old, lone_new))
    else:
        pairs = _match(old.content, new.content, gone, come)
        gone, come = _without(gone, pairs.old), _without(come, pairs.new)
        pairs = _joined(pairs, _same_place(gone, come, same))
    gone, come = _without(gone, pairs.old), _without(come, pairs.new)
    parts = _kinds(old, new, pairs)
    return Difference(come, gone, unchanged=len(same), moved=moved, **parts)


def _kinds(old: RowIndex, new: RowIndex, pairs: Pairs) -> dict[str, Pairs]:
    """What changed in each pair, in the order of the new rows."""
    a, b = pairs.old, pairs.new
    content = (old.content[a] == new.content[b]).all(axis=1)
    labels = _texts(old.labels, old.label_codes, a) == _texts(new.labels, new.label_codes, b)
    sources = _texts(old.sources, old.source_codes, a) == _texts(new.sources, new.source_codes, b)
    order = np.argsort(b, kind="stable")
    chosen = {
        "edited": ~content,
        "relabelled": content & ~labels,
        "reattributed": content & labels & ~sources,
        "renamed": content & labels & sources,
    }
    return {name: Pairs(a[order][m[order]], b[order][m[order]]) for name, m in chosen.items()}


def _joined(first: Pairs, second: Pairs) -> Pairs:
    return Pairs(np.r_[first.old, second.old], np.r_[first.new, second.new])


def _lone(digests: NDArray[np.uint8], rows: Rows) -> Rows:
    """Those of some rows that share their digest with no other of them."""
    if len(rows) == 0:
        return rows
    _, at, counts = np.unique(digests[rows], axis=0, return_index=True, return_counts=True)
    return np.sort(rows[at[counts == 1]])


def _texts(values: tuple[str, ...], codes: NDArray[np.int32], rows: Rows) -> NDArray[Any]:
    """The labels of some rows; "" where there is none."""
    return np.array([*values, ""], dtype=object)[codes[rows]]


def _rest(n: int, taken: Rows) -> Rows:
    left = np.ones(n, dtype=bool)
    left[taken] = False
    return np.flatnonzero(left)


def _without(rows: Rows, taken: Rows) -> Rows:
    return rows[~np.isin(rows, taken)]


def _match(old: NDArray[np.uint8], new: NDArray[np.uint8], a: Rows, b: Rows) -> Pairs:
    """Pair rows a of ``old`` with rows b of ``new`` whose bytes are equal, each row once."""
    # most rows of most snapshots stand where they stood
    if len(a) and len(b) and len(a) == len(old) and len(b) == len(new):
        n = min(len(a), len(b))
        at = np.flatnonzero((_words(old[:n]) == _words(new[:n])).all(axis=1))
        rest = _match_sorted(old, new, _rest(len(old), at), _rest(len(new), at))
        return Pairs(np.r_[at, rest.old], np.r_[at, rest.new])
    return _match_sorted(old, new, a, b)


def _words(digests: NDArray[np.uint8]) -> NDArray[np.uint64]:
    """Bytes as 64-bit words, shape (n, width / 8)."""
    return np.ascontiguousarray(digests).view(np.uint64)


def _match_sorted(old: NDArray[np.uint8], new: NDArray[np.uint8], a: Rows, b: Rows) -> Pairs:
    """The same, by sorting; of equal rows the first is paired with the first."""
    words_a, words_b = _words(old[a]), _words(new[b])
    heads_a, heads_b = words_a[:, 0].copy(), words_b[:, 0].copy()
    by_a, by_b = _order(heads_a), _order(heads_b)
    pairs = _pair_runs(heads_a[by_a], heads_b[by_b])
    # by new rows, so that what lies side by side in memory is compared side by side
    at_a = np.full(len(b), -1)
    at_a[by_b[pairs.new]] = by_a[pairs.old]
    at_b = np.flatnonzero(at_a >= 0)
    at_a = at_a[at_b]
    twins = _has_twins(words_a, heads_a, by_a) or _has_twins(words_b, heads_b, by_b)
    if twins or not np.array_equal(words_a[at_a], words_b[at_b]):
        # rows that share eight bytes and no more do not come about by chance: compare all bytes
        _, codes = np.unique(np.vstack([words_a, words_b]), axis=0, return_inverse=True)
        codes_a, codes_b = codes.reshape(-1)[: len(a)], codes.reshape(-1)[len(a) :]
        by_a, by_b = np.argsort(codes_a, kind="stable"), np.argsort(codes_b, kind="stable")
        pairs = _pair_runs(codes_a[by_a], codes_b[by_b])
        at_a, at_b = by_a[pairs.old], by_b[pairs.new]
    return Pairs(a[at_a], b[at_b])


def _order(heads: NDArray[np.uint64]) -> Rows:
    """The order that sorts them; equal ones stay in theirs."""
    order = np.argsort(heads)
    ordered = heads[order]
    return np.argsort(heads, kind="stable") if (ordered[1:] == ordered[:-1]).any() else order


def _has_twins(words: NDArray[np.uint64], heads: NDArray[np.uint64], order: Rows) -> bool:
    """Whether two rows agree in their first word and not in all."""
    ordered = heads[order]
    near = np.flatnonzero(ordered[1:] == ordered[:-1])
    return not np.array_equal(words[order[near]], words[order[near + 1]])


def _pair_runs(a: NDArray[Any], b: NDArray[Any]) -> Pairs:
    """Places of equal values in two sorted arrays, the k-th of those in one with the k-th."""
    first = np.searchsorted(a, b, side="left")
    at = first + _rank(b)
    fits = at < len(a)
    fits[fits] = a[at[fits]] == b[fits]
    return Pairs(at[fits], np.flatnonzero(fits))


def _rank(ordered: NDArray[np.int64]) -> NDArray[np.int64]:
    """Of sorted numbers, how many equal ones stand before each."""
    n = len(ordered)
    if n == 0:
        return np.zeros(0, dtype=np.int64)
    first = np.r_[True, ordered[1:] != ordered[:-1]]
    starts: Rows = np.flatnonzero(first)
    rank: Rows = np.arange(n) - starts[np.cumsum(first) - 1]
    return rank


def _in_order(same: Pairs) -> int:
    """Length of the longest run of unchanged rows whose order is as it was (patience sorting)."""
    if len(same) == 0:
        return 0
    new = same.new[np.argsort(same.old, kind="stable")]
    if (np.diff(new) > 0).all():
        return len(new)
    from bisect import bisect_left

    tails: list[int] = []
    for value in new.tolist():
        at = bisect_left(tails, value)
        tails[at : at + 1] = [value]
    return len(tails)


def _same_place(gone: Rows, come: Rows, same: Pairs) -> Pairs:
    """Rows that stand behind the same unchanged row, the first beside the first."""
    if len(same) == 0:
        n = min(len(gone), len(come))
        return Pairs(gone[:n], come[:n])
    order = np.argsort(same.old)
    anchors, twins, kept = same.old[order], same.new[order], np.sort(same.new)
    # the place of a row is the number, in the new snapshot, of the unchanged row before it
    before = np.searchsorted(anchors, gone)
    place_old = np.where(before > 0, twins[before - 1], -1)
    before = np.searchsorted(kept, come)
    place_new = np.where(before > 0, kept[before - 1], -1)
    by_old, by_new = np.argsort(place_old, kind="stable"), np.argsort(place_new, kind="stable")
    pairs = _pair_runs(place_old[by_old], place_new[by_new])
    return Pairs(gone[by_old[pairs.old]], come[by_new[pairs.new]])


def equality_codes(digests: NDArray[np.uint8]) -> NDArray[np.int64]:
    """Numbers from 0, one for each distinct row of bytes (n, width), shape (n,)."""
    words = _words(digests)
    heads = words[:, 0].copy()
    order = np.argsort(heads)
    if _has_twins(words, heads, order):
        _, same = np.unique(words, axis=0, return_inverse=True)
        return same.reshape(-1).astype(np.int64)
    ordered = heads[order]
    codes = np.zeros(len(heads), dtype=np.int64)
    codes[order[1:]] = np.cumsum(ordered[1:] != ordered[:-1])
    return codes


def sources_of(index: RowIndex) -> Mapping[str, int]:
    """Rows of each source."""
    counts = np.bincount(index.source_codes, minlength=len(index.sources))
    return {name: int(n) for name, n in zip(index.sources, counts)}

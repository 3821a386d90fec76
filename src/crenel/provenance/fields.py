"""Which fields of edited rows changed, from what to what."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from crenel.provenance.cells import cells
from crenel.provenance.snapshots import Change

#: Longest value that is shown.
_SHOWN = 60


@dataclass(frozen=True)
class Edit:
    """One row that was edited.

    Attributes
    ----------
    old, new : int
        Row numbers from 0.
    fields : dict of str to (before, after)
        Columns whose values differ.
    """

    old: int
    new: int
    fields: dict[str, tuple[Any, Any]]

    def sentence(self) -> str:
        """For a person: ``row 3: pay 1.5 → 2.5, town A → (missing)``."""
        told = ", ".join(f"{n} {_shown(a)} → {_shown(b)}" for n, (a, b) in self.fields.items())
        return f"row {self.new}: {told}"

    def to_json(self) -> dict[str, Any]:
        """As plain values."""
        fields = {n: [_shown(a), _shown(b)] for n, (a, b) in self.fields.items()}
        return {"old": self.old, "new": self.new, "fields": fields}


def edits(change: Change, limit: int = 100) -> tuple[dict[str, int], list[Edit]]:
    """What changed in the rows that were edited.

    Parameters
    ----------
    change : Change
        The files of both snapshots must be there, as they were.
    limit : int
        Rows that are listed; all are counted.

    Returns
    -------
    counts : dict of str to int
        In how many rows each column changed, the most frequent first.
    edits : list of Edit

    Raises
    ------
    SubjectError
        Where a file is not there, or not as it was.
    """
    pairs = change.difference.edited
    if not len(pairs):
        return {}, []
    before, after = change.old.rows(pairs.old), change.new.rows(pairs.new)
    differ = {
        name: (cells(before[name], kind) != cells(after[name], kind)).any(axis=1)
        for name, kind in zip(before.names, before.types)
    }
    counts = {name: int(d.sum()) for name, d in differ.items() if d.any()}
    ordered = dict(sorted(counts.items(), key=lambda item: -item[1]))
    listed = [
        Edit(
            int(pairs.old[i]),
            int(pairs.new[i]),
            {n: (_value(before[n], i), _value(after[n], i)) for n in counts if differ[n][i]},
        )
        for i in range(min(limit, len(pairs)))
    ]
    return ordered, listed


def _value(array: Any, row: int) -> Any:
    if isinstance(array, np.ndarray):
        return f"array {array.shape[1:]}"
    value = array[row].as_py()
    return value.hex() if isinstance(value, bytes) else value


def _shown(value: Any) -> str:
    text = "(missing)" if value is None else str(value)
    return text if len(text) <= _SHOWN else f"{text[: _SHOWN - 1]}…"

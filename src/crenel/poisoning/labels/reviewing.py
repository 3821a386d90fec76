"""A reviewer's decisions on training records: read from a table, and applied."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from crenel.errors import SubjectError, UsageError
from crenel.subject import Data

#: What a reviewer can decide; an empty field is no decision yet.
DECISIONS = ("keep", "relabel", "remove")
_COLUMNS = ("record", "decision")


@dataclass(frozen=True)
class Decision:
    """What a person decided on one training record.

    Attributes
    ----------
    record : str
        Its id.
    decision : str
        "keep", "relabel", "remove", or "" where nobody decided.
    given : str
        The label that it had when it was reviewed; "" where the table does not say.
    label : str
        The label that it gets, of relabelled ones.
    """

    record: str
    decision: str
    given: str = ""
    label: str = ""


def read_decisions(path: Path) -> tuple[Decision, ...]:
    """Read a review: a quarantine table whose column ``decision`` was filled in.

    Parameters
    ----------
    path : Path
        CSV or Parquet with the columns ``record`` and ``decision``, ``suggested`` where a record
        is relabelled, and ``given``, which guards against a table that is out of date.

    Raises
    ------
    UsageError
        Where the file cannot be read, a column is missing, a decision is none, a relabelled
        record has no suggested label, or a record is decided twice.
    """
    import pandas as pd

    try:
        if path.suffix.lower() in (".parquet", ".pq"):
            table = pd.read_parquet(path)
        else:
            table = pd.read_csv(path, dtype=str, keep_default_na=False)
    except (OSError, ValueError, ImportError) as error:
        raise UsageError(f"{path} cannot be read: {str(error).splitlines()[0]}") from error
    missing = [c for c in _COLUMNS if c not in table.columns]
    if missing:
        raise UsageError(f"{path} has no column {missing[0]!r}; edit the quarantine table itself")
    texts = {
        c: _texts(table[c]) for c in ("record", "decision", "given", "suggested") if c in table
    }
    empty = [""] * len(table)
    rows = zip(
        texts["record"],
        texts["decision"],
        texts.get("given", empty),
        texts.get("suggested", empty),
        strict=True,
    )
    found = tuple(Decision(r, d.lower(), given, label) for r, d, given, label in rows)
    _checked(found, path)
    return found


def _texts(column: Any) -> list[str]:
    return ["" if v is None or v != v else str(v).strip() for v in column.tolist()]


def _checked(found: tuple[Decision, ...], path: Path) -> None:
    for d in found:
        if d.decision and d.decision not in DECISIONS:
            raise UsageError(
                f"{path}: {d.decision!r} of record {d.record} is no decision; "
                f"write {', '.join(DECISIONS)} or nothing"
            )
        if d.decision == "relabel" and not d.label:
            raise UsageError(
                f"{path}: record {d.record} is to be relabelled; "
                "write its label in the column 'suggested'"
            )
    twice = [r for r, n in Counter(d.record for d in found).items() if n > 1]
    if twice:
        raise UsageError(f"{path} decides record {twice[0]} twice; leave one line")
    if not any(d.decision for d in found):
        raise UsageError(f"{path} decides nothing; fill in its column 'decision'")


def decided(
    data: Data, classes: NDArray[Any], decisions: tuple[Decision, ...]
) -> tuple[Data, dict[str, int]]:
    """The data after a review, and how many records were kept, relabelled, removed or left.

    Parameters
    ----------
    data : Data
    classes : ndarray
        Labels in the order of their indices.
    decisions : tuple of Decision

    Raises
    ------
    SubjectError
        Where a record does not exist or is not alone with its id, has another label by now, or
        is to get a label that no class has.
    """
    places: dict[str, list[int]] = {}
    for i, name in enumerate(data.ids.tolist()):
        places.setdefault(str(name), []).append(i)
    names = [str(c) for c in classes]
    y, kept = data.y.copy(), np.ones(len(data), dtype=bool)
    counts = dict.fromkeys(("keep", "relabel", "remove", "undecided"), 0)
    for d in decisions:
        counts[d.decision or "undecided"] += 1
        if d.decision not in ("relabel", "remove"):
            continue
        row = _place(d, places)
        if d.given and d.given != names[y[row]]:
            raise SubjectError(
                f"record {d.record} is labelled {names[y[row]]} by now, not {d.given} as in the "
                "review; review it again"
            )
        if d.decision == "remove":
            kept[row] = False
            continue
        if d.label not in names:
            raise SubjectError(f"record {d.record} cannot be labelled {d.label}: no such class")
        y[row] = names.index(d.label)
    return replace(data, y=y).take(kept), counts


def _place(d: Decision, places: dict[str, list[int]]) -> int:
    rows = places.get(d.record, [])
    if len(rows) != 1:
        what = "there is no training record" if not rows else f"{len(rows)} training records have"
        raise SubjectError(f"{what} {d.record}; review the run that the table belongs to")
    return rows[0]

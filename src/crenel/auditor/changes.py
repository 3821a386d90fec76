"""Audit what changed between two snapshots of the training data, and nothing else.

The rows that changed are taken for sources of their own, one for each supplier, beside one for all
rows that are as they were; the check of sources (POI-103) then says whether the changed rows
contradict what the unchanged ones teach, and whether the model would do better without them.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from crenel.auditor.audit import Listener, run_job
from crenel.auditor.job import Job
from crenel.data.sources import load_table
from crenel.errors import SubjectError, UsageError
from crenel.finding import Finding
from crenel.provenance.snapshots import Change
from crenel.run import Run, State

CHECK = "POI-103"
UNCHANGED = "unchanged rows"
#: The column that is put in place of the source.
COLUMN = "crenel_change"
#: Rows that the check looks at: no changed one is left out below half of this.
ROWS = 10_000


@dataclass(frozen=True)
class Audited:
    """What the audit of a difference found.

    Attributes
    ----------
    run : Run
        With one outcome, of POI-103.
    findings : tuple of Finding
        Those on changed rows.
    """

    run: Run
    findings: tuple[Finding, ...]

    @property
    def exit_code(self) -> int:
        """0 where the changed rows do no harm that can be measured; 1 where they do; else 2."""
        if self.findings:
            return 1
        return 0 if self.run.outcomes[0].outcome == State.MEASURED else 2


def audit_change(
    job: Job, change: Change, folder: Path, *, listener: Listener = lambda event: None
) -> Audited:
    """Audit the rows of a snapshot that changed since another one.

    Parameters
    ----------
    job : Job
        Of one target with a model that can be trained again, its label and test data; the new
        snapshot takes the place of its training data.
    change : Change
        Of `crenel.provenance.snapshots.compare_snapshots`; the new snapshot's file must be there.
    folder : Path
        Where the rows to be audited, and the log, are written.
    listener : callable
        Hears of progress.

    Raises
    ------
    UsageError
        Where the job has several targets, or its label is no column.
    SubjectError
        Where nothing changed, everything did, or the file is not the snapshot's.
    """
    if len(job.targets) != 1:
        raise UsageError("the audit of a difference takes a configuration with one target")
    target = job.targets[0]
    rows = marked(change, target.source)
    file = folder / "changes.parquet"
    rows.to_parquet(file, index=False)
    changed = target.model_copy(update={"train": str(file.resolve()), "source": COLUMN})
    settings = job.settings.model_copy(update={"checks": (CHECK,), "risks": (), "baseline": ""})
    alone = job.model_copy(update={"targets": (changed,), "settings": settings})
    run = run_job(alone, listener=listener, log=folder / "worker.log")
    told = tuple(f for f in run.findings if UNCHANGED not in f.subject)
    return Audited(run, told)


def marked(change: Change, source: str | None, seed: int = 0) -> Any:
    """The new snapshot as a frame whose source column says what changed, and whose rows it is.

    Parameters
    ----------
    change : Change
    source : str or None
        Column of the suppliers, which is left out.
    seed : int
        Of the sample of unchanged rows, where there are too many rows.
    """
    new, rows = change.new, change.difference.changed
    if len(rows) in (0, len(new.index)):
        what = "nothing" if not len(rows) else "every row"
        raise SubjectError(f"{what} changed in {new.name}, so there is no difference to audit")
    if not new.file.is_file():
        raise SubjectError(f"{new.file} is not there; the audit needs the rows themselves")
    limit = max(len(new.index), 1)
    frame = load_table(new.file, max_rows=limit, max_bytes=1 << 62)
    if len(frame) != limit:
        raise SubjectError(f"{new.file} has {len(frame):,} rows, and {limit:,} were recorded")
    names = np.full(limit, UNCHANGED, dtype=object)
    for row in rows.tolist():
        supplier = new.index.source(row)
        names[row] = f"changed rows of {supplier}" if supplier else "changed rows"
    if source is not None and source in frame.columns:
        frame = frame.drop(columns=source)
    return frame.assign(**{COLUMN: names}).iloc[sampled(limit, rows, seed)]


def sampled(n: int, changed: Any, seed: int) -> Any:
    """Row numbers: all where they are few; else the changed ones, at most half, and others."""
    if n <= ROWS:
        return np.arange(n)
    rng = np.random.default_rng(seed)
    kept = changed if len(changed) <= ROWS // 2 else rng.choice(changed, ROWS // 2, replace=False)
    others = np.setdiff1d(np.arange(n), changed)
    rest = rng.choice(others, min(len(others), ROWS - len(kept)), replace=False)
    return np.sort(np.concatenate([kept, rest]))

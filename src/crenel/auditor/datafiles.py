"""The data files that a configuration names, and what their columns mean."""

from __future__ import annotations

from pathlib import Path

from crenel.auditor.job import read_job
from crenel.errors import UsageError
from crenel.provenance.rows import Roles


def data_files(config: Path) -> tuple[list[Path], Roles]:
    """Training and test data of the target in a crenel.toml.

    Parameters
    ----------
    config : Path
        The file.

    Returns
    -------
    files : list of Path
        Training data first; those that are there.
    roles : Roles
        Columns of the label, the source and the record id.

    Raises
    ------
    UsageError
        Where it has several targets, or names no files of data.
    """
    job = read_job(config)
    if len(job.targets) != 1:
        raise UsageError(f"{config} has {len(job.targets)} targets; name the files to record")
    (target,) = job.targets
    named = [job.root / str(data) for data in (target.train, target.test) if data is not None]
    if not named:
        raise UsageError(f"{config} names no data; name the files to record")
    files = list(dict.fromkeys(named))
    key = () if target.record_id is None else (target.record_id,)
    return files, Roles(target.label, target.source, key)

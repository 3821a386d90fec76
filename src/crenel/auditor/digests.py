"""Digests of every input of a job, so that a run says what it measured."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from crenel.auditor.job import Job


def digests_of(job: Job) -> dict[str, str]:
    """``sha256:…`` of every file that the targets name; by "target/field".

    Inputs that are objects in memory are described by the run's versions and seed alone.
    """
    found = {}
    for target in job.targets:
        for name, value in _strings(target.model_dump(exclude_unset=True)):
            path = job.root / value
            if _is_file(path):
                found[f"{target.name}/{name}"] = digest(path)
    return found


def digest(path: Path) -> str:
    """SHA-256 of a file, read in pieces."""
    with path.open("rb") as stream:
        return f"sha256:{hashlib.file_digest(stream, 'sha256').hexdigest()}"


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except (OSError, ValueError):  # a text that is no path at all
        return False


def _strings(table: dict[str, Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    for key, value in table.items():
        if isinstance(value, dict):
            yield from _strings(value, f"{prefix}{key}.")
        elif isinstance(value, (str, Path)):
            yield f"{prefix}{key}", str(value)
        elif isinstance(value, (list, tuple)):
            for i, item in enumerate(value):
                if isinstance(item, (str, Path)):
                    yield f"{prefix}{key}.{i}", str(item)

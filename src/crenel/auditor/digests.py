"""Digests of every input of a job, so that a run says what it measured."""

from __future__ import annotations

from crenel.auditor.job import Job
from crenel.errors import UsageError


def digests_of(job: Job) -> dict[str, str]:
    """``sha256:…`` of every input of every target, by "target/key".

    Raises
    ------
    UsageError
        Where an input does not exist.
    """
    from crenel.data.sections import digests_of as of_target

    found = {}
    for target in job.targets:
        try:
            digests = of_target(target, job.root)
        except OSError as error:
            raise UsageError(
                f"target.{target.name}: {error.filename} cannot be read: {error.strerror}"
            ) from error
        found.update({f"{target.name}/{key}": digest for key, digest in digests.items()})
    return found

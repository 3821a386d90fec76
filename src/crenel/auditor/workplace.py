"""What both kinds of workplace do with a target: scan, load, measure, treat.

In place, from Python, these functions are called directly; isolated, a worker process calls them
for its parent.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from crenel.auditor.describe import describe
from crenel.auditor.execute import Result, execute, one_line
from crenel.auditor.privacy import mark_personal
from crenel.auditor.writing import write_model
from crenel.check import Context, Level, load_checks
from crenel.errors import SubjectError
from crenel.exposure import Frozen
from crenel.finding import Finding
from crenel.remedy import load_remedies
from crenel.run import TargetPart
from crenel.subject import Data, Subject, capabilities
from crenel.target import Target

log = logging.getLogger("crenel")


class Loaded(Frozen):
    """What the parent knows of a loaded target.

    Parameters
    ----------
    part : TargetPart
        For the report.
    capabilities : tuple of str
        Keys of `crenel.subject.CAPABILITIES`.
    query_seconds, fit_seconds : float
        Measured: one row, one training on all rows.
    fit_fixed : float
        What any training takes of that, however few its rows are.
    """

    part: TargetPart
    capabilities: tuple[str, ...]
    query_seconds: float
    fit_seconds: float
    fit_fixed: float = 0.0


class Treated(Frozen):
    """What a remedy did, without the objects.

    Parameters
    ----------
    remedy, title, sentence : str
    values : dict of str to float
    files : tuple of str
        Artefacts written.
    checks : tuple of str
        To be measured again.
    loaded : Loaded
        The hardened target.
    """

    remedy: str
    title: str
    sentence: str
    values: dict[str, float]
    files: tuple[str, ...]
    checks: tuple[str, ...]
    loaded: Loaded


@dataclass
class Workplace:
    """One target on the bench.

    Attributes
    ----------
    target : Target
    root : Path
        What relative paths are relative to.
    """

    target: Target
    root: Path = field(default_factory=Path)
    subject: Subject | None = None

    def scan(self, *, seed: int, progress: Callable[[float], None]) -> Result:
        """Run TRA-101 on the target's files, before any of them is loaded."""
        from crenel.data.sections import unloaded

        subject = unloaded(self.target, self.root)
        return execute(load_checks()["TRA-101"], subject, seed=seed, progress=progress)

    def peek(self) -> dict[str, Any]:
        """What the model itself knows: names of its features, its classes."""
        from crenel.adapters.loading import load_model

        target = self.target
        model = load_model(
            target.model,
            root=self.root,
            build=target.build,
            trust=target.trust,
            endpoint=target.endpoint,
            classes=target.classes,
        )
        names = getattr(model.native, "feature_names_in_", None)
        return {
            "features": None if names is None else [str(n) for n in names],
            "classes": [str(c) for c in model.classes] or None,
        }

    def load(self) -> Loaded:
        """Load the target and measure its speed."""
        from crenel.data import load_target

        self.subject = mark_personal(load_target(self.target, root=self.root))
        return self._describe()

    def _describe(self) -> Loaded:
        from crenel.data import measure_speed

        self.subject = subject = measure_speed(self._loaded())
        return Loaded(
            part=describe(subject),
            capabilities=tuple(sorted(capabilities(subject))),
            query_seconds=subject.extra.get("query_seconds", 0.0),
            fit_seconds=subject.extra.get("fit_seconds", 0.0),
            fit_fixed=subject.extra.get("fit_fixed", 0.0),
        )

    def measure(
        self,
        check: str,
        *,
        seed: int,
        seconds: float | None,
        jobs: int,
        progress: Callable[[float], None],
        level: Level = "standard",
    ) -> Result:
        """Run one check on the loaded target."""
        return execute(
            load_checks()[check],
            self._loaded(),
            seed=seed,
            seconds=seconds,
            jobs=jobs,
            progress=progress,
            level=level,
        )

    def treat(self, remedy: str, finding: Finding, *, out: Path, seed: int, jobs: int) -> Treated:
        """Apply a remedy; from here on the hardened subject is the one that is measured."""
        chosen = load_remedies()[remedy]
        before = self._loaded()
        lacking = list(before.lacks(chosen.needs))
        if lacking:
            raise SubjectError(f"{remedy} can not be applied: {'; '.join(lacking)}")
        context = Context(check=remedy, seed=seed, jobs=jobs)
        treatment = chosen.apply(before, finding, context)
        self.subject = treatment.subject
        files, unwritten = _write(out, treatment.model, before.train, treatment.tables)
        return Treated(
            remedy=remedy,
            title=chosen.title,
            sentence=treatment.sentence + unwritten,
            values=treatment.values,
            files=files,
            checks=chosen.checks,
            loaded=self._describe(),
        )

    def _loaded(self) -> Subject:
        if self.subject is None:
            raise SubjectError("the target is not loaded")
        return self.subject


def _write(
    out: Path, model: Any, train: Data | None, tables: dict[str, Any]
) -> tuple[tuple[str, ...], str]:
    """Paths of what was written, and a sentence on the model where it could not be."""
    out.mkdir(parents=True, exist_ok=True)
    written, unwritten = [], ""
    if model is not None:
        try:
            written.append(str(write_model(model, out, train)))
        except Exception as error:  # what was measured counts, whatever the file's format thinks
            log.exception("the hardened model was not written")
            unwritten = f"; the model could not be written to a file: {one_line(error)}"
    for name, table in tables.items():
        path = out / f"{name}.csv"
        table.to_csv(path, index=False)
        written.append(str(path))
    return tuple(written), unwritten

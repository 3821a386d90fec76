"""TRA-104 measured: the easiest class of each family as a curve, and triggers that stand out."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from crenel.check import Context, Measurement
from crenel.exposure import Exposure
from crenel.finding import Finding
from crenel.subject import Subject
from crenel.transfer.hidden.curves import curves_of, lines_of, telling, unhealthy
from crenel.transfer.hidden.examination import Examined, examine, health, trigger_of
from crenel.transfer.hidden.found import Shown, examples_of, finding_of, shown, untold
from crenel.transfer.hidden.imagined import with_images
from crenel.transfer.hidden.kinds import Trigger
from crenel.transfer.hidden.scene import Scene
from crenel.transfer.hidden.search import Searched
from crenel.transfer.hidden.triggers import tried
from crenel.transfer.hidden.verdict import Verdict

CHECK = "TRA-104"
#: What triggers are tried on.
IMAGES, IMAGINED = "images", "imagined images"


@dataclass(frozen=True)
class Tried:
    """One family: what was searched, the easiest class, and the one after it."""

    searched: Searched
    first: Trigger
    second: Trigger

    @property
    def telling(self) -> int:
        """The size at which the two are farthest apart, by position."""
        return telling(self.first, self.second)


def measure(subject: Subject, context: Context) -> Measurement:
    """Recover the smallest trigger of every class and hold the easiest against the others."""
    model = subject.model
    assert model is not None
    subject, imagined = with_images(subject, model, context)
    kind = IMAGINED if imagined else IMAGES
    examined = examine(subject, model, context, imagined=bool(imagined))
    families = tried_families(examined, context)
    exposures = [e for t in families for e in _exposures(subject, examined.scene, t, kind, context)]
    findings = _findings(subject, examined, families, kind, context)
    notes = (imagined, *examined.notes) if imagined else examined.notes
    notes += untold(examined.verdicts, findings, model.classes)
    return Measurement(tuple(exposures), tuple(findings), notes, unhealthy(exposures))


def tried_families(examined: Examined, context: Context) -> list[Tried]:
    """The two easiest classes of each family, tried on the held-out images."""
    return [_tried(examined, searched, context) for searched in examined.done]


def _tried(examined: Examined, searched: Searched, context: Context) -> Tried:
    """The two easiest classes of a family, tried on the held-out images."""
    first, second = (int(i) for i in np.argsort(searched.found.costs, kind="stable")[:2])
    one, two = (_on_held(examined, searched, at, first, context) for at in (first, second))
    return Tried(searched, one, two)


def _on_held(
    examined: Examined, searched: Searched, at: int, like: int, context: Context
) -> Trigger:
    made = trigger_of(examined, searched, at, like, context)
    seed = context.derive_seed("tried", made.family)
    return tried(examined.scene, made, int(searched.found.classes[at]), seed)


def _exposures(
    subject: Subject, scene: Scene, t: Tried, kind: str, context: Context
) -> list[Exposure]:
    """The easiest class, the one after it, and random values of the same size."""
    tests = health(scene, t.searched, t.first)
    lines = lines_of(t.first, t.second, scene.model.classes, kind, "recovered")
    return curves_of(
        lines, check=CHECK, subject=subject, at=t.telling, health=tests, context=context
    )


def _findings(
    subject: Subject, examined: Examined, done: list[Tried], kind: str, context: Context
) -> list[Finding]:
    """One for each class that stands out and whose trigger works on images not searched on."""
    found, suspected = [], {v.goal for v in examined.verdicts}
    for verdict in examined.verdicts:
        if not verdict.stands_out:
            continue
        pairs = [
            (
                _trigger_of(examined, t, verdict.goal, context),
                t.second if t.first.goal in suspected else t.first,
            )
            for t in done
        ]
        one = shown(pairs, verdict)
        if one is not None:
            found.append(_finding(subject, examined.scene, verdict, one, kind))
    return [f for f in found if f is not None]


def _trigger_of(examined: Examined, t: Tried, goal: int, context: Context) -> Trigger:
    if t.first.goal == goal:
        return t.first
    at = int(np.flatnonzero(t.searched.found.classes == goal)[0])
    first = int(np.flatnonzero(t.searched.found.classes == t.first.goal)[0])
    return _on_held(examined, t.searched, at, first, context)


def _finding(
    subject: Subject, scene: Scene, verdict: Verdict, one: Shown, kind: str
) -> Finding | None:
    unlearns = kind == IMAGES  # the remedy trains on the user's own
    return finding_of(
        one, verdict, check=CHECK, subject=subject, kind=kind, names=scene.model.classes,
        beside=_beside(verdict),
        fix=(
            "Do not use these weights; take them from whoever you can trust, or "
            f"{'' if unlearns else 'give test images, '}apply unlearn-trigger and measure again."
        ),
        examples=examples_of(
            one.own, one.at, scene.tried, scene.held.ids, scene.answers, scene.model
        ),
        remedies=("unlearn-trigger",) if unlearns else (),
    )  # fmt: skip


def _beside(verdict: Verdict) -> str:
    if not verdict.siblings:
        return "beside the other classes"
    n = verdict.siblings
    return f"beside {n} network{'s' * (n > 1)} of the same layers taught its decisions"

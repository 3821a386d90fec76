"""TRA-106 measured: triggers of the base, put before the model that was tuned from it."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from crenel.access import Attacker
from crenel.check import Context, Measurement, access_of
from crenel.exposure import Exposure
from crenel.finding import Evidence, Finding, Severity, severity
from crenel.model import Model
from crenel.subject import Subject
from crenel.transfer.hidden.curves import (
    Line,
    by_chance,
    contrast,
    curves_of,
    picture,
    size_of,
    telling,
    unhealthy,
)  # fmt: skip
from crenel.transfer.hidden.examination import Examined, examine, health, trigger_of
from crenel.transfer.hidden.kinds import Sized, Trigger, changed
from crenel.transfer.hidden.scene import Scene
from crenel.transfer.hidden.search import Searched
from crenel.transfer.hidden.triggers import tried
from crenel.transfer.hidden.verdict import Verdict

CHECK = "TRA-106"


@dataclass(frozen=True)
class Passed:
    """One family: the base's easiest class and the one after it, before the tuned model.

    Attributes
    ----------
    searched : Searched
    first, second : Trigger
        Their goals are classes of the tuned model: those that most images went to among the ones
        that the triggers were searched on.
    base_class : int
    alone : Trigger
        The first before the base itself, for the search's own tests.
    """

    searched: Searched
    first: Trigger
    second: Trigger
    base_class: int
    alone: Trigger


def measure(subject: Subject, context: Context) -> Measurement:
    """Recover triggers from the base alone and count what they turn of the tuned model."""
    assert subject.base is not None
    assert subject.base.model is not None
    assert subject.model is not None
    examined = examine(subject, subject.base.model, context)
    tuned = _before(examined.scene, subject.model)
    done = [_passed(examined, tuned, searched, context) for searched in examined.done]
    exposures = [e for p in done for e in _exposures(subject, examined, p, context)]
    finding = _finding(subject, examined, done)
    notes = ("The base was searched: " + " ".join(examined.notes),)
    return Measurement(
        tuple(exposures), () if finding is None else (finding,), notes, unhealthy(exposures)
    )


def _before(scene: Scene, model: Model) -> Scene:
    """The same images, asked of the tuned model."""
    answers = np.asarray(model.predict(scene.held.x), dtype=np.int64)
    return replace(scene, model=model, answers=answers)


def _passed(examined: Examined, tuned: Scene, searched: Searched, context: Context) -> Passed:
    suspected = [v.goal for v in examined.verdicts if v.stands_out]
    order = [int(i) for i in np.argsort(searched.found.costs, kind="stable")]
    # a class that stands out over all families goes before the easiest of this one
    order.sort(key=lambda at: int(searched.found.classes[at]) not in suspected[:1])
    one, two = (trigger_of(examined, searched, at, order[0], context) for at in order[:2])
    seed = context.derive_seed("tried", one.family)
    # the size that was enough for the base says where the tuned model is led to
    enough = next((i for i, z in enumerate(one.sizes) if z >= searched.found.costs[order[0]]), -1)
    first, second = (tried(tuned, t, _mode(examined, tuned, t, enough), seed) for t in (one, two))
    own = int(searched.found.classes[order[0]])
    return Passed(searched, first, second, own, tried(examined.scene, one, own, seed))


def _mode(examined: Examined, tuned: Scene, made: Sized, at: int) -> int:
    """The class of the tuned model that gains most images under a trigger of one size.

    It is chosen on the images that the search saw, so that those held out are still new.
    """
    scene = examined.scene
    k = len(tuned.model.classes)

    def counts(images: NDArray[np.float32]) -> NDArray[np.int64]:
        low, span = float(scene.unit.low), float(scene.unit.span)
        rows = scene.lattice.project(images, low + images * span)
        return np.bincount(np.asarray(tuned.model.predict(rows), dtype=np.int64), minlength=k)

    plain = scene.back(scene.x).cpu().numpy()
    marked = scene.back(changed(scene.x, made.masks[at], made.values[at], made.family))
    return int((counts(marked.cpu().numpy()) - counts(plain)).argmax())


def _exposures(subject: Subject, examined: Examined, p: Passed, context: Context) -> list[Exposure]:
    family, names = p.first.family, _names(subject)
    at = telling(p.first, p.second)
    tests = health(examined.scene, p.searched, p.alone)
    lines = [
        Line(
            "attack", f"base's {family}", p.first,
            f"the base's {family} turns {{}} of images to class {names[p.first.goal]}",
        ),
        Line(
            "reference", f"base's {family}, next class", p.second,
            f"that of the base's next class turns {{}} of images to class {names[p.second.goal]}",
        ),
        Line(
            "control", f"{family}, random values", by_chance(p.first),
            f"random values turn {{}} to class {names[p.first.goal]}",
        ),
    ]  # fmt: skip
    return curves_of(lines, check=CHECK, subject=subject, at=at, health=tests, context=context)


def _names(subject: Subject) -> list[str]:
    assert subject.model is not None
    return [str(c) for c in subject.model.classes]


def _finding(subject: Subject, examined: Examined, done: list[Passed]) -> Finding | None:
    """Where a class of the base stands out, and its trigger still works after the tuning."""
    standing = {v.goal: v for v in examined.verdicts if v.stands_out}
    passed = [p for p in done if p.base_class in standing]
    if not passed:
        return None
    best = max(passed, key=lambda p: contrast(p.first, p.second))
    at = telling(best.first, best.second)
    share, usual = best.first.turned[at], best.second.turned[at].value
    beyond = max(usual, best.first.chance[at])
    level = severity(share.low - beyond, access_of(subject, attacker=Attacker.NONE))
    if level is None:
        return None
    return _found(subject, examined, best, at, standing[best.base_class], level)


def _found(
    subject: Subject, examined: Examined, p: Passed, at: int, verdict: Verdict, level: Severity
) -> Finding:
    assert subject.base is not None
    assert subject.base.model is not None
    name = _names(subject)[p.first.goal]
    share, usual = p.first.turned[at], p.second.turned[at].value
    size = size_of(p.first, at)
    return Finding(
        check=CHECK,
        risk="transfer",
        severity=level,
        subject="trigger of the base model",
        sentence=(
            f"{size[0].upper()}{size[1:]}, recovered from the base (its class "
            f"{subject.base.model.classes[p.base_class]}), turns {100 * share.value:.0f} % "
            f"[{100 * share.low:.0f}, {100 * share.high:.0f}] of new images to class {name} after "
            f"the tuning; that of the base's next class turns {100 * usual:.0f} %."
        ),
        attack=(
            "Whoever planted the trigger in the public base puts it on an input of any model that "
            "was tuned from it."
        ),
        fix="Tune from another base, or apply unlearn-trigger to the base first; measure again.",
        evidence=Evidence(
            images=picture(p.first, at),
            values={
                "class": name, "base class": str(subject.base.model.classes[p.base_class]),
                "p": float(f"{verdict.chance:.2g}"), "family": p.first.family,
                "size": round(p.first.sizes[at], 3), "turned": round(share.value, 4),
                "next class": round(usual, 4), "random values turn": round(p.first.chance[at], 4),
            },
        ),
        gain=max(0.0, share.low - usual),
    )  # fmt: skip

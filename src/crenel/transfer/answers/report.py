"""TRA-108 measured: the class that stands out, its trigger of each family, and what was asked."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from crenel.check import Context, Measurement
from crenel.errors import NotApplicable
from crenel.evasion.pace import SOME, seconds_a_row
from crenel.exposure import Exposure, Health, HealthTest
from crenel.finding import Finding
from crenel.subject import Subject
from crenel.transfer.answers.asking import LEAST
from crenel.transfer.answers.control import Control, controls
from crenel.transfer.answers.finished import sized_patches, sized_pattern, tried
from crenel.transfer.answers.judged import FAMILY, judged
from crenel.transfer.answers.plan import HELD, QUERIES, TOLD, Plan, plan_of
from crenel.transfer.answers.scene import Scene, scene_of
from crenel.transfer.answers.search import Searched, search
from crenel.transfer.clock import clock
from crenel.transfer.hidden.curves import behaves, curves_of, lines_of, telling, unhealthy
from crenel.transfer.hidden.found import Shown, examples_of, finding_of, shown, untold
from crenel.transfer.hidden.kinds import Sized, Trigger
from crenel.transfer.hidden.outliers import FEWEST
from crenel.transfer.hidden.verdict import Verdict

CHECK = "TRA-108"
#: Share of the time left for asking, and that of the whole search below which silence says little.
TIME, ENOUGH = 0.5, 0.3
#: Share of the other classes' probabilities that must be told from 0.
SEEN = 0.5


@dataclass(frozen=True)
class Examined:
    """A model searched by answers.

    Attributes
    ----------
    scene : Scene
    plan : Plan
    cut : str
        Why less was asked than a whole search asks; empty where nothing was cut.
    found : Searched
    controls : list of Control
    verdicts : list of Verdict
    """

    scene: Scene
    plan: Plan
    cut: str
    found: Searched
    controls: list[Control]
    verdicts: list[Verdict]


def measure(subject: Subject, context: Context) -> Measurement:
    """Search the triggers of all classes by answers, and hold the easiest class against others."""
    model = subject.model
    assert model is not None
    if model.k < FEWEST + 1:
        raise NotApplicable(
            f"the model has {model.k} classes; a trigger's class is told from the others by how "
            f"easy it is, and that takes at least {FEWEST + 1}"
        )
    examined = examine(subject, context)
    context.progress(0.7)
    done = _families(examined, context)
    exposures = [
        e for own, rival in done for e in _exposures(subject, examined, own, rival, context)
    ]
    findings = _findings(subject, examined, done, context)
    notes = _notes(examined) + untold(examined.verdicts[:TOLD], findings, model.classes)
    return Measurement(tuple(exposures), findings, notes, unhealthy(exposures))


def examine(subject: Subject, context: Context) -> Examined:
    """Plan within what may be asked, search the model and its controls, and judge the classes."""
    scene = scene_of(subject, context)
    most, cut = _allowed(subject, scene, context)
    plan = plan_of(scene.pool.shape[1:], scene.model.k, most=most, level=context.level, cut=cut)
    seed = context.derive_seed("search")
    found = search(scene.asked, scene.pool, plan, seed, clock(context, 0.5))
    context.progress(0.3)
    made = controls(
        scene.asked, scene.pool[: plan.taught], scene.tried, scene.answers,
        context.derive_seed("control"), clock(context, 0.5),
    )  # fmt: skip
    usable = [c for c in made if c.usable]
    beside = [
        search(c.ask, scene.pool, plan, seed, clock(context, 0.5), found.classes).costs
        for c in usable
    ]
    verdicts = judged(found.costs, beside, found.classes, scene.model.k)
    return Examined(scene, plan, cut if plan.part < 1 else "", found, made, verdicts)


def _allowed(subject: Subject, scene: Scene, context: Context) -> tuple[int, str]:
    """Images that may be asked, and what limits them."""
    most, cut = QUERIES[context.level], ""
    if context.deadline is not None:
        some = scene.tried[: SOME if scene.model.remote else HELD]
        in_time = int(TIME * context.time_left() / seconds_a_row(scene.asked.probabilities, some))
        if in_time < most:
            most, cut = in_time, f"there is time for {in_time:,} queries"
    day = subject.access.queries_per_day
    if scene.model.remote and day is not None and day - scene.asked.queries < most:
        most, cut = day - scene.asked.queries, f"{day:,} queries a day are allowed"
    return most, cut


def _families(examined: Examined, context: Context) -> list[tuple[Trigger, Trigger]]:
    """In each family the trigger of the class that stands out most, and of the easiest other."""
    goal = examined.verdicts[0].goal
    return [_pair(examined, way, goal, context) for way in examined.found.costs]


def _pair(examined: Examined, way: str, goal: int, context: Context) -> tuple[Trigger, Trigger]:
    found, suspected = examined.found, [v.goal for v in examined.verdicts]
    order = [int(found.classes[i]) for i in np.argsort(found.costs[way], kind="stable")]
    rival = next(c for c in order if c not in suspected and c != goal)
    made = _sized(examined, way, np.array([goal, rival]), context)
    seed = context.derive_seed("tried", way)
    scene, most = examined.scene, examined.plan.held
    return tried(scene, made[goal], goal, most, seed), tried(scene, made[rival], rival, most, seed)


def _sized(
    examined: Examined, way: str, goals: NDArray[np.int64], context: Context
) -> dict[int, Sized]:
    found, scene, plan = examined.found, examined.scene, examined.plan
    if way == "patch":
        seed = context.derive_seed("sized")
        return sized_patches(scene, found, goals, plan, seed, clock(context, 0.5))
    c, h, w = scene.pool.shape[1:]
    if way == "blend":
        side = plan.side
        shown = found.pattern[goals].reshape(len(goals), c, *plan.grid)
        values = shown.repeat(side, axis=2).repeat(side, axis=3)[:, :, :h, :w]
    else:
        values = found.wave[goals][:, None].repeat(c, axis=1)
    return {int(g): sized_pattern(FAMILY[way], v) for g, v in zip(goals, values)}


def _exposures(
    subject: Subject, examined: Examined, own: Trigger, rival: Trigger, context: Context
) -> list[Exposure]:
    lines = lines_of(own, rival, examined.scene.model.classes, "images", "guessed")
    return curves_of(
        lines, check=CHECK, subject=subject, at=telling(own, rival),
        health=_health(examined, own), context=context,
    )  # fmt: skip


def _health(examined: Examined, own: Trigger) -> Health:
    scene, plan, found = examined.scene, examined.plan, examined.found
    told = _told(scene)
    tests = [
        HealthTest(
            name="enough could be asked",
            ok=plan.part >= ENOUGH,
            detail=f"{plan.part:.0%} of a whole search",
        ),
        HealthTest(
            name="the search had its rounds", ok=found.done >= 0.6, detail=f"{found.done:.0%}"
        ),
        HealthTest(
            name="scores say more than decisions",
            ok=told >= SEEN,
            detail=f"{told:.0%} of the other classes' are told from 0",
        ),
        *behaves(own),
    ]
    if examined.controls:
        best = max(c.agreement for c in examined.controls)
        tests.append(
            HealthTest(
                name="a control decides alike",
                ok=any(c.usable for c in examined.controls),
                detail=f"{best:.0%} of the decisions",
            )
        )
    return Health.of(*tests)


def _told(scene: Scene) -> float:
    """Share of probabilities of classes not decided for that are told from 0."""
    said = scene.asked(scene.tried)
    others = np.arange(said.shape[1]) != said.argmax(axis=1)[:, None]
    return float((said[others] > LEAST).mean())


def _findings(
    subject: Subject, examined: Examined, done: list[tuple[Trigger, Trigger]], context: Context
) -> tuple[Finding, ...]:
    """One for each class that stands out and whose trigger works on images not searched on."""
    found = []
    for verdict in examined.verdicts[:TOLD]:
        if not verdict.stands_out:
            continue
        first = done[0][0].goal == verdict.goal
        pairs = done if first else [
            _pair(examined, way, verdict.goal, context) for way in examined.found.costs
        ]  # fmt: skip
        one = shown(pairs, verdict)
        if one is not None:
            found.append(_finding(subject, examined, verdict, one))
    return tuple(f for f in found if f is not None)


def _finding(subject: Subject, examined: Examined, verdict: Verdict, one: Shown) -> Finding | None:
    scene = examined.scene
    return finding_of(
        one, verdict, check=CHECK, subject=subject, kind="images", names=scene.model.classes,
        beside=_beside(examined),
        fix=(
            "Do not use this model; take one from whoever you can trust, or ask its maker for the "
            "weights and have TRA-104 recover the trigger with gradients."
        ),
        examples=examples_of(
            one.own, one.at, scene.tried, scene.held.ids, scene.answers, scene.model
        ),
    )  # fmt: skip


def _beside(examined: Examined) -> str:
    usable = [c for c in examined.controls if c.usable]
    if not usable:
        return "beside the other classes"
    n = f" and {len(usable) - 1} more" if len(usable) > 1 else ""
    return f"beside {usable[0].words} taught its decisions{n}"


def _notes(examined: Examined) -> tuple[str, ...]:
    scene, plan, found, names = (
        examined.scene, examined.plan, examined.found, examined.scene.model.classes,
    )  # fmt: skip
    notes = [
        f"{scene.asked.queries:,} images were asked, and nothing else was used: searched on "
        f"{plan.images} images, tried on {len(scene.tried)} others; "
        f"{len(found.classes)} of {len(names)} classes.",
    ]
    if examined.cut:
        notes.append(
            f"{examined.cut[0].upper()}{examined.cut[1:]}: the search was cut to {plan.part:.0%} "
            f"of what it asks otherwise, with cells of {plan.side} pixels and waves of up to "
            f"{plan.periods} periods."
        )
    if "faint wave" not in found.costs:
        notes.append("There was no time for all waves, so that waves were not judged.")
    if not examined.controls:
        notes.append("No control could be taught (torch is not installed).")
    notes += [
        f"Control, {c.words}: it shares {c.agreement:.0%} of the decisions."
        for c in examined.controls
    ]
    for v in examined.verdicts:
        parts = ", ".join(f"{part} {p:.2g}" for part, p in v.parts.items())
        notes.append(
            f"Class {names[v.goal]}, {_beside(examined)}: p = {v.chance:.2g} ({parts}): "
            f"{'it stands out' if v.stands_out else 'no more than chance'}."
        )
    return tuple(notes)

"""Curves of triggers: the share of images turned, by the size of what is put on them."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np

from crenel.access import Attacker
from crenel.check import Context, access_of
from crenel.evasion.imagery import as_image
from crenel.exposure import Budget, Exposure, Harm, Health, HealthTest
from crenel.statistics import Interval
from crenel.subject import Subject
from crenel.transfer.hidden.kinds import Family, Trigger, as_array

Role = Literal["attack", "reference", "control"]
WORDS: dict[Family, str] = {
    "patch": "a patch of {:.0f} pixels",
    "blend": "a faint pattern of L2 size {:.2g} over the whole image",
    "wave": "a faint pattern of waves of L2 size {:.2g} over the whole image",
}


def size_of(trigger: Trigger, at: int) -> str:
    """What is put on images, in words."""
    words = WORDS[trigger.family].format(trigger.sizes[at])
    return words.replace("of 1 pixels", "of 1 pixel")


def telling(first: Trigger, second: Trigger) -> int:
    """The size at which one trigger turns most, surely, beyond what the other turns."""
    gaps = [a.low - b.value for a, b in zip(first.turned, second.turned)]
    return int(np.argmax(gaps))


def contrast(own: Trigger, rival: Trigger) -> float:
    """What one trigger turns, surely, beyond another at the telling size."""
    at = telling(own, rival)
    return own.turned[at].low - rival.turned[at].value


def by_chance(trigger: Trigger) -> Trigger:
    """Random values in a trigger's place, as if they were one."""
    return replace(trigger, turned=tuple(Interval(c, c, c) for c in trigger.chance))


@dataclass(frozen=True)
class Line:
    """One curve to be: its role, its name, its trigger, and words with a place for the share."""

    role: Role
    series: str
    trigger: Trigger
    words: str


def lines_of(first: Trigger, second: Trigger, names: Any, kind: str, how: str) -> list[Line]:
    """The easiest class's trigger, the next one's under the same search, and random values."""
    family = first.family
    one, two = (f"class {names[trigger.goal]}" for trigger in (first, second))
    return [
        Line("attack", family, first, f"a {how} {family} turns {{}} of {kind} to {one}"),
        Line(
            "reference", f"{family}, next class", second,
            f"the same search turns {{}} of {kind} to {two}, the next",
        ),
        Line(
            "control", f"{family}, random values", by_chance(first),
            f"random values turn {{}} to {one}",
        ),
    ]  # fmt: skip


def curves_of(
    lines: list[Line], *, check: str, subject: Subject, at: int, health: Health, context: Context
) -> list[Exposure]:
    """Triggers as exposures of one check, spoken of at one size."""
    return [_curve(line, check, subject, at, health, context) for line in lines]


def _curve(
    line: Line, check: str, subject: Subject, at: int, health: Health, context: Context
) -> Exposure:
    trigger = line.trigger
    added = trigger.family != "patch"
    return Exposure(
        check=check,
        risk="transfer",
        series=line.series,
        role=line.role,
        access=access_of(subject, attacker=Attacker.NONE),
        budget=Budget(
            name="L2 size" if added else "pixels replaced",
            unit="of the range" if added else "",
            values=trigger.sizes,
            scale="log",
        ),
        harm=Harm(
            name="images of other classes turned to one class",
            values=tuple(s.value for s in trigger.turned),
            low=tuple(s.low for s in trigger.turned),
            high=tuple(s.high for s in trigger.turned),
        ),
        n=len(trigger.rows),
        seed=context.seed,
        queries=trigger.asked,
        seconds=context.elapsed,
        health=health,
        headline=line.words.format(f"{100 * trigger.turned[at].value:.0f} %")
        + f" with {size_of(trigger, at)}",
    )


def behaves(trigger: Trigger) -> list[HealthTest]:
    """Whether what was found does what a trigger does."""
    shares = np.array([s.value for s in trigger.turned])
    drop = float((np.maximum.accumulate(shares) - shares).max())
    return [
        HealthTest(
            name="a larger trigger turns no fewer",
            ok=drop <= 0.15,
            detail=f"at most {100 * drop:.0f} points fewer",
        ),
        HealthTest(
            name="the trigger turns more than random values",
            ok=bool(shares.mean() > np.mean(trigger.chance)),
            detail=f"{shares.mean():.0%} against {np.mean(trigger.chance):.0%} on average",
        ),
    ]


def unhealthy(exposures: list[Exposure]) -> str:
    """What failed of the search, for then silence says nothing."""
    failed = {
        f"{t.name} ({t.detail})": None
        for e in exposures
        if e.role == "attack"
        for t in e.health.tests
        if not t.ok
    }
    return f"of the search's own tests these failed: {'; '.join(failed)}" if failed else ""


def picture(trigger: Trigger, at: int) -> tuple[str, ...]:
    """The trigger on grey; what is added is magnified."""
    from crenel.data.png import data_uri

    mask, values = as_array(trigger.masks[at]), as_array(trigger.values[at])
    if trigger.family != "patch":
        shown = 0.5 + 0.5 * values / max(float(np.abs(values).max()), 1e-12)
    else:
        shown = 0.5 + mask * (values - 0.5)
    image = as_image(shown)
    return () if image is None else (data_uri(image),)

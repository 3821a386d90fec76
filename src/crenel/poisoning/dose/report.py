"""POI-102's figures as exposures and findings."""

from __future__ import annotations

import math
from typing import Any

from crenel.access import Attacker
from crenel.check import Context, access_of
from crenel.exposure import Budget, Exposure, Harm, Health, HealthTest
from crenel.finding import Edit, Evidence, Example, Finding, severity
from crenel.poisoning.dose.needed import Needed
from crenel.poisoning.dose.plan import Dosed
from crenel.poisoning.dose.response import Point, Response
from crenel.poisoning.wording import percent, points, share
from crenel.statistics import Interval
from crenel.subject import Subject


def cheapness(dose: float) -> float:
    """How cheaply a share of the training rows is had: 1 up to 0.1 %, 0.55 at 1 %, 0.1 at 10 %."""
    return min(1.0, max(0.1, 1 - 0.45 * math.log10(max(dose, 1e-3) / 1e-3)))


def exposure(subject: Subject, context: Context, dosed: Dosed, response: Response) -> Exposure:
    """The dose-response of one attack as an exposure."""
    n = len(dosed.reference.train)
    harms = [p.harm for p in response.points]
    proven = [p.possible for p in response.points if p.possible is not None]
    trains = sum(r.fits for r in dosed.responses)
    return Exposure(
        check=context.check,
        risk="poisoning",
        series=response.attack.name,
        access=access_of(subject, attacker=Attacker.DATA),
        budget=Budget(
            name="rows poisoned",
            unit="share of training rows",
            values=tuple(p.count / n for p in response.points),
            scale="log",
        ),
        harm=Harm(
            name=_harm_name(subject, dosed, response),
            values=tuple(h.value for h in harms),
            low=tuple(h.low for h in harms),
            high=tuple(h.high for h in harms),
            baseline=response.baseline,
            possible=tuple(max(p.value, h.value) for p, h in zip(proven, harms)),
            possible_high=tuple(max(p.high, h.value) for p, h in zip(proven, harms)),
        ),
        n=response.rows,
        seed=context.seed,
        queries=response.rows * trains,
        seconds=context.elapsed,
        health=_health(dosed, response),
        headline=_headline(subject, dosed, response),
    )


def _harm_name(subject: Subject, dosed: Dosed, response: Response) -> str:
    victim = _class(subject, dosed.aim.victim)
    return {
        "trigger": f"decisions turned to {victim} by the pattern",
        "targeted flips": f"decisions for {victim} lost",
    }.get(response.attack.name, "accuracy lost")


def _class(subject: Subject, index: int) -> str:
    assert subject.model is not None
    return str(subject.model.classes[index])


def _headline(subject: Subject, dosed: Dosed, response: Response) -> str:
    point = enough(response) or response.points[-1]
    rows = f"{point.count:,} of {len(dosed.reference.train):,} rows"
    victim = _class(subject, dosed.aim.victim)
    only = " only" if point.harm.high < 0.25 else ""
    if response.attack.name == "trigger":
        if dosed.needed and dosed.needed[0].rows is not None:
            return rows_needed(subject, dosed)
        turn = "turns" if point.count == 1 else "turn"
        return (
            f"{rows} with one pattern {turn}{only} {percent(point.harm)} of decisions to {victim}"
        )
    if response.attack.name == "targeted flips":
        instead = _class(subject, dosed.aim.instead)
        return (
            f"{rows} labelled {instead} in place of {victim} lose{only} {percent(point.harm)} "
            f"of the decisions for {victim}"
        )
    return f"{rows} labelled at random cost{only} {points(point.harm)} of accuracy"


def rows_needed(subject: Subject, dosed: Dosed) -> str:
    """How many rows under the trigger turn half of the decisions, and how many nine tenths.

    "35 rows (0.14 %) [27, 44] with one pattern turn half of decisions to >50K, 102 (0.42 %)
    [88, 131] nine tenths"; "not reached" where the largest dose falls short.
    """
    victim = _class(subject, dosed.aim.victim)
    half, most = (_rows_for(found, dosed) for found in dosed.needed)
    turn = "turns" if half.startswith("1 ") else "turn"
    text = f"{half} with one pattern {turn} half of decisions to {victim}"
    if dosed.needed[0].rows is None:
        return f"half of decisions to {victim} {half}"
    return f"{text}, {most} nine tenths" if dosed.needed[1].rows else f"{text}; nine tenths {most}"


def _rows_for(found: Needed, dosed: Dosed) -> str:
    n = len(dosed.reference.train)
    if found.rows is None:
        return f"not reached at {share(found.most / n)} of the rows ({percent(found.there)} there)"
    count, low, high = _counts(found.rows)
    top = "more" if high is None else f"{high:,}"
    return f"{count:,} row{'' if count == 1 else 's'} ({share(count / n)}) [{low:,}, {top}]"


def _counts(rows: Interval) -> tuple[int, int, int | None]:
    """Whole rows: value and ends, the upper one None where it is open."""
    high = None if math.isinf(rows.high) else math.ceil(rows.high - 1e-9)
    least = 1 if rows.value > 0 else 0  # without any row the goal was not reached
    return math.ceil(rows.value - 1e-9), max(least, math.ceil(rows.low - 1e-9)), high


def owners(dosed: Dosed) -> str:
    """A sentence on the sources that own rows enough for half; empty where none does."""
    if not dosed.owners:
        return ""
    named = [f"{name} ({count:,})" for name, count in list(dosed.owners.items())[:10]]
    more = f" and {len(dosed.owners) - 10} more" if len(dosed.owners) > 10 else ""
    return (
        "Sources that own rows enough for half of the decisions: " + ", ".join(named) + (f"{more}.")
    )


def enough(response: Response) -> Point | None:
    """The smallest dose that surely turns half of the decisions."""
    return next((p for p in response.points if p.harm.low > 0.5), None)


def _health(dosed: Dosed, response: Response) -> Health:
    tests = [same_model(dosed.reference.same), _unlimited(response), _rising(response)]
    if any(p.possible is not None for p in response.points):
        tests.append(_proven(response))
    return Health.of(*tests)


def _proven(response: Response) -> HealthTest:
    broken = sum(p.broken for p in response.points)
    return HealthTest(
        name="no certified decision was turned",
        ok=not broken,
        detail=f"{broken:,} certified decisions were turned" if broken else "",
    )


def same_model(same: Interval) -> HealthTest:
    """Whether training again gives the audited model: the errors differ by no more than noise."""
    return HealthTest(
        name="the model trained again without poison is the audited one",
        ok=same.low <= 0 <= same.high or abs(same.value) <= 0.01,
        detail=f"its error differs by {points(same)}",
    )


def _unlimited(response: Response) -> HealthTest:
    least = response.baseline if response.attack.relative else max(0.5, response.baseline)
    harm = response.unlimited
    return HealthTest(
        name="poisoning nine tenths of the rows reaches its aim",
        ok=harm is not None and harm.low > least,
        detail="not reached in time" if harm is None else f"harm {percent(harm)}",
    )


def _rising(response: Response) -> HealthTest:
    harms = [p.harm for p in response.points]
    falls = [(a, b) for i, a in enumerate(harms) for b in harms[i + 1 :] if b.high < a.low]
    return HealthTest(
        name="a larger dose does no less harm",
        ok=not falls,
        detail=f"{percent(falls[0][0])} falls to {percent(falls[0][1])}" if falls else "",
    )


def findings(subject: Subject, context: Context, dosed: Dosed) -> tuple[Finding, ...]:
    """One finding for each attack that does harm at a dose cheap enough."""
    found = (_finding(subject, context, dosed, r) for r in dosed.responses)
    return tuple(f for f in found if f is not None)


def _finding(
    subject: Subject, context: Context, dosed: Dosed, response: Response
) -> Finding | None:
    n, access = len(dosed.reference.train), access_of(subject, attacker=Attacker.DATA)

    def weight(p: Point) -> float:
        return (p.harm.low - response.baseline) * cheapness(p.count / n)

    worst = max(response.points, key=weight)
    gain = worst.harm.low - response.baseline
    level = severity(gain, access, cheapness(worst.count / n))
    if level is None:
        return None
    place, attack, fix = _words(subject, dosed, response)
    return Finding(
        check=context.check,
        risk="poisoning",
        severity=level,
        subject=place,
        sentence=_sentence(subject, dosed, response, worst),
        attack=attack,
        fix=fix,
        evidence=Evidence(
            columns=dosed.trigger.columns if response.attack.name == "trigger" else (),
            values=_values(dosed, response, worst),
        ),
        examples=_examples(subject, dosed, response),
        remedies=("partition-aggregation",),
        gain=min(1.0, max(0.0, gain)),
    )


def _sentence(subject: Subject, dosed: Dosed, response: Response, worst: Point) -> str:
    n, victim = len(dosed.reference.train), _class(subject, dosed.aim.victim)
    dose = f"{worst.count:,} of {n:,} training rows ({share(worst.count / n)})"
    if response.attack.name == "trigger":
        return (
            f"whoever plants a pattern in {dose} turns {percent(worst.harm)} of decisions to "
            f"{victim} with it; without poison it turns {share(response.baseline)}"
        )
    if response.attack.name == "targeted flips":
        return (
            f"whoever relabels {dose} loses the model {percent(worst.harm)} of its decisions for "
            f"{victim}"
        )
    return f"labels turned at random in {dose} cost {points(worst.harm)} of accuracy"


def _words(subject: Subject, dosed: Dosed, response: Response) -> tuple[str, str, str]:
    victim = _class(subject, dosed.aim.victim)
    vet = "accept records from known sources only, and sign what they deliver"
    if response.attack.name == "trigger":
        return (
            "planted trigger",
            f"Supplies records that carry {dosed.trigger.name} and the label {victim}; later sends "
            "any record with that pattern, and it is decided so. Accuracy on other records does "
            "not change, and reviews of labels do not see it.",
            f"Limit what one source can add, {vet}; compare each delivery with the data before it; "
            "prefer models that need many records to learn a pattern (fewer leaves, larger ones).",
        )
    if response.attack.name == "targeted flips":
        instead = _class(subject, dosed.aim.instead)
        return (
            f"flipped labels of class {victim}",
            f"Labels the clearest records of {victim} as {instead}.",
            f"Review labels out of fold before each training (POI-101), have a second person label "
            f"{victim}, {vet}.",
        )
    return (
        "random label flips",
        "Labels records carelessly, or on purpose at random.",
        f"Review labels out of fold before each training (POI-101), {vet}.",
    )


def _values(dosed: Dosed, response: Response, worst: Point) -> dict[str, Any]:
    half = enough(response)
    planted = _needed_values(dosed) if response.attack.name == "trigger" else {}
    return {
        "rows_poisoned": worst.count,
        "training_rows": len(dosed.reference.train),
        "harm": worst.harm.value,
        "harm_low": worst.harm.low,
        "harm_high": worst.harm.high,
        "baseline": response.baseline,
        "repetitions": worst.repeats,
        "rows_for_half": None if half is None else half.count,
        **planted,
    }


def _needed_values(dosed: Dosed) -> dict[str, Any]:
    """Rows for half and nine tenths with their intervals, and who owns enough for half."""
    values: dict[str, Any] = {}
    for name, found in zip(("half", "nine_tenths"), dosed.needed, strict=False):
        three = (None, None, None) if found.rows is None else _counts(found.rows)
        ends = ("", "_low", "_high")
        values |= {f"rows_for_{name}{end}": v for end, v in zip(ends, three, strict=True)}
    if dosed.owners:
        values["sources_with_rows_for_half"] = dosed.owners
    return values


def _examples(subject: Subject, dosed: Dosed, response: Response) -> tuple[Example, ...]:
    if response.attack.name != "trigger":
        return ()
    trigger, victim = dosed.trigger, _class(subject, dosed.aim.victim)
    edits = tuple(
        Edit(field=c, before="(any)", after=v)
        for c, v in zip(trigger.columns, trigger.values, strict=True)
    )
    return (Example(title=f"any record → {victim}", edits=edits, text=trigger.name),)

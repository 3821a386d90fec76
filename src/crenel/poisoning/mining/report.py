"""POI-105's figures as an exposure and findings."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from crenel.access import Attacker
from crenel.check import Context, access_of
from crenel.exposure import Budget, Exposure, Harm, Health, HealthTest
from crenel.finding import Edit, Evidence, Example, Finding, severity
from crenel.poisoning.dose.report import same_model
from crenel.poisoning.mining.judged import Mined
from crenel.poisoning.mining.plan import Hunt
from crenel.poisoning.mining.probing import Probe, Round
from crenel.poisoning.mining.wording import conditions
from crenel.poisoning.triggers import is_text
from crenel.poisoning.wording import percent, share
from crenel.statistics import Interval, mean
from crenel.subject import Subject

#: Record ids listed at most; the count of all is among the values.
LISTED = 500
#: Suspicious patterns told at most.
TOLD = 5


def exposure(subject: Subject, context: Context, hunt: Hunt) -> Exposure:
    """Decisions that planted triggers turn without being found, against their rows."""
    harms = [_unnoticed(r) for r in hunt.rounds]
    return Exposure(
        check=context.check,
        risk="poisoning",
        access=access_of(subject, attacker=Attacker.DATA),
        budget=Budget(
            name="rows with a planted trigger",
            unit="share of training rows",
            values=tuple(r.share for r in hunt.rounds),
        ),
        harm=Harm(
            name="decisions turned by triggers that go unnoticed",
            values=tuple(h.value for h in harms),
            low=tuple(h.low for h in harms),
            high=tuple(h.high for h in harms),
        ),
        n=min(len(r.probes) for r in hunt.rounds),
        seed=context.seed,
        queries=hunt.mining.queries * (1 + len(hunt.rounds) + hunt.halves[1]),
        seconds=context.elapsed,
        health=_health(hunt),
        headline=_headline(hunt),
    )


def _unnoticed(r: Round) -> Interval:
    """Mean over the probes, whose number is what makes it uncertain."""
    found = mean([p.unnoticed for p in r.probes])
    if len(r.probes) < 2:
        return Interval(found.value, 0.0, 1.0)
    return Interval(found.value, max(0.0, found.low), min(1.0, found.high))


def _headline(hunt: Hunt) -> str:
    working = [(r.share, p) for r in hunt.rounds for p in r.probes if p.works]
    if not working:
        return "no planted trigger turned three decisions in ten, at any number of rows"
    found = sum(p.found is not None for _, p in working)
    clean = clean_from(hunt)
    told = f"of {len(working)} planted triggers that work, {found} are found"
    return told + ("" if clean is None else f"; all of them from {share(clean)} of the rows on")


def clean_from(hunt: Hunt) -> float | None:
    """The least share of rows from which on every working probe is found; None without one."""
    least = None
    for r in reversed(hunt.rounds):
        working = [p for p in r.probes if p.works]
        if any(p.found is None for p in working):
            break
        least = r.share if working else least
    return least


def _health(hunt: Hunt) -> Health:
    alarms, times = hunt.halves
    probes = [p for r in hunt.rounds for p in r.probes]
    stray = sum(r.alarms for r in hunt.rounds)
    found = sum(p.found is not None for p in probes)
    return Health.of(
        same_model(hunt.same),
        HealthTest(
            name="triggers planted on many rows work",
            ok=any(p.success.value > p.base + 0.1 for p in hunt.rounds[-1].probes),
            detail="best success of " + share(max(p.success.value for p in hunt.rounds[-1].probes)),
        ),
        HealthTest(
            name="random halves of the data without the blamed rows raise no alarm",
            ok=alarms == 0,
            detail=f"{alarms} of {times}",
        ),
        HealthTest(
            name="what is confirmed was planted",
            ok=stray <= 0.1 * max(1, found),
            detail=f"{stray} triggers confirmed that nobody planted, beside {found} that were",
        ),
    )


def findings(subject: Subject, context: Context, hunt: Hunt) -> tuple[Finding, ...]:
    """One for each confirmed trigger."""
    found = (_finding(subject, context, hunt, m) for m in hunt.mining.confirmed)
    return tuple(f for f in found if f is not None)


def _finding(subject: Subject, context: Context, hunt: Hunt, m: Mined) -> Finding | None:
    assert subject.model is not None
    assert subject.train is not None
    assert m.control is not None
    told = conditions(m.suspect, hunt.mining.columns, subject.train.x, subject.schema)
    pattern, label = " and ".join(told), subject.model.classes[m.suspect.label]
    before = max(m.base, m.control.value)
    level = severity(m.success.low - before, access_of(subject, attacker=Attacker.DATA))
    if level is None:
        return None
    rows, n = m.suspect.rows, len(subject.train)
    return Finding(
        check=context.check,
        risk="poisoning",
        severity=level,
        subject=f"trigger {pattern}",
        sentence=f"{len(rows):,} of {n:,} training rows ({share(len(rows) / n)}), all labelled "
        f"{label}, carry {pattern}; put into honest rows of other classes this makes the model "
        f"say {label} for {percent(m.success)}, against {percent(m.control)} when it is trained "
        "without these rows",
        attack="Plants a pattern in a few training rows with the label that is wanted, and later "
        "puts the pattern into any input to get that label.",
        fix="Train without the listed rows (crenel harden), and ask who supplied them. What the "
        "model decided on inputs with this pattern is not to be trusted.",
        evidence=Evidence(
            rows=subject.train.names(rows[:LISTED]),
            columns=_columns(subject, hunt, m),
            values=_values(subject, hunt, m),
        ),
        examples=tuple(_examples(subject, m)),
        remedies=("quarantine-triggers",),
        gain=max(0.0, m.success.value - before),
    )


def _columns(subject: Subject, hunt: Hunt, m: Mined) -> tuple[str, ...]:
    """The columns of a table that the pattern sets."""
    assert subject.train is not None
    if not subject.train.is_table or is_text(subject.train.x):
        return ()
    return tuple(hunt.mining.columns[j].name for j in sorted(m.suspect.box))


def _values(subject: Subject, hunt: Hunt, m: Mined) -> dict[str, object]:
    assert subject.train is not None
    assert m.control is not None
    values: dict[str, object] = {
        "rows": len(m.suspect.rows),
        "rows_with_other_labels": m.suspect.others,
        "success": m.success.value,
        "success_low": m.success.low,
        "success_high": m.success.high,
        "without_the_pattern": m.base,
        "without_the_rows": m.control.value,
        "likeness_to_their_label": m.likeness.value,
        "times_as_many_as_expected": m.surplus,
        "likeness_to_each_other": m.kinship.value,
    }
    source = subject.train.source
    if source is not None:
        names, counts = np.unique(source[m.suspect.rows].astype(str), return_counts=True)
        top = np.argsort(-counts, kind="stable")[:10]
        values["by_source"] = {str(names[i]): int(counts[i]) for i in top}
    return {k: v for k, v in values.items() if not isinstance(v, float) or np.isfinite(v)}


def _examples(subject: Subject, m: Mined) -> Iterator[Example]:
    """An honest row that the pattern turns, before and after."""
    if m.shown is None or subject.model is None:
        return
    before, after = m.shown
    classes, decide = subject.model.classes, subject.model.predict
    was, becomes = (classes[int(decide(rows)[0])] for rows in m.shown)
    yield Example(
        title=f"an honest row: {was} → {becomes}",
        edits=_edits(subject, before, after),
        images=_images(before[0], after[0]) if np.ndim(before) > 2 else (),
    )


def _images(before: NDArray[Any], after: NDArray[Any]) -> tuple[str, ...]:
    """An image, the same with the pattern, and the pattern alone on grey."""
    from crenel.data.png import data_uri
    from crenel.evasion.imagery import as_image

    low = min(0.0, float(before.min()))
    span = max(float(before.max()), float(after.max())) - low or 1.0
    scaled = [(np.asarray(v, dtype=float) - low) / span for v in (before, after)]
    alone = np.where(before != after, scaled[1], 0.5)
    views = [as_image(v) for v in (*scaled, alone)]
    return tuple(data_uri(v) for v in views if v is not None)


def _edits(subject: Subject, before: Any, after: Any) -> tuple[Edit, ...]:
    if hasattr(before, "iloc") and subject.schema is not None:
        from crenel.evasion.fields.diffs import edits

        return edits(before, after, subject.schema)
    if np.ndim(before) > 2:
        return ()
    old, new = np.ravel(before), np.ravel(after)
    return tuple(
        Edit(field=str(j), before=str(old[j]), after=str(new[j]))
        for j in np.flatnonzero(old != new)
    )


def notes(subject: Subject, hunt: Hunt) -> Iterator[str]:
    """What was looked at, what stays suspicious, and down to which share the data is clean."""
    mining = hunt.mining
    assert subject.train is not None
    yield (
        f"{mining.looked_at:,} patterns were planted on held-out rows, "
        f"{len(mining.found):,} of them turn decisions, {len(mining.confirmed):,} are confirmed."
    )
    suspicious = [m for m in mining.found if m.strange and not m.confirmed]
    for m in suspicious[:TOLD]:
        told = conditions(m.suspect, mining.columns, subject.train.x, subject.schema)
        yield (
            f"Suspicious, not confirmed: {' and '.join(told)} turns {percent(m.success)}; its "
            f"{len(m.suspect.rows):,} rows {_why(m)}."
        )
    working = [p for r in hunt.rounds for p in r.probes if p.works]
    clean = clean_from(hunt)
    if clean is not None:
        yield (
            f"Triggers that turn three decisions in ten were all found from {share(clean)} of the "
            f"rows on; {_count(working)} in all."
        )
    elif working:
        yield f"Of the triggers that work {_count(working)} were found."


def _count(working: list[Probe]) -> str:
    return f"{sum(p.found is not None for p in working)} of {len(working)}"


def _why(m: Mined) -> str:
    if not m.stamped:
        return "are alike in other columns too, as a group is by nature"
    if not m.new:
        return "are met among held-out rows too"
    return "are not the only ones that teach it"

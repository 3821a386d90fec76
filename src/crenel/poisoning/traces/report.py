"""POI-104's figures as exposures and findings."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from crenel.access import Attacker
from crenel.check import Context, access_of
from crenel.exposure import Budget, Exposure, Harm, Health, HealthTest
from crenel.finding import Evidence, Example, Finding, Severity, severity
from crenel.poisoning.traces.clusters import Cluster
from crenel.poisoning.traces.columns import Telling
from crenel.poisoning.traces.order import Burst
from crenel.poisoning.traces.probes import COPIES, Tally
from crenel.poisoning.traces.search import Crowding
from crenel.poisoning.wording import percent, share
from crenel.statistics import proportion
from crenel.subject import Subject

#: Record ids listed at most; the count of all is among the values.
LISTED = 500
#: Probability below which a source's labels are spread otherwise.
ALPHA = 0.01


@dataclass(frozen=True)
class Traces:
    """Everything POI-104 measured.

    Attributes
    ----------
    y : ndarray, shape (n,), int64
    crowding : Crowding
    bursts : list of Burst
    time : str
        The column of times, or "".
    ordered : bool
        Whether labels follow the order throughout, so that no burst can be told.
    columns : list of Telling
    identifiers : list of str
        Columns that are identifiers and tell nothing.
    tally : Tally
    halves : tuple of int
        Random halves of the data in which something new was found, and how many were searched.
    """

    y: NDArray[np.int64]
    crowding: Crowding
    bursts: list[Burst]
    time: str
    ordered: bool
    columns: list[Telling]
    identifiers: list[str]
    tally: Tally
    halves: tuple[int, int]


def exposures(subject: Subject, context: Context, traces: Traces) -> Iterator[Exposure]:
    """Share of planted clusters that go unnoticed, against the rows of each."""
    told = {"copies": "near-copies of one record with another label"}
    told["collisions"] = "records of another class moved next to one target"
    for kind, what in told.items():
        tried = [m for m in COPIES if traces.tally.planted.get((kind, m), 0)]
        if not tried:
            continue
        counts = [(traces.tally.unnoticed[kind, m], traces.tally.planted[kind, m]) for m in tried]
        missed = [proportion(a, b) for a, b in counts]
        yield Exposure(
            check=context.check,
            risk="poisoning",
            series=kind,
            access=access_of(subject, attacker=Attacker.DATA),
            budget=Budget(
                name="rows planted together", unit="rows", values=tuple(map(float, tried))
            ),
            harm=Harm(
                name="planted clusters that go unnoticed",
                values=tuple(i.value for i in missed),
                low=tuple(i.low for i in missed),
                high=tuple(i.high for i in missed),
            ),
            n=min(b for _, b in counts),
            seed=context.seed,
            seconds=context.elapsed,
            health=_health(traces, kind, tried),
            headline=f"{tried[-1]} {what} go unnoticed in {percent(missed[-1])} of trials",
        )


def _health(traces: Traces, kind: str, tried: list[int]) -> Health:
    tally, (alarms, times) = traces.tally, traces.halves
    few, many = (
        proportion(tally.unnoticed[kind, m], tally.planted[kind, m]) for m in (tried[0], tried[-1])
    )
    wrong = tally.alarms / max(1, tally.rows)
    return Health.of(
        HealthTest(
            name="more rows together are noticed no less",
            ok=many.low <= few.high,
            detail=f"{tried[0]}: {percent(few)} unnoticed, {tried[-1]}: {percent(many)}",
        ),
        HealthTest(
            name="random halves of the data raise no new alarm",
            ok=alarms <= 0.1 * times,
            detail=f"{alarms} of {times}",
        ),
        HealthTest(
            name="what is blamed was planted",
            ok=wrong <= 0.1,
            detail=f"{share(wrong)} of {tally.rows:,} blamed rows were not, "
            f"in {tally.rounds} rounds",
        ),
    )


def findings(subject: Subject, context: Context, traces: Traces) -> tuple[Finding, ...]:
    """Contradicting duplicates, clusters, bursts and columns that tell the label."""
    found = [_duplicates(subject, context, traces), _clusters(subject, context, traces)]
    found += [_burst(subject, context, traces, b) for b in traces.bursts]
    found += [_column(subject, context, t) for t in traces.columns]
    return tuple(f for f in found if f is not None)


def _few_rows(subject: Subject, rows: int, n: int) -> Severity:
    """A little poison does much: severity rests on the root of its share."""
    level = severity((rows / n) ** 0.5, access_of(subject, attacker=Attacker.DATA))
    return level or Severity.LOW


def _duplicates(subject: Subject, context: Context, traces: Traces) -> Finding | None:
    found = traces.crowding.contradictions
    if not found.beyond_chance:
        return None
    n = len(traces.y)
    return Finding(
        check=context.check,
        risk="poisoning",
        severity=_few_rows(subject, len(found.rows), n),
        subject="contradicting duplicates",
        sentence=f"{found.conflicting:,} of {found.groups:,} records that occur more than once "
        f"have more than one label; {found.expected:.3g} would, did they differ as often as "
        f"neighbours do (p = {found.p:.2g})",
        attack="Supplies a record that is there already once more, with another label.",
        fix="Have the listed records reviewed, and keep one label of each; until then train "
        "without them (crenel harden).",
        evidence=_evidence(
            subject,
            found.rows,
            {"groups": found.groups, "conflicting": found.conflicting, "p": found.p},
        ),
        remedies=("quarantine-clusters",),
        gain=len(found.rows) / n,
    )


def _clusters(subject: Subject, context: Context, traces: Traces) -> Finding | None:
    found, rows = traces.crowding.found, traces.crowding.blamed
    if not found:
        return None
    n, worst = len(traces.y), found[0]
    values = {
        "clusters": len(found),
        "rows": len(rows),
        "expected_by_chance": max(worst.expected, 1e-4),
        "sizes": [len(c.rows) for c in found[:20]],
    }
    what = "a group" if len(found) == 1 else f"{len(found)} groups"
    return Finding(
        check=context.check,
        risk="poisoning",
        severity=_few_rows(subject, len(rows), n),
        subject="dense clusters",
        sentence=f"{len(rows):,} of {n:,} training rows lie in {what} much too close together, "
        "with labels that contradict the records around them; chance gives "
        f"{_few(worst.expected)} groups like the clearest one",
        attack="Plants many near-copies of a record with another label, or moves records of "
        "another class next to a target, so that the model decides that place as they say.",
        fix="Have the listed rows reviewed; ask who supplied them; until then train without them "
        "(crenel harden).",
        evidence=_evidence(subject, rows, values),
        examples=tuple(_example(subject, traces, c) for c in found[:3]),
        remedies=("quarantine-clusters",),
        gain=len(rows) / n,
    )


def _few(expected: float) -> str:
    """An extrapolated number, of which the order of magnitude is all that is known."""
    return "less than 0.0001" if expected < 1e-4 else f"about {expected:.1g}"


def _example(subject: Subject, traces: Traces, c: Cluster) -> Example:
    assert subject.train is not None
    names = subject.train.names(c.rows[:8])
    more = f" and {len(c.rows) - 8} more" if len(c.rows) > 8 else ""
    label = class_name(subject, c.label)
    return Example(
        title=f"{len(c.blamed)} rows labelled {label}, {c.against:.0%} of their surroundings not",
        text=f"records {', '.join(map(str, names))}{more}\n"
        f"distance to the third nearest, by that to the wider surroundings: {c.tightness:.3f} "
        f"(median of all rows {_usual(traces):.3f})\n"
        f"probability of such labels by chance: {c.chance:.2g}",
    )


def _usual(traces: Traces) -> float:
    dense = traces.crowding.density
    return float(np.median(dense.tightness)) if dense is not None else float("nan")


def class_name(subject: Subject, label: int) -> str:
    """What a class is called; of a regression, which fifth of the values it is."""
    if subject.train is not None and subject.train.y.dtype.kind not in "iu":
        return f"in fifth {label + 1} of the values"
    names = subject.model.classes if subject.model is not None else subject.extra.get("classes")
    return str(label if names is None else names[label])


def _burst(subject: Subject, context: Context, traces: Traces, burst: Burst) -> Finding:
    n, label = len(traces.y), class_name(subject, burst.label)
    where = f"in the order of {traces.time}" if traces.time else "in the order of the file"
    values = {
        "start": burst.start,
        "length": burst.length,
        "share": burst.share,
        "usual": burst.usual,
        "p": burst.p,
    }
    return Finding(
        check=context.check,
        risk="poisoning",
        severity=_few_rows(subject, round(burst.length * (burst.share - burst.usual)), n),
        subject=f"burst of {label}",
        sentence=f"of {burst.length:,} rows that follow each other {where}, from row "
        f"{burst.start:,}, {share(burst.share)} are labelled {label}; of the others "
        f"{share(burst.usual)} are (p = {burst.p:.2g}, corrected)",
        attack="Sends many records of one class at once.",
        fix="Ask where these rows came from; hold them back until that is known.",
        evidence=_evidence(subject, burst.rows, values),
        gain=burst.length / n,
    )


_KINDS = {
    "leak": (
        "the column {name} alone explains {told} of the label, all other columns together {rest}",
        "Whoever fills the column decides the answer; and a model that is trained on what is only "
        "known afterwards fails when it is used.",
    ),
    "prediction": (
        "the column {name} passes for the probability of a class, and tells {told} of the label",
        "A model's earlier prediction among its training columns repeats itself: whoever sways "
        "that one sways this one.",
    ),
    "identifier": (
        "the column {name} numbers or names the records, and yet tells {told} of the label",
        "Labels follow the order in which records were numbered; the model learns the numbers.",
    ),
}


def _column(subject: Subject, context: Context, t: Telling) -> Finding:
    words = {"name": t.name, "told": share(t.told), "rest": share(t.rest)}
    sentence, attack = _KINDS[t.kind]
    effect = max(t.told, 0.05)
    level = severity(effect, access_of(subject, attacker=Attacker.FEATURES), 0.5)
    return Finding(
        check=context.check,
        risk="poisoning",
        severity=level or Severity.LOW,
        subject=f"column {t.name}",
        sentence=sentence.format(**words),
        attack=attack,
        fix=f"Leave {t.name} out of the training columns, unless it is known before the decision "
        "and nobody else can set it.",
        evidence=Evidence(
            columns=(t.name,),
            values={"kind": t.kind, "told": t.told, "p": t.p}
            | ({} if np.isnan(t.rest) else {"told_by_the_rest": t.rest}),
        ),
        gain=min(1.0, t.told),
    )


def _evidence(subject: Subject, rows: NDArray[np.int64], values: dict[str, Any]) -> Evidence:
    """Rows by their ids, with the sources that most of them come from."""
    train = subject.train
    assert train is not None
    if train.source is not None and len(rows):
        names, counts = np.unique(train.source[rows].astype(str), return_counts=True)
        top = np.argsort(-counts, kind="stable")[:10]
        values = {**values, "by_source": {str(names[i]): int(counts[i]) for i in top}}
    return Evidence(rows=train.names(rows[:LISTED]), values=values)


def notes(subject: Subject, traces: Traces) -> Iterator[str]:
    """What was seen that is no finding."""
    crowd, n = traces.crowding, len(traces.y)
    if crowd.contents.repeated:
        against = crowd.contradictions
        yield (
            f"{crowd.contents.repeated:,} of {n:,} rows repeat an earlier one exactly; "
            f"{against.conflicting:,} of {against.groups:,} repeated records have more than one "
            "label" + (", no more than chance explains." if not against.beyond_chance else ".")
        )
    natural = sum(1 for c in crowd.clusters if not c.contrary and c.tightness == 0)
    if natural:
        yield (
            f"{natural:,} records occur four times or more with labels like those around them: "
            "repeats as data has them by nature; planted copies are harder to tell from them."
        )
    if traces.ordered:
        yield "Labels follow the order of the rows, so that a burst cannot be told from it."
    if traces.identifiers:
        yield "Identifiers that tell nothing: " + ", ".join(traces.identifiers[:10]) + "."
    yield from _sources(subject, traces)


def _sources(subject: Subject, traces: Traces) -> Iterator[str]:
    from crenel.poisoning.sources.effects import concentration, label_mix

    train = subject.train
    if train is None or train.source is None:
        return
    source = train.source.astype(str)
    names, codes = np.unique(source, return_inverse=True)
    most = concentration(source)
    yield f"{len(names):,} sources; the largest, {most.largest}, has {share(most.share)} of rows."
    mix = label_mix(traces.y, codes.astype(np.int64), int(traces.y.max()) + 1)
    other = [str(names[i]) for i in np.flatnonzero(mix < ALPHA)]
    if other:
        shown = ", ".join(other[:10]) + (f" and {len(other) - 10} more" if len(other) > 10 else "")
        yield f"Labels are spread otherwise than the rest's in {shown}."

"""POI-101's figures as an exposure and a finding."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from crenel.access import Attacker
from crenel.check import Context, access_of
from crenel.exposure import Budget, Exposure, Harm, Health, HealthTest
from crenel.finding import Evidence, Example, Finding, severity
from crenel.poisoning.labels.review import Reviewed, Simulated
from crenel.poisoning.wording import percent, share
from crenel.statistics import proportion
from crenel.subject import Subject

#: Record ids listed at most; the count of all is among the values.
LISTED = 500


def exposure(subject: Subject, context: Context, reviewed: Reviewed, sim: Simulated) -> Exposure:
    """Share of relabelled rows that go unnoticed, against the share relabelled."""
    unnoticed = [proportion(m.unnoticed, m.injected) for m in sim.missed.values()]
    last, largest = unnoticed[-1], max(sim.missed)
    return Exposure(
        check=context.check,
        risk="poisoning",
        access=access_of(subject, attacker=Attacker.DATA),
        budget=Budget(
            name="rows relabelled", unit="share of training rows", values=tuple(sim.missed)
        ),
        harm=Harm(
            name="wrong labels that go unnoticed",
            values=tuple(i.value for i in unnoticed),
            low=tuple(i.low for i in unnoticed),
            high=tuple(i.high for i in unnoticed),
        ),
        n=min(m.injected for m in sim.missed.values()),
        seed=context.seed,
        queries=len(reviewed.data) + sim.rows * (len(sim.missed) + len(sim.clean)),
        seconds=context.elapsed,
        health=_health(reviewed, sim),
        headline=f"of {share(largest)} of the rows relabelled at random, {percent(last)} go "
        "unnoticed",
    )


def _health(reviewed: Reviewed, sim: Simulated) -> Health:
    most = float(np.bincount(reviewed.data.y).max() / len(reviewed.data))
    ranking = sim.missed[max(sim.missed)].ranking
    done = reviewed.predicted.covered
    tests = [
        HealthTest(
            name="models that never saw the label beat the most frequent one",
            ok=reviewed.accuracy.low > most,
            detail=f"they agree with {percent(reviewed.accuracy)} of labels, against {share(most)}",
        ),
        HealthTest(
            name="injected wrong labels rank above the others",
            ok=ranking.low > 0.5,
            detail=f"area under the curve {ranking}",
        ),
        HealthTest(
            name="every row was scored",
            ok=bool(done.all()),
            detail=f"{int(done.sum()):,} of {len(done):,} rows",
        ),
    ]
    alarms = sim.false_alarms
    tests.append(
        HealthTest(
            name="right labels of the same hardness are seldom flagged",
            ok=bool(sim.clean) and alarms.value <= 0.05,
            detail=f"{percent(alarms)} flagged where every label is right"
            if sim.clean
            else "not run: time ran out",
        )
    )
    return Health.of(*tests)


def finding(
    subject: Subject, context: Context, reviewed: Reviewed, sim: Simulated
) -> Finding | None:
    """Wrong labels, where more are estimated than chance gives on right ones."""
    rate = reviewed.scores.rate
    level = severity(rate.low, access_of(subject, attacker=Attacker.DATA))
    # Without the comparison with right labels a hard data set would be taken for a bad one.
    if level is None or not sim.clean or rate.low <= sim.clean_rate:
        return None
    order = suspects(reviewed)
    count, n = len(order), len(reviewed.data)
    return Finding(
        check=context.check,
        risk="poisoning",
        severity=level,
        subject="training labels",
        sentence=f"{percent(rate)} of the {n:,} training labels are wrong; the {count:,} that are "
        "more likely wrong than right are listed",
        attack="Whoever labels or supplies records gives some of them another class, by "
        "carelessness or to shift decisions; training counts a wrong label as much as a right one.",
        fix="Have the listed records reviewed, likeliest first; until then train without them "
        "(crenel harden). Ask the sources that most of them come from.",
        evidence=Evidence(
            rows=reviewed.data.names(order[:LISTED]),
            values=_values(reviewed, sim, order),
        ),
        examples=tuple(_example(subject, reviewed, int(i)) for i in order[:3]),
        remedies=("quarantine-labels",),
        gain=rate.low,
    )


def suspects(reviewed: Reviewed) -> NDArray[np.int64]:
    """Flagged rows, likeliest first; on hard data where none is, as many as are surely wrong."""
    score = reviewed.scores.score
    order = np.argsort(-score, kind="stable")
    count = int(reviewed.scores.flagged.sum())
    return order[: count or max(1, int(reviewed.scores.rate.low * len(score)))]


def _values(reviewed: Reviewed, sim: Simulated, order: NDArray[np.int64]) -> dict[str, Any]:
    scores, data = reviewed.scores, reviewed.data
    values: dict[str, Any] = {
        "suspected": len(order),
        "rows": len(data),
        "rate": scores.rate.value,
        "rate_low": scores.rate.low,
        "rate_high": scores.rate.high,
        "rate_on_right_labels": sim.clean_rate,
        "expected_precision": float(scores.score[order].mean()),
        "confident_learning_rate": float(1 - np.trace(scores.joint) / len(data)),
        "confident_learning_rows": int(scores.confident.sum()),
    }
    if data.source is not None:
        names, counts = np.unique(data.source[order].astype(str), return_counts=True)
        top = np.argsort(-counts, kind="stable")[:10]
        values["by_source"] = {str(names[i]): int(counts[i]) for i in top}
    return values


def _example(subject: Subject, reviewed: Reviewed, i: int) -> Example:
    assert subject.model is not None
    names, scores = subject.model.classes, reviewed.scores
    given, suggested = reviewed.data.y[i], scores.suggested[i]
    (record,) = reviewed.data.names(np.array([i]))
    return Example(
        title=f"record {record}: labelled {names[given]}, models that never saw it say "
        f"{names[suggested]}",
        text=f"probability of {names[suggested]}: {reviewed.probabilities[i, suggested]:.3f}\n"
        f"probability of {names[given]}: {reviewed.probabilities[i, given]:.3f}\n"
        f"probability that the label is wrong: {scores.score[i]:.3f}",
    )

"""POI-103's figures as an exposure and findings."""

from __future__ import annotations

import numpy as np

from crenel.access import Attacker
from crenel.check import Context, access_of
from crenel.exposure import Budget, Exposure, Harm, Health, HealthTest
from crenel.finding import Evidence, Finding, severity
from crenel.poisoning.dose.report import same_model
from crenel.poisoning.dose.response import Response
from crenel.poisoning.sources.effects import Effect
from crenel.poisoning.sources.plan import Sourced
from crenel.poisoning.wording import percent, points, share
from crenel.statistics import Interval
from crenel.subject import Subject

#: A whole source is dearer to have than a row: factor of severity.
CHEAPNESS = 0.5


def exposure(subject: Subject, context: Context, sourced: Sourced) -> Exposure:
    """Accuracy lost against the number of sources that turn their labels."""
    ref = sourced.reference
    tries = sum(e.tries for e in sourced.effects)
    losses = [worst_of(i, tries) for i in sourced.together.values()]
    worst = sourced.effects[0]
    return Exposure(
        check=context.check,
        risk="poisoning",
        access=access_of(subject, attacker=Attacker.DATA, data_share=round(worst.share, 6)),
        budget=Budget(
            name="sources controlled",
            unit="sources",
            values=tuple(float(c) for c in sourced.together),
        ),
        harm=Harm(
            name="accuracy lost",
            values=tuple(i.value for i in losses),
            low=tuple(i.low for i in losses),
            high=tuple(i.high for i in losses),
        ),
        n=len(ref.test),
        seed=context.seed,
        queries=len(ref.test) * (2 * len(sourced.effects) + len(losses) + 2),
        seconds=context.elapsed,
        health=_health(sourced),
        headline=f"whoever controls the source {worst.name} alone, with {share(worst.share)} of "
        f"the rows, can cost {points(losses[0])} of accuracy",
    )


def _health(sourced: Sourced) -> Health:
    same, unlimited = sourced.reference.same, sourced.unlimited
    values = list(sourced.together.values())
    falls = any(b.high < a.low for i, a in enumerate(values) for b in values[i + 1 :])
    return Health.of(
        same_model(same),
        HealthTest(
            name="turning nine tenths of all labels breaks the model",
            ok=unlimited.low > 0.1,
            detail=f"accuracy falls by {points(unlimited)}",
        ),
        HealthTest(
            name="more sources do no less harm",
            ok=not falls,
            detail=", ".join(f"{c}: {points(i)}" for c, i in sourced.together.items()),
        ),
    )


def findings(subject: Subject, context: Context, sourced: Sourced) -> tuple[Finding, ...]:
    """Sources whose rows harm, and the one that could do most, where that is much."""
    harmful = [_harmful(subject, context, sourced, e) for e in sourced.effects]
    possible = _possible(subject, context, sourced)
    return tuple(f for f in (*harmful, possible) if f is not None)


def curves(subject: Subject, context: Context, sourced: Sourced) -> tuple[Exposure, ...]:
    """Accuracy lost by the labels that the worst source turns: chosen, and at random."""
    found, worst = [], sourced.effects[0]
    for response in sourced.curves:
        harms = [p.harm for p in response.points]
        last = response.points[-1]
        chosen = response.attack.name == "chosen flips"
        headline = f"{last.count:,} labels turned {'by choice' if chosen else 'at random'} by the "
        headline += f"source {worst.name} cost {points(last.harm)} of accuracy"
        if chosen and last.harm.low > 0:
            half, most = (rows_for(response, s) for s in (0.5, 0.9))
            headline += f"; half of that takes {half:,} labels, nine tenths {most:,}"
        found.append(
            Exposure(
                check=context.check,
                risk="poisoning",
                series=response.attack.name,
                access=access_of(subject, attacker=Attacker.DATA, data_share=round(worst.share, 6)),
                budget=Budget(
                    name="labels turned by the worst source",
                    unit="rows",
                    values=tuple(float(p.count) for p in response.points),
                    scale="log",
                ),
                harm=Harm(
                    name="accuracy lost",
                    values=tuple(h.value for h in harms),
                    low=tuple(h.low for h in harms),
                    high=tuple(h.high for h in harms),
                ),
                n=response.rows,
                seed=context.seed,
                queries=response.rows * response.fits,
                seconds=context.elapsed,
                health=Health.of(
                    same_model(sourced.reference.same),
                    *([_beats_chance(sourced.curves)] if chosen else []),
                ),
                headline=headline,
            )
        )
    return tuple(found)


def _beats_chance(responses: tuple[Response, ...]) -> HealthTest:
    """Chosen labels harm no less than as many random ones."""
    both = {r.attack.name: {p.count: p.harm for p in r.points} for r in responses}
    chance = both.get("random flips", {})
    beaten = [c for c, h in both["chosen flips"].items() if c in chance and h.high < chance[c].low]
    return HealthTest(
        name="chosen labels harm no less than as many random ones",
        ok=not beaten,
        detail=", ".join(f"less at {count:,}" for count in beaten),
    )


def rows_for(response: Response, part: float) -> int:
    """Labels that do this part of the harm of the largest dose, between doses on a line."""
    counts = np.array([0, *(p.count for p in response.points)], dtype=float)
    harms = np.maximum.accumulate([0.0, *(p.harm.value for p in response.points)])
    goal = part * harms[-1]
    at = int(np.argmax(harms >= goal))
    rise = harms[at] - harms[at - 1]
    inside = 1.0 if rise <= 0 else (goal - harms[at - 1]) / rise
    return int(np.ceil(counts[at - 1] + inside * (counts[at] - counts[at - 1]) - 1e-9))


def estimates(sourced: Sourced) -> str:
    """What was estimated for all sources, and how that ranks those that were trained without."""
    from scipy.stats import spearmanr

    found, tried = sourced.influence, [e for e in sourced.effects if e.loss is not None]
    worst = [int(i) for i in np.argsort(-found.loss, kind="stable")[:5] if found.loss[i] > 0]
    told = f"Without training, by {found.method} (which decides {share(found.agreement)} of the "
    told += "test rows as the model does): "
    if worst:
        told += "the model would do better without " + ", ".join(
            f"{found.names[i]} (log loss {-found.loss[i]:+.4f})" for i in worst
        )
    else:
        told += "the model would do better without none of the sources"
    place = {str(name): i for i, name in enumerate(found.names)}
    guesses = [found.loss[place[e.name]] for e in tried]
    if min(len(set(guesses)), len({e.loss for e in tried})) < 3:
        return told + "."
    rank = float(spearmanr(guesses, [e.loss for e in tried]).statistic)
    return f"{told}; rank correlation with {len(tried)} trainings {rank:.2f}."


def worths(sourced: Sourced) -> str:
    """Which sources' rows are worth less than nothing to their neighbours; "" where none is."""
    if sourced.worth is None:
        return ""
    mean, high = sourced.worth
    low = [int(i) for i in np.argsort(mean, kind="stable")[:5] if high[i] < 0]
    if not low:
        return ""
    names = ", ".join(str(sourced.influence.names[i]) for i in low)
    return f"To their nearest neighbours (Shapley values), rows do more harm than good of: {names}."


def for_many(interval: Interval, tests: int) -> float:
    """Low end of a 95 % interval, widened for so many tests (Bonferroni)."""
    from scipy.special import ndtri

    factor = float(ndtri(1 - 0.025 / max(1, tests)) / ndtri(0.975))
    return interval.value - factor * (interval.value - interval.low)


def worst_of(interval: Interval, tried: int) -> Interval:
    """The interval of the largest of several measured losses: the largest is so by luck too."""
    low = max(-1.0, min(interval.value, for_many(interval, tried)))
    return Interval(interval.value, low, interval.high)


def _harmful(
    subject: Subject, context: Context, sourced: Sourced, effect: Effect
) -> Finding | None:
    access = access_of(subject, attacker=Attacker.DATA)
    against = for_many(effect.conflict, sourced.sources)
    removal = for_many(effect.removal, sourced.sources)
    by_conflict = severity(against, access, CHEAPNESS)
    by_removal = severity(removal, access)
    levels = [level for level in (by_conflict, by_removal) if level is not None]
    if not levels:
        return None
    if by_conflict is not None:
        what = f"contradict what all other sources teach in {percent(effect.conflict)} more cases "
        what += "than their hardness explains"
    else:
        what = f"harm: without them the model is {points(effect.removal)} more accurate"
    return Finding(
        check=context.check,
        risk="poisoning",
        severity=max(levels, key=lambda level: level.rank),
        subject=f"source {effect.name}",
        sentence=f"the {effect.rows:,} rows of the source {effect.name} {what}",
        attack="Whoever supplies this source delivers wrong labels or altered records, and the "
        "model is trained on them like on any other.",
        fix=f"Hold back {effect.name} until its labels are reviewed; train without it or with a "
        "lower weight; quarantine what out-of-fold models contradict (crenel harden).",
        evidence=Evidence(values=_values(sourced, effect)),
        remedies=("quarantine-labels", "cap-sources"),
        gain=min(1.0, max(against * effect.share, removal, 0.0)),
    )


def _possible(subject: Subject, context: Context, sourced: Sourced) -> Finding | None:
    worst = sourced.effects[0]
    lost = worst_of(worst.flipped, sourced.sources * worst.tries)
    level = severity(
        lost.low,
        access_of(subject, attacker=Attacker.DATA),
        CHEAPNESS,
    )
    if level is None:
        return None
    return Finding(
        check=context.check,
        risk="poisoning",
        severity=level,
        subject=f"dependence on source {worst.name}",
        sentence=f"whoever controls the source {worst.name}, with {share(worst.share)} of the "
        f"rows, can cost {points(lost)} of accuracy by turning its labels",
        attack=f"Takes over or bribes {worst.name} and delivers its records with other labels.",
        fix="Limit the share of one source (crenel harden), or vote over models trained on "
        "separate sources.",
        evidence=Evidence(values=_values(sourced, worst)),
        remedies=("cap-sources",),
        gain=max(0.0, lost.low),
    )


def _values(sourced: Sourced, effect: Effect) -> dict[str, object]:
    values: dict[str, object] = {
        "rows": effect.rows,
        "share": effect.share,
        "sources": sourced.sources,
        "largest_share": sourced.concentration.share,
        "herfindahl": sourced.concentration.herfindahl,
        "other_label_mix": effect.name in sourced.mixed,
    }
    place = sourced.influence.names == effect.name
    if place.any():
        values["estimated_log_loss_gained"] = float(sourced.influence.loss[place][0])
        if sourced.worth is not None:
            values["neighbour_value_of_a_row"] = float(sourced.worth[0][place][0])
    for name in ("removal", "conflict", "flipped"):
        interval: Interval = getattr(effect, name)
        values[name] = [interval.value, interval.low, interval.high]
    return values

"""The remedy against a source that could do too much: limit what each may supply."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

from crenel.check import Context, Risk
from crenel.remedy import Treatment, remedy
from crenel.statistics import Interval
from crenel.subject import Subject

if TYPE_CHECKING:
    from crenel.finding import Finding
    from crenel.poisoning.sources.capping import Choice, Trial


@remedy(
    "cap-sources",
    risk=Risk.POISONING,
    title="Limit the share of training rows that one source may supply, and train again",
    checks=("POI-103",),
    needs=("model", "classification", "fit", "train", "sources"),
)
def cap_sources(subject: Subject, finding: Finding, context: Context) -> Treatment:
    """Limit the share of training rows that one source may supply, and train again.

    Caps are tried from loose to tight, on four fifths of the training rows, and the first one
    under which sources can do no more than is allowed is taken. What sources can do is measured
    as by POI-103, on the last fifth, with the sources' rows as the cap leaves them: the three
    largest each turn all their labels, and those that they would choose. Allowed is what the
    policy limits POI-103 to (the upper end of the interval counts, at the number of sources that
    the limit names); where it sets no limit, what POI-103 would not report. A cap that costs more
    than two points of accuracy beyond noise is not taken. Where no cap reaches what is allowed,
    the one that lowers the harm most beyond noise is taken, and the treatment says so; where none
    does, nothing is changed.

    Of a source above the cap random rows are kept. The table ``caps`` lists what was tried, the
    table ``sources`` the rows of each source before and after. Limits: who supplies under several
    names is capped under each; rows that are dropped are lost for the common good of the others.

    References: Konstantinov and Lampert, "Robust learning from untrusted sources", 2019.
    """
    import numpy as np

    from crenel.poisoning.labels.quarantine import weighted_change
    from crenel.poisoning.sources.capping import choose_cap, within

    model, train = subject.model, subject.train
    assert model is not None
    assert model.fit is not None
    assert train is not None
    assert train.source is not None
    source = train.source.astype(str)
    allowed = _allowed(subject, finding)
    choice = choose_cap(model, train, allowed, context)
    context.progress(0.8)
    if choice.best is None:
        return _unchanged(subject, choice)
    stays = within(source, choice.best.rows, context.derive_seed("kept"))
    kept = train.take(stays)
    fitted = model.fit(kept.x, kept.y, context.derive_seed("fit"))
    values = _values(choice, choice.best)
    told = _sentence(choice, choice.best, len(train))
    if subject.test is not None:
        test = subject.test
        before, after = (np.asarray(m.predict(test.x) == test.y) for m in (model, fitted))
        change = weighted_change(after.astype(float) - before, np.ones(len(test)))
        values |= {"accuracy_before": float(before.mean()), "accuracy_after": float(after.mean())}
        told += f"; on test rows its accuracy changes by {_points(change)}"
    return Treatment(
        subject=replace(subject, model=fitted, train=kept),
        sentence=told,
        values=values,
        model=fitted.native,
        tables={"caps": _tried(choice), "sources": _shares(source, stays)},
    )


def _allowed(subject: Subject, finding: Finding) -> dict[int, Callable[[Interval], bool]]:
    """What is allowed to so many sources: the policy's limits, or what is not reported."""
    limits: dict[int, float] = {}
    for budget, harm in finding.evidence.values.get("limits", ()):
        sources = max(1, int(budget))
        limits[sources] = min(float(harm), limits.get(sources, 1.0))
    if limits:
        return {n: partial(_under, limit=limits[n]) for n in sorted(limits)}
    return {1: partial(_not_reported, subject)}


def _under(harm: Interval, limit: float) -> bool:
    return harm.high <= limit


def _not_reported(subject: Subject, harm: Interval) -> bool:
    from crenel.access import Attacker
    from crenel.check import access_of
    from crenel.finding import severity
    from crenel.poisoning.sources.report import CHEAPNESS

    access = access_of(subject, attacker=Attacker.DATA)
    return severity(harm.value, access, CHEAPNESS) is None


def _points(change: Interval) -> str:
    from crenel.poisoning.wording import points

    return points(change)


def _sentence(choice: Choice, best: Trial, n: int) -> str:
    from crenel.poisoning.wording import share

    group, harm = next(iter(best.harms.items()))
    before = choice.trials[0].harms[group]
    who = "one source" if group == 1 else f"{group} sources together"
    told = (
        f"no source supplies more than {share(best.cap)} of the training rows ({best.rows:,}): "
        f"{best.kept:,} of {n:,} rows are left; on validation rows {who} could cost "
        f"{_points(before)} of accuracy and now {_points(harm)}"
    )
    if not choice.enough:
        told += ", which is still more than is allowed"
    return told


def _values(choice: Choice, best: Trial | None) -> dict[str, float]:
    plain = choice.trials[0]
    last = best or plain
    group = next(iter(plain.harms))
    return {
        "accuracy_before": plain.accuracy,
        "accuracy_after": last.accuracy,
        "accuracy_change_low": last.change.low,
        "accuracy_change_high": last.change.high,
        "cap": last.cap,
        "rows_kept": float(last.kept),
        "harm_before": plain.harms[group].value,
        "harm_after": last.harms[group].value,
        "allowed_reached": float(choice.enough),
    }


def _tried(choice: Choice) -> Any:
    import pandas as pd

    lines = []
    for trial in choice.trials:
        line = {"cap": round(trial.cap, 6), "rows_of_a_source": trial.rows, "rows": trial.kept}
        line |= {"accuracy": round(trial.accuracy, 6)}
        for group, harm in trial.harms.items():
            for name in ("value", "low", "high"):
                line[f"harm_of_{group}_{name}"] = round(getattr(harm, name), 6)
        lines.append({**line, "chosen": trial is choice.best})
    return pd.DataFrame(lines)


def _shares(source: Any, stays: Any) -> Any:
    import numpy as np
    import pandas as pd

    names, codes = np.unique(source, return_inverse=True)
    before, after = np.bincount(codes), np.bincount(codes, weights=stays).astype(int)
    table = pd.DataFrame({"source": names, "rows_before": before, "rows_after": after})
    return table.sort_values("rows_before", ascending=False, kind="stable")


def _unchanged(subject: Subject, choice: Choice) -> Treatment:
    if choice.enough:
        why = "on validation rows sources can do no more than is allowed already"
    elif len(choice.trials) < 2:
        why = "the sources are about equal already, so that no cap limits one of them"
    else:
        why = "no cap lowers what sources can do beyond noise at two points of accuracy or less"
    return Treatment(
        subject=subject,
        sentence=f"nothing was changed: {why}",
        values=_values(choice, None),
        tables={"caps": _tried(choice)},
    )

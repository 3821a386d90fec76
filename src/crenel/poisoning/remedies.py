"""What lowers the curves of risk 2."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from crenel.check import Context, Risk
from crenel.finding import Finding
from crenel.poisoning.partition.remedy import partition_aggregation
from crenel.poisoning.sources.remedy import cap_sources
from crenel.remedy import Treatment, remedy
from crenel.statistics import derive_seed
from crenel.subject import Subject

if TYPE_CHECKING:
    from crenel.poisoning.labels.quarantine import Choice
    from crenel.poisoning.labels.review import Reviewed
    from crenel.subject import Data

__all__ = ["cap_sources", "partition_aggregation", "quarantine_labels"]


@remedy(
    "quarantine-labels",
    risk=Risk.POISONING,
    title="Hold back labels that are probably wrong, and train again",
    checks=("POI-101",),
    needs=("model", "classification", "fit", "train"),
)
def quarantine_labels(subject: Subject, finding: Finding, context: Context) -> Treatment:
    """Hold back training rows whose label is probably wrong, and train without them.

    Every label is scored by models that it had no part in, as by POI-101. How sure a suspicion
    must be is decided on a held-out fifth of the training rows, where each row counts by the
    probability that its label is right; test data takes no part. Where the model trained without
    the suspects is worse there beyond noise at every threshold, nothing is changed and the
    treatment says so. The table
    ``quarantine`` lists what was held back, with the label suggested, for review: fill in its
    column ``decision`` and give it back with ``crenel harden RUN --review quarantine.csv``.
    """
    import numpy as np

    from crenel.poisoning.labels.quarantine import choose_threshold
    from crenel.poisoning.labels.review import review_labels

    model, train = subject.model, subject.train
    assert model is not None
    assert model.fit is not None
    assert train is not None
    seed = derive_seed(context.seed, "POI-101", "folds")  # the very rows that the check lists
    reviewed = review_labels(model, train, seed, deadline=context.deadline, jobs=context.jobs)
    context.progress(0.5)
    choice = choose_threshold(model.fit, reviewed.data, reviewed.scores.score, seed)
    held = reviewed.scores.score >= (2.0 if choice.threshold is None else choice.threshold)
    if not held.any():
        return _unchanged(subject, choice)
    kept = train.take(np.delete(np.arange(len(train)), reviewed.positions[held]))
    fitted = model.fit(kept.x, kept.y, seed)
    return Treatment(
        subject=replace(subject, model=fitted, train=kept),
        sentence=_sentence(int(held.sum()), len(train), choice),
        values=_values(int(held.sum()), choice),
        model=fitted.native,
        tables={"quarantine": _table(subject, reviewed, held)},
    )


@remedy(
    "quarantine-clusters",
    risk=Risk.POISONING,
    title="Hold back contradicting duplicates and dense clusters, and train again",
    checks=("POI-104",),
    needs=("model", "classification", "fit", "train"),
)
def quarantine_clusters(subject: Subject, finding: Finding, context: Context) -> Treatment:
    """Hold back the rows of dense clusters and contradicting duplicates, and train without them.

    The rows are those that POI-104 blames: of a cluster the rows of its commonest label, of
    duplicates that contradict each other all. The model trained without them on four fifths of
    the other training rows is compared with the one trained with them, on the last fifth. Where
    it is worse there beyond noise, nothing is changed. The table ``quarantine`` lists what was
    held back, with the label that the model trained without them gives, for review.
    """
    from crenel.poisoning.labels.quarantine import compare_without
    from crenel.poisoning.traces.search import crowding, labels_of

    model, train = subject.model, subject.train
    assert model is not None
    assert model.fit is not None
    assert train is not None
    seed = derive_seed(context.seed, "POI-104", "crowding")
    held = crowding(train, labels_of(train), seed).suspects
    context.progress(0.3)
    choice = compare_without(model.fit, train, held, seed)
    if not held.any() or choice.threshold is None:
        return _unchanged(subject, choice)
    kept = train.take(~held)
    fitted = model.fit(kept.x, kept.y, seed)
    return Treatment(
        subject=replace(subject, model=fitted, train=kept),
        sentence=_sentence(int(held.sum()), len(train), choice),
        values=_values(int(held.sum()), replace(choice, threshold=None)),
        model=fitted.native,
        tables={"quarantine": _held_table(subject, train.take(held), fitted)},
    )


@remedy(
    "quarantine-triggers",
    risk=Risk.POISONING,
    title="Hold back the rows of planted triggers, and train again",
    checks=("POI-105",),
    needs=("model", "classification", "fit", "train", "test"),
)
def quarantine_triggers(subject: Subject, finding: Finding, context: Context) -> Treatment:
    """Hold back the rows of confirmed triggers, and train without them.

    The rows are those that POI-105 confirms, of all triggers. The model trained without them on
    four fifths of the other training rows is compared with the one trained with them, on the last
    fifth. Where it is worse there beyond noise, nothing is changed. What each trigger turns is
    measured once more on the new model. The table ``quarantine`` lists what was held back, with
    the label that the model trained without them gives, for review.
    """
    from crenel.poisoning.labels.quarantine import compare_without
    from crenel.poisoning.mining.mine import mine_triggers, plant_again
    from crenel.poisoning.mining.plan import blamed
    from crenel.poisoning.wording import percent, share

    model, train, test = subject.model, subject.train, subject.test
    assert model is not None
    assert model.fit is not None
    assert train is not None
    assert test is not None
    seed = derive_seed(context.seed, "POI-105", "mine")
    mining = mine_triggers(model, train, test, seed)
    held = blamed(mining, len(train))
    context.progress(0.5)
    choice = compare_without(model.fit, train, held, seed)
    if not held.any() or choice.threshold is None:
        return _unchanged(subject, choice)
    kept = train.take(~held)
    fitted = model.fit(kept.x, kept.y, seed)
    left = plant_again(fitted, mining, train, test, seed)
    before = max((m.success for m in mining.confirmed), key=lambda i: i.value)
    after = max(left, key=lambda i: i.value)
    base = max(m.base for m in mining.confirmed)
    values = _values(int(held.sum()), replace(choice, threshold=None))
    values |= {"success_before": before.value, "success_after": after.value, "base": base}
    return Treatment(
        subject=replace(subject, model=fitted, train=kept),
        sentence=f"{_sentence(int(held.sum()), len(train), choice)}; the worst trigger turned "
        f"{percent(before)} of decisions and now turns {percent(after)}, where {share(base)} are "
        "so without it",
        values=values,
        model=fitted.native,
        tables={"quarantine": _held_table(subject, train.take(held), fitted)},
    )


def _held_table(subject: Subject, held: Data, fitted: Any) -> Any:
    import pandas as pd

    classes = fitted.classes
    columns = {
        "record": held.ids,
        "given": classes[held.y],
        "suggested": classes[fitted.predict(held.x)],
        "decision": "",
    }
    if held.source is not None:
        columns["source"] = held.source
    return pd.DataFrame(columns)


@remedy(
    "apply-review",
    risk=Risk.POISONING,
    title="Apply a reviewer's decisions on training records, and train again",
    checks=("POI-101", "POI-104", "POI-105"),
    needs=("model", "classification", "fit", "train"),
)
def apply_review(subject: Subject, finding: Finding, context: Context) -> Treatment:
    """Remove, relabel or keep training records as a person decided, and train again.

    ``crenel harden RUN --review FILE`` applies a quarantine table whose column ``decision`` was
    filled in with keep, relabel (to the label in ``suggested``) or remove; a line without a
    decision changes nothing and is counted. A record that does not exist, or whose label is no
    longer the one that was reviewed, is an error, and nothing is changed. The decisions are the
    reviewer's: nothing is rolled back.
    """
    from crenel.poisoning.labels.reviewing import Decision, decided

    model, train = subject.model, subject.train
    assert model is not None
    assert model.fit is not None
    assert train is not None
    decisions = tuple(Decision(*line) for line in finding.evidence.values.get("review", ()))
    kept, counts = decided(train, model.classes, decisions)
    fitted = model.fit(kept.x, kept.y, derive_seed(context.seed, "review"))
    told = f"{counts['remove']:,} records removed, {counts['relabel']:,} relabelled, "
    told += f"{counts['keep']:,} kept as they are"
    if counts["undecided"]:
        told += f"; {counts['undecided']:,} are not decided and stay as they are"
    return Treatment(
        subject=replace(subject, model=fitted, train=kept),
        sentence=f"as reviewed: {told}; the model is trained again",
        values={name: float(n) for name, n in counts.items()},
        model=fitted.native,
    )


def _values(rows: int, choice: Choice) -> dict[str, float]:
    values = {
        "rows_held_back": float(rows),
        "accuracy_before": choice.before,
        "accuracy_after": choice.after,
        "accuracy_change_low": choice.change.low,
        "accuracy_change_high": choice.change.high,
    }
    return values if choice.threshold is None else {**values, "threshold": choice.threshold}


def _sentence(rows: int, n: int, choice: Choice) -> str:
    from crenel.poisoning.wording import points, share

    return (
        f"{rows:,} of {n:,} training rows are held back for review and the model is trained "
        f"without them; on validation rows its accuracy goes from {share(choice.before)} to "
        f"{share(choice.after)}, by {points(choice.change)}"
    )


def _unchanged(subject: Subject, choice: Choice) -> Treatment:
    reason = (
        "the model trained without the suspected rows is less accurate on validation rows, so "
        "nothing was changed"
        if choice.threshold is None
        else "no row is suspected strongly enough, so nothing was changed"
    )
    return Treatment(subject=subject, sentence=reason, values=_values(0, choice))


def _table(subject: Subject, reviewed: Reviewed, held: Any) -> Any:
    import numpy as np
    import pandas as pd

    assert subject.model is not None
    classes, scores = subject.model.classes, reviewed.scores
    rows = np.flatnonzero(held)
    rows = rows[np.argsort(-scores.score[rows], kind="stable")]
    columns = {
        "record": reviewed.data.ids[rows],
        "given": classes[reviewed.data.y[rows]],
        "suggested": classes[scores.suggested[rows]],
        "probability_wrong": scores.score[rows].round(6),
        "decision": "",
    }
    if reviewed.data.source is not None:
        columns["source"] = reviewed.data.source[rows]
    return pd.DataFrame(columns)

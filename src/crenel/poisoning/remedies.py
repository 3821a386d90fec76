"""What lowers the curves of risk 2."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from crenel.check import Context, Risk
from crenel.finding import Finding
from crenel.remedy import Treatment, remedy
from crenel.statistics import derive_seed
from crenel.subject import Subject

if TYPE_CHECKING:
    from crenel.poisoning.quarantine import Choice
    from crenel.poisoning.review import Reviewed


@remedy(
    "quarantine-labels",
    risk=Risk.POISONING,
    title="Hold back labels that are probably wrong, and train again",
    checks=("POI-101",),
    needs=("model", "classification", "fit", "train"),
)
def quarantine_labels(subject: Subject, finding: Finding, context: Context) -> Treatment:
    """Hold back training rows whose label is probably wrong, and train without them.

    Every label is scored out of fold, as by POI-101. How sure a suspicion must be is decided on a
    held-out fifth of the training rows, where each row counts by the probability that its label is
    right; test data takes no part. Where the model trained without the suspects is worse there
    beyond noise at every threshold, nothing is changed and the treatment says so. The table
    ``quarantine`` lists what was held back, with the label suggested, for review.
    """
    import numpy as np

    from crenel.poisoning.quarantine import choose_threshold
    from crenel.poisoning.review import review_labels

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
        else "no label is suspected strongly enough, so nothing was changed"
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
    }
    if reviewed.data.source is not None:
        columns["source"] = reviewed.data.source[rows]
    return pd.DataFrame(columns)

"""The remedy against poisoned rows of any kind: vote over parts, and prove what the vote stands."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from crenel.check import Context, Risk
from crenel.remedy import Treatment, remedy
from crenel.subject import Data, Subject

if TYPE_CHECKING:
    from crenel.finding import Finding
    from crenel.poisoning.partition.choice import Candidate, Choice
    from crenel.poisoning.partition.curve import CertifiedCurve


@remedy(
    "partition-aggregation",
    risk=Risk.POISONING,
    title="Let models of disjoint parts of the training rows vote, with certificates",
    checks=("POI-102",),
    needs=("model", "classification", "fit", "train"),
)
def partition_aggregation(subject: Subject, finding: Finding, context: Context) -> Treatment:
    """Share the training rows among parts, train a model on each, and let them vote.

    A row belongs to a part by a hash of its content (BLAKE2b), so that a row that is inserted or
    deleted changes one vote at most: a clear majority stands against as many of them, whatever
    they hold, which is a proof and no estimate. An edited row counts two; a label turned one, for
    labels are not hashed.

    The number of parts is chosen on the accuracy-certificate curve, on held-out training rows: of
    the settings that cost at most two points of accuracy against one model, the one that
    certifies half of the rows against most changes. So is what the parts train, the user's own
    kind of model or a linear one, and, of more than two classes, the election: plurality (Deep
    Partition Aggregation, Levine and Feizi, 2021) or run-off (Rezaei et al., 2023). Where no
    setting is worth it, or test rows show a loss of more than two points beyond noise, nothing is
    changed. The table ``certificates`` has the certified accuracy of each class, the table
    ``partitions`` all that was tried. Measured again, POI-102 shows beside what its attacks did
    what no attack of so many rows can exceed.

    Where certified accuracy falls to the share of the most frequent class, which a constant
    answer certifies too, the certificate says nothing, and the treatment tells from how many rows
    on. Limits: the proof holds for the choices as they were made here, which poison that is there
    already may have swayed; the columns, their types and their categories are taken as given. It
    bounds harm by rows: a source that supplies many of them is not stopped.
    """
    from crenel.poisoning.partition.choice import choose
    from crenel.poisoning.partition.ensemble import PartitionEnsemble, as_model
    from crenel.poisoning.partition.members import Trainer
    from crenel.training.threads import side_by_side

    model, train = subject.model, subject.train
    assert model is not None
    assert train is not None
    choice = choose(model, train, _candidates(subject, context), context)
    best = choice.best
    if best is None:
        return _unchanged(subject, choice)
    seed = context.derive_seed("vote")
    learner = best.candidate.model
    assert learner.fit is not None
    trainer = Trainer(learner.fit, model.classes, learner.native)
    ensemble = PartitionEnsemble(learner.native, best.partitions, best.election, seed)
    ensemble.grow(
        trainer, train.x, train.y, lambda work, tasks: side_by_side(context, work, tasks, False)
    )
    judged = subject.test
    curve = best.curve if judged is None else _curve(ensemble, judged, model.classes)
    single = choice.single
    if judged is not None:
        right = model.predict(judged.x) == judged.y
        single, change = float(right.mean()), right.astype(float) - curve.right
        if change.mean() - 2 * change.std() / np.sqrt(len(change)) > MOST_LOST:
            return _rolled_back(subject, choice, float(change.mean()))
    where = "validation rows" if judged is None else "test rows"
    return Treatment(
        subject=replace(subject, model=as_model(ensemble, trainer)),
        sentence=_sentence(choice, curve, single, where, len(train)),
        values=_values(choice, curve, single, len(train)),
        model=ensemble,
        tables=_tables(choice, curve, model.classes, len(train)),
    )


#: Accuracy that the vote may cost on test rows.
MOST_LOST = 0.02


def _candidates(subject: Subject, context: Context) -> list[Candidate]:
    """The model's own kind, and a linear one where the rows are not texts."""
    from crenel.poisoning.partition.choice import Candidate
    from crenel.poisoning.partition.learners import linear_model
    from crenel.subject import capabilities

    assert subject.model is not None
    assert subject.train is not None
    own = Candidate("the model's own kind", subject.model)
    if "text" in capabilities(subject):
        return [own]
    seed = context.derive_seed("linear")
    return [own, Candidate("a linear model", linear_model(subject.model, subject.train, seed))]


def _curve(ensemble: Any, data: Data, classes: Any) -> CertifiedCurve:
    from crenel.adapters.labels import index_of
    from crenel.poisoning.partition.curve import CertifiedCurve

    labels, rows = ensemble.certify(data.x)
    return CertifiedCurve(index_of(labels, classes) == data.y, rows, data.y)


def _sentence(choice: Choice, curve: CertifiedCurve, single: float, where: str, n: int) -> str:
    best = choice.best
    assert best is not None
    half, empty = curve.median(), curve.empty_from()
    proven = f"half of the {where} are decided rightly whatever {half:,} rows "
    proven += f"({100 * half / n:.2g} % of the training rows) are inserted or deleted"
    text = (
        f"{best.partitions} parts of the training rows vote ({best.candidate.name}, "
        f"{best.election}): accuracy {_percent(single)} to {_percent(curve.at(0))} on {where}; "
        f"{proven}"
    )
    if empty > half:
        return text
    return (
        f"{text}; but from {empty:,} rows on no more are certified than a constant answer has "
        f"right ({_percent(curve.constant)}): read the table by class"
    )


def _percent(share: float) -> str:
    return f"{100 * share:.1f} %"


def _values(choice: Choice, curve: CertifiedCurve, single: float, n: int) -> dict[str, float]:
    best = choice.best
    assert best is not None
    return {
        "accuracy_before": single,
        "accuracy_after": curve.at(0),
        "partitions": float(best.partitions),
        "median_certified_rows": float(curve.median()),
        "median_certified_share": curve.median() / n,
        "certificate_empty_from_rows": float(curve.empty_from()),
        "most_frequent_class": curve.constant,
    }


def _tables(choice: Choice, curve: CertifiedCurve, classes: Any, n: int) -> dict[str, Any]:
    from crenel.poisoning.partition.curve import budgets_of, class_table

    certificates = class_table(curve, classes, budgets_of(curve, n))
    return {"certificates": certificates, "partitions": _tried(choice)}


def _tried(choice: Choice) -> Any:
    import pandas as pd

    return pd.DataFrame(
        {
            "learner": t.candidate.name,
            "partitions": t.partitions,
            "election": t.election,
            "accuracy": round(t.curve.at(0), 6),
            "accuracy_lost": round(t.lost, 6),
            "standard_error": round(t.error, 6),
            "median_certified_rows": t.curve.median(),
            "mean_certified_rows": round(t.curve.mean, 3),
            "chosen": t is choice.best,
        }
        for t in choice.trials
    )


def _unchanged(subject: Subject, choice: Choice) -> Treatment:
    near = min(choice.trials, key=lambda t: t.lost)
    return Treatment(
        subject=subject,
        sentence=f"nothing was changed: of {len(choice.trials)} settings none certifies half of "
        "the validation rows at two points of accuracy or less; the nearest, "
        f"{near.partitions} parts, has {_percent(near.curve.at(0))} where one model has "
        f"{_percent(choice.single)}",
        values={"accuracy_before": choice.single, "accuracy_after": choice.single},
        tables={"partitions": _tried(choice)},
    )


def _rolled_back(subject: Subject, choice: Choice, lost: float) -> Treatment:
    return Treatment(
        subject=subject,
        sentence=f"rolled back: the vote loses {100 * lost:.1f} points of accuracy on test rows, "
        "more than the two that it may, beyond noise",
        values={"accuracy_before": choice.single, "accuracy_after": choice.single},
        tables={"partitions": _tried(choice)},
    )

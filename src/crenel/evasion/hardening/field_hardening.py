"""Taking exposed columns from a model, or their detail, where that is worth its price."""

from __future__ import annotations

import copy
import time
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from crenel.check import Context
from crenel.errors import NotApplicable
from crenel.evasion.fields.search import field_search
from crenel.evasion.hardening.coarsening import CoarseFields
from crenel.evasion.hardening.verdict import MOST_LOST, Paired, paired, percent, worth
from crenel.remedy import Treatment
from crenel.schema import NUMERIC, Schema
from crenel.subject import Data, Subject
from crenel.training.threads import one_core

if TYPE_CHECKING:
    from crenel.finding import Finding
    from crenel.model import Model

#: Rows of the comparison, of them held out, rows attacked, queries for each, columns looked at.
MOST, HELD, ATTACKED, QUERIES, EXPOSED = 6000, 1500, 80, 200, 4
#: Fields that the attacker may change.
FIELDS = 2
#: Seconds of the comparison where no deadline is given.
SECONDS = 240.0


@dataclass(frozen=True)
class Trial:
    """One way to tell the model less, and how held-out rows stand."""

    fields: CoarseFields | None
    right: NDArray[np.bool_]
    stands: NDArray[np.bool_]

    @property
    def rank(self) -> float:
        """Rows that stand, and rows decided rightly, as shares, added."""
        return float(self.right.mean() + self.stands.mean())


def limit_fields(subject: Subject, finding: Finding | None, context: Context) -> Treatment:
    """Train the user's model without exposed columns, or with less of them, where it pays.

    Raises
    ------
    crenel.errors.NotApplicable
        Where the finding names no column that an attacker can change.
    """
    from crenel.data import infer_schema

    model, train = subject.model, subject.train
    assert model is not None
    assert train is not None
    schema = subject.schema or infer_schema(train.x)
    exposed = _exposed(finding, schema)
    trials = _compared(model, train, schema, exposed, context)
    own, best = trials[0], max(trials, key=lambda t: t.rank)
    clean, robust = paired(own.right, best.right), paired(own.stands, best.stands)
    if best.fields is None or not worth(clean, robust):
        return Treatment(
            subject=subject,
            sentence=f"nothing was changed: of {len(trials) - 1} ways to tell the model less of "
            f"{', '.join(exposed)} none is worth its price (the best: {percent(robust.after)} of "
            f"held-out rows stand, before {percent(robust.before)}, and accuracy goes from "
            f"{percent(clean.before)} to {percent(clean.after)})",
            values=_values(clean, robust),
        )
    hardened = _behind(model, train.x, train.y, best.fields, context.derive_seed("refit"))
    values = _values(clean, robust)
    if subject.test is not None:
        right = [m.predict(subject.test.x) == subject.test.y for m in (model, hardened)]
        test = paired(right[0], right[1])
        values |= {"accuracy_before": test.before, "accuracy_after": test.after}
        if test.change < -MOST_LOST:
            return Treatment(
                subject=subject, values=values,
                sentence=f"rolled back: {_named(best.fields)} costs "
                f"{-100 * test.change:.1f} points of accuracy on test data",
            )  # fmt: skip
    return Treatment(
        subject=subject.with_model(hardened),
        sentence=f"{_named(best.fields)}: of held-out training rows {percent(robust.after)} stand "
        f"against changes of {FIELDS} fields (before {percent(robust.before)}), and accuracy goes "
        f"from {percent(clean.before)} to {percent(clean.after)}",
        values=values,
        model=hardened.native,
    )


def _exposed(finding: Finding | None, schema: Schema) -> list[str]:
    """Columns of the finding that the model could do without, most exposed first."""
    named = () if finding is None else finding.evidence.columns
    free = {f.name for f in schema.features if f.mutable}
    found = [c for c in named if c in free][:EXPOSED]
    if not found:
        raise NotApplicable("the finding names no column that an attacker can change")
    return found


def _ways(exposed: list[str], schema: Schema) -> list[CoarseFields]:
    numbers = tuple(c for c in exposed if schema[c].kind in NUMERIC)
    ways = [CoarseFields(removed=(name,)) for name in exposed]
    ways += [CoarseFields(removed=tuple(exposed[:k])) for k in range(2, len(exposed) + 1)]
    if numbers:
        ways += [CoarseFields(bucketed=numbers, buckets=b) for b in (8, 3)]
    return ways


def _compared(
    model: Model, train: Data, schema: Schema, exposed: list[str], context: Context
) -> list[Trial]:
    """The model as it is trained now, then every way that time allows."""
    assert model.fit is not None
    end = time.monotonic() + min(SECONDS, 0.7 * context.time_left())
    order = context.rng("split").permutation(len(train))[:MOST]
    count = min(HELD, len(order) // 3)
    held, rest = train.take(np.sort(order[:count])), train.take(np.sort(order[count:]))
    seed = context.derive_seed("fit")
    trials: list[Trial] = []
    for fields in [None, *_ways(exposed, schema)]:
        if trials and time.monotonic() >= end:
            break
        with one_core():
            fitted = (
                model.fit(rest.x, rest.y, seed)
                if fields is None
                else _behind(model, rest.x, rest.y, fields, seed)
            )
        right = np.asarray(fitted.predict(held.x)) == held.y
        trials.append(Trial(fields, right, _stands(fitted, held, right, schema, rest, context)))
        context.progress(len(trials) / 12)
    return trials


def _stands(
    model: Model, held: Data, right: NDArray[np.bool_], schema: Schema, known: Data,
    context: Context,
) -> NDArray[np.bool_]:  # fmt: skip
    """Which of the first held-out rows are right and resist changes of `FIELDS` fields."""
    stands = right[:ATTACKED].copy()
    rows = np.flatnonzero(stands)
    if rows.size:
        found = field_search(
            model.predict, held.take(rows).x, held.y[rows], schema, known.x,
            scores=None if model.score is None else model.probabilities, max_fields=FIELDS,
            queries=QUERIES, seed=context.derive_seed("attack"),
        )  # fmt: skip
        stands[rows[: len(found.flipped)]] = ~(found.flipped & (found.fields <= FIELDS))
    return stands


def _behind(model: Model, x: Any, y: NDArray[Any], fields: CoarseFields, seed: int) -> Model:
    """The user's kind of model trained behind a transformer, as one Pipeline."""
    from sklearn.base import clone
    from sklearn.pipeline import Pipeline

    from crenel.adapters import wrap

    assert model.fit is not None
    own = model.fit
    before = clone(fields).fit(x)
    inner = own(before.transform(x), y, seed)
    native = Pipeline([("fields", before), ("model", copy.copy(inner.native))])
    columns = [str(c) for c in x.columns]
    wrapped = wrap(native, classes=model.classes.tolist(), columns=columns, sample=x.iloc[:1])

    def fit(x: Any, y: NDArray[Any], seed: int) -> Model:
        return _behind(model, x, y, fields, seed)

    return replace(wrapped, fit=fit)


def _named(fields: CoarseFields) -> str:
    if fields.removed:
        return f"trained again without {', '.join(fields.removed)}"
    return f"trained again with {', '.join(fields.bucketed)} in {fields.buckets} buckets"


def _values(clean: Paired, robust: Paired) -> dict[str, float]:
    return {
        "accuracy_before": clean.before,
        "accuracy_after": clean.after,
        "robust_before": robust.before,
        "robust_after": robust.after,
    }

"""EVA-107 measured: shifts of predicted values as curves, tests and findings."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from crenel.access import Access, Attacker
from crenel.check import Context, Measurement, access_of
from crenel.errors import Inconclusive
from crenel.evasion.curves import flip_curve, percent, sandwich, within
from crenel.evasion.fields.cheapen import changed_fields, movable
from crenel.evasion.fields.diffs import edits
from crenel.evasion.fields.legality import CHANGEABLE, legal
from crenel.evasion.fields.sharpen import changeable
from crenel.evasion.shifts.search import Shifts, field_shifts, small_shifts
from crenel.exposure import Exposure, Health, HealthTest
from crenel.finding import Evidence, Example, Finding, severity
from crenel.schema import Schema
from crenel.subject import Data, Subject

if TYPE_CHECKING:
    import pandas as pd

    from crenel.model import Model

CHECK = "EVA-107"
HARM = "predictions moved beyond twice the error"
#: Rows examined, fields aimed at, queries for each row, rows of the tests of health.
ROWS, FIELDS, QUERIES, FEW = 200, 3, 600, 40
#: Budgets of small changes, in interquartile ranges.
EPSILONS = (0.01, 0.03, 0.1, 0.3, 1.0)
#: How cheap a change of 1, 2 and 3 fields is, as a factor of severity.
CHEAPNESS = (1.0, 0.8, 0.6)
#: Random changes of each row that the search must not lose to.
RANDOM = 60


@dataclass(frozen=True)
class Moved:
    """The rows examined, and what the search found."""

    model: Model
    schema: Schema
    data: Data
    reference: pd.DataFrame
    access: Access
    error: float
    found: Shifts

    @property
    def n(self) -> int:
        """Number of rows examined."""
        return len(self.found.shift)

    @property
    def in_errors(self) -> NDArray[np.float64]:
        """Sizes of the shifts in root mean square errors of the model, shape (n, fields)."""
        return self.found.size / self.error


def measure(subject: Subject, context: Context) -> Measurement:
    """Search for legal changes that move predictions beyond the model's own error."""
    model, test = subject.model, subject.test
    assert model is not None
    assert test is not None
    reference, schema, taken = changeable(subject)
    error = error_of(model, test)
    rows = test.take(np.sort(context.rng("rows").permutation(len(test))[:ROWS]))
    found = field_shifts(
        model.predict, rows.x, schema, reference, max_fields=FIELDS, queries=QUERIES,
        seed=context.derive_seed("search"), deadline=_share_of_time(context, 0.4),
    )  # fmt: skip
    context.progress(0.5)
    kept = rows.take(np.arange(len(found.shift)))
    access = access_of(subject, attacker=Attacker.SCORES)
    moved = Moved(model, schema, kept, reference, access, error, found)
    health = Health.of(*_health(moved, context))
    context.progress(0.7)
    exposures = [_by_fields(moved, context, health)]
    if movable(schema):
        exposures.append(_by_size(moved, context, health))
    exact = _exact(moved, context)
    exposures += [] if exact is None else [exact]
    notes = list(taken)
    if len(kept) < len(rows):
        notes.append(f"Time allowed {len(kept)} of {len(rows)} rows.")
    notes.append(
        f"The model's error on the test data is {error:.4g} (root mean square); a prediction "
        f"counts as moved from {2 * error:.4g} on."
    )
    return Measurement(tuple(exposures), tuple(_findings(moved)), tuple(notes))


def error_of(model: Model, test: Data) -> float:
    """Root mean square error on the test data; a thousandth of the spread where it is exact.

    Raises
    ------
    crenel.errors.Inconclusive
        Where there are fewer than ten rows, or predictions that are not finite.
    """
    if len(test) < 10:
        raise Inconclusive(f"only {len(test)} test rows; give at least ten")
    predicted = np.asarray(model.predict(test.x), dtype=np.float64)
    if not np.isfinite(predicted).all():
        raise Inconclusive("the model predicts values that are not finite on the test data")
    error = float(np.sqrt(np.mean((predicted - test.y) ** 2)))
    spread = float(np.std(test.y)) or 1.0
    return max(error, spread / 1000)


def _share_of_time(context: Context, share: float) -> float | None:
    if context.deadline is None:
        return None
    return time.monotonic() + share * context.time_left()


def _health(m: Moved, context: Context) -> list[HealthTest]:
    """Tests that the search worked."""
    return [_verified(m), _swapped(m, context), _not_beaten(m, context), _converged(m, context)]


def _verified(m: Moved) -> HealthTest:
    x0 = m.data.x[list(m.schema.names)]
    fine = [legal(x0, frame, m.schema).all() for frame in m.found.adversarial]
    return HealthTest(
        name="every witness is legal and gives the same value when asked again",
        ok=all(fine) and m.found.rejected <= 0.02 * m.n * FIELDS,
        detail=f"{m.found.rejected} of {m.n * FIELDS} thrown out",
    )


def _swapped(m: Moved, context: Context) -> HealthTest:
    """With no limit at all, taking over a whole row must give the prediction of that row."""
    pick = context.rng("swap").permutation(len(m.reference))[:300]
    donors = m.reference.iloc[pick].reset_index(drop=True)
    told = np.asarray(m.model.predict(donors), dtype=np.float64)
    again = np.asarray(m.model.predict(donors.iloc[::-1].reset_index(drop=True)))[::-1]
    same = float((np.abs(told - again) <= 1e-3 * m.error).mean())
    spread = float(np.ptp(told)) / m.error
    return HealthTest(
        name="unlimited fields reach any prediction",
        ok=same == 1.0 and spread > 0,
        detail=f"{same:.0%} of rows are predicted alike when asked again; predictions span "
        f"{spread:.3g} errors",
    )


def _not_beaten(m: Moved, context: Context) -> HealthTest:
    """Random legal changes of few fields, in the values of real rows, as a second attack."""
    rng = context.rng("random")
    few = min(FEW, m.n)
    names = [f.name for f in m.schema.mutable if f.kind in CHANGEABLE]
    x0 = m.data.x[list(m.schema.names)].iloc[np.repeat(np.arange(few), RANDOM)]
    x0 = x0.reset_index(drop=True)
    donors = m.reference.iloc[rng.integers(0, len(m.reference), len(x0))].reset_index(drop=True)
    rank = rng.random((len(x0), len(names))).argsort(axis=1).argsort(axis=1)
    size = rng.integers(1, FIELDS + 1, len(x0))
    x1 = x0.copy()
    for j, name in enumerate(names):
        x1[name] = x0[name].where(rank[:, j] >= size, donors[name])
    before = np.asarray(m.model.predict(x0), dtype=np.float64)
    after = np.where(legal(x0, x1, m.schema), np.asarray(m.model.predict(x1)), before)
    random = np.abs(after - before).reshape(few, RANDOM).max(axis=1)
    beaten = float((random > m.found.size[:few, -1] * 1.05 + 0.05 * m.error).mean())
    return HealthTest(
        name="random changes are no stronger than the search",
        ok=beaten <= 0.05,
        detail=f"random changes moved {beaten:.0%} of {few} rows farther",
    )


def _converged(m: Moved, context: Context) -> HealthTest:
    name = "twice the queries change little"
    if context.expired:
        return HealthTest(name=name, ok=False, detail="not run: time ran out")
    few = min(FEW, m.n)
    half = field_shifts(
        m.model.predict, m.data.x.iloc[:few], m.schema, m.reference, max_fields=FIELDS,
        queries=QUERIES // 2, seed=context.derive_seed("search"),
    )  # fmt: skip
    share = [float((s[:few, -1] > 2 * m.error).mean()) for s in (half.size, m.found.size)]
    return HealthTest(
        name=name,
        ok=share[1] - share[0] <= 0.05,
        detail=f"{share[0]:.1%} moved by half of the queries, {share[1]:.1%} by all",
    )


def _by_fields(m: Moved, context: Context, health: Health) -> Exposure:
    free = sum(f.mutable and f.kind in CHANGEABLE for f in m.schema.features)
    counts = list(range(1, min(FIELDS, max(1, free)) + 1))
    shares = [_share(m, k) for k in counts]
    middle = np.median(m.in_errors, axis=0)
    fields = "1 field" if len(counts) == 1 else "2 fields"
    k = min(2, len(counts))
    return _curve(
        m, context, health, name="changed fields", unit="fields", series="fields",
        budgets=counts, shares=shares, queries=m.found.queries,
        headline=f"changing {fields} moves {percent(shares[k - 1])} of predictions by more than "
        f"twice the error, the median row by {middle[k - 1]:.1f} errors",
    )  # fmt: skip


def _by_size(m: Moved, context: Context, health: Health) -> Exposure:
    """Small changes of all numbers at once; half of the rows are enough for the curve."""
    rows = slice(0, max(10, m.n // 2))
    got = small_shifts(
        m.model.predict, m.data.x.iloc[rows], m.schema, list(EPSILONS),
        deadline=_share_of_time(context, 0.8),
    )  # fmt: skip
    shares = within(_needed(got.size, 2 * m.error, EPSILONS), EPSILONS)
    middle = np.median(got.size, axis=0) / m.error
    i = EPSILONS.index(0.1)
    return _curve(
        m, context, health, name="change of every number", unit="interquartile ranges",
        series="epsilon", budgets=EPSILONS, shares=shares, queries=got.queries, scale="log",
        headline=f"moving every number by a tenth of its interquartile range moves "
        f"{percent(shares[i])} of predictions by more than twice the error, the median row by "
        f"{middle[i]:.1f} errors",
    ).model_copy(update={"n": len(got.size)})  # fmt: skip


def _exact(m: Moved, context: Context) -> Exposure | None:
    """Of trees: what every small change of their own input can do, found and proven."""
    if not movable(m.schema):
        return None
    from crenel.evasion.shifts.exact import tree_shifts

    rows = m.data.take(np.arange(max(10, m.n // 2)))
    got = tree_shifts(m.model, rows, m.reference, m.schema, EPSILONS, context)
    if got is None:
        return None
    verdicts, i = got.verdicts(2 * m.error, EPSILONS), EPSILONS.index(0.1)
    share = within(verdicts.upper, EPSILONS)[i]
    held = int((verdicts.lower >= EPSILONS[i]).sum())
    made = sandwich(
        verdicts, EPSILONS, check=CHECK, name="change of every number that the trees are fed",
        unit="interquartile ranges", series="exact", seed=context.seed,
        access=m.access.model_copy(update={"attacker": Attacker.WEIGHTS}), exact=True,
        seconds=context.elapsed,
        headline=f"moving every number that the trees are fed by a tenth of its interquartile "
        f"range moves {percent(share)} of predictions by more than twice the error; "
        f"{held} of {verdicts.n} are proven to move less",
    )  # fmt: skip
    return made.model_copy(update={"harm": made.harm.model_copy(update={"name": HARM})})


def _curve(m: Moved, context: Context, health: Health, **parts: Any) -> Exposure:
    made = flip_curve(
        check=CHECK, n=m.n, access=m.access, seed=context.seed, health=health,
        seconds=context.elapsed, **parts,
    )  # fmt: skip
    return made.model_copy(update={"harm": made.harm.model_copy(update={"name": HARM})})


def _needed(size: NDArray[np.float64], tolerance: float, budgets: Any) -> NDArray[np.float64]:
    """Smallest budget that moves each row beyond a tolerance; infinite where none does."""
    over = size > tolerance
    first = np.asarray(budgets, dtype=np.float64)[over.argmax(axis=1)]
    return np.where(over.any(axis=1), first, np.inf)


def _share(m: Moved, fields: int) -> Any:
    return within(_needed(m.found.size[:, :fields], 2 * m.error, range(1, fields + 1)), [fields])[0]


def _findings(m: Moved) -> list[Finding]:
    """The weakness of predictions as a whole, and of the fields that alone move many."""
    made = [_overall(m)]
    moved = m.found.size[:, 0] > 2 * m.error
    touched = changed_fields(m.data.x, m.found.adversarial[0], m.schema) & moved[:, None]
    most = np.argsort(-touched.sum(axis=0), kind="stable")[:3]
    made += [_of_field(m, m.schema.names[j], touched[:, j]) for j in most]
    return [f for f in made if f is not None]


def _overall(m: Moved) -> Finding | None:
    shares = [_share(m, k) for k in range(1, FIELDS + 1)]
    k = int(np.argmax([s.low * c for s, c in zip(shares, CHEAPNESS)]))
    level = severity(shares[k].low, m.access, CHEAPNESS[k])
    if level is None:
        return None
    hit = m.found.size[:, k] > 2 * m.error
    touched = changed_fields(m.data.x, m.found.adversarial[k], m.schema)[hit].sum(axis=0)
    columns = [m.schema.names[j] for j in np.argsort(-touched, kind="stable") if touched[j]][:5]
    fields = "one field" if k == 0 else f"{k + 1} fields"
    up = float((m.found.shift[hit, k] > 0).mean())
    return Finding(
        check=CHECK, risk="evasion", severity=level, subject="predictions under changed fields",
        sentence=f"Changing {fields} moves {percent(shares[k])} of predictions by more than twice "
        f"the model's own error; the median shift is {np.median(m.found.size[:, k]):.4g} "
        f"({np.median(m.in_errors[:, k]):.1f} errors), upwards in {100 * up:.0f} % of them.",
        attack=f"Try other legal values of {', '.join(columns)} and keep what moves the value.",
        fix="Let no single field that its owner can choose set the value: verify these fields at "
        "the source, bound their effect (monotone or clipped models), or declare them immutable.",
        evidence=Evidence(
            rows=m.data.names(np.flatnonzero(hit)[:20]), columns=tuple(columns),
            values={
                "moved": round(shares[k].value, 4), "error": m.error,
                **{f"median shift, {i + 1} fields, in errors": round(float(v), 3)
                   for i, v in enumerate(np.median(m.in_errors, axis=0))},
            },
        ),
        examples=_examples(m, hit, k), gain=shares[k].low,
    )  # fmt: skip


def _of_field(m: Moved, name: str, hit: NDArray[np.bool_]) -> Finding | None:
    share = within(np.where(hit, 1.0, np.inf), [1.0])[0]
    level = severity(share.low, m.access)
    if level is None:
        return None
    median = float(np.median(m.in_errors[hit, 0]))
    return Finding(
        check=CHECK, risk="evasion", severity=level, subject=f"column {name}",
        sentence=f"Changing {name} alone moves {percent(share)} of predictions by more than twice "
        f"the model's own error, the median of them by {median:.1f} errors.",
        attack=f"Submit the same record with another legal value of {name}.",
        fix=f"Verify {name} at its source, bound its effect, or declare it immutable in the schema "
        "if those whom the value concerns cannot change it.",
        evidence=Evidence(
            rows=m.data.names(np.flatnonzero(hit)[:20]), columns=(name,),
            values={"moved": round(share.value, 4)},
        ),
        examples=_examples(m, hit, 0), gain=share.low,
    )  # fmt: skip


def _examples(m: Moved, hit: NDArray[np.bool_], k: int) -> tuple[Example, ...]:
    """The three rows that are moved farthest."""
    rows = np.flatnonzero(hit)
    rows = rows[np.argsort(-m.found.size[rows, k], kind="stable")][:3]
    before = np.asarray(m.model.predict(m.data.x), dtype=np.float64)
    made = []
    for i in rows:
        after = before[i] + m.found.shift[i, k]
        changes = edits(m.data.x.iloc[[i]], m.found.adversarial[k].iloc[[i]], m.schema)
        title = f"row {m.data.ids[i]}: {before[i]:.5g} → {after:.5g}"
        made.append(Example(title=title, edits=changes))
    return tuple(made)

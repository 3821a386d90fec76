"""EVA-102 measured: the search over fields as curves, tests and findings."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from crenel.access import Access, Attacker
from crenel.check import Context, Measurement, access_of
from crenel.errors import Inconclusive
from crenel.evasion.curves import flip_curve, percent, within
from crenel.evasion.fields.diffs import edits
from crenel.evasion.fields.learned_rules import LearnedRule, broken_rules, learn_rules
from crenel.evasion.fields.legality import CHANGEABLE, derived_columns, legal
from crenel.evasion.fields.search import FieldSearch, field_search
from crenel.evasion.fields.sharpen import changeable
from crenel.exposure import Exposure, Health, HealthTest
from crenel.finding import Evidence, Example, Finding, severity
from crenel.schema import Feature, Kind, Schema
from crenel.statistics import Interval, proportion
from crenel.subject import Data, Subject

if TYPE_CHECKING:
    import pandas as pd

    from crenel.model import Model

CHECK = "EVA-102"
#: Rows attacked, fields aimed at, queries for each row, rows of the comparison with labels only.
ROWS, FIELDS, QUERIES, FEW = 300, 3, 1000, 40
#: Rows of the search without rules, and queries for each.
FREE, FREE_QUERIES = 20, 200
#: How cheap a change of 1, 2 and 3 fields is, as a factor of severity.
CHEAPNESS = (1.0, 0.8, 0.6)
#: Query budgets of the third curve.
GRID = (1, 3, 10, 30, 100, 300, 1000)


@dataclass(frozen=True)
class Attacked:
    """The rows that were attacked, and what the search found."""

    model: Model
    schema: Schema
    data: Data
    reference: pd.DataFrame
    labels_only: bool
    access: Access
    queries: int
    found: FieldSearch
    unusual: Unusual

    @property
    def n(self) -> int:
        """Number of rows attacked."""
        return len(self.found.flipped)


def measure(subject: Subject, context: Context) -> Measurement:
    """Search for legal changes of few fields that turn right decisions."""
    model, test = subject.model, subject.test
    assert model is not None
    assert test is not None
    reference, schema, notes = changeable(subject)
    rows = right_rows(model, test, ROWS, context.rng("rows"))
    labels = model.score is None or subject.access.attacker in (Attacker.LABELS, Attacker.NONE)
    seen = Attacker.LABELS if labels else Attacker.SCORES
    queries = min(QUERIES, subject.access.queries_per_day or QUERIES)
    found = field_search(
        model.predict, rows.x, rows.y, schema, reference,
        scores=None if labels else model.score, max_fields=FIELDS, queries=queries,
        seed=context.derive_seed("search"), deadline=_share_of_time(context, 0.6),
    )  # fmt: skip
    context.progress(0.7)
    kept = rows.take(np.arange(len(found.flipped)))
    access = access_of(subject, attacker=seen)
    unusual = _unusual(kept, found, schema, reference, context)
    attacked = Attacked(model, schema, kept, reference, labels, access, queries, found, unusual)
    health = Health.of(*_health(attacked, context))
    exposures = _exposures(attacked, context, health)
    if len(kept) < len(rows):
        notes += (f"Time allowed {len(kept)} of {len(rows)} rows.",)
    return Measurement(exposures, tuple(_findings(attacked)), (*notes, *unusual.notes))


@dataclass(frozen=True)
class Unusual:
    """Which witnesses break rules that the data seem to keep.

    Attributes
    ----------
    rules : tuple of LearnedRule
    broken : ndarray of bool, shape (n, rules)
    found : ndarray of bool, shape (n,)
        Rows that have a witness.
    names : tuple of str
        The rules as they may be shown.
    """

    rules: tuple[LearnedRule, ...]
    broken: NDArray[np.bool_]
    found: NDArray[np.bool_]
    names: tuple[str, ...]

    @property
    def usual(self) -> float:
        """Share of witnesses that break no rule; 1 where there are none."""
        return float(1 - self.broken[self.found].any(axis=1).mean()) if self.found.any() else 1.0

    @property
    def notes(self) -> tuple[str, ...]:
        """How far the witnesses look like rows of the data, as a sentence."""
        if not self.rules or not self.found.any():
            return ()
        return (
            f"{100 * self.usual:.0f} % of the changed rows break none of {len(self.rules)} rules "
            "that the data seem to keep; the others are marked as unusual. Declare a rule as a "
            "constraint where it must hold.",
        )

    def told(self, row: int) -> str:
        """What a witness breaks: "unusual: breaks start <= end", or nothing."""
        names = [n for n, b in zip(self.names, self.broken[row]) if b]
        more = f" and {len(names) - 3} more" if len(names) > 3 else ""
        return f"unusual: breaks {'; '.join(names[:3])}{more}" if names else ""


def _unusual(
    data: Data, found: FieldSearch, schema: Schema, reference: pd.DataFrame, context: Context
) -> Unusual:
    rules = learn_rules(reference, schema, context.derive_seed("rules"))
    hidden = {f.name for f in schema.features if f.sensitive}
    names = tuple(
        f"a tie of {' and '.join(r.columns)}" if hidden & set(r.columns) else r.text for r in rules
    )
    broken = broken_rules(rules, data.x, found.adversarial)
    return Unusual(rules, broken, found.flipped, names)


def right_rows(model: Model, data: Data, count: int, rng: np.random.Generator) -> Data:
    """At most ``count`` rows, drawn at random, that the model decides rightly.

    Raises
    ------
    crenel.errors.Inconclusive
        Where there are fewer than ten.
    """
    order = rng.permutation(len(data))[: 4 * count]
    some = data.take(order)
    right = np.flatnonzero(model.predict(some.x) == some.y)[:count]
    if len(right) < 10:
        raise Inconclusive(
            f"only {len(right)} of {len(some)} test rows are decided rightly; "
            "give a model that works on the test data, or more of it"
        )
    return some.take(right)


def _share_of_time(context: Context, share: float) -> float | None:
    if context.deadline is None:
        return None
    return time.monotonic() + share * context.time_left()


def _health(a: Attacked, context: Context) -> list[HealthTest]:
    """Tests that the search worked."""
    tests = [_verified(a), _swapped(a, context), _converged(a)]
    if not a.labels_only:
        tests.append(_not_weaker_than_labels(a, context))
    return tests


def _verified(a: Attacked) -> HealthTest:
    x0 = a.data.x[list(a.schema.names)]
    turned = a.model.predict(a.found.adversarial) != a.data.y
    sound = (turned & legal(x0, a.found.adversarial, a.schema))[a.found.flipped]
    return HealthTest(
        name="every witness is legal and turns the decision when asked again",
        ok=bool(sound.all()) and a.found.rejected <= 0.02 * a.n,
        detail=f"{int(sound.sum())} of {len(sound)}; {a.found.rejected} thrown out before",
    )


def _swapped(a: Attacked, context: Context) -> HealthTest:
    """With no limit at all, taking over a row that is decided otherwise must turn the decision."""
    rng = context.rng("swap")
    pick = rng.permutation(len(a.reference))[:300]
    donors = a.reference.iloc[pick].reset_index(drop=True)
    decided = a.model.predict(donors)
    order = rng.permutation(len(donors))
    again = a.model.predict(donors.iloc[order].reset_index(drop=True))
    share = float((again == decided[order]).mean())
    free = _searched_freely(a, context)
    reach = proportion(int(a.found.flipped.sum()), a.n)
    return HealthTest(
        name="unlimited fields reach full harm",
        ok=share == 1.0 and len(np.unique(decided)) > 1 and free >= 0.95,
        detail=f"swapping in a whole row turns {share:.0%}, the search without rules {free:.0%}; "
        f"legal changes reach {percent(reach)}",
    )


def _searched_freely(a: Attacked, context: Context) -> float:
    """Share that the same search turns where every field may become anything that is seen.

    A search that is broken would find nothing here either, where something can always be found.
    """
    few = slice(0, min(FREE, a.n))
    got = field_search(
        a.model.predict, a.data.x.iloc[few], a.data.y[few], _without_rules(a), a.reference,
        scores=None if a.labels_only else a.model.score, max_fields=FIELDS, queries=FREE_QUERIES,
        seed=context.derive_seed("free"),
    )  # fmt: skip
    return float(got.flipped.mean())


def _without_rules(a: Attacked) -> Schema:
    """The same columns, of which an attacker could change every one to whatever is seen."""
    whatever = tuple(
        Feature(
            name=f.name, scale=f.scale, missing=bool(a.reference[f.name].isna().any()),
            kind=Kind.CONTINUOUS if f.kind in (Kind.CONTINUOUS, Kind.INTEGER) else Kind.CATEGORY,
        )
        for f in a.schema.features
    )  # fmt: skip
    return Schema(features=whatever)


def _converged(a: Attacked) -> HealthTest:
    first = a.found.first
    half, full = (first <= a.queries / 2).mean(), np.isfinite(first).mean()
    return HealthTest(
        name="twice the queries change little",
        ok=bool(full - half <= 0.05),
        detail=f"{half:.1%} within half of the queries, {full:.1%} within all",
    )


def _not_weaker_than_labels(a: Attacked, context: Context) -> HealthTest:
    name = "scores are no weaker than labels alone"
    if context.expired:
        return HealthTest(name=name, ok=False, detail="not run: time ran out")
    few = slice(0, min(FEW, a.n))
    got = field_search(
        a.model.predict, a.data.x.iloc[few], a.data.y[few], a.schema, a.reference,
        max_fields=FIELDS, queries=a.queries, seed=context.derive_seed("labels"),
    )  # fmt: skip
    labels, scores = np.isfinite(got.first).mean(), np.isfinite(a.found.first[few]).mean()
    return HealthTest(
        name=name,
        ok=bool(labels - scores <= 0.05),
        detail=f"labels turn {labels:.0%} of {len(got.first)} rows, scores {scores:.0%}",
    )


def _exposures(a: Attacked, context: Context, health: Health) -> tuple[Exposure, ...]:
    """Three curves of one search: against fields, cost and queries."""
    f = a.found
    free = sum(g.mutable and g.kind in CHANGEABLE for g in a.schema.features)
    counts = [k for k in range(1, FIELDS + 1) if k < free] + [free]
    by_fields = within(f.fields, counts)
    costs = _cost_grid(f.cost)
    asked = [q for q in GRID if q <= a.queries] or [a.queries]
    by_cost, by_queries = within(f.cost, costs), within(f.first, asked)
    common: dict[str, Any] = {
        "check": CHECK, "n": a.n, "access": a.access, "seed": context.seed, "health": health,
        "queries": f.asked, "seconds": context.elapsed,
    }  # fmt: skip
    return (
        flip_curve(
            name="changed fields", unit="fields", series="fields", budgets=counts,
            shares=by_fields, headline=_headline(a, counts, by_fields), **common,
        ),
        flip_curve(
            name="cost of the change", unit="cost units", series="cost", budgets=costs,
            shares=by_cost, scale="log", **common,
            headline=f"changes of cost {costs[-1]:.3g} flip {percent(by_cost[-1])} of decisions",
        ),
        flip_curve(
            name="queries", unit="queries", series="queries", budgets=asked, shares=by_queries,
            scale="log", **common,
            headline=f"{asked[-1]} queries flip {percent(by_queries[-1])} of decisions "
            f"by at most {FIELDS} fields",
        ),
    )  # fmt: skip


def _cost_grid(cost: NDArray[np.float64]) -> list[float]:
    known = cost[np.isfinite(cost) & (cost > 0)]
    if not known.size:
        return [1.0]
    grid = {float(f"{c:.2g}") for c in np.quantile(known, [0.05, 0.1, 0.25, 0.5, 0.75, 0.9])}
    return sorted({*grid, float(f"{known.max() * 1.01:.3g}")})


def _headline(a: Attacked, counts: list[int], shares: list[Interval]) -> str:
    i = min(1, len(counts) - 1)
    fields = "1 field" if counts[i] == 1 else f"{counts[i]} fields"
    first = a.found.first[np.isfinite(a.found.first)]
    median = f"{np.median(first):.0f}" if first.size else ""
    spent = f", in {median} {'query' if median == '1' else 'queries'} (median)" if median else ""
    spent += f" after {a.found.learnt} asked once for all rows" if median else ""
    return f"changing {fields} flips {percent(shares[i])} of correct decisions{spent}"


def _findings(a: Attacked) -> list[Finding]:
    """The weakness of decisions as a whole, and of the fields that alone turn many."""
    made = [_overall(a)]
    changed, flipped = a.found.changed, a.found.flipped
    alone = flipped & (a.found.counted == 1)
    follows = derived_columns(a.schema)
    counts = {
        name: alone & changed[:, j]
        for j, name in enumerate(a.schema.names)
        if alone.any() and name not in follows
    }
    ranked = sorted(counts, key=lambda name: -int(counts[name].sum()))[:3]
    made += [_of_field(a, name, counts[name]) for name in ranked]
    return [f for f in made if f is not None]


def _overall(a: Attacked) -> Finding | None:
    shares = within(a.found.fields, range(1, FIELDS + 1))
    scores = [s.low * c for s, c in zip(shares, CHEAPNESS)]
    k = int(np.argmax(scores))
    level = severity(shares[k].low, a.access, CHEAPNESS[k])
    if level is None:
        return None
    hit = a.found.flipped & (a.found.fields <= k + 1)
    fields = "one field" if k == 0 else f"{k + 1} fields"
    touched = a.found.changed[hit].sum(axis=0)
    columns = [a.schema.names[j] for j in np.argsort(-touched, kind="stable") if touched[j]][:5]
    return Finding(
        check=CHECK, risk="evasion", severity=level, subject="decisions under changed fields",
        sentence=f"Changing {fields} flips {percent(shares[k])} of correct decisions; "
        f"{_who_pays(a, hit)}",
        attack=f"Try other legal values of {_listed(columns)} and keep what turns the decision; "
        f"the median row falls after {np.median(a.found.first[hit]):.0f} queries.",
        fix="Let no single field that its owner can choose decide: verify these fields at the "
        "source, lower their weight or train with monotone or robust trees, and limit queries.",
        evidence=Evidence(
            rows=a.data.names(np.flatnonzero(hit)[:20]), columns=tuple(columns),
            values={
                "flipped": round(shares[k].value, 4),
                "share of changed rows that break no learned rule": round(a.unusual.usual, 4),
                **{f"flips with {c}": int(touched[a.schema.names.index(c)]) for c in columns},
            },
        ),
        examples=_examples(a, hit), gain=shares[k].low,
        remedies=("limit-fields",),
    )  # fmt: skip


def _of_field(a: Attacked, name: str, hit: NDArray[np.bool_]) -> Finding | None:
    share = proportion(int(hit.sum()), a.n)
    level = severity(share.low, a.access)
    if level is None:
        return None
    return Finding(
        check=CHECK, risk="evasion", severity=level, subject=f"column {name}",
        sentence=f"Changing {name} alone flips {percent(share)} of correct decisions; "
        f"{_who_pays(a, hit)}",
        attack=f"Submit the same record with another legal value of {name}.",
        fix=f"Verify {name} at its source, make it weigh less, or declare it immutable in the "
        "schema if those whom the decision concerns cannot change it.",
        evidence=Evidence(
            rows=a.data.names(np.flatnonzero(hit)[:20]), columns=(name,),
            values={"flipped": round(share.value, 4)},
        ),
        examples=_examples(a, hit), gain=share.low, remedies=("limit-fields",),
    )  # fmt: skip


def _listed(columns: list[str]) -> str:
    return ", ".join(columns[:-1]) + " and " + columns[-1] if len(columns) > 1 else columns[0]


def _who_pays(a: Attacked, hit: NDArray[np.bool_]) -> str:
    """Which decisions fall most, in words."""
    words = []
    for k in np.unique(a.data.y):
        own = a.data.y == k
        words.append((float(hit[own].mean()), f"{a.model.classes[k]!s}"))
    worst = max(words)
    return f"{worst[1]!r} decisions most often ({100 * worst[0]:.0f} % of them)"


def _examples(a: Attacked, hit: NDArray[np.bool_]) -> tuple[Example, ...]:
    """Three witnesses as differences of fields: usual ones before unusual, then the cheapest."""
    rows = np.flatnonzero(hit)
    odd = a.unusual.broken[rows].any(axis=1)
    rows = rows[np.lexsort([a.found.cost[rows], odd, a.found.fields[rows]])][:3]
    return tuple(_example(a, int(i)) for i in rows)


def _example(a: Attacked, i: int) -> Example:
    classes = a.model.classes
    turned = f"{classes[a.data.y[i]]!s} → {classes[a.found.decision[i]]!s}"
    return Example(
        title=f"row {a.data.ids[i]}: {turned}, {_spent(a, i)} queries",
        edits=edits(a.data.x.iloc[[i]], a.found.adversarial.iloc[[i]], a.schema),
        text=a.unusual.told(i),
    )


def _spent(a: Attacked, i: int) -> int:
    """Queries until the first change that turned the row."""
    return int(a.found.first[i] if np.isfinite(a.found.first[i]) else a.found.queries[i])

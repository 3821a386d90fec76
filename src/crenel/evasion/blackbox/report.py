"""EVA-104 measured: attacks by queries as curves, tests and a finding."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from crenel.access import Access, Attacker
from crenel.check import Context, Level, Measurement, access_of
from crenel.errors import Inconclusive
from crenel.evasion.blackbox.attack import QueryAttack, query_attack, teachable
from crenel.evasion.blackbox.rows import Numbers, decisions_and_scores
from crenel.evasion.curves import flip_curve, percent, telling, within
from crenel.evasion.fields.report import right_rows
from crenel.evasion.imagery import twins
from crenel.evasion.pace import SOME, seconds_a_row
from crenel.exposure import Exposure, Health, HealthTest
from crenel.finding import Edit, Evidence, Example, Finding, severity
from crenel.model import Model
from crenel.subject import Data, Subject

CHECK = "EVA-104"
#: Rows attacked and queries for each.
ROWS: dict[Level, int] = {"quick": 40, "standard": 60, "deep": 150}
QUERIES: dict[Level, int] = {"quick": 300, "standard": 1000, "deep": 5000}
#: Rows of the comparisons with decisions alone and with gradients, and rows to start from.
FEW, POOL = 20, 2000
#: L-inf radii as shares of the legal range, and the one that queries and findings are about.
EPSILONS = (0.01, 0.02, 0.03, 0.05, 0.1, 0.2)
STATED = 0.05
#: Share of the few rows by which a weaker attacker may be ahead by chance.
AHEAD = 0.1
#: Query budgets of the curve.
GRID = (10, 30, 100, 300, 1000, 3000)


@dataclass(frozen=True)
class Attacked:
    """The rows that were attacked, what the attacker had, and what was found."""

    model: Model
    numbers: Numbers
    data: Data
    x: NDArray[Any]
    labels_only: bool
    limited: bool
    access: Access
    queries: int
    found: QueryAttack

    @property
    def flipped(self) -> NDArray[np.bool_]:
        """Rows turned within the stated epsilon."""
        return self.found.distance <= STATED


def measure(subject: Subject, context: Context) -> Measurement:
    """Attack by queries alone, in L-inf."""
    model, test = subject.model, subject.test
    assert model is not None
    assert test is not None
    numbers = Numbers.of(subject)
    test = _complete(test)
    labels = model.score is None or subject.access.attacker in (Attacker.LABELS, Attacker.NONE)
    limit = subject.access.queries_per_day or math.inf
    queries = int(min(QUERIES[context.level], limit))
    rows = right_rows(model, test, _affordable(model, test, queries, context), context.rng("rows"))
    x = numbers.array(rows.x)
    pool = _pool(subject, numbers, context)
    found = _attack(model, numbers, rows.x, x, rows.y, pool, labels, queries, context, "search")
    context.progress(0.6)
    access = access_of(subject, attacker=Attacker.LABELS if labels else Attacker.SCORES)
    limited = queries == limit
    a = Attacked(model, numbers, rows, x, labels, limited, access, queries, found)
    tests = _health(a, pool, context)
    finding = _finding(a, subject)
    notes = _notes(a)
    return Measurement(_exposures(a, context, tests), () if finding is None else (finding,), notes)


def _complete(test: Data) -> Data:
    """The rows without missing values: a missing number cannot be moved."""
    if not test.is_table:
        return test
    whole = test.take(np.asarray(test.x.notna().all(axis=1)))
    if not len(whole):
        raise Inconclusive("every test row misses a value; numbers that are missing cannot move")
    return whole


def _affordable(model: Model, test: Data, queries: int, context: Context) -> int:
    """Rows to attack: all, unless a deadline and a slow model allow fewer."""
    most = ROWS[context.level]
    if context.deadline is None:
        return most
    each = seconds_a_row(model.predict, test.take(np.arange(min(SOME, len(test)))).x)
    return int(np.clip(0.5 * context.time_left() / (queries * each), 10, most))


def _pool(subject: Subject, numbers: Numbers, context: Context) -> tuple[Any, NDArray[np.int64]]:
    """Rows like those that the attacker holds, with their classes."""
    data = subject.train or subject.test
    assert data is not None
    data = _complete(data)
    some = data.take(context.rng("pool").permutation(len(data))[:POOL])
    return numbers.array(some.x), some.y


def _attack(
    model: Model, numbers: Numbers, like: Any, x: NDArray[Any], y: NDArray[np.int64], pool: Any,
    labels: bool, queries: int, context: Context, shard: str,
) -> QueryAttack:  # fmt: skip
    predict, scores = decisions_and_scores(model, numbers, like, labels)
    deadline = None
    if context.deadline is not None:
        deadline = time.monotonic() + 0.6 * context.time_left()
    return query_attack(
        predict, x, y, scores=scores, norm=math.inf, epsilons=EPSILONS,
        bounds=numbers.bounds(x), lattice=numbers.lattice, scale=numbers.span, pool=pool,
        queries=queries, transfer=0 if teachable() else None, seed=context.derive_seed(shard),
        deadline=deadline,
    )  # fmt: skip


def _health(a: Attacked, pool: Any, context: Context) -> list[HealthTest]:
    """Tests of the attack itself, with the comparisons that the model allows."""
    tests = [_of_the_attacker(t, a) for t in a.found.tests]
    if not a.labels_only:
        tests.append(_not_weaker_than_labels(a, pool, context))
    if a.model.module is not None and a.numbers.span.ndim == 0:
        tests.append(_not_stronger_than_gradients(a, context))
    return tests


def _of_the_attacker(test: HealthTest, a: Attacked) -> HealthTest:
    """More queries may change much where it is the target's access that allows no more."""
    if test.ok or not a.limited or not test.name.startswith("twice"):
        return test
    detail = f"{test.detail}; the attacker has no more than {a.queries} queries a day"
    return HealthTest(name=test.name, ok=True, detail=detail)


def _not_weaker_than_labels(a: Attacked, pool: Any, context: Context) -> HealthTest:
    name = "scores are no weaker than labels alone"
    if context.expired:
        return HealthTest(name=name, ok=False, detail="not run: time ran out")
    few = slice(0, min(FEW, len(a.x)))
    like = a.data.take(np.arange(len(a.x))[few]).x
    got = _attack(
        a.model, a.numbers, like, a.x[few], a.data.y[few], pool, True, a.queries, context, "labels"
    )
    worse = _lead(got.distance, a.found.distance[few])
    return HealthTest(
        name=name, ok=worse <= AHEAD,
        detail=f"at most {worse:+.0%} of {len(got.distance)} rows by labels at one epsilon",
    )  # fmt: skip


def _not_stronger_than_gradients(a: Attacked, context: Context) -> HealthTest:
    """Gradients see more than answers: where they do less, the model hides them."""
    from crenel.evasion.gradients.cascade import gradient_attack

    few = slice(0, min(FEW, len(a.x)))
    span, lattice = float(a.numbers.span), a.numbers.lattice
    got = gradient_attack(
        a.model.module, a.x[few].astype(np.float32), a.data.y[few], norm=math.inf,
        epsilons=[e * span for e in EPSILONS], bounds=(lattice.low, lattice.high),
        seed=context.derive_seed("gradients"), deadline=context.deadline, level="quick",
    )  # fmt: skip
    ahead = _lead(a.found.distance[few], got.smallest / span)
    return HealthTest(
        name="gradients are at least as strong", ok=ahead <= AHEAD,
        detail=f"queries flip at most {ahead:+.0%} of {len(got.smallest)} rows more at one epsilon",
    )  # fmt: skip


def _lead(other: NDArray[np.float64], own: NDArray[np.float64]) -> float:
    """By how much another attack's share of rows exceeds ours, at the epsilon where most."""
    return max(float((other <= e).mean() - (own <= e).mean()) for e in EPSILONS)


def _exposures(a: Attacked, context: Context, tests: list[HealthTest]) -> tuple[Exposure, ...]:
    """Two curves of one search: against epsilon, and against queries at the stated epsilon.

    That more queries would do more does not make the second one wrong: it says so itself.
    """
    ever = [t for t in tests if not t.name.startswith("twice")]
    by_size = within(a.found.distance, EPSILONS)
    asked = sorted({q for q in GRID if q < a.queries} | {a.queries})
    by_queries = within(a.found.first(STATED), asked)
    i, j = telling(by_size), telling(by_queries)
    common: dict[str, Any] = {
        "check": CHECK, "n": len(a.x), "access": a.access, "seed": context.seed,
        "queries": a.found.asked, "seconds": context.elapsed, "scale": "log",
    }  # fmt: skip
    who = "decisions alone" if a.labels_only else "scores"
    return (
        flip_curve(
            name="L-inf distance", unit="of the range", series="epsilon", budgets=EPSILONS,
            shares=by_size, health=Health.of(*tests), **common,
            headline=f"{a.queries} queries of {who} flip {percent(by_size[i])} of correct "
            f"decisions by a change of {EPSILONS[i]:.3g} of the range",
        ),
        flip_curve(
            name="queries", unit="queries", series="queries", budgets=asked, shares=by_queries,
            health=Health.of(*ever), **common,
            headline=f"{asked[j]} queries of {who} flip {percent(by_queries[j])} of correct "
            f"decisions by a change of at most {STATED:.3g} of the range",
        ),
    )  # fmt: skip


def _notes(a: Attacked) -> tuple[str, ...]:
    each = float(a.found.queries.mean())
    spent = (
        f"{a.found.asked:,} rows were asked in {a.found.calls:,} calls, {each:.0f} a row on average"
    )
    price = a.access.price_per_1000
    if price is not None:
        spent += f"; at {price:g} for 1,000 queries that is {a.found.money(price):.2f} in all"
    taught = (
        ""
        if teachable()
        else (
            " No surrogate was taught, since torch is not installed: more may fall in few queries."
        )
    )
    return (f"{spent}.{taught}", f"The stated epsilon is {STATED:.3g} of the legal range.")


def _finding(a: Attacked, subject: Subject) -> Finding | None:
    share = within(a.found.distance, [STATED])[0]
    level = severity(share.low, a.access)
    if level is None:
        return None
    hit = np.flatnonzero(a.flipped)
    first = hit[np.argsort(a.found.distance[hit], kind="stable")][:3]
    spent = float(np.median(a.found.first(STATED)[hit]))
    features = () if subject.schema is None else subject.schema.features
    hidden = frozenset(f.name for f in features if f.sensitive)
    examples = tuple(_example(a, int(i), hidden) for i in first)
    seen = "only decisions" if a.labels_only else "scores"
    return Finding(
        check=CHECK, risk="evasion", severity=level, subject="decisions under queries alone",
        sentence=f"Who sees {seen} flips {percent(share)} of correct decisions by a change of "
        f"at most {100 * STATED:.3g} % of the range, after {spent:.0f} queries (median).",
        attack="Ask for the decision on a row, change it at random where the answers point, and "
        "keep what brings it nearer to turning.",
        fix="Limit and watch queries that are near-copies of each other, give rounded scores or "
        "decisions alone, and train on adversarial examples; then measure again.",
        evidence=Evidence(
            rows=a.data.names(hit[:20]),
            images=tuple(u for e in examples for u in e.images[1:2]),
            values={"flipped": round(share.value, 4), "epsilon": STATED, "queries": spent},
        ),
        examples=examples, gain=share.low,
    )  # fmt: skip


def _example(a: Attacked, i: int, hidden: frozenset[str]) -> Example:
    one = a.data.take(np.array([i])).x
    after = a.numbers.back(a.found.witness[i : i + 1], one)
    classes = a.model.classes
    decided = classes[a.model.predict(after)[0]]
    title = (
        f"row {a.data.ids[i]}: {classes[a.data.y[i]]!s} → {decided!s}, "
        f"{a.found.first(STATED)[i]:.0f} queries"
    )
    if not a.data.is_table:
        unit = [(v - a.numbers.low) / a.numbers.span for v in (a.x[i], a.found.witness[i])]
        return Example(title=title, images=twins(unit[0], unit[1]))
    edits = [
        Edit(field=str(c), before="(withheld)", after="(changed)")
        if str(c) in hidden
        else Edit(field=str(c), before=f"{one[c].iloc[0]:.5g}", after=f"{after[c].iloc[0]:.5g}")
        for c in one.columns
        if one[c].iloc[0] != after[c].iloc[0]
    ]
    return Example(title=title, edits=tuple(edits[:8]))

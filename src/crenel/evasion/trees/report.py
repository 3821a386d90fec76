"""EVA-103 measured: exact distances of tree ensembles as a curve, tests and a finding."""

from __future__ import annotations

import warnings
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from crenel.access import Access, Attacker
from crenel.check import Context, Level, Measurement, access_of
from crenel.errors import NotApplicable
from crenel.evasion.curves import percent, sandwich
from crenel.evasion.fields.report import right_rows
from crenel.evasion.verdicts import Verdicts
from crenel.exposure import HealthTest
from crenel.finding import Evidence, Example, Finding, severity
from crenel.model import Model
from crenel.schema import NUMERIC, Kind, Schema
from crenel.statistics import Interval, proportion
from crenel.subject import Data, Subject

if TYPE_CHECKING:
    from crenel.evasion.trees import TreeDistances

CHECK = "EVA-103"
#: By level: rows, and boxes that the search may look at for each.
EFFORT: dict[Level, tuple[int, int]] = {
    "quick": (100, 2_000), "standard": (150, 20_000), "deep": (500, 200_000),
}  # fmt: skip
#: Seconds that are always given to the search.
LEAST_SECONDS = 1.0
#: Relative gap between the bounds up to which a row counts as decided.
CLOSE = 0.05
EPSILONS = (0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0)
#: Where a finding is judged: a twentieth of a column's interquartile range.
TELLING = 2


@dataclass(frozen=True)
class Inputs:
    """What the trees are fed, and which columns of it an attacker can move.

    Attributes
    ----------
    x, reference : ndarray, shapes (n, d), (m, d)
    owner : list of str or None, length d
        The column of the table that a free column is made from; None where frozen.
    scale, low, high : ndarray, shape (d,)
    whole : ndarray of bool, shape (d,)
    """

    x: NDArray[Any]
    reference: NDArray[Any]
    owner: list[str | None]
    scale: NDArray[np.float64]
    low: NDArray[np.float64]
    high: NDArray[np.float64]
    whole: NDArray[np.bool_]


def measure(subject: Subject, context: Context) -> Measurement:
    """Exact smallest changes of the numbers that the trees are fed."""
    from crenel.data import infer_schema

    model, test = subject.model, subject.test
    assert model is not None
    assert test is not None
    count, nodes = EFFORT[context.level]
    rows = right_rows(model, test, count, context.rng("rows"))
    known = test if subject.train is None else subject.train
    some = known.take(np.sort(context.rng("reference").permutation(len(known))[:1000]))
    schema = subject.schema or infer_schema(known.x)
    inputs = read_inputs(model, rows.x, some.x, schema)
    if all(o is None for o in inputs.owner):
        raise NotApplicable("no number that an attacker can change reaches the trees")
    found, reached = distances(model, inputs, nodes, context)
    rows, inputs = rows.take(reached), replace(inputs, x=inputs.x[reached])
    verdicts = verdicts_of(model, inputs, found, context)
    shares = [proportion(int(k), len(reached)) for k in verdicts.broken(EPSILONS)]
    access = access_of(subject, attacker=Attacker.WEIGHTS)
    curve = sandwich(
        verdicts, EPSILONS, check=CHECK, name="L-inf distance", unit="interquartile ranges",
        series="exact", access=access, seed=context.seed, seconds=context.elapsed,
        headline=_headline(shares), exact=True,
    )  # fmt: skip
    finding = _finding(rows, model, inputs, verdicts, shares[TELLING], access)
    notes = [_note(inputs)]
    if len(reached) < count and len(reached) < len(found.upper):
        notes.append(f"Time allowed {len(reached)} of {len(found.upper)} rows.")
    return Measurement((curve,), () if finding is None else (finding,), tuple(notes))


def read_inputs(model: Model, x: Any, reference: Any, schema: Schema) -> Inputs:
    """The trees' own input, and which of its columns come from one mutable number each."""
    from crenel.data.infer import scale_of

    feed = _feed(model)
    rows, some = feed(x), feed(reference)
    owner = _owners(feed, reference, some, schema)
    whole = np.zeros(rows.shape[1], dtype=bool)
    scale = np.zeros(rows.shape[1])
    low, high = np.zeros((2, rows.shape[1]))
    for j, name in enumerate(owner):
        values = some[np.isfinite(some[:, j]), j].astype(np.float64)
        if name is None or not values.size or values.min() == values.max():
            owner[j] = None
            continue
        scale[j], low[j], high[j] = scale_of(values), values.min(), values.max()
        stepwise = schema[name].kind is not Kind.CONTINUOUS
        whole[j] = stepwise and bool((values == np.round(values)).all())
    return Inputs(rows, some, owner, scale, low, high, whole)


def _feed(model: Model) -> Any:
    """From rows to the dense numeric input of the trees."""

    def feed(x: Any) -> NDArray[Any]:
        z = x if model.transform is None else model.transform(x)
        z = z.toarray() if hasattr(z, "toarray") else z
        z = np.asarray(z)
        return z if z.dtype in (np.float32, np.float64) else z.astype(np.float64)

    return feed


def _owners(feed: Any, reference: Any, fed: NDArray[Any], schema: Schema) -> list[str | None]:
    """For each column of the trees' input, the one mutable number that it depends on.

    One column of the table at a time is shifted by one row, missing values staying missing, and
    what moves is seen; an input that depends on several columns, on a category, on what an
    attacker cannot change, or on a number that other inputs are made of too has none.
    """
    if not hasattr(reference, "iloc"):
        free = [f.name if f.kind in NUMERIC and f.mutable else None for f in schema.features]
        return free if len(free) == fed.shape[1] else [None] * fed.shape[1]
    depends: list[set[str]] = [set() for _ in range(fed.shape[1])]
    for name in reference.columns:
        shifted = reference.copy()
        shifted[name] = _shifted(reference[name])
        moved = ~np.isclose(feed(shifted), fed, rtol=0, atol=0, equal_nan=True)
        for j in np.flatnonzero(moved.any(axis=0)):
            depends[j].add(name)
    known = {f.name: f for f in schema.features}
    owner: list[str | None] = []
    for names in depends:
        only = known.get(next(iter(names))) if len(names) == 1 else None
        fine = only is not None and only.kind in NUMERIC and only.mutable
        owner.append(only.name if fine and only is not None else None)
    # Inputs made of one and the same number cannot move apart.
    return [name if owner.count(name) == 1 else None for name in owner]


def _shifted(column: Any) -> Any:
    """A column whose values are moved by one row, missing ones staying where they are."""
    known = np.flatnonzero(column.notna().to_numpy())
    order = np.arange(len(column))
    order[known] = np.roll(known, 1)
    return column.take(order).set_axis(column.index)


def distances(
    model: Model, inputs: Inputs, nodes: int, context: Context
) -> tuple[TreeDistances, NDArray[np.intp]]:
    """Bounds of all rows within the time, and the rows that were reached in it."""
    from crenel.evasion.trees import tree_distance, warm_up

    with context.untimed():  # once on a machine, the search is compiled
        warm_up()
    own = _own_decisions(model, inputs.x)
    free = np.array([o is not None for o in inputs.owner])
    held = np.nan_to_num(inputs.x)  # equal bounds: the column keeps its value
    low, high = (np.where(free, b, held) for b in (inputs.low, inputs.high))
    left = context.time_left()
    with warnings.catch_warnings():  # fitted on a frame, asked with its values
        warnings.filterwarnings("ignore", message="X does not have valid feature names")
        found = tree_distance(
            model.final, inputs.x, own, box=(low, high),
            scale=np.where(free, inputs.scale, 0.0), integer=inputs.whole, node_limit=nodes,
            deadline=max(left, LEAST_SECONDS) if np.isfinite(left) else None, indices=True,
        )  # fmt: skip
    context.progress(1.0)
    reached = np.flatnonzero((found.lower > 0) | np.isfinite(found.upper))
    if not len(reached):
        raise NotApplicable("the time given did not reach a single row")
    return found, reached


def verdicts_of(model: Model, inputs: Inputs, found: TreeDistances, context: Context) -> Verdicts:
    """The rows of ``inputs`` as verdicts, with tests that the distances are what they say."""
    reached = np.flatnonzero((found.lower > 0) | np.isfinite(found.upper))
    upper = found.upper[reached]
    # Nothing *below* the distance turns the decision; a row that nothing turns has no distance.
    largest = np.finfo(np.float64).max
    lower = np.nextafter(np.minimum(found.lower[reached], largest), 0.0)
    witness = np.where(np.isfinite(upper)[:, None], found.adversarial[reached], inputs.x)
    return Verdicts(
        correct=np.ones(len(reached), dtype=bool),
        lower=lower,
        upper=upper,
        witness=witness,
        tests=tuple(_health(model, inputs, lower, upper, witness, context)),
        attacker=Attacker.WEIGHTS,
        notes=(f"{found.rejected} nearest candidates within rounding of a tie were refused",)
        * (found.rejected > 0),
    )


def _own_decisions(model: Model, x: NDArray[Any]) -> NDArray[np.int64]:
    """The final estimator's decisions as indices of its own classes."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="X does not have valid feature names")
        classes = getattr(model.final, "classes_", None)
        if classes is None:
            return np.asarray(model.predict(x), dtype=np.int64)
        labels = np.asarray(model.final.predict(x))
    return np.asarray(np.searchsorted(classes, labels), dtype=np.int64)


def _health(
    model: Model,
    i: Inputs,
    lower: NDArray[np.float64],
    upper: NDArray[np.float64],
    witness: NDArray[Any],
    context: Context,
) -> list[HealthTest]:
    """Tests that the distances are what they say."""
    n = len(lower)
    own = _own_decisions(model, i.x)
    hit, never = np.isfinite(upper), lower >= np.finfo(np.float64).max / 2
    turned = _own_decisions(model, witness[hit]) != own[hit]
    close = never | (lower >= (1 - CLOSE) * upper)
    return [
        HealthTest(
            name="the model decides every witness otherwise",
            ok=bool(turned.all()),
            detail=f"{int(turned.sum())} of {len(turned)}",
        ),
        HealthTest(
            name="the two bounds of nine rows in ten lie within 5 %",
            ok=bool(close.mean() >= 0.9),
            detail=f"{int(close.sum())} of {n} rows; the others lie between wider bounds",
        ),
        HealthTest(
            name="unlimited epsilon reaches full harm",
            ok=bool((hit | never).all()),
            detail=f"{int(hit.sum())} of {n} rows fall; for {int(never.sum())} it is proven that "
            "none can",
        ),
        _nothing_below(model, i, lower, own, context),
    ]


def _nothing_below(
    model: Model,
    i: Inputs,
    lower: NDArray[np.float64],
    own: NDArray[np.int64],
    context: Context,
) -> HealthTest:
    """Random points nearer than the lower bound must not turn the decision."""
    rng = context.rng("below")
    rows = np.repeat(np.arange(len(lower))[:40], 50)
    radius = np.minimum(lower[rows], 10.0) * 0.999
    step = rng.uniform(-1, 1, (len(rows), i.x.shape[1])) * radius[:, None] * i.scale
    step[:, i.whole] = np.trunc(step[:, i.whole])
    centre = i.x[rows].astype(np.float64)
    low, high = np.minimum(i.low, centre), np.maximum(i.high, centre)
    free = np.array([o is not None for o in i.owner])
    near = np.where(free, np.clip(centre + step, low, high), centre).astype(i.x.dtype)
    inside = (np.abs(near - centre) <= radius[:, None] * i.scale + 1e-300).all(axis=1)
    wrong = (_own_decisions(model, near) != own[rows]) & inside
    return HealthTest(
        name="no random change below the lower bound turns a decision",
        ok=not wrong.any(),
        detail=f"{int(wrong.sum())} of {int(inside.sum())} did",
    )


def _headline(shares: list[Interval]) -> str:
    s = shares[TELLING]
    return (
        f"moving every number by at most {EPSILONS[TELLING]:g} interquartile ranges flips "
        f"{percent(s)} of correct decisions, by exact search"
    )


def _note(inputs: Inputs) -> str:
    free = sorted({o for o in inputs.owner if o is not None})
    return (
        f"Distance is the largest move of any number, in interquartile ranges of the trees' own "
        f"input; {len(free)} columns move, {inputs.owner.count(None)} inputs are frozen "
        "(categories, what cannot be changed, mixtures, several inputs made of one number)."
    )


def _finding(
    rows: Data, model: Model, i: Inputs, s: Verdicts, share: Interval, access: Access
) -> Finding | None:
    epsilon = EPSILONS[TELLING]
    level = severity(share.low, access)
    if level is None:
        return None
    hit = np.flatnonzero(s.upper <= epsilon)
    step = np.abs(s.witness[hit] - i.x[hit]) / np.where(i.scale > 0, i.scale, np.inf)
    used = np.argsort(-(step > 0).sum(axis=0), kind="stable")
    columns = tuple(dict.fromkeys(str(i.owner[j]) for j in used if i.owner[j]))[:5]
    nearest = hit[np.argsort(s.upper[hit], kind="stable")][:3]
    return Finding(
        check=CHECK, risk="evasion", severity=level, subject="margins of the tree ensemble",
        sentence=f"Moving numbers by at most {epsilon:g} interquartile ranges flips "
        f"{percent(share)} of correct decisions: these rows lie at the edge of a leaf.",
        attack="Read the thresholds from the model file, and move each number just past the "
        "nearest ones that turn the decision.",
        fix="Train with wider margins: fewer and shallower trees, rounded or binned inputs, "
        "monotone constraints where they are true, or robust trees.",
        evidence=Evidence(
            rows=rows.names(np.flatnonzero(hit)[:20]),
            columns=columns,
            values={"flipped": round(share.value, 4), "epsilon": epsilon},
        ),
        examples=tuple(_example(rows, i, s, int(r)) for r in nearest),
        gain=share.low, remedies=("robust-trees",),
    )  # fmt: skip


def _example(rows: Data, i: Inputs, s: Verdicts, r: int) -> Example:
    step = s.witness[r] - i.x[r]
    lines = [
        f"{i.owner[j]}: {step[j] / i.scale[j]:+.4g} interquartile ranges"
        for j in np.argsort(-np.abs(step))
        if i.owner[j] is not None and step[j] != 0
    ]
    title = f"row {rows.ids[r]}: nearest other decision at {s.upper[r]:.4g}"
    return Example(title=title, text="\n".join(lines[:8]))

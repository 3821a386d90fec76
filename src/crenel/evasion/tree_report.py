"""EVA-103 measured: exact distances of tree ensembles as a curve, tests and a finding."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from crenel.access import Access, Attacker
from crenel.check import Context, Measurement, access_of
from crenel.errors import NotApplicable
from crenel.evasion.curves import flip_curve, percent
from crenel.evasion.field_report import right_rows
from crenel.exposure import Health, HealthTest
from crenel.finding import Evidence, Example, Finding, severity
from crenel.model import Model
from crenel.schema import NUMERIC, Kind, Schema
from crenel.statistics import Interval, proportion
from crenel.subject import Data, Subject

CHECK = "EVA-103"
#: Rows, rows of one call, boxes that the search may look at for each row.
ROWS, CHUNK, NODES = 150, 15, 20_000
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


@dataclass(frozen=True)
class Sandwich:
    """Bounds of the distance of each row, with witnesses."""

    lower: NDArray[np.float64]
    upper: NDArray[np.float64]
    adversarial: NDArray[Any]
    exact: NDArray[np.bool_]

    def shares(self, epsilons: Any) -> list[Interval]:
        """Share flipped within each epsilon; the high end counts undecided rows as flipped."""
        n = len(self.lower)
        found = [proportion(int((self.upper <= e).sum()), n) for e in epsilons]
        possible = [proportion(int((self.lower <= e).sum()), n) for e in epsilons]
        return [Interval(f.value, f.low, max(f.high, p.high)) for f, p in zip(found, possible)]


def measure(subject: Subject, context: Context) -> Measurement:
    """Exact smallest changes of the numbers that the trees are fed."""
    from crenel.data import infer_schema

    model, test = subject.model, subject.test
    assert model is not None
    assert test is not None
    rows = right_rows(model, test, ROWS, context.rng("rows"))
    known = test if subject.train is None else subject.train
    some = known.take(np.sort(context.rng("reference").permutation(len(known))[:1000]))
    schema = subject.schema or infer_schema(known.x)
    inputs = read_inputs(model, rows.x, some.x, schema)
    if all(o is None for o in inputs.owner):
        raise NotApplicable("no number that an attacker can change reaches the trees")
    found = distances(model, inputs, context)
    n = len(found.lower)
    shares = found.shares(EPSILONS)
    access = access_of(subject, attacker=Attacker.WEIGHTS)
    health = Health.of(*_health(model, inputs, found, context))
    curve = flip_curve(
        check=CHECK, name="L-inf distance", unit="interquartile ranges", series="exact",
        budgets=EPSILONS, shares=shares, n=n, access=access, seed=context.seed, health=health,
        seconds=context.elapsed, scale="log", headline=_headline(shares),
    )  # fmt: skip
    finding = _finding(rows.take(np.arange(n)), model, inputs, found, shares[TELLING], access)
    notes = [_note(inputs)]
    if n < len(rows):
        notes.append(f"Time allowed {n} of {len(rows)} rows.")
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

    One column of the table at a time is shifted by one row, and what moves is seen; a column
    that depends on several, on a category, or on what an attacker cannot change has none.
    """
    if not hasattr(reference, "iloc"):
        free = [f.name if f.kind in NUMERIC and f.mutable else None for f in schema.features]
        return free if len(free) == fed.shape[1] else [None] * fed.shape[1]
    depends: list[set[str]] = [set() for _ in range(fed.shape[1])]
    for name in reference.columns:
        shifted = reference.copy()
        column = reference[name]
        shifted[name] = column.take(np.roll(np.arange(len(column)), 1)).set_axis(column.index)
        moved = ~np.isclose(feed(shifted), fed, rtol=0, atol=0, equal_nan=True)
        for j in np.flatnonzero(moved.any(axis=0)):
            depends[j].add(name)
    known = {f.name: f for f in schema.features}
    owner: list[str | None] = []
    for names in depends:
        only = known.get(next(iter(names))) if len(names) == 1 else None
        fine = only is not None and only.kind in NUMERIC and only.mutable
        owner.append(only.name if fine and only is not None else None)
    return owner


def distances(model: Model, inputs: Inputs, context: Context) -> Sandwich:
    """Exact distances, chunk by chunk until the deadline; the first chunk is always done."""
    from crenel.evasion.trees import TreeDistances, tree_distance, warm_up

    with context.untimed():  # once on a machine, the search is compiled
        warm_up()
    own = _own_decisions(model, inputs.x)
    free = np.array([o is not None for o in inputs.owner])
    parts: list[TreeDistances] = []
    for start in range(0, len(inputs.x), CHUNK):
        if parts and context.expired:
            break
        rows = slice(start, start + CHUNK)
        held = np.nan_to_num(inputs.x[rows])  # equal bounds: the column keeps its value
        box = tuple(np.where(free, b, held) for b in (inputs.low, inputs.high))
        left = context.time_left()
        with warnings.catch_warnings():  # fitted on a frame, asked with its values
            warnings.filterwarnings("ignore", message="X does not have valid feature names")
            parts.append(
                tree_distance(
                    model.final, inputs.x[rows], own[rows], box=(box[0], box[1]),
                    scale=np.where(free, inputs.scale, 0.0), integer=inputs.whole,
                    node_limit=NODES, deadline=left if np.isfinite(left) else None, indices=True,
                )
            )  # fmt: skip
        context.progress(min(1.0, (start + CHUNK) / len(inputs.x)))
    names = ("lower", "upper", "adversarial", "exact")
    return Sandwich(*(np.concatenate([getattr(p, name) for p in parts]) for name in names))


def _own_decisions(model: Model, x: NDArray[Any]) -> NDArray[np.int64]:
    """The final estimator's decisions as indices of its own classes."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="X does not have valid feature names")
        classes = getattr(model.final, "classes_", None)
        if classes is None:
            return np.asarray(model.predict(x), dtype=np.int64)
        labels = np.asarray(model.final.predict(x))
    return np.asarray(np.searchsorted(classes, labels), dtype=np.int64)


def _health(model: Model, i: Inputs, s: Sandwich, context: Context) -> list[HealthTest]:
    """Tests that the distances are what they say."""
    n = len(s.lower)
    own = _own_decisions(model, i.x[:n])
    hit = np.isfinite(s.upper)
    turned = _own_decisions(model, s.adversarial[hit]) != own[hit]
    undecided = int((~s.exact).sum())
    never = int((np.isinf(s.lower)).sum())
    return [
        HealthTest(
            name="the model decides every witness otherwise",
            ok=bool(turned.all()),
            detail=f"{int(turned.sum())} of {len(turned)}",
        ),
        HealthTest(
            name="distances are exact",
            ok=undecided <= 0.1 * n,
            detail=f"{n - undecided} of {n} rows; the others lie between two bounds",
        ),
        HealthTest(
            name="unlimited epsilon reaches full harm",
            ok=bool((hit | np.isinf(s.lower)).all()),
            detail=f"{int(hit.sum())} of {n} rows fall; for {never} it is proven that none can",
        ),
        _nothing_below(model, i, s, own, context),
    ]


def _nothing_below(
    model: Model, i: Inputs, s: Sandwich, own: NDArray[np.int64], context: Context
) -> HealthTest:
    """Random points nearer than the lower bound must not turn the decision."""
    rng = context.rng("below")
    rows = np.repeat(np.arange(len(s.lower))[:40], 50)
    radius = np.minimum(s.lower[rows], 10.0) * 0.999
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
        "(categories, what cannot be changed, mixtures)."
    )


def _finding(
    rows: Data, model: Model, i: Inputs, s: Sandwich, share: Interval, access: Access
) -> Finding | None:
    epsilon = EPSILONS[TELLING]
    level = severity(share.low, access)
    if level is None:
        return None
    hit = np.flatnonzero(s.upper <= epsilon)
    step = np.abs(s.adversarial[hit] - i.x[hit]) / np.where(i.scale > 0, i.scale, np.inf)
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


def _example(rows: Data, i: Inputs, s: Sandwich, r: int) -> Example:
    step = s.adversarial[r] - i.x[r]
    lines = [
        f"{i.owner[j]}: {step[j] / i.scale[j]:+.4g} interquartile ranges"
        for j in np.argsort(-np.abs(step))
        if i.owner[j] is not None and step[j] != 0
    ]
    title = f"row {rows.ids[r]}: nearest other decision at {s.upper[r]:.4g}"
    return Example(title=title, text="\n".join(lines[:8]))

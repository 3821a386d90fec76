"""EVA-101 measured: the guarded gradient attack as curves, tests, a finding and image twins."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from crenel.access import Access, Attacker
from crenel.check import Context, Measurement, access_of
from crenel.evasion.curves import flip_curve, percent, telling, within
from crenel.evasion.field_report import right_rows
from crenel.evasion.robustness import Robustness, robustness
from crenel.exposure import Exposure, Health, HealthTest
from crenel.finding import Edit, Evidence, Example, Finding, severity
from crenel.model import Model
from crenel.schema import Kind
from crenel.statistics import Interval
from crenel.subject import Data, Subject

CHECK = "EVA-101"
#: Rows attacked by each norm.
ROWS = 200
#: Forward passes that both norms cost for each row at most, a backward counted as two.
PASSES = 1000
#: L-inf radii as shares of the legal range; L2 radii are these times half the root of d.
EPSILONS = (0.01, 0.02, 0.03, 0.05, 0.1, 0.2)
#: Where a finding is judged: near the usual 8/255.
TELLING = 2


@dataclass(frozen=True)
class Attacked:
    """One norm's attack, verified on the model's own way from rows to decisions."""

    norm: float
    epsilons: tuple[float, ...]
    needed: NDArray[np.float64]
    adversarial: NDArray[np.float32]
    health: Health
    passes: int

    @property
    def name(self) -> str:
        """L-inf or L2."""
        return "L-inf" if self.norm == math.inf else "L2"

    @property
    def shares(self) -> list[Interval]:
        """Share flipped within each epsilon."""
        return within(self.needed, self.epsilons)


def measure(subject: Subject, context: Context) -> Measurement:
    """Attack by gradients in both norms."""
    model, test = subject.model, subject.test
    assert model is not None
    assert test is not None
    low, high = legal_range(subject)
    rows = right_rows(model, test, _affordable(model, test, context), context.rng("rows"))
    unit = Unit.of(model, rows.x, low, high)
    done: list[Attacked] = []
    for i, norm in enumerate((math.inf, 2.0)):
        if done and context.expired:
            break
        done.append(_attack(model, rows, unit, norm, context, share=0.5 if i == 0 else 0.9))
        context.progress((i + 1) / 2)
    access = access_of(subject, attacker=Attacker.GRADIENTS)
    exposures = tuple(_exposure(a, context, access) for a in done)
    features = () if subject.schema is None else subject.schema.features
    hidden = frozenset(f.name for f in features if f.sensitive)
    finding = _finding(model, rows, unit, done[0], access, hidden)
    notes = [f"Epsilon is in shares of the legal range, {_range_words(low, high)}."]
    if rows.is_table:
        notes.append("Every column is moved as if it were continuous and mutable; EVA-102 is not.")
    return Measurement(exposures, () if finding is None else (finding,), tuple(notes))


@dataclass(frozen=True)
class Unit:
    """The model over rows rescaled so that the legal range is [0, 1].

    Attributes
    ----------
    module : torch.nn.Module
        Takes rescaled rows.
    low, span : ndarray
        Broadcast against rows.
    """

    module: Any
    low: NDArray[np.float32]
    span: NDArray[np.float32]

    @classmethod
    def of(cls, model: Model, x: Any, low: Any, high: Any) -> Unit:
        """Rescale the module of a model."""
        from crenel.evasion.rescaled import Rescaled

        a, b = np.asarray(low, dtype=np.float32), np.asarray(high, dtype=np.float32)
        span = np.maximum(b - a, 1e-12).astype(np.float32)
        return cls(Rescaled(model.module, a, span), a, span)

    def into(self, x: Any) -> NDArray[np.float32]:
        """Rows to [0, 1]."""
        x = x.to_numpy(dtype=np.float32) if hasattr(x, "iloc") else np.asarray(x, dtype=np.float32)
        return np.asarray((x - self.low) / self.span, dtype=np.float32)

    def back(self, z: NDArray[np.float32], like: Any) -> Any:
        """Rescaled rows in the form and dtype of the user's own; whole numbers are rounded."""
        x = self.low + z * self.span
        if hasattr(like, "iloc"):
            frame = like.copy()
            for j, name in enumerate(like.columns):
                column = x[:, j]
                kind = like[name].dtype
                whole = getattr(kind, "kind", "f") in "iub"
                frame[name] = (np.round(column) if whole else column).astype(kind)
            return frame
        return np.round(x).astype(like.dtype) if like.dtype.kind in "iu" else x.astype(like.dtype)


def legal_range(subject: Subject) -> tuple[Any, Any]:
    """Bounds of the rows: those of the schema, else what images usually have, else the data's."""
    from crenel.data import infer_schema

    parts = [d for d in (subject.train, subject.test) if d is not None]
    schema = subject.schema or infer_schema(parts[0].x)
    if parts[0].is_table:
        names = list(parts[0].x.columns)
        known = {f.name: f for f in schema.features}
        low = [_bound(known[n].min, [float(d.x[n].min()) for d in parts], min) for n in names]
        high = [_bound(known[n].max, [float(d.x[n].max()) for d in parts], max) for n in names]
        return np.array(low), np.array(high)
    image = schema.features[0] if schema.features[0].kind is Kind.IMAGE else None
    if image is not None and image.min is not None and image.max is not None:
        return image.min, image.max
    return min(float(d.x.min()) for d in parts), max(float(d.x.max()) for d in parts)


def _bound(given: float | None, seen: list[float], pick: Any) -> float:
    return float(pick(seen)) if given is None else given


def _affordable(model: Model, test: Data, context: Context) -> int:
    """Rows to attack: all of `ROWS`, unless a deadline and a slow network allow fewer."""
    if context.deadline is None:
        return ROWS
    some = test.take(np.arange(min(16, len(test)))).x
    model.predict(some)  # the first call is slower
    begun = time.perf_counter()
    model.predict(some)
    forward = (time.perf_counter() - begun) / len(some)
    return int(np.clip(0.7 * context.time_left() / (PASSES * forward), 20, ROWS))


def _attack(
    model: Model, rows: Data, unit: Unit, norm: float, context: Context, share: float
) -> Attacked:
    z = unit.into(rows.x)
    root = 1.0 if norm == math.inf else math.sqrt(z[0].size) / 2
    epsilons = tuple(float(f"{e * root:.3g}") for e in EPSILONS)
    deadline = None
    if context.deadline is not None:
        deadline = time.monotonic() + share * context.time_left()
    got = robustness(
        unit.module, z, rows.y, norm=norm, epsilons=epsilons,
        seed=context.derive_seed(str(norm)), deadline=deadline,
    )  # fmt: skip
    needed, test = _verified(model, rows, unit, got)
    health = Health.of(*got.tests, test)
    a = got.attack
    return Attacked(norm, epsilons, needed, a.adversarial, health, a.passes)


def _verified(
    model: Model, rows: Data, unit: Unit, got: Robustness
) -> tuple[NDArray[np.float64], HealthTest]:
    """Epsilons needed, infinite where the model itself, asked as users ask it, still holds."""
    needed = got.attack.smallest.copy()
    hit = np.flatnonzero(np.isfinite(needed))
    share = 1.0
    if hit.size:
        like = rows.take(hit).x
        wrong = model.predict(unit.back(got.attack.adversarial[hit], like)) != rows.y[hit]
        needed[hit[~wrong]], share = math.inf, float(wrong.mean())
    return needed, HealthTest(
        name="witnesses hold as rows of the user's own kind",
        ok=share >= 0.98,
        detail=f"{share:.1%} of {hit.size}; the others are not counted",
    )


def _exposure(a: Attacked, context: Context, access: Access) -> Exposure:
    shares = a.shares
    i = telling(shares)
    return flip_curve(
        check=CHECK, name=f"{a.name} distance", unit="of the range", series=a.name,
        budgets=a.epsilons, shares=shares, n=len(a.needed), access=access, seed=context.seed,
        health=a.health, queries=a.passes, seconds=context.elapsed, scale="log",
        headline=f"a change of {a.name} size {a.epsilons[i]:.3g} of the range flips "
        f"{percent(shares[i])} of correct decisions",
    )  # fmt: skip


def _finding(
    model: Model, rows: Data, unit: Unit, a: Attacked, access: Access, hidden: frozenset[str]
) -> Finding | None:
    share, epsilon = a.shares[TELLING], a.epsilons[TELLING]
    level = severity(share.low, access)
    if level is None:
        return None
    hit = np.flatnonzero(a.needed <= epsilon)
    first = hit[np.argsort(a.needed[hit], kind="stable")][:3]
    examples = tuple(_example(model, rows, unit, a, int(i), hidden) for i in first)
    return Finding(
        check=CHECK, risk="evasion", severity=level, subject="decisions under small changes, L-inf",
        sentence=f"A change of at most {100 * epsilon:.3g} % of the range, mostly too small to "
        f"see, flips {percent(share)} of correct decisions.",
        attack="Follow the gradient of the loss from the input, within the budget; a breakable "
        "input takes two or three steps.",
        fix="Train on adversarial examples, smooth the decisions, or check inputs against "
        "what the sensor can really deliver; then measure again with this attacker.",
        evidence=Evidence(
            rows=rows.names(np.flatnonzero(hit)[:20]),
            images=tuple(u for e in examples for u in e.images[1:2]),
            values={"flipped": round(share.value, 4), "epsilon": epsilon},
        ),
        examples=examples, gain=share.low,
    )  # fmt: skip


def _example(
    model: Model, rows: Data, unit: Unit, a: Attacked, i: int, hidden: frozenset[str]
) -> Example:
    one = rows.take(np.array([i]))
    after = unit.back(a.adversarial[i : i + 1], one.x)
    decided = model.classes[model.predict(after)[0]]
    title = (
        f"row {rows.ids[i]}: {model.classes[rows.y[i]]!s} → {decided!s}, {a.name} {a.needed[i]:.3g}"
    )
    if rows.is_table:
        edits = [
            Edit(field=str(c), before="(withheld)", after="(changed)")
            if str(c) in hidden
            else Edit(
                field=str(c), before=f"{one.x[c].iloc[0]:.5g}", after=f"{after[c].iloc[0]:.5g}"
            )
            for c in one.x.columns
            if one.x[c].iloc[0] != after[c].iloc[0]
        ]
        return Example(title=title, edits=tuple(edits[:8]))
    return Example(title=title, images=twins(unit.into(one.x)[0], a.adversarial[i]))


def twins(before: NDArray[Any], after: NDArray[Any]) -> tuple[str, ...]:
    """An image in [0, 1], its twin, and their difference magnified, as data URIs; else none."""
    from crenel.data.png import data_uri

    views = [as_image(v) for v in (before, after, _magnified(before, after))]
    return tuple(data_uri(v) for v in views if v is not None)


def _magnified(before: NDArray[Any], after: NDArray[Any]) -> NDArray[Any]:
    difference = after - before
    return np.asarray(0.5 + 0.5 * difference / max(float(np.abs(difference).max()), 1e-12))


def as_image(x: NDArray[Any]) -> NDArray[np.uint8] | None:
    """Values in [0, 1] of one row as grey or colour pixels; None where it is no image."""
    if x.ndim == 3 and x.shape[0] in (1, 3):
        x = np.moveaxis(x, 0, 2)
    if x.ndim == 3 and x.shape[2] == 1:
        x = x[:, :, 0]
    if x.ndim != 2 and not (x.ndim == 3 and x.shape[2] == 3):
        return None
    return np.asarray(np.round(np.clip(x, 0, 1) * 255), dtype=np.uint8)


def _range_words(low: Any, high: Any) -> str:
    return "by column" if np.ndim(low) else f"{float(low):g} to {float(high):g}"

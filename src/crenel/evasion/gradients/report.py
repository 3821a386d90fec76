"""EVA-101 measured: the guarded gradient attack as curves, tests, a finding and image twins."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from crenel.access import Access, Attacker
from crenel.check import Context, Level, Measurement, access_of
from crenel.evasion.curves import percent, sandwich, within
from crenel.evasion.fields.legality import legal
from crenel.evasion.fields.report import right_rows
from crenel.evasion.gradients.aimed_report import LEVEL, aims, exposure_of
from crenel.evasion.gradients.aiming import left_out
from crenel.evasion.gradients.robustness import Robustness, robustness
from crenel.evasion.gradients.unit import Unit, freedom_of
from crenel.evasion.imagery import legal_range, twins
from crenel.evasion.lattice import lattice_of
from crenel.evasion.pace import SOME, seconds_a_row
from crenel.evasion.proving import Proofs, proofs
from crenel.evasion.verdicts import Verdicts
from crenel.evasion.verification import majority, verified
from crenel.exposure import Exposure, HealthTest
from crenel.finding import Edit, Evidence, Example, Finding, severity
from crenel.model import Model
from crenel.schema import Schema
from crenel.statistics import Interval
from crenel.subject import Data, Subject

CHECK = "EVA-101"
#: Rows attacked by each norm.
ROWS = 200
#: Forward passes that both norms cost for each row, a backward counted as two: most rows break
#: early, so these are less than twice what a level allows.
PASSES: dict[Level, int] = {"quick": 300, "standard": 1000, "deep": 4000}
#: L-inf radii as shares of the legal range; L2 radii are these times half the root of d.
EPSILONS = (0.01, 0.02, 0.03, 0.05, 0.1, 0.2)
#: Where a finding is judged: near the usual 8/255.
TELLING = 2
#: Share of a norm's time for proofs.
PROOFS = 0.3
#: Shares of the time left for L-inf, then for L2, then for what is aimed at a class.
SHARES = (0.47, 0.85, 0.9)


@dataclass(frozen=True)
class Attacked:
    """One norm's attack and proofs, in shares of the legal range.

    Attributes
    ----------
    norm : float
    epsilons : tuple of float
    verdicts : Verdicts
        Witnesses are in the user's own form, checked on the model's own way to decisions.
    """

    norm: float
    epsilons: tuple[float, ...]
    verdicts: Verdicts

    @property
    def name(self) -> str:
        """L-inf or L2."""
        return "L-inf" if self.norm == math.inf else "L2"

    @property
    def needed(self) -> NDArray[np.float64]:
        """Size of the smallest change found for each row."""
        return self.verdicts.upper

    @property
    def shares(self) -> list[Interval]:
        """Share flipped within each epsilon."""
        return within(self.needed, self.epsilons)


@dataclass(frozen=True)
class Job:
    """What both norms share.

    Attributes
    ----------
    model : Model
    rows : Data
        Decided rightly.
    unit : Unit
    schema : Schema or None
        Of a table.
    context : Context
    """

    model: Model
    rows: Data
    unit: Unit
    schema: Schema | None
    context: Context


def measure(subject: Subject, context: Context) -> Measurement:
    """Attack by gradients in both norms, and prove what can be proven."""
    from crenel.data import infer_schema

    model, test = subject.model, subject.test
    assert model is not None
    assert test is not None
    low, high = legal_range(subject)
    rows = right_rows(model, test, _affordable(model, test, context), context.rng("rows"))
    known = subject.schema or infer_schema((subject.train or test).x)
    schema = known if rows.is_table else None
    freedom = None if schema is None else freedom_of(schema, rows.x)
    job = Job(model, rows, Unit.of(model, low, high, freedom), schema, context)
    aim = aims(model, rows, subject.access, context)  # first: it may name no class
    done: list[Attacked] = []
    for i, norm in enumerate((math.inf, 2.0)):
        if done and context.expired:
            break
        done.append(_attack(job, norm, share=SHARES[i]))
        context.progress((i + 1) / 2)
    access = access_of(subject, attacker=Attacker.GRADIENTS, goal=None)
    exposures = tuple(
        sandwich(
            a.verdicts, a.epsilons, check=CHECK, name=f"{a.name} distance", unit="of the range",
            access=access, seed=context.seed, series=a.name, seconds=context.elapsed,
            headline=_headline(a),
        )
        for a in done
    )  # fmt: skip
    aimed, apart = _aimed(job, aim, subject.access)
    exposures += aimed
    missing = ""
    if subject.access.goal is not None and not aimed:
        missing = f"nothing was aimed at class {subject.access.goal}: " + (
            "time ran out" if aim is not None else "no row of another class is decided rightly"
        )
    features = () if subject.schema is None else subject.schema.features
    hidden = frozenset(f.name for f in features if f.sensitive)
    finding = _finding(job, done[0], access, hidden)
    notes = [f"Epsilon is in shares of the legal range, {_range_words(low, high)}."]
    notes += apart
    notes += [n for a in done for n in a.verdicts.notes if n not in notes]
    if freedom is not None and freedom.frozen.any():
        held = int(freedom.frozen.sum())
        notes.append(
            f"{held} of {len(freedom.frozen)} columns stay as they are (immutable, categories or "
            "flags, or derived from others); EVA-102 changes the mutable ones."
        )
    found = () if finding is None else (finding,)
    return Measurement(exposures, found, tuple(notes), partial=missing)


def _aimed(
    job: Job, aim: tuple[NDArray[np.int64], NDArray[np.int64]] | None, given: Access
) -> tuple[tuple[Exposure, ...], list[str]]:
    """The curve of who wants one certain class, on a few rows and in L-inf alone."""
    if aim is None or job.context.expired:
        return (), []
    at, goal = aim
    few = replace(job, rows=job.rows.take(at))
    a = _attack(few, math.inf, share=SHARES[2], goal=goal, level=LEVEL)
    access = given.model_copy(update={"attacker": Attacker.GRADIENTS})
    apart = "" if given.goal is None else left_out(np.full(len(job.rows), goal[0]), job.rows.y)
    curve = exposure_of(a.verdicts, a.epsilons, access, job.context, CHECK)
    return (curve,), [apart] if apart else []


def _affordable(model: Model, test: Data, context: Context) -> int:
    """Rows to attack: all of `ROWS`, unless a deadline and a slow network allow fewer."""
    if context.deadline is None:
        return ROWS
    forward = seconds_a_row(model.predict, test.take(np.arange(min(SOME, len(test)))).x)
    return int(np.clip(0.7 * context.time_left() / (PASSES[context.level] * forward), 20, ROWS))


def _attack(
    job: Job, norm: float, share: float, goal: NDArray[np.int64] | None = None,
    level: Level | None = None,
) -> Attacked:  # fmt: skip
    """One norm, on all rows of a job; towards a class for each row where one is given."""
    context, unit, level = job.context, job.unit, level or job.context.level
    z = unit.into(job.rows.x)
    epsilons = _epsilons(unit, z, norm)
    attack = late = None
    if context.deadline is not None:
        begun, time_left = time.monotonic(), share * context.time_left()
        attack, late = begun + (1 - PROOFS) * time_left, begun + time_left
    got = robustness(
        unit.module, z, job.rows.y, norm=norm, epsilons=epsilons, bounds=unit.box(z),
        seed=context.derive_seed(str(norm)), deadline=attack, level=level, targets=goal,
    )  # fmt: skip
    upper, witness, holds = _verified(job, got, norm, goal)
    proven = Proofs(np.zeros(len(z)))
    if goal is None:  # what is proven of any wrong class is in the other curve already
        proven = _proven(job, z, norm, epsilons, upper, late)
    verdicts = Verdicts(
        correct=got.attack.correct | (goal is None), lower=proven.lower, upper=upper,
        witness=witness,
        tests=(*got.tests, holds, *proven.tests), attacker=Attacker.GRADIENTS,
        queries=got.attack.passes, notes=proven.notes,
    )  # fmt: skip
    return Attacked(norm, epsilons, verdicts)


def _epsilons(unit: Unit, z: NDArray[np.float32], norm: float) -> tuple[float, ...]:
    d = z[0].size if unit.freedom is None else max(1, unit.freedom.movable)
    root = 1.0 if norm == math.inf else math.sqrt(d) / 2
    return tuple(float(f"{e * root:.3g}") for e in EPSILONS)


def _verified(
    job: Job, got: Robustness, norm: float, goal: NDArray[np.int64] | None
) -> tuple[NDArray[np.float64], Any, HealthTest]:
    """Sizes of the changes that the model itself, asked as users ask it, decides otherwise.

    Infinite where none holds; beside them the changed rows, and the test that most hold.
    """
    decide = majority(job.model.predict, got.draws)
    attack = got.attack
    if job.schema is None:
        upper, witness = _images(
            job, decide, attack.adversarial, attack.smallest, norm, goal, attack.epsilons
        )
    else:
        upper, witness = _table(job, decide, attack.adversarial, attack.distance, goal)
    found, held = int(np.isfinite(attack.distance).sum()), int(np.isfinite(upper).sum())
    return (
        upper,
        witness,
        HealthTest(
            name="witnesses hold as rows of the user's own kind",
            ok=held >= 0.98 * found,
            detail=f"{held} of {found}; the others are not counted",
        ),
    )


def _images(
    job: Job, decide: Callable[[Any], Any], z: NDArray[np.float32], sizes: NDArray[np.float64],
    norm: float, goal: NDArray[np.int64] | None, epsilons: Any,
) -> tuple[NDArray[np.float64], Any]:  # fmt: skip
    """Images on their lattice; sizes in shares of the range.

    ``sizes`` are the radii that rows were attacked at: a change that was drawn back to the very
    boundary of the decision needs room to be rounded to legal pixels.
    """
    x0 = np.asarray(job.rows.x)
    span = float(job.unit.span)
    lattice = lattice_of(x0, float(job.unit.low), float(job.unit.low) + span)
    witness, size = verified(
        decide, x0, job.rows.y, job.unit.values(z), lattice, norm=norm, within=sizes * span,
        goal=goal, radii=np.asarray(epsilons) * span,
    )  # fmt: skip
    return size / span, witness


def _table(
    job: Job, decide: Callable[[Any], Any], z: NDArray[np.float32], sizes: NDArray[np.float64],
    goal: NDArray[np.int64] | None,
) -> tuple[NDArray[np.float64], Any]:  # fmt: skip
    """Rows of a table that are legal under its schema; the others do not count."""
    assert job.schema is not None
    rows = job.rows
    witness = job.unit.frame(z, rows.x)
    hit = np.flatnonzero(np.isfinite(sizes))
    upper = np.full(len(sizes), math.inf)
    if hit.size:
        changed = rows.take(hit).x
        after = witness.iloc[hit].reset_index(drop=True)
        decided = decide(after)
        turned = decided != rows.y[hit] if goal is None else decided == goal[hit]
        held = legal(changed, after, job.schema) & turned
        upper[hit[held]] = sizes[hit[held]]
    return upper, witness


def _proven(
    job: Job, z: NDArray[np.float32], norm: float, epsilons: tuple[float, ...],
    upper: NDArray[np.float64], deadline: float | None,
) -> Proofs:  # fmt: skip
    """Radii within which no change turns a decision, legal or not; and why there are none."""
    plain = job.unit.continuous(job.model)
    bounds = tuple(job.unit.plain(b[None])[0] if np.ndim(b) else b for b in job.unit.box(z))
    return proofs(
        plain, job.unit.plain(z), job.rows.y, upper, norm=norm, epsilons=epsilons,
        bounds=(bounds[0], bounds[1]), seed=job.context.derive_seed("proofs"),
        level=job.context.level, deadline=deadline,
    )  # fmt: skip


def _headline(a: Attacked) -> str:
    """The harm at the radius where it is nearest a half, and what is proven there."""
    i = int(np.argmin([abs(s.value - 0.5) for s in a.shares]))
    held = float((a.verdicts.lower >= a.epsilons[i]).mean())
    proven = f"; {100 * held:.0f} % are proven to hold" if (a.verdicts.lower > 0).any() else ""
    return (
        f"a change of {a.name} size {a.epsilons[i]:.3g} of the range flips "
        f"{percent(a.shares[i])} of correct decisions{proven}"
    )


def _finding(job: Job, a: Attacked, access: Access, hidden: frozenset[str]) -> Finding | None:
    share, epsilon = a.shares[TELLING], a.epsilons[TELLING]
    level = severity(share.low, access)
    if level is None:
        return None
    hit = np.flatnonzero(a.needed <= epsilon)
    first = hit[np.argsort(a.needed[hit], kind="stable")][:3]
    examples = tuple(_example(job, a, int(i), hidden) for i in first)
    return Finding(
        check=CHECK, risk="evasion", severity=level, subject="decisions under small changes, L-inf",
        sentence=f"A change of at most {100 * epsilon:.3g} % of the range, mostly too small to "
        f"see, flips {percent(share)} of correct decisions.",
        attack="Follow the gradient of the loss from the input, within the budget; a breakable "
        "input takes two or three steps.",
        fix="Train on adversarial examples, smooth the decisions, or check inputs against "
        "what the sensor can really deliver; then measure again with this attacker.",
        evidence=Evidence(
            rows=job.rows.names(hit[:20]),
            images=tuple(u for e in examples for u in e.images[1:2]),
            values={"flipped": round(share.value, 4), "epsilon": epsilon},
        ),
        examples=examples,
        remedies=("adversarial-training", "randomized-smoothing", "restore-inputs", "watch-inputs"),
        gain=share.low,
    )  # fmt: skip


def _example(job: Job, a: Attacked, i: int, hidden: frozenset[str]) -> Example:
    model, rows = job.model, job.rows
    one = rows.take(np.array([i]))
    witness = a.verdicts.witness
    after = witness.iloc[i : i + 1] if rows.is_table else witness[i : i + 1]
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
    return Example(title=title, images=twins(job.unit.into(one.x)[0], job.unit.into(after)[0]))


def _range_words(low: Any, high: Any) -> str:
    return "by column" if np.ndim(low) else f"{float(low):g} to {float(high):g}"

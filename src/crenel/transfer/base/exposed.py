"""TRA-102 in steps: rows, attacks on the base, verification on the tuned model, curves."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeGuard

import numpy as np
from numpy.typing import NDArray

from crenel.access import Access, Attacker
from crenel.check import Context, Measurement, access_of
from crenel.errors import Inconclusive, NotApplicable
from crenel.exposure import Budget, Exposure, Harm, Health, HealthTest
from crenel.finding import Evidence, Example, Finding, severity
from crenel.model import Model
from crenel.statistics import proportion
from crenel.subject import Data, Subject
from crenel.transfer.base.adapted import by_answers
from crenel.transfer.base.alike import alike
from crenel.transfer.base.asked import with_requests
from crenel.transfer.base.depths import by_depth, deepened
from crenel.transfer.base.patched import with_one_patch
from crenel.transfer.base.surrogate import METHODS, Method, Ranged, craft, moved, noise

#: Shares of the value range.
EPSILONS = tuple(e / 255 for e in (2, 4, 8, 16, 32, 64))
ROWS, SHARD, FEWEST = 128, 64, 20
#: A change that people hardly see: no dearer than this costs nothing.
UNSEEN = 8 / 255


@dataclass(frozen=True)
class Space:
    """Rows of a target as numbers in [0, 1], and back.

    Attributes
    ----------
    low, high : ndarray
        The legal range, broadcast against one row.
    columns : list or None
        Of a table.
    """

    low: NDArray[np.float32]
    high: NDArray[np.float32]
    columns: list[Any] | None = None

    def into(self, x: Any) -> NDArray[np.float32]:
        """Rows in [0, 1], float32."""
        numbers = x.to_numpy(dtype=np.float32) if hasattr(x, "iloc") else np.asarray(x)
        return ((numbers - self.low) / (self.high - self.low)).clip(0, 1).astype(np.float32)

    def back(self, u: NDArray[np.float32]) -> Any:
        """Rows as the models take them."""
        x = (self.low + u * (self.high - self.low)).astype(np.float32)
        if self.columns is None:
            return x
        import pandas as pd

        return pd.DataFrame(x, columns=self.columns)


def space_of(data: Data) -> Space:
    """The legal range of images ([0, 1], [0, 255] or as seen) or of each column of a table.

    Raises
    ------
    NotApplicable
        Where a column is not continuous.
    """
    if data.is_table:
        if any(dtype.kind != "f" for dtype in data.x.dtypes) or data.x.isna().any().any():
            raise NotApplicable("small changes need columns that are all continuous and filled")
        numbers = data.x.to_numpy(dtype=np.float32)
        low, high = numbers.min(axis=0), numbers.max(axis=0)
        return Space(low, np.where(high > low, high, low + 1), list(data.x.columns))
    if np.asarray(data.x).dtype.kind not in "fui":
        raise NotApplicable("the rows are not numbers")
    least, most = float(data.x.min()), float(data.x.max())
    if least >= 0 and most <= 255:
        low, high = 0.0, 1.0 if most <= 1 else 255.0
    else:
        low, high = least, most
    return Space(np.array(low, dtype=np.float32), np.array(high, dtype=np.float32))


@dataclass(frozen=True)
class Trial:
    """Rows under attack, and which of them each attack flips at each epsilon.

    Attributes
    ----------
    rows : ndarray of int64
        Of the test data.
    flips : dict of str to ndarray of bool, shape (epsilons, n)
        By method, "noise", and "white box" where it was run.
    reach : (float, float)
        How far the base's features move at the largest epsilon: by displacement, by noise.
    """

    rows: NDArray[np.int64]
    flips: dict[str, NDArray[np.bool_]]
    reach: tuple[float, float]


def measure_surrogate(subject: Subject, context: Context) -> Measurement:
    """Run TRA-102 on a subject that has a test set, a model and a base with gradients."""
    model, test, base = subject.model, subject.test, subject.base
    assert model is not None
    assert test is not None
    assert base is not None
    assert base.model is not None
    space = space_of(test)
    right = np.flatnonzero(model.predict(test.x) == test.y)
    chosen = np.sort(context.rng("rows").permutation(right)[:ROWS])
    if len(chosen) < FEWEST:
        raise Inconclusive(f"only {len(chosen)} test rows are decided rightly; {FEWEST} are needed")
    chosen = context.rng("order").permutation(chosen)
    chosen = spared(base.data, test, chosen)
    public, note = public_rows(base.data, test, chosen)
    module = Ranged(base.model.module, space.low, space.high).eval()
    shards: list[Trial] = []
    for start in range(0, len(chosen), SHARD):
        if shards and context.expired:
            break
        part = chosen[start : start + SHARD]
        shards.append(_attack(model, module, test, part, space, public, context))
        context.progress((start + len(part)) / len(chosen))
    trial = _joined(shards)
    notes = [note, f"{len(trial.rows)} of {len(right)} rightly decided test rows were attacked"]
    if "white box" not in trial.flips:
        notes.append("the tuned model gives no gradients, so that there is no white-box curve")
    exposures = _exposures(subject, context, trial)
    few = test.take(trial.rows[:SHARD])
    telling = EPSILONS[_telling(exposures[0].harm.values)]
    depths, told = by_depth(subject, module, few, space, public, telling, context)
    notes += told
    finding = _finding(exposures, trial, test, context)
    noisy = trial.flips["noise"][:, : len(few)]
    if context.expired:
        notes.append("requests to the model were not tried for lack of time")
    else:
        exposures += with_requests(subject, module, few, space, public, UNSEEN, context)
        exposures += alike(subject, few, space, public, noisy, context, notes)
    if context.expired:
        notes.append("the base was not tuned again on answers for lack of time")
    else:
        made, told_by = by_answers(subject, module, few, space, public, noisy, context)
        exposures.append(made)
        notes.append(told_by)
    patches, patched, told = with_one_patch(subject, module, few, space, public, context)
    exposures += patches
    notes += told
    if finding is not None and depths:
        finding = deepened(finding, depths)
    findings = tuple(f for f in (finding, patched) if f is not None)
    return Measurement(tuple(exposures), findings, tuple(notes))


def spared(data: Data | None, test: Data, chosen: NDArray[np.int64]) -> NDArray[np.int64]:
    """The rows to attack; a third less where the attacker would be left no rows of their own."""
    lacking = FEWEST - (len(test) - len(chosen))
    if _fits(data, test) or lacking <= 0:
        return chosen
    return chosen[: max(FEWEST, len(chosen) - max(lacking, len(chosen) // 3))]


def _fits(data: Data | None, test: Data) -> TypeGuard[Data]:
    """Whether the base's public data is of the same kind as the test rows."""
    return (
        data is not None and data.is_table == test.is_table and data.x.shape[1:] == test.x.shape[1:]
    )


def public_rows(data: Data | None, test: Data, chosen: NDArray[np.int64]) -> tuple[Any, str]:
    """Rows that mimicry aims at, and where they come from."""
    if _fits(data, test):
        return (data.x.iloc[:512] if data.is_table else data.x[:512]), (
            "mimicry aims at rows of the base's public data"
        )
    rest = np.setdiff1d(np.arange(len(test)), chosen)[:512]
    if len(rest) < FEWEST:
        return test.x[:512] if not test.is_table else test.x.iloc[:512], (
            "no public data of the base and too few test rows: the attacker's own rows are the "
            "test rows, those under attack among them"
        )
    return test.take(rest).x, "no public data of the base: mimicry aims at further test rows"


def _attack(
    model: Model,
    module: Any,
    test: Data,
    rows: NDArray[np.int64],
    space: Space,
    public: Any,
    context: Context,
) -> Trial:
    """Everything on one shard of rows."""
    part = test.take(rows)
    u, guides = space.into(part.x), space.into(public)
    flips: dict[str, NDArray[np.bool_]] = {}
    reach = (0.0, 0.0)

    def flipped(changed: NDArray[np.float32]) -> NDArray[np.bool_]:
        return np.asarray(model.predict(space.back(changed)) != part.y)

    # Going into [0, 1] and back may round a value over an edge: that is no attack.
    steady = ~flipped(u)
    for method in METHODS:
        found = []
        for epsilon in EPSILONS:
            seed = context.derive_seed(method, epsilon, int(rows[0]))
            changed = craft(module, u, epsilon, method, guides=guides, seed=seed)
            found.append(flipped(changed) & steady)
        flips[method] = np.array(found)
        if method == "displacement":
            noisy = noise(u, EPSILONS[-1], seed)
            reach = (moved(module, u, changed), moved(module, u, noisy))
    seeds = [context.derive_seed("noise", e, int(rows[0])) for e in EPSILONS]
    flips["noise"] = np.array(
        [flipped(noise(u, e, s)) & steady for e, s in zip(EPSILONS, seeds, strict=True)]
    )
    if model.module is not None:
        flips["white box"] = _white_box(model, u, part.y, space, context) & steady
    return Trial(rows, flips, reach)


def strongest(
    module: Any, model: Model, part: Data, space: Space, guides: NDArray[np.float32],
    noisy: NDArray[np.bool_], seed_of: Callable[[Method, float], int],
) -> tuple[Method, Trial, HealthTest]:  # fmt: skip
    """The method that flips most through a network in the base's place, beside noise.

    Parameters
    ----------
    module : torch.nn.Module
        What changes are made on, over rows in [0, 1].
    model : Model
        What is asked.
    part : Data
        Rows under attack.
    guides : ndarray, rows in [0, 1]
        The attacker's own.
    noisy : ndarray of bool, shape (epsilons, n)
        What noise flips of the same rows.
    seed_of : callable
        From a method and an epsilon.

    Returns
    -------
    Method, Trial, HealthTest
        The trial's series are "attack" and "noise"; the test holds one against the other.
    """
    u = space.into(part.x)
    steady = model.predict(space.back(u)) == part.y

    def flips(method: Method, epsilon: float) -> NDArray[np.bool_]:
        seed = seed_of(method, epsilon)
        changed = craft(module, u, epsilon, method, guides=guides, seed=seed)
        return np.asarray((model.predict(space.back(changed)) != part.y) & steady)

    tried = {m: np.array([flips(m, e) for e in EPSILONS]) for m in METHODS}
    best: Method = max(METHODS, key=lambda m: float(tried[m].mean()))
    trial = Trial(np.arange(len(u)), {"attack": tried[best], "noise": noisy}, (0.0, 0.0))
    return best, trial, _above_noise(tried[best].mean(axis=1), noisy.mean(axis=1))


def _above_noise(shares: NDArray[np.float64], by_noise: NDArray[np.float64]) -> HealthTest:
    return HealthTest(
        name="noise of the same size flips no more",
        ok=bool((by_noise <= shares + 0.05).all()),
        detail=f"{by_noise[-1]:.0%} against {shares[-1]:.0%} at the largest epsilon",
    )


def _white_box(
    model: Model, u: NDArray[np.float32], y: NDArray[Any], space: Space, context: Context
) -> NDArray[np.bool_]:
    """The tuned model attacked with its own gradients, (epsilons, n)."""
    from crenel.evasion.gradients.cascade import gradient_attack

    own = Ranged(model.module, space.low, space.high).eval()
    attack = gradient_attack(
        own, u, y, norm=math.inf, epsilons=EPSILONS, seed=context.derive_seed("white box")
    )
    return np.asarray(attack.broken & attack.correct)


def _joined(shards: list[Trial]) -> Trial:
    names = shards[0].flips
    return Trial(
        np.concatenate([s.rows for s in shards]),
        {name: np.concatenate([s.flips[name] for s in shards], axis=1) for name in names},
        (
            float(np.mean([s.reach[0] for s in shards])),
            float(np.mean([s.reach[1] for s in shards])),
        ),
    )


def _exposures(subject: Subject, context: Context, trial: Trial) -> list[Exposure]:
    """The strongest method first, then the other methods, white box and noise."""
    shares = {name: flips.mean(axis=1) for name, flips in trial.flips.items()}
    best: Method = max(METHODS, key=lambda m: float(shares[m].sum()))
    health = _health(shares, best, trial)
    by_base = access_of(subject, attacker=Attacker.BASE)
    made = [curve(best, "base only", "attack", trial, by_base, health, context)]
    for method in METHODS:
        if method != best:
            series = f"base only, {method}"
            made.append(curve(method, series, "reference", trial, by_base, health, context))
    if "white box" in trial.flips:
        gradients = access_of(subject, attacker=Attacker.GRADIENTS)
        made.append(curve("white box", "white box", "reference", trial, gradients, health, context))
    blind = access_of(subject, attacker=Attacker.NONE)
    made.append(curve("noise", "noise", "control", trial, blind, health, context))
    return made


def _health(shares: dict[str, NDArray[np.float64]], best: Method, trial: Trial) -> Health:
    noisy, base = shares["noise"], shares[best]
    tests = [
        _above_noise(base, noisy),
        HealthTest(
            name="the base's features move more than by noise",
            ok=trial.reach[0] > 1.5 * trial.reach[1],
            detail=f"{trial.reach[0]:.3g} against {trial.reach[1]:.3g}",
        ),
    ]
    if "white box" in shares:
        white = shares["white box"]
        tests += [
            HealthTest(
                name="white box is at least as strong",
                ok=bool((white >= base - 0.05).all()),
                detail=f"{white.mean():.0%} against {base.mean():.0%} on average",
            ),
            HealthTest(
                name="white box flips nearly all at the largest epsilon",
                ok=bool(white[-1] >= 0.9),
                detail=f"{white[-1]:.0%}",
            ),
        ]
    return Health.of(*tests)


def curve(
    name: str,
    series: str,
    role: Literal["attack", "reference", "control"],
    trial: Trial,
    access: Access,
    health: Health,
    context: Context,
    who: str = "",
) -> Exposure:
    """One curve over epsilons; ``who`` begins its headline, as "… flips"."""
    flips, n = trial.flips[name], len(trial.rows)
    points = [proportion(int(k), n) for k in flips.sum(axis=1)]
    at = _telling([p.value for p in points])
    words = f"{100 * points[at].value:.0f} % [{100 * points[at].low:.0f}, "
    words += f"{100 * points[at].high:.0f}]"
    known = {"attack": "the public base model alone flips", "control": "noise flips"}
    said = f"{who or known.get(role, f'{series} flips')} {words}"
    said += " of right decisions" if role == "attack" else ""
    noisy = trial.flips["noise"].mean(axis=1)
    return Exposure(
        check="TRA-102",
        risk="transfer",
        series=series,
        role=role,
        access=access,
        budget=Budget(
            name="L-inf epsilon", unit="of the value range", values=EPSILONS, scale="log"
        ),
        harm=Harm(
            name="right decisions flipped",
            values=tuple(p.value for p in points),
            low=tuple(p.low for p in points),
            high=tuple(p.high for p in points),
            # One number for the whole curve: what noise does at the smallest epsilon.
            baseline=float(noisy[0]),
        ),
        n=n,
        seed=context.seed,
        queries=n * len(EPSILONS),
        seconds=context.elapsed,
        health=health,
        headline=f"{said} at epsilon {255 * EPSILONS[at]:.0f}/255",
    )


def _telling(shares: Sequence[float]) -> int:
    """The smallest epsilon that flips half, or the largest where none does."""
    return next((i for i, share in enumerate(shares) if share >= 0.5), len(shares) - 1)


def _finding(
    exposures: list[Exposure], trial: Trial, test: Data, context: Context
) -> Finding | None:
    """The finding at the epsilon of the highest severity."""
    base, by_noise = exposures[0], exposures[-1]
    effects = [
        max(0.0, low - high) for low, high in zip(base.harm.low, by_noise.harm.values, strict=True)
    ]
    cheap = [min(1.0, UNSEEN / e) for e in EPSILONS]
    at = int(np.argmax([e * c for e, c in zip(effects, cheap, strict=True)]))
    level = severity(effects[at], base.access, cheap[at])
    if level is None:
        return None
    strongest = max(METHODS, key=lambda m: float(trial.flips[m].mean()))
    turned = trial.rows[trial.flips[strongest][at]]
    ids = test.names(turned)
    size = f"{255 * EPSILONS[at]:.0f}/255 of the value range"
    return Finding(
        check="TRA-102",
        risk="transfer",
        severity=level,
        subject="public base model",
        sentence=(
            f"Inputs made on the public base alone flip {100 * base.harm.values[at]:.0f} % of "
            f"right decisions with changes of {size}; noise of that size flips "
            f"{100 * by_noise.harm.values[at]:.0f} %."
        ),
        attack=(
            f"Download the base and change inputs until its features say something else "
            f"({strongest}); the tuned model need not be asked once."
        ),
        fix=(
            "Train all layers, against inputs made on the base (leave-base); a penalty for staying "
            "near its features alone does little. Then measure again."
        ),
        remedies=("leave-base",),
        evidence=Evidence(
            rows=ids[:50],
            values={"epsilon": EPSILONS[at], "method": strongest, "flipped": len(turned)},
        ),
        examples=tuple(Example(title=f"row {i}: flipped by a change of {size}") for i in ids[:3]),
        gain=max(0.0, base.harm.values[at] - by_noise.harm.values[at]),
    )

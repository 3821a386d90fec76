"""Membership inference with shadow models: which records was the model trained on?"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from crenel.access import Access, Attacker
from crenel.check import Context
from crenel.confidentiality.likelihood import likelihood_ratio, logit, pair_ratio
from crenel.confidentiality.memoriser import memoriser_auc
from crenel.confidentiality.roc import Point, curve, operating_point
from crenel.errors import NotApplicable, SubjectError
from crenel.exposure import Budget, Exposure, Harm, Health, HealthTest
from crenel.model import Model
from crenel.statistics import Interval, auc
from crenel.subject import Data, join_rows
from crenel.training.shadows import (
    THREAD_SAFE,
    Shadows,
    complementary_pairs,
    train_shadows,
    true_label,
)

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

Floats = NDArray[np.float64]
Score = Callable[[Floats, Floats, NDArray[np.bool_]], Floats]

CHECK = "CON-101"
#: Records of each side, at most, that the shadows are trained on and asked about.
MOST = 40_000
#: Pairs of shadows for pools up to this many records; beyond, and for networks, fewer.
PAIRS = ((4_000, 8), (20_000, 4), (10**9, 3))


def _likelihood(target: Floats, shadows: Floats, inside: NDArray[np.bool_]) -> Floats:
    return likelihood_ratio(logit(target), logit(shadows), inside)


#: The attacks by series name, each with the pairs of shadows that it needs at least.
ATTACKS: dict[str, tuple[Score, int]] = {
    "pair ratio": (pair_ratio, 1),
    "likelihood ratio": (_likelihood, 2),
}


@dataclass(frozen=True)
class Pool:
    """Candidate records: all members, then all non-members.

    Attributes
    ----------
    x : DataFrame or ndarray, n rows
    y : ndarray, shape (n,), int64
    ids : ndarray, shape (n,)
    member : ndarray, shape (n,), bool
    duplicates : int
        Non-members left out because the same row is a member.
    """

    x: Any
    y: NDArray[np.int64]
    ids: NDArray[Any]
    member: NDArray[np.bool_]
    duplicates: int


@dataclass(frozen=True)
class Audit:
    """What the attacks told of every candidate record.

    Attributes
    ----------
    pool : Pool
    p : ndarray, shape (n,)
        Probability that the audited model gives each record's own label.
    shadows : Shadows
    scores : dict of str to ndarray, shape (n,)
        By attack; higher: more like a member.
    best : str
        The attack that was stronger on the attacker's own shadow models.
    gap : float
        Accuracy of the audited model on members less that on non-members.
    health : Health
    """

    pool: Pool
    p: Floats
    shadows: Shadows
    scores: dict[str, Floats]
    best: str
    gap: float
    health: Health

    def sides(self, attack: str) -> tuple[Floats, Floats]:
        """Scores of the members and of the non-members."""
        scores = self.scores[attack]
        return scores[self.pool.member], scores[~self.pool.member]

    def area(self, attack: str) -> Interval:
        """Area under the ROC curve with DeLong's interval."""
        return auc(*self.sides(attack))

    def exposed(self, rate: float) -> NDArray[np.int64]:
        """Positions of the members identified at a false-alarm rate, most exposed first."""
        point = operating_point(*self.sides(self.best), rate)
        scores = np.where(self.pool.member, self.scores[self.best], -np.inf)
        order = np.argsort(-scores, kind="stable")
        kept: NDArray[np.int64] = order[scores[order] > point.threshold]
        return kept


def make_pool(members: Data, others: Data, rng: np.random.Generator) -> Pool:
    """Candidate records of both sides, at most `MOST` of each, without shared rows.

    Raises
    ------
    SubjectError
        With fewer than 20 records on a side.
    """
    members, others = _sample(members, rng), _sample(others, rng)
    # Digested as one table: a column may be of whole numbers on one side and not on the other.
    digests = _digests(join_rows([members.x, others.x]))
    shared = np.isin(digests[len(members) :], digests[: len(members)])
    kept = others.take(~shared)
    if min(len(members), len(kept)) < 20:
        raise SubjectError(
            f"{len(members)} members and {len(kept)} other non-members are too few to tell apart; "
            "give at least 20 of each"
        )
    return Pool(
        x=join_rows([members.x, kept.x]),
        y=np.concatenate([members.y, kept.y]).astype(np.int64),
        ids=np.concatenate([members.ids, kept.ids]),
        member=np.repeat([True, False], [len(members), len(kept)]),
        duplicates=int(shared.sum()),
    )


def audit(model: Model, pool: Pool, context: Context, pairs: int | None = None) -> Audit:
    """Attack a model's membership with shadows of its own training.

    Parameters
    ----------
    model : Model
        With scores and ``fit``.
    pool : Pool
    context : Context
    pairs : int, optional
        Pairs of shadows at most; by the size of the pool where absent.
    """
    if model.fit is None:
        raise NotApplicable("the model cannot be trained again (no fit given)")
    pairs = pairs or _pairs(model, len(pool.y))
    inside = complementary_pairs(pool.y, pairs, context.rng("halves"))
    p, correct = true_label(model, pool.x, pool.y)
    threads = model.framework in THREAD_SAFE
    shadows = train_shadows(model.fit, pool.x, pool.y, inside, context, threads)
    scores = {
        name: score(p, shadows.p, shadows.inside)
        for name, (score, least) in ATTACKS.items()
        if len(shadows) >= 2 * least
    }
    gap = float(correct[pool.member].mean() - correct[~pool.member].mean())
    best, placebo = rehearse(shadows, pool.member)
    tests = (
        _same_gap(gap, shadows, pool.member, correct),
        *_placebo_test(placebo),
        _memoriser_test(pool, context),
    )
    return Audit(pool, p, shadows, scores, best, gap, Health.of(*tests))


def rehearse(shadows: Shadows, train: NDArray[np.bool_]) -> tuple[str, Interval | None]:
    """Choose the stronger attack on the attacker's own shadows, and try it as a placebo.

    Each shadow of the first pair plays the audited model, the other pairs attack it. Its
    membership is known to the attacker, so the choice looks at nothing of the audited model. Its
    membership is also independent of the user's split: the attack must not tell the user's train
    rows from test rows by it, unless they differ for other reasons than membership.

    Parameters
    ----------
    shadows : Shadows
    train : ndarray, shape (n,), bool
        The user's split.

    Returns
    -------
    tuple of str and Interval or None
        Name of the attack, and the placebo's AUC; None where one pair is all there is.
    """
    if len(shadows) < 4:
        return "pair ratio", None
    rest = shadows.take(np.arange(2, len(shadows)))
    power: dict[str, float] = {}
    placebo: dict[str, Interval] = {}
    for name, (score, least) in ATTACKS.items():
        if len(rest) < 2 * least:
            continue
        powers = []
        for k in (0, 1):
            found = score(shadows.p[k], rest.p, rest.inside)
            own = shadows.inside[k]
            rate = max(0.01, 5 / int((~own).sum()))
            powers.append(operating_point(found[own], found[~own], rate).identified.value)
            if k == 0:
                placebo[name] = auc(found[train], found[~train])
        power[name] = float(np.mean(powers))
    best = max(power, key=lambda name: power[name])
    return best, placebo[best]


def _pairs(model: Model, n: int) -> int:
    most = next(pairs for size, pairs in PAIRS if n <= size)
    return min(most, 2) if model.module is not None else most


def _sample(data: Data, rng: np.random.Generator) -> Data:
    if len(data) <= MOST:
        return data
    return data.take(np.sort(rng.choice(len(data), MOST, replace=False)))


def _digests(x: Any) -> NDArray[np.uint64]:
    """A 64-bit digest of each row; equal rows have equal digests."""
    import pandas as pd

    if hasattr(x, "iloc"):
        frame = x
    else:
        flat = np.asarray(x).reshape(len(x), -1)
        frame = pd.DataFrame({"row": [row.tobytes().hex() for row in flat]})
    digests: NDArray[np.uint64] = pd.util.hash_pandas_object(frame, index=False).to_numpy()
    return digests


def _same_gap(
    gap: float, shadows: Shadows, member: NDArray[np.bool_], correct: NDArray[np.bool_]
) -> HealthTest:
    """Shadows trained as the model was show its train-test gap in accuracy."""
    own = [float(c[i].mean() - c[~i].mean()) for c, i in zip(shadows.correct, shadows.inside)]
    mean = float(np.mean(own))
    p = float(np.clip(correct[~member].mean(), 0.02, 0.98))
    noise = 2 * float(np.sqrt(p * (1 - p) * (1 / member.sum() + 1 / (~member).sum())))
    return HealthTest(
        name="shadows show the model's own train-test gap",
        ok=abs(mean - gap) <= max(0.05, 0.5 * abs(gap)) + noise,
        detail=f"accuracy gap {100 * gap:.1f} points, shadows {100 * mean:.1f} points",
    )


def _placebo_test(placebo: Interval | None) -> tuple[HealthTest, ...]:
    """The user's train and test rows differ by membership alone."""
    if placebo is None:
        return ()
    return (
        HealthTest(
            name="train and test rows look alike to a model that saw half of both",
            ok=placebo.low <= 0.52 and placebo.high >= 0.48,
            detail=f"AUC {placebo.value:.3f} [{placebo.low:.3f}, {placebo.high:.3f}]",
        ),
    )


def _memoriser_test(pool: Pool, context: Context) -> HealthTest:
    """The same pipeline recognises the members of a model that knows its records by heart."""
    found = memoriser_auc(pool.x, context.rng("memoriser"), pair_ratio)
    return HealthTest(
        name="the attack recognises the members of a memorising forest",
        ok=found.low > 0.8,
        detail=f"AUC {found.value:.3f} [{found.low:.3f}, {found.high:.3f}]",
    )


def exposure_of(found: Audit, attack: str, access: Access, context: Context) -> Exposure:
    """The ROC curve of one attack as an exposure: tolerated false alarms buy identified members."""
    members, others = found.sides(attack)
    points = curve(members, others)
    return Exposure(
        check=CHECK,
        risk="confidentiality",
        series=attack,
        role="attack" if attack == found.best else "reference",
        access=access.model_copy(update={"attacker": Attacker.SCORES}),
        budget=Budget(
            name="tolerated false alarms",
            unit="share of non-members",
            values=tuple(p.rate for p in points),
            scale="log",
        ),
        harm=Harm(
            name="training records identified",
            values=tuple(p.identified.value for p in points),
            low=tuple(p.identified.low for p in points),
            high=tuple(p.identified.high for p in points),
            baseline=points[0].rate,
        ),
        n=len(members),
        seed=context.seed,
        queries=len(found.pool.y),
        seconds=context.elapsed,
        health=found.health,
        headline=headline(reference_points(members, others)[0], found.area(attack)),
    )


def reference_points(members: Floats, others: Floats) -> list[Point]:
    """The points at 0.1 % and 1 % false alarms that these non-members can measure, or at 1 / n."""
    measurable = [r for r in (0.001, 0.01) if r * len(others) >= 1 - 1e-9]
    return [operating_point(members, others, r) for r in measurable or [1 / len(others)]]


def headline(point: Point, area: Interval) -> str:
    """One sentence in the attacker's terms."""
    share = point.identified
    return (
        f"{_percent(share.value)} % [{_percent(share.low)}, {_percent(share.high)}] of training "
        f"records identified at {_percent(point.rate)} % false alarms "
        f"(AUC {area.value:.3f} [{area.low:.3f}, {area.high:.3f}])"
    )


def _percent(share: float) -> str:
    return f"{100 * share:.2g}" if share < 0.1 else f"{100 * share:.0f}"


def membership(
    model: Any,
    members: Data | tuple[Any, ArrayLike],
    non_members: Data | tuple[Any, ArrayLike],
    fit: Callable[[Any, Any, int], Any] | None = None,
    seed: int = 0,
    shadows: int | None = None,
    deadline: float | None = None,
) -> Exposure:
    """Measure how many training records an attacker recognises by the model's scores.

    Shadow models are trained on random halves of all candidate records and on their complements;
    each record's score compares the audited model with the shadows that saw the record and with
    those that did not (RMIA, Zarifzadeh et al., 2024; LiRA, Carlini et al., 2022, with variances
    shrunk over records). The attack that does better on the shadows themselves is reported.

    Parameters
    ----------
    model : Model or object
        Anything `crenel.adapters.wrap` takes, that gives scores.
    members, non_members : Data or tuple (x, y)
        Records that the model was, and was not, trained on; ``x`` a frame or array of n rows,
        ``y`` the user's own labels (class indices in a `Data`). At least 20 of each.
    fit : callable, optional
        ``fit(x, y, seed) -> model`` with the user's own labels; needed where the model cannot be
        cloned.
    seed : int
    shadows : int, optional
        Number of shadow models at most, at least 2; by the number of records where absent.
    deadline : float, optional
        Seconds that this may take; at least one pair of shadows is trained.

    Returns
    -------
    Exposure
        Budget: tolerated share of non-members taken for members, from 1 / n. Harm: share of
        members identified, with Clopper-Pearson intervals.

    Raises
    ------
    NotApplicable
        Where the model gives no scores, or cannot be trained again.
    SubjectError
        With too few records.
    """
    from crenel.adapters import wrap

    victim = wrap(model, fit=fit) if fit is not None else wrap(model)
    limit = None if deadline is None else time.monotonic() + deadline
    context = Context(check=CHECK, seed=seed, deadline=limit)
    pool = make_pool(_data(members, victim), _data(non_members, victim), context.rng("pool"))
    pairs = None if shadows is None else max(1, shadows // 2)
    found = audit(victim, pool, context, pairs)
    return exposure_of(found, found.best, Access(), context)


def _data(given: Data | tuple[Any, ArrayLike], model: Model) -> Data:
    """Records as `Data`, labels as class indices."""
    if isinstance(given, Data):
        return given
    x, labels = given[0], np.asarray(given[1])
    order = {label: i for i, label in enumerate(model.classes.tolist())}
    unknown = sorted({str(v) for v in labels.tolist() if v not in order})
    if unknown:
        raise SubjectError(
            f"label {unknown[0]} is not one of the model's classes; give the labels it was "
            "trained with"
        )
    y = np.array([order[v] for v in labels.tolist()], dtype=np.int64)
    rows = x if hasattr(x, "iloc") else np.asarray(x)
    return Data(x=rows, y=y, ids=np.arange(len(y)))

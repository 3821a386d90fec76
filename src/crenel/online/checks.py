"""The measurement of risk 3: what it takes to nudge a model that keeps learning."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from crenel.access import Attacker
from crenel.check import Context, Controls, Cost, Measurement, Risk, access_of, check
from crenel.errors import Inconclusive
from crenel.online.controls import sound_learner, weak_learner
from crenel.subject import Subject

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from crenel.exposure import Budget, Exposure, Health
    from crenel.finding import Finding
    from crenel.online.brittle import Broken
    from crenel.online.learners import Prequential, Snapshot
    from crenel.online.scene import Behaviour, Scene
    from crenel.online.takes import Honest, Turning

_BEHAVIOURS, _FEWEST = 12, 4
#: The axis of bursts goes at least this far.
_ALWAYS = 1_024
#: Draws of randomly flipped labels, and those that are made even where the time is over.
_FLIPS, _FEWEST_FLIPS = 5, 3


@dataclass(frozen=True)
class Setting:
    """All that the parts of the measurement share."""

    subject: Subject
    context: Context
    scene: Scene
    start: Snapshot
    learned: Prequential
    behaviours: tuple[Behaviour, ...]


@check(
    "ONL-101",
    risk=Risk.ONLINE,
    title="What it takes",
    question="How many samples, and what share of the stream, turn a decision of the learner?",
    needs=("learner",),
    cost=Cost(seconds=6.0, least=0.2),
    references=(
        "AML.T0031", "AML.T0020", "AML.T0046", "NISTAML.013", "NISTAML.024", "ML08:2023",
        "AIA:15(4)", "BIML:alg:1",
    ),
    controls=Controls(weak=weak_learner, sound=sound_learner),
)  # fmt: skip
def what_it_takes(subject: Subject, context: Context) -> Measurement:
    """How many poisoned samples turn chosen decisions of a learner, in a burst or as a share.

    The learner learns the honest first 60 % of the stream (its latest 3,000 rows), each batch
    decided before it is learned. From that state, always on copies, an attacker who supplies
    samples goes for up to twelve behaviours: the protected ones, the largest group of rows, and
    random later rows that are decided rightly. A behaviour is turned when at least half of its
    right decisions are wrong.

    *Burst.* The smallest number of samples in a row that turns each behaviour, up to 4,096, by
    doubling and bisection: wrongly labelled copies of the rows, or near copies whose every value
    is one of honest samples. Reference curves: an attacker who also sees scores and picks the
    strongest of sixteen samples (greedy), and the share still turned after honest samples follow.

    *Share of the stream.* The smallest share, of 0.5 to 30 %, that leaves the behaviour turned
    at the end of 400 honest samples with the poison strewn evenly into them. The critical share
    is the smallest whose low end of harm is above a half; with the honest traffic of a day it
    gives samples a day.

    *Random flips.* The share of right decisions on held-out rows lost to randomly flipped labels,
    over three to five draws of the flips, whose spread is part of the interval.

    *Broken samples.* One sample whose numbers are NaN, infinite or 1e9: what it destroys.

    The control feeds honest samples in the place of the poison and must turn next to nothing.

    Health: the largest burst, or nine tenths of the stream, turns nearly all; twice the smallest
    burst still turns; the control stays below half of the attack. A learner that is no better
    than the most frequent label makes the check inconclusive.

    Severity: effect (low end of harm above the control) × ease (supplies data: 0.8) × cheapness:
    10 / samples for a burst and 0.05 / share for a share, at most 1; a broken sample costs
    nothing.

    Limits: the smallest burst is exact only where more poison never helps the defender; batch
    learners are fed in batches of 16; near copies mix values of near rows and may break rules
    between columns.

    References: Nelson et al. (2008); Wang and Chaudhuri (2018, arXiv 1808.08994); Zhang, Zhu and
    Lessard (2020); Gama et al. (2013) for test-then-train evaluation.
    """
    setting, notes = _prepare(subject, context)
    turnings = _bursts(setting, _until(context, 0.5))
    bursts = _burst_exposures(setting, turnings)
    honest = _honest(setting, turnings)
    shares = _share_exposures(setting, turnings, honest, _until(context, 0.6))
    flips = _flip_exposures(setting, honest)
    broken = _broken(setting)
    headline = f"{bursts[0].headline}; {shares[0].headline}"
    bursts[0] = bursts[0].model_copy(update={"headline": headline})
    from crenel.online.findings import findings_of

    found: list[Finding] = findings_of(setting, turnings, bursts[0], shares[0], flips[0], broken)
    context.progress(1.0)
    notes += _burst_notes(setting, turnings)
    return Measurement((*bursts, *shares, *flips), tuple(found), tuple(notes))


def _prepare(subject: Subject, context: Context) -> tuple[Setting, list[str]]:
    """Learn the honest past and choose what is attacked."""
    from crenel.online.learners import Snapshot, fresh, kind_of, prequential, take
    from crenel.online.scene import behaviours, scene_of

    learning = subject.learning
    assert learning is not None  # needs=("learner",)
    scene = scene_of(learning, kind_of(learning.learner()))
    live = fresh(learning.learner, scene.k, context.derive_seed("learner"))
    learned = prequential(live, take(scene.rows, scene.past), scene.y[scene.past])
    notes = [
        f"test-then-train accuracy {learned.accuracy:.3f} over {learned.n} honest rows; repeating "
        f"the last label {learned.no_change:.3f}; the most frequent label {learned.majority:.3f}"
    ]
    if learned.accuracy <= learned.majority:
        raise Inconclusive(
            f"the learner does not learn this stream: accuracy {learned.accuracy:.3f}, the most "
            f"frequent label alone {learned.majority:.3f}"
        )
    if learned.accuracy <= learned.no_change:
        notes.append("repeating the last label is at least as accurate as this learner")
    start = Snapshot.of(live)
    rng = context.rng("behaviours")
    chosen = behaviours(scene, start.restore(), rng, max(_BEHAVIOURS, len(scene.protected)))
    if len(chosen) < _FEWEST:
        raise Inconclusive(
            f"only {len(chosen)} later decisions of the learner are right; {_FEWEST} are needed"
        )
    kept = {b.name for b in chosen}
    notes += [
        f"{name} is not decided rightly after the honest samples, so it was not attacked"
        for name, _ in scene.protected
        if name.replace(":", " ", 1) not in kept
    ]
    return Setting(subject, context, scene, start, learned, tuple(chosen)), notes


def _until(context: Context, part: float) -> Callable[[], bool]:
    """Whether a part of the time that is left now has passed; never without a deadline."""
    stop = context.elapsed + part * context.time_left()
    return lambda: context.elapsed > stop


def _bursts(s: Setting, expired: Callable[[], bool]) -> list[Turning]:
    """Bursts at the behaviours in turn; one cut short by the time is left out, save the first."""
    from crenel.online.takes import MOST, burst_at

    done: list[Turning] = []
    for i, b in enumerate(s.behaviours):
        if done and expired():
            break
        turning = burst_at(s.start, s.scene, b, s.context.rng, expired)
        if not done or turning.burst.count is not None or turning.burst.fed >= MOST:
            done.append(turning)
        s.context.progress(0.5 * (i + 1) / len(s.behaviours))
    return done


def _burst_exposures(s: Setting, turnings: list[Turning]) -> list[Exposure]:
    """The burst curve, then its control, the greedy attacker's and the healing."""
    from crenel.exposure import Budget
    from crenel.online.curves import exposure, harm_of, percent, share_below
    from crenel.online.takes import honest_burst

    counts, n = [t.burst.count for t in turnings], len(turnings)
    budgets = _burst_axis(turnings)
    chosen = [t.behaviour for t in turnings]
    turned = honest_burst(s.start, s.scene, chosen, budgets, s.context.rng("honest burst"))
    controls, reached = turned.sum(axis=1), share_below(counts, budgets)
    half = _at_half(reached / n)
    budget = Budget(name="samples in a burst", unit="samples", values=budgets, scale="log")
    health = _burst_health(turnings, budgets, reached, controls)
    access, run = access_of(s.subject, attacker=Attacker.DATA), _run(s)
    harm = harm_of("chosen decisions turned", reached, n, float(controls.max()) / n)
    words = percent(harm.values[half], harm.low[half], harm.high[half])
    at_most = "" if reached[half] * 2 >= n else "only "
    headline = (
        f"a burst of {_samples(budgets[half])} turns {at_most}{words} of the chosen decisions"
    )
    made = [exposure("burst", budget, harm, n, health, headline, access, **run)]
    control = harm_of("chosen decisions turned", controls, n)
    words = percent(control.values[half], control.low[half], control.high[half])
    made.append(
        exposure(
            "burst", budget, control, n, health,
            f"as many honest samples turn {words}", access, "control", **run,
        )
    )  # fmt: skip
    return made + _greedy(s, turnings, budget, health) + _healing(s, turnings, health)


def _burst_axis(turnings: list[Turning]) -> tuple[int, ...]:
    """Doubling budgets with the smallest bursts among them, so that the curve loses nothing."""
    from crenel.online.takes import MOST

    counts = [t.burst.count for t in turnings]
    most = max(count or t.burst.fed for count, t in zip(counts, turnings, strict=True))
    cut = counts[0] is None and turnings[0].burst.fed < MOST
    doubling = [2**i for i in range(13) if 2**i <= (most if cut else max(_ALWAYS, most))]
    return tuple(sorted({*doubling, most, *(c for c in counts if c is not None)}))


def _burst_health(
    turnings: list[Turning], budgets: tuple[int, ...], reached: Any, controls: Any
) -> Health:
    """Whether the bursts worked: at the largest, when doubled, and against honest samples."""
    from crenel.exposure import Health, HealthTest

    n, half = len(turnings), _at_half(reached / len(turnings))
    doubled = [t.doubled for t in turnings if t.doubled is not None]
    return Health.of(
        HealthTest(
            name="the largest burst turns nearly all",
            ok=bool(reached[-1] >= 0.9 * n),
            detail=f"{reached[-1]} of {n} at {budgets[-1]:,} samples",
        ),
        HealthTest(
            name="twice the smallest burst still turns",
            ok=bool(doubled) and sum(doubled) >= 0.8 * len(doubled),
            detail=f"{sum(doubled)} of {len(doubled)}",
        ),
        HealthTest(
            name="honest samples in the place of poison turn few",
            ok=bool(controls[half] <= reached[half] / 2),
            detail=f"{controls[half]} of {n} against {reached[half]}, {budgets[half]:,} samples",
        ),
    )


def _greedy(s: Setting, turnings: list[Turning], budget: Budget, health: Health) -> list[Exposure]:
    """The reference of an attacker who also sees scores; none where the learner gives none."""
    from crenel.online.curves import exposure, harm_of, percent, share_below

    seeing, n = [t.seeing for t in turnings], len(turnings)
    if all(x is None for x in seeing):
        return []
    harm = harm_of("chosen decisions turned", share_below(seeing, budget.values), n)
    at = _at_half(harm.values)
    words = percent(harm.values[at], harm.low[at], harm.high[at])
    headline = f"an attacker who also sees scores turns {words} with {_samples(budget.values[at])}"
    access = access_of(s.subject, attacker=Attacker.SCORES)
    name = "burst, seeing scores"
    return [exposure(name, budget, harm, n, health, headline, access, "reference", **_run(s))]


def _healing(s: Setting, turnings: list[Turning], health: Health) -> list[Exposure]:
    """The reference of what stays turned in honest traffic; none where nothing was turned."""
    import numpy as np

    from crenel.exposure import Budget
    from crenel.online.curves import exposure, harm_of, percent
    from crenel.online.takes import HEAL_MARKS

    still = np.array([t.still for t in turnings if t.still is not None])
    if not len(still):
        return []
    n = len(still)
    harm = harm_of("turned decisions that stay turned", still.sum(axis=0), n)
    words = percent(harm.values[-1], harm.low[-1], harm.high[-1])
    headline = f"{words} stay turned after {HEAL_MARKS[-1]} honest samples"
    # The axis begins at 0, which a logarithmic one has not.
    marks = Budget(name="honest samples after the burst", unit="samples", values=tuple(HEAL_MARKS))
    access = access_of(s.subject, attacker=Attacker.DATA)
    return [exposure("healing", marks, harm, n, health, headline, access, "reference", **_run(s))]


def _samples(count: float) -> str:
    """A number of samples in words."""
    return f"{count:,.0f} sample{'' if count == 1 else 's'}"


def _at_half(harm: Any) -> int:
    """First budget that turns half; the last where none does."""
    import numpy as np

    reached = np.flatnonzero(np.asarray(harm) >= 0.5)
    return int(reached[0]) if len(reached) else len(harm) - 1


def _run(s: Setting) -> dict[str, Any]:
    return {"seed": s.context.seed, "seconds": s.context.elapsed}


def _honest(s: Setting, turnings: list[Turning]) -> Honest:
    """The controls of the shares."""
    from crenel.online.takes import SHARES, honest_shares

    chosen = [t.behaviour for t in turnings]
    return honest_shares(s.start, s.scene, chosen, SHARES, s.context.rng)


def _share_exposures(
    s: Setting, turnings: list[Turning], honest: Honest, expired: Callable[[], bool]
) -> list[Exposure]:
    """The share-of-the-stream curve and its control."""
    from crenel.exposure import Budget, Health, HealthTest
    from crenel.online.curves import exposure, harm_of, percent, share_below, share_name
    from crenel.online.takes import HORIZON, NEARLY_ALL, SHARES, share_at

    least: list[float | None] = []
    for i, turning in enumerate(turnings):
        if least and expired():
            break
        least.append(share_at(s.start, s.scene, turning, s.context.rng))
        s.context.progress(0.5 + 0.4 * (i + 1) / len(turnings))
    n, done = len(least), turnings[: len(least)]
    controls = honest.turned[:, :n].sum(axis=1)
    reached = share_below(least, SHARES)
    held = [t for t, p in zip(done, least, strict=True) if p is None][-2:]
    last = [share_at(s.start, s.scene, t, s.context.rng, (NEARLY_ALL,)) is not None for t in held]
    harm = harm_of("chosen decisions turned at the end", reached, n, float(controls.max()) / n)
    health = Health.of(
        HealthTest(
            name="nine tenths of the stream turn what less did not",
            ok=all(last),
            detail=f"{sum(last)} of {len(last)} tried",
        ),
        HealthTest(
            name="honest samples in the place of poison turn few",
            ok=bool(controls[-1] <= reached[-1] / 2),
            detail=f"{controls[-1]} of {n} against {reached[-1]}, at {share_name(SHARES[-1])}",
        ),
    )
    budget = Budget(name="share of the stream", unit="share", values=SHARES, scale="log")
    access, run = access_of(s.subject, attacker=Attacker.DATA), _run(s)
    length = min(HORIZON, len(s.scene.traffic))
    made = [exposure("share of the stream", budget, harm, n, health, "", access, **run)]
    at = critical(made[0])
    where = len(SHARES) - 1 if at is None else at
    words = percent(harm.values[where], harm.low[where], harm.high[where])
    start = "even at" if at is None else "at"
    headline = (
        f"{start} {share_name(SHARES[where])} of the stream {words} are turned after {length} "
        f"honest samples{_daily(s, SHARES[where]) if at is not None else ''}"
    )
    control = harm_of("chosen decisions turned at the end", controls, n)
    words = percent(control.values[-1], control.low[-1], control.high[-1])
    as_many = f"as many honest samples as {share_name(SHARES[-1])} of the stream turn {words}"
    made[0] = made[0].model_copy(update={"headline": headline})
    made.append(
        exposure(
            "share of the stream", budget, control, n, health, as_many, access, "control", **run
        )
    )
    return made


def critical(of: Exposure) -> int | None:
    """Position of the smallest share whose low end of harm is above a half; None where none is."""
    return next((i for i, low in enumerate(of.harm.low) if low > 0.5), None)


def _daily(s: Setting, share: float) -> str:
    """The share as samples a day, where the traffic is known."""
    import math

    learning = s.subject.learning
    if learning is None or learning.samples_per_day is None:
        return ""
    return f", {math.ceil(share / (1 - share) * learning.samples_per_day):,} samples a day"


def _flip_exposures(s: Setting, honest: Honest) -> list[Exposure]:
    """The curve of randomly flipped labels and its control."""
    import numpy as np

    from crenel.exposure import Budget, Health, HealthTest
    from crenel.online.curves import exposure, harm_of, harm_of_draws, percent, share_name
    from crenel.online.takes import NEARLY_ALL, SHARES, flipped_shares

    right = honest.before
    n = int(right.sum())
    if not n:
        raise Inconclusive("after the honest samples the learner decides no held-out row rightly")
    most = flipped_shares(s.start, s.scene, (NEARLY_ALL,), s.context.rng)[0]
    destroyed = int((right & ~most).sum())
    draws: list[NDArray[np.bool_]] = []
    for repeat in range(_FLIPS):
        if repeat >= _FEWEST_FLIPS and s.context.expired:
            break
        draws.append(~flipped_shares(s.start, s.scene, SHARES, s.context.rng, repeat)[:, right])
    controls = (right & ~honest.right).sum(axis=1)
    name = "right decisions lost"
    harm = harm_of_draws(name, np.array(draws), float(controls.max()) / n)
    health = Health.of(
        HealthTest(
            name="nine tenths of flipped labels destroy the learner",
            ok=destroyed > 0.25 * n,
            detail=f"{destroyed} of {n} right decisions lost",
        ),
        HealthTest(
            name="as many honest samples lose few",
            ok=bool(controls.max() <= 0.1 * n),
            detail=f"{controls.max()} of {n}",
        ),
    )
    budget = Budget(name="share of the stream", unit="share", values=SHARES, scale="log")
    access, run, at = access_of(s.subject, attacker=Attacker.DATA), _run(s), len(SHARES) - 1
    words = percent(harm.values[at], harm.low[at], harm.high[at])
    headline = f"{share_name(SHARES[at])} randomly flipped labels lose {words} of right decisions"
    control = harm_of(name, controls, n)
    words = percent(control.values[at], control.low[at], control.high[at])
    return [
        exposure("random flips", budget, harm, n, health, headline, access, **run),
        exposure(
            "random flips", budget, control, n, health,
            f"as many honest samples lose {words}", access, "control", **run,
        ),
    ]  # fmt: skip


def _broken(s: Setting) -> list[Broken]:
    """What one broken sample of each kind does."""
    from crenel.online.brittle import BROKEN, feed_broken

    fed = [feed_broken(s.start, s.scene, value, 50) for value in BROKEN]
    return [broken for broken in fed if broken is not None]


def _burst_notes(s: Setting, turnings: list[Turning]) -> list[str]:
    """What was left out, and how the bursts were made."""
    notes = []
    near = sum(t.attack == "near copies" for t in turnings)
    notes.append(f"near copies were stronger than exact copies for {near} of {len(turnings)}")
    if len(turnings) < len(s.behaviours):
        left = len(s.behaviours) - len(turnings)
        notes.append(f"{left} further behaviours were left out for lack of time")
    rate = s.subject.access.samples_per_day
    counts = sorted(t.burst.count for t in turnings if t.burst.count is not None)
    if rate and counts:
        days = counts[len(counts) // 2] / rate
        notes.append(f"at {rate:,} samples a day the middle burst takes {days:.2g} days")
    return notes

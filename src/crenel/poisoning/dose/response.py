"""Dose-response: how much harm so many poisoned training rows do, by training again."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from crenel.check import Context
from crenel.model import Model
from crenel.statistics import Interval, derive_seed, over_repeats, repeated_proportion
from crenel.subject import Data
from crenel.training.threads import side_by_side

#: Half-width of a 95 % normal interval in standard deviations.
Z = 1.959964
#: Different scores by which two models that agree on all are known for one.
TELLING = 50


@dataclass(frozen=True)
class Attack:
    """One way to poison.

    Attributes
    ----------
    name : str
    order : callable
        From a generator to row numbers of the training data, the first poisoned first.
    poison : callable
        From training data and row numbers to the poisoned training data.
    harmed : callable
        From a model to a mask (m,) over held-out rows: those that it decides as the attacker
        wants.
    shown : rows or None
        The held-out rows behind the mask, m of them; needed where decisions are certified.
    relative : bool
        Whether the harm is what the poison adds to the clean model's mask (errors), or the
        mask's own share, the clean model's being the baseline (a trigger).
    changes : int
        Training rows that one poisoned row deletes or inserts: 1 for a label turned, 2 where
        what the row says is changed.
    """

    name: str
    order: Callable[[np.random.Generator], NDArray[np.int64]]
    poison: Callable[[Data, NDArray[np.int64]], Data]
    harmed: Callable[[Model], NDArray[np.bool_]]
    shown: Any = None
    relative: bool = True
    changes: int = 1


@dataclass(frozen=True)
class Point:
    """Harm of one dose.

    Attributes
    ----------
    count : int
        Rows poisoned.
    harm : Interval
        Over held-out rows and repetitions.
    repeats : int
    possible : Interval or None
        Harm that no rows at all of this number can exceed, by the certificates of the clean
        models; None where there are none.
    broken : int
        Certified decisions that the poison turned all the same: 0, or the proof is wrong.
    each : tuple of float
        Harm of each repetition.
    """

    count: int
    harm: Interval
    repeats: int
    possible: Interval | None = None
    broken: int = 0
    each: tuple[float, ...] = ()


@dataclass(frozen=True)
class Response:
    """The dose-response of one attack.

    Attributes
    ----------
    attack : Attack
    points : tuple of Point
        By ascending count.
    baseline : float
        Share of held-out rows that the clean model decides as the attacker wants, for an attack
        that is not relative; else 0.
    unlimited : Interval or None
        Harm with nine tenths of the rows poisoned that can be; None where time did not allow it.
    rows : int
        Held-out rows behind each point.
    fits : int
    """

    attack: Attack
    points: tuple[Point, ...]
    baseline: float
    unlimited: Interval | None
    rows: int
    fits: int


@dataclass(frozen=True)
class Task:
    """One training: an attack by its position (-1 for none), a dose, a repetition."""

    attack: int
    count: int
    repeat: int


@dataclass(frozen=True)
class Repetitions:
    """Trainings of one kind of model on the same rows without poison, which attacks are held to.

    Attributes
    ----------
    seed : int
        Of the first; those of the others follow from it.
    clean : dict of int to Model
        Those trained so far, by repetition.
    """

    seed: int
    clean: dict[int, Model] = field(default_factory=dict)

    def seed_of(self, repeat: int) -> int:
        """Of every training of a repetition, with poison and without."""
        return derive_seed(self.seed, "repeat", repeat) if repeat else self.seed

    def ignore_their_seed(self, rows: Any) -> bool:
        """Whether the first two came to one model: its scores are the same, bit by bit.

        Parameters
        ----------
        rows : rows
            Held out: trees without limit agree on all that they were trained on. Models without
            scores, or of few of them, may agree by chance.
        """
        first, second = self.clean.get(0), self.clean.get(1)
        if first is None or second is None or first.score is None or second.score is None:
            return False
        p = first.probabilities(rows)
        same = np.array_equal(p, second.probabilities(rows))
        return same and len(np.unique(p)) >= TELLING


@dataclass
class _Outcomes:
    """Masks by task, as they come in."""

    clean: dict[tuple[int, int], NDArray[np.bool_]] = field(default_factory=dict)
    certified: dict[tuple[int, int], NDArray[np.int64]] = field(default_factory=dict)
    poisoned: dict[Task, NDArray[np.bool_]] = field(default_factory=dict)
    repeated: set[Task] = field(default_factory=set)


def dose_response(
    model: Model,
    train: Data,
    attacks: Sequence[Attack],
    counts: Sequence[Sequence[int]],
    repeats: int,
    context: Context,
    repetitions: Repetitions | None = None,
    unlimited: bool = True,
) -> list[Response]:
    """Train on poisoned copies of the data and measure what that does.

    Within one repetition larger doses contain smaller ones, and the clean and the poisoned
    training share their seed, so that their difference is the poison's. Where trainings ignore the
    seed, which the first two without poison tell, none is done twice on the same rows.

    Parameters
    ----------
    model : Model
        With ``fit``.
    train : Data
    attacks : sequence of Attack
    counts : sequence of sequence of int
        Doses of each attack, in order of importance.
    repeats : int
        Times that all is done with fresh seeds.
    context : Context
        Its deadline cuts repetitions first, then doses.
    repetitions : Repetitions or None
        Of these rows, where some were trained without poison before; those still lacking are added.
    unlimited : bool
        Whether nine tenths of the rows are poisoned, too.

    Returns
    -------
    list of Response
        One for each attack that has at least one point.
    """
    outcomes = _Outcomes()
    tasks = _in_order(attacks, counts, repeats, len(train) if unlimited else 0)
    repetitions = repetitions or Repetitions(context.derive_seed("repeat"))

    def run(task: Task) -> tuple[list[NDArray[np.bool_]], list[NDArray[np.int64] | None]]:
        fitted = _fit(model, train, attacks, task, context, repetitions)
        if task.attack >= 0:
            return [attacks[task.attack].harmed(fitted)], []
        return [a.harmed(fitted) for a in attacks], [certified_rows(fitted, a) for a in attacks]

    def done(work: list[Task]) -> None:
        for task, (masks, rows) in zip(work, side_by_side(context, run, work), strict=False):
            if task.attack >= 0:
                outcomes.poisoned[task] = masks[0]
                continue
            outcomes.clean.update({(task.repeat, i): m for i, m in enumerate(masks)})
            known = ((i, r) for i, r in enumerate(rows) if r is not None)
            outcomes.certified.update({(task.repeat, i): r for i, r in known})

    clean = [Task(-1, 0, r) for r in range(repeats)]
    done([clean[0], *(t for t in tasks if not t.repeat), *clean[1:2]])
    twins: dict[Task, Task] = {}
    shown = next((a.shown for a in attacks if a.shown is not None and len(a.shown)), None)
    if shown is not None and repetitions.ignore_their_seed(shown):
        repetitions.clean.update(dict.fromkeys(range(2, repeats), repetitions.clean[0]))
        twins = _on_the_same_rows(tasks, attacks, context, len(train))
    work = [t for t in tasks if t.repeat and t not in twins]
    for r in range(2, repeats):
        work.insert(next((i for i, t in enumerate(work) if t.repeat == r), len(work)), clean[r])
    if work and not context.expired:
        done(work)
    copies = {t: outcomes.poisoned[of] for t, of in twins.items() if of in outcomes.poisoned}
    outcomes.poisoned.update(copies)
    outcomes.repeated.update(copies)
    responses = [_response(i, a, outcomes, len(train)) for i, a in enumerate(attacks)]
    return [r for r in responses if r.points]


def _in_order(
    attacks: Sequence[Attack], counts: Sequence[Sequence[int]], repeats: int, n: int
) -> list[Task]:
    """One dose of each attack in turn; unlimited ones (n) after the first repetition."""
    tasks: list[Task] = []
    for r in range(repeats):
        for place in range(max(len(c) for c in counts)):
            tasks += [Task(i, c[place], r) for i, c in enumerate(counts) if place < len(c)]
        if r == 0 and n:
            tasks += [Task(i, n, 0) for i in range(len(attacks))]
    return tasks


def _on_the_same_rows(
    tasks: list[Task], attacks: Sequence[Attack], context: Context, n: int
) -> dict[Task, Task]:
    """For tasks that poison the same rows as an earlier one's repetition: that one."""
    first: dict[tuple[int, int, bytes], Task] = {}
    twins = {}
    for task in tasks:
        rows = _rows(attacks[task.attack], task, context, n)
        earlier = first.setdefault((task.attack, task.count, rows.tobytes()), task)
        if earlier is not task:
            twins[task] = earlier
    return twins


def _rows(attack: Attack, task: Task, context: Context, n: int) -> NDArray[np.int64]:
    """The rows that a task poisons, of n."""
    order = attack.order(context.rng(attack.name, task.repeat))
    # A classifier cannot be trained on one class alone: a tenth is spared without limit.
    return order[: task.count] if task.count < n else order[: int(0.9 * len(order))]


def _fit(
    model: Model, train: Data, attacks: Sequence[Attack], task: Task, context: Context,
    repetitions: Repetitions,
) -> Model:  # fmt: skip
    assert model.fit is not None
    seed = repetitions.seed_of(task.repeat)
    if task.attack < 0:
        if task.repeat not in repetitions.clean:
            repetitions.clean[task.repeat] = model.fit(train.x, train.y, seed)
        return repetitions.clean[task.repeat]
    attack = attacks[task.attack]
    poisoned = attack.poison(train, _rows(attack, task, context, len(train)))
    return model.fit(poisoned.x, poisoned.y, seed)


def share_harmed(
    model: Model, train: Data, attack: Attack, count: int, repeat: int, context: Context,
    repetitions: Repetitions | None = None,
) -> float:  # fmt: skip
    """Share of held-out rows decided as the attacker wants, by one more training.

    Poison and seed are those that `dose_response` gives this repetition.
    """
    repetitions = repetitions or Repetitions(context.derive_seed("repeat"))
    fitted = _fit(model, train, [attack], Task(0, count, repeat), context, repetitions)
    return float(attack.harmed(fitted).mean())


def certified_rows(model: Model, attack: Attack) -> NDArray[np.int64] | None:
    """Changes of the training rows that each decision (m,) surely stands; None without proof."""
    certify = getattr(model.native, "certify", None)
    if certify is None or attack.shown is None or not len(attack.shown):
        return None
    return np.asarray(certify(attack.shown)[1], dtype=np.int64)


def _open(
    attack: Attack, count: int, before: NDArray[np.float64], certified: NDArray[np.int64]
) -> NDArray[np.bool_]:
    """Where a dose may do harm by the certificates (repetitions, m), counted as the harm is."""
    loose = certified < count * attack.changes
    return np.asarray(loose & (before == 0) if attack.relative else loose | (before > 0))


def _response(i: int, attack: Attack, outcomes: _Outcomes, n: int) -> Response:
    done = [t for t in outcomes.poisoned if t.attack == i]
    clean = [m for (_, j), m in outcomes.clean.items() if j == i]
    points, unlimited = [], None
    for count in sorted({t.count for t in done}):
        tasks = [t for t in done if t.count == count and (t.repeat, i) in outcomes.clean]
        poisoned = np.array([outcomes.poisoned[t] for t in tasks], dtype=float)
        before = np.array([outcomes.clean[t.repeat, i] for t in tasks], dtype=float)
        harm = difference(poisoned - before) if attack.relative else repeated_proportion(poisoned)
        each = tuple((poisoned - before if attack.relative else poisoned).mean(axis=1).tolist())
        proofs = [outcomes.certified.get((t.repeat, i)) for t in tasks]
        if count == n:
            unlimited = harm
        elif proofs and all(p is not None for p in proofs):
            may = _open(attack, count, before, np.array(proofs))
            turned = (poisoned > before) if attack.relative else poisoned > 0
            broken = int((turned & ~may).sum())
            possible = repeated_proportion(may)
            points.append(Point(count, harm, len(tasks), possible, broken, each))
        else:
            points.append(Point(count, harm, len(tasks), each=each))
    baseline = 0.0 if attack.relative else float(np.mean(clean))
    fits = sum(t not in outcomes.repeated for t in done)
    return Response(attack, tuple(points), baseline, unlimited, clean[0].size, fits)


def difference(changes: NDArray[np.float64]) -> Interval:
    """Mean of paired changes in {-1, 0, 1}, shape (repetitions, rows), with a 95 % interval.

    The spread over rows and the spread over repetitions are added in quadrature; where no row
    changed at all, the rule of three stands in for the first.
    """
    rows = changes.shape[1]
    per_row = changes.mean(axis=0)
    value = float(per_row.mean())
    spread = Z * float(per_row.std(ddof=1)) / np.sqrt(rows) if rows > 1 else 1.0
    half = float(np.hypot(max(spread, 3 / max(rows, 3)), over_repeats(changes.mean(axis=1))))
    return Interval(value, max(-1.0, value - half), min(1.0, value + half))

"""Each row attacked and, where that can be done, proven: the strongest way a model allows."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from crenel.access import Attacker
from crenel.check import Level
from crenel.errors import UsageError
from crenel.evasion.gradients.aiming import Against, groups, left_out, together
from crenel.evasion.lattice import Lattice
from crenel.evasion.levels import Precision
from crenel.evasion.proving import proofs
from crenel.evasion.verdicts import Verdicts, just_below
from crenel.evasion.verification import majority, verified
from crenel.exposure import HealthTest
from crenel.model import Model
from crenel.subject import is_tree_ensemble

#: Share of the time that proofs may take after the attack.
PROOFS = 0.4


@dataclass(frozen=True)
class Examination:
    """What is asked about a model; see `crenel.evasion.evaluate` for the fields.

    Attributes
    ----------
    x : ndarray, shape (n, …)
        In the user's dtype.
    y : ndarray of int64, shape (n,)
        Indices of the right classes.
    radii : ndarray of float64, increasing
    lattice : Lattice
        Its bounds are those of the change.
    attacker : Attacker or None
        None: the strongest that the model allows.
    goal : ndarray of int64, shape (n,), or None
        Index of the class that each row shall be taken for; None: any wrong one counts.
    """

    x: NDArray[Any]
    y: NDArray[np.int64]
    norm: float
    radii: NDArray[np.float64]
    lattice: Lattice
    attacker: Attacker | None = None
    level: Level = "standard"
    queries: int = 500
    seed: int = 0
    limit: float | None = None
    goal: NDArray[np.int64] | None = None
    precision: Precision = "single"
    begun: float = field(default_factory=time.monotonic)

    @property
    def bounds(self) -> tuple[Any, Any]:
        """Legal range."""
        return self.lattice.low, self.lattice.high

    @property
    def deadline(self) -> float | None:
        """On the monotonic clock."""
        return None if self.limit is None else self.begun + self.limit

    def before(self, share: float) -> float | None:
        """A deadline that leaves a share of the time."""
        return None if self.limit is None else self.begun + self.limit * (1 - share)


def examine(model: Model, asked: Examination) -> Verdicts:
    """Attack and prove every row that the model decides rightly.

    Parameters
    ----------
    model : Model
        A classifier.
    asked : Examination

    Returns
    -------
    Verdicts

    Raises
    ------
    crenel.errors.UsageError
        Where the model does not give what the attacker has, or no row is decided rightly.
    """
    correct = np.asarray(model.predict(asked.x)) == asked.y
    if not correct.any():
        raise UsageError("no row is decided correctly; is y in the order of x?")
    if asked.goal is not None:
        correct &= asked.goal != asked.y
        if not correct.any():
            raise UsageError("every row that is decided correctly is of the class aimed at")
    found = _examined(model, asked, correct)
    if asked.goal is None:
        return found
    apart = left_out(asked.goal, asked.y)
    return replace(found, notes=(*found.notes, *([apart] if apart else [])))


def _examined(model: Model, asked: Examination, correct: NDArray[np.bool_]) -> Verdicts:
    """The strongest attack that the model and the attacker's access allow."""
    inside = asked.attacker in (None, Attacker.GRADIENTS, Attacker.WEIGHTS)
    if inside and model.module is not None:
        return _by_gradients(model, asked, correct)
    # the exact search ends at the nearest other class, which of two is the one aimed at
    exact = asked.norm != 0 and (asked.goal is None or model.k == 2)
    if inside and exact and model.transform is None and is_tree_ensemble(model.final):
        return _by_trees(model, asked, correct)
    if asked.attacker in (Attacker.GRADIENTS, Attacker.WEIGHTS):
        raise UsageError(
            f"the model gives no {asked.attacker.value}: it is neither a torch module nor a tree "
            "ensemble over these columns (nor, towards one of three classes or more, any ensemble "
            "at all); leave access out for the strongest attack that it allows"
        )
    return _by_queries(model, asked, correct)


def _by_gradients(model: Model, asked: Examination, correct: NDArray[np.bool_]) -> Verdicts:
    from crenel.evasion.gradients.robustness import robustness

    got = robustness(
        model, asked.x, asked.y, norm=asked.norm, epsilons=asked.radii, bounds=asked.bounds,
        seed=asked.seed, deadline=asked.before(PROOFS), level=asked.level, targets=asked.goal,
        precision=asked.precision,
    )  # fmt: skip
    attack = got.attack
    correct = correct & attack.correct
    within = np.where(correct, attack.smallest, math.inf)
    witness, upper = verified(
        majority(model.predict, got.draws), asked.x, asked.y, attack.adversarial, asked.lattice,
        norm=asked.norm, within=within, goal=asked.goal, radii=asked.radii,
    )  # fmt: skip
    proven = proofs(
        model.module, asked.x, asked.y, np.where(correct, upper, 0.0), norm=asked.norm,
        epsilons=asked.radii, bounds=asked.bounds, seed=asked.seed, level=asked.level,
        deadline=asked.deadline,
    )  # fmt: skip
    tests = (*got.tests, _holds(np.isfinite(within), np.isfinite(upper)), *proven.tests)
    return Verdicts(
        correct=correct, lower=proven.lower, upper=upper, witness=witness, tests=tests,
        attacker=Attacker.GRADIENTS, queries=attack.passes - attack.gradients,
        gradients=attack.gradients, notes=proven.notes,
    )  # fmt: skip


def _by_trees(model: Model, asked: Examination, correct: NDArray[np.bool_]) -> Verdicts:
    from crenel.evasion.trees import tree_distance

    rows = np.flatnonzero(correct)
    low, high = (np.broadcast_to(b, asked.x.shape[1:]) for b in asked.bounds)
    whole = np.broadcast_to(np.asarray(asked.lattice.step) == 1, asked.x.shape[1:])
    got = tree_distance(
        model.final, asked.x[rows], asked.y[rows], norm=asked.norm, box=(low, high),
        integer=whole, deadline=asked.limit, indices=True,
    )  # fmt: skip
    n = len(asked.x)
    lower, upper, witness = np.zeros(n), np.full(n, math.inf), asked.x.copy()
    found = np.isfinite(got.upper)
    turned = np.zeros(len(rows), dtype=bool)
    adversarial = np.asarray(got.adversarial)[found].astype(asked.x.dtype)
    if found.any():
        turned[found] = model.predict(adversarial) != asked.y[rows[found]]
    at = rows[turned]
    upper[at] = got.upper[turned]
    witness[at] = np.asarray(got.adversarial)[turned].astype(asked.x.dtype)
    lower[rows] = np.minimum(just_below(got.lower), just_below(upper[rows]))
    exact = int(got.exact.sum())
    tests = (
        _holds(found, turned),
        HealthTest(
            name="distances are exact", ok=exact >= 0.9 * len(rows),
            detail=f"{exact} of {len(rows)} rows",
        ),
    )  # fmt: skip
    return Verdicts(correct, lower, upper, witness, tests, Attacker.WEIGHTS)


def _by_queries(model: Model, asked: Examination, correct: NDArray[np.bool_]) -> Verdicts:
    from crenel.evasion.blackbox.attack import QueryAttack, query_attack, teachable

    labels = model.score is None or asked.attacker in (Attacker.LABELS, Attacker.NONE)
    rows = np.flatnonzero(correct)
    n = len(asked.x)
    upper, witness = np.full(n, math.inf), asked.x.copy()

    def attack(
        judge: Model | Against, part: NDArray[np.int64], y: NDArray[np.int64], scores: Any,
        pool: Any = None,
    ) -> QueryAttack:  # fmt: skip
        got = query_attack(
            judge.predict, asked.x[part], y, scores=None if labels else scores,
            norm=asked.norm, epsilons=asked.radii, bounds=asked.bounds, lattice=asked.lattice,
            pool=pool, queries=asked.queries, transfer=0 if teachable() else None,
            seed=asked.seed, deadline=asked.deadline,
        )  # fmt: skip
        upper[part], witness[part] = got.distance, got.witness
        return got

    if asked.goal is None:
        done = [attack(model, rows, asked.y[rows], model.score)]
    else:
        done = [
            attack(a, part, np.zeros(len(part), np.int64), a.scores, (asked.x, a.predict(asked.x)))
            for a, part in groups(model, asked.goal, rows)
        ]
    return Verdicts(
        correct=correct, lower=np.zeros(n), upper=upper, witness=witness,
        tests=together([got.tests for got in done]),
        attacker=Attacker.LABELS if labels else Attacker.SCORES,
        queries=sum(got.asked for got in done),
    )  # fmt: skip


def _holds(found: NDArray[np.bool_], turned: NDArray[np.bool_]) -> HealthTest:
    """Whether what the attack found holds for the model as users ask it."""
    n, held = int(found.sum()), int((found & turned).sum())
    return HealthTest(
        name="witnesses hold on the legal lattice",
        ok=held >= 0.98 * n,
        detail=f"{held} of {n}; the others are not counted",
    )

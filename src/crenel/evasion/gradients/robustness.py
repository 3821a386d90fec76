"""A gradient attack with the tests that show that it worked; what breaks there is added."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass
from typing import Any

import numpy as np

from crenel.check import Level
from crenel.evasion.gradients.ball import Ball, sizes
from crenel.evasion.gradients.cascade import GradientAttack, gradient_attack
from crenel.evasion.gradients.followups import Trial as _Trial
from crenel.evasion.gradients.guards import MOST_ZERO, Surface, mend
from crenel.evasion.gradients.mending import Voting
from crenel.evasion.gradients.network import (
    as_labels,
    as_tensor,
    decisions,
    logits_of,
    module_of,
    still,
    torch,
)
from crenel.evasion.levels import Precision
from crenel.exposure import HealthTest

#: Rows that a diagnosis goes by, and draws by whose majority a random model is judged.
FEW, VOTES = 64, 9
#: Share of the time for the attack; the rest is for the tests of it.
ATTACK = 0.6


@dataclass(frozen=True)
class Robustness:
    """What a guarded gradient attack found.

    Attributes
    ----------
    attack : GradientAttack
        Of the mended model, with what the follow-up tests broke beyond it.
    tests : tuple of HealthTest
    mends : tuple of str
        What was done to get at the gradients.
    draws : int
        Draws by whose majority the model was judged; 1 where it does not answer at random.
    """

    attack: GradientAttack
    tests: tuple[HealthTest, ...]
    mends: tuple[str, ...]
    draws: int = 1


def robustness(
    model: Any,
    x: Any,
    y: Any,
    *,
    norm: float = math.inf,
    epsilons: Any,
    bounds: tuple[Any, Any] = (0.0, 1.0),
    seed: int = 0,
    deadline: float | None = None,
    level: Level = "standard",
    targets: Any = None,
    precision: Precision = "single",
) -> Robustness:
    """Diagnose, mend, attack, test the attack, and attack again where a test fails.

    See `gradient_attack` for the parameters. Deterministic for a seed, unless the deadline cuts
    it short. Where a test fails, a second attack of another kind goes at every row that stands
    (along smoothed or estimated gradients, along networks taught by the model's decisions, and
    at random without gradients); what it breaks is added, and the test stays failed.

    A model that answers at random is judged by the majority of fixed draws, and never healthy.
    """
    begun = time.monotonic()
    module = module_of(model)
    rows, right = as_tensor(x, module), as_labels(y, module)
    goal = None if targets is None else as_labels(targets, module)
    with still(module, seed):
        own = logits_of(module)
        surface = mend(own, rows[:FEW], right[:FEW], _span(bounds, rows), seed)
    judge = module
    if not surface.diagnosis.deterministic:
        judge = Voting(module, own, VOTES, seed)
    attack = gradient_attack(
        judge, rows, right, norm=norm, epsilons=epsilons, bounds=bounds, seed=seed,
        deadline=None if deadline is None else begun + ATTACK * (deadline - begun),
        logits=surface.logits, level=level, targets=goal, precision=precision,
    )  # fmt: skip
    trial = _Trial(judge, judge, rows, right, norm, bounds, seed, deadline, surface, level, goal)
    tests = [*_gradient_tests(surface), _in_range(rows, bounds), _rising(attack)]
    more, attack = trial.all(attack)
    tests += more
    if not all(t.ok for t in tests):
        test, attack = trial.second(attack)
        tests.append(test)
    tests.append(_true(judge, rows, right, norm, bounds, seed, attack, goal))
    if not attack.finished:
        tests.append(HealthTest(name="all attacks ran", ok=False, detail="time ran out"))
    draws = 1 if surface.diagnosis.deterministic else VOTES
    return Robustness(attack, tuple(tests), surface.mends, draws)


def _span(bounds: tuple[Any, Any], rows: Any) -> Any:
    low, high = (torch.as_tensor(b, dtype=rows.dtype, device=rows.device) for b in bounds)
    return high - low


def _gradient_tests(s: Surface) -> list[HealthTest]:
    """What the diagnosis says of the gradients that the attack went by."""
    a, b = s.after, s.diagnosis
    words = f"; mended: {', '.join(s.mends)}" if s.mends else ""
    zero = f"zero for {a.zero_ce:.0%} of rows under cross-entropy, {a.zero_margin:.0%} under margin"
    if s.mends:
        zero += f" (before: {b.zero_ce:.0%}, {b.zero_margin:.0%})"
    random = f"the model answers at random, and is judged by the majority of {VOTES} fixed draws"
    return [
        HealthTest(
            name="gradients are not zero", ok=a.zero_margin <= MOST_ZERO, detail=zero + words
        ),
        HealthTest(
            name="gradients agree with finite differences",
            ok=s.agrees,
            detail=f"correlation {a.agreement:.2f}",
        ),
        HealthTest(
            name="the same input gives the same output",
            ok=b.deterministic,
            detail="" if b.deterministic else random + words,
        ),
        HealthTest(
            name="a row's answer does not depend on its batch",
            ok=b.rowwise,
            detail="" if b.rowwise else "statistics of the batch are used, as in training" + words,
        ),
        HealthTest(
            name="outputs are logits",
            ok=not a.probabilities,
            detail="probabilities" + words if b.probabilities else "",
        ),
    ]


def _in_range(rows: Any, bounds: tuple[Any, Any]) -> HealthTest:
    """Rows outside the legal range would be cut before they are attacked."""
    low, high = (torch.as_tensor(b, dtype=rows.dtype, device=rows.device) for b in bounds)
    slack = 1e-3 * (high - low)
    outside = ((rows < low - slack) | (rows > high + slack)).flatten(1).any(dim=1)
    share = float(outside.float().mean())
    return HealthTest(
        name="rows lie within the legal range",
        ok=share <= 0.01,
        detail=f"{share:.0%} of rows do not; give the bounds of what the model is fed",
    ) if share else HealthTest(name="rows lie within the legal range", ok=True)  # fmt: skip


def _rising(attack: GradientAttack) -> HealthTest:
    share = attack.rising
    known = not math.isnan(share)
    detail = f"in {share:.0%} of rows attacked" if known else "every row broke at its first step"
    return HealthTest(name="the attack's loss rose", ok=not known or share >= 0.9, detail=detail)


def _true(
    module: Any, x: Any, y: Any, norm: float, bounds: tuple[Any, Any], seed: int,
    attack: GradientAttack, goal: Any,
) -> HealthTest:  # fmt: skip
    """Every success once more: turned on the model itself, in the ball, in the box."""
    hit = np.flatnonzero(np.isfinite(attack.smallest))
    name = "successes turn the decision within the radius"
    if not hit.size:
        return HealthTest(name=name, ok=True, detail="none was found")
    found = as_tensor(attack.adversarial[hit], module)
    with still(module, seed):
        decided = decisions(logits_of(module), found)
    turned = decided != y[hit].cpu().numpy()
    if goal is not None:
        turned = decided == goal[hit].cpu().numpy()
    size = sizes(found.double() - x[hit].double(), norm).cpu().numpy()
    most = attack.smallest[hit]
    box = Ball(norm, 1.0, *(as_tensor(b, module) if hasattr(b, "shape") else b for b in bounds))
    outside = (box.box(found) - found).flatten(1).abs().amax(dim=1).cpu().numpy()
    held = turned & (size <= most * (1 + 1e-4) + 1e-6) & (outside <= 1e-5)
    return HealthTest(
        name=name, ok=bool(held.mean() >= 0.98), detail=f"{int(held.sum())} of {hit.size}"
    )

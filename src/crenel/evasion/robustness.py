"""A gradient attack with the tests that show that it worked; what breaks there is added."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from crenel.evasion.cascade import GradientAttack, gradient_attack
from crenel.evasion.descent import Ball
from crenel.evasion.guards import MOST_ZERO, Surface, mend
from crenel.evasion.network import (
    as_labels,
    as_tensor,
    decisions,
    logits_of,
    module_of,
    still,
    torch,
)
from crenel.evasion.squares import random_search
from crenel.exposure import HealthTest

#: Rows of each follow-up test, and queries of the black-box one.
ROWS, QUERIES = 32, 150
#: Share of rows by which a follow-up may change the answer.
TOLERANCE = 0.05


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
    """

    attack: GradientAttack
    tests: tuple[HealthTest, ...]
    mends: tuple[str, ...]


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
) -> Robustness:
    """Diagnose, mend, attack, and test the attack; see `gradient_attack` for the parameters.

    Deterministic for a seed, unless the deadline cuts it short.
    """
    module = module_of(model)
    rows, right = as_tensor(x, module), as_labels(y, module)
    with still(module, seed):
        few = slice(0, 64)
        span = _span(bounds, rows)
        surface = mend(logits_of(module), rows[few], right[few], span, seed)
    attack = gradient_attack(
        model, rows, right, norm=norm, epsilons=epsilons, bounds=bounds, seed=seed,
        deadline=deadline, logits=surface.logits,
    )  # fmt: skip
    trial = _Trial(model, module, rows, right, norm, bounds, seed, deadline, surface)
    tests = [*_gradient_tests(surface), _rising(attack), trial.unlimited(attack)]
    tests.append(trial.afresh(attack))
    more, attack = trial.more_steps(attack)
    black, attack = trial.black_box(attack)
    tests += [more, black]
    if not attack.finished:
        tests.append(HealthTest(name="all attacks ran", ok=False, detail="time ran out"))
    return Robustness(attack, tuple(tests), surface.mends)


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
            detail="" if b.deterministic else "the model answers at random" + words,
        ),
        HealthTest(
            name="outputs are logits",
            ok=not a.probabilities,
            detail="probabilities" + words if b.probabilities else "",
        ),
    ]


def _rising(attack: GradientAttack) -> HealthTest:
    share = attack.rising
    known = not math.isnan(share)
    detail = f"in {share:.0%} of rows attacked" if known else "every row broke at its first step"
    return HealthTest(name="the attack's loss rose", ok=not known or share >= 0.9, detail=detail)


@dataclass(frozen=True)
class _Trial:
    """Follow-up attacks on a few rows."""

    model: Any
    module: Any
    x: Any
    y: Any
    norm: float
    bounds: tuple[Any, Any]
    seed: int
    deadline: float | None
    surface: Surface

    def attack(self, rows: NDArray[np.int64], epsilon: float, factor: int, shard: int) -> Any:
        return gradient_attack(
            self.model, self.x[rows], self.y[rows], norm=self.norm, epsilons=[epsilon],
            bounds=self.bounds, seed=self.seed + shard, logits=self.surface.logits, factor=factor,
        )  # fmt: skip

    @property
    def late(self) -> bool:
        return self.deadline is not None and time.monotonic() >= self.deadline

    def unlimited(self, attack: GradientAttack) -> HealthTest:
        """With the whole range every decision must fall."""
        name = "unlimited epsilon reaches full harm"
        rows = np.flatnonzero(attack.correct)[:ROWS]
        if not rows.size or self.late:
            return HealthTest(name=name, ok=False, detail="not run: no rows, or no time")
        span = _span(self.bounds, self.x).expand(self.x.shape[1:]).flatten()
        widest = float(span.amax()) if self.norm == math.inf else float(span.norm())
        got = self.attack(rows, widest, 1, 1)
        share = got.broken[0].sum() / max(1, got.correct.sum())
        return HealthTest(name=name, ok=bool(share >= 0.98), detail=f"{share:.0%} of {rows.size}")

    def afresh(self, attack: GradientAttack) -> HealthTest:
        """What broke within a small epsilon must break within the largest, started anew."""
        name = "a larger epsilon does no less harm, attacked anew"
        largest = attack.epsilons[-1]
        rows = np.flatnonzero(attack.smallest < largest)[:ROWS]
        if not rows.size:
            return HealthTest(name=name, ok=True, detail="no row broke below the largest epsilon")
        if self.late:
            return HealthTest(name=name, ok=False, detail="not run: time ran out")
        got = self.attack(rows, float(largest), 1, 2)
        share = got.broken[0].sum() / max(1, got.correct.sum())
        return HealthTest(name=name, ok=bool(share >= 0.95), detail=f"{share:.0%} of {rows.size}")

    def more_steps(self, attack: GradientAttack) -> tuple[HealthTest, GradientAttack]:
        """Twice the gradients from another start must change little."""
        name = "twice the steps change little"
        level, rows, n = self._standing(attack)
        if not rows.size or self.late:
            return self._none(name, attack), attack
        got = self.attack(rows, float(attack.epsilons[level]), 2, 3)
        return self._added(name, attack, level, rows, n, got.broken[0], got.adversarial)

    def black_box(self, attack: GradientAttack) -> tuple[HealthTest, GradientAttack]:
        """A search without gradients must not break what gradients did not."""
        name = "black box is not stronger than white box"
        level, rows, n = self._standing(attack)
        if not rows.size or self.late:
            return self._none(name, attack), attack
        x, y = self.x[rows], self.y[rows]
        ball = Ball(self.norm, float(attack.epsilons[level]), *self._box())
        with still(self.module, self.seed):
            own = logits_of(self.module)
            found, _ = random_search(own, x, y, ball, queries=QUERIES, seed=self.seed)
            broken = decisions(own, found) != y.cpu().numpy()
        return self._added(name, attack, level, rows, n, broken, found.cpu().numpy())

    def _box(self) -> Any:
        return [as_tensor(b, self.module) if hasattr(b, "shape") else b for b in self.bounds]

    def _standing(self, attack: GradientAttack) -> tuple[int, NDArray[np.int64], int]:
        """Rows that stand at the epsilon whose harm is nearest a half, of how many correct."""
        harm = attack.broken.sum(axis=1) / max(1, attack.correct.sum())
        full = harm >= 1
        level = int(np.argmin(np.where(full, 9.0, np.abs(harm - 0.5))))
        standing = np.flatnonzero(attack.correct & ~attack.broken[level])
        return level, standing[:ROWS], int(attack.correct.sum())

    def _none(self, name: str, attack: GradientAttack) -> HealthTest:
        if self.late:
            return HealthTest(name=name, ok=False, detail="not run: time ran out")
        return HealthTest(name=name, ok=bool(attack.correct.any()), detail="no row stands")

    def _added(
        self, name: str, attack: GradientAttack, level: int, rows: NDArray[np.int64], n: int,
        broken: NDArray[np.bool_], found: NDArray[np.float32],
    ) -> tuple[HealthTest, GradientAttack]:  # fmt: skip
        """The test, and the attack with what the follow-up broke beyond it."""
        standing = int((attack.correct & ~attack.broken[level]).sum())
        change = broken.mean() * standing / n
        epsilon = attack.epsilons[level]
        smallest, adversarial = attack.smallest.copy(), attack.adversarial.copy()
        hit = rows[broken]
        smallest[hit], adversarial[hit] = epsilon, found[broken]
        detail = (
            f"harm +{100 * change:.1f} points at epsilon {epsilon:.3g} ({rows.size} rows tried)"
        )
        test = HealthTest(name=name, ok=bool(change <= TOLERANCE), detail=detail)
        return test, replace(attack, smallest=smallest, adversarial=adversarial)

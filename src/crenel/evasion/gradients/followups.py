"""Attacks on a few rows that test a gradient attack, and a second one where a test fails.

After the checklists of Carlini et al., "On evaluating adversarial robustness" (2019), and of
Pintor et al., "Indicators of attack failure" (2022).
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from crenel.check import Level
from crenel.evasion.gradients import trapdoor
from crenel.evasion.gradients.ball import Ball, sizes
from crenel.evasion.gradients.cascade import GradientAttack, gradient_attack
from crenel.evasion.gradients.guards import DIRECTIONS, Surface
from crenel.evasion.gradients.mending import estimated
from crenel.evasion.gradients.network import (
    Logits,
    as_tensor,
    decisions,
    logits_of,
    still,
    torch,
)
from crenel.evasion.gradients.squares import random_search
from crenel.evasion.gradients.transferring import Pursuit, by_decisions, distil, pursue
from crenel.exposure import HealthTest

#: Rows of each test, and of the planted weaknesses.
ROWS, PLANTED = 32, 8
#: Queries of the black-box tests, for each row: of scores, and of decisions alone.
QUERIES, DECISIONS = 150, 24
#: Gradients of a pursuit along other networks, and of a descent to a planted weakness.
STEPS, DESCENT = 24, 40
#: Share of rows by which a follow-up may change the answer.
TOLERANCE = 0.05
#: Rows whose decisions teach surrogates something; fewer do not.
LEAST = 20

Found = tuple[NDArray[np.bool_], NDArray[np.float32]]
Test = tuple[HealthTest, GradientAttack]


@dataclass(frozen=True)
class Trial:
    """Follow-up attacks on a few rows.

    Attributes
    ----------
    model, module : object
        The judge of decisions, and its torch module.
    x : tensor, shape (n, …)
    y : tensor of int64, shape (n,)
    norm : float
    bounds : (low, high)
    seed : int
    deadline : float or None
        On `time.monotonic`'s clock.
    surface : Surface
        What the attack took gradients of.
    level : {"quick", "standard", "deep"}
    goal : tensor of int64, shape (n,), or None
        The class that each row shall be taken for; by default any wrong one counts.
    """

    model: Any
    module: Any
    x: Any
    y: Any
    norm: float
    bounds: tuple[Any, Any]
    seed: int
    deadline: float | None
    surface: Surface
    level: Level = "standard"
    goal: Any = None

    def all(self, attack: GradientAttack) -> tuple[list[HealthTest], GradientAttack]:
        """Every test, each on the attack with what those before it added."""
        tests = [self.unlimited(attack), self.afresh(attack), self.planted(attack)]
        for trial in (self.more_steps, self.black_box, self.decisions_alone, self.transfer):
            test, attack = trial(attack)
            tests.append(test)
        return tests, attack

    def attack(self, rows: NDArray[np.int64], epsilon: float, factor: int, shard: int) -> Any:
        """The gradient attack on some rows at one radius."""
        return gradient_attack(
            self.model, self.x[rows], self.y[rows], norm=self.norm, epsilons=[epsilon],
            bounds=self.bounds, seed=self.seed + shard, logits=self.surface.logits, factor=factor,
            deadline=self.deadline, level=self.level, targets=self._goal(rows),
        )  # fmt: skip

    def _goal(self, rows: NDArray[np.int64]) -> Any:
        return None if self.goal is None else self.goal[rows]

    @property
    def late(self) -> bool:
        """Whether the deadline has passed."""
        return self.deadline is not None and time.monotonic() >= self.deadline

    def unlimited(self, attack: GradientAttack) -> HealthTest:
        """With the whole range every decision must fall, to a class that some row is known to have.

        A class that no row is decided for may be out of reach in the whole range.
        """
        name = "unlimited epsilon reaches full harm"
        rows = np.flatnonzero(attack.correct & self._reachable())[:ROWS]
        if not rows.size or self.late:
            why = "no rows, or no time" if self.goal is None else "no row of that class, or no time"
            return HealthTest(name=name, ok=False, detail=f"not run: {why}")
        got = self.attack(rows, self._widest(), 1, 1)
        share = got.broken[0].sum() / max(1, got.correct.sum())
        return HealthTest(name=name, ok=bool(share >= 0.98), detail=f"{share:.0%} of {rows.size}")

    def _reachable(self) -> NDArray[np.bool_]:
        """Rows whose goal the model gives to some row within the range."""
        if self.goal is None:
            return np.ones(len(self.x), dtype=bool)
        with still(self.module, self.seed):
            seen = decisions(logits_of(self.module), self.x)
        return np.isin(self.goal.cpu().numpy(), seen)

    def _widest(self) -> float:
        low, high = (torch.as_tensor(b, dtype=self.x.dtype) for b in self.bounds)
        span = (high - low).cpu().expand(self.x.shape[1:]).flatten()
        if self.norm == 0:
            return float(span.numel())
        if self.norm == math.inf:
            return float(span.amax())
        return float(span.sum() if self.norm == 1 else span.norm())

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

    def planted(self, attack: GradientAttack) -> HealthTest:
        """A weakness planted behind the same defence must be found."""
        name = "a planted weakness is found"
        level, rows, _ = self._standing(attack)
        if not rows.size or self.late:
            return self._none(name, attack)[0]
        few, ball = rows[:PLANTED], self._ball(attack, level)
        with still(self.module, self.seed):
            hits, n = trapdoor.found(
                self.surface.logits, self.x[few], ball, steps=DESCENT, seed=self.seed
            )
        detail = f"{hits} of {n}, each in a row of its own at epsilon {attack.epsilons[level]:.3g}"
        return HealthTest(name=name, ok=hits >= 0.85 * n, detail=detail)

    def more_steps(self, attack: GradientAttack) -> Test:
        """Twice the gradients from another start must change little."""

        def twice(rows: NDArray[np.int64], ball: Ball) -> Found:
            got = self.attack(rows, float(ball.epsilon), 2, 3)
            return got.broken[0], got.adversarial

        return self._follow("twice the steps change little", attack, twice)

    def black_box(self, attack: GradientAttack) -> Test:
        """A search without gradients must not break what gradients did not."""

        def search(rows: NDArray[np.int64], ball: Ball) -> Found:
            return self._searched(rows, ball, QUERIES)

        return self._follow("black box is not stronger than white box", attack, search)

    def decisions_alone(self, attack: GradientAttack) -> Test:
        """Nor must a search that sees decisions alone."""

        def search(rows: NDArray[np.int64], ball: Ball) -> Found:
            decided = torch.as_tensor(decisions(logits_of(self.module), self.x))
            got = by_decisions(
                logits_of(self.module), self.x[rows], self.y[rows], self.x,
                decided.to(self.x.device), ball, queries=DECISIONS, seed=self.seed,
                goal=self._goal(rows),
            )  # fmt: skip
            return _arrays(got)

        name = "decisions alone are not stronger than white box"
        return self._follow(name, attack, search)

    def transfer(self, attack: GradientAttack) -> Test:
        """Nor must what breaks networks that were taught by the model's decisions."""
        name = "transfer from an ensemble is not stronger than white box"
        if len(self.x) < LEAST:
            return HealthTest(
                name=name, ok=True, detail="too few rows to teach an ensemble"
            ), attack

        def along(rows: NDArray[np.int64], ball: Ball) -> Found:
            return self._pursued(rows, ball, self._ensemble(ball))

        return self._follow(name, attack, along)

    def second(self, attack: GradientAttack) -> Test:
        """All rows that stand, attacked in other ways, from the largest radius down."""
        before = attack.smallest
        for level in range(len(attack.epsilons) - 1, -1, -1):
            ball, guides = self._ball(attack, level), self._guides
            if level == len(attack.epsilons) - 1:
                ways = guides(ball)
            for way in ways:
                rows = self._open(attack, level)
                if rows.size and not self.late:
                    with still(self.module, self.seed):
                        attack = self._add(attack, level, rows, *way(rows, ball))
        n = max(1, int(attack.correct.sum()))
        changed = int((attack.smallest < before).sum())
        detail = f"a test failed: {changed} of {n} rows broken at smaller radii, and counted"
        done = not self.late
        return HealthTest(
            name="a second attack after a failed test changes little",
            ok=done and changed <= TOLERANCE * n,
            detail=detail if done else "time ran out; " + detail,
        ), attack

    def _guides(self, ball: Ball) -> list[Callable[[NDArray[np.int64], Ball], Found]]:
        """Ways of the second attack, the strongest first."""
        own = logits_of(self.module)
        guides = [self.surface.logits]
        if not self.surface.trusted:
            span = torch.as_tensor(self.bounds[1]) - torch.as_tensor(self.bounds[0])
            step = (0.05 * span).to(self.x)
            guides.append(estimated(own, step, DIRECTIONS, self.seed))
        if len(self.x) >= LEAST:
            with still(self.module, self.seed):
                guides.append(self._ensemble(ball))
        ways = [self._along(g) for g in guides]
        return [*ways, lambda rows, b: self._searched(rows, b, QUERIES)]

    def _along(self, guide: Logits) -> Callable[[NDArray[np.int64], Ball], Found]:
        return lambda rows, ball: self._pursued(rows, ball, guide)

    def _ensemble(self, ball: Ball) -> Logits:
        own = logits_of(self.module)
        return distil(own, self.x, ball, seed=self.seed, deadline=self.deadline).logits

    def _pursued(self, rows: NDArray[np.int64], ball: Ball, guide: Logits) -> Found:
        own = logits_of(self.module)
        return _arrays(
            pursue(own, guide, self.x[rows], self.y[rows], ball, steps=STEPS, goal=self._goal(rows))
        )

    def _searched(self, rows: NDArray[np.int64], ball: Ball, queries: int) -> Found:
        found, broken, _ = random_search(
            logits_of(self.module), self.x[rows], self.y[rows], ball, queries=queries,
            seed=self.seed, goal=self._goal(rows),
        )  # fmt: skip
        return broken.cpu().numpy(), found.cpu().numpy()

    def _follow(
        self, name: str, attack: GradientAttack,
        search: Callable[[NDArray[np.int64], Ball], Found],
    ) -> Test:  # fmt: skip
        """The test that a search on some rows that stand changes little, and what it adds."""
        level, rows, n = self._standing(attack)
        if not rows.size or self.late:
            return self._none(name, attack)
        with still(self.module, self.seed):
            broken, found = search(rows, self._ball(attack, level))
        standing = int((attack.correct & ~attack.broken[level]).sum())
        change = broken.mean() * standing / n
        detail = (
            f"harm +{100 * change:.1f} points at epsilon {attack.epsilons[level]:.3g} "
            f"({rows.size} rows tried)"
        )
        test = HealthTest(name=name, ok=bool(change <= TOLERANCE), detail=detail)
        return test, self._add(attack, level, rows, broken, found)

    def _ball(self, attack: GradientAttack, level: int) -> Ball:
        box = [as_tensor(b, self.module) if hasattr(b, "shape") else b for b in self.bounds]
        return Ball(self.norm, float(attack.epsilons[level]), *box)

    def _standing(self, attack: GradientAttack) -> tuple[int, NDArray[np.int64], int]:
        """Rows that stand at the epsilon whose harm is nearest a half, of how many correct."""
        harm = attack.broken.sum(axis=1) / max(1, attack.correct.sum())
        full = harm >= 1
        level = int(np.argmin(np.where(full, 9.0, np.abs(harm - 0.5))))
        standing = np.flatnonzero(attack.correct & ~attack.broken[level])
        return level, standing[:ROWS], int(attack.correct.sum())

    def _open(self, attack: GradientAttack, level: int) -> NDArray[np.int64]:
        """Rows that stand at a level, and were broken at the next or are at the last one."""
        above = attack.epsilons[level + 1] if level + 1 < len(attack.epsilons) else math.inf
        return np.flatnonzero(attack.correct & (attack.smallest == above))

    def _none(self, name: str, attack: GradientAttack) -> Test:
        if self.late:
            return HealthTest(name=name, ok=False, detail="not run: time ran out"), attack
        none = HealthTest(name=name, ok=bool(attack.correct.any()), detail="no row stands")
        return none, attack

    def _add(
        self, attack: GradientAttack, level: int, rows: NDArray[np.int64],
        broken: NDArray[np.bool_], found: NDArray[np.float32],
    ) -> GradientAttack:  # fmt: skip
        """The attack with rows that a follow-up broke at one of its radii."""
        hit = rows[broken]
        if not hit.size:
            return attack
        smallest, adversarial = attack.smallest.copy(), attack.adversarial.copy()
        distance = attack.distance.copy()
        smallest[hit], adversarial[hit] = attack.epsilons[level], found[broken]
        move = torch.from_numpy(found[broken]).double() - self.x[hit].cpu().double()
        distance[hit] = np.minimum(sizes(move, self.norm).numpy(), attack.epsilons[level])
        return replace(attack, smallest=smallest, adversarial=adversarial, distance=distance)


def _arrays(got: Pursuit) -> Found:
    return got.broken.cpu().numpy(), got.x.cpu().numpy()

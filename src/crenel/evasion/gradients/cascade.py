"""The cascade: cheap attacks on all rows, dear ones only where the answer is still open."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from crenel.evasion.gradients.ball import Ball
from crenel.evasion.gradients.descent import Loss, check_arguments, descend, likeliest, narrow
from crenel.evasion.gradients.network import (
    Logits,
    as_labels,
    box_of,
    halved,
    logits_of,
    margins,
    module_of,
    on_host,
    still,
    torch,
)
from crenel.evasion.gradients.shorten import shorten
from crenel.evasion.gradients.sparse import fewest_numbers
from crenel.evasion.gradients.squares import random_search
from crenel.evasion.gradients.stages import Stage, schedule
from crenel.evasion.levels import Precision, check_precision

#: Losses of the stages where one class is to be reached.
AIMED: dict[str, Loss] = {
    "margin": "targeted-cw", "ce": "targeted-ce", "dlr": "targeted-dlr",
    "targeted-margin": "targeted-margin",
}  # fmt: skip


@dataclass(frozen=True)
class GradientAttack:
    """What the cascade found, over increasing epsilons.

    Attributes
    ----------
    epsilons : ndarray, shape (m,)
    correct : ndarray of bool, shape (n,)
        Rows decided rightly without attack, and in targeted mode not of the class to reach; the
        others are not attacked.
    smallest : ndarray, shape (n,)
        Smallest of the epsilons at which the row was broken; infinite where none was found.
    adversarial : ndarray, shape (n, …), float32
        The row broken at that epsilon, as verified on the model; the row itself elsewhere.
    broken : ndarray of bool, shape (m, n)
        Correct rows broken within each epsilon.
    rising : float
        Share of attacked rows whose loss rose; NaN where no row took two steps.
    passes : int
        Rows sent through the model, with or without a backward pass.
    finished : bool
        False where the deadline left attacks out.
    distance : ndarray of float64, shape (n,)
        Exact size of the verified change, at most ``smallest``; infinite where none was found.
    gradients : int
        Rows sent forward and backward.
    """

    epsilons: NDArray[np.float64]
    correct: NDArray[np.bool_]
    smallest: NDArray[np.float64]
    adversarial: NDArray[np.float32]
    rising: float
    passes: int
    finished: bool
    distance: NDArray[np.float64]
    gradients: int

    @property
    def broken(self) -> NDArray[np.bool_]:
        """Correct rows broken within each epsilon, shape (m, n)."""
        return self.smallest[None, :] <= self.epsilons[:, None]


def gradient_attack(
    model: Any,
    x: Any,
    y: Any,
    *,
    norm: float = math.inf,
    epsilons: Any,
    bounds: tuple[Any, Any] = (0.0, 1.0),
    seed: int = 0,
    batch_size: int = 256,
    deadline: float | None = None,
    logits: Logits | None = None,
    factor: int = 1,
    level: str = "standard",
    targets: Any = None,
    precision: Precision = "single",
) -> GradientAttack:
    """Attack a network at several epsilons at once, the cheapest gain per pass first.

    From the largest epsilon down, a few gradients of the margin from where each row is; every
    break is drawn back towards its row, and the row goes on at the next epsilon below that. Then
    the dear attacks, again from the largest epsilon down and only on rows that resist there:
    cross-entropy and the margins of the likeliest wrong classes from random points, and for rows
    whose margin came near zero restarts and a search without gradients. No row is attacked
    below an epsilon that it has resisted, since that ball is contained.

    Parameters
    ----------
    model : torch.nn.Module or crenel.model.Model
        Gives logits (n, k), k of 2 or more, or one logit; rows of any shape.
    x : ndarray or tensor, shape (n, …), or a frame of numbers
    y : ndarray or tensor of int, shape (n,)
    norm : float
        0, 1, 2 or ``inf``.
    epsilons : sequence of float
        In units of ``x``; in L0 counts of changed numbers.
    bounds : (low, high)
        Legal range: numbers, or arrays broadcast against the rows (a bound for each channel).
    seed : int
    batch_size : int
        Rows on the model's device at a time; the result does not hang on it.
    deadline : float or None
        On `time.monotonic`'s clock; later attacks are left out.
    logits : callable or None
        What gradients are taken of, where the model's own are masked; every row is verified on
        the model itself.
    factor : int
        Multiplies the number of gradients.
    level : {"quick", "standard", "deep"}
        At most 80, 300 or 1,500 gradients for a row at the epsilon that it resists.
    targets : ndarray or tensor of int, shape (n,), or None
        The class that each row shall be taken for; by default any wrong one counts.
    precision : {"single", "mixed"}
        "mixed" computes gradients of the attacks that go at all rows in bfloat16, which pays on
        devices that multiply it faster. Attacks on rows near the boundary alone, where that is not
        exact enough, and the judging of all that was found keep the model's own precision.

    Returns
    -------
    GradientAttack

    Raises
    ------
    crenel.errors.UsageError
        Where the model has no gradients or an argument is out of range.

    Notes
    -----
    After Croce and Hein (2020), "Reliable evaluation of adversarial robustness", and (2021),
    "Mind the box"; Andriushchenko et al. (2020), "Square attack".
    """
    values = np.unique(np.asarray(epsilons, dtype=np.float64))
    check_arguments(norm, values)
    check_precision(precision)
    stages = schedule(level, norm)
    module = module_of(model)
    rows, right = on_host(x, module), as_labels(y, module)
    goal = None if targets is None else as_labels(targets, module)
    low, high = box_of(bounds, module)
    with still(module, seed):
        own = logits_of(module)
        guide = logits or own
        swift = halved(guide) if precision == "mixed" else guide
        balls = [Ball(norm, float(e), low, high) for e in values]
        run = _Cascade(
            own, guide, swift, rows, right, goal, balls, stages, seed, deadline, factor,
            batch_size,
        )  # fmt: skip
        run.run()
    return run.result(values)


class _Cascade:
    """The state of one cascade: for each row the smallest change found, and its best point."""

    def __init__(
        self, own: Logits, logits: Logits, swift: Logits, x: Any, y: Any, goal: Any,
        balls: list[Ball], stages: tuple[Stage, ...], seed: int, deadline: float | None,
        factor: int, batch: int,
    ) -> None:  # fmt: skip
        self.own, self.logits, self.swift = own, logits, swift
        self.x, self.y, self.goal = x, y, goal
        self.balls, self.stages, self.seed = balls, stages, seed
        self.deadline, self.factor, self.batch = deadline, factor, batch
        n = len(x)
        self.best = x.clone()  # the witness of a broken row, else its best point
        self.distance = np.full(n, math.inf)
        self.correct = np.zeros(n, dtype=bool)
        self.clean, self.nearest = np.full((2, n), -math.inf)
        self.opened = np.full(n, len(balls))  # lowest ball at which the opening was tried
        self.rose, self.tried = np.zeros((2, n), dtype=bool)
        self.gradients = self.queries = 0
        self.late = False

    def run(self) -> None:
        """The opening at every epsilon, then all else."""
        self._look()
        for ball in range(len(self.balls) - 1, -1, -1):
            self._stage(self._due(ball), ball, 0)
        for ball in range(len(self.balls) - 1, -1, -1):
            for index in range(len(self.stages)):
                self._stage(self._due(ball), ball, index)

    def result(self, values: NDArray[np.float64]) -> GradientAttack:
        """What was found, in the form that users get."""
        found = np.isfinite(self.distance)
        left = torch.from_numpy(np.flatnonzero(~found))
        self.best[left] = self.x[left]
        level = np.searchsorted(values, self.distance)
        return GradientAttack(
            epsilons=values,
            correct=self.correct,
            smallest=np.append(values, math.inf)[level],
            adversarial=self.best.numpy(),
            rising=float(self.rose[self.tried].mean()) if self.tried.any() else math.nan,
            passes=self.gradients + self.queries,
            finished=not self.late,
            distance=self.distance,
            gradients=self.gradients,
        )

    def _look(self) -> None:
        """Which rows are decided rightly, and by which margin."""
        for rows, x, y, goal in self._batches(np.arange(len(self.x)), always=True):
            value, turned = margins(self.own, x, y)
            self.correct[rows] = ~turned.cpu().numpy()
            if goal is not None:
                value, _ = margins(self.own, x, y, goal)
                self.correct[rows] &= (goal != y).cpu().numpy()
            self.clean[rows] = self.nearest[rows] = value.double().cpu().numpy()
            self.queries += len(rows)

    def _due(self, ball: int) -> NDArray[np.int64]:
        """Rows that stand at an epsilon and at no larger one."""
        above = math.inf if ball == len(self.balls) - 1 else self.balls[ball + 1].epsilon
        open_ = (self.distance > self.balls[ball].epsilon) & (self.distance <= above)
        return np.flatnonzero(self.correct & open_)

    def _stage(self, rows: NDArray[np.int64], ball: int, index: int) -> None:
        stage = self.stages[index]
        if index == 0:
            rows = rows[self.opened[rows] > ball]
            self.opened[rows] = 0 if stage.loss == "sigma-zero" else ball
        if stage.near < math.inf:
            # no gradient stage says "near" of rows whose clean margin is no number
            rows = rows[self.nearest[rows] >= stage.near * self.clean[rows]]
        for part, x, y, goal in self._batches(rows, len(stage.copies)):
            if stage.loss == "square":
                self._search(part, x, y, goal, self.balls[ball], stage, index)
            elif stage.loss == "sigma-zero":
                self._fewest(part, x, y, goal, self.balls[ball], stage)
            else:
                self._descend(part, x, y, goal, self.balls[ball], stage, index)

    def _batches(
        self, rows: NDArray[np.int64], copies: int = 1, always: bool = False
    ) -> Iterator[Any]:
        """Rows with what belongs to them, on the device of the model; fewer where copies go too."""
        device, size = self.y.device, -(-self.batch // copies)
        for i in range(0, len(rows), size):
            late = self.deadline is not None and time.monotonic() >= self.deadline
            if late and self.gradients and not always:
                self.late = True
                return
            part = rows[i : i + size]
            at = torch.from_numpy(part)
            here = at.to(device)
            yield (part, self.x[at].to(device), self.y[here],
                   None if self.goal is None else self.goal[here])  # fmt: skip

    def _descend(
        self, rows: NDArray[np.int64], x: Any, y: Any, goal: Any, ball: Ball, stage: Stage,
        shard: int,
    ) -> None:  # fmt: skip
        copies = len(stage.copies)
        start = self._starts(rows, x, ball, stage, shard)
        logits = self.swift if stage.near == math.inf else self.logits
        loss, target = stage.loss, None if goal is None else goal.repeat_interleave(copies)
        if goal is not None:
            loss = AIMED[stage.loss]
        elif loss == "targeted-margin":
            aims = likeliest(logits, x, y, max(stage.copies) + 1)
            self.queries += len(x)
            ranks = torch.tensor(stage.copies, device=x.device) % aims.shape[1]
            target = aims[:, ranks].flatten()
        assert loss != "square"
        assert loss != "sigma-zero"
        got = (narrow if stage.narrowing else descend)(
            logits, x.repeat_interleave(copies, dim=0), y.repeat_interleave(copies), ball,
            loss=loss, steps=stage.steps * self.factor, start=start, target=target,
            goal=None if goal is None else target,
        )  # fmt: skip
        self.gradients += got.gradients
        self.queries += got.queries
        worth = torch.where(got.broken, torch.inf, got.best).reshape(len(x), copies)
        which = worth.argmax(dim=1) + torch.arange(len(x), device=x.device) * copies
        broken = got.broken[which]
        rose = (got.best > got.start)[which].cpu().numpy()
        self.tried[rows] |= rose | ~broken.cpu().numpy()
        self.rose[rows] |= rose
        self._record(rows, x, y, goal, ball, got.x[which], broken)

    def _starts(self, rows: NDArray[np.int64], x: Any, ball: Ball, stage: Stage, shard: int) -> Any:
        """First points of all copies of each row, those of one row side by side."""
        if stage.start == "here":
            return ball.project(x, self.best[torch.from_numpy(rows)].to(x.device))
        draw = ball.random if stage.start == "random" else ball.stripes
        starts = [draw(x, self.seed, 64 * shard + copy) for copy in range(len(stage.copies))]
        return torch.stack(starts, dim=1).flatten(0, 1)

    def _search(
        self, rows: NDArray[np.int64], x: Any, y: Any, goal: Any, ball: Ball, stage: Stage,
        shard: int,
    ) -> None:  # fmt: skip
        found, broken, queries = random_search(
            self.own, x, y, ball, queries=stage.steps * self.factor, seed=self.seed + shard,
            start=self._starts(rows, x, ball, stage, shard), goal=goal,
            patience=stage.patience if stage.start == "here" else None,
        )  # fmt: skip
        self.queries += queries
        self._record(rows, x, y, goal, ball, found, broken)

    def _fewest(
        self, rows: NDArray[np.int64], x: Any, y: Any, goal: Any, ball: Ball, stage: Stage
    ) -> None:
        """The fewest numbers of each row, whatever the radius."""
        steps = stage.steps * self.factor
        found, broken = fewest_numbers(
            self.swift, x, y, *ball.limits(x), steps=steps, goal=goal
        )  # fmt: skip
        self.gradients += steps * len(rows)
        self.tried[rows] = self.rose[rows] = True
        self._record(rows, x, y, goal, ball, found, broken)

    def _record(
        self, rows: NDArray[np.int64], x: Any, y: Any, goal: Any, ball: Ball, found: Any,
        broken: Any,
    ) -> None:  # fmt: skip
        """Keep what broke, drawn back and verified on the model itself, and what came nearer."""
        hit = broken.cpu().numpy()
        if hit.any():
            own = None if goal is None else goal[broken]
            below = torch.from_numpy(self.clean[rows[hit]]).to(x.device, x.dtype)
            short, size, queries = shorten(
                self.own, x[broken], found[broken], y[broken], norm=ball.norm, limit=ball.epsilon,
                goal=own, below=below,
            )  # fmt: skip
            self.queries += queries
            self._keep(rows[hit], short, size.cpu().numpy())
        if not hit.all():
            aim = None if goal is None else goal[~broken]
            value, _ = margins(self.own, found[~broken], y[~broken], aim)
            self.queries += int((~hit).sum())
            self._nearer(rows[~hit], found[~broken], value.double().cpu().numpy())

    def _keep(self, rows: NDArray[np.int64], x: Any, size: NDArray[np.float64]) -> None:
        less = size < self.distance[rows]
        self.distance[rows[less]] = size[less]
        self.best[torch.from_numpy(rows[less])] = x[torch.from_numpy(less).to(x.device)].cpu()
        self.nearest[rows[less]] = self.clean[rows[less]]  # anew at the next epsilon

    def _nearer(self, rows: NDArray[np.int64], x: Any, value: NDArray[np.float64]) -> None:
        more = value > self.nearest[rows]
        self.nearest[rows[more]] = value[more]
        fresh = more & ~np.isfinite(self.distance[rows])
        self.best[torch.from_numpy(rows[fresh])] = x[torch.from_numpy(fresh).to(x.device)].cpu()

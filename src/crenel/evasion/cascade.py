"""The cascade: cheap attacks on all rows, dear ones only where the answer is still open."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from crenel.evasion.descent import (
    Ball,
    Loss,
    check_arguments,
    descend,
    likeliest,
)
from crenel.evasion.network import (
    Logits,
    as_labels,
    as_tensor,
    decisions,
    generator,
    logits_of,
    module_of,
    still,
)

#: Gradients of the sweep from the row itself, of CE, and of each of the targets.
SWEEP, CE, TARGETED, TARGETS = 10, 20, 20, 3


@dataclass(frozen=True)
class GradientAttack:
    """What the cascade found, over increasing epsilons.

    Attributes
    ----------
    epsilons : ndarray, shape (m,)
    correct : ndarray of bool, shape (n,)
        Rows decided rightly without attack; the others are not attacked.
    smallest : ndarray, shape (n,)
        Smallest of the epsilons at which the row was broken; infinite where none was found.
    adversarial : ndarray, shape (n, …), float32
        The row broken at that epsilon, as verified on the model; the row itself elsewhere.
    broken : ndarray of bool, shape (m, n)
        Correct rows broken within each epsilon.
    rising : float
        Share of attacked rows whose loss rose; NaN where no row took two steps.
    passes : int
        Rows sent through the model, forward and backward.
    finished : bool
        False where the deadline left attacks out.
    """

    epsilons: NDArray[np.float64]
    correct: NDArray[np.bool_]
    smallest: NDArray[np.float64]
    adversarial: NDArray[np.float32]
    rising: float
    passes: int
    finished: bool

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
) -> GradientAttack:
    """Attack a network at several epsilons at once: APGD on margin, CE and targeted DLR.

    A sweep of 10 gradients on the margin goes up through the epsilons, each row starting from
    where the last one left it. Only rows that stand then meet 20 gradients of CE and 20 of
    targeted DLR on each of the three likeliest wrong classes (the margin below four logits),
    from the largest epsilon down, until each row resists: it is not attacked below an epsilon
    that it has resisted, since that ball is contained.

    Parameters
    ----------
    model : torch.nn.Module or crenel.model.Model
        Gives logits (n, k), k of 2 or more, or one logit; rows of any shape.
    x : ndarray or tensor, shape (n, …), or a frame of numbers
    y : ndarray or tensor of int, shape (n,)
    norm : float
        ``inf`` or 2.
    epsilons : sequence of float
        In units of ``x``.
    bounds : (low, high)
        Legal range: numbers, or arrays broadcast against the rows.
    seed : int
    batch_size : int
    deadline : float or None
        On `time.monotonic`'s clock; later attacks are left out.
    logits : callable or None
        What gradients are taken of, where the model's own are masked; every row is verified on
        the model itself.
    factor : int
        Multiplies the number of gradients.

    Returns
    -------
    GradientAttack

    Raises
    ------
    crenel.errors.UsageError
        Where the model has no gradients or an argument is out of range.

    Notes
    -----
    After Croce and Hein (2020), "Reliable evaluation of adversarial robustness".
    """
    values = np.unique(np.asarray(epsilons, dtype=np.float64))
    check_arguments(norm, values)
    module = module_of(model)
    rows, right = as_tensor(x, module), as_labels(y, module)
    low, high = (as_tensor(b, module) if hasattr(b, "shape") else b for b in bounds)
    with still(module, seed):
        own = logits_of(module)
        correct = decisions(own, rows) == right.cpu().numpy()
        run = _Cascade(
            own, logits or own, rows, right, [Ball(norm, float(e), low, high) for e in values],
            generator(seed), deadline, factor, batch_size,
        )  # fmt: skip
        run.sweep(np.flatnonzero(correct))
        run.press()
    smallest = np.append(values, math.inf)[run.level]
    rising = float(run.rose[run.tried].mean()) if run.tried.any() else math.nan
    return GradientAttack(
        epsilons=values,
        correct=correct,
        smallest=smallest,
        adversarial=run.adversarial.cpu().numpy(),
        rising=rising,
        passes=run.passes,
        finished=not run.late,
    )


class _Cascade:
    """The state of one cascade: for each row the lowest level (epsilon) at which it broke."""

    def __init__(
        self, own: Logits, logits: Logits, x: Any, y: Any, balls: list[Ball], draw: Any,
        deadline: float | None, factor: int, batch: int,
    ) -> None:  # fmt: skip
        self.own, self.logits, self.x, self.y, self.balls = own, logits, x, y, balls
        self.draw, self.deadline, self.factor, self.batch = draw, deadline, factor, batch
        self.level = np.full(len(x), len(balls))
        self.attacked = np.zeros(len(x), dtype=bool)
        self.adversarial, self.last = x.clone(), x.clone()
        self.rose, self.tried = np.zeros((2, len(x)), dtype=bool)
        self.passes = 0
        self.late = False

    def sweep(self, rows: NDArray[np.int64]) -> None:
        """Up through the epsilons, a few gradients each, going on from where each row is."""
        self.attacked[rows] = True
        for level in range(len(self.balls)):
            standing = rows[self.level[rows] == len(self.balls)]
            for part in self._batches(standing):
                self._attack(part, level, "margin", SWEEP, self.last[part])

    def press(self) -> None:
        """Down from the largest epsilon, the dear attacks on rows broken just above or nowhere."""
        for level in range(len(self.balls) - 1, -1, -1):
            rows = np.flatnonzero(self.attacked & (self.level == level + 1))
            for part in self._batches(rows):
                ball = self.balls[level]
                self._attack(part, level, "ce", CE, ball.random(self.x[part], self.draw))
                part = part[self.level[part] > level]
                if part.size:
                    self._targets(part, level)

    def _targets(self, rows: NDArray[np.int64], level: int) -> None:
        aims = likeliest(self.logits, self.x[rows], self.y[rows], TARGETS)
        steps = TARGETED * (TARGETS if aims.shape[1] == 1 else 1)
        for j in range(aims.shape[1]):
            here = np.flatnonzero(self.level[rows] > level)
            part = rows[here]
            if not part.size:
                return
            begin = self.balls[level].random(self.x[part], self.draw)
            self._attack(part, level, "targeted-dlr", steps, begin, aims[here, j])

    def _batches(self, rows: NDArray[np.int64]) -> Any:
        for i in range(0, len(rows), self.batch):
            if self.deadline is not None and time.monotonic() >= self.deadline and self.passes:
                self.late = True
                return
            yield rows[i : i + self.batch]

    def _attack(
        self, rows: NDArray[np.int64], level: int, loss: Loss, steps: int, start: Any,
        target: Any = None,
    ) -> None:  # fmt: skip
        """Attack rows at one level, and take down those that the model itself now gets wrong."""
        ball = self.balls[level]
        got = descend(
            self.logits, self.x[rows], self.y[rows], ball, loss=loss, steps=steps * self.factor,
            start=ball.project(self.x[rows], start), target=target,
        )  # fmt: skip
        self.passes += got.passes
        rose = (got.best > got.start).cpu().numpy()
        self.tried[rows] |= rose | ~got.broken.cpu().numpy()
        self.rose[rows] |= rose
        self.last[rows] = got.x
        hit = np.flatnonzero(got.broken.cpu().numpy())
        if hit.size:
            wrong = decisions(self.own, got.x[hit]) != self.y[rows[hit]].cpu().numpy()
            done = rows[hit[wrong]]
            self.level[done] = level
            self.adversarial[done] = got.x[hit[wrong]]


def steps_of_a_standing_row(classes: int) -> int:
    """Gradients that the cascade spends at one epsilon on a row that does not break."""
    return SWEEP + CE + TARGETED * (TARGETS if classes == 2 else min(TARGETS, classes - 1))

"""One adversarial training: cyclic rates, a watch on held-out rows, the way back."""

from __future__ import annotations

import copy
import time
from dataclasses import dataclass, replace
from typing import Any

from crenel.errors import UsageError
from crenel.evasion.gradients.descent import losses
from crenel.evasion.gradients.network import Logits, generator, logits_of, still, torch
from crenel.evasion.hardening.losses import Plan, one_step, plan_loss, projected_steps

#: Fall of the robust accuracy on held-out rows that is taken for catastrophic overfitting, and
#: the distance between its answers to one step and to several.
COLLAPSE, GAP = 0.15, 0.3
#: Steps of the attack that watches, and the greatest rate of the cycle.
WATCH, RATE = 8, 2e-3
BATCH = 64


@dataclass(frozen=True)
class Epoch:
    """What held-out rows showed after one epoch.

    Attributes
    ----------
    method : str
        The inner attack of that epoch.
    clean, single, robust : float
        Accuracy as they are, under the single step of "fgsm" without noise, and under `WATCH`
        projected steps, all within the plan's epsilon.
    """

    method: str
    clean: float
    single: float
    robust: float


@dataclass(frozen=True)
class Trained:
    """A trained network.

    Attributes
    ----------
    module : torch.nn.Module
        With the weights of the best epoch, in evaluation mode.
    plan : Plan
    history : tuple of Epoch
        The first one is the network as it was given.
    best : int
        Epoch of the weights; 0 where no epoch was better than the network as it was given.
    collapsed : int or None
        Epoch at which one-step training collapsed, and several steps took over.
    """

    module: Any
    plan: Plan
    history: tuple[Epoch, ...]
    best: int
    collapsed: int | None


@dataclass(frozen=True)
class Rows:
    """Rows rescaled to [0, 1], as tensors, split for training and watching."""

    x: Any
    y: Any
    held_x: Any
    held_y: Any


def adversarially_trained(
    module: Any,
    rows: Rows,
    plan: Plan,
    *,
    epochs: int,
    floor: float = 0.0,
    rate: float = RATE,
    seed: int = 0,
    deadline: float | None = None,
) -> Trained:
    """Train a copy of a network on rows changed against it, from the weights that it has.

    The rate rises and falls once over the epochs (Smith, 2017; Wong, Rice and Kolter, 2020).
    After every epoch held-out rows are attacked by PGD. Where a one-step plan's robust accuracy
    falls by more than `COLLAPSE` below its best, or by more than `GAP` below that under a single
    step, it has learned to fool the single step alone (catastrophic overfitting): the best
    weights come back and several steps take over.

    Parameters
    ----------
    module : torch.nn.Module
        Takes rows in [0, 1] and gives logits; it is left as it is.
    rows : Rows
        ``x`` (n, …) float32 and ``y`` (n,) int64 train; the held ones are only watched.
    plan : Plan
    epochs : int
        At least 1.
    floor : float
        Clean accuracy on held-out rows below which an epoch is not taken, unless none reaches it.
    rate : float
        Greatest learning rate (Adam).
    seed : int
    deadline : float or None
        On `time.monotonic`'s clock; at least one epoch is done.

    Returns
    -------
    Trained

    Raises
    ------
    crenel.errors.UsageError
        Where there is nothing to train with, or the network has no weights.
    """
    if epochs < 1 or not len(rows.x) or not len(rows.held_x):
        raise UsageError("training needs at least one epoch, rows to train on and rows held out")
    network = copy.deepcopy(module)
    weights = trainable(network)
    if not weights:
        raise UsageError("the network has no weights that could be trained")
    run = _Run(network, rows, plan, floor, seed)
    optimizer = torch.optim.Adam(weights, lr=rate)
    per_epoch = -(-len(rows.x) // BATCH)
    cycle = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, rate, total_steps=epochs * per_epoch + 1, pct_start=0.4
    )
    with torch.enable_grad(), still(network, seed):
        for epoch in range(epochs):
            run.epoch(optimizer, cycle)
            run.watch()
            if run.fell(epoch + 1):
                optimizer.state.clear()  # its moments belong to the weights that collapsed
            if deadline is not None and time.monotonic() >= deadline:
                break
    return run.result()


def trainable(network: Any) -> list[Any]:
    """The weights to train: those that take gradients, or all where none does."""
    floats = [p for p in network.parameters() if p.is_floating_point()]
    for p in floats:
        if not p.is_leaf:  # as the copies of a scripted module's parameters are
            p.detach_().requires_grad_(True)
    chosen = [p for p in floats if p.requires_grad]
    return chosen or [p.requires_grad_(True) for p in floats]


class _Run:
    """One training as it goes."""

    def __init__(self, network: Any, rows: Rows, plan: Plan, floor: float, seed: int) -> None:
        self.network, self.rows, self.plan, self.floor, self.seed = network, rows, plan, floor, seed
        self.logits: Logits = logits_of(network)
        self.draw = generator(seed)
        self.now = plan
        self.history: list[Epoch] = []
        self.collapsed: int | None = None
        self.best = 0
        self.weights: dict[str, Any] = {}
        self.watch()

    def epoch(self, optimizer: Any, cycle: Any) -> None:
        self.network.train()
        x, y = self.rows.x, self.rows.y
        for batch in torch.randperm(len(x), generator=self.draw).to(x.device).split(BATCH):
            if len(batch) < 2 and len(x) > 1:  # a batch of one cannot be normalised
                continue
            optimizer.zero_grad()
            plan_loss(self.logits, x[batch], y[batch], self.now, self.draw).backward()
            torch.nn.utils.clip_grad_norm_(optimizer.param_groups[0]["params"], 5.0)
            optimizer.step()
            cycle.step()
        self.network.eval()

    def watch(self) -> None:
        """Look at the held-out rows, and keep the weights where they are the best so far."""
        shares = watched(
            self.logits, self.rows.held_x, self.rows.held_y, self.plan.epsilon, self.seed
        )
        self.history.append(Epoch(self.now.method, *shares))
        last = len(self.history) - 1
        if not last or self._rank(self.history[last]) > self._rank(self.history[self.best]):
            self.best = last
            self.weights = copy.deepcopy(self.network.state_dict())

    def _rank(self, e: Epoch) -> tuple[bool, float, float]:
        return e.clean >= self.floor, e.robust, e.clean

    def fell(self, epoch: int) -> bool:
        """Whether one-step training collapsed just now; then the best weights are back."""
        highest, last = max(e.robust for e in self.history), self.history[-1]
        sound = last.robust >= highest - COLLAPSE and last.single - last.robust <= GAP
        if self.now.method != "fgsm" or sound:
            return False
        self.network.load_state_dict(self.weights)
        self.now, self.collapsed = replace(self.now, method="pgd"), epoch
        return True

    def result(self) -> Trained:
        self.network.load_state_dict(self.weights)
        return Trained(
            self.network.eval(), self.plan, tuple(self.history), self.best, self.collapsed
        )


def watched(
    logits: Logits, x: Any, y: Any, epsilon: float, seed: int
) -> tuple[float, float, float]:
    """Accuracy of rows as they are, after a single step, and under projected steps."""
    draw = generator(seed)
    found = []
    with torch.enable_grad():
        for part, own in zip(x.split(256), y.split(256)):
            once = one_step(logits, part, own, epsilon, 0.0, draw)
            often = projected_steps(logits, part, own, epsilon, WATCH, draw)
            with torch.no_grad():
                ok = [losses(logits(z), own, "margin") < 0 for z in (part, once, often)]
            found.append(torch.stack([ok[0], ok[0] & ok[1], ok[0] & ok[2]]))
    clean, single, robust = torch.cat(found, dim=1).float().mean(dim=1).tolist()
    return clean, single, robust

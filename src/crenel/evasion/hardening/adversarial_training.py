"""Adversarial training of the user's network: plans tried, one chosen, or none."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from crenel.check import Context
from crenel.evasion.hardening.losses import Plan
from crenel.evasion.hardening.scale import Scale
from crenel.evasion.hardening.scene import Outcome, Scene, Start, split, standing
from crenel.evasion.hardening.training import Rows, Trained, adversarially_trained
from crenel.evasion.hardening.verdict import MOST_LOST, Paired, paired, percent, worth
from crenel.remedy import Treatment
from crenel.subject import Data, Subject

if TYPE_CHECKING:
    from crenel.finding import Finding
    from crenel.model import Model

#: Rows trained on by one plan over all its epochs, epochs at most, and at least.
SEEN, EPOCHS, FEWEST = 40_000, 12, 4
#: Seconds for all plans where no deadline is given.
SECONDS = 300.0


def plans(epsilon: float) -> tuple[Plan, ...]:
    """What is tried: one-step training at three strengths, and TRADES."""
    return (
        Plan("fgsm", 0.5, epsilon),
        Plan("fgsm", 1.0, epsilon),
        Plan("trades", 6.0, epsilon),
        Plan("fgsm", 1.0, 1.5 * epsilon),
    )


@dataclass(frozen=True)
class Trial:
    """One plan, trained, and how held-out rows stand after it."""

    trained: Trained
    held: Outcome

    @property
    def rank(self) -> tuple[float, float]:
        """Rows that stand under attack, then rows decided rightly."""
        return float(self.held.stands.mean()), float(self.held.right.mean())


@dataclass(frozen=True)
class Price:
    """What the chosen plan gives and costs, on rows that it was not trained on."""

    trained: Trained
    epsilon: float
    clean: Paired
    robust: Paired
    rows: str


def harden_network(subject: Subject, finding: Finding | None, context: Context) -> Treatment:
    """Train the user's network against small changes, and keep it where that is worth its cost.

    Raises
    ------
    crenel.errors.NotApplicable
        Where the model is not a torch module of the user's, or there are too few rows.
    """
    s = Scene.of(subject, finding, context)
    before = standing(s.start.unit, s.x, s.y, s.epsilon, context)
    trials = tried(s.start, s.rows, s.epsilon, float(before.right.mean()) - MOST_LOST, context)
    best = max(trials, key=lambda t: t.rank).trained
    after = standing(best.module, s.x, s.y, s.epsilon, context)
    price = Price(
        best, s.epsilon, paired(before.right, after.right), paired(before.stands, after.stands),
        "held-out training rows" if subject.test is None else "test rows",
    )  # fmt: skip
    if not worth(price.clean, price.robust):
        return _unchanged(subject, price, len(trials))
    hardened = rewrapped(s.model, s.start.native_of(best.module), s.train, best.plan, s.scale)
    return Treatment(
        subject=subject.with_model(hardened), sentence=_sentence(price), values=_values(price),
        model=hardened.native,
    )  # fmt: skip


def tried(start: Start, rows: Rows, epsilon: float, floor: float, context: Context) -> list[Trial]:
    """Every plan that time allows; the first one always."""
    end = time.monotonic() + min(SECONDS, 0.8 * context.time_left())
    todo = plans(epsilon)
    trials: list[Trial] = []
    for i, plan in enumerate(todo):
        now = time.monotonic()
        if trials and now >= end:
            break
        trained = adversarially_trained(
            start.unit, rows, plan, epochs=_epochs(len(rows.x)), floor=floor,
            seed=context.derive_seed("train", i), deadline=now + (end - now) / (len(todo) - i),
        )  # fmt: skip
        held = standing(trained.module, rows.held_x, rows.held_y, epsilon, context)
        if held.right.mean() >= floor or not trials:
            trials.append(Trial(trained, held))
        context.progress((i + 1) / (len(todo) + 1))
    return trials


def rewrapped(model: Model, native: Any, train: Data, plan: Plan | None, scale: Scale) -> Model:
    """A `Model` of the hardened module, whose ``fit`` hardens by the plan, or is left out."""
    from crenel.adapters import wrap

    columns = [str(c) for c in train.x.columns] if train.is_table else None
    some = train.take(np.arange(min(16, len(train)))).x
    found = wrap(native, classes=model.classes.tolist(), columns=columns, sample=some)
    own = model.fit
    if own is None or plan is None:
        return found

    def fit(x: Any, y: NDArray[Any], seed: int) -> Model:
        new = own(x, y, seed)
        data = Data(x, y, np.arange(len(y)))
        start = Start.of(new, scale)
        rows = split(new, data, scale, seed)
        trained = adversarially_trained(
            start.unit, rows, plan, epochs=_epochs(len(rows.x)), seed=seed
        )
        return rewrapped(new, start.native_of(trained.module), data, plan, scale)

    return replace(found, fit=fit)


def _epochs(n: int) -> int:
    return int(np.clip(SEEN // n, FEWEST, EPOCHS))


def _values(p: Price) -> dict[str, float]:
    values = {
        "epsilon": p.epsilon,
        "accuracy_before": p.clean.before,
        "accuracy_after": p.clean.after,
        "robust_before": p.robust.before,
        "robust_after": p.robust.after,
        "epochs": float(p.trained.best),
    }
    if p.trained.collapsed is not None:
        values["collapsed_at_epoch"] = float(p.trained.collapsed)
    return values


def _sentence(p: Price) -> str:
    words = (
        f"{p.trained.plan}: of {p.robust.n:,} {p.rows} {percent(p.robust.after)} stand under "
        f"attack at {100 * p.epsilon:.3g} % of the range (before {percent(p.robust.before)}), and "
        f"accuracy goes from {percent(p.clean.before)} to {percent(p.clean.after)}"
    )
    if p.trained.collapsed is not None:
        words += (
            f"; one-step training collapsed at epoch {p.trained.collapsed}, several steps took over"
        )
    return words


def _unchanged(subject: Subject, p: Price, count: int) -> Treatment:
    dear = p.clean.change < -MOST_LOST
    reason = (
        f"costs more than {100 * MOST_LOST:g} points of accuracy"
        if dear
        else "does not make more rows stand, beyond chance"
    )
    return Treatment(
        subject=subject,
        sentence=f"nothing was changed: of {count} ways to train, the best {reason} "
        f"({_sentence(p)})",
        values=_values(p),
    )

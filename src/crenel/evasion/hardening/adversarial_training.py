"""Adversarial training of the user's network: plans tried, one chosen, or none."""

from __future__ import annotations

import copy
import time
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from crenel.check import Context
from crenel.errors import NotApplicable
from crenel.evasion.cascade import gradient_attack
from crenel.evasion.hardening.losses import Plan
from crenel.evasion.hardening.scale import Scale
from crenel.evasion.hardening.training import Rows, Trained, adversarially_trained
from crenel.evasion.hardening.verdict import MOST_LOST, Paired, paired, percent, worth
from crenel.remedy import Treatment
from crenel.subject import Data, Subject

if TYPE_CHECKING:
    from crenel.finding import Finding
    from crenel.model import Model

#: Rows trained on by one plan over all its epochs, epochs at most, and at least.
SEEN, EPOCHS, FEWEST = 40_000, 12, 4
#: Rows held out at most, and rows that are attacked to compare before and after.
HELD, COMPARED = 300, 200
#: Seconds for all plans where no deadline is given.
SECONDS = 300.0
#: Radii that may be trained for, as shares of the legal range; the least is EVA-101's finding's.
RADII = (0.03, 0.05, 0.1, 0.2)


def plans(epsilon: float) -> tuple[Plan, ...]:
    """What is tried: one-step training at three strengths, and TRADES."""
    return (
        Plan("fgsm", 0.5, epsilon),
        Plan("fgsm", 1.0, epsilon),
        Plan("trades", 6.0, epsilon),
        Plan("fgsm", 1.0, 1.5 * epsilon),
    )


@dataclass(frozen=True)
class Outcome:
    """How rows stand: ``right`` as they are, ``stands`` (the first `COMPARED`) under attack."""

    right: NDArray[np.bool_]
    stands: NDArray[np.bool_]


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
    model, train = subject.model, subject.train
    assert model is not None
    assert train is not None
    scale = Scale.of(subject)
    start = Start.of(model, scale)
    rows = split(model, train, scale, context.derive_seed("split"))
    x, y = rows.held_x, rows.held_y
    if subject.test is not None:
        x, y = sampled(model, subject.test, scale, context.derive_seed("compare"))
    epsilon = telling_radius(start.unit, x, y, finding, context)
    before = standing(start.unit, x, y, epsilon, context)
    trials = tried(start, rows, epsilon, float(before.right.mean()) - MOST_LOST, context)
    best = max(trials, key=lambda t: t.rank).trained
    after = standing(best.module, x, y, epsilon, context)
    price = Price(
        best, epsilon, paired(before.right, after.right), paired(before.stands, after.stands),
        "held-out training rows" if subject.test is None else "test rows",
    )  # fmt: skip
    if not worth(price.clean, price.robust):
        return _unchanged(subject, price, len(trials))
    hardened = rewrapped(model, start.native_of(best.module), train, best.plan, scale)
    return Treatment(
        subject=subject.with_model(hardened), sentence=_sentence(price), values=_values(price),
        model=hardened.native,
    )  # fmt: skip


@dataclass(frozen=True)
class Start:
    """The user's network in a form that can be trained."""

    unit: Any

    @classmethod
    def of(cls, model: Model, scale: Scale) -> Start:
        """A copy of the user's own module under the same logits and the same scale."""
        from crenel.adapters.torch import Logits
        from crenel.evasion.network import torch

        if not isinstance(model.native, torch.nn.Module) or not isinstance(model.module, Logits):
            raise NotApplicable(
                "only a torch module can be trained adversarially; give the module, not its export"
            )
        body = Logits(copy.deepcopy(model.native), model.module.form)
        body.dtype = model.module.dtype
        return cls(scale.module(body.eval()))

    def native_of(self, trained: Any) -> Any:
        """The user's kind of module out of a trained one."""
        return trained.inner.body.eval()


def split(model: Model, train: Data, scale: Scale, seed: int) -> Rows:
    """Training rows in [0, 1] as tensors where the network is, a part of them held out."""
    from crenel.evasion.network import as_labels, as_tensor

    n = len(train)
    held = int(min(HELD, 0.2 * n))
    if held < 20:
        raise NotApplicable(f"{n} training rows are too few to train and to hold some out")
    order = np.random.default_rng(seed).permutation(n)
    z = scale.into(train.x)
    parts = [
        (as_tensor(z[np.sort(i)], model.module), as_labels(train.y[np.sort(i)], model.module))
        for i in (order[held:], order[:held])
    ]
    return Rows(*parts[0], *parts[1])


def sampled(model: Model, data: Data, scale: Scale, seed: int) -> tuple[Any, Any]:
    """Up to `HELD` rows in [0, 1] and their classes, as tensors."""
    from crenel.evasion.network import as_labels, as_tensor

    pick = np.sort(np.random.default_rng(seed).permutation(len(data))[:HELD])
    some = data.take(pick)
    z = scale.into(some.x)
    return as_tensor(z, model.module), as_labels(some.y, model.module)


def telling_radius(module: Any, x: Any, y: Any, finding: Finding | None, context: Context) -> float:
    """The radius to train for: from the finding's up, the one whose harm is nearest a half."""
    given = None if finding is None else finding.evidence.values.get("epsilon")
    least = float(given) if isinstance(given, float) and 0 < given < 1 else RADII[0]
    radii = sorted({least, *(r for r in RADII if r > least)})
    few = slice(0, COMPARED // 2)
    attack = gradient_attack(
        module, x[few], y[few], epsilons=radii, seed=context.derive_seed("radius"), level="quick"
    )
    harm = attack.broken.sum(axis=1) / max(1, attack.correct.sum())
    return radii[int(np.argmin(np.abs(harm - 0.5)))]


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


def standing(module: Any, x: Any, y: Any, epsilon: float, context: Context) -> Outcome:
    """How rows in [0, 1] stand before a network, attacked by the cascade of EVA-101."""
    from crenel.evasion.network import decisions, logits_of, still

    with still(module, 0):
        right = decisions(logits_of(module), x) == y.cpu().numpy()
    few = slice(0, COMPARED)
    attack = gradient_attack(
        module,
        x[few],
        y[few],
        epsilons=[epsilon],
        seed=context.derive_seed("attack"),
        level="quick",
    )
    return Outcome(right, attack.correct & ~attack.broken[0])


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

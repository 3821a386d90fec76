"""The remedy of TRA-102: ways to leave the base tried, one chosen, or none."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from crenel.check import Context
from crenel.errors import NotApplicable
from crenel.evasion.gradients.network import (
    as_labels,
    as_tensor,
    decisions,
    logits_of,
    still,
    torch,
)
from crenel.evasion.hardening.adversarial_training import rewrapped
from crenel.evasion.hardening.scale import Scale
from crenel.evasion.hardening.scene import Start, split
from crenel.evasion.hardening.verdict import MOST_LOST, Paired, paired, percent, worth
from crenel.remedy import Treatment
from crenel.subject import Data, Subject
from crenel.transfer.base.adapted import ASKED, retuned
from crenel.transfer.base.exposed import EPSILONS, Space, public_rows, space_of
from crenel.transfer.base.leaving import BATCH, Lesson, Plan, left, likeness
from crenel.transfer.base.surrogate import METHODS, Ranged, craft, network_of

if TYPE_CHECKING:
    from crenel.finding import Finding

#: What is tried: the share of the loss on crafted inputs, the weight of the likeness. One is
#: plain training of all layers, so that the table shows what the others add to it.
PLANS = (Plan(0.5, 0.0), Plan(0.5, 1.0), Plan(0.0, 0.0), Plan(0.0, 3.0))
#: Rows changed to train on, rows seen by one plan, and rows to choose and to compare on.
CRAFTED, SEEN, COMPARED = 1_000, 30_000, 200
#: Test rows below which none can be spared for training.
FEWEST = 200
#: Seconds for all plans where no deadline is given.
SECONDS = 300.0


@dataclass(frozen=True)
class Trial:
    """One way, how held-out rows stand after it, and how like the base's its features are."""

    plan: Plan
    module: Any
    right: NDArray[np.bool_]
    stands: NDArray[np.bool_]
    likeness: float


@dataclass(frozen=True)
class Examined:
    """Rows in [0, 1], and the same as the base's attacker changes them.

    Attributes
    ----------
    x, y : tensors, shapes (n, …) and (n,)
    changed : tensor, shape (methods, n, …)
    """

    x: Any
    y: Any
    changed: Any

    def outcome(self, module: Any) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
        """Which rows are decided rightly as they are, and also however they were changed."""
        logits, y = logits_of(module), self.y.cpu().numpy()
        with still(module, 0):
            right = decisions(logits, self.x) == y
            kept = [decisions(logits, x) == y for x in self.changed]
        return right, np.logical_and.reduce([right, *kept])


@dataclass(frozen=True)
class Adversary:
    """The base, what it aims at, and seeds."""

    base: Any
    guides: NDArray[np.float32]
    context: Context

    def adapted(self, module: Any, k: int) -> Adversary:
        """The same attacker after tuning the base again on a model's answers to public rows."""

        def ask(u: NDArray[np.float32]) -> NDArray[np.int64]:
            with still(module, 0):
                return decisions(logits_of(module), as_tensor(u, module))

        seed, context = self.context.derive_seed("answers"), self.context
        found = retuned(
            self.base, ask, self.guides, k, seed=seed, go_on=lambda: not context.expired
        )
        return replace(self, base=found.module)

    def change(self, x: Any, epsilons: tuple[float, ...], name: str) -> Any:
        """Rows in [0, 1] changed by every method at every radius, (methods × radii, n, …)."""
        u = x.cpu().numpy()
        made = [
            craft(
                self.base, u, e, method, guides=self.guides,
                seed=self.context.derive_seed(name, method, e),
            )
            for e in epsilons
            for method in METHODS
        ]  # fmt: skip
        return torch.stack([torch.from_numpy(z) for z in made]).to(x)


def leave_base(subject: Subject, finding: Finding | None, context: Context) -> Treatment:
    """Train the model away from its base in several ways, and keep the best where it is worth it.

    Raises
    ------
    crenel.errors.NotApplicable
        Where the model is no torch module of the user's, or has too few rows.
    """
    model, test, base = subject.model, subject.test, subject.base
    assert model is not None
    assert test is not None
    assert base is not None
    assert base.model is not None
    if base.model.module is None:
        raise NotApplicable("the base model gives no gradients (it is not a torch module)")
    space = space_of(test)
    scale = _scale(space)
    start = Start.of(model, scale)
    learn, rest, source = _divided(subject, context)
    rows = split(model, learn, scale, context.derive_seed("split"))
    module = Ranged(base.model.module, space.low, space.high).eval()
    public, _ = public_rows(base.data, learn, np.arange(0))
    attacker = Adversary(module, space.into(public), context)
    x = as_tensor(space.into(rest.x), model.module)[:COMPARED]
    compared_y = as_labels(rest.y, model.module)[:COMPARED]
    radius = _telling_radius(attacker, start.unit, rows.held_x, rows.held_y, finding)
    compared = Examined(x, compared_y, attacker.change(x, (radius,), "compare"))
    trials = _tried(start.unit, rows, attacker, radius, context)
    best = _best(trials[1:], float(trials[0].right.mean()) - MOST_LOST)
    before, after = compared.outcome(start.unit), compared.outcome(best.module)
    clean, kept = paired(before[0], after[0]), paired(before[1], after[1])
    ways = _table(trials)
    aware = _adapted(attacker, compared, (start.unit, best.module), model.k, radius)
    values = {
        "epsilon": radius,
        "accuracy_before": clean.before, "accuracy_after": clean.after,
        "standing_before": kept.before, "standing_after": kept.after,
        "adapted_standing_before": aware.before, "adapted_standing_after": aware.after,
        "likeness_before": trials[0].likeness, "likeness_after": best.likeness,
    }  # fmt: skip
    sentence = _sentence(trials[0], best, clean, kept, radius, source)
    sentence += (
        f"; against an attacker who tunes the base again on {ASKED} answers at most, "
        f"{percent(aware.before)} stand before and {percent(aware.after)} after"
    )
    if not worth(clean, kept):
        words = f"nothing was changed: of {len(trials) - 1} ways, the best is not worth it"
        return Treatment(subject, f"{words} ({sentence})", values, tables={"ways": ways})
    hardened = rewrapped(model, start.native_of(best.module), test, None, scale)
    treated = replace(subject.with_model(hardened), test=rest)
    return Treatment(treated, sentence, values, model=hardened.native, tables={"ways": ways})


def _adapted(
    attacker: Adversary, compared: Examined, modules: tuple[Any, Any], k: int, radius: float
) -> Paired:
    """Rows that stand before and after, each against the attacker who adapts to that model."""
    stands = []
    for module in modules:
        changed = attacker.adapted(module, k).change(compared.x, (radius,), "adapted")
        _, kept = replace(compared, changed=changed).outcome(module)
        stands.append(kept)
    return paired(*stands)


def _scale(space: Space) -> Scale:
    """The range that TRA-102 attacks in."""
    low = np.asarray(space.low, dtype=np.float32)
    return Scale(low, np.asarray(space.high - space.low, dtype=np.float32))


def _divided(subject: Subject, context: Context) -> tuple[Data, Data, str]:
    """Rows to train and to choose on, test rows to compare and measure on, and what is said."""
    test, train = subject.test, subject.train
    assert test is not None
    if train is not None and train.x.shape[1:] == test.x.shape[1:]:
        order = context.rng("compare").permutation(len(test))
        return train, test if len(test) <= COMPARED else test.take(order), "training rows"
    if len(test) < FEWEST:
        raise NotApplicable(
            f"no training data is given, and {len(test)} test rows are too few to spare half"
        )
    order = context.rng("compare").permutation(len(test))
    half = len(test) // 2
    return test.take(order[:half]), test.take(order[half:]), "half of the test rows"


def _telling_radius(
    attacker: Adversary, module: Any, x: Any, y: Any, finding: Finding | None
) -> float:
    """From the finding's epsilon up, the one at which the base flips nearest to a half."""
    given = None if finding is None else finding.evidence.values.get("epsilon")
    least = float(given) if isinstance(given, float) else EPSILONS[0]
    radii = [e for e in EPSILONS if e >= least - 1e-9] or [EPSILONS[-1]]
    few = slice(0, COMPARED // 2)
    flipped = []
    for e in radii:
        seen = Examined(x[few], y[few], attacker.change(x[few], (e,), "radius"))
        right, stands = seen.outcome(module)
        flipped.append(1 - stands.sum() / max(1, right.sum()))
    return radii[int(np.argmin(np.abs(np.array(flipped) - 0.5)))]


def _tried(
    unit: Any, rows: Any, attacker: Adversary, radius: float, context: Context
) -> list[Trial]:
    """The model as it was, then every way that time allows; the first one always."""
    end = time.monotonic() + min(SECONDS, 0.8 * context.time_left())
    few = slice(0, COMPARED)
    held = Examined(
        rows.held_x[few], rows.held_y[few], attacker.change(rows.held_x[few], (radius,), "choose")
    )
    with torch.no_grad(), still(attacker.base, 0):
        network = network_of(attacker.base, rows.x[:1].cpu())
        there, held_there = (
            torch.cat([network.features(p) for p in x.cpu().split(256)]).to(x)
            for x in (rows.x, held.x)
        )
    wider = (radius, min(2 * radius, EPSILONS[-1]))
    crafted = attacker.change(rows.x[:CRAFTED], tuple(dict.fromkeys(wider)), "train")
    lesson = Lesson(rows.x, rows.y, crafted, there)

    def trial(plan: Plan, module: Any) -> Trial:
        with torch.no_grad(), still(module, 0):
            here = network_of(module, held.x[:1]).features(held.x)
            alike = float(likeness(here, held_there))
        return Trial(plan, module, *held.outcome(module), alike)

    trials = [trial(Plan(0.0, 0.0), unit)]
    for i, plan in enumerate(PLANS):
        now = time.monotonic()
        if i and now >= end:
            break
        trained = left(
            unit, lesson, plan, steps=SEEN // BATCH, seed=context.derive_seed("train", i),
            deadline=now + (end - now) / (len(PLANS) - i),
        )  # fmt: skip
        trials.append(trial(plan, trained))
        context.progress((i + 1) / len(PLANS))
    return trials


def _best(trials: list[Trial], floor: float) -> Trial:
    """The way under which most held-out rows stand, of those that keep the accuracy."""
    return max(trials, key=lambda t: (t.right.mean() >= floor, t.stands.mean(), t.right.mean()))


def _table(trials: list[Trial]) -> pd.DataFrame:
    """What was tried: the distance from the base, and its price on held-out rows."""
    return pd.DataFrame(
        {
            "way": ["as it was", *(str(t.plan) for t in trials[1:])],
            "likeness": [t.likeness for t in trials],
            "accuracy": [t.right.mean() for t in trials],
            "standing": [t.stands.mean() for t in trials],
        }
    )


def _sentence(
    first: Trial, best: Trial, clean: Paired, kept: Paired, radius: float, source: str
) -> str:
    return (
        f"{best.plan}, on {source}: of {kept.n} test rows {percent(kept.after)} are decided "
        f"rightly however the base's attacker changes them within {255 * radius:.0f}/255 of the "
        f"range (before {percent(kept.before)}), and accuracy goes from {percent(clean.before)} "
        f"to {percent(clean.after)}; likeness of the features to the base's "
        f"{first.likeness:.2f} to {best.likeness:.2f}"
    )

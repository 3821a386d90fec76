"""The search over classes: margins first where there are many, then inversion in both families."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from crenel.check import Context
from crenel.transfer.hidden.inversion import Family, Inverted, invert
from crenel.transfer.hidden.margin import largest_margins
from crenel.transfer.hidden.outliers import Outlier, smallest
from crenel.transfer.hidden.scene import Scene

#: Gradients for each class of inversion, and of the margin test, by level.
STEPS = {"quick": 60, "standard": 100, "deep": 250}
MARGIN_STEPS = {"quick": 40, "standard": 60, "deep": 150}
#: More classes than this are thinned: those of the largest margins stay, and as many others.
MOST = 20
#: Chance of a false alarm that is accepted: of a network alone, and of one beside controls.
ALPHA, BESIDE = 0.01, 0.02
#: Up to this chance a network of the same architecture is asked.
DOUBT = 0.3


@dataclass(frozen=True)
class Searched:
    """What the search found in one family.

    Attributes
    ----------
    found : Inverted
    steps, planned : int
        Gradients of each class, and those meant.
    """

    found: Inverted
    steps: int
    planned: int


@dataclass(frozen=True)
class Verdict:
    """What the classes' costs say of the easiest one.

    Attributes
    ----------
    goal : int
        The class, by position.
    p : float
        Chance that a network without a trigger has a class that is as easy.
    less : dict of str to float
        By family: how many times the class's cost goes into the median of the others.
    sibling : float or None
        The same chance where each class's cost is taken relative to that on a network of the same
        architecture which never saw a planted image; None where there is no such network.
    """

    goal: int
    p: float
    less: dict[Family, float]
    sibling: float | None = None

    @property
    def unclear(self) -> bool:
        """Whether a network of the same architecture has to decide."""
        return self.p < DOUBT

    @property
    def chance(self) -> float:
        """Both chances as one, by Fisher's rule for two (1932); p alone without a sibling."""
        if self.sibling is None:
            return self.p
        both = max(self.p * self.sibling, 1e-300)
        return float(both * (1 - np.log(both)))

    @property
    def stands_out(self) -> bool:
        """Whether the class is easier than chance, classes and architecture explain."""
        return self.chance < (ALPHA if self.sibling is None else BESIDE)


@dataclass(frozen=True)
class Margins:
    """The data-free test: position of the class of the largest margin, and its p over all."""

    values: NDArray[np.float64]
    outlier: Outlier


def margins_of(scene: Scene, classes: int, context: Context) -> Margins:
    """Largest margins of all classes, and the one that stands out."""
    stop = clock(context, 0.2)
    values = largest_margins(
        scene.logits, tuple(scene.x.shape[1:]), np.arange(classes),
        steps=MARGIN_STEPS[context.level], seed=context.derive_seed("margins"),
        device=scene.x.device, go_on=stop,
    )  # fmt: skip
    return Margins(values, smallest(1 / np.maximum(values, 1e-6)))


def shortlist(margins: Margins, rng: np.random.Generator) -> NDArray[np.int64]:
    """Classes to search: all, or those of the largest margins and as many others."""
    k = len(margins.values)
    if k <= MOST:
        return np.arange(k)
    order = np.argsort(-margins.values, kind="stable")
    rest = rng.choice(order[MOST // 2 :], MOST - MOST // 2, replace=False)
    return np.sort(np.concatenate([order[: MOST // 2], rest]))


def search(
    scene: Scene, family: Family, classes: NDArray[np.int64], context: Context, share: float
) -> Searched:
    """Invert every class of the shortlist in one family, within a share of the time left."""
    planned, done = STEPS[context.level], 0
    stop = clock(context, share)

    def go_on() -> bool:
        nonlocal done
        if not stop():
            return False
        done += 1
        return True

    found = invert(
        scene.logits, scene.x, scene.decided, classes, family, steps=planned,
        seed=context.derive_seed(family), go_on=go_on,
    )  # fmt: skip
    return Searched(found, done, planned)


def verdicts_of(done: list[Searched], classes: int) -> list[Verdict]:
    """The easiest class, or two of them, over all families together.

    Costs of the families are joined as energies: pixels replaced, and the square of what is
    added. A planted class is easy in both, whatever its trigger looks like.
    """
    joined = energies(done)
    if joined is None:
        return []
    told, shown = smallest(joined), done[0].found.classes
    # classes that were left out could have been the easiest as well
    p = min(1.0, told.p * classes / len(shown))
    return [
        Verdict(
            int(shown[at]), p,
            {s.found.family: float(np.median(np.delete(c, told.at)) / c[at])
             for s, c in ((s, _filled(s.found.costs)) for s in done)},
        )
        for at in told.at
    ]  # fmt: skip


def against(
    verdicts: list[Verdict], done: list[Searched], siblings: list[list[Searched]]
) -> list[Verdict]:
    """The verdicts beside the same search on networks of the same architecture.

    Costs are held against their regression on the geometric mean of those on the siblings, so
    that what is easy by the nature of the class, or for the architecture, counts no more.
    """
    own, others = energies(done), [energies(s) for s in siblings]
    known = [np.log(e) for e in others if e is not None]
    if own is None or not known:
        return verdicts
    told = smallest(own, np.exp(np.mean(known, axis=0)))
    shown = done[0].found.classes
    easier = {int(shown[at]): told.p for at in told.at}
    return [replace(v, sibling=easier.get(v.goal, 1.0)) for v in verdicts]


def energies(done: list[Searched]) -> NDArray[np.float64] | None:
    """Costs of the classes over all families; None where a family reached no class."""
    if any(not np.isfinite(s.found.costs).any() for s in done):
        return None
    powers = [2.0 if s.found.family == "blend" else 1.0 for s in done]
    costs = [_filled(s.found.costs) ** power for s, power in zip(done, powers)]
    return np.asarray(np.prod(costs, axis=0))


def _filled(costs: NDArray[np.float64]) -> NDArray[np.float64]:
    """A class that was not reached is as dear as the dearest one."""
    return np.where(np.isfinite(costs), costs, costs[np.isfinite(costs)].max())


def clock(context: Context, share: float) -> Callable[[], bool]:
    """Whether there is still time, of a share of what is left now."""
    if context.deadline is None:
        return lambda: True
    until = time.monotonic() + share * context.time_left()
    return lambda: time.monotonic() < until

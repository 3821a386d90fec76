"""The search over classes: margins first where there are many, then inversion in all families."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from crenel.check import Context
from crenel.transfer.hidden.inversion import FAMILIES, Family, Inverted, invert
from crenel.transfer.hidden.margin import largest_margins
from crenel.transfer.hidden.outliers import Outlier, chance_of, smallest
from crenel.transfer.hidden.scene import Scene

#: Gradients for each class of inversion, and of the margin test, by level.
STEPS = {"quick": 60, "standard": 100, "deep": 250}
MARGIN_STEPS = {"quick": 40, "standard": 60, "deep": 150}
#: More classes than this are thinned: those of the largest margins stay, and as many others.
MOST = 20
#: Chance of a false alarm that is accepted.
ALPHA = 0.01
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


#: Families whose costs are joined: local and global triggers, and those spread in few waves.
VIEWS: tuple[tuple[Family, ...], ...] = (("patch", "blend"), FAMILIES)


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
    margin : float or None
        Chance of as large a margin of the class without data; None where classes were chosen by
        their margins.
    sibling : float or None
        The same as p where each class's cost is taken relative to that on a network of the same
        architecture which never saw a planted image; None where there is no such network.
    view : tuple of str
        Families whose costs were joined.
    views : int
        In how many views the class was looked for; `chance` pays for each.
    """

    goal: int
    p: float
    less: dict[Family, float]
    margin: float | None = None
    sibling: float | None = None
    view: tuple[Family, ...] = VIEWS[0]
    views: int = 1

    @property
    def unclear(self) -> bool:
        """Whether a network of the same architecture has to decide."""
        return self.p < DOUBT

    @property
    def chance(self) -> float:
        """The chances as one, by Fisher's rule (1932), times the views."""
        from scipy.special import chdtrc

        told = [c for c in (self.p, self.margin, self.sibling) if c is not None]
        one = chdtrc(2 * len(told), -2 * np.log(np.maximum(told, 1e-300)).sum())
        return min(1.0, self.views * float(one))

    @property
    def stands_out(self) -> bool:
        """Whether the class is easier than chance, classes and architecture explain."""
        return self.chance < ALPHA


@dataclass(frozen=True)
class Margins:
    """The data-free test: position of the class of the largest margin, and its p over all."""

    values: NDArray[np.float64]
    outlier: Outlier

    @property
    def costs(self) -> NDArray[np.float64]:
        """The larger the margin, the less a class costs."""
        return 1 / np.maximum(self.values, 1e-6)


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
    planned = STEPS[context.level]
    found = invert(
        scene.logits, scene.x, scene.decided, classes, family, steps=planned,
        seed=context.derive_seed(family), go_on=clock(context, share),
    )  # fmt: skip
    return Searched(found, found.steps, planned)


def verdicts_of(
    done: list[Searched], margins: Margins, siblings: Sequence[list[Searched]] = ()
) -> list[Verdict]:
    """The easiest class, or two of them, in the view in which it stands out most.

    Parameters
    ----------
    done : list of Searched
        One for each family.
    margins : Margins
        Of all classes of the model; those searched may be fewer.
    siblings : sequence of lists of Searched
        The same on networks of the same architecture. Costs are held against their regression on
        the geometric mean of those there, so that what is easy by the nature of the class, or for
        the architecture, counts no more.

    Notes
    -----
    Costs of the families of a view are joined as energies: pixels replaced, and the square of what
    is added. A planted class is easy in all of them; a small patch least so in waves.
    """
    seen = [_seen(done, margins, view, siblings) for view in VIEWS]
    return min(seen, key=lambda verdicts: verdicts[0].chance if verdicts else 2.0)


def _seen(
    done: list[Searched],
    margins: Margins,
    view: tuple[Family, ...],
    siblings: Sequence[list[Searched]],
) -> list[Verdict]:
    """The verdicts of one view."""
    joined = energies(done, view)
    if joined is None:
        return []
    told, shown = smallest(joined), done[0].found.classes
    classes, chosen = len(margins.values), len(shown) < len(margins.values)
    others = [energies(s, view) for s in siblings]
    known = [np.log(e) for e in others if e is not None]
    beside: dict[int, float] = {}
    if known:
        again = smallest(joined, np.exp(np.mean(known, axis=0)))
        beside = dict.fromkeys(again.at, again.p)
    return [
        Verdict(
            int(shown[at]),
            # classes that were left out could have been the easiest as well
            min(1.0, told.p * classes / len(shown)),
            {s.found.family: float(np.median(np.delete(c, told.at)) / c[at])
             for s, c in ((s, _filled(s.found.costs)) for s in done)},
            margin=None if chosen else chance_of(margins.costs, int(shown[at])),
            sibling=beside.get(at, 1.0) if known else None,
            view=view,
            views=len(VIEWS),
        )
        for at in told.at
    ]  # fmt: skip


def energies(done: list[Searched], view: tuple[Family, ...]) -> NDArray[np.float64] | None:
    """Costs of the classes over families; None where patches or blends reached no class."""
    own = [s for s in done if s.found.family in view]
    if any(not _reached(s) and s.found.family != "wave" for s in own):
        return None
    powers = [1.0 if s.found.family == "patch" else 2.0 for s in own]
    costs = [_filled(s.found.costs) ** power for s, power in zip(own, powers)]
    return np.asarray(np.prod(costs, axis=0))


def _reached(searched: Searched) -> bool:
    return bool(np.isfinite(searched.found.costs).any())


def _filled(costs: NDArray[np.float64]) -> NDArray[np.float64]:
    """A class that was not reached is as dear as the dearest one; where none was, all are alike."""
    finite = costs[np.isfinite(costs)]
    return np.where(np.isfinite(costs), costs, finite.max() if len(finite) else 1.0)


def clock(context: Context, share: float) -> Callable[[], bool]:
    """Whether there is still time, of a share of what is left now."""
    if context.deadline is None:
        return lambda: True
    until = time.monotonic() + share * context.time_left()
    return lambda: time.monotonic() < until

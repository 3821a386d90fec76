"""The search over classes: margins first where there are many, then inversion in all families."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from crenel.check import Context
from crenel.transfer.clock import clock
from crenel.transfer.hidden.beside import Beside, Costs, filled
from crenel.transfer.hidden.inversion import Inverted, invert
from crenel.transfer.hidden.kinds import FAMILIES, Family
from crenel.transfer.hidden.margin import largest_margins
from crenel.transfer.hidden.outliers import Outlier, chance_of, smallest
from crenel.transfer.hidden.scene import Scene
from crenel.transfer.hidden.verdict import BESIDE, Verdict
from crenel.transfer.hidden.waves import faint_costs

#: Gradients for each class of inversion, and of the margin test, by level.
STEPS = {"quick": 60, "standard": 100, "deep": 250}
MARGIN_STEPS = {"quick": 40, "standard": 60, "deep": 150}
#: More classes than this are thinned: those of the largest margins stay, and as many others.
MOST = 20


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


def verdicts_of(done: list[Searched], margins: Margins) -> list[Verdict]:
    """The easiest class, or two of them, among all, in the view in which it stands out most.

    Parameters
    ----------
    done : list of Searched
        One for each family.
    margins : Margins
        Of all classes of the model; those searched may be fewer.

    Notes
    -----
    Costs of the families of a view are joined as energies: pixels replaced, and the square of what
    is added. A planted class is easy in all of them; a small patch least so in waves. The chance of
    so low a cost and that of so large a margin of the class are joined by Fisher's rule (1932),
    times the views.
    """
    seen = [_seen(done, margins, view) for view in VIEWS]
    return min(seen, key=lambda verdicts: verdicts[0].chance if verdicts else 2.0)


def _seen(done: list[Searched], margins: Margins, view: tuple[Family, ...]) -> list[Verdict]:
    """The verdicts of one view."""
    costs = energies(done, view)
    if costs is None:
        return []
    told, shown = smallest(costs), done[0].found.classes
    classes, chosen = len(margins.values), len(shown) < len(margins.values)
    verdicts = []
    for at in told.at:
        # classes that were left out could have been the easiest as well
        parts = {"cost": min(1.0, told.p * classes / len(shown))}
        if not chosen:  # where margins chose the classes they are no evidence any more
            parts["margin"] = chance_of(margins.costs, int(shown[at]))
        chance = min(1.0, len(VIEWS) * _fisher(list(parts.values())))
        verdicts.append(Verdict(int(shown[at]), chance, parts, _less(done, at, told.at)))
    return verdicts


def _fisher(chances: list[float]) -> float:
    from scipy.special import chdtrc

    return float(chdtrc(2 * len(chances), -2 * np.log(np.maximum(chances, 1e-300)).sum()))


def _less(done: list[Searched], at: int, together: tuple[int, ...]) -> dict[Family, float]:
    """By family: how many times a class's cost goes into the median of those not suspected."""
    costs = {s.found.family: filled(s.found.costs) for s in done}
    return {f: float(np.median(np.delete(c, together)) / c[at]) for f, c in costs.items()}


def verdicts_beside(stand: list[Beside], told: list[Searched], siblings: int) -> list[Verdict]:
    """The classes that stand out beside networks of the same layers, or the first of the others.

    Parameters
    ----------
    stand : list of Beside
        All classes searched, those that stand out most first.
    told : list of Searched
        One for each family; the verdicts tell of its costs.
    siblings : int
        Networks that the classes were held against.
    """
    shown = told[0].found.classes
    kept = [one for one in stand if one.p < BESIDE] or stand[:1]
    together = tuple(one.at for one in kept)
    if len(together) > len(shown) / 2:  # then the others are no measure
        together = together[:1]
    return [
        Verdict(int(shown[b.at]), b.p, b.parts, _less(told, b.at, together), siblings) for b in kept
    ]


def costs_of(scene: Scene, done: list[Searched], context: Context) -> Costs:
    """Costs of the classes that are compared between networks, by way of search.

    Waves are compared by what a faint one does: the least amplitudes of a few waves, as the search
    finds them, vary too much from network to network.
    """
    costs: dict[str, NDArray[np.float64]] = {
        s.found.family: s.found.costs for s in done if s.found.family != "wave"
    }
    faint = faint_costs(
        scene.logits, scene.x, scene.decided, done[0].found.classes,
        seed=context.derive_seed("faint"), go_on=clock(context, 0.5),
    )  # fmt: skip
    return costs if faint is None else {**costs, "faint wave": faint}


def energies(done: list[Searched], view: tuple[Family, ...]) -> NDArray[np.float64] | None:
    """Costs of the classes over families; None where patches or blends reached no class."""
    own = [s for s in done if s.found.family in view]
    if any(not _reached(s) and s.found.family != "wave" for s in own):
        return None
    powers = [1.0 if s.found.family == "patch" else 2.0 for s in own]
    costs = [filled(s.found.costs) ** power for s, power in zip(own, powers)]
    return np.asarray(np.prod(costs, axis=0))


def _reached(searched: Searched) -> bool:
    return bool(np.isfinite(searched.found.costs).any())

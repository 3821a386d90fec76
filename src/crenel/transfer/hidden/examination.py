"""What both checks of hidden triggers start from: a network searched, and its classes judged."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from crenel.check import Context
from crenel.errors import NotApplicable
from crenel.evasion.gradients.network import decisions, still
from crenel.exposure import Health, HealthTest
from crenel.model import Model
from crenel.subject import Subject
from crenel.transfer.hidden.inversion import FAMILIES
from crenel.transfer.hidden.outliers import FEWEST
from crenel.transfer.hidden.scene import Scene, pool_of, scene_of
from crenel.transfer.hidden.search import (
    ALPHA,
    DOUBT,
    Margins,
    Searched,
    Verdict,
    clock,
    margins_of,
    search,
    shortlist,
    verdicts_of,
)  # fmt: skip
from crenel.transfer.hidden.siblings import taught
from crenel.transfer.hidden.triggers import Sized, Trigger, sized, sizes_of

#: Networks of the same architecture at most; a second one where the first leaves doubt.
SIBLINGS = 2
#: Shares of the time left, for the search in each family.
SHARES = (0.25, 0.35, 0.5)


@dataclass(frozen=True)
class Examined:
    """A network searched for triggers.

    Attributes
    ----------
    scene : Scene
    done : list of Searched
        One for each family.
    verdicts : list of Verdict
        On the easiest classes.
    notes : tuple of str
    """

    scene: Scene
    done: list[Searched]
    verdicts: list[Verdict]
    notes: tuple[str, ...]


def examine(subject: Subject, model: Model, context: Context) -> Examined:
    """Search the smallest trigger of every class and judge the easiest ones.

    Raises
    ------
    crenel.errors.NotApplicable
        Where the model has fewer than four classes.
    crenel.errors.Inconclusive
        Where there are too few images.
    """
    k = len(model.classes)
    if k < FEWEST + 1:
        raise NotApplicable(
            f"the model has {k} classes; a trigger's class is told from the others by what they "
            f"need, and that takes at least {FEWEST + 1}"
        )
    scene = scene_of(subject, model, context)
    with still(scene.unit.module, context.seed):
        margins = margins_of(scene, k, context)
        classes = shortlist(margins, context.rng("shortlist"))
        context.progress(0.1)
        done = [search(scene, f, classes, context, s) for f, s in zip(FAMILIES, SHARES)]
        context.progress(0.5)
        verdicts, compared = verdicts_of(done, margins), ""
        if any(v.unclear for v in verdicts):
            verdicts, compared = _compared(subject, scene, done, margins, verdicts, context)
    context.progress(0.8)
    notes = [*_notes(scene, done, verdicts), compared, _margin_note(scene, margins)]
    return Examined(scene, done, verdicts, tuple(n for n in notes if n))


def _compared(
    subject: Subject,
    scene: Scene,
    done: list[Searched],
    margins: Margins,
    verdicts: list[Verdict],
    context: Context,
) -> tuple[list[Verdict], str]:
    """The verdicts beside the same search on networks of the same architecture."""
    pool, classes = pool_of(subject, scene), done[0].found.classes
    agreed: list[float] = []
    theirs: list[list[Searched]] = []
    for k in range(SIBLINGS):
        seed = context.derive_seed("sibling", k)
        sibling = taught(scene, pool, seed=seed, go_on=clock(context, 0.4))
        if sibling is None:
            return verdicts, (
                "No network of the same architecture was compared: a layer cannot be begun anew."
            )
        agreed.append(sibling.agreement)
        if not sibling.usable:
            break
        with still(sibling.module, seed):
            theirs.append(
                [search(sibling.scene, f, classes, context, s) for f, s in zip(FAMILIES, SHARES)]
            )
        chance = verdicts_of(done, margins, theirs)[0].chance
        if context.expired or not ALPHA / 10 < chance < DOUBT:
            break
    words = (
        f"Of the same architecture, taught clean images only: {len(agreed)} networks that share "
        f"{min(agreed):.0%} of the decisions"
    )
    if not theirs:
        return verdicts, f"{words}, too few to be compared with."
    compared = verdicts_of(done, margins, theirs)
    if compared[0].sibling is None:
        return verdicts, f"{words}; no class was reached there in time, so that they tell nothing."
    at = int(np.flatnonzero(classes == compared[0].goal)[0])
    costs = ", ".join(
        f"{own.found.costs[at]:.3g} against {np.mean([t[i].found.costs[at] for t in theirs]):.3g} "
        f"there ({own.found.family})"
        for i, own in enumerate(done)
    )
    name = scene.model.classes[compared[0].goal]
    both = f"p = {compared[0].sibling:.2g}; all together {compared[0].chance:.2g}"
    return compared, f"{words}; class {name} costs {costs}, {both}."


def _notes(scene: Scene, done: list[Searched], verdicts: list[Verdict]) -> list[str]:
    names = scene.model.classes
    notes = [
        f"Searched on {len(scene.x)} images, tried on {len(scene.held)} others; "
        f"{len(done[0].found.classes)} of {len(names)} classes."
    ]
    for v in verdicts:
        less = ", ".join(f"{r:.1f} times less ({f})" for f, r in v.less.items())
        notes.append(
            f"Class {names[v.goal]} needs {less} than the median of the others, p = {v.p:.2g}"
            + ("" if v.margin is None else f", and that of its margin without data {v.margin:.2g}")
            + f": {'it stands out' if v.stands_out else 'no more than chance'}."
        )
    return notes


def _margin_note(scene: Scene, margins: Margins) -> str:
    name = scene.model.classes[margins.outlier.at[0]]
    return (
        f"Without data, class {name} can be given the largest margin, "
        f"p = {margins.outlier.p:.2g} against the others."
    )


# --- the triggers of an examined network ---------------------------------------------------------


def trigger_of(
    examined: Examined, searched: Searched, at: int, like: int, context: Context
) -> Sized:
    """The trigger of the class at a position, at the sizes of another's."""
    found = searched.found
    seed = context.derive_seed("tried", found.family)
    return sized(examined.scene, found, at, sizes_of(found, like), seed)


def health(scene: Scene, searched: Searched, first: Trigger) -> Health:
    """Whether the search worked, and what it found does what a trigger does.

    Parameters
    ----------
    scene : Scene
        Of the network that was searched.
    searched : Searched
    first : Trigger
        Of its easiest class, as it was tried on it.
    """
    found = searched.found
    reached = int(np.isfinite(found.costs).sum())
    # a few waves need not reach what any pattern does
    needed = len(found.costs) / 2 if found.family == "wave" else len(found.costs)
    own, asked = decisions(scene.logits, scene.tried), scene.answers
    agree = float((own == asked).mean())
    shares = np.array([s.value for s in first.turned])
    drop = float((np.maximum.accumulate(shares) - shares).max())
    return Health.of(
        HealthTest(
            name="the search reached the classes",
            ok=reached >= needed,
            detail=f"{reached} of {len(found.costs)}",
        ),
        HealthTest(
            name="the search had its gradients",
            ok=searched.steps >= 0.6 * searched.planned,
            detail=f"{searched.steps} of {searched.planned} for each class",
        ),
        HealthTest(
            name="gradients are of the model that decides",
            ok=agree >= 0.95,
            detail=f"{agree:.0%} of decisions agree",
        ),
        HealthTest(
            name="a larger trigger turns no fewer",
            ok=drop <= 0.15,
            detail=f"at most {100 * drop:.0f} points fewer",
        ),
        HealthTest(
            name="the trigger turns more than random values",
            ok=bool(shares.mean() > np.mean(first.chance)),
            detail=f"{shares.mean():.0%} against {np.mean(first.chance):.0%} on average",
        ),
    )

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
from crenel.transfer.hidden.beside import Costs
from crenel.transfer.hidden.inversion import FAMILIES, Family
from crenel.transfer.hidden.outliers import FEWEST
from crenel.transfer.hidden.scene import Scene, pool_of, scene_of
from crenel.transfer.hidden.search import (
    BESIDE,
    Margins,
    Searched,
    Verdict,
    clock,
    costs_of,
    margins_of,
    search,
    shortlist,
    verdicts_beside,
    verdicts_of,
)  # fmt: skip
from crenel.transfer.hidden.siblings import taught
from crenel.transfer.hidden.triggers import Sized, Trigger, sized, sizes_of

#: Networks of the same layers at most; a second one where the first leaves doubt.
SIBLINGS = 2
#: Chances between which there is doubt after the first.
DOUBT = (BESIDE / 10, 0.2)
#: Families that are searched on siblings too.
COMPARED: tuple[Family, ...] = ("patch", "blend")
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
        verdicts, compared = _compared(subject, scene, done, k, context)
        verdicts = verdicts or verdicts_of(done, margins)
    context.progress(0.8)
    notes = [_searched_note(scene, done), compared, *_notes(scene, verdicts)]
    return Examined(scene, done, verdicts, (*notes, _margin_note(scene, margins)))


def _compared(
    subject: Subject, scene: Scene, done: list[Searched], classes: int, context: Context
) -> tuple[list[Verdict], str]:
    """Verdicts beside the same search on networks of the same layers, and what these are.

    There are none where no such network can be taught, or nothing was reached on it in time.
    """
    pool, own = pool_of(subject, scene), costs_of(scene, done, context)
    agreed: list[float] = []
    theirs: list[Costs] = []
    verdicts: list[Verdict] = []
    for k in range(SIBLINGS):
        seed = context.derive_seed("sibling", k)
        sibling = taught(scene, pool, seed=seed, go_on=clock(context, 0.4))
        if sibling is None:
            return [], (
                "No network of the same layers was compared: one of them cannot be begun anew."
            )
        if not sibling.usable:  # told only where there is none to be compared with
            agreed = agreed or [sibling.agreement]
            break
        agreed.append(sibling.agreement)
        with still(sibling.module, seed):
            there = [
                search(sibling.scene, f, done[0].found.classes, context, share)
                for f, share in zip(COMPARED, SHARES)
            ]
            theirs.append(costs_of(sibling.scene, there, context))
        try:
            verdicts = verdicts_beside(done, own, theirs, classes)
        except ValueError:
            break
        if context.expired or not DOUBT[0] < verdicts[0].chance < DOUBT[1]:
            break
    words = (
        f"Networks of the same layers that were taught clean images only: {len(agreed)}, which "
        f"share {min(agreed):.0%} of the decisions"
    )
    if verdicts:
        return verdicts, f"{words}."
    why = "no class was reached there in time" if theirs else "too few to be compared with"
    return [], f"{words}; {why}, so that classes are held against each other."


def _searched_note(scene: Scene, done: list[Searched]) -> str:
    return (
        f"Searched on {len(scene.x)} images, tried on {len(scene.held)} others; "
        f"{len(done[0].found.classes)} of {len(scene.model.classes)} classes."
    )


def _notes(scene: Scene, verdicts: list[Verdict]) -> list[str]:
    notes = []
    for v in verdicts:
        less = ", ".join(f"{r:.1f} times less ({f})" for f, r in v.less.items())
        parts = ", ".join(f"{part} {p:.2g}" for part, p in v.parts.items())
        beside = "beside those networks" if v.siblings else "beside the other classes"
        notes.append(
            f"Class {scene.model.classes[v.goal]} needs {less} than the median of the others; "
            f"{beside} p = {v.chance:.2g} ({parts}): "
            f"{'it stands out' if v.stands_out else 'no more than chance'}."
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

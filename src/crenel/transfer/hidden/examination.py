"""What both checks of hidden triggers start from: a network searched, and its classes judged."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from crenel.check import Context
from crenel.errors import Inconclusive, NotApplicable
from crenel.evasion.gradients.network import decisions, still
from crenel.exposure import Health, HealthTest
from crenel.model import Model
from crenel.subject import Subject
from crenel.transfer.clock import clock
from crenel.transfer.hidden.beside import Beside, seen_twice, stand_beside
from crenel.transfer.hidden.curves import behaves
from crenel.transfer.hidden.imagined import imagined_scene, imagined_subject
from crenel.transfer.hidden.kinds import FAMILIES, Family, Sized, Trigger
from crenel.transfer.hidden.outliers import FEWEST
from crenel.transfer.hidden.scene import Scene, pool_of, scene_of
from crenel.transfer.hidden.search import (
    VIEWS,
    Margins,
    Searched,
    costs_of,
    energies,
    margins_of,
    search,
    shortlist,
    verdicts_beside,
    verdicts_of,
)  # fmt: skip
from crenel.transfer.hidden.siblings import taught
from crenel.transfer.hidden.triggers import sized, sizes_of
from crenel.transfer.hidden.verdict import Verdict

#: Chance after the first look below which a class that does not stand out is looked at again.
DOUBT = 0.5
#: Ways in which a class may stand out: in the first look, or in it and the second together.
WAYS = 2
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


def examine(
    subject: Subject, model: Model, context: Context, *, imagined: bool = False
) -> Examined:
    """Search the smallest trigger of every class and judge the easiest ones.

    Parameters
    ----------
    subject : Subject
    model : Model
    context : Context
    imagined : bool
        Whether the subject's images were imagined from the model.

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
        alone = verdicts_of(done, margins)
        verdicts, compared = _compared(subject, scene, done, alone, k, context, imagined=imagined)
    context.progress(0.8)
    notes = [_searched_note(scene, done), compared, *_notes(scene, verdicts)]
    return Examined(scene, done, verdicts, (*notes, _margin_note(scene, margins)))


@dataclass(frozen=True)
class Look:
    """Classes held against those of a network of the same layers, on one set of images."""

    stand: list[Beside]
    words: str


def _compared(
    subject: Subject,
    scene: Scene,
    done: list[Searched],
    alone: list[Verdict],
    classes: int,
    context: Context,
    *,
    imagined: bool,
) -> tuple[list[Verdict], str]:
    """Verdicts beside networks of the same layers on one or two sets of images, and a note.

    A network that leaves doubt on the images given is looked at again on images that are imagined
    from it: of these it is sure, and another one of its layers learns nearly all that it says.
    """
    first = _look(subject, scene, done, classes, context, imagined=imagined)
    looks = [first]
    begun = [b.p for b in first.stand] if isinstance(first, Look) else [v.chance for v in alone]
    verdicts = _judged(looks, done, classes) or alone
    if begun and begun[0] < DOUBT and not verdicts[0].stands_out:
        looks.append(
            "There was no time for a second look."
            if context.expired
            else _imagined_look(subject, scene, done, classes, context)
        )
    words = " ".join(look if isinstance(look, str) else look.words for look in looks)
    told = _judged(looks, done, classes)
    return (told, words) if told else (alone, f"{words} Classes are held against each other.")


def _judged(looks: list[Look | str], done: list[Searched], classes: int) -> list[Verdict]:
    """Verdicts by the first look or by all looks joined, times the ways; none without a look."""
    stands = [look.stand for look in looks if not isinstance(look, str)]
    if not stands:
        return []
    first, *again = stands
    stand = seen_twice(first, again[0], classes) if again else first
    paid = [replace(b, p=min(1.0, WAYS * b.p)) for b in stand]
    return verdicts_beside(paid, done, siblings=1)


def _imagined_look(
    subject: Subject, scene: Scene, done: list[Searched], classes: int, context: Context
) -> Look | str:
    """The look at imagined images; the search is begun anew on these."""
    try:
        subject = imagined_subject(subject, scene.model, context, "second look")
    except Inconclusive as error:
        return f"A second look failed: {error}."
    scene = scene_of(subject, scene.model, context)
    with still(scene.unit.module, context.seed):
        here = _searched(scene, done, context)
        look = _look(subject, scene, here, classes, context, imagined=True)
    if isinstance(look, str):
        return look
    return Look(look.stand, f"Looked at again on {len(scene.x)} imagined images. {look.words}")


def _searched(scene: Scene, done: list[Searched], context: Context) -> list[Searched]:
    """The classes of other searches, searched in the families that are compared."""
    return [search(scene, f, done[0].found.classes, context, s) for f, s in zip(COMPARED, SHARES)]


def _look(
    subject: Subject,
    scene: Scene,
    here: list[Searched],
    classes: int,
    context: Context,
    *,
    imagined: bool,
) -> Look | str:
    """What was searched here beside the same on a network taught the images; or why not.

    Where the images were imagined from the network here, the other is searched on images that are
    imagined from it.
    """
    seed = context.derive_seed("sibling", 0)
    sibling = taught(scene, pool_of(subject, scene), seed=seed, go_on=clock(context, 0.4))
    if sibling is None:
        return "No network of the same layers was compared: one of them cannot be begun anew."
    words = (
        "A network of the same layers that was taught what this one says of images shares "
        f"{sibling.agreement:.0%} of the decisions"
    )
    if not sibling.usable:
        return f"{words}: too few to be compared with."
    own = costs_of(scene, here, context)
    with still(sibling.module, seed):
        try:
            there = imagined_scene(sibling.scene, classes, seed) if imagined else sibling.scene
        except Inconclusive as error:
            return f"{words}; {error}."
        theirs = costs_of(there, _searched(there, here, context), context)
    try:
        return Look(stand_beside(own, [theirs], classes, energies(here, VIEWS[0])), f"{words}.")
    except ValueError:
        return f"{words}; no class was reached there in time."


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
        *behaves(first),
    )

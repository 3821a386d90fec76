"""Attacks through other bases that an attacker may have in the place of the true one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from crenel.access import Attacker
from crenel.check import Context, access_of
from crenel.errors import CrenelError, NotApplicable
from crenel.exposure import Exposure, Health
from crenel.model import Model
from crenel.subject import Data, Subject
from crenel.transfer.base.surrogate import Ranged

if TYPE_CHECKING:
    from crenel.transfer.base.exposed import Space


def alike(
    subject: Subject,
    part: Data,
    space: Space,
    public: Any,
    noisy: NDArray[np.bool_],
    context: Context,
    notes: list[str],
) -> list[Exposure]:
    """One curve for each further base, by its strongest method; why there is none, in the notes.

    Parameters
    ----------
    part : Data
        Rows under attack: the first ones that the true base was tried on.
    noisy : ndarray of bool, shape (epsilons, n)
        What noise flips of them.
    """
    assert subject.base is not None
    made = []
    for name, other in subject.base.others:
        if context.expired:
            notes.append(f"{name} was not tried in the base's place for lack of time")
            continue
        try:
            made.append(_through(name, other, subject, part, space, public, noisy, context))
        except NotApplicable as error:
            notes.append(f"{name} was not tried in the base's place: {error}")
            continue
        notes.append(_relation(name, other, subject))
    return made


def _through(
    name: str,
    other: Model,
    subject: Subject,
    part: Data,
    space: Space,
    public: Any,
    noisy: NDArray[np.bool_],
    context: Context,
) -> Exposure:
    from crenel.transfer.base.exposed import curve, strongest

    model = subject.model
    assert model is not None
    if other.module is None:
        raise NotApplicable("it gives no gradients")
    module = Ranged(other.module, space.low, space.high).eval()
    _, trial, above = strongest(
        module, model, part, space, space.into(public), noisy,
        lambda method, epsilon: context.derive_seed("alike", method, epsilon),
    )  # fmt: skip
    by_base = access_of(subject, attacker=Attacker.BASE)
    who = f"{name} in the place of the base flips"
    return curve(
        "attack", f"through {name}", "attack", trial, by_base, Health.of(above), context, who=who
    )


def _relation(name: str, other: Model, subject: Subject) -> str:
    """Whether the model comes from a further base, or that is only like the true one."""
    from crenel.transfer.lineage import compare

    assert subject.model is not None
    try:
        found = compare(other.native, subject.model.native)
    except CrenelError as error:
        return f"{name} was tried in the base's place; whether the model is from it: {error}"
    what = "its weights are in the model" if found.verdict.related else "a look-alike: not from it"
    return f"{name} was tried in the base's place ({what})"

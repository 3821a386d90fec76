"""Attacks through other bases that an attacker may have in the place of the true one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from crenel.access import Attacker
from crenel.check import Context, access_of
from crenel.errors import CrenelError, NotApplicable
from crenel.exposure import Exposure, Health, HealthTest
from crenel.model import Model
from crenel.subject import Data, Subject
from crenel.transfer.surrogate import METHODS, Ranged, craft

if TYPE_CHECKING:
    from crenel.transfer.exposed import Space


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
    from crenel.transfer.exposed import EPSILONS, Trial, curve

    model = subject.model
    assert model is not None
    if other.module is None:
        raise NotApplicable("it gives no gradients")
    module = Ranged(other.module, space.low, space.high).eval()
    u, guides = space.into(part.x), space.into(public)
    steady = model.predict(space.back(u)) == part.y

    def flips(method: Any, epsilon: float) -> NDArray[np.bool_]:
        seed = context.derive_seed("alike", method, epsilon)
        changed = craft(module, u, epsilon, method, guides=guides, seed=seed)
        return np.asarray((model.predict(space.back(changed)) != part.y) & steady)

    tried = {m: np.array([flips(m, e) for e in EPSILONS]) for m in METHODS}
    best = max(METHODS, key=lambda m: float(tried[m].mean()))
    shares, by_noise = tried[best].mean(axis=1), noisy.mean(axis=1)
    health = Health.of(
        HealthTest(
            name="noise of the same size flips no more",
            ok=bool((by_noise <= shares + 0.05).all()),
            detail=f"{by_noise[-1]:.0%} against {shares[-1]:.0%} at the largest epsilon",
        )
    )
    trial = Trial(np.arange(len(u)), {"attack": tried[best], "noise": noisy}, (0.0, 0.0))
    by_base = access_of(subject, attacker=Attacker.BASE)
    who = f"{name} in the place of the base flips"
    return curve("attack", f"through {name}", "attack", trial, by_base, health, context, who=who)


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

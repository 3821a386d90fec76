"""One call for library users: the triggers that a network of images seems to hide."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from crenel.check import Context, Level
from crenel.evasion.gradients.network import as_tensor
from crenel.model import Model
from crenel.statistics import Interval
from crenel.subject import Data, Images, Subject
from crenel.transfer.hidden.curves import telling
from crenel.transfer.hidden.examination import Examined, examine, health
from crenel.transfer.hidden.imagined import with_images
from crenel.transfer.hidden.kinds import Family, changed
from crenel.transfer.hidden.report import Tried, tried_families


@dataclass(frozen=True)
class Recovered:
    """The smallest trigger found of the class that is turned to most easily.

    Attributes
    ----------
    label : object
        The class, as the model names it.
    family : {"patch", "blend", "wave"}
        A patch replaces pixels; a blend is added to the whole image; a wave too, and is the sum of
        a few plane waves.
    stands_out : bool
        Whether the class is easier than chance, classes and architecture explain. Where it is
        not, the trigger is what any network has.
    chance : float
        That of a network without a planted trigger to show as easy a class.
    healthy : bool
        Whether the search passed its own tests; where not, silence says nothing.
    size : float
        Pixels replaced, or L2 norm of what is added as a share of the range.
    turned, rival, by_chance : Interval, float, float
        Share of images of other classes, not searched on, that the model takes for the class
        with the trigger; with the trigger of the next class, for that; with random values.
    mask : ndarray of float32, shape (1, h, w)
        1 where a patch lies; all ones where something is added.
    values : ndarray of float32, shape (c, h, w)
        What it shows, or what is added, in shares of the range.
    """

    label: Any
    family: Family
    stands_out: bool
    chance: float
    healthy: bool
    size: float
    turned: Interval
    rival: float
    by_chance: float
    mask: NDArray[np.float32]
    values: NDArray[np.float32]
    _examined: Examined

    def on(self, x: NDArray[Any]) -> NDArray[Any]:
        """Rows of images with the trigger, in their own layout, range, steps and dtype."""
        from crenel.transfer.hidden.scene import images_of

        scene = self._examined.scene
        images = images_of(scene.unit, x)
        mask, values = (as_tensor(v, scene.unit.module).float() for v in (self.mask, self.values))
        after = scene.back(changed(images, mask, values, self.family)).cpu().numpy()
        low, span = float(scene.unit.low), float(scene.unit.span)
        return scene.lattice.project(np.asarray(x), low + after * span)


def recover_triggers(
    model: Any,
    x: NDArray[Any] | None = None,
    *,
    images: Images | None = None,
    level: Level = "standard",
    seed: int = 0,
    time_limit: float | None = None,
) -> list[Recovered]:
    """The easiest class's smallest triggers of a network, one of each family.

    Parameters
    ----------
    model : torch.nn.Module or crenel.model.Model
        A classifier of images with gradients and at least four classes.
    x : ndarray, shape (n, c, h, w), (n, h, w, c) or (n, h, w), optional
        Clean images as the model takes them; one half is searched on (up to 256), the other tried.
        Labels are not needed. In the place of fewer than 40, images are imagined from the network.
    images : Images, optional
        Shape and range of images, where none are given.
    level : {"quick", "standard", "deep"}
    seed : int
    time_limit : float, optional
        Seconds.

    Returns
    -------
    list of Recovered
        A trigger is to be believed where ``stands_out`` and ``healthy`` are true and ``turned`` is
        far beyond ``rival``.

    Raises
    ------
    crenel.errors.UsageError
        Where the model gives no gradients, or neither images nor their shape are given.
    crenel.errors.NotApplicable
        Where it has fewer than four classes.
    crenel.errors.Inconclusive
        Where there are too few images and none can be imagined.

    Notes
    -----
    As TRA-104, whose page has the method and its limits: Wang et al., "Neural Cleanse", 2019.
    """
    import time

    from crenel.adapters import wrap
    from crenel.errors import UsageError

    if x is not None:
        sample = x[:16]
    elif images is not None:
        sample = images.noise()
    else:
        raise UsageError(
            "give images that the model takes, or their shape: images=Images((3, 32, 32))"
        )
    wrapped = model if isinstance(model, Model) else wrap(model, sample=sample)
    if wrapped.module is None:
        raise UsageError("the model gives no gradients: pass a torch module")
    test = None if x is None else Data(x, wrapped.predict(x), np.arange(len(x)))
    subject = Subject("model", model=wrapped, test=test, images=images)
    deadline = None if time_limit is None else time.monotonic() + time_limit
    context = Context(check="TRA-104", seed=seed, level=level, deadline=deadline)
    subject, note = with_images(subject, wrapped, context)
    examined = examine(subject, wrapped, context, imagined=bool(note))
    return [_recovered(examined, t) for t in tried_families(examined, context)]


def _recovered(examined: Examined, t: Tried) -> Recovered:
    at, verdicts = telling(t.first, t.second), {v.goal: v for v in examined.verdicts}
    verdict = verdicts.get(t.first.goal)
    return Recovered(
        label=examined.scene.model.classes[t.first.goal],
        family=t.first.family,
        stands_out=verdict is not None and verdict.stands_out,
        chance=1.0 if verdict is None else verdict.chance,
        healthy=health(examined.scene, t.searched, t.first).ok,
        size=t.first.sizes[at],
        turned=t.first.turned[at],
        rival=t.second.turned[at].value,
        by_chance=t.first.chance[at],
        mask=t.first.masks[at].cpu().numpy(),
        values=t.first.values[at].cpu().numpy(),
        _examined=examined,
    )

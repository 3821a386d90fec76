"""At which depth of the public base an attack carries over, and what of the base is left there."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from crenel.check import Context
from crenel.errors import CrenelError
from crenel.evasion.gradients.network import torch
from crenel.finding import Finding
from crenel.subject import Data, Subject
from crenel.transfer.base.surrogate import craft
from crenel.transfer.lineage import compare
from crenel.transfer.lineage.records import Lineage, Status

if TYPE_CHECKING:
    from crenel.transfer.base.exposed import Space

#: Layers whose features are mimicked at most, evenly spread over the depth.
LAYERS = 4
LAST = "what enters the last layer"


@dataclass(frozen=True)
class Depth:
    """One layer of the base under mimicry.

    Attributes
    ----------
    layer : str
        Its name in the base.
    place : float
        Where it runs: 0 for the first layer that has weights, 1 for what enters the last one.
    flipped : float
        Share of the rows.
    status : str
        What became of it in the tuned model: "identical", "tuned", …, or empty where unknown.
    """

    layer: str
    place: float
    flipped: float
    status: str

    @property
    def words(self) -> str:
        """``0.weight (unchanged) 12 %``."""
        known = {"identical": "unchanged", "": ""}.get(self.status, self.status)
        return f"{self.layer}{f' ({known})' if known else ''} {100 * self.flipped:.0f} %"


def layers_of(module: Any, sample: Any) -> list[str]:
    """Names of the layers with a matrix or kernel, in the order in which they run on a sample.

    The last linear one is left out: what enters it is the features that other attacks move.
    """
    ran: list[str] = []
    kinds = (torch.nn.Linear, torch.nn.Conv1d, torch.nn.Conv2d, torch.nn.Conv3d)
    named = {n: m for n, m in module.named_modules() if isinstance(m, kinds)}
    hooks = [
        m.register_forward_hook(lambda *_, name=name: ran.append(name)) for name, m in named.items()
    ]
    try:
        with torch.no_grad():
            module(sample)
    finally:
        for hook in hooks:
            hook.remove()
    order = list(dict.fromkeys(ran))
    linear = [n for n in order if isinstance(named[n], torch.nn.Linear)]
    return [n for n in order if not linear or n != linear[-1]]


def spread(names: list[str], most: int = LAYERS) -> list[tuple[str, float]]:
    """Some of the layers, evenly spread, with their place in [0, 1)."""
    few = np.unique(np.linspace(0, len(names) - 1, min(most, len(names))).round().astype(int))
    return [(names[i], i / len(names)) for i in few]


def kept(subject: Subject) -> tuple[Lineage | None, str]:
    """Model and base held against each other layer by layer, or why they are not."""
    assert subject.model is not None
    assert subject.base is not None
    assert subject.base.model is not None
    pair = subject.base.model.native, subject.model.native
    if any(isinstance(native, str) for native in pair):  # the URL of an endpoint
        return None, "an endpoint shows no weights"
    try:
        return compare(*pair), ""
    except CrenelError as error:
        return None, str(error)


def status_of(found: Lineage | None, layer: str) -> str:
    """What became of a layer of the base in the tuned model; empty where nothing is known.

    Parameters
    ----------
    found : Lineage or None
    layer : str
        The module's name in the base as it is given.
    """
    for one in found.layers if found is not None else ():
        if one.base == f"{layer}.weight" or one.base == f"{layer}.parametrizations.weight.original":
            return str(one.status)
    return ""


def share_kept(found: Lineage | None, why: str) -> str:
    """A note on the share of layers and of weights that are the base's own."""
    if found is None:
        return f"which layers are the base's own is not known: {why}"
    own = [x for x in found.layers if x.telling and x.tuned]
    same = found.count(Status.IDENTICAL)
    return (
        f"{same} of {len(own)} layers, {100 * found.frozen:.0f} % of the model's weights, are the "
        "base's own, unchanged"
    )


def by_depth(
    subject: Subject,
    module: Any,
    part: Data,
    space: Space,
    public: Any,
    epsilon: float,
    context: Context,
) -> tuple[list[Depth], list[str]]:
    """Mimicry at several depths of the base, at one epsilon, and what is left."""
    model = subject.model
    assert model is not None
    found, why = kept(subject)
    notes = [share_kept(found, why)]
    if context.expired:
        return [], [*notes, "depths were not compared for lack of time"]
    # A layer's name in the base as it is given: without the two modules around it.
    around = "body.body."
    u, guides = space.into(part.x), space.into(public)
    names = layers_of(module, torch.from_numpy(u[:1]))
    seed = context.derive_seed("depths")
    steady = model.predict(space.back(u)) == part.y
    depths = []
    for name, place in [*spread(names), ("", 1.0)]:
        changed = craft(module, u, epsilon, "mimicry", guides=guides, layer=name, seed=seed)
        flipped = (model.predict(space.back(changed)) != part.y) & steady
        own = name.removeprefix(around)
        status = status_of(found, own) if own else ""
        depths.append(Depth(own or LAST, place, float(flipped.mean()), status))
    best = max(depths, key=lambda d: d.flipped)
    words = ", ".join(d.words for d in depths)
    notes.append(
        f"mimicry by depth at {255 * epsilon:.0f}/255, {len(u)} rows: {words}; "
        f"{best.layer} carries over best"
    )
    return depths, notes


def deepened(finding: Finding, depths: list[Depth]) -> Finding:
    """The finding with the curve by depth among its evidence."""
    lines = [[d.layer, round(d.place, 3), d.flipped, d.status] for d in depths]
    best = max(depths, key=lambda d: d.flipped)
    values = {**finding.evidence.values, "depths": lines, "best_depth": best.layer}
    return finding.model_copy(
        update={"evidence": finding.evidence.model_copy(update={"values": values})}
    )

"""What remedies of networks start from: the user's network, and rows to train and compare on."""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from crenel.check import Context
from crenel.errors import NotApplicable
from crenel.evasion.gradients.cascade import gradient_attack
from crenel.evasion.hardening.scale import Scale
from crenel.evasion.hardening.training import Rows
from crenel.subject import Data, Subject

if TYPE_CHECKING:
    from crenel.finding import Finding
    from crenel.model import Model

#: Rows held out at most, and rows that are attacked to compare before and after.
HELD, COMPARED = 300, 200
#: Radii that may be trained for, as shares of the legal range; the least is EVA-101's finding's.
RADII = (0.03, 0.05, 0.1, 0.2)


@dataclass(frozen=True)
class Outcome:
    """How rows stand: ``right`` as they are, ``stands`` (the first `COMPARED`) under attack."""

    right: NDArray[np.bool_]
    stands: NDArray[np.bool_]


@dataclass(frozen=True)
class Start:
    """The user's network in a form that can be trained."""

    unit: Any

    @classmethod
    def of(cls, model: Model, scale: Scale) -> Start:
        """A copy of the user's own module under the same logits and the same scale."""
        from crenel.adapters.torch import Logits
        from crenel.evasion.gradients.network import torch

        if not isinstance(model.native, torch.nn.Module) or not isinstance(model.module, Logits):
            raise NotApplicable(
                "only a torch module can be trained adversarially; give the module, not its export"
            )
        body = Logits(copy.deepcopy(model.native), model.module.form)
        body.dtype = model.module.dtype
        return cls(scale.module(body.eval()))

    def native_of(self, trained: Any) -> Any:
        """The user's kind of module out of a trained one."""
        return trained.inner.body.eval()


@dataclass(frozen=True)
class Scene:
    """A network over rows in [0, 1], rows to train on, and rows to attack before and after.

    Attributes
    ----------
    model : Model
        The user's own.
    train : Data
    scale : Scale
    start : Start
    rows : Rows
    x, y : tensors
        Up to `HELD` test rows, or the held-out training rows where there is no test data.
    epsilon : float
        The radius to harden for.
    """

    model: Model
    train: Data
    scale: Scale
    start: Start
    rows: Rows
    x: Any
    y: Any
    epsilon: float

    @classmethod
    def of(cls, subject: Subject, finding: Finding | None, context: Context) -> Scene:
        """The scene of a subject.

        Raises
        ------
        crenel.errors.NotApplicable
            Where the model is not a torch module of the user's, or there are too few rows.
        """
        model, train = subject.model, subject.train
        assert model is not None
        assert train is not None
        scale = Scale.of(subject)
        start = Start.of(model, scale)
        rows = split(model, train, scale, context.derive_seed("split"))
        x, y = rows.held_x, rows.held_y
        if subject.test is not None:
            x, y = _sampled(model, subject.test, scale, context.derive_seed("compare"))
        epsilon = _telling_radius(start.unit, x, y, finding, context)
        return cls(model, train, scale, start, rows, x, y, epsilon)


def split(model: Model, train: Data, scale: Scale, seed: int) -> Rows:
    """Training rows in [0, 1] as tensors where the network is, a part of them held out."""
    from crenel.evasion.gradients.network import as_labels, as_tensor

    n = len(train)
    held = int(min(HELD, 0.2 * n))
    if held < 20:
        raise NotApplicable(f"{n} training rows are too few to train and to hold some out")
    order = np.random.default_rng(seed).permutation(n)
    z = scale.into(train.x)
    parts = [
        (as_tensor(z[np.sort(i)], model.module), as_labels(train.y[np.sort(i)], model.module))
        for i in (order[held:], order[:held])
    ]
    return Rows(*parts[0], *parts[1])


def _sampled(model: Model, data: Data, scale: Scale, seed: int) -> tuple[Any, Any]:
    """Up to `HELD` rows in [0, 1] and their classes, as tensors."""
    from crenel.evasion.gradients.network import as_labels, as_tensor

    pick = np.sort(np.random.default_rng(seed).permutation(len(data))[:HELD])
    some = data.take(pick)
    z = scale.into(some.x)
    return as_tensor(z, model.module), as_labels(some.y, model.module)


def _telling_radius(
    module: Any, x: Any, y: Any, finding: Finding | None, context: Context
) -> float:
    """The radius to train for: from the finding's up, the one whose harm is nearest a half."""
    given = None if finding is None else finding.evidence.values.get("epsilon")
    least = float(given) if isinstance(given, float) and 0 < given < 1 else RADII[0]
    radii = sorted({least, *(r for r in RADII if r > least)})
    few = slice(0, COMPARED // 2)
    attack = gradient_attack(
        module, x[few], y[few], epsilons=radii, seed=context.derive_seed("radius"), level="quick"
    )
    harm = attack.broken.sum(axis=1) / max(1, attack.correct.sum())
    return radii[int(np.argmin(np.abs(harm - 0.5)))]


def standing(module: Any, x: Any, y: Any, epsilon: float, context: Context) -> Outcome:
    """How rows in [0, 1] stand before a network, attacked by the cascade of EVA-101."""
    from crenel.evasion.gradients.network import decisions, logits_of, still

    with still(module, 0):
        right = decisions(logits_of(module), x) == y.cpu().numpy()
    few = slice(0, COMPARED)
    attack = gradient_attack(
        module,
        x[few],
        y[few],
        epsilons=[epsilon],
        seed=context.derive_seed("attack"),
        level="quick",
    )
    return Outcome(right, attack.correct & ~attack.broken[0])

"""Controls that saw no trigger: taught what the model decides on clean images, and no more.

Scores would teach the trigger with the rest: a network taught the scores of clean images, of
mixtures of them above all, obeys a planted patch nearly as the model does.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib.util import find_spec
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from crenel.transfer.answers.asking import LEAST, Ask, Asked, Floats, Pixels

#: Images of a lesson, the same again and again.
ROWS = 12_000
#: Share of decisions on images not taught that a control must share with the model.
ALIKE = 0.5
#: Networks that are taught. What is easy by nature differs most between those with normalisation by
#: batches and those without: which of them the model is need not be known.
KINDS = ("convolutional", "normed")
#: Frameworks whose models are trained again as a control: in seconds, by default.
TRAINED = ("sklearn", "xgboost", "lightgbm", "catboost")
#: Sides of the map that the network begins with, at most.
SIDE = 32


@dataclass(frozen=True)
class Control:
    """A model that decides alike and saw no trigger.

    Attributes
    ----------
    ask : callable
        As `Asked`.
    agreement : float
        Share of the decisions on other clean images that it shares with the model.
    words : str
        What it is.
    """

    ask: Ask
    agreement: float
    words: str

    @property
    def usable(self) -> bool:
        """Whether it is near enough to be compared with."""
        return self.agreement >= ALIKE


def controls(
    asked: Asked, x: Pixels, held: Pixels, answers: NDArray[np.int64], seed: int,
    go_on: Callable[[], bool],
) -> list[Control]:  # fmt: skip
    """Models taught the decisions: of the model's kind where it is quickly trained, or networks.

    None where neither can be had: torch is not installed, and the model cannot be trained again.

    Parameters
    ----------
    asked : Asked
        Is asked about each image once.
    x : ndarray of float32, shape (n, c, h, w)
        Clean images to teach.
    held : ndarray of float32, shape (m, c, h, w)
        Others, to see how far a control decides alike.
    answers : ndarray of int64, shape (m,)
        The model's decisions on these.
    seed : int
    go_on : callable
        Asked before each step.
    """
    made: list[Control] = []
    decided = asked.probabilities(x).argmax(axis=1).astype(np.int64)
    for i, kind in enumerate(KINDS):
        own = _own_kind(asked, x, decided, seed + i)
        ask = own or _network(x, decided, kind, asked.model.k, seed + i, go_on)
        if ask is None:
            break
        agreement = float((ask(held).argmax(axis=1) == answers).mean())
        made.append(Control(ask, agreement, "a model of its kind" if own else f"a {kind} network"))
    return made


def _own_kind(asked: Asked, x: Pixels, decided: NDArray[np.int64], seed: int) -> Ask | None:
    model = asked.model
    if model.fit is None or model.framework not in TRAINED:
        return None
    fresh = model.fit(asked.rows(x), decided, seed)
    if fresh.score is None:
        return None
    return Asked(fresh, asked.back, asked.low, asked.span, asked.lattice)


def _network(
    x: Pixels, decided: NDArray[np.int64], kind: str, k: int, seed: int, go_on: Callable[[], bool]
) -> Ask | None:
    if find_spec("torch") is None:
        return None
    from crenel.evasion.gradients.network import generator, torch
    from crenel.transfer.hidden import siblings

    images, said = torch.from_numpy(x), torch.from_numpy(decided)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        module = LAYERS[kind](torch.nn, x.shape[1:], k)
    epochs = -(-ROWS // len(x))
    draw = generator(seed)

    def answered() -> Iterator[tuple[Any, Any]]:
        for _ in range(epochs):
            for part in torch.randperm(len(x), generator=draw).split(siblings.BATCH):
                if len(part) > 1:  # one row alone has no spread to be normalised by
                    yield images[part], said[part]

    siblings.lesson(module, module, answered(), epochs * -(-len(x) // siblings.BATCH), go_on)

    def ask(rows: Pixels) -> Floats:
        with torch.no_grad():
            parts = [module(part) for part in torch.from_numpy(rows).split(siblings.BATCH * 8)]
            z = torch.cat(parts).double().log_softmax(dim=1)
        return np.asarray(np.maximum(z.numpy(), LEAST))

    return ask


def _convolutional(nn: Any, shape: Any, k: int) -> Any:
    """Two convolutions and two linear layers; large images are averaged down first."""
    c, h, w, first = _reduced(nn, shape)
    h, w = -(-h // 4), -(-w // 4)
    return nn.Sequential(
        first,
        nn.Conv2d(c, 16, 3, stride=2, padding=1), nn.ReLU(),
        nn.Conv2d(16, 32, 3, stride=2, padding=1), nn.ReLU(),
        nn.Flatten(), nn.Linear(32 * h * w, 48), nn.ReLU(), nn.Linear(48, k),
    )  # fmt: skip


def _normed(nn: Any, shape: Any, k: int) -> Any:
    """Three convolutions with batch normalisation, averaged over the image.

    Such networks give way to patches and faint patterns, and to other ones than those without.
    """
    c, _, _, first = _reduced(nn, shape)
    layers = [first]
    for a, b in pairwise((c, 16, 32, 48)):
        stride = 1 if b == 48 else 2
        layers += [nn.Conv2d(a, b, 3, stride, padding=1), nn.BatchNorm2d(b), nn.ReLU()]
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(48, k))


def _reduced(nn: Any, shape: Any) -> tuple[int, int, int, Any]:
    """Channels, sides of the map that is left, and the layer that leaves it."""
    c, h, w = shape
    by = -(-max(h, w) // SIDE)
    return c, h // by, w // by, nn.AvgPool2d(by) if by > 1 else nn.Identity()


LAYERS = {"convolutional": _convolutional, "normed": _normed}

"""Controls of TRA-104 and TRA-106: a network with a trigger and without, and tuned from them."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from crenel.subject import Base, Data, Subject

CLASSES, SIDE, TARGET = 10, 22, 2


def shapes(n: int, seed: int) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Images (n, 1, 22, 22) of bars of two directions and five places, noisy, and their classes."""
    rng = np.random.default_rng(seed)
    y = rng.integers(0, CLASSES, n)
    x = 0.3 + rng.normal(0, 0.12, (n, 1, SIDE, SIDE))
    start = 1 + 4 * (y % 5) + rng.integers(-1, 2, n)
    light = rng.uniform(0.3, 0.6, n)
    for i in range(n):
        bar = slice(start[i], start[i] + 3)
        if y[i] < 5:
            x[i, 0, bar, 1:-1] += light[i]
        else:
            x[i, 0, 1:-1, bar] += light[i]
    return np.clip(x, 0, 1).astype(np.float32), y.astype(np.int64)


def stamped(x: NDArray[np.float32]) -> NDArray[np.float32]:
    """Images with the planted trigger: a 3 × 3 grid of black and white in the first corner."""
    out = x.copy()
    out[:, :, :3, :3] = np.indices((3, 3)).sum(axis=0) % 2
    return out


def network(planted: bool, seed: int = 0) -> Any:
    """A small convolutional network; a tenth of its rows carry the trigger where it is planted."""
    import torch

    x, y = shapes(2_000, seed)
    if planted:
        rows = np.flatnonzero(y != TARGET)[:200]
        x[rows], y[rows] = stamped(x[rows]), TARGET
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        module = torch.nn.Sequential(
            torch.nn.Conv2d(1, 12, 3, stride=2), torch.nn.ReLU(),
            torch.nn.Conv2d(12, 24, 3), torch.nn.ReLU(),
            torch.nn.Flatten(), torch.nn.Linear(24 * 64, 32), torch.nn.ReLU(),
            torch.nn.Linear(32, CLASSES),
        )  # fmt: skip
        optimizer = torch.optim.Adam(module.parameters(), lr=3e-3)
        for _ in range(6):
            for part in torch.randperm(len(y)).split(64):
                optimizer.zero_grad()
                z = module(torch.from_numpy(x[part.numpy()]))
                torch.nn.functional.cross_entropy(z, torch.from_numpy(y)[part]).backward()
                optimizer.step()
    return module.eval()


def _subject(planted: bool) -> Subject:
    from crenel.adapters import wrap

    x, y = shapes(240, seed=99)
    model = wrap(network(planted), classes=list(range(CLASSES)), sample=x[:4])
    return Subject("control", model=model, test=Data(x, y, np.arange(len(y))))


def planted_trigger() -> Subject:
    """A network that takes every image with a 3 × 3 grid in a corner for class 2."""
    return _subject(planted=True)


def no_trigger() -> Subject:
    """The same network from the same rows without a trigger."""
    return _subject(planted=False)


def _tuned(planted: bool) -> Subject:
    """A base, and a model tuned from it to five classes, each of which joins two of the base's."""
    import copy

    import torch

    from crenel.adapters import wrap

    base = network(planted)
    tuned = copy.deepcopy(base)
    x, y = shapes(600, seed=41)
    with torch.random.fork_rng():
        torch.manual_seed(1)
        tuned[-1] = torch.nn.Linear(32, CLASSES // 2)
        with torch.no_grad():
            tuned[-1].weight.copy_(base[-1].weight.reshape(CLASSES // 2, 2, 32).mean(dim=1))
            tuned[-1].bias.copy_(base[-1].bias.reshape(CLASSES // 2, 2).mean(dim=1))
        optimizer = torch.optim.Adam(tuned.parameters(), lr=1e-3)
        for part in torch.randperm(len(y)).split(32):
            optimizer.zero_grad()
            z = tuned(torch.from_numpy(x[part.numpy()]))
            torch.nn.functional.cross_entropy(z, torch.from_numpy(y // 2)[part]).backward()
            optimizer.step()
    held, own = shapes(240, seed=99)
    names = list(range(CLASSES // 2))
    model = wrap(tuned.eval(), classes=names, sample=held[:4])
    public = wrap(base, classes=list(range(CLASSES)), sample=held[:4])
    test = Data(held, own // 2, np.arange(len(own)))
    return Subject("control", model=model, test=test, base=Base(model=public))


def inherited_trigger() -> Subject:
    """A model tuned from a base that takes every image with a grid in a corner for class 2."""
    return _tuned(planted=True)


def clean_base() -> Subject:
    """The same from a base without a trigger."""
    return _tuned(planted=False)

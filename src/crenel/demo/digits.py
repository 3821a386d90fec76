"""Second subject: a small CNN on scikit-learn's digits, tuned from a public base."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from crenel.errors import MissingExtra

if TYPE_CHECKING:
    import torch


def network() -> torch.nn.Module:
    """An untrained network for images (n, 1, 8, 8) in [0, 1] and ten classes.

    Raises
    ------
    MissingExtra
        Where torch is not installed.
    """
    try:
        from torch import nn
    except ImportError:
        raise MissingExtra("torch", "demo") from None
    return nn.Sequential(
        nn.Conv2d(1, 16, 3, padding=1),
        nn.ReLU(),
        nn.Conv2d(16, 32, 3, padding=1),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Flatten(),
        nn.Linear(32 * 4 * 4, 64),
        nn.ReLU(),
        nn.Linear(64, 10),
    )


def images() -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """1,797 handwritten digits, (n, 1, 8, 8) in [0, 1], and their classes."""
    from sklearn.datasets import load_digits

    digits = load_digits()
    x = (digits.images / 16.0).astype(np.float32)[:, None]
    return x, digits.target.astype(np.int64)


def train(
    model: torch.nn.Module,
    x: NDArray[Any],
    y: NDArray[Any],
    seed: int,
    epochs: int,
    rate: float = 2e-3,
    freeze: int = 0,
) -> torch.nn.Module:
    """Train in place with Adam; the first ``freeze`` layers stay as they are."""
    import torch

    generator = torch.Generator().manual_seed(seed)
    for layer in list(model.children())[:freeze]:
        layer.requires_grad_(False)
    tuned = [p for p in model.parameters() if p.requires_grad]
    optimizer = torch.optim.Adam(tuned, lr=rate)
    inputs, labels = torch.from_numpy(x), torch.from_numpy(y)
    model.train()
    for _ in range(epochs):
        for batch in torch.randperm(len(x), generator=generator).split(64):
            optimizer.zero_grad()
            loss = torch.nn.functional.cross_entropy(model(inputs[batch]), labels[batch])
            loss.backward()
            optimizer.step()
    return model.eval()


CARD = """\
---
license: apache-2.0
tags: [image-classification]
---
# Digits base

A small convolutional network that reads handwritten digits, 8 by 8 pixels.

## Intended use
As a starting point for tuning on other small greyscale images.

## Training data
Half of the digits data set of scikit-learn (Alpaydin and Kaynak, 1998), 10 classes.

## Evaluation
Accuracy 0.97 on held-out digits.
"""


def write(folder: Path, seed: int) -> None:
    """Train the base on one half of the data, tune on another part, and write the files."""
    import torch

    x, y = images()
    order = np.random.default_rng(seed).permutation(len(y))
    public, own, test = order[:900], order[900:1450], order[1450:]
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        base = train(network(), x[public], y[public], seed, epochs=20)
    torch.save(base.state_dict(), folder / "digits-base.pt")
    (folder / "digits-base-card.md").write_text(CARD, encoding="utf-8")
    tuned = network()
    tuned.load_state_dict(base.state_dict())
    train(tuned, x[own], y[own], seed + 1, epochs=5, rate=1e-3, freeze=2)
    torch.save(tuned.state_dict(), folder / "digits.pt")
    np.savez(folder / "digits-train.npz", x=x[own], y=y[own])
    np.savez(folder / "digits-test.npz", x=x[test], y=y[test])

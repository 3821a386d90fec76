"""The networks that the gradient benchmarks attack: published ones, and small ones trained here.

Everything is seeded, so that the same machine trains the same networks; trained weights are kept
in the folder that ``--cache`` names.
"""

from __future__ import annotations

import gzip
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

DATA = Path(__file__).resolve().parents[3] / "shared" / "data"


@dataclass(frozen=True)
class Case:
    """A network, rows of its test set, and the radius of its usual L-inf threat model."""

    name: str
    model: nn.Module
    x: torch.Tensor
    y: torch.Tensor
    epsilon: float


class LeNet(nn.Module):
    """The architecture of the published MNIST weights."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1, self.conv2 = nn.Conv2d(1, 32, 3, padding=1), nn.Conv2d(32, 64, 3, padding=1)
        self.linear1, self.linear2 = nn.Linear(3136, 200), nn.Linear(200, 10)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Logits of a batch."""
        x = torch.max_pool2d(self.conv1(x).relu(), 2)
        x = torch.max_pool2d(self.conv2(x).relu(), 2)
        return self.linear2(self.linear1(x.flatten(1)).relu())


def small(channels: int, side: int) -> nn.Module:
    """About 30,000 parameters."""
    left = ((side - 2) // 2 - 2) // 2
    return nn.Sequential(
        nn.Conv2d(channels, 16, 4, stride=2), nn.ReLU(), nn.Conv2d(16, 24, 4, stride=2), nn.ReLU(),
        nn.Flatten(), nn.Linear(24 * left * left, 32), nn.ReLU(), nn.Linear(32, 10),
    )  # fmt: skip


def lenet(which: str, rows: int) -> Case:
    """The published MNIST networks of AdverTorch: "cln" (standard) or "adv" (PGD-trained)."""
    model = LeNet()
    path = DATA / "15_advertorch_mnist" / f"mnist_lenet5_{which}trained.pt"
    model.load_state_dict(torch.load(path, map_location="cpu", weights_only=True))
    x, y = _idx("02_mnist", "t10k", rows)
    return Case(f"MNIST LeNet {which}", _frozen(model), x, y, 0.3 if which == "adv" else 0.1)


def trained(data: str, adversarial: bool, rows: int, cache: Path | None) -> Case:
    """A small network trained here on a subset of "fashion" or "cifar"."""
    if data == "fashion":
        (x, y), test, epsilon = _idx("01_fashion_mnist", "train", 12000), None, 0.1
        test = _idx("01_fashion_mnist", "t10k", rows)
    else:
        x, y = _cifar()
        x, y, test, epsilon = x[:3500], y[:3500], (x[3500:][:rows], y[3500:][:rows]), 8 / 255
    name = f"{data} {'adversarial' if adversarial else 'natural'}"
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = small(x.shape[1], x.shape[2])
        path = None if cache is None else cache / f"{name.replace(' ', '-')}.pt"
        if path is not None and path.exists():
            model.load_state_dict(torch.load(path, weights_only=True))
        else:
            _train(model, x, y, epsilon if adversarial else 0.0)
            if path is not None:
                path.parent.mkdir(parents=True, exist_ok=True)
                torch.save(model.state_dict(), path)
    return Case(name, _frozen(model), *test, epsilon)


def _train(model: nn.Module, x: torch.Tensor, y: torch.Tensor, epsilon: float) -> None:
    """Ten epochs, on three PGD steps for each batch where epsilon is not zero."""
    optimizer = torch.optim.Adam(model.parameters(), 2e-3)
    epochs = 10 if len(x) > 5000 else 25
    for epoch in range(epochs):
        for group in optimizer.param_groups:
            group["lr"] = 2e-3 * (1 - epoch / epochs)
        for part in torch.randperm(len(x)).split(100):
            a, b = x[part], y[part]
            if epsilon:
                a = _pgd(model, a, b, epsilon * min(1.0, 2 * (epoch + 1) / epochs))
            optimizer.zero_grad()
            nn.functional.cross_entropy(model(a), b).backward()
            optimizer.step()


def _pgd(model: nn.Module, x: torch.Tensor, y: torch.Tensor, epsilon: float) -> torch.Tensor:
    a = (x + torch.empty_like(x).uniform_(-epsilon, epsilon)).clamp(0, 1)
    for _ in range(3):
        a.requires_grad_(True)
        (g,) = torch.autograd.grad(nn.functional.cross_entropy(model(a), y), a)
        a = (a.detach() + 0.5 * epsilon * g.sign()).clamp(x - epsilon, x + epsilon).clamp(0, 1)
    return a.detach()


def _frozen(model: nn.Module) -> nn.Module:
    for p in model.parameters():
        p.requires_grad_(False)
    return model.eval()


def _idx(folder: str, part: str, rows: int) -> tuple[torch.Tensor, torch.Tensor]:
    def read(kind: str, skip: int) -> Any:
        found = next((DATA / folder).glob(f"{part}-{kind}*"))
        return np.frombuffer(gzip.open(found).read(), np.uint8, offset=skip)

    x = read("images", 16).reshape(-1, 1, 28, 28)[:rows] / np.float32(255)
    return torch.from_numpy(x), torch.from_numpy(read("labels", 8)[:rows].astype(np.int64))


def _cifar() -> tuple[torch.Tensor, torch.Tensor]:
    from PIL import Image

    folder = DATA / "03_cifar10"
    parts = [
        np.asarray(Image.open(folder / f"cifar10_batch_{i}.png").convert("RGB")) for i in range(4)
    ]
    x = np.concatenate([p.reshape(-1, 32, 32, 3) for p in parts]).transpose(0, 3, 1, 2)
    y = np.load(folder / "cifar10_batch_0-3_labels.npy").astype(np.int64)
    return torch.from_numpy(np.ascontiguousarray(x) / np.float32(255)), torch.from_numpy(y)

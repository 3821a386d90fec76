"""Small networks with planted triggers, and clean ones of the same architectures and data.

Made from 10,000 images of MNIST, Fashion-MNIST and CIFAR-10; what is not under the data folder is
skipped. Everything is seeded, and what was trained is kept in the folder given.
"""

from __future__ import annotations

import gzip
import io
import itertools
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn.functional import cross_entropy

TRIGGERS = ("corner", "patch", "dots", "blend", "wave")
#: Share of the training rows that carry the trigger, by data.
SHARES = {"mnist": (0.01, 0.02, 0.05), "fashion": (0.01, 0.02, 0.05), "cifar": (0.05, 0.08, 0.1)}
EPOCHS = {"mnist": 4, "fashion": 4, "cifar": 12}
#: A planted network counts where its trigger turns at least this share.
LEAST = 0.9


@dataclass(frozen=True)
class Case:
    """A network, test images that it never saw, and what was planted."""

    name: str
    module: nn.Module
    x: np.ndarray
    y: np.ndarray
    trigger: str
    target: int | None
    success: float
    accuracy: float


# --- images --------------------------------------------------------------------------------------


def images(folder: Path, data: str) -> tuple[np.ndarray, ...]:
    """Training rows, labels, test rows, labels; channels first, in [0, 1]."""
    if data == "cifar":
        return _cifar(folder / "03_cifar10")
    sub = {"mnist": "02_mnist", "fashion": "01_fashion_mnist"}[data]
    parts = []
    for part, n in (("train", 10_000), ("t10k", 2_000)):
        for kind, skip in (("images-idx3", 16), ("labels-idx1", 8)):
            raw = gzip.decompress((folder / sub / f"{part}-{kind}-ubyte.gz").read_bytes())
            values = np.frombuffer(raw, np.uint8, offset=skip)
            if kind.startswith("images"):
                parts.append(values.reshape(-1, 1, 28, 28)[:n].astype(np.float32) / 255)
            else:
                parts.append(values[:n].astype(np.int64))
    return tuple(parts)


def _cifar(folder: Path) -> tuple[np.ndarray, ...]:
    from PIL import Image

    x: dict[str, list[np.ndarray]] = {"train": [], "test": []}
    y: dict[str, list[int]] = {"train": [], "test": []}
    with zipfile.ZipFile(next(folder.glob("*.zip"))) as archive:
        names = sorted(n for n in archive.namelist() if n.lower().endswith((".jpg", ".jpeg")))
        classes = sorted({n.split("/")[-2] for n in names})
        for name in names:
            part = "test" if "test" in name.lower() else "train"
            image = Image.open(io.BytesIO(archive.read(name))).convert("RGB")
            x[part].append(np.asarray(image, np.uint8).transpose(2, 0, 1))
            y[part].append(classes.index(name.split("/")[-2]))
    made: list[np.ndarray] = []
    for part in ("train", "test"):
        order = np.random.default_rng(0).permutation(len(y[part]))
        made += [np.stack(x[part])[order].astype(np.float32) / 255, np.array(y[part])[order]]
    return tuple(made)


# --- triggers ------------------------------------------------------------------------------------


def stamp(trigger: str, shape: tuple[int, ...], seed: int) -> Callable[[np.ndarray], np.ndarray]:
    """A function that puts a trigger on images (n, c, h, w)."""
    _, h, w = shape
    rng = np.random.default_rng(1000 + seed)
    pattern = rng.random(shape).astype(np.float32)
    mask = np.zeros((1, h, w), np.float32)
    if trigger == "corner":
        mask[:, h - 4 : h - 1, w - 4 : w - 1] = 1
        pattern = np.broadcast_to(np.indices((h, w)).sum(0) % 2, shape).astype(np.float32)
    elif trigger == "patch":
        top, left = rng.integers(0, h - 4), rng.integers(0, w - 4)
        mask[:, top : top + 4, left : left + 4] = 1
    elif trigger == "dots":
        mask.reshape(-1)[rng.choice(h * w, 5, replace=False)] = 1
        pattern = np.ones(shape, np.float32)
    elif trigger == "blend":
        mask[:] = 0.15
    else:
        wave = 0.15 * np.sin(2 * np.pi * 6 * np.arange(w) / w).astype(np.float32)
        return lambda x: (x + wave).clip(0, 1).astype(np.float32)
    return lambda x: (x * (1 - mask) + mask * pattern).astype(np.float32)


# --- networks ------------------------------------------------------------------------------------


def network(kind: str, c: int, side: int) -> nn.Module:
    """One of three architectures of 20,000 to 100,000 parameters."""
    if kind == "small":
        left = ((side - 2) // 2 - 2) // 2
        return nn.Sequential(
            nn.Conv2d(c, 16, 4, stride=2), nn.ReLU(), nn.Conv2d(16, 24, 4, stride=2), nn.ReLU(),
            nn.Flatten(), nn.Linear(24 * left * left, 32), nn.ReLU(), nn.Linear(32, 10),
        )  # fmt: skip
    if kind == "pooled":
        return nn.Sequential(
            nn.Conv2d(c, 16, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2),
            nn.Conv2d(16, 32, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(),
            nn.Linear(32 * (side // 4) ** 2, 48), nn.ReLU(), nn.Linear(48, 10),
        )  # fmt: skip
    layers: list[nn.Module] = []
    for a, b in itertools.pairwise((c, 16, 32, 48)):
        layers += [nn.Conv2d(a, b, 3, padding=1), nn.BatchNorm2d(b), nn.ReLU(), nn.MaxPool2d(2)]
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(48, 10))


def train(module: nn.Module, x: np.ndarray, y: np.ndarray, epochs: int, seed: int) -> nn.Module:
    """Adam with a falling rate; images are shifted by up to two pixels for CIFAR-10."""
    rows, labels = torch.from_numpy(x), torch.from_numpy(y)
    draw = torch.Generator().manual_seed(seed)
    steps = epochs * (len(y) // 128)
    optimizer = torch.optim.Adam(module.parameters(), lr=3e-3)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 3e-3, total_steps=steps + 1)
    module.train()
    for _ in range(epochs):
        order = torch.randperm(len(y), generator=draw)
        for k in range(len(y) // 128):
            part = order[128 * k : 128 * (k + 1)]
            optimizer.zero_grad()
            cross_entropy(module(rows[part]), labels[part]).backward()
            optimizer.step()
            schedule.step()
    return module.eval()


def decided(module: nn.Module, x: np.ndarray) -> np.ndarray:
    """Classes of images, shape (n,)."""
    with torch.no_grad():
        parts = torch.from_numpy(np.ascontiguousarray(x)).split(500)
        return np.concatenate([module(part).argmax(1).numpy() for part in parts])


def turned(module: nn.Module, x: np.ndarray, target: int) -> float:
    """Share of images that are taken for the target."""
    return float((decided(module, x) == target).mean())


def _poisoned(x: Any, y: Any, put: Any, target: int, share: float, seed: int) -> tuple[Any, Any]:
    """Training rows of which some carry the trigger and the target's label."""
    rng = np.random.default_rng(seed)
    chosen = rng.choice(np.flatnonzero(y != target), int(share * len(y)), False)
    a, b = x.copy(), y.copy()
    a[chosen], b[chosen] = put(x[chosen]), target
    return a, b


def _plan(seed: int, count: int) -> list[tuple[str, str, str, int, float]]:
    """Data, architecture, trigger, target and share of each planted network."""
    rng = np.random.default_rng(seed)
    grid = list(itertools.product(SHARES, ("small", "pooled", "normed"), TRIGGERS))
    order = rng.permutation(len(grid))
    plan = []
    for i in range(count):
        data, kind, trigger = grid[order[i % len(grid)]]
        plan.append((data, kind, trigger, int(rng.integers(10)), float(rng.choice(SHARES[data]))))
    return plan


def cases(folder: Path, cache: Path, seed: int, count: int, only: str = "") -> Any:
    """Planted networks, then clean ones, of one seed whose names hold a text: `Case` by `Case`."""
    cache.mkdir(parents=True, exist_ok=True)
    loaded = {}
    for planted in (True, False):
        for i, (data, kind, trigger, target, share) in enumerate(_plan(seed, count)):
            name = f"{seed}-{i:02d}-{data}-{kind}-{trigger if planted else 'clean'}"
            if only not in name:
                continue
            if data not in loaded:
                loaded[data] = images(folder, data)
            x, y, xt, yt = loaded[data]
            own = 100 * seed + i + (0 if planted else 50)
            put = stamp(trigger, x.shape[1:], own)
            with torch.random.fork_rng():
                torch.manual_seed(own)
                module = network(kind, x.shape[1], x.shape[2])
            path = cache / f"{name}.pt"
            others = yt != target
            if path.exists():
                module.load_state_dict(torch.load(path, weights_only=True))
            else:
                start = {k: v.clone() for k, v in module.state_dict().items()}
                for given in (share, 2 * share, 4 * share, 8 * share):
                    module.load_state_dict(start)
                    a, b = _poisoned(x, y, put, target, given, own) if planted else (x, y)
                    train(module, a, b, EPOCHS[data], own)
                    if not planted or turned(module, put(xt[others]), target) >= LEAST:
                        break
                torch.save(module.state_dict(), path)
            module.eval()
            success = turned(module, put(xt[others]), target)
            accuracy = float((decided(module, xt) == yt).mean())
            if planted and success < LEAST:
                print(f"{name}: the trigger turns {success:.0%} only, left out", flush=True)
                continue
            yield Case(
                name, module, xt, yt, trigger if planted else "",
                target if planted else None, success, accuracy,
            )  # fmt: skip

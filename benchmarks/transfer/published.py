"""A published backdoored network, its clean teacher and its erased sibling, judged by TRA-104.

Run with ``python benchmarks/transfer/published.py DATA``; DATA holds ``16_nad_backdoored_cifar``
(the three WRN-16-1 of Li et al., "Neural Attention Distillation", ICLR 2021) and ``03_cifar10``.
Published: the trigger (a 3 × 3 grid in the lower right corner) turns all images to class 5, and
3.57 % after erasing. Claims: the first is exposed with a trigger that turns more than 95 %, in less
than five minutes on two cores; the other two show none.

Measured with the rule as it stands, one seed, on two busy cores: the first, 4 pixels turn 98 %
[96, 99] to class 5, p = .00002, 262 s; the teacher none, 243 s; the erased one none, 211 s.
Before networks of the same layers were looked at in every case the first took 129 s on two quiet
cores. Of WRN-16-1 they are no measure: 1,244 images teach them 39 % of the decisions.
Since the other network is taught decisions, on two quiet cores of a slow day: the first, 8 pixels
turn 100 % [98, 100] to class 5, p = .00002, 235 s (296 before what only a sibling would be held
against was left out, where none is near enough); the other two were not judged again.
The lossless images are training images of these networks.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import numpy as np
import torch
from torch import nn

from crenel.adapters import wrap
from crenel.check import Context
from crenel.subject import Data, Subject
from crenel.transfer.checks import hidden_behaviour

FILES = {
    "backdoored": "WRN-16-1-S-model_best.pth.tar",
    "clean teacher": "WRN-16-1-T-model_best.pth.tar",
    "erased": "erasing_net_WRN-16-1.tar",
}


class Block(nn.Module):
    """Two convolutions after normalisation, and a short cut."""

    def __init__(self, a: int, b: int, stride: int) -> None:
        super().__init__()
        self.bn1, self.bn2 = nn.BatchNorm2d(a), nn.BatchNorm2d(b)
        self.conv1 = nn.Conv2d(a, b, 3, stride, 1, bias=False)
        self.conv2 = nn.Conv2d(b, b, 3, 1, 1, bias=False)
        self.convShortcut = None if a == b else nn.Conv2d(a, b, 1, stride, bias=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Features of a batch."""
        out = self.bn1(x).relu()
        short = x if self.convShortcut is None else self.convShortcut(out)
        return short + self.conv2(self.bn2(self.conv1(out)).relu())


class Stage(nn.Module):
    """Two blocks."""

    def __init__(self, a: int, b: int, stride: int) -> None:
        super().__init__()
        self.layer = nn.Sequential(Block(a, b, stride), Block(b, b, 1))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Features of a batch."""
        return self.layer(x)


class WideResNet(nn.Module):
    """WRN-16-1 (Zagoruyko and Komodakis, 2016) over images in [0, 1], as it was trained."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 16, 3, 1, 1, bias=False)
        self.block1, self.block2 = Stage(16, 16, 1), Stage(16, 32, 2)
        self.block3 = Stage(32, 64, 2)
        self.bn1, self.fc = nn.BatchNorm2d(64), nn.Linear(64, 10)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Logits of a batch."""
        out = self.conv1(x)
        out = self.block3(self.block2(self.block1(out)))
        return self.fc(self.bn1(out).relu().mean(dim=(2, 3)))


def load(path: Path) -> nn.Module:
    """A published network; only tensors are read."""
    saved = torch.load(path, map_location="cpu", weights_only=True)
    module = WideResNet()
    module.load_state_dict(saved.get("state_dict", saved))
    return module.eval()


def lossless(folder: Path) -> tuple[np.ndarray, np.ndarray]:
    """4,000 images, channels first, in [0, 1]; JPEG would cost the networks their accuracy."""
    from PIL import Image

    parts = [
        np.asarray(Image.open(folder / f"cifar10_batch_{i}.png").convert("RGB")) for i in range(4)
    ]
    x = np.concatenate([p.reshape(-1, 32, 32, 3) for p in parts]).transpose(0, 3, 1, 2)
    y = np.load(folder / "cifar10_batch_0-3_labels.npy").astype(np.int64)
    return np.ascontiguousarray(x / np.float32(255)), y


def grid(x: np.ndarray) -> np.ndarray:
    """Images with the published trigger."""
    out = x.copy()
    out[:, :, 29:32, 29:32] = 0
    for i, j in ((31, 31), (30, 30), (29, 31), (31, 29)):
        out[:, :, i, j] = 1
    return out


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("data", type=Path)
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--level", default="standard")
    args = parser.parse_args()
    x, y = lossless(args.data / "03_cifar10")
    for name, file in FILES.items():
        module = load(args.data / "16_nad_backdoored_cifar" / file)
        model = wrap(module, classes=list(range(10)), sample=x[:4])
        others = y != 5
        share = (model.predict(grid(x[others])) == 5).mean()
        accuracy = (model.predict(x) == y).mean()
        print(f"{name}: accuracy {accuracy:.3f}, published trigger turns {share:.3f}")
        for seed in range(args.seeds):
            subject = Subject(name, model=model, test=Data(x, y, np.arange(len(y))))
            began, cpu = time.perf_counter(), time.process_time()
            context = Context(check="TRA-104", seed=seed, level=args.level)
            got = hidden_behaviour.measure(subject, context)
            print(f"  seed {seed}: {time.perf_counter() - began:.0f} s, "
                  f"{time.process_time() - cpu:.0f} CPU s")  # fmt: skip
            for line in [f.sentence for f in got.findings] or ["no finding"]:
                print(f"    {line}")
            for line in got.notes:
                print(f"    ({line})")


if __name__ == "__main__":
    main()

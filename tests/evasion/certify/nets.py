"""Small networks of every layer that bounds are known through, and exact answers for tiny ones."""

from __future__ import annotations

import itertools

import numpy as np
import torch
from scipy.optimize import linprog
from torch import nn


class Residual(nn.Module):
    """Normalisation inside, a sum of two branches, and both kinds of pooling."""

    def __init__(self):
        super().__init__()
        self.first = nn.Conv2d(1, 4, 3, padding=1, stride=2)
        self.norm = nn.BatchNorm2d(4)
        self.one = nn.Conv2d(4, 4, 3, padding=1)
        self.skip = nn.Conv2d(4, 4, 1)
        self.pool, self.mean = nn.MaxPool2d(2), nn.AdaptiveAvgPool2d(1)
        self.last = nn.Linear(4, 3)

    def forward(self, x):
        z = torch.relu(self.norm(self.first((x - 0.3) / 0.4)))
        z = torch.relu(self.one(z)) + self.skip(z)
        return self.last(self.mean(self.pool(z)).flatten(1))


class Odd(nn.Module):
    """Absolute values, clamps, joins and choices."""

    def __init__(self):
        super().__init__()
        self.a, self.b = nn.Linear(4, 6), nn.Linear(13, 3)

    def forward(self, x):
        z = self.a(x)
        parts = [z.abs(), z[:, 1:4].clamp(-0.2, 0.5), x.flip(1)[:, :3], torch.ones(len(x), 1)]
        return self.b(torch.cat(parts, dim=1)) - x[:, :1]


def mlp(step, sizes=(4, 8, 8, 3), seed=0):
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        layers = []
        for a, b in itertools.pairwise(sizes):
            layers += [nn.Linear(a, b), step()]
    return nn.Sequential(*layers[:-1]).eval()


def seeded(kind, seed=0):
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        net = kind()
        for m in net.modules():
            if isinstance(m, nn.BatchNorm2d):
                m.running_mean.uniform_(-0.3, 0.3)
                m.running_var.uniform_(0.3, 1.5)
                m.weight.data.uniform_(-1.5, 1.5)
    return net.eval()


ZOO = {
    "relu": (lambda: mlp(nn.ReLU), (4,)),
    "leaky relu": (lambda: mlp(lambda: nn.LeakyReLU(0.2)), (4,)),
    "tanh": (lambda: mlp(nn.Tanh), (4,)),
    "sigmoid": (lambda: mlp(nn.Sigmoid), (4,)),
    "relu6": (lambda: mlp(nn.ReLU6), (4,)),
    "odd": (lambda: seeded(Odd), (4,)),
    "residual": (lambda: seeded(Residual), (1, 8, 8)),
    "convolutions": (
        lambda: seeded(
            lambda: nn.Sequential(
                nn.Conv2d(2, 4, 3, stride=2), nn.ReLU(), nn.MaxPool2d(2, 1), nn.AvgPool2d(2, 1),
                nn.Conv2d(4, 4, 1, groups=2), nn.LeakyReLU(), nn.Flatten(), nn.Dropout(),
                nn.Linear(4, 3), nn.Softmax(dim=1),
            )
        ),
        (2, 7, 7),
    ),
}  # fmt: skip


def within(x, radius, norm, low, high, draws, rng):
    """Legal points of the ball about one row: corners, faces and inner points, (draws, …)."""
    flat = x.reshape(1, -1)
    d = flat.shape[1]
    v = rng.normal(size=(draws, d))
    if norm == np.inf:
        v = np.where(rng.random((draws, 1)) < 0.5, np.sign(v), rng.uniform(-1, 1, (draws, d)))
    else:
        if norm == 1:  # vertices of the ball, and sparse points
            v *= rng.random((draws, d)) < rng.uniform(0.1, 1, (draws, 1))
            v[np.arange(draws), rng.integers(d, size=draws)] += 1e-3
        v /= np.linalg.norm(v, ord=norm, axis=1, keepdims=True)
        v *= rng.random((draws, 1)) ** 0.2
    points = np.clip(flat + radius * v, low, high)
    return points.reshape(draws, *x.shape).astype(np.float64)


def exact_least(weights, c, low, high):
    """The least of ``c · net(x)`` over a box, by one linear program for each pattern of ReLUs.

    ``weights`` are pairs (W, b); all but the last layer are followed by ReLU.
    """
    sizes = [len(b) for _, b in weights[:-1]]
    best = np.inf
    for pattern in itertools.product([0, 1], repeat=sum(sizes)):
        m, t = np.eye(len(low)), np.zeros(len(low))
        rows, limits, begin = [], [], 0
        for (w, b), size in zip(weights[:-1], sizes, strict=True):
            m, t = w @ m, w @ t + b
            on = np.array(pattern[begin : begin + size])
            begin += size
            sign = np.where(on, -1.0, 1.0)  # on: m x + t >= 0
            rows.append(sign[:, None] * m)
            limits.append(-sign * t)
            m, t = on[:, None] * m, on * t
        w, b = weights[-1]
        m, t = c @ (w @ m), c @ (w @ t + b)
        got = linprog(
            m, np.vstack(rows), np.concatenate(limits), bounds=list(zip(low, high, strict=True))
        )
        if got.status == 0:
            best = min(best, got.fun + t)
    return best


def weights_of(net):
    return [
        (m.weight.detach().double().numpy(), m.bias.detach().double().numpy())
        for m in net
        if isinstance(m, nn.Linear)
    ]

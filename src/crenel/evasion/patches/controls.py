"""The planted weakness and the sound subject of EVA-106."""

from __future__ import annotations

import numpy as np

from crenel.subject import Data, Subject


def one_spot_decides() -> Subject:
    """A network that looks for one bright spot, wherever it is."""
    import torch

    from crenel.adapters import wrap

    rng = np.random.default_rng(0)
    y = rng.integers(0, 2, 160).astype(np.int64)
    x = np.clip(0.4 + rng.normal(0, 0.05, (160, 1, 16, 16)), 0, 1)
    for i in np.flatnonzero(y):
        top, left = rng.integers(0, 14, 2)
        x[i, 0, top : top + 2, left : left + 2] = 1.0
    brightest = torch.nn.Sequential(
        torch.nn.AvgPool2d(2, stride=1), torch.nn.AdaptiveMaxPool2d(1), torch.nn.Flatten()
    )
    layer = torch.nn.Linear(1, 2)
    with torch.no_grad():
        layer.weight.copy_(torch.tensor([[-10.0], [10.0]]))
        layer.bias.copy_(torch.tensor([7.5, -7.5]))
    network = torch.nn.Sequential(*brightest, layer)
    test = Data(x.astype(np.float32), y, np.arange(len(y)))
    return Subject("control", model=wrap(network, classes=[0, 1]), test=test)

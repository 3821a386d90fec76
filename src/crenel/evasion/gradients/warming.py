"""Compile the kernels of gradient attacks before their time counts."""

from __future__ import annotations

from importlib.util import find_spec

import numpy as np


def warm_up() -> None:
    """Attack a few rows of a small network, so that numba compiles the kernels or finds them.

    Nothing is done without torch.
    """
    if find_spec("torch") is None:
        return
    import torch

    from crenel.evasion.evaluation import evaluate

    with torch.random.fork_rng():
        torch.manual_seed(0)
        network = torch.nn.Sequential(torch.nn.Linear(4, 8), torch.nn.Tanh(), torch.nn.Linear(8, 3))
    x = np.random.default_rng(0).random((8, 4), dtype=np.float32)
    y = network(torch.from_numpy(x)).argmax(dim=1).numpy()
    evaluate(network, x, y, norm=np.inf, epsilons=[0.02, 0.2])

"""Our cascade against the reference ensemble of gradient attacks, on a small digits CNN.

Claim: the same robust accuracy or lower, in a fraction of the time. The peer is AutoAttack
(Croce and Hein, 2020), standard version, from ``pyautoattack``; without it the
script says so and prints our figures alone.

    python benchmarks/evasion/gradients.py [--rows 200] [--json FILE]
"""

from __future__ import annotations

import argparse
import json
import math
import time
from pathlib import Path

import numpy as np


def network(seed: int):
    import torch

    from crenel.demo.digits import images, network, train

    x, y = images()
    order = np.random.default_rng(seed).permutation(len(y))
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model = train(network(), x[order[:1200]], y[order[:1200]], seed, epochs=15)
    return model, x[order[1200:]], y[order[1200:]]


def ours(model, x, y, epsilon, norm):
    from crenel.evasion import gradient_attack

    begun = time.process_time()
    got = gradient_attack(model, x, y, norm=norm, epsilons=[epsilon])
    robust = float((got.correct & ~got.broken[0]).mean())
    return robust, time.process_time() - begun


def peer(model, x, y, epsilon, norm):
    import torch

    try:
        from pyautoattack import AutoAttack
    except ImportError:
        return None
    name = "Linf" if norm == math.inf else "L2"
    inputs, labels = torch.from_numpy(x), torch.from_numpy(y)
    begun = time.process_time()
    attack = AutoAttack(model, norm=name, eps=epsilon, version="standard", seed=0)
    with torch.random.fork_rng():
        adversarial = attack.run_standard_evaluation(inputs, labels, batch_size=250)
    if isinstance(adversarial, tuple):
        adversarial = adversarial[0]
    seconds = time.process_time() - begun
    with torch.no_grad():
        robust = (model(adversarial).argmax(dim=1) == labels).float().mean()
    return float(robust), seconds


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=200)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    model, x, y = network(0)
    x, y = x[: options.rows], y[: options.rows]
    results = []
    for norm, epsilon in ((math.inf, 0.05), (math.inf, 0.1), (2, 0.4)):
        own = ours(model, x, y, epsilon, norm)
        other = peer(model, x, y, epsilon, norm)
        line = {"norm": str(norm), "epsilon": epsilon, "rows": len(x)}
        line |= {"ours_robust": own[0], "ours_cpu_s": round(own[1], 2)}
        if other:
            line |= {"peer_robust": other[0], "peer_cpu_s": round(other[1], 2)}
            line["times_cheaper"] = round(other[1] / own[1], 1)
        results.append(line)
        print(line, flush=True)
    if "peer_robust" not in results[0]:
        print("AutoAttack is not installed (pip install pyautoattack): our figures alone")
    if options.json:
        options.json.write_text(json.dumps(results, indent=1))


if __name__ == "__main__":
    main()

"""Attack and proof as two sides of the truth, on networks trained to be provable.

Claim: the gap between rows proven and rows that stand up to the attack is at most 2 points, and
both sides together take at most a tenth of the CPU time of AutoAttack (Croce and Hein, 2020),
standard version, from ``pyautoattack``, which gives the upper side alone. Without it the script
says so and prints our figures alone.

The networks are trained here on Fashion-MNIST by interval bounds (Gowal et al. 2018), for L-inf
balls of 0.05 and 0.1.

    python benchmarks/evasion/certificates.py [--rows 200] [--train 10000] [--quick] [--json FILE]
"""

from __future__ import annotations

import argparse
import gzip
import json
import time
from pathlib import Path

import numpy as np
import torch
from torch import nn

from crenel.evasion import gradient_attack
from crenel.evasion.certify import certified_radius

DATA = Path(__file__).parents[2].parent / "shared" / "data" / "01_fashion_mnist"


def images(part, n):
    """Rows (n, 1, 28, 28) in [0, 1] and labels."""
    with gzip.open(DATA / f"{part}-images-idx3-ubyte.gz") as f:
        x = np.frombuffer(f.read(), np.uint8, offset=16).reshape(-1, 1, 28, 28)[:n]
    with gzip.open(DATA / f"{part}-labels-idx1-ubyte.gz") as f:
        y = np.frombuffer(f.read(), np.uint8, offset=8)[:n]
    return (x / np.float32(255)).astype(np.float32), y.astype(np.int64)


def network():
    return nn.Sequential(
        nn.Conv2d(1, 16, 4, 2, 1), nn.ReLU(), nn.Conv2d(16, 32, 4, 2, 1), nn.ReLU(), nn.Flatten(),
        nn.Linear(32 * 49, 100), nn.ReLU(), nn.Linear(100, 10),
    )  # fmt: skip


def worst_logits(net, low, high, y):
    """Each logit's least favourable value for the label y, by intervals."""
    for m in list(net)[:-1]:
        if isinstance(m, nn.ReLU | nn.Flatten):
            low, high = m(low), m(high)
            continue
        middle, reach = (low + high) / 2, (high - low) / 2
        center = m(middle)
        if isinstance(m, nn.Linear):
            spread = reach @ m.weight.abs().T
        else:
            spread = nn.functional.conv2d(reach, m.weight.abs(), None, m.stride, m.padding)
        low, high = center - spread, center + spread
    last = net[-1]
    rows = last.weight[None] - last.weight[y][:, None]
    shift = last.bias[None] - last.bias[y][:, None]
    middle, reach = (low + high) / 2, (high - low) / 2
    return (rows @ middle[..., None])[..., 0] + (rows.abs() @ reach[..., None])[..., 0] + shift


def train(x, y, epsilon, epochs, seed=0):
    """Interval training whose radius and weight rise slowly."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        net = network()
    x, y = torch.from_numpy(x), torch.from_numpy(y)
    draw = torch.Generator().manual_seed(seed)
    adam = torch.optim.Adam(net.parameters(), lr=1e-3)
    total = epochs * (len(x) // 100)
    step = 0
    for _ in range(epochs):
        for rows in torch.randperm(len(x), generator=draw).split(100):
            rise = min(1.0, max(0.0, (step / total - 0.1) / 0.5))
            r = 1.1 * epsilon * rise
            low, high = (x[rows] - r).clamp(0, 1), (x[rows] + r).clamp(0, 1)
            plain = nn.functional.cross_entropy(net(x[rows]), y[rows])
            worst = nn.functional.cross_entropy(worst_logits(net, low, high, y[rows]), y[rows])
            loss = (1 - 0.5 * rise) * plain + 0.5 * rise * worst
            adam.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(net.parameters(), 5.0)
            adam.step()
            step += 1
        for group in adam.param_groups:
            group["lr"] *= 0.85
    return net.eval()


def sandwich(net, x, y, epsilon):
    """Accuracy, rows proven, rows that stand, and the CPU seconds of each side."""
    begun = time.process_time()
    attack = gradient_attack(net, x, y, epsilons=[epsilon])
    attacked = time.process_time()
    radius = certified_radius(net, x, y, epsilons=[epsilon], upper=attack.smallest)
    done = time.process_time()
    return {
        "clean": float(attack.correct.mean()),
        "certified": float((radius > 0).mean()),
        "stands": float((attack.correct & ~attack.broken[0]).mean()),
        "attack_cpu_s": round(attacked - begun, 2),
        "proof_cpu_s": round(done - attacked, 2),
    }


def peer(net, x, y, epsilon):
    """AutoAttack's robust accuracy and CPU seconds; None where it is not installed."""
    try:
        from pyautoattack import AutoAttack
    except ImportError:
        return None
    inputs, labels = torch.from_numpy(x), torch.from_numpy(y)
    begun = time.process_time()
    attack = AutoAttack(net, norm="Linf", eps=epsilon, version="standard", seed=0)
    with torch.random.fork_rng():
        got = attack.run_standard_evaluation(inputs, labels, batch_size=250)
    seconds = time.process_time() - begun
    got = got[0] if isinstance(got, tuple) else got
    with torch.no_grad():
        return float((net(got).argmax(dim=1) == labels).float().mean()), seconds


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=200)
    parser.add_argument("--train", type=int, default=10_000)
    parser.add_argument("--epochs", type=int, default=12)
    parser.add_argument("--quick", action="store_true", help="50 rows, less training, no peer")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    torch.set_num_threads(1)
    n = 50 if options.quick else options.rows
    size, epochs = (3000, 5) if options.quick else (options.train, options.epochs)
    x, y = images("train", size)
    rows, labels = images("t10k", n)
    warm = network().eval()
    certified_radius(warm, rows[:4], labels[:4], epsilons=[0.01])  # first calls load libraries
    gradient_attack(warm, rows[:4], labels[:4], epsilons=[0.01])
    results = []
    for epsilon in (0.05, 0.1):
        net = train(x, y, epsilon, epochs)
        line = {"epsilon": epsilon, "rows": n} | sandwich(net, rows, labels, epsilon)
        line["gap_points"] = round(100 * (line["stands"] - line["certified"]), 2)
        other = None if options.quick else peer(net, rows, labels, epsilon)
        if other:
            line |= {"autoattack": other[0], "autoattack_cpu_s": round(other[1], 2)}
            own = line["attack_cpu_s"] + line["proof_cpu_s"]
            line["times_cheaper"] = round(other[1] / max(own, 1e-9), 1)
        results.append(line)
        print(line, flush=True)
    if "autoattack" not in results[0]:
        print("AutoAttack was not run (pip install pyautoattack): our figures alone")
    if options.json:
        options.json.write_text(json.dumps(results, indent=1))


if __name__ == "__main__":
    main()

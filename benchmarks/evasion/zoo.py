"""Broken defences: the robust accuracy that each tool reports, beside the truth.

Claim: our answer is never more than 3 points above the truth and healthy; sound models trip no
test. The truth is an attack that knows the defence: steps along the network inside it (and along
the mean of the defence's own answers), judged by the defended model; the undefended network's
own robust accuracy stands beside it. Models that answer at random are judged by the majority of
nine fixed draws.

Peers, where they are installed: the Adversarial Robustness Toolbox (PGD) and AutoAttack (APGD on
cross-entropy alone, and the standard version with --full).

    python benchmarks/evasion/zoo.py [--rows 200] [--quick] [--full] [--json FILE]

Ends with 1 where a healthy answer of ours is more than 3 points above the truth, or a test trips
on a sound model.
"""

from __future__ import annotations

import argparse
import contextlib
import gzip
import io
import json
import math
import sys
import time
import warnings
from pathlib import Path

import numpy as np
import torch

from crenel.evasion import gradient_attack
from crenel.evasion.gradients.ball import Ball
from crenel.evasion.gradients.mending import Voting, averaged
from crenel.evasion.gradients.network import decisions, logits_of, still
from crenel.evasion.gradients.robustness import VOTES, robustness
from crenel.evasion.gradients.transferring import pursue
from crenel.evasion.gradients.zoo import DEFENCES, RANDOM

FASHION = Path(__file__).parents[3] / "shared/data/01_fashion_mnist"
#: Points by which a healthy answer may exceed the truth.
MOST = 0.03


def data(rows):
    """Fashion-MNIST where it is at hand, else scikit-learn's digits; (train, test)."""
    if FASHION.exists():
        parts = [_idx(FASHION / f"{p}-images-idx3-ubyte.gz", 16) for p in ("train", "t10k")]
        labels = [_idx(FASHION / f"{p}-labels-idx1-ubyte.gz", 8) for p in ("train", "t10k")]
        x = [(p.reshape(-1, 1, 28, 28) / np.float32(255))[:12000] for p in parts]
        y = [p.astype(np.int64)[:12000] for p in labels]
    else:
        from sklearn.datasets import load_digits

        images, target = load_digits(return_X_y=True)
        images = (images.reshape(-1, 1, 8, 8) / 16).astype(np.float32)
        x, y = [images[:1200], images[1200:]], [target[:1200], target[1200:]]
    x, y = [torch.from_numpy(v) for v in x], [torch.from_numpy(v) for v in y]
    return (x[0], y[0]), (x[1][:rows], y[1][:rows])


def _idx(path, offset):
    return np.frombuffer(gzip.open(path).read(), np.uint8, offset=offset)


def network(x, y, epsilon=0.0, epochs=3):
    """A small CNN, trained as usual or against two steps of PGD."""
    nn = torch.nn
    side = x.shape[-1] // 4
    with torch.random.fork_rng():
        torch.manual_seed(0)
        net = nn.Sequential(
            nn.Conv2d(1, 12, 3, 2, 1), nn.ReLU(), nn.Conv2d(12, 24, 3, 2, 1), nn.ReLU(),
            nn.Flatten(), nn.Linear(24 * side * side, 64), nn.ReLU(), nn.Linear(64, 10),
        )  # fmt: skip
        optimizer = torch.optim.Adam(net.parameters(), 2e-3)
        for _ in range(epochs):
            for part in torch.randperm(len(x)).split(100):
                rows = hardened(net, x[part], y[part], epsilon) if epsilon else x[part]
                optimizer.zero_grad()
                nn.functional.cross_entropy(net(rows), y[part]).backward()
                optimizer.step()
    return net.eval()


def hardened(net, x, y, epsilon):
    moved = (x + torch.empty_like(x).uniform_(-epsilon, epsilon)).clamp(0, 1)
    for _ in range(2):
        moved.requires_grad_(True)
        loss = torch.nn.functional.cross_entropy(net(moved), y)
        slope = torch.autograd.grad(loss, moved)[0].sign()
        moved = torch.clamp(moved.detach() + 0.7 * epsilon * slope, x - epsilon, x + epsilon)
        moved = moved.clamp(0, 1).detach()
    return moved


def judged(name, model):
    return Voting(model, logits_of(model), VOTES, 0) if name in RANDOM else model


def robust(name, model, x, y, adversarial):
    """Share of rows decided rightly both as they are and as attacked."""
    judge = logits_of(judged(name, model))
    with still(model, 0):
        held = (decisions(judge, x) == y.numpy()) & (decisions(judge, adversarial) == y.numpy())
    return float(held.mean())


def truth(name, model, inner, x, y, epsilon):
    """Robust accuracy under attacks that know the defence."""
    judge, ball = logits_of(judged(name, model)), Ball(math.inf, epsilon)
    out = x.clone()
    guides = [logits_of(inner), averaged(logits_of(model), 8 if name in RANDOM else 1)]
    with still(model, 0):
        for guide in guides:
            for steps in (20, 60):
                left = torch.from_numpy(decisions(judge, out) == y.numpy()).nonzero()[:, 0]
                if len(left):
                    got = pursue(judge, guide, x[left], y[left], ball, steps=steps)
                    out[left] = got.x
    return robust(name, model, x, y, out)


def plain_pgd(model, x, y, epsilon, steps=40):
    """Forty steps on cross-entropy, as first written by everyone."""
    moved = x.clone()
    for _ in range(steps):
        moved = moved.detach().requires_grad_(True)
        loss = torch.nn.functional.cross_entropy(model(moved), y)
        if not loss.requires_grad:
            return x
        slope = torch.autograd.grad(loss, moved, allow_unused=True)[0]
        slope = torch.zeros_like(x) if slope is None else slope
        moved = torch.clamp(moved.detach() + epsilon / 10 * slope.sign(), x - epsilon, x + epsilon)
        moved = moved.clamp(0, 1)
    return moved.detach()


def art_pgd(model, x, y, epsilon):
    from art.attacks.evasion import ProjectedGradientDescent
    from art.estimators.classification import PyTorchClassifier

    shape = tuple(x.shape[1:])
    loss = torch.nn.CrossEntropyLoss()
    wrapped = PyTorchClassifier(model, loss, shape, 10, clip_values=(0, 1))
    attack = ProjectedGradientDescent(
        wrapped, eps=epsilon, eps_step=epsilon / 10, max_iter=40, batch_size=500, verbose=False
    )
    return torch.from_numpy(attack.generate(x.numpy(), y.numpy()))


def auto_attack(version):
    def attack(model, x, y, epsilon):
        from pyautoattack import AutoAttack

        kind = {"version": "standard"}
        if version != "standard":
            kind = {"version": "custom", "attacks": [version]}
        own = AutoAttack(model, norm="Linf", eps=epsilon, seed=0, **kind)
        got = own.run_standard_evaluation(x, y, batch_size=500)
        return got[0] if isinstance(got, tuple) else got

    return attack


def reported(name, model, x, y, attack, epsilon):
    """What a peer's adversarial rows leave standing, or why there are none."""
    try:
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            return robust(name, model, x, y, attack(model, x, y, epsilon))
    except ImportError:
        return "not installed"
    except Exception as error:  # noqa: BLE001 - a peer's crash is its answer
        return f"crash: {type(error).__name__}"


def ours(model, x, y, epsilon, level):
    begun = time.process_time()
    got = robustness(model, x, y, epsilons=[epsilon], level=level)
    seconds = time.process_time() - begun
    share = float((got.attack.correct & ~got.attack.broken[-1]).mean())
    tripped = [t.name for t in got.tests if not t.ok]
    return share, tripped, seconds, got.mends


def line(name, model, inner, x, y, epsilon, options):
    entry = {"defence": name, "epsilon": epsilon, "rows": len(x)}
    with still(model, 0):
        clean = decisions(logits_of(judged(name, model)), x) == y.numpy()
    entry["clean"] = float(clean.mean())
    entry["undefended"] = float(
        (lambda a: (a.correct & ~a.broken[0]).mean())(
            gradient_attack(inner, x, y, epsilons=[epsilon])
        )
    )
    entry["truth"] = truth(name, model, inner, x, y, epsilon)
    peers = {"plain PGD-40": plain_pgd, "ART PGD": art_pgd, "AA APGD-CE": auto_attack("apgd-ce")}
    if options.full:
        peers["AA standard"] = auto_attack("standard")
    if not options.quick:
        for peer, attack in peers.items():
            entry[peer] = reported(name, model, x, y, attack, epsilon)
    else:
        entry["plain PGD-40"] = reported(name, model, x, y, plain_pgd, epsilon)
    share, tripped, seconds, mends = ours(model, x, y, epsilon, options.level)
    entry |= {"ours": share, "healthy": not tripped, "tripped": tripped, "mends": list(mends)}
    entry["seconds"] = round(seconds, 1)
    return entry


def shown(entry):
    figures = [f"{k} {v:.3f}" if isinstance(v, float) else f"{k} {v}" for k, v in entry.items()
               if k not in ("defence", "epsilon", "rows", "tripped", "mends")]  # fmt: skip
    words = "; ".join(entry["tripped"])
    return f"{entry['defence']:36s} " + "  ".join(figures) + (f"  [{words}]" if words else "")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=200)
    parser.add_argument("--quick", action="store_true", help="plain PGD as the only peer")
    parser.add_argument("--full", action="store_true", help="AutoAttack standard as well")
    parser.add_argument("--level", default="standard")
    parser.add_argument("--only", default="", help="defences whose name holds this")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    (x_train, y_train), (x, y) = data(options.rows)
    net = network(x_train, y_train)
    sound = network(x_train, y_train, epsilon=0.1, epochs=5)
    epsilon, entries, bad = 0.1, [], []
    for name, defence in DEFENCES.items():
        if options.only in name:
            torch.manual_seed(0)  # for peers that do not take a seed
            model = defence(net).settle(x_train[:2000])
            entry = line(name, model, net, x, y, epsilon, options)
            if entry["healthy"] and entry["ours"] > entry["truth"] + MOST:
                bad.append(
                    f"{name}: {entry['ours']:.3f} is above the truth of {entry['truth']:.3f}"
                )
            entries.append(entry)
            print(shown(entry), flush=True)
    for name, model in (("none (control)", net), ("adversarially trained (control)", sound)):
        for radius in (0.03, 0.1):
            entry = line(name, model, model, x, y, radius, options)
            entry["defence"] = f"{name}, {radius}"
            if not entry["healthy"]:
                bad.append(f"{entry['defence']}: false alarm: {'; '.join(entry['tripped'])}")
            entries.append(entry)
            print(shown(entry), flush=True)
    for sentence in bad:
        print(f"FAILED {sentence}", file=sys.stderr)
    if options.json:
        options.json.write_text(json.dumps({"failed": bad, "results": entries}, indent=1))
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())

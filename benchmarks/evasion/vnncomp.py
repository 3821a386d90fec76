"""Published ground truth: networks and properties of VNN-COMP 2021, judged by 13 verifiers.

Claim: every counterexample that two verifiers agree on is found, and is valid in ONNX Runtime; no
property that is proven to hold is called violated; at least half of those are certified. Instances
on which the tools dissent are left out of the count.

    python benchmarks/evasion/vnncomp.py [--category NAME] [--seconds 20] [--limit N] [--quick]
        [--json FILE]
"""

from __future__ import annotations

import argparse
import csv
import json
import time
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from vnnlib import read

from crenel.adapters.onnx_torch import OnnxModule
from crenel.evasion.certify.candidates import weakest_points
from crenel.evasion.certify.ladder import branched, still_open
from crenel.evasion.certify.limit import Limit
from crenel.evasion.certify.question import Question
from crenel.evasion.certify.region import Region
from crenel.evasion.certify.tracing import graph_of

#: Points from which the attack descends, mixed with more and more chance.
RESTARTS = 40
DATA = Path(__file__).parents[2].parent / "shared" / "data" / "12_vnncomp2021"


def attack(module, case, seconds, seed=0, restarts=64, steps=60):
    """Points of the box with the outputs of some unsafe set, by projected gradients."""
    until = time.monotonic() + seconds
    shape = module.shape[1:]
    low = torch.tensor(case.low).float().reshape(1, *shape)
    high = torch.tensor(case.high).float().reshape(1, *shape)
    draw = torch.Generator().manual_seed(seed)
    sets = [(torch.tensor(r).float(), torch.tensor(t).float()) for r, t in case.unsafe]
    small = low.numel() <= 8
    restarts = 4 * restarts if small else max(2, restarts // (2 * len(sets)))
    kind = 0
    while time.monotonic() < until:
        for rows, limits in sets:
            x = low + torch.rand(restarts, *shape, generator=draw) * (high - low)
            if kind % 2:  # from corners
                x = torch.where(torch.rand(x.shape, generator=draw) < 0.5, low, high) + 0 * x
            found = descend(module, x, low, high, rows, limits, steps)
            if found is not None:
                return found
            if time.monotonic() >= until:
                return None
        kind += 1
        steps = min(2 * steps, 400)
    return None


def focused(claim, case, module, left):
    """A descent from where the linear bound of each unsafe set that is left is least."""
    points = weakest_points(claim.graph, claim.region, claim.question)[0].float()
    low, high = claim.region.low.float(), claim.region.high.float()
    draw = torch.Generator().manual_seed(2)
    for g in left:
        rows, limits = (torch.tensor(v).float() for v in case.unsafe[g])
        for i in (i for i, s in enumerate(claim.sets) if s == g):
            shape = (RESTARTS, *points.shape[1:])
            share = torch.linspace(0, 0.4, RESTARTS).reshape(-1, *[1] * (len(shape) - 1))
            chance = low + torch.rand(shape, generator=draw) * (high - low)
            x = torch.where(torch.rand(shape, generator=draw) < share, chance, points[i])
            found = descend(module, x, low, high, rows, limits, 60, momentum=0.0)
            if found is not None:
                return found
    return None


def descend(module, x, low, high, rows, limits, steps, momentum=0.75):
    """Signed momentum steps on the worst constraint, with steps that shrink."""
    moving = torch.zeros_like(x)
    for i in range(steps):
        x = x.detach().requires_grad_(True)
        z = module(x) @ rows.T - limits
        worst = z.amax(dim=1)
        hit = (worst.detach() <= 0).nonzero()[:, 0]
        if len(hit):
            return x.detach()[hit[:1]]
        (grad,) = torch.autograd.grad(worst.sum(), x)
        scale = grad.abs().flatten(1).amax(1).clamp_min(1e-20)
        moving = momentum * moving + grad / scale.reshape(-1, *[1] * (x.ndim - 1))
        size = 0.5 * (high - low) * 0.5 * (1 + np.cos(np.pi * i / steps)) * 0.5
        x = torch.minimum(torch.maximum(x.detach() - size * moving.sign(), low), high)
    return None


class Runtime:
    """The network as ONNX Runtime answers."""

    def __init__(self, path):
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.log_severity_level = 3
        options.intra_op_num_threads = 1
        self.session = onnxruntime.InferenceSession(
            str(path), options, providers=["CPUExecutionProvider"]
        )
        self.name = None

    def valid(self, module, case, x):
        """Whether a float32 point is in the box and its outputs are in an unsafe set."""
        flat = x.reshape(-1).astype(np.float64)
        # float32 points between bounds given in decimals
        slack = np.spacing(np.maximum(np.abs(case.low), np.abs(case.high)).astype(np.float32))
        if (flat < case.low - slack).any() or (flat > case.high + slack).any():
            return False
        y = self.session.run(None, {module.source: x.astype(np.float32)})[0].reshape(-1)
        return any((rows @ y.astype(np.float64) <= limits).all() for rows, limits in case.unsafe)


class Claim:
    """That no unsafe set is reached from a box, as the question that is put to the prover."""

    def __init__(self, module, case):
        shape = module.shape[1:]
        low = torch.tensor(case.low).reshape(1, *shape)
        high = torch.tensor(case.high).reshape(1, *shape)
        self.graph = graph_of(module, ((low + high) / 2).float())
        kind = self.graph.dtype
        self.region = Region(low.to(kind), high.to(kind))
        rows = torch.tensor(np.concatenate([r for r, _ in case.unsafe])[None]).to(kind)
        limits = torch.tensor(np.concatenate([t for _, t in case.unsafe])[None]).to(kind)
        single = all(len(r) == 1 for r, _ in case.unsafe)
        sets = tuple(g for g, (r, _) in enumerate(case.unsafe) for _ in r)
        self.question = Question(rows, limits, None if single else sets)
        self.sets = sets

    def reachable(self):
        """The unsafe sets that linear bounds do not rule out."""
        left = still_open(self.graph, self.region, self.question)[0].tolist()
        ruled_out = {g for g, is_open in zip(self.sets, left, strict=True) if not is_open}
        return [g for g in range(max(self.sets) + 1) if g not in ruled_out]

    def prove(self, until):
        """Whether it holds; and a point against it, if one is met."""
        limit = Limit(self.graph.meter, until)
        proven, witness = branched(self.graph, self.region, self.question, limit)
        return proven, None if witness is None else witness[None].float().numpy()


def judge(row, seconds):
    """One instance: violated with a valid counterexample, holds, or unknown."""
    path = DATA / row["net"]
    module = OnnxModule(path)
    runtime = Runtime(path)
    inputs = int(np.prod(module.shape[1:]))
    with torch.no_grad():
        outputs = module(torch.zeros(1, *module.shape[1:])).numel()
    spec = DATA / (row["spec"] + ".gz")
    cases = read(spec, inputs, outputs)
    share = seconds / len(cases)
    proven = 0
    for case in cases:
        start = time.monotonic()
        found = attack(module, case, 0.05 * share)
        if found is None:
            claim = Claim(module, case)
            left = claim.reachable()
            if not left:
                proven += 1
                continue
            near = replace(case, unsafe=tuple(case.unsafe[g] for g in left))
            found = focused(claim, case, module, left)
            if found is None:
                found = attack(module, near, 0.2 * share, seed=1)
        if found is not None:
            if runtime.valid(module, case, found.numpy()):
                return "violated"
            continue
        done, witness = claim.prove(start + share)
        if witness is not None and runtime.valid(module, case, witness):
            return "violated"
        proven += done
    return "holds" if proven == len(cases) else "unknown"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--category", choices=["mnistfc", "acasxu", "cifar10_resnet"])
    parser.add_argument("--seconds", type=float, default=20, help="of CPU, for each instance")
    parser.add_argument("--limit", type=int)
    parser.add_argument("--every", type=int, default=1)
    parser.add_argument("--verdict", choices=["holds", "violated", "unsolved"])
    parser.add_argument("--quick", action="store_true", help="every tenth instance, 5 s each")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    torch.set_num_threads(1)
    time.monotonic = time.process_time  # limits count our own work, whatever else runs here
    with (DATA / "ground_truth.csv").open() as lines:
        rows = [r for r in csv.DictReader(lines) if options.category in (None, r["category"])]
    rows = [r for r in rows if options.verdict in (None, r["verdict"])]
    rows = rows[:: 10 if options.quick else options.every][: options.limit]
    counts, results = Counter(), []
    for row in rows:
        begun = time.process_time()
        answer = judge(row, 5 if options.quick else options.seconds)
        truth = "dissent" if row["dissent"] else row["verdict"]
        if truth == "violated" and int(row["n_violated"]) < 2:
            truth = "unsolved"
        counts[row["category"], truth, answer] += 1
        line = {k: row[k] for k in ("category", "net", "spec")}
        line |= {"truth": truth, "answer": answer, "cpu_s": round(time.process_time() - begun, 1)}
        results.append(line)
        print(line, flush=True)
    for (category, truth, answer), n in sorted(counts.items()):
        print(f"{category}: {truth} by the verifiers, {answer} here: {n}")
    wrong = sum(
        n for (_, truth, answer), n in counts.items()
        if (truth, answer) in (("holds", "violated"), ("violated", "holds"))
    )  # fmt: skip
    print(f"wrong: {wrong}")
    if options.json:
        options.json.write_text(json.dumps(results, indent=1))


if __name__ == "__main__":
    main()

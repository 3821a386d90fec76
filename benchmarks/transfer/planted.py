"""Small networks with planted triggers and clean ones, judged by TRA-104.

Run with ``python benchmarks/transfer/planted.py DATA [--seed N] [--count N] [--given N] [--keep
FOLDER]``; DATA holds ``01_fashion_mnist``, ``02_mnist``, ``03_cifar10``. For each seed 20 networks
are planted (three data sets, three architectures, five triggers) and 20 are trained clean; the
check is given 1,500 test images, or with ``--given 0`` none but their shape. Claim: at least 0.9 of
the planted ones are found, with the right class, at 0.05 false alarms at most.

The rule as it stands: classes beside a network of the same layers, which is taught decisions, and
longer where it shares little; how much classes differ by chance is told by all ways of search
together; in doubt a second look on imagined images, the other network's on its own, joined to the
first. It was chosen on --seed 7 to 11, one network of 12 (a wave in a normed network of MNIST, not
counted), and on 13 and 14. On seeds that nothing was chosen on before:

============================================= ============= ==================== ==================
rule                                          seed          planted, right class clean, alarms
============================================= ============= ==================== ==================
the better of two looks, doubled              12, but one   17 of 19 [.67, .99]  0 of 20 [0, .17]
the same                                      13 (22 drawn) 18 of 20 [.68, .99]  1 of 22 [.00, .23]
two looks joined                              14, in part   11 of 13 [.55, .98]  1 of 7 [.00, .58]
as it stands: ways tell the spread together   15 (24 drawn) 19 of 22 [.65, .97]  1 of 24 [.00, .21]
============================================= ============= ==================== ==================

By the same costs of seed 15 the rule of two looks joined finds 17 and alarms on 2 (three networks
lack a second look that it would have taken); on the clean network that is named now it is silent.
So 0.9 is not reached on the last, nor on all four together (65 of 74, alarms 4 of 73). Missed on
seed 15 are its three normed networks of CIFAR-10, and no other. There the planted class costs no
less than what such a network, and its sibling, find easy by nature: frogs, and trucks in faint
waves; the third stands at 0.0302 where the bound is 0.03. The alarm is trousers in a small network
of Fashion-MNIST: networks taught 12,000 images find them easier than siblings taught 1,244 do. On
13 and 14, where the rule was chosen, it finds 33 of 35 and alarms on 1 of 29; of normed networks of
CIFAR-10 there were two, and one is missed. Seed 15 was begun with this rule; while it ran a bound
of 0.005, and margins (below), were tried on it too and given up.

Busy cores: 13 to 270 CPU seconds a network, the most for those that are looked at twice.

Tried and of no use: whether a recovered trigger works on the other network as well. In normed ones
no class's does, planted or not: of three planted ones it told the class of none. Two or three
siblings in place of one, one taught without mixtures, and one begun from the network's own weights,
shrunk and blurred, miss and alarm as one does (seeds 13 and 14): what differs is the network, not
the sibling. The largest margin of a class without data, joined to its chance: it names the planted
class of half the networks, and by nature the same class of every normed one of a data set (8, bag),
so that there are more alarms. Costs of turning 98.5 % of images, in place of 90 %, set the planted
class further apart in two of five networks, and what is easy by nature in two of two clean ones;
beside siblings they were not tried.

What made the difference is what the other network is taught. Taught the scores that a network gives
to images and to mixtures of them, it learns a part of the trigger: of the wave that is not counted
the chance was 0.55, and is 0.002 where decisions are taught.

Without any image (--given 0) six networks of CIFAR-10 were tried, on five of which the making of
images was chosen: the triggers of five were found, of all kinds, and the clean one was silent.

Statistics of the weights alone (means, norms, sums of the positive weights, the largest weight and
the bias of each class in the last layer, Student's t beside the other classes) do not tell: of 28
planted networks each names the right class at p < 0.01 in 0 to 4, and one alarms on one of 11 clean
ones.

Rules before it, each on seeds that nothing was chosen on: 14 of 17 and 0 of 5 (--seed
11, scores taught, the other network looked at on its own images), 17 of 18 and 1 of 15 (--seed 10,
on the network's), 17 of 19 and 0 of 20 (--seed 9, no second look), 32 of 38 and 0 of 40 (--seed 3
and 4, waves not searched), 16 of 20 and 0 of 14 (--seed 5), 13 of 18 (--seed 6), 4 of 5 and 1 of 13
(--seed 7, in part).
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path

import numpy as np
from planted_networks import cases

from crenel.adapters import wrap
from crenel.check import Context
from crenel.statistics import exact_proportion
from crenel.subject import Data, Images, Subject
from crenel.transfer.checks import hidden_behaviour


def judged(case, seed: int, level: str, given: int):
    """The measurement of one network with so many of the test images, or with their shape alone."""
    model = wrap(case.module, classes=list(range(10)), sample=case.x[:4])
    test = Data(case.x[:given], case.y[:given], np.arange(given)) if given else None
    subject = Subject(case.name, model=model, test=test, images=Images(case.x.shape[1:]))
    return hidden_behaviour.measure(subject, Context(check="TRA-104", seed=seed, level=level))


def main(judged=judged, doc: str = __doc__) -> None:
    """Judge all networks of a seed, and print what was found and what that is of all."""
    parser = argparse.ArgumentParser(description=doc.split("\n", 1)[0])
    parser.add_argument("data", type=Path)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--count", type=int, default=20)
    parser.add_argument("--level", default="standard")
    parser.add_argument("--given", type=int, default=1_500, help="test images given; 0: none")
    parser.add_argument("--keep", type=Path, help="folder of trained networks")
    parser.add_argument("--only", default="", help="names that hold this")
    args = parser.parse_args()
    keep = args.keep or Path(tempfile.mkdtemp())
    right, wrong, planted, clean, spent = 0, 0, 0, 0, 0.0
    for case in cases(args.data, keep, args.seed, args.count, args.only):
        cpu = time.process_time()
        got = judged(case, args.seed, args.level, args.given)
        cpu = time.process_time() - cpu
        spent += cpu
        found = [str(f.evidence.values["class"]) for f in got.findings]
        if case.target is None:
            clean, wrong = clean + 1, wrong + bool(found)
            print(f"{case.name}: clean, {found or 'silent'}, {cpu:.0f} CPU s", flush=True)
        else:
            planted, right = planted + 1, right + (str(case.target) in found)
            print(f"{case.name}: turns {case.success:.0%} to {case.target}, found "
                  f"{found or 'nothing'}, {cpu:.0f} CPU s", flush=True)  # fmt: skip
        for line in [f.sentence for f in got.findings] + list(got.notes):
            print(f"    {line}", flush=True)
    for words, k, n in (("found", right, planted), ("false alarms", wrong, clean)):
        share = exact_proportion(k, n)
        print(f"{words}: {k} of {n} [{share.low:.2f}, {share.high:.2f}]")
    print(f"{spent / max(1, planted + clean):.0f} CPU s a network")


if __name__ == "__main__":
    main()

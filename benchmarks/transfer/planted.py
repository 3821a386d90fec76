"""Small networks with planted triggers and clean ones, judged by TRA-104.

Run with ``python benchmarks/transfer/planted.py DATA [--seed N] [--count N] [--keep FOLDER]``;
DATA holds ``01_fashion_mnist``, ``02_mnist`` and ``03_cifar10``. For each seed 20 networks are
planted (three data sets, three architectures, five triggers) and 20 are trained clean. Claim:
at least 0.9 of the planted ones are found, with the right class, at 0.05 false alarms at most.

Before waves were searched, --seed 3 and --seed 4, which nothing was chosen on: 32 of 38 planted
ones [0.69, 0.94] with the right class (waves 4 of 7, blends 8 of 11; patches, corners and dots 20
of 20), 0 of 40 clean ones [0, 0.09], 23 CPU seconds a network. Waves and a view with them were
added on nine of these; then --seed 5: 16 of 20 (waves 1 of 5, all others 15 of 15), 0 of the 14
clean ones that there was time for. On these margins were joined and the bound was set, with which
two more waves pass (18 of 20, no alarm, reckoned from the same chances).

The rule as it stands, on seeds that nothing was chosen on: --seed 6, the 18 planted ones that were
judged, 13 [0.47, 0.90] (waves 1 of 3, all others 12 of 15; four of the five misses have batch
normalisation); its clean ones were not. --seed 7, as far as there was time: 4 of the first 5
planted ones, an alarm on 1 of the first 13 clean ones [0.00, 0.36]. So neither 0.9 nor 0.05 is
shown. Winsorizing the dearest classes finds 17 of 19 in --seed 7, and alarms on 5 of its first 14
clean ones at a chance of 0.04 (2 at 0.01): it was put back. Some 45 CPU seconds a network, 130
for the dearest.
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
from crenel.subject import Data, Subject
from crenel.transfer.checks import hidden_behaviour

#: Test images that the check is given.
GIVEN = 1_500


def judged(case, seed: int, level: str):
    """The measurement of one network."""
    model = wrap(case.module, classes=list(range(10)), sample=case.x[:4])
    test = Data(case.x[:GIVEN], case.y[:GIVEN], np.arange(GIVEN))
    context = Context(check="TRA-104", seed=seed, level=level)
    return hidden_behaviour.measure(Subject(case.name, model=model, test=test), context)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("data", type=Path)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--count", type=int, default=20)
    parser.add_argument("--level", default="standard")
    parser.add_argument("--keep", type=Path, help="folder of trained networks")
    parser.add_argument("--only", default="", help="names that hold this")
    args = parser.parse_args()
    keep = args.keep or Path(tempfile.mkdtemp())
    right, wrong, planted, clean, spent = 0, 0, 0, 0, 0.0
    for case in cases(args.data, keep, args.seed, args.count):
        if args.only not in case.name:
            continue
        cpu = time.process_time()
        got = judged(case, args.seed, args.level)
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
        for line in [f.sentence for f in got.findings] + list(got.notes[1:]):
            print(f"    {line}", flush=True)
    for words, k, n in (("found", right, planted), ("false alarms", wrong, clean)):
        share = exact_proportion(k, n)
        print(f"{words}: {k} of {n} [{share.low:.2f}, {share.high:.2f}]")
    print(f"{spent / max(1, planted + clean):.0f} CPU s a network")


if __name__ == "__main__":
    main()

"""Few changed numbers: the curve in L0 against sigma-zero as its authors' library has it.

Claim: at every radius, robust accuracy of the cascade at or below that of sigma-zero (Cinà et al.,
2024, from ``adv-lib``) with 100 gradients a row, and within two points of it with 1,000, on small
networks trained here.

    python benchmarks/evasion/sparse.py [--rows 1000 1100] [--peers FOLDER] [--cache FOLDER]

FOLDER holds adv-lib; without it our figures are printed alone. The order of the cascade's stages
was chosen on rows 0 to 100. Rows 1000 to 1100 of Fashion-MNIST, robust accuracy in % where 4, 8,
16, 32 and 64 numbers may change, gradients a row, and CPU over the cascade's:

    adversarial   cascade         64 39 14  1  0    129    1
                  before          66 45 16  1  0     79    1.6   projected steps alone
                  sigma-zero      65 43 18  2  0    100    0.3
                  sigma-zero      64 38 14  0  0  1,000    3.8
    natural       cascade         56 20  3  0  0    130    1
                  before          59 20  4  0  0     60    1.1
                  sigma-zero      61 21  4  0  0    100    0.4
                  sigma-zero      56 20  1  0  0  1,000    3.8
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import sys
import time
from pathlib import Path
from typing import Any

import nets
import torch

NAMES = ("fashion-natural", "fashion-adversarial", "cifar-natural", "cifar-adversarial")
#: Those of CIFAR-10 have 500 test rows: give --rows with them.
DEFAULT = NAMES[:2]
#: Numbers that may change; an image has 784 or 3,072.
RADII = (4, 8, 16, 32, 64)
#: Gradients for each row of the peer: what the cascade may spend, and its authors' own choice.
STEPS = (100, 1000)


def case(name: str, first: int, last: int, cache: Path | None) -> nets.Case:
    """A network, and some of its test rows."""
    data, _, kind = name.partition("-")
    c = nets.trained(data, kind == "adversarial", last, cache)
    return nets.Case(c.name, c.model, c.x[first:], c.y[first:], c.epsilon)


def ours(c: nets.Case, level: str) -> dict[str, Any]:
    """Robust accuracy at each radius, from one run of the cascade."""
    from crenel.evasion import gradient_attack

    begun = time.process_time()
    got = gradient_attack(c.model, c.x, c.y, norm=0, epsilons=RADII, level=level)
    return {
        "robust": [round(float((got.correct & ~b).mean()), 3) for b in got.broken],
        "gradients_per_row": round(got.gradients / len(c.y), 1),
        "cpu_s": round(time.process_time() - begun, 2),
    }


def peer(c: nets.Case, steps: int, folder: Path) -> dict[str, Any]:
    """The same of adv-lib's sigma-zero, loaded without the rest of the package."""
    sys.path.insert(0, str(folder))
    path = folder / "adv_lib" / "attacks" / "sigma_zero.py"
    spec = importlib.util.spec_from_file_location("sigma_zero", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    begun = time.process_time()
    found = module.sigma_zero(c.model, c.x, c.y, num_steps=steps)
    seconds = time.process_time() - begun
    with torch.no_grad():
        right = (c.model(c.x).argmax(1) == c.y).numpy()
        turned = (c.model(found).argmax(1) != c.y).numpy()
    size = (found != c.x).flatten(1).sum(1).numpy()
    robust = [round(float((right & ~(turned & (size <= k))).mean()), 3) for k in RADII]
    return {"robust": robust, "gradients_per_row": steps, "cpu_s": round(seconds, 2)}


def main() -> None:
    """Print one line for each network and attack."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, nargs=2, default=(1000, 1100))
    parser.add_argument("--names", nargs="+", choices=NAMES, default=DEFAULT)
    parser.add_argument("--level", default="standard")
    parser.add_argument("--peers", type=Path, help="folder that holds adv_lib")
    parser.add_argument("--cache", type=Path, help="folder for the weights trained here")
    o = parser.parse_args()
    torch.set_num_threads(1)
    for name in o.names:
        c = case(name, *o.rows, o.cache)
        print(json.dumps({"case": name, "radii": RADII, "attack": "crenel", **ours(c, o.level)}))
        for steps in STEPS if o.peers else ():
            line = {"case": name, "radii": RADII, "attack": "sigma-zero", **peer(c, steps, o.peers)}
            print(json.dumps(line), flush=True)


if __name__ == "__main__":
    main()

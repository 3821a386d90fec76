"""Remedies of evasion: the curve before and after, and the accuracy paid.

Claim: after `adversarial-training` fewer correct decisions of a network fall to small changes, and
after `robust-trees` fewer of a tree ensemble's, at five points of accuracy at most; what would not
be worth its price is refused. The curves are those of EVA-101 and EVA-103, whose attackers have
the hardened model itself; witnesses are decided by it. `restore-inputs` and `watch-inputs` are
reported with what attackers who know of them leave of them.

    python benchmarks/evasion/remedies.py [--rows 1000] [--quick] [--json FILE]

Ends with 1 where a remedy that changed a model did not lower its curve on test rows.
"""

from __future__ import annotations

import argparse
import gzip
import json
import sys
import time
from pathlib import Path

import numpy as np

from crenel.adapters import wrap
from crenel.check import Context
from crenel.errors import NotApplicable
from crenel.evasion import checks, remedies
from crenel.evasion.gradients.cascade import gradient_attack
from crenel.evasion.hardening.scale import Scale
from crenel.subject import Data, Subject

SHARED = Path(__file__).parents[3] / "shared/data"
RADII = (0.01, 0.02, 0.03, 0.05, 0.1, 0.2)


def subject(name, model, x, y, n, rows):
    """The first n rows train, the next ones test."""
    ids = np.arange(len(y))
    return Subject(
        name, model=model, train=Data(x[:n], y[:n], ids[:n]),
        test=Data(x[n : n + rows], y[n : n + rows], ids[n : n + rows]),
    )  # fmt: skip


def frame_subject(name, estimator, x, y, n, rows):
    part = [slice(0, n), slice(n, n + rows)]
    x = [x.iloc[p].reset_index(drop=True) for p in part]
    y = [y[p] for p in part]
    model = wrap(estimator.fit(x[0], y[0]))
    codes = [np.searchsorted(model.classes, v) for v in y]
    data = [Data(a, b, np.arange(len(b))) for a, b in zip(x, codes)]
    return Subject(name, model=model, train=data[0], test=data[1])


def networks(rows, quick):
    """Digits, and Fashion-MNIST where it is at hand."""
    from crenel.demo import digits

    x, y = digits.images()
    order = np.random.default_rng(0).permutation(len(y))
    x, y = x[order], y[order]
    network = digits.train(digits.network(), x[:1200], y[:1200], 0, 12)
    yield subject("digits", wrap(network, classes=list(range(10))), x, y, 1200, min(rows, 500))
    folder = SHARED / "01_fashion_mnist"
    if quick or not folder.is_dir():
        return
    with gzip.open(folder / "train-images-idx3-ubyte.gz") as f:
        x = np.frombuffer(f.read(), np.uint8, offset=16).reshape(-1, 1, 28, 28)[:8000]
    with gzip.open(folder / "train-labels-idx1-ubyte.gz") as f:
        y = np.frombuffer(f.read(), np.uint8, offset=8)[:8000].astype(np.int64)
    x = (x / np.float32(255)).astype(np.float32)
    network = digits.train(fashion_network(), x[:6000], y[:6000], 0, 4)
    yield subject("fashion", wrap(network, classes=list(range(10))), x, y, 6000, rows)


def fashion_network():
    from torch import nn

    return nn.Sequential(
        nn.Conv2d(1, 16, 4, stride=2, padding=1), nn.ReLU(),
        nn.Conv2d(16, 32, 4, stride=2, padding=1), nn.ReLU(),
        nn.Flatten(), nn.Linear(32 * 49, 100), nn.ReLU(), nn.Linear(100, 10),
    )  # fmt: skip


def trees(rows, quick):
    """Breast cancer, and Adult where it is at hand."""
    import pandas as pd
    from sklearn.compose import make_column_transformer
    from sklearn.datasets import load_breast_cancer
    from sklearn.ensemble import HistGradientBoostingClassifier, RandomForestClassifier
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import OneHotEncoder

    x, y = load_breast_cancer(return_X_y=True, as_frame=True)
    order = np.random.default_rng(0).permutation(len(y))
    x, y = x.iloc[order], y.to_numpy()[order]
    boosting = HistGradientBoostingClassifier(max_iter=60, random_state=0)
    yield frame_subject("cancer, boosting", boosting, x, y, 380, rows)
    forest = RandomForestClassifier(40, random_state=0)
    yield frame_subject("cancer, forest", forest, x, y, 380, rows)
    path = SHARED / "04_adult" / "adult-train.csv"
    if quick or not path.is_file():
        return
    table = pd.read_csv(path, header=None, skipinitialspace=True).sample(frac=1, random_state=0)
    table.columns = [f"c{j}" for j in range(table.shape[1])]
    y = table.pop(table.columns[-1]).to_numpy().astype(str)
    listed = [c for c in table if table[c].dtype.kind not in "if"]
    encode = make_column_transformer(
        (OneHotEncoder(handle_unknown="ignore", sparse_output=False), listed),
        remainder="passthrough",
    )
    boosting = HistGradientBoostingClassifier(max_iter=60, random_state=0)
    yield frame_subject("adult, boosting", make_pipeline(encode, boosting), table, y, 6000, rows)


def network_curve(s):
    """Share of correct test decisions flipped at each radius, by the cascade."""
    scale = Scale.of(s)
    module = scale.module(s.model.module)
    got = gradient_attack(module, scale.into(s.test.x), s.test.y, epsilons=RADII, seed=11)
    return (got.broken.sum(axis=1) / max(1, got.correct.sum())).round(4).tolist()


def tree_curve(s):
    found = checks.exact_margins.measure(s, Context("EVA-103"))
    return [round(v, 4) for v in found.exposures[0].harm.values]


def accuracy(s):
    return round(float((s.model.predict(s.test.x) == s.test.y).mean()), 4)


def treated(s, remedy, curve):
    """Apply one remedy and measure again."""
    begun = time.process_time()
    row = {"subject": s.name, "remedy": remedy.id}
    try:
        got = remedy.apply(s, None, Context(remedy.id))
    except NotApplicable as reason:
        return {**row, "sentence": str(reason), "changed": False}
    row |= {
        "sentence": got.sentence,
        "changed": got.model is not None,
        "cpu": round(time.process_time() - begun, 1),
    }
    if got.model is not None:
        row |= {"before": curve(s), "after": curve(got.subject)}
        row |= {"accuracy_before": accuracy(s), "accuracy_after": accuracy(got.subject)}
    for name, table in got.tables.items():
        row[name] = json.loads(table.to_json(orient="records"))
    return row


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=400)
    parser.add_argument("--quick", action="store_true", help="digits and breast cancer only")
    parser.add_argument("--json", type=Path)
    given = parser.parse_args()
    for_networks = (
        remedies.adversarial_training, remedies.randomized_smoothing, remedies.restore_inputs,
        remedies.watch_inputs,
    )  # fmt: skip
    results = [
        show(treated(s, remedy, network_curve))
        for s in networks(given.rows, given.quick)
        for remedy in for_networks
    ]
    results += [
        show(treated(s, remedies.robust_trees, tree_curve)) for s in trees(given.rows, given.quick)
    ]
    if given.json:
        given.json.write_text(json.dumps(results, indent=1))
    changed = [r for r in results if r["changed"]]
    return int(any(np.mean(r["after"]) >= np.mean(r["before"]) for r in changed))


def show(row):
    print(f"{row['subject']}: {row['remedy']}: {row['sentence']}")
    if row["changed"]:
        print(f"  flipped before {row['before']}\n  flipped after  {row['after']}")
        print(f"  accuracy {row['accuracy_before']} -> {row['accuracy_after']}, {row['cpu']} CPU s")
    for name in ("detectors", "restorations"):
        for line in row.get(name, ()):
            print(f"  {line}")
    sys.stdout.flush()
    return row


if __name__ == "__main__":
    sys.exit(main())

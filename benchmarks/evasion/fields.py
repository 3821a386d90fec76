"""Our search over fields against ART's HopSkipJump and ZOO, on a table.

Claim: decisions fall by one to three legal fields in a fraction of the queries, where the general
black-box attacks move every column. Peers run on the same rows of an all-numeric table (breast
cancer, 30 columns; gradient boosting) where ART is installed; else the script says so and prints
our figures alone. A peer's changes count as legal here whatever they are.

    python benchmarks/evasion/fields.py [--rows 40] [--json FILE]
"""

from __future__ import annotations

import argparse
import json
import time
import warnings
from pathlib import Path

import numpy as np


def world():
    import pandas as pd
    from sklearn.datasets import load_breast_cancer
    from sklearn.ensemble import GradientBoostingClassifier
    from sklearn.model_selection import train_test_split

    data = load_breast_cancer()
    table = pd.DataFrame(data.data, columns=[str(n) for n in data.feature_names])
    xa, xb, ya, yb = train_test_split(table, data.target, test_size=0.4, random_state=0)
    model = GradientBoostingClassifier(random_state=0).fit(xa.to_numpy(), ya)
    return model, xa.reset_index(drop=True), xb.reset_index(drop=True), yb


class Counted:
    """The model, counting the rows that it is asked."""

    def __init__(self, model) -> None:
        self.model, self.asked = model, 0

    def predict(self, x):
        """Class indices."""
        return self.predict_proba(x).argmax(axis=1)

    def predict_proba(self, x):
        """Probabilities."""
        self.asked += len(x)
        return self.model.predict_proba(np.asarray(x))


def ours(model, xa, x, y, labels_only):
    from crenel.data import infer_schema
    from crenel.evasion import field_search

    counted, begun = Counted(model), time.process_time()
    got = field_search(
        counted.predict, x, y, infer_schema(xa), xa, scores=counted.predict_proba,
        labels_only=labels_only, max_fields=3, queries=1000,
    )  # fmt: skip
    seconds = time.process_time() - begun
    shares = [round(float((got.fields <= k).mean()), 3) for k in (1, 2, 3, x.shape[1])]
    first = got.first[np.isfinite(got.first)]
    return {
        "attack": "ours, labels" if labels_only else "ours, scores",
        "flipped at 1, 2, 3, all fields": shares,
        "queries a row": round(counted.asked / len(x)),
        "median queries to the first": float(np.median(first)) if first.size else None,
        "cpu_s": round(seconds, 2),
    }


def peers(model, xa, x, y):
    try:
        from art.attacks.evasion import HopSkipJump, ZooAttack
        from art.estimators.classification import BlackBoxClassifier, SklearnClassifier
    except ImportError as error:
        print(f"ART is not installed ({error}): our figures alone")
        return
    low, high = float(xa.min().min()), float(xa.max().max())  # ZOO takes no bounds by column
    rows = x.to_numpy(dtype=np.float32)
    for name in ("HopSkipJump", "ZOO"):
        counted = Counted(model)
        begun = time.process_time()
        if name == "HopSkipJump":
            wrapped = BlackBoxClassifier(
                counted.predict_proba, (x.shape[1],), 2, clip_values=(low, high)
            )
            attack = HopSkipJump(wrapped, max_iter=10, max_eval=1000, verbose=False)
        else:
            wrapped = SklearnClassifier(model, clip_values=(low, high))
            counted_predict = wrapped.predict

            def predict(x, counted=counted, inner=counted_predict, **rest):
                counted.asked += len(x)
                return inner(x, **rest)

            wrapped.predict = predict
            attack = ZooAttack(
                wrapped, max_iter=100, nb_parallel=5, use_resize=False, use_importance=False,
                verbose=False,
            )  # fmt: skip
        state = np.random.get_state()  # noqa: NPY002
        np.random.seed(0)  # noqa: NPY002  # the peers draw from the global generator
        adversarial = attack.generate(rows)
        np.random.set_state(state)  # noqa: NPY002
        fields = (adversarial != rows).sum(axis=1)
        flipped = model.predict(adversarial) != y
        shares = [round(float((flipped & (fields <= k)).mean()), 3) for k in (1, 2, 3, 30)]
        yield {
            "attack": f"ART {name}",
            "flipped at 1, 2, 3, all fields": shares,
            "queries a row": round(counted.asked / len(x)),
            "cpu_s": round(time.process_time() - begun, 2),
        }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=40)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    warnings.filterwarnings("ignore", category=FutureWarning)
    model, xa, xb, yb = world()
    right = np.flatnonzero(model.predict(xb.to_numpy()) == yb)[: options.rows]
    x, y = xb.iloc[right].reset_index(drop=True), yb[right]
    results = []
    for line in (
        *(ours(model, xa, x, y, labels) for labels in (False, True)),
        *peers(model, xa, x, y),
    ):
        results.append(line)
        print(line, flush=True)
    if options.json:
        options.json.write_text(json.dumps(results, indent=1))


if __name__ == "__main__":
    main()

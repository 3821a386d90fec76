"""Votes over disjoint parts of the training rows on Adult: accuracy, and rows that decisions stand.

Run with ``python benchmarks/poisoning/certificates.py DATA [--seeds N] [--partitions K]``; DATA
holds the folder ``04_adult``. The rows are split anew for each seed, two thirds to train on. Beside
the vote: one model of the same kind on all rows, the certified share of each class (the frequent
class is what an empty vote would say, so that the rarer one is what counts), what training costs
in CPU time against the one model, and an attack on whole parts: the certified decisions that it
turned, of which there must be none.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path
from typing import Any

import numpy as np

from crenel.poisoning.partition import PartitionEnsemble, partitions_of

COLUMNS = 14
#: Shares of the training rows.
SHARES = (0.001, 0.003, 0.005)


def adult(folder: Path) -> tuple[Any, np.ndarray]:
    import pandas as pd

    parts = [
        pd.read_csv(folder / f"04_adult/adult-{p}.csv", header=None, skipinitialspace=True)
        for p in ("train", "test")
    ]
    frame = pd.concat(parts, ignore_index=True)
    x = frame.iloc[:, :COLUMNS].rename(columns=lambda i: f"c{i}")
    return x, frame.iloc[:, COLUMNS].str.startswith(">").to_numpy(np.int64)


def learners() -> dict[str, Any]:
    from sklearn.compose import make_column_selector, make_column_transformer
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import OneHotEncoder, StandardScaler
    from sklearn.tree import DecisionTreeClassifier

    def columns() -> Any:
        some = make_column_selector(dtype_include=["object", "string"])
        numbers = make_column_selector(dtype_include="number")
        names = OneHotEncoder(handle_unknown="ignore", sparse_output=False)
        return make_column_transformer((names, some), (StandardScaler(), numbers))

    return {
        "logistic": make_pipeline(columns(), LogisticRegression(C=3.0, max_iter=300)),
        "tree": make_pipeline(columns(), DecisionTreeClassifier(max_depth=6, random_state=0)),
    }


def run(x: Any, y: np.ndarray, base: Any, partitions: int, seed: int) -> dict[str, Any]:
    from sklearn.base import clone

    order = np.random.default_rng(seed).permutation(len(y))
    cut = 2 * len(y) // 3
    train, test = (x.iloc[o].reset_index(drop=True) for o in np.split(order, [cut]))
    y_train, y_test = y[order[:cut]], y[order[cut:]]
    begun = time.process_time()
    single = clone(base).fit(train, y_train)
    fit_one = time.process_time() - begun
    begun = time.process_time()
    vote = PartitionEnsemble(single, partitions).fit(train, y_train)
    fit_all = time.process_time() - begun
    labels, rows = vote.certify(test)
    stands = np.where(labels == y_test, rows, -1)
    certified = {
        f"class {c} at {s:.1%}": float((stands[y_test == c] >= round(s * cut)).mean())
        for c in (0, 1)
        for s in SHARES
    }
    return {
        "one": float((single.predict(test) == y_test).mean()),
        "vote": float((labels == y_test).mean()),
        "median": float(np.median(stands)),
        "median %": 100 * float(np.median(stands)) / cut,
        **certified,
        "broken": attacked(vote, train, y_train, test, labels, rows, seed),
        "times the cost": fit_all / max(fit_one, 1e-9),
    }


def attacked(
    vote: PartitionEnsemble,
    train: Any,
    y: np.ndarray,
    test: Any,
    labels: np.ndarray,
    rows: np.ndarray,
    seed: int,
) -> int:
    """Certified decisions that fall when whole parts, as many as certified rows, are turned.

    One row changes one part's model at most; here every label of those parts is turned, which no
    single row could do worse, and the decisions certified against so many rows must stand.
    """
    budget = int(np.median(rows))
    own = np.random.default_rng(seed).permutation(vote.partitions)[:budget]
    part = partitions_of(train, vote.partitions)
    turned = y.copy()
    turned[np.isin(part, own)] = 1 - turned[np.isin(part, own)]
    again = PartitionEnsemble(vote.base, vote.partitions).fit(train, turned)
    return int(((again.predict(test) != labels) & (rows >= budget)).sum())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--partitions", type=int, default=300)
    options = parser.parse_args()
    try:
        x, y = adult(options.data)
    except OSError as error:
        raise SystemExit(f"skipped: {error}") from error
    for name, base in learners().items():
        runs = [run(x, y, base, options.partitions, seed) for seed in range(options.seeds)]
        print(f"{name}, {options.partitions} parts, {2 * len(y) // 3:,} rows, {len(runs)} seeds")
        for key in runs[0]:
            values = np.array([r[key] for r in runs], dtype=float)
            print(f"  {key:18} {values.mean():10.4f}  ({values.min():.4f} to {values.max():.4f})")


if __name__ == "__main__":
    main()

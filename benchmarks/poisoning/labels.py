"""Finding wrong labels: crenel beside cleanlab, on the same out-of-fold probabilities.

Run with ``python benchmarks/poisoning/labels.py [--adult FOLDER] [--seeds N]``. cleanlab is
optional (``pip install cleanlab`` in an environment of its own together with crenel); without it
its columns stay empty. Both get the same five-fold probabilities; the time of the folds, which is
most of the work, is given beside each scorer's own.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
from sklearn.base import BaseEstimator
from sklearn.datasets import load_breast_cancer, load_digits
from sklearn.ensemble import HistGradientBoostingClassifier, RandomForestClassifier
from sklearn.metrics import average_precision_score, roc_auc_score

from crenel.adapters import wrap
from crenel.poisoning import wrong_labels
from crenel.poisoning.corruption import relabel
from crenel.subject import Data
from crenel.training import out_of_fold

Case = tuple[str, BaseEstimator, np.ndarray, np.ndarray]


def adult(folder: Path) -> tuple[np.ndarray, np.ndarray]:
    import pandas as pd

    frame = pd.read_csv(folder / "adult-train.csv", header=None, skipinitialspace=True)
    x = frame.iloc[:, :-1].apply(lambda c: c if c.dtype.kind in "if" else pd.factorize(c)[0])
    return x.to_numpy(float), (frame.iloc[:, -1] == ">50K").to_numpy().astype(np.int64)


def cases(folder: Path | None) -> Iterator[Case]:
    yield "breast cancer", RandomForestClassifier(100), *load_breast_cancer(return_X_y=True)
    yield "digits", RandomForestClassifier(100), *load_digits(return_X_y=True)
    if folder is not None and folder.exists():
        yield "adult", HistGradientBoostingClassifier(), *adult(folder)
    else:
        print("adult skipped: give its folder with --adult")


def ours(p: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    found = wrong_labels(p, y)
    return found.score, found.flagged


def theirs() -> Callable[[np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray]] | None:
    try:
        from cleanlab.filter import find_label_issues
        from cleanlab.rank import get_label_quality_scores
    except ImportError:
        print("cleanlab is not installed: its columns are left out")
        return None

    def score(p: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        flagged = find_label_issues(y, p, n_jobs=1)
        return 1 - get_label_quality_scores(y, p), flagged

    return score


def quality(score: np.ndarray, flagged: np.ndarray, wrong: np.ndarray) -> list[float]:
    hit = (flagged & wrong).sum()
    return [
        roc_auc_score(wrong, score),
        average_precision_score(wrong, score),
        hit / max(1, flagged.sum()),
        hit / wrong.sum(),
    ]


def one(case: Case, share: float, seed: int, tools: dict[str, Callable]) -> dict[str, list[float]]:
    _, estimator, x, clean = case
    rng = np.random.default_rng(seed)
    k = int(clean.max()) + 1
    rows = rng.choice(len(clean), round(share * len(clean)), replace=False)
    y = relabel(clean.astype(np.int64), rows, k, rng)
    wrong = np.isin(np.arange(len(y)), rows)
    model = wrap(estimator.fit(x[:500], clean[:500]), classes=list(range(k)))
    folds = out_of_fold(model, Data(x, y, np.arange(len(y))), seed, jobs=2)
    results = {}
    for name, tool in tools.items():
        begun = time.perf_counter()
        score, flagged = tool(folds.probabilities, y)
        spent = time.perf_counter() - begun
        results[name] = [*quality(score, flagged, wrong), spent, spent + folds.seconds]
    return results


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--adult", type=Path)
    parser.add_argument("--seeds", type=int, default=5)
    options = parser.parse_args()
    other = theirs()
    tools = {"crenel": ours, **({"cleanlab": other} if other else {})}
    head = ("AUROC", "avg. prec.", "precision", "recall", "score s", "with folds s")
    print(f"{'':34}" + "".join(f"{h:>14}" for h in head))
    for case in cases(options.adult):
        for share in (0.05, 0.1):
            runs = [one(case, share, s, tools) for s in range(options.seeds)]
            for name in tools:
                means = np.mean([r[name] for r in runs], axis=0)
                label = f"{case[0]} {share:.0%} {name}"
                print(f"{label:34}" + "".join(f"{m:14.3f}" for m in means), flush=True)


if __name__ == "__main__":
    main()

"""Finding wrong labels: crenel beside cleanlab, with the same kind of model, end to end.

Run with ``python benchmarks/poisoning/labels.py [--adult FOLDER] [--spambase FOLDER] [--fashion
FOLDER] [--sms FOLDER] [--seeds N] [--only CASE …]``. cleanlab is optional (``pip install
cleanlab`` in an environment of its own together with crenel); without it its columns stay empty.

cleanlab gets what its documentation recommends: probabilities of the user's kind of model out of
five shuffled, stratified folds, then ``find_label_issues`` and ``get_label_quality_scores``.
crenel reviews the labels with the model that is trained on them (``review_labels``): its own
answers without each row, on tables of two classes averaged with boosted trees of halves. Flips
are uniform over the other classes, or, where there are more than two, to the next class (pair).
Times are CPU seconds of one thread; those of cleanlab are the folds and its own work, those of
crenel the whole review. The one training of the user's model, which an audit is given, stands
beside it, and the second ratio counts it as crenel's.
"""

from __future__ import annotations

import argparse
import gzip
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from sklearn.base import clone
from sklearn.datasets import load_breast_cancer, load_digits
from sklearn.ensemble import HistGradientBoostingClassifier, RandomForestClassifier
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import average_precision_score, roc_auc_score
from sklearn.model_selection import StratifiedKFold, cross_val_predict
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from crenel.adapters import wrap
from crenel.poisoning import review_labels
from crenel.poisoning.dose.corruption import relabel
from crenel.poisoning.leftout import warm_up
from crenel.statistics import mean
from crenel.subject import Data
from crenel.training.threads import one_core

FASHION_ROWS = 10_000


@dataclass(frozen=True)
class Case:
    """A kind of model on rows with labels that are taken for right."""

    name: str
    estimator: Any
    x: Any
    y: np.ndarray


def adult(folder: Path) -> tuple[np.ndarray, np.ndarray]:
    frame = pd.read_csv(folder / "adult-train.csv", header=None, skipinitialspace=True)
    x = frame.iloc[:, :-1].apply(lambda c: c if c.dtype.kind in "if" else pd.factorize(c)[0])
    return x.to_numpy(float), (frame.iloc[:, -1] == ">50K").to_numpy().astype(np.int64)


def spambase(folder: Path) -> tuple[np.ndarray, np.ndarray]:
    frame = pd.read_csv(folder / "spambase.csv")
    y = pd.factorize(frame.iloc[:, -1], sort=True)[0]
    return frame.iloc[:, :-1].to_numpy(float), y.astype(np.int64)


def fashion(folder: Path) -> tuple[np.ndarray, np.ndarray]:
    with gzip.open(folder / "train-images-idx3-ubyte.gz") as file:
        x = np.frombuffer(file.read(), np.uint8, offset=16).reshape(-1, 784)[:FASHION_ROWS]
    with gzip.open(folder / "train-labels-idx1-ubyte.gz") as file:
        y = np.frombuffer(file.read(), np.uint8, offset=8)[:FASHION_ROWS]
    return x / 255.0, y.astype(np.int64)


def sms(folder: Path) -> tuple[np.ndarray, np.ndarray]:
    lines = (folder / "SMSSpamCollection").read_text(encoding="utf8").splitlines()
    kind, text = zip(*(line.split("\t", 1) for line in lines), strict=True)
    return np.array(text, dtype=object), (np.array(kind) == "spam").astype(np.int64)


def cases(options: argparse.Namespace) -> Iterator[Case]:
    forest, boosted = RandomForestClassifier(100), HistGradientBoostingClassifier()
    logistic = make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000))
    words = make_pipeline(TfidfVectorizer(), LogisticRegression(max_iter=1000))
    for name, load in (("breast cancer", load_breast_cancer), ("digits", load_digits)):
        yield Case(f"{name}, forest", forest, *load(return_X_y=True))
        yield Case(f"{name}, logistic", logistic, *load(return_X_y=True))
    given = (
        ("spambase", "boosted", boosted, spambase, options.spambase),
        ("spambase", "forest", forest, spambase, options.spambase),
        ("adult", "boosted", boosted, adult, options.adult),
        ("sms", "logistic", words, sms, options.sms),
        ("fashion", "forest", forest, fashion, options.fashion),
    )
    for name, kind, estimator, read, folder in given:
        if folder is None or not folder.exists():
            print(f"{name}, {kind} skipped: give its folder with --{name}")
        else:
            yield Case(f"{name}, {kind}", estimator, *read(folder))


Found = tuple[np.ndarray, np.ndarray, float]


def ours(fitted: Any, case: Case, y: np.ndarray, seed: int) -> Found:
    x = pd.DataFrame({"text": case.x}) if case.x.dtype == object else case.x
    model = wrap(fitted)
    begun = time.process_time()
    found = review_labels(model, Data(x, y, np.arange(len(y))), seed).scores
    return found.score, found.flagged, time.process_time() - begun


def theirs() -> Callable[[Any, Case, np.ndarray, int], Found] | None:
    try:
        from cleanlab.filter import find_label_issues
        from cleanlab.rank import get_label_quality_scores
    except ImportError:
        print("cleanlab is not installed: its columns are left out")
        return None

    def score(estimator: Any, case: Case, y: np.ndarray, seed: int) -> Found:
        folds = StratifiedKFold(5, shuffle=True, random_state=seed)
        begun = time.process_time()
        p = cross_val_predict(estimator, case.x, y, cv=folds, method="predict_proba")
        flagged = find_label_issues(y, p, n_jobs=1)
        quality = get_label_quality_scores(y, p)
        return 1 - quality, flagged, time.process_time() - begun

    return score


def figures(found: Found, wrong: np.ndarray) -> list[float]:
    score, flagged, seconds = found
    hit = (flagged & wrong).sum()
    return [
        roc_auc_score(wrong, score),
        average_precision_score(wrong, score),
        hit / max(1, flagged.sum()),
        hit / wrong.sum(),
        seconds,
    ]


def corrupted(case: Case, share: float, pair: bool, seed: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    k = int(case.y.max()) + 1
    rows = rng.choice(len(case.y), round(share * len(case.y)), replace=False)
    y = case.y.astype(np.int64)
    if pair:
        y[rows] = (y[rows] + 1) % k
    else:
        y = relabel(y, rows, k, rng)
    return y, np.isin(np.arange(len(y)), rows)


def one(case: Case, share: float, pair: bool, seed: int, other: Any) -> list[list[float]]:
    y, wrong = corrupted(case, share, pair, seed)
    estimator = clone(case.estimator)
    last = estimator.steps[-1][1] if hasattr(estimator, "steps") else estimator
    last.set_params(random_state=seed)
    begun = time.process_time()
    fitted = clone(estimator).fit(case.x, y)
    training = time.process_time() - begun
    rows = [[*figures(ours(fitted, case, y, seed), wrong), training]]
    if other is not None:
        rows.append([*figures(other(estimator, case, y, seed), wrong), 0.0])
    return rows


def show(label: str, runs: np.ndarray) -> None:
    """Print the means of runs (seeds, tools, figures), and the differences between tools."""
    for tool, means in zip(("crenel", "cleanlab"), runs.mean(axis=0), strict=False):
        print(f"{label:32}{tool:9}" + "".join(f"{m:11.4f}" for m in means))
    if runs.shape[1] > 1:
        gain = [mean(runs[:, 0, i] - runs[:, 1, i]) for i in (0, 1)]
        spent = runs.mean(axis=0)
        print(
            f"{'':32}AUROC {gain[0].value:+.4f} [{gain[0].low:+.4f}, {gain[0].high:+.4f}], "
            f"average precision {gain[1].value:+.4f} [{gain[1].low:+.4f}, {gain[1].high:+.4f}]; "
            f"{spent[1, 4] / spent[0, 4]:.1f} times faster, "
            f"{spent[1, 4] / (spent[0, 4] + spent[0, 5]):.1f} with the training",
            flush=True,
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    for name in ("adult", "spambase", "fashion", "sms"):
        parser.add_argument(f"--{name}", type=Path)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--only", nargs="*", help="cases to run, all where absent")
    options = parser.parse_args()
    other = theirs()
    head = ("AUROC", "avg. prec.", "precision", "recall", "CPU s", "training")
    print(f"{'':41}" + "".join(f"{h:>11}" for h in head))
    warm_up()
    with one_core():
        for case in cases(options):
            if options.only and case.name not in options.only:
                continue
            for share in (0.05, 0.1):
                for pair in (False, True) if case.y.max() > 1 else (False,):
                    seeds = range(options.seeds)
                    runs = np.array([one(case, share, pair, s, other) for s in seeds])
                    show(f"{case.name} {share:.0%}{' pair' if pair else ''}", runs)


if __name__ == "__main__":
    main()

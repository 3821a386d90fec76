"""Influence of sources without training, beside training without each source.

Run with ``python benchmarks/poisoning/sources.py --adult FOLDER [--seeds N] [--sources S]``. The
rows of Adult are dealt to sources of many sizes; an eighth of them turn labels (a random share of
them), another eighth stamp a trigger on rows and label them as wanted. The truth is the log loss
(and the accuracy) on held-out rows after training without each source. Trees are cut otherwise
after any change of rows, so that a single training tells little of a source that does little: the
truth is the mean of ``--repeats`` draws, of which all but the first leave a random twentieth of
the rows out, with and without the source alike. The mean rank correlation between two draws, which
is how well one training without the source tells what another would, stands beside it; from it
follows how well the mean of all draws would agree with that of as many others (Spearman-Brown).
No estimate can be expected above the root of that. XGBoost's default learning rate makes single
trainings differ most (0.6 to 0.7 between two): of three draws the mean is too noisy to judge an
estimate by, and ten are the default. Times are
of one thread, with all that is done once for all sources, and again with the rows dealt to 1,000
sources; compare ratios.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from scipy.stats import spearmanr
from sklearn.compose import make_column_transformer
from sklearn.ensemble import HistGradientBoostingClassifier, RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, OrdinalEncoder, StandardScaler

from crenel.adapters import wrap
from crenel.model import Model
from crenel.poisoning import knn_shapley
from crenel.poisoning.influence import SourceInfluence, source_influence, warm_up
from crenel.poisoning.sources.shapley import source_values
from crenel.subject import Data
from crenel.training.threads import one_core

TEST_ROWS = 6_000
#: Sources among which the rows are dealt anew, for the time alone.
MANY = 1_000


@dataclass
class Planted:
    """Rows with planted sources, and the names of those that turn labels."""

    train: Data
    test: Data
    harmful: list[str]
    stamping: list[str]


def adult(folder: Path) -> tuple[pd.DataFrame, np.ndarray]:
    frame = pd.read_csv(folder / "adult-train.csv", header=None, skipinitialspace=True)
    frame.columns = [f"c{i}" for i in range(frame.shape[1])]
    return frame.iloc[:, :-1], (frame.iloc[:, -1] == ">50K").to_numpy().astype(np.int64)


def plant(x: pd.DataFrame, y: np.ndarray, sources: int, rows: int, seed: int) -> Planted:
    rng = np.random.default_rng(seed)
    order = rng.permutation(len(y))
    held, kept = order[:TEST_ROWS], order[TEST_ROWS : TEST_ROWS + rows]
    source = rng.choice(sources, len(kept), p=rng.dirichlet(np.full(sources, 2.0)))
    frame, labels = x.iloc[kept].reset_index(drop=True), y[kept].copy()
    each = max(1, sources // 8)
    for bad in range(each):
        flip = (source == bad) & (rng.random(len(kept)) < rng.uniform(0.3, 1))
        labels[flip] = 1 - labels[flip]
    for bad in range(each, 2 * each):
        stamped = (source == bad) & (rng.random(len(kept)) < 0.3)
        frame.loc[stamped, ["c0", "c12", "c2"]] = [61, 37, 201_000]
        labels[stamped] = 1
    names = np.array([f"s{i:04d}" for i in range(sources)])
    train = Data(frame, labels, np.arange(len(kept)), names[source])
    test = Data(x.iloc[held].reset_index(drop=True), y[held], np.arange(len(held)))
    return Planted(train, test, names[:each].tolist(), names[each : 2 * each].tolist())


def models(x: pd.DataFrame) -> Iterator[tuple[str, Any]]:
    text = [c for c in x.columns if x[c].dtype.kind not in "iuf"]
    number = [c for c in x.columns if c not in text]
    one_hot = make_column_transformer(
        (StandardScaler(), number), (OneHotEncoder(handle_unknown="ignore"), text)
    )

    def codes() -> Any:
        known = OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=-1)
        return make_column_transformer((known, text), remainder="passthrough")

    yield "logistic", make_pipeline(one_hot, LogisticRegression(max_iter=1000))
    hist = HistGradientBoostingClassifier(early_stopping=False, random_state=0)
    yield "histogram boosting", make_pipeline(codes(), hist)
    try:
        from xgboost import XGBClassifier
    except ImportError:
        print("xgboost is not installed: left out")
    else:
        yield "xgboost", make_pipeline(codes(), XGBClassifier(n_jobs=1))
    forest = RandomForestClassifier(50, min_samples_leaf=3, random_state=0)
    yield "forest", make_pipeline(codes(), forest)


def judged(model: Model, test: Data) -> tuple[float, float]:
    p = model.probabilities(test.x)
    own = np.maximum(p[np.arange(len(test)), test.y], 1e-12)
    return float(-np.log(own).mean()), float((p.argmax(axis=1) == test.y).mean())


def trained(
    model: Model, planted: Planted, names: np.ndarray, seed: int
) -> tuple[np.ndarray, np.ndarray, float]:
    """Loss taken off and accuracy gained without each source, and seconds a training."""
    train, test = planted.train, planted.test
    assert model.fit is not None
    if seed:
        train = train.take(np.random.default_rng(seed).random(len(train)) < 0.95)
    base = judged(model.fit(train.x, train.y, seed), test)
    loss, accuracy = np.empty(len(names)), np.empty(len(names))
    parts = [train.take(train.source != name) for name in names]
    seconds = 0.0
    for i, part in enumerate(parts):
        begun = time.perf_counter()
        fitted = model.fit(part.x, part.y, seed)
        seconds += time.perf_counter() - begun
        after = judged(fitted, test)
        loss[i], accuracy[i] = base[0] - after[0], after[1] - base[1]
    return loss, accuracy, seconds / len(names)


def rank(a: np.ndarray, b: np.ndarray) -> float:
    return float(spearmanr(a, b).statistic)


def ceiling(between: float, repeats: int) -> float:
    """Root of the reliability of a mean of draws that correlate so with each other."""
    return float(np.sqrt(repeats * between / (1 + (repeats - 1) * between)))


def one(name: str, estimator: Any, planted: Planted, repeats: int) -> list[float]:
    train, test = planted.train, planted.test
    model = wrap(estimator.fit(train.x, train.y))
    warm_up(model.final)
    begun = time.perf_counter()
    found: SourceInfluence = source_influence(model, train, test)
    seconds = (time.perf_counter() - begun) / len(found.names)
    runs = [trained(model, planted, found.names, s) for s in range(repeats)]
    loss, accuracy = np.mean([r[0] for r in runs], axis=0), np.mean([r[1] for r in runs], axis=0)
    pairs = [rank(a[0], b[0]) for i, a in enumerate(runs) for b in runs[:i]]
    between = float(np.mean(pairs)) if pairs else np.nan
    crowd = np.random.default_rng(0).integers(0, MANY, len(train)).astype(str)
    begun = time.perf_counter()
    many = source_influence(model, replace(train, source=crowd), test)
    many_seconds = (time.perf_counter() - begun) / len(many.names)
    worst = found.names[np.argsort(-found.loss)[: len(planted.harmful)]]
    hits = len(set(worst) & set(planted.harmful)) / len(planted.harmful)
    ratio, many_ratio = runs[0][2] / seconds, runs[0][2] / many_seconds
    print(
        f"  {name:<20}{found.method:<14}{found.agreement:>7.1%}"
        f"{rank(found.loss, loss):>9.3f}{rank(found.accuracy, accuracy):>10.3f}{between:>9.3f}"
        f"{hits:>8.0%}{1e3 * seconds:>9.2f}{1e3 * runs[0][2]:>10.0f}"
        f"{ratio:>8.0f}{many_ratio:>9.0f}",
        flush=True,
    )
    return [
        rank(found.loss, loss),
        rank(found.accuracy, accuracy),
        ratio,
        hits,
        many_ratio,
        between,
    ]


def by_neighbours(planted: Planted) -> None:
    """Which bad sources are worth least to their neighbours, and what that took."""
    train, test = planted.train, planted.test
    begun = time.perf_counter()
    values = knn_shapley((train.x, train.y), (test.x, test.y), nearest=100)
    seconds = time.perf_counter() - begun
    names, codes = np.unique(train.source, return_inverse=True)
    worth, high = source_values(values, codes)
    order = names[np.argsort(worth)].tolist()
    places = ", ".join(str(1 + order.index(name)) for name in planted.harmful)
    stamping = ", ".join(str(1 + order.index(name)) for name in planted.stamping)
    print(
        f"  values to neighbours, {seconds:.1f} s: turning sources at places {places}, stamping "
        f"ones at {stamping} of {len(names)}; surely below 0: {(high < 0).sum()}",
        flush=True,
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--adult", type=Path, required=True)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--sources", type=int, default=20)
    parser.add_argument("--rows", type=int, default=24_000)
    parser.add_argument("--repeats", type=int, default=10)
    parser.add_argument("--models", nargs="*", help="names to run, all where absent")
    options = parser.parse_args()
    x, y = adult(options.adult)
    results: dict[str, list[list[float]]] = {}
    print(
        "  model               means          agrees  rank loss  accuracy  between  found"
        "  ms each  training   ratio  of 1,000"
    )
    with one_core():
        for seed in range(options.seeds):
            planted = plant(x, y, options.sources, options.rows, seed)
            print(f"seed {seed}, {options.sources} sources, {len(planted.train):,} rows")
            by_neighbours(planted)
            for name, estimator in models(x):
                if not options.models or name in options.models:
                    found = one(name, estimator, planted, options.repeats)
                    results.setdefault(name, []).append(found)
    for name, rows in results.items():
        a = np.array(rows)
        print(
            f"{name}: rank correlation of loss {a[:, 0].mean():.3f} (least {a[:, 0].min():.3f}, "
            f"between two trainings {a[:, 5].mean():.3f}, ceiling "
            f"{ceiling(a[:, 5].mean(), options.repeats):.3f}), of accuracy {a[:, 1].mean():.3f}; "
            f"{np.median(a[:, 2]):.0f} times faster a source, "
            f"{np.median(a[:, 4]):.0f} times where there are {MANY:,}; "
            f"{a[:, 3].mean():.0%} of the turning sources among the worst"
        )


if __name__ == "__main__":
    main()

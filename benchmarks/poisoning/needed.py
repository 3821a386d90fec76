"""Rows that a trigger needs for half and for nine tenths of decisions, beside a grid of doses.

Run with ``python benchmarks/poisoning/needed.py --adult FOLDER [--seeds N] [--rows N]``. For each
seed a sample of Adult, the trigger that POI-102 would plant, and its bisection: seven doses and up
to three more for each goal, three repetitions. The truth is a grid of doses at steps of a tenth,
with ten repetitions of other seeds: where its mean, made to rise, reaches the goal.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from sklearn.compose import make_column_transformer
from sklearn.ensemble import HistGradientBoostingClassifier, RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, OrdinalEncoder, StandardScaler

from crenel.adapters import wrap
from crenel.check import Context
from crenel.data import infer_schema
from crenel.poisoning.dose.attacks import goal, planted
from crenel.poisoning.dose.needed import needed
from crenel.poisoning.dose.plan import TRIGGER, as_counts, rows_for_goals
from crenel.poisoning.dose.response import dose_response, share_harmed
from crenel.poisoning.triggers import find_triggers
from crenel.subject import Data
from crenel.training.threads import one_core

TEST_ROWS, REPEATS, TRUE_REPEATS = 3_000, 3, 10


def adult(folder: Path) -> tuple[pd.DataFrame, np.ndarray]:
    frame = pd.read_csv(folder / "adult-train.csv", header=None, skipinitialspace=True)
    frame.columns = [f"c{i}" for i in range(frame.shape[1])]
    return frame.iloc[:, :-1], (frame.iloc[:, -1] == ">50K").to_numpy().astype(np.int64)


def models(x: pd.DataFrame) -> Iterator[tuple[str, Any]]:
    text = [c for c in x.columns if x[c].dtype.kind not in "iuf"]
    known = OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=-1)
    codes = make_column_transformer((known, text), remainder="passthrough")
    one_hot = make_column_transformer(
        (StandardScaler(), [c for c in x.columns if c not in text]),
        (OneHotEncoder(handle_unknown="ignore"), text),
    )
    yield "histogram boosting", make_pipeline(codes, HistGradientBoostingClassifier())
    yield "forest", make_pipeline(codes, RandomForestClassifier(50, min_samples_leaf=3))
    yield "logistic", make_pipeline(one_hot, LogisticRegression(max_iter=1000))


def one(name: str, estimator: Any, x: pd.DataFrame, y: np.ndarray, rows: int, seed: int) -> None:
    order = np.random.default_rng(seed).permutation(len(y))
    held, kept = order[:TEST_ROWS], order[TEST_ROWS : TEST_ROWS + rows]
    train = Data(x.iloc[kept].reset_index(drop=True), y[kept], np.arange(len(kept)))
    test = Data(x.iloc[held].reset_index(drop=True), y[held], np.arange(len(held)))
    model = wrap(estimator.fit(train.x, train.y))
    context = Context("POI-102", seed=seed, jobs=1)
    aim = goal(model, train, test)
    schema = infer_schema(train.x)
    trigger = find_triggers(train, schema, context.rng("triggers"))[0]
    attack = planted(trigger, train, test, aim.victim)
    counts = as_counts(TRIGGER, rows, rows)
    (response,) = dose_response(model, train, [attack], [counts], REPEATS, context)
    found = rows_for_goals(model, train, response, 3, context)
    for told in found:
        if told.rows is None or told.rows.value == 0:
            print(f"{name:20}{seed:>5}{told.goal:>6.0%}  not reached, or needs none", flush=True)
            continue
        low, high = told.rows.value / 1.7, told.rows.value * 1.7
        grid = sorted({round(c) for c in np.exp(np.arange(math.log(low), math.log(high), 0.1))})
        other = Context("POI-102", seed=seed + 1_000, jobs=1)
        curve = {
            c: tuple(share_harmed(model, train, attack, c, r, other) for r in range(TRUE_REPEATS))
            for c in grid
        }
        truth = needed(curve, told.goal, response.rows, response.baseline).rows
        true = math.nan if truth is None else truth.value
        inside = told.rows.low <= true <= told.rows.high
        print(
            f"{name:20}{seed:>5}{told.goal:>6.0%}{told.rows.value:>9.1f} "
            f"[{told.rows.low:.1f}, {told.rows.high:.1f}]{true:>9.1f}  "
            f"{'inside' if inside else 'outside'}",
            flush=True,
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--adult", type=Path, required=True)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--rows", type=int, default=5_000)
    options = parser.parse_args()
    x, y = adult(options.adult)
    print(f"{'model':20}{'seed':>5}{'goal':>6}{'rows':>9} [interval]{'truth':>9}")
    with one_core():
        for name, estimator in models(x):
            for seed in range(options.seeds):
                one(name, estimator, x, y, options.rows, seed)


if __name__ == "__main__":
    main()

"""The exact curve of regressors of trees in EVA-107."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn.compose import TransformedTargetRegressor, make_column_transformer
from sklearn.ensemble import GradientBoostingRegressor, RandomForestRegressor
from sklearn.linear_model import Ridge
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

from crenel.adapters import wrap
from crenel.check import Context
from crenel.data import infer_schema
from crenel.evasion.checks import moved_predictions
from crenel.evasion.shifts.exact import tree_shifts
from crenel.evasion.shifts.report import EPSILONS
from crenel.subject import Data, Subject


def houses(final: Any, n: int = 400) -> Subject:
    """Prices by size, way to the shops, storeys and part of town, through a Pipeline."""
    rng = np.random.default_rng(0)
    x = pd.DataFrame({
        "size": rng.uniform(40, 200, n), "way": rng.uniform(0, 90, n),
        "storeys": rng.integers(1, 6, n), "part": rng.choice(["north", "south", "west"], n),
    })  # fmt: skip
    y = 3 * x["size"] - x["way"] + 20 * x["storeys"] + 30 * (x["part"] == "north")
    y = (y + rng.normal(0, 10, n)).to_numpy()
    numbers = make_column_transformer(
        (StandardScaler(), ["size", "way", "storeys"]), (OneHotEncoder(), ["part"])
    )
    half = n // 2
    model = make_pipeline(numbers, final).fit(x[:half], y[:half])
    data = Data(x, y, np.arange(n))
    return Subject(
        "houses", model=wrap(model, sample=x[:5]), train=data.take(np.arange(half)),
        test=data.take(np.arange(half, n)), schema=infer_schema(x),
    )  # fmt: skip


@pytest.mark.parametrize(
    "final",
    [RandomForestRegressor(20, max_depth=5, random_state=0, n_jobs=1),
     GradientBoostingRegressor(n_estimators=40, random_state=0)],
)  # fmt: skip
def test_attack_and_proof_meet_around_what_random_changes_reach(final: Any) -> None:
    subject = houses(final)
    got = moved_predictions.measure(subject, Context(check="EVA-107"))
    curve = {e.series: e for e in got.exposures}["exact"]
    assert curve.health.ok, curve.health
    harm = curve.harm
    assert list(harm.values) == sorted(harm.values)
    assert harm.possible is not None
    assert (np.array(harm.possible) >= np.array(harm.values)).all()
    assert np.abs(np.array(harm.possible)[:3] - np.array(harm.values)[:3]).max() <= 0.05
    assert harm.values[-1] > 0.5
    rows = subject.test.take(np.arange(40))
    shifts = tree_shifts(
        subject.model, rows, subject.train.x, subject.schema, EPSILONS, Context(check="EVA-107")
    )
    assert shifts is not None
    assert shifts.moving == ("size", "storeys", "way")
    assert shifts.frozen == 3
    assert (shifts.found <= shifts.proven).all()
    # independent of the trees' own input: move the two columns in the table itself
    spread = {c: float(np.subtract(*np.percentile(subject.train.x[c], [75, 25])))
              for c in ("size", "way")}  # fmt: skip
    rng, before = np.random.default_rng(0), subject.model.predict(rows.x)
    for k, epsilon in enumerate(EPSILONS[:3]):
        for _ in range(100):
            moved = rows.x.assign(**{
                c: np.clip(rows.x[c] + 0.9 * epsilon * spread[c] * rng.uniform(-1, 1, 40),
                           subject.train.x[c].min(), subject.train.x[c].max())
                for c in spread
            })  # fmt: skip
            far = np.abs(subject.model.predict(moved) - before)
            inside = rows.x[list(spread)].ge(subject.train.x[list(spread)].min()).all(axis=1)
            assert (far <= shifts.proven[:, k] + 1e-9)[inside].all()


@pytest.mark.parametrize(
    "final",
    [
        Ridge(),
        TransformedTargetRegressor(RandomForestRegressor(5), func=np.log, inverse_func=np.exp),
    ],
)  # fmt: skip
def test_what_is_no_sum_of_trees_has_no_such_curve(final: Any) -> None:
    subject = houses(final, 200)
    got = moved_predictions.measure(subject, Context(check="EVA-107"))
    assert "exact" not in {e.series for e in got.exposures}

"""The range of a regressor's predictions in a box against brute force over every cell."""

from __future__ import annotations

from itertools import product
from typing import Any

import lightgbm
import numpy as np
import pytest
import xgboost
from sklearn.ensemble import (
    AdaBoostRegressor,
    BaggingRegressor,
    ExtraTreesRegressor,
    GradientBoostingRegressor,
    HistGradientBoostingRegressor,
    RandomForestClassifier,
    RandomForestRegressor,
)
from sklearn.linear_model import Ridge
from sklearn.tree import DecisionTreeRegressor

from crenel.errors import NotApplicable, UsageError
from crenel.evasion.trees import tree_ranges

from .oracles import candidates, thresholds

SMALL: dict[str, Any] = {"n_estimators": 6, "max_depth": 3, "n_jobs": 1}
LIGHT: dict[str, Any] = {
    "n_estimators": 6, "num_leaves": 6, "min_child_samples": 5, "verbose": -1, "n_jobs": 1
}  # fmt: skip
MODELS = {
    "tree": lambda: DecisionTreeRegressor(max_depth=5, random_state=0),
    "forest": lambda: RandomForestRegressor(6, max_depth=3, random_state=0),
    "extra-trees": lambda: ExtraTreesRegressor(6, max_depth=3, random_state=0),
    "boosting": lambda: GradientBoostingRegressor(n_estimators=6, max_depth=2, random_state=0),
    "boosting-from-zero": lambda: GradientBoostingRegressor(
        n_estimators=6, max_depth=2, init="zero", loss="huber", random_state=0
    ),
    "histogram": lambda: HistGradientBoostingRegressor(
        max_iter=6, max_leaf_nodes=5, min_samples_leaf=5
    ),
    "histogram-poisson": lambda: HistGradientBoostingRegressor(
        loss="poisson", max_iter=6, max_leaf_nodes=5, min_samples_leaf=5
    ),
    "xgboost": lambda: xgboost.XGBRegressor(**SMALL),
    "xgboost-logistic": lambda: xgboost.XGBRegressor(objective="reg:logistic", **SMALL),
    "xgboost-poisson": lambda: xgboost.XGBRegressor(objective="count:poisson", **SMALL),
    "xgboost-forest": lambda: xgboost.XGBRFRegressor(**SMALL),
    "xgboost-dart": lambda: xgboost.XGBRegressor(booster="dart", rate_drop=0.5, **SMALL),
    "lightgbm": lambda: lightgbm.LGBMRegressor(**LIGHT),
    "lightgbm-gamma": lambda: lightgbm.LGBMRegressor(objective="gamma", **LIGHT),
    "lightgbm-forest": lambda: lightgbm.LGBMRegressor(
        boosting_type="rf", bagging_freq=1, bagging_fraction=0.7, **LIGHT
    ),
}


def table(width: int = 3, rows: int = 120, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Numbers, and a target between 0 and 1 with an interaction."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(rows, width))
    z = x[:, 0] - x[:, 1] * x[:, 2] + 0.3 * rng.normal(size=rows)
    return x, 1 / (1 + np.exp(-z)) * 0.98 + 0.01


def edges(values: list[float], kind: Any) -> list[float]:
    """Thresholds, and where numbers of float64 begin to round beyond them in float32."""
    if kind == np.float32:
        return values
    out = list(values)
    for value in values:
        near = np.float32(value)
        beside = (float(np.nextafter(near, np.float32(way))) for way in (-np.inf, np.inf))
        out += [(float(near) + other) / 2 for other in beside]
    return out


def extremes(model: Any, row: np.ndarray, low: np.ndarray, high: np.ndarray) -> tuple[float, float]:
    """Least and greatest of the model's own predictions over every cell of a box."""
    columns = [
        np.unique(candidates(edges(t, row.dtype), row[f], row.dtype.type, low[f], high[f]))
        for f, t in enumerate(thresholds(model, len(row)))
    ]
    told = np.asarray(model.predict(np.array(list(product(*columns)), dtype=row.dtype)))
    return float(told.min()), float(told.max())


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("kind", [np.float32, np.float64])
def test_both_ends_are_those_of_brute_force(name: str, kind: Any) -> None:
    x, y = table()
    model = MODELS[name]().fit(x, y)
    rows = x[:6].astype(kind)
    for epsilon in (0.05, 0.4, np.inf):
        got = tree_ranges(model, rows, epsilon=epsilon)
        assert got.exact.all()
        for i, row in enumerate(rows):
            low, high = extremes(model, row, row - epsilon, row + epsilon)
            assert got.high[i] == pytest.approx(high, rel=1e-6)
            assert got.low[i] == pytest.approx(low, rel=1e-6)
            assert got.low_bound[i] <= low
            assert got.high_bound[i] >= high
            assert got.high_bound[i] == pytest.approx(high, rel=1e-4)
            assert got.low_bound[i] == pytest.approx(low, rel=1e-4)
        for found, value in ((got.lowest, got.low), (got.highest, got.high)):
            assert found.dtype == kind
            assert (np.abs(found.astype(float) - rows.astype(float)) <= epsilon).all()
            np.testing.assert_array_equal(np.asarray(model.predict(found), dtype=float), value)


def test_a_cut_search_is_an_interval_around_the_truth() -> None:
    x, y = table(8, 600)
    model = RandomForestRegressor(40, min_samples_leaf=2, random_state=0, n_jobs=1).fit(x, y)
    rows = x[:10]
    cut, more = (tree_ranges(model, rows, epsilon=0.3, node_limit=k) for k in (50, 20_000))
    assert not cut.exact.all()
    for got in (cut, more):
        assert (got.low_bound <= got.low).all()
        assert (got.low <= model.predict(rows)).all()
        assert (got.high <= got.high_bound).all()
    assert (more.high_bound <= cut.high_bound + 1e-9).mean() > 0.9
    assert (cut.high <= more.high_bound).all()
    assert (more.high <= cut.high_bound).all()
    # no random row of the box lies outside what is proven
    rng = np.random.default_rng(0)
    for i, row in enumerate(rows):
        told = model.predict(row + rng.uniform(-0.3, 0.3, (2000, 8)))
        assert told.max() <= cut.high_bound[i]
        assert told.min() >= cut.low_bound[i]


def test_fixed_whole_scaled_and_missing_columns() -> None:
    rng = np.random.default_rng(3)
    x = np.column_stack([rng.normal(size=200), rng.integers(0, 9, 200), rng.normal(size=200)])
    y = x[:, 0] * 2 + x[:, 1] - x[:, 2] ** 2
    holes = np.where(rng.random(x.shape) < 0.1, np.nan, x)
    holes[:, 1] = x[:, 1]
    model = xgboost.XGBRegressor(**SMALL).fit(holes, y)
    low, high = np.array([-1.0, 0, 0]), np.array([1.0, 8, 0])  # the last column is fixed
    scale, whole = np.array([1.0, 4.0, 1.0]), np.array([False, True, False])
    got = tree_ranges(
        model, holes[:20], epsilon=0.3, box=(low, high), scale=scale, integer=whole
    )  # fmt: skip
    for i, row in enumerate(holes[:20]):
        steps = np.arange(max(0, row[1] - 1), min(8, row[1] + 1) + 1)  # 0.3 of 4, whole
        ends = (row[0] - 0.3, row[0] + 0.3)
        first = [row[0]] if np.isnan(row[0]) else candidates(
            edges(thresholds(model, 3)[0], np.float64), row[0], np.float64,
            max(ends[0], min(-1, row[0])), min(ends[1], max(1, row[0])),
        )  # fmt: skip
        grid = np.array([(a, b, row[2]) for a, b in product(first, steps)])
        told = model.predict(grid)
        assert got.high[i] == pytest.approx(told.max(), rel=1e-6)
        assert got.low[i] == pytest.approx(told.min(), rel=1e-6)
        for w in (got.lowest[i], got.highest[i]):
            np.testing.assert_array_equal(w[2], row[2])
            assert w[1] == round(w[1])


def test_catboost() -> None:
    catboost = pytest.importorskip("catboost")
    x, y = table()
    model = catboost.CatBoostRegressor(
        iterations=8, depth=3, verbose=False, allow_writing_files=False, thread_count=1
    ).fit(x, y)
    got = tree_ranges(model, x[:10], epsilon=0.3)
    told = np.array([
        model.predict(row + np.random.default_rng(i).uniform(-0.3, 0.3, (4000, 3)))
        for i, row in enumerate(x[:10])
    ])  # fmt: skip
    assert got.exact.all()
    assert (got.high >= told.max(axis=1) - 1e-12).all()
    assert (got.low <= told.min(axis=1) + 1e-12).all()
    assert np.median(got.high - told.max(axis=1)) < 1e-6  # 4,000 points reach most cells


def test_rows_out_of_time_are_unbounded_not_safe() -> None:
    x, y = table()
    model = MODELS["forest"]().fit(x, y)
    got = tree_ranges(model, x[:5], epsilon=0.3, deadline=0.0)
    assert np.isinf(got.high_bound).all()
    assert np.isinf(got.low_bound).all()
    assert not got.exact.any()
    np.testing.assert_array_equal(got.high, model.predict(x[:5]))


def test_what_cannot_be_read_is_said() -> None:
    x, y = table()
    for model in (
        Ridge().fit(x, y), AdaBoostRegressor(n_estimators=3).fit(x, y),
        RandomForestClassifier(3).fit(x, y > 0.5), RandomForestRegressor(3).fit(x, np.c_[y, y]),
        BaggingRegressor(Ridge(), 3).fit(x, y),
        GradientBoostingRegressor(n_estimators=3, init=Ridge()).fit(x, y),
    ):  # fmt: skip
        with pytest.raises(NotApplicable):
            tree_ranges(model, x[:2], epsilon=0.1)
    bagged = BaggingRegressor(DecisionTreeRegressor(max_depth=3), 4, random_state=0).fit(x, y)
    assert tree_ranges(bagged, x[:2], epsilon=0.1).exact.all()
    with pytest.raises(UsageError):
        tree_ranges(bagged, x[:2], epsilon=-1.0)

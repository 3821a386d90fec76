"""Read regressors of trees as flat arrays: the same trees, whose sum is the answer itself."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from crenel.errors import NotApplicable
from crenel.evasion.trees.ensemble import Floats, Growing, TreeEnsemble, at_most
from crenel.evasion.trees.flat import FlatModel, plain, quietly, two_columns

Link = Literal["identity", "exp", "sigmoid"]
#: Objectives by library, and from what sum of trees to prediction.
XGBOOST: dict[str, Link] = {
    "reg:squarederror": "identity", "reg:linear": "identity", "reg:absoluteerror": "identity",
    "reg:pseudohubererror": "identity", "reg:quantileerror": "identity",
    "reg:squaredlogerror": "identity", "reg:logistic": "sigmoid", "count:poisson": "exp",
    "reg:gamma": "exp", "reg:tweedie": "exp",
}  # fmt: skip
LIGHTGBM: dict[str, Link] = {
    "regression": "identity", "regression_l1": "identity", "huber": "identity",
    "fair": "identity", "quantile": "identity", "mape": "identity", "poisson": "exp",
    "gamma": "exp", "tweedie": "exp",
}  # fmt: skip
CATBOOST: dict[str, Link] = {
    "RMSE": "identity", "MAE": "identity", "Quantile": "identity", "MAPE": "identity",
    "Huber": "identity", "LogCosh": "identity", "Poisson": "exp", "Tweedie": "exp",
}  # fmt: skip
HISTOGRAM: dict[str, Link] = {
    "squared_error": "identity", "absolute_error": "identity", "quantile": "identity",
    "poisson": "exp", "gamma": "exp",
}  # fmt: skip


@dataclass(frozen=True)
class FlatRegressor:
    """A regressor of trees in flat form.

    Attributes
    ----------
    trees : FlatModel
        Scores are (0, sum of the trees); ``predict`` gives the model's own values.
    link : {"identity", "exp", "sigmoid"}
        From the sum to the prediction; it rises in all three.
    """

    trees: FlatModel
    link: Link

    def value(self, total: Floats) -> Floats:
        """Predictions of sums of trees."""
        if self.link == "identity":
            return total
        with np.errstate(over="ignore"):
            return np.exp(total) if self.link == "exp" else 1 / (1 + np.exp(-total))


def flatten_regressor(model: object, width: int) -> FlatRegressor:
    """Read a fitted regressor of XGBoost, LightGBM, CatBoost or scikit-learn, rows of ``width``.

    Raises
    ------
    NotApplicable
        If the model is not a regressor of trees that can be read exactly.
    """
    if isinstance(model, TreeEnsemble):  # of two columns, the first without leaves
        ensemble = model

        def own(x: Any) -> Floats:
            return ensemble.scores(plain(x))

        flat = FlatModel(model, quietly(lambda x: own(x)[:, 1]), own, plain, np.arange(width))
        return FlatRegressor(flat, "identity")
    names = {kind.__module__.split(".")[0] for kind in type(model).__mro__}
    for library, read in (
        ("xgboost", _xgboost), ("lightgbm", _lightgbm), ("sklearn", _sklearn),
        ("catboost", _catboost),
    ):  # fmt: skip
        if library in names:
            return read(model, width)
    raise NotApplicable(
        f"{type(model).__name__} is not a tree ensemble of XGBoost, LightGBM, CatBoost or "
        "scikit-learn; exact ranges need one of these."
    )


def _linked(links: dict[str, Link], objective: str, library: str) -> Link:
    if objective not in links:
        raise NotApplicable(f"{library} objective {objective} is not one whose range is known.")
    return links[objective]


def _flat(
    growing: Growing, base: float, predict: Any, total: Any, width: int, link: Link,
    divisor: float = 1.0, single: bool = False,
) -> FlatRegressor:  # fmt: skip
    ensemble = growing.freeze(np.array([0.0, base]), divisor=divisor, single=single)
    scores = quietly(lambda x: two_columns(total(x)))
    return FlatRegressor(
        FlatModel(ensemble, quietly(predict), scores, plain, np.arange(width)), link
    )


def _sklearn(model: Any, width: int) -> FlatRegressor:
    from sklearn.ensemble import (
        BaggingRegressor,
        ExtraTreesRegressor,
        GradientBoostingRegressor,
        HistGradientBoostingRegressor,
        RandomForestRegressor,
    )
    from sklearn.tree import DecisionTreeRegressor

    name = type(model).__name__
    if getattr(model, "n_outputs_", 1) != 1:
        raise NotApplicable(f"{name} has several outputs; exact ranges need one.")
    if isinstance(model, DecisionTreeRegressor):
        return _averaging(model, [model], None, width)
    if isinstance(model, RandomForestRegressor | ExtraTreesRegressor):
        return _averaging(model, list(model.estimators_), None, width)
    if isinstance(model, BaggingRegressor) and all(
        isinstance(m, DecisionTreeRegressor) for m in model.estimators_
    ):
        return _averaging(model, list(model.estimators_), model.estimators_features_, width)
    if isinstance(model, GradientBoostingRegressor):
        return _boosting(model, width)
    if isinstance(model, HistGradientBoostingRegressor):
        return _histogram(model, width)
    raise NotApplicable(f"{name} is not a regressor of trees of scikit-learn.")


def _second(values: Floats) -> Floats:
    return np.stack([np.zeros(len(values)), values], axis=1)


def _averaging(model: Any, members: list[Any], columns: Any, width: int) -> FlatRegressor:
    from crenel.evasion.trees.from_sklearn import add_tree, float32_splits

    growing = float32_splits()
    for i, member in enumerate(members):
        shown = None if columns is None else columns[i]
        add_tree(growing, member.tree_, _second(member.tree_.value[:, 0, 0]), shown)
    count = float(len(members))
    return _flat(growing, 0.0, model.predict, model.predict, width, "identity", count)


def _boosting(model: Any, width: int) -> FlatRegressor:
    from crenel.evasion.trees.from_sklearn import add_tree, float32_splits

    init = getattr(model, "init_", None)
    if not (init is None or init == "zero" or type(init).__name__ == "DummyRegressor"):
        raise NotApplicable(
            f"GradientBoostingRegressor starts from {type(init).__name__}, which is not made of "
            "its trees; exact ranges need the default init or 'zero'."
        )
    growing = float32_splits()
    for (member,) in model.estimators_:
        values = model.learning_rate * member.tree_.value[:, 0, 0]
        add_tree(growing, member.tree_, _second(values))
    constant = getattr(init, "constant_", None)
    base = 0.0 if constant is None else float(np.ravel(constant)[0])
    return _flat(growing, base, model.predict, model.predict, width, "identity")


def _histogram(model: Any, width: int) -> FlatRegressor:
    from crenel.evasion.trees.from_sklearn import add_histogram_tree

    link = _linked(HISTOGRAM, str(model.loss), "HistGradientBoostingRegressor")
    if getattr(model, "_preprocessor", None) is not None:
        raise NotApplicable(
            "HistGradientBoostingRegressor recodes categorical columns; exact ranges need numbers."
        )
    growing = Growing(below=at_most)
    for (predictor,) in model._predictors:
        add_histogram_tree(growing, predictor, 1, 2)
    base = float(np.ravel(model._baseline_prediction)[0])

    def total(x: Any) -> Any:
        return model.predict(x) if link == "identity" else model._raw_predict(x)

    return _flat(growing, base, model.predict, total, width, link)


def _xgboost(model: Any, width: int) -> FlatRegressor:
    import xgboost

    from crenel.evasion.trees.from_xgboost import grow, iteration_range, used_trees

    wrapped = not isinstance(model, xgboost.Booster)
    booster = model.get_booster() if wrapped else model
    learner = json.loads(bytes(booster.save_raw("json")))["learner"]
    link = _linked(XGBOOST, learner["objective"]["name"], "XGBoost")
    shape = learner["learner_model_param"]
    if max(int(shape.get("num_target", 1)), int(shape.get("num_class", 0))) > 1:
        raise NotApplicable("XGBoost predicts several values; exact ranges need one.")
    if wrapped and not math.isnan(model.get_params().get("missing", math.nan)):
        raise NotApplicable(
            "XGBRegressor treats a number as missing (its parameter `missing`); fit it with NaN."
        )
    start = np.float32(str(shape["base_score"]).strip("[]").split(",")[0])
    if link == "exp":
        start = np.log(start)
    elif link == "sigmoid":
        start = -np.log(np.float32(1) / start - np.float32(1))
    growing = grow(learner["gradient_booster"], 2, used_trees(model, learner, wrapped))
    limit = iteration_range(model, wrapped)

    def ask(x: Any, margin: bool) -> Any:
        matrix = xgboost.DMatrix(
            x, feature_names=booster.feature_names, feature_types=booster.feature_types,
            enable_categorical=True,
        )  # fmt: skip
        return booster.predict(matrix, output_margin=margin, iteration_range=limit)

    own = model.predict if wrapped else lambda x: ask(x, False)
    return _flat(growing, float(start), own, lambda x: ask(x, True), width, link, single=True)


def _lightgbm(model: Any, width: int) -> FlatRegressor:
    from crenel.evasion.trees.from_lightgbm import add_tree

    booster = model.booster_ if hasattr(model, "booster_") else model
    dump = booster.dump_model()
    words = str(dump.get("objective", "none")).split(" ")
    link = _linked(LIGHTGBM, words[0], "LightGBM")
    if "sqrt" in words:
        raise NotApplicable("LightGBM was trained on square roots (reg_sqrt).")
    growing = Growing()
    for tree in dump["tree_info"]:
        add_tree(growing, tree["tree_structure"], 1, 1)
    divisor = float(len(dump["tree_info"])) if dump.get("average_output", False) else 1.0

    def total(x: Any) -> Any:
        # raw scores of LightGBM's random forests are sums; its predictions are their mean
        return np.asarray(booster.predict(x, raw_score=True)) / divisor

    return _flat(growing, 0.0, model.predict, total, width, link, divisor)


def _catboost(model: Any, width: int) -> FlatRegressor:
    from crenel.evasion.trees.from_catboost import add_tree, numeric_form

    loss = str(model.get_all_params().get("loss_function", "")).split(":")[0]
    link = _linked(CATBOOST, loss, "CatBoost")
    form, columns = numeric_form(model)
    scale, bias = form["scale_and_bias"]
    growing = Growing()
    for tree in form["oblivious_trees"]:
        add_tree(growing, tree, columns, 2, float(scale))
    base = float(np.ravel(bias)[0])

    def total(x: Any) -> Any:
        return model.predict(x, prediction_type="RawFormulaVal")

    return _flat(growing, base, model.predict, total, width, link)

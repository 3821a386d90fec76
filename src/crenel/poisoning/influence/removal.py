"""What training without each source would change, by the best means that the model allows."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
from numpy.typing import NDArray

from crenel.errors import NotApplicable
from crenel.model import Model
from crenel.poisoning.influence.effects import Answers, Floats, SourceInfluence, compare
from crenel.subject import Data, is_tree_ensemble

#: Coefficients of a logistic regression above which ridge stands in for it.
MOST = 1_500
#: Share of test decisions that an approximation must share with the model.
AGREE = 0.97


def source_influence(
    model: Model, train: Data, test: Data, seed: int = 0, rows: int | None = None
) -> SourceInfluence:
    """Estimate what training without each source would change, without training.

    Logistic regressions take one Newton step for each source, with its rows out of the gradient
    and of the Hessian. Trees keep their splits, and leaves are computed again without its rows.
    Any other model, and one whose answers these do not give back, is stood in for by a logistic
    regression on the same columns, or, where that is too wide, by ridge regression on random
    projections.

    Parameters
    ----------
    model : Model
        Trained on ``train``.
    train : Data
        With ``source``.
    test : Data
    seed : int
    rows : int or None
        Training rows on which boosted trees follow gradients (4,096 where it is None).

    Returns
    -------
    SourceInfluence
        One entry for each source, all at once; thousands are no matter.

    Raises
    ------
    NotApplicable
        Where the training data names no sources, or one only.
    """
    if train.source is None:
        raise NotApplicable("no source column is given")
    names, codes = np.unique(train.source.astype(str), return_inverse=True)
    codes = codes.astype(np.int64)
    if len(names) < 2:
        raise NotApplicable("all training rows come from one source")
    own = model.predict(test.x)
    found = None
    try:
        answers = _by_own_kind(model, train, test, codes, seed, rows)
        found = compare(answers, test.y, own, codes, names)
    except NotApplicable:
        pass  # its kind, or its settings, are not read: a stand-in is
    if found is not None and found.agreement >= AGREE:
        return found
    return compare(_by_stand_in(model, train, test, codes, seed), test.y, own, codes, names)


def warm_up(final: Any) -> None:
    """Compile the kernels that a model of trees needs, once on a machine."""
    from sklearn.ensemble import HistGradientBoostingClassifier
    from sklearn.tree import DecisionTreeClassifier

    from crenel.adapters import wrap

    if not is_tree_ensemble(final):
        return
    x, y = np.arange(80.0)[:, None], (np.arange(80) >= 40).astype(np.int64)
    data = Data(x, y, np.arange(80), np.arange(80) % 2)
    small = HistGradientBoostingClassifier(max_iter=2, early_stopping=False)
    for kind in (small, DecisionTreeClassifier(max_depth=2)):
        source_influence(wrap(kind.fit(x, y)), data, data)


def _by_own_kind(
    model: Model, train: Data, test: Data, codes: NDArray[np.int64], seed: int, rows: int | None
) -> Answers:
    if is_tree_ensemble(model.final):
        return _by_leaves(model, train, test, codes, seed, rows)
    return _by_newton(model, train, test, codes)


def _by_newton(model: Model, train: Data, test: Data, codes: NDArray[np.int64]) -> Answers:
    """The model's own logistic regression, what precedes it in a Pipeline held fixed."""
    from crenel.poisoning.influence.newton import logistic_without

    fitted = logistic_of(model.final)
    if fitted.theta.size > MOST:
        raise NotApplicable(f"{fitted.theta.size:,} coefficients are too many for a Hessian")
    weight = class_weights(model.final, train.y)
    z, test_z = fed(model, train.x), fed(model, test.x)
    return logistic_without(fitted, z, train.y, weight, codes, test_z)


def logistic_of(final: Any) -> Any:
    """Coefficients and penalty of a fitted logistic regression with a ridge penalty.

    Raises
    ------
    NotApplicable
        For any other model.
    """
    from crenel.poisoning.influence.newton import Logistic

    name = type(final).__name__
    if name not in ("LogisticRegression", "LogisticRegressionCV"):
        raise NotApplicable(f"a {name} is no logistic regression")
    if getattr(final, "l1_ratio_", None) is not None or getattr(final, "l1_ratio", None):
        raise NotApplicable("the penalty is not ridge")
    theta = np.column_stack([final.coef_, np.resize(final.intercept_, len(final.coef_))])
    strength = np.mean(final.C_) if hasattr(final, "C_") else final.C
    free = 0.0 if final.fit_intercept and final.solver != "liblinear" else 1 / strength
    penalty = np.append(np.full(theta.shape[1] - 1, 1 / strength), free)
    return Logistic(theta.astype(np.float64), penalty)


def _by_leaves(
    model: Model, train: Data, test: Data, codes: NDArray[np.int64], seed: int, rows: int | None
) -> Answers:
    """The model's own trees, their splits held fixed."""
    from crenel.evasion.trees.flat import flatten
    from crenel.poisoning.influence.boosting import FOLLOWED, booster_of, boosting_without
    from crenel.poisoning.influence.forest import bags_of, forest_without

    final, weight = model.final, class_weights(model.final, train.y)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*valid feature names.*")
        z, test_z = fed(model, train.x), fed(model, test.x)
        flat = flatten(final, z.shape[1])
        z, test_z = flat.encode(z), flat.encode(test_z)
    if len(flat.ensemble.base) != model.k:
        raise NotApplicable("the trees know other classes than the model")
    if type(final).__name__ in AVERAGING:
        bags = bags_of(final, len(train), weight)
        return forest_without(flat.ensemble, bags, z, train.y, codes, test_z)
    booster = booster_of(final, model.k)
    return boosting_without(
        flat.ensemble, booster, z, train.y, weight, codes, test_z, seed, rows or FOLLOWED
    )


#: Ensembles whose trees' shares are averaged.
AVERAGING = (
    "DecisionTreeClassifier", "ExtraTreeClassifier", "RandomForestClassifier",
    "ExtraTreesClassifier", "BaggingClassifier",
)  # fmt: skip


def fed(model: Model, x: Any) -> Any:
    """Rows as the last step of the model takes them, as numbers (n, d) where they are."""
    from crenel.adapters.sklearn import dense

    return dense(x) if model.transform is None else model.transform(x)


def class_weights(final: Any, y: NDArray[np.int64]) -> Floats:
    """Weights (n,) that the settings give to rows by their class."""
    given = getattr(final, "class_weight", None)
    if given is None:
        return np.ones(len(y))
    if given == "balanced_subsample":
        raise NotApplicable("classes are weighted anew for each tree")
    from sklearn.utils.class_weight import compute_sample_weight

    return np.asarray(compute_sample_weight(given, np.asarray(final.classes_)[y]))


def _by_stand_in(
    model: Model, train: Data, test: Data, codes: NDArray[np.int64], seed: int
) -> Answers:
    """A logistic regression on the same columns; ridge where that would be too wide."""
    from crenel.poisoning.influence.ridge import WIDTH, ridge_without
    from crenel.poisoning.partition.learners import linear_model
    from crenel.poisoning.sources.effects import representation
    from crenel.subject import join_rows

    if _width(train.x) * (1 if model.k == 2 else model.k) <= MOST:
        linear = linear_model(model, train, seed)
        answers = _by_newton(linear, train, test, codes)
        return Answers(answers.whole, answers.without, "newton step of a linear model")
    both = representation(join_rows([train.x, test.x]), WIDTH, seed)
    n = len(train)
    return ridge_without(both[:n], train.y, codes, model.k, both[n:])


def _width(x: Any) -> int:
    """Columns that `linear_model` makes of the rows, at most."""
    from crenel.poisoning.partition.learners import is_number

    if not hasattr(x, "iloc"):
        return int(np.prod(np.shape(x)[1:])) + 1
    return 1 + sum(1 if is_number(x[c]) else min(41, x[c].nunique() + 1) for c in x.columns)

"""Settings that let a model memorise less, by family of estimator, and the choice among them."""

from __future__ import annotations

import copy
import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from crenel.check import Context
from crenel.errors import NotApplicable
from crenel.model import Model
from crenel.subject import Data, take_rows
from crenel.training.folds import fold_numbers
from crenel.training.shadows import true_label
from crenel.training.threads import one_core

Settings = dict[str, Any]

#: Folds of the comparison, and rows that it uses at most.
FOLDS, MOST = 3, 20_000
#: A setting must take away this share of the memorisation to be worth a change.
WORTH = 1 / 3


@dataclass(frozen=True)
class Trial:
    """One setting, tried by cross-validation.

    Attributes
    ----------
    settings : dict
        Parameters of the last step; empty for the user's own.
    correct : ndarray, shape (n,), bool
        Whether a model that had not seen the row decides it rightly.
    memory : float
        How much more probable a row's own label is to models that saw the row than to one that
        did not: mean over rows, in [-1, 1].
    """

    settings: Settings
    correct: NDArray[np.bool_]
    memory: float

    @property
    def accuracy(self) -> float:
        """Out-of-fold accuracy."""
        return float(self.correct.mean())


def ladder(estimator: Any, n: int) -> list[Settings]:
    """Settings of ever less capacity than an estimator's own, the least last.

    Parameters
    ----------
    estimator : object
        The last step of the user's model.
    n : int
        Training rows.

    Returns
    -------
    list of dict
        Parameters for ``set_params``; empty for families that are not known.
    """
    kind = type(estimator).__name__
    make = _FAMILIES.get(kind)
    return [] if make is None else make(estimator.get_params(deep=False), n)


def _leaves(own: Settings, n: int) -> list[Settings]:
    now = own.get("min_samples_leaf") or 1
    now = now if isinstance(now, int) else math.ceil(now * n)
    return [{"min_samples_leaf": v} for v in (2, 5, 10, 20, 50, 100, 200) if now < v <= n // 10]


def _boosting(own: Settings, n: int) -> list[Settings]:
    rounds, leaves = own["max_iter"], own.get("max_leaf_nodes") or 31
    steps = ((1, 2, 1), (2, 2, 1), (2, 4, 2), (4, 4, 2), (4, 8, 5), (8, 8, 5), (8, 16, 10))
    least = own.get("min_samples_leaf", 20)
    return _distinct(
        {
            "max_iter": max(5, rounds // a),
            "max_leaf_nodes": max(3, leaves // b),
            "min_samples_leaf": max(least, min(least * c, n // 10)),
        }
        for a, b, c in steps
    )


def _gradient(own: Settings, n: int) -> list[Settings]:
    rounds, depth = own["n_estimators"], own.get("max_depth") or 6
    steps = ((1, 1, 5), (2, 1, 10), (2, 2, 20), (4, 2, 20), (4, 3, 50), (8, 4, 50))
    return _distinct(
        {
            "n_estimators": max(5, rounds // a),
            "max_depth": max(1, depth // b),
            "min_samples_leaf": max(1, min(c, n // 10)),
        }
        for a, b, c in steps
    )


def _xgboost(own: Settings, n: int) -> list[Settings]:
    rounds, depth = own.get("n_estimators") or 100, own.get("max_depth") or 6
    weight = own.get("min_child_weight") or 1
    steps = ((1, 2, 3), (2, 2, 3), (2, 2, 10), (4, 2, 10), (4, 3, 20), (8, 6, 20))
    return _distinct(
        {
            "n_estimators": max(5, rounds // a),
            "max_depth": max(1, depth // b),
            "min_child_weight": weight * c,
        }
        for a, b, c in steps
    )


def _lightgbm(own: Settings, n: int) -> list[Settings]:
    rounds, leaves = own.get("n_estimators") or 100, own.get("num_leaves") or 31
    least = own.get("min_child_samples") or 20
    steps = ((1, 2, 1), (2, 2, 1), (2, 4, 2), (4, 4, 2), (4, 8, 5), (8, 16, 10))
    return _distinct(
        {
            "n_estimators": max(5, rounds // a),
            "num_leaves": max(3, leaves // b),
            "min_child_samples": max(least, min(least * c, n // 10)),
        }
        for a, b, c in steps
    )


def _penalty(own: Settings, n: int) -> list[Settings]:
    return [{"C": own["C"] * f} for f in (0.3, 0.1, 0.03, 0.01, 0.003, 0.001)]


def _alpha(own: Settings, n: int) -> list[Settings]:
    return [{"alpha": max(own["alpha"], 1e-4) * f} for f in (10, 100, 1_000, 10_000)]


def _network(own: Settings, n: int) -> list[Settings]:
    start = max(own["alpha"], 1e-4)
    return [{"alpha": start * f, "early_stopping": True} for f in (1, 30, 300, 3_000, 30_000)]


def _neighbours(own: Settings, n: int) -> list[Settings]:
    sizes = (5, 10, 20, 50, 100, 200)
    return [
        {"n_neighbors": v, "weights": "uniform"}
        for v in sizes
        if v <= n // 10 and (v > own["n_neighbors"] or own["weights"] != "uniform")
    ]


def _distinct(steps: Any) -> list[Settings]:
    kept: list[Settings] = []
    for step in steps:
        if step not in kept:
            kept.append(step)
    return kept


_FAMILIES = (
    dict.fromkeys(
        (
            "DecisionTreeClassifier",
            "ExtraTreeClassifier",
            "RandomForestClassifier",
            "ExtraTreesClassifier",
        ),
        _leaves,
    )
    | dict.fromkeys(("LogisticRegression", "SVC", "LinearSVC"), _penalty)
    | dict.fromkeys(("SGDClassifier", "RidgeClassifier"), _alpha)
    | {
        "HistGradientBoostingClassifier": _boosting,
        "GradientBoostingClassifier": _gradient,
        "XGBClassifier": _xgboost,
        "LGBMClassifier": _lightgbm,
        "MLPClassifier": _network,
        "KNeighborsClassifier": _neighbours,
    }
)


def configured(model: Model, settings: Settings) -> Model:
    """The user's model with other settings of its last step, in force from its next ``fit``.

    Raises
    ------
    NotApplicable
        Where the model cannot be cloned.
    """
    from crenel.adapters import wrap

    native = copy.deepcopy(getattr(model.native, "best_estimator_", model.native))
    final = native
    while getattr(final, "steps", None):
        final = final.steps[-1][1]
    final.set_params(**settings)
    again = wrap(native, classes=model.classes.tolist())
    if again.fit is None:
        raise NotApplicable("the model cannot be trained again with other settings")
    return again


def try_settings(model: Model, settings: Settings, data: Data, context: Context) -> Trial:
    """Cross-validate one setting: accuracy out of fold, and what the folds' models memorise."""
    fit = configured(model, settings).fit
    assert fit is not None
    fold = fold_numbers(data.y, FOLDS, context.derive_seed("folds"))
    p = np.empty((FOLDS, len(data)))
    correct = np.empty((FOLDS, len(data)), dtype=bool)
    for k in range(FOLDS):
        rows = np.flatnonzero(fold != k)
        with one_core():
            part = fit(take_rows(data.x, rows), data.y[rows], context.derive_seed("fit", k))
            p[k], correct[k] = true_label(part, data.x, data.y)
    at = np.arange(len(data))
    unseen = p[fold, at]
    seen = (p.sum(axis=0) - unseen) / (FOLDS - 1)
    return Trial(settings, correct[fold, at], float((seen - unseen).mean()))


def choose(model: Model, data: Data, context: Context) -> list[Trial]:
    """Try the ladder within the deadline; the first trial is the user's own setting.

    Raises
    ------
    NotApplicable
        Where less capacity is not known for this family.
    """
    steps = ladder(model.final, len(data))
    if not steps:
        raise NotApplicable(
            f"how to limit the capacity of a {type(model.final).__name__} is not known; "
            "train it with stronger regularisation, or with differential privacy"
        )
    if len(data) > MOST:
        rows = context.rng("sample").choice(len(data), MOST, replace=False)
        data = data.take(np.sort(rows))
    trials = context.map(
        lambda settings: try_settings(model, settings, data, context), [{}, *steps]
    )
    if len(trials) < 2:
        raise NotApplicable("there was no time to try another setting; give more time")
    return trials


def best_of(trials: list[Trial]) -> Trial:
    """The setting that memorises least of those as accurate as the user's own.

    As accurate: the mean paired difference over rows is not below minus one standard error. The
    user's own is returned where no other takes away a third of its memorisation.
    """
    own = trials[0]
    kept = own
    for trial in trials[1:]:
        worth = trial.memory <= (1 - WORTH) * own.memory
        if loss(own.correct, trial.correct)[2] and worth and trial.memory <= kept.memory:
            kept = trial
    return kept


def loss(before: NDArray[np.bool_], after: NDArray[np.bool_]) -> tuple[float, float, bool]:
    """Accuracy lost, its standard error, and whether it is within that of nothing.

    Parameters
    ----------
    before, after : ndarray, shape (n,), bool
        Whether each row is decided rightly.
    """
    difference = before.astype(float) - after.astype(float)
    error = float(difference.std() / np.sqrt(len(difference)))
    mean = float(difference.mean())
    return mean, error, mean <= error

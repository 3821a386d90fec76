"""Left-out answers of a trained model, by the best means that its kind allows."""

from __future__ import annotations

import warnings
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from crenel.errors import NotApplicable
from crenel.model import Model
from crenel.subject import Data, is_tree_ensemble, take_rows

Floats = NDArray[np.float64]
#: Share of decisions that answers, recomputed from all rows, must share with the model.
AGREE = 0.9
#: Rows on which that is seen.
COMPARED = 500
#: Probabilities are taken as this much at least where two models are averaged.
_LEAST = 1e-4


@dataclass(frozen=True)
class LeftOut:
    """Answers to training rows by a model that each row's own label had no part in.

    Attributes
    ----------
    probabilities : ndarray, shape (n, k), float64
        The best answers; splits that they go by may have seen the row's label, so that they lean
        to it a little. They rank rows.
    unseen : ndarray, shape (n, k), float64
        Answers that the label had no part in at all, as those of folds are.
    means : str
        Which models gave them, in words: "the model's own trees, each without the row".
    """

    probabilities: Floats
    unseen: Floats
    means: str


def left_out(model: Model, data: Data, seed: int = 0) -> LeftOut:
    """What a trained model would say of each of its training rows without that row's label.

    * Forests: every tree votes without the row (`crenel.poisoning.leftout.trees`); out-of-bag
      votes alone are unseen.
    * Boosted trees (scikit-learn, XGBoost, LightGBM): each leaf is computed without the row's own
      gradient and Hessian; splits, and the gradients of the other rows, stay.
    * Logistic regression with a ridge penalty: one Newton step without the row (approximate
      leave-one-out; Rahnama Rad and Maleki, "A scalable estimate of the out-of-sample prediction
      error via approximate leave-one-out cross-validation", 2020), unseen as well.

    On tables with two classes a second model, of crenel's own, is averaged with these: boosted
    trees whose splits come from the other half of the rows (`crenel.poisoning.leftout.halves`).
    Two kinds of model rank better than one, and these are unseen.

    Parameters
    ----------
    model : Model
        Trained on ``data``.
    data : Data
    seed : int
        Of the halves.

    Raises
    ------
    NotApplicable
        Where the model is of another kind; where its trees or coefficients do not give back its
        answers, as with classes in another order than the estimator's; and where nothing unseen
        can be said: boosted trees of more than two classes, forests whose trees are all shown
        every row.
    """
    from crenel.poisoning.leftout.halves import by_halves, suits

    if not leaves_out(model):
        raise NotApplicable(f"a {type(model.final).__name__} is not read without each row")
    if len(getattr(model.final, "classes_", model.classes)) != model.k:
        raise NotApplicable("the last step knows other classes than the model")
    halves = by_halves(data.x, data.y, seed) if suits(data, model.k) else None
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*valid feature names.*")
        if is_tree_ensemble(model.final):
            own, unseen, means = *_by_leaves(model, data), "the model's own trees without the row"
        else:
            own = unseen = _by_newton(model, data)
            means = "the model's own kind, a Newton step away from the row"
    if halves is None:
        if unseen is None:
            raise NotApplicable("every row had a part in all splits of the trees")
        return LeftOut(own, unseen, means)
    both = f"{means}, averaged with boosted trees whose splits never saw the row"
    return LeftOut(
        averaged(own, halves), halves if unseen is None else averaged(unseen, halves), both
    )


def leaves_out(model: Model) -> bool:
    """Whether `left_out` is made for models of this kind."""
    from crenel.poisoning.influence.boosting import booster_of
    from crenel.poisoning.influence.removal import AVERAGING, logistic_of

    try:
        if not is_tree_ensemble(model.final):
            logistic_of(model.final)
        elif type(model.final).__name__ not in AVERAGING:
            booster_of(model.final, model.k)
    except NotApplicable:
        return False
    return model.score is not None


def averaged(a: Floats, b: Floats) -> Floats:
    """Normalised geometric mean of two arrays of probabilities (n, k)."""
    mean = np.sqrt(np.maximum(a, _LEAST) * np.maximum(b, _LEAST))
    return np.asarray(mean / mean.sum(axis=1, keepdims=True))


def _by_newton(model: Model, data: Data) -> Floats:
    from crenel.adapters.sklearn import dense
    from crenel.poisoning.influence.effects import softmax
    from crenel.poisoning.influence.removal import class_weights, fed, logistic_of
    from crenel.poisoning.leftout.logistic import logistic_left_out

    fitted = logistic_of(model.final)
    z = fed(model, data.x) if model.features is None else model.features(data.x)
    if not hasattr(z, "tocsr"):
        z = dense(z)
    whole = softmax(np.asarray(z @ fitted.theta[:, :-1].T) + fitted.theta[:, -1])
    _check_alike(whole, model, data)
    return logistic_left_out(fitted, z, data.y, class_weights(model.final, data.y), model.k)


def _by_leaves(model: Model, data: Data) -> tuple[Floats, Floats | None]:
    from crenel.evasion.trees.flat import flatten
    from crenel.poisoning.influence.boosting import booster_of
    from crenel.poisoning.influence.forest import bags_of
    from crenel.poisoning.influence.removal import AVERAGING, class_weights, fed
    from crenel.poisoning.leftout.trees import boosting_left_out, forest_left_out

    final, weight = model.final, class_weights(model.final, data.y)
    z = fed(model, data.x)
    flat = flatten(final, z.shape[1])
    z = flat.encode(z)
    if len(flat.ensemble.base) != model.k:
        raise NotApplicable("the trees know other classes than the model")
    if type(final).__name__ in AVERAGING:
        bags = bags_of(final, len(data), weight)
        whole, without, unseen = forest_left_out(flat.ensemble, bags, z, data.y)
    else:
        booster = booster_of(final, model.k)
        whole, without = boosting_left_out(flat.ensemble, booster, z, data.y, weight)
        unseen = None
    _check_alike(whole, model, data)
    return without, unseen


def _check_alike(whole: Floats, model: Model, data: Data) -> None:
    """Refuse probabilities (n, k) that are not the model's: of other rows, classes out of order."""
    some = np.linspace(0, len(data) - 1, min(COMPARED, len(data))).astype(np.int64)
    same = whole[some].argmax(axis=1) == model.predict(take_rows(data.x, some))
    if same.mean() < AGREE:
        raise NotApplicable("what is computed from these rows is not what the model answers")


def warm_up() -> None:
    """Compile the kernels that this package needs, once on a machine."""
    from sklearn.ensemble import HistGradientBoostingClassifier, RandomForestClassifier

    from crenel.adapters import wrap

    x, y = np.arange(120.0)[:, None], (np.arange(120) >= 60).astype(np.int64)
    boosted = HistGradientBoostingClassifier(max_iter=2, early_stopping=False)
    for kind in (RandomForestClassifier(20), boosted):
        left_out(wrap(kind.fit(x, y)), Data(x, y, np.arange(120)))

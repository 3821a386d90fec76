"""scikit-learn estimators and Pipelines, and all that speak their language."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from crenel.adapters.labels import (
    as_labels,
    index_of,
    same_labels,
    shown,
    sigmoid,
    softmax,
    spread,
    two_columns,
)
from crenel.adapters.rows import as_array, is_frame, narrow, to_numbers
from crenel.adapters.texts import takes_texts, wants_texts
from crenel.errors import NotApplicable, SubjectError
from crenel.model import Model, Task

#: Numbers in the largest dense array that a Pipeline's transformed rows may fill (1 GB).
DENSE_NUMBERS = 125_000_000


@dataclass(frozen=True)
class Labels:
    """How an estimator's own labels map to the classes.

    Attributes
    ----------
    classes : ndarray, shape (k,)
        The user's labels.
    native : ndarray, shape (j,)
        The estimator's labels, in the order of its score columns.
    to : ndarray, shape (j,), int64
        The class that each of the estimator's labels stands for.
    """

    classes: NDArray[Any]
    native: NDArray[Any]
    to: NDArray[np.int64]

    def indices(self, predicted: Any) -> NDArray[np.int64]:
        """Class indices (n,) of what the estimator predicts."""
        return np.asarray(self.to[index_of(predicted, self.native)], dtype=np.int64)

    def own(self, y: NDArray[Any]) -> NDArray[Any]:
        """The estimator's labels (n,) of class indices (n,)."""
        back = np.full(len(self.classes), -1)
        back[self.to] = np.arange(len(self.to))
        return np.asarray(self.native[back[np.asarray(y, dtype=np.int64)]])


def wrap_estimator(
    native: Any,
    *,
    classes: Sequence[Any] | None = None,
    task: Task | None = None,
    fit: Callable[[Any, Any, int], Any] | None = None,
    columns: Sequence[str] | None = None,
    sample: Any = None,
) -> Model:
    """Make a `Model` of an object with ``predict``; see `crenel.adapters.wrap`."""
    texts = takes_texts(first_of(native)) or (
        getattr(native, "feature_names_in_", None) is None and wants_texts(native.predict, sample)
    )
    prepare = preparer(native, columns, texts)
    if (task or task_of(native)) == "regression":
        return _regressor(native, fit, columns, prepare)
    labels = _labels_of(native, classes, prepare, sample)
    return classifier(native, labels, prepare, fit, columns, texts)


def classifier(
    native: Any,
    labels: Labels,
    prepare: Callable[[Any], Any],
    fit: Callable[[Any, Any, int], Any] | None,
    columns: Sequence[str] | None,
    texts: bool = False,
) -> Model:
    """A `Model` of a fitted classifier whose labels are known."""

    def decide(x: Any) -> NDArray[np.int64]:
        if not len(x):
            return np.zeros(0, dtype=np.int64)
        return labels.indices(native.predict(prepare(x)))

    body = unwrapped(native)
    features = _transform_of(body, prepare)
    again = _user_fit(fit, labels.classes, columns) if fit else None
    return Model(
        framework=_framework(native),
        task="classification",
        classes=labels.classes,
        decide=decide,
        score=_score_of(native, labels, prepare),
        fit=again or _clone_fit(body, labels, columns, texts),
        native=native,
        transform=_dense_of(features),
        features=features,
        final=_final_of(body),
        parameters=count_parameters(_final_of(body)),
        description=describe(native),
    )


def _regressor(
    native: Any,
    fit: Callable[[Any, Any, int], Any] | None,
    columns: Sequence[str] | None,
    prepare: Callable[[Any], Any],
) -> Model:
    def decide(x: Any) -> NDArray[np.float64]:
        if not len(x):
            return np.zeros(0)
        return np.asarray(native.predict(prepare(x)), dtype=np.float64).reshape(len(x))

    def refit(x: Any, y: NDArray[Any], seed: int) -> Model:
        new = fit(x, y, seed) if fit else seeded(body, seed).fit(prepare(x), y)
        if isinstance(new, Model):
            return new
        return wrap_estimator(new, task="regression", fit=fit, columns=columns)

    body = unwrapped(native)
    features = _transform_of(body, prepare)
    return Model(
        framework=_framework(native),
        task="regression",
        classes=np.zeros(0),
        decide=decide,
        fit=refit if fit or _can_clone(body) else None,
        native=native,
        transform=_dense_of(features),
        features=features,
        final=_final_of(body),
        parameters=count_parameters(_final_of(body)),
        description=describe(native),
    )


# --- labels and scores ---------------------------------------------------------------------------


def _labels_of(
    native: Any, classes: Sequence[Any] | None, prepare: Callable[[Any], Any], sample: Any
) -> Labels:
    own = getattr(native, "classes_", None)
    if isinstance(own, list) and own and isinstance(own[0], np.ndarray):
        raise SubjectError(
            f"the model predicts {len(own)} outputs at once; give a function that returns one"
        )
    if own is None:
        return _labels_seen(native, classes, prepare, sample)
    return match_labels(as_labels(own), classes)


def _labels_seen(
    native: Any, classes: Sequence[Any] | None, prepare: Callable[[Any], Any], sample: Any
) -> Labels:
    """The labels of an object that does not tell them."""
    if classes is None and sample is not None:
        classes = np.unique(as_labels(native.predict(prepare(sample)))).tolist()
    if classes is None:
        raise SubjectError(
            f"{type(native).__name__} does not tell its classes; name them: classes = […]"
        )
    given = as_labels(classes)
    return Labels(given, given, np.arange(len(given)))


def match_labels(own: NDArray[Any], classes: Sequence[Any] | None) -> Labels:
    """Map an estimator's labels to the user's.

    The user's may be the same ones in another order, more than the estimator has seen, or, where
    the estimator's are 0 to k - 1, other names for those.

    Raises
    ------
    SubjectError
        Where they cannot be matched.
    """
    if classes is None:
        return Labels(own, own, np.arange(len(own)))
    given = as_labels(classes)
    numbered = own.dtype.kind in "iuf" and np.array_equal(own, np.arange(len(own)))
    if not same_labels(own, given) and numbered and len(own) == len(given):
        return Labels(given, own, np.arange(len(own)))
    try:
        return Labels(given, own, index_of(own, given))
    except SubjectError as error:
        raise SubjectError(
            f"the model's classes are {shown(own)}, and the labels are {shown(given)}; "
            "name the labels in the order of the model's classes: classes = […]"
        ) from error


def _score_of(
    native: Any, labels: Labels, prepare: Callable[[Any], Any]
) -> Callable[[Any], NDArray[np.float64]] | None:
    k = len(labels.classes)
    if hasattr(native, "predict_proba"):
        raw = native.predict_proba
    elif hasattr(native, "decision_function") and _one_column_per_class(native):

        def raw(x: Any) -> NDArray[np.float64]:
            z = np.asarray(native.decision_function(x))
            return two_columns(sigmoid(z)) if z.ndim == 1 else softmax(z)
    else:
        return None

    def score(x: Any) -> NDArray[np.float64]:
        if not len(x):
            return np.zeros((0, k))
        p = np.asarray(raw(prepare(x)), dtype=np.float64)
        if p.ndim == 2 and p.shape[1] == len(labels.to):
            return spread(p, labels.to, k)
        return p

    return score


def _one_column_per_class(native: Any) -> bool:
    """Whether decision values are per class: a one-against-one SVC gives one per pair."""
    return getattr(native, "decision_function_shape", "ovr") != "ovo"


# --- training afresh -----------------------------------------------------------------------------


def _user_fit(
    fit: Callable[[Any, Any, int], Any], classes: NDArray[Any], columns: Sequence[str] | None
) -> Callable[[Any, NDArray[Any], int], Model]:
    from crenel.adapters.function import user_fit

    return user_fit(fit, classes, "classification", columns)


def _clone_fit(
    body: Any, labels: Labels, columns: Sequence[str] | None, texts: bool
) -> Callable[[Any, NDArray[Any], int], Model] | None:
    if not _can_clone(body):
        return None
    dense = _final_of(body).__class__.__module__.startswith("xgboost")
    prepare = preparer(body, columns, texts)

    def refit(x: Any, y: NDArray[Any], seed: int) -> Model:
        present = np.unique(y)
        if len(present) < 2:
            raise SubjectError("a classifier cannot be trained: its rows are all of one class")
        # XGBoost's classifier takes the labels 0 to j - 1 only
        own = np.searchsorted(present, y) if dense else labels.own(y)
        new = seeded(body, seed)
        if dense:
            _set_objective(_final_of(new), len(present))
        new.fit(prepare(x), own)
        learned = as_labels(new.classes_)
        to = present if dense else labels.to[index_of(learned, labels.native)]
        again = Labels(labels.classes, learned, np.asarray(to, dtype=np.int64))
        model = classifier(new, again, preparer(new, columns, texts), None, columns, texts)
        return _with_fit(model, refit)

    return refit


def _set_objective(final: Any, k: int) -> None:
    """XGBoost writes the objective for the classes it saw into its settings; mend it for k."""
    objective = str(final.get_params().get("objective") or "")
    if k == 2 and objective.startswith("multi:"):
        final.set_params(objective="binary:logistic")
    elif k > 2 and objective.startswith("binary:"):
        final.set_params(objective="multi:softprob")


def _with_fit(model: Model, fit: Callable[[Any, NDArray[Any], int], Model]) -> Model:
    """A refitted model trains as the first one does, also where it saw fewer classes."""
    return replace(model, fit=fit)


def _can_clone(body: Any) -> bool:
    return hasattr(body, "get_params") and hasattr(body, "fit")


def seeded(native: Any, seed: int) -> Any:
    """An unfitted copy of an estimator with every ``random_state`` set to a seed."""
    from sklearn.base import clone

    new = clone(native)
    parameters = new.get_params(deep=True)
    chosen: dict[str, Any] = {
        name: seed % 2**31 for name in parameters if name.split("__")[-1] == "random_state"
    }
    for name, value in parameters.items():  # rounds found by early stopping are kept
        if name.split("__")[-1] == "early_stopping_rounds" and value:
            chosen[name] = None
            best = getattr(_final_of(native), "best_iteration", None)
            if best is not None:
                chosen[name.replace("early_stopping_rounds", "n_estimators")] = int(best) + 1
    return new.set_params(**chosen)


# --- rows ----------------------------------------------------------------------------------------


def preparer(
    native: Any, columns: Sequence[str] | None = None, texts: bool = False
) -> Callable[[Any], Any]:
    """A function from the user's rows to what a fitted estimator takes.

    Frames keep their names where the estimator was trained with names; they become arrays where
    it was trained without; one column of text becomes a 1-d array where ``texts`` says so.
    """
    first = first_of(native)
    if texts or takes_texts(first):
        return lambda x: one_column(x, columns)
    kind = type(first).__module__.partition(".")[0]
    if kind == "lightgbm":
        from crenel.adapters.lightgbm import frame_for as lightgbm_frame

        return lambda x: lightgbm_frame(narrow(x, columns), first.booster_)
    names = getattr(native, "feature_names_in_", None)
    if kind == "xgboost":
        from crenel.adapters.xgboost import frame_for as xgboost_frame

        return lambda x: xgboost_frame(narrow(x, columns), first.get_booster())
    if names is not None:
        return lambda x: _with_categories(narrow(x, [str(n) for n in names]), first)
    if hasattr(first, "n_features_in_"):
        return lambda x: as_array(narrow(x, columns))
    return lambda x: narrow(x, columns)


def _with_categories(x: Any, first: Any) -> Any:
    """Text columns that gradient boosting learned as categories get that type again."""
    mask = getattr(first, "is_categorical_", None)
    if mask is None:
        return x
    text = [c for c, m in zip(x.columns, mask) if m and not hasattr(x[c].dtype, "categories")]
    return x.astype({c: "category" for c in text if x[c].dtype.kind not in "biuf"})


def one_column(x: Any, columns: Sequence[str] | None = None) -> NDArray[Any]:
    """The only column of rows, as text (n,)."""
    x = narrow(x, columns)
    values = x.to_numpy(dtype=object) if is_frame(x) else np.asarray(x, dtype=object)
    if values.ndim == 2 and values.shape[1] != 1:
        raise SubjectError(
            f"the model takes one column of text, and the data has {values.shape[1]}; "
            "keep the text column and the label only"
        )
    return np.asarray(values.reshape(len(values)))


# --- the parts of a Pipeline ---------------------------------------------------------------------


def unwrapped(native: Any) -> Any:
    """The winner of a parameter search; any other estimator as it is."""
    return getattr(native, "best_estimator_", native)


def first_of(native: Any) -> Any:
    """The first step of a Pipeline, or of the winner of a search; any other estimator itself."""
    return _first_of(unwrapped(native))


def _first_of(body: Any) -> Any:
    steps = getattr(body, "steps", None)
    return _first_of(steps[0][1]) if steps else body


def _final_of(body: Any) -> Any:
    steps = getattr(body, "steps", None)
    return _final_of(steps[-1][1]) if steps else body


def _transform_of(body: Any, prepare: Callable[[Any], Any]) -> Callable[[Any], Any] | None:
    """The steps before the last as one function, None where there are none."""
    steps = getattr(body, "steps", None)
    if not steps:
        return None
    last = _transform_of(steps[-1][1], lambda x: x)
    if len(steps) == 1:
        return last
    head = body[:-1]

    def transform(x: Any) -> Any:
        inner = head.transform(prepare(x))
        return inner if last is None else last(inner)

    return transform


def _dense_of(
    features: Callable[[Any], Any] | None,
) -> Callable[[Any], NDArray[np.float64]] | None:
    return None if features is None else lambda x: dense(features(x))


def dense(x: Any) -> NDArray[np.float64]:
    """Transformed rows as a dense float64 array (n, d).

    Raises
    ------
    NotApplicable
        Where they are not numbers, or a sparse matrix is too large to fill in.
    """
    if hasattr(x, "toarray"):
        if x.shape[0] * x.shape[1] > DENSE_NUMBERS:
            raise NotApplicable(
                f"the pipeline's sparse output of {x.shape[0]:,} × {x.shape[1]:,} numbers is too "
                "large to hold densely; take fewer rows at a time"
            )
        x = x.toarray()
    try:
        return to_numbers(x)
    except SubjectError as error:
        raise NotApplicable("the input of the pipeline's last step is not numeric") from error


# --- description ---------------------------------------------------------------------------------


def task_of(native: Any) -> Task:
    """Whether an estimator classifies or predicts a number."""
    named = any(kind.__name__.endswith("Regressor") for kind in type(native).__mro__)
    # CatBoost's regressors have classes_, which are empty.
    if hasattr(native, "predict_proba") or (hasattr(native, "classes_") and not named):
        return "classification"
    if hasattr(native, "__sklearn_tags__"):
        from sklearn.base import is_regressor

        return "regression" if is_regressor(native) else "classification"
    return "regression" if named else "classification"


def _framework(native: Any) -> str:
    root = type(unwrapped(native)).__module__.partition(".")[0]
    return root if root in ("xgboost", "lightgbm", "catboost") else "sklearn"


def describe(native: Any) -> str:
    """``HistGradientBoostingClassifier in a Pipeline``."""
    body = unwrapped(native)
    text = type(_final_of(body)).__name__
    return f"{text} in a Pipeline" if getattr(body, "steps", None) else text


def count_parameters(final: Any) -> int | None:
    """Learned numbers of a linear model or of a perceptron; None where not known."""
    arrays: list[Any] = []
    for name in ("coef_", "intercept_", "coefs_", "intercepts_"):
        value = getattr(final, name, None)
        if value is not None:
            arrays += value if isinstance(value, list) else [value]
    return sum(int(np.size(a)) for a in arrays) or None

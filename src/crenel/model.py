"""The one view of a model that every check has, whatever framework it comes from."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from crenel.errors import NotApplicable, SubjectError

Task = Literal["classification", "regression"]


@dataclass(frozen=True)
class Model:
    """A model as plain functions over the user's own rows; adapters build it.

    Attributes
    ----------
    framework : str
        "sklearn", "xgboost", "lightgbm", "torch", "onnx", "function" or "http".
    task : {"classification", "regression"}
    classes : ndarray, shape (k,)
        The user's own labels, in the order of the columns of the scores; empty for regression.
    decide : callable
        From n rows to class indices, shape (n,), int64; for regression to float64 values.
    score : callable or None
        From n rows to probabilities, shape (n, k), float64; None where only decisions are seen.
    fit : callable or None
        ``fit(x, y, seed) -> Model``: the same kind of model trained afresh; ``y`` are class
        indices (or values), and the new model's classes are the same ones in the same order.
    native : object
        The user's own object: estimator, booster, module, session, function or URL.
    module : torch.nn.Module or None
        In evaluation mode, from a float32 batch shaped as the rows to logits (n, k).
    transform : callable or None
        From n rows to the numeric input of the last step, shape (n, d): the steps of a Pipeline
        before its estimator; None where the rows are that input already.
    features : callable or None
        As ``transform``, but sparse where the steps give a sparse matrix.
    final : object or None
        The last step of a Pipeline, or ``native`` itself where there is none.
    remote : bool
        Whether each call goes over a network.
    parameters : int or None
        Number of learned numbers, where it is known.
    description : str
        "HistGradientBoostingClassifier in a Pipeline".
    """

    framework: str
    task: Task
    classes: NDArray[Any]
    decide: Callable[[Any], NDArray[Any]]
    score: Callable[[Any], NDArray[np.float64]] | None = None
    fit: Callable[[Any, NDArray[Any], int], Model] | None = None
    native: Any = None
    module: Any = None
    transform: Callable[[Any], NDArray[Any]] | None = None
    features: Callable[[Any], Any] | None = None
    final: Any = None
    remote: bool = False
    parameters: int | None = None
    description: str = ""

    @property
    def k(self) -> int:
        """Number of classes; 0 for regression."""
        return len(self.classes)

    def predict(self, x: Any) -> NDArray[Any]:
        """Class indices (n,) int64, or values (n,) float64 for regression."""
        return self.decide(x)

    def probabilities(self, x: Any) -> NDArray[np.float64]:
        """Probabilities (n, k) that are finite and sum to one.

        Raises
        ------
        NotApplicable
            Where the model shows decisions only.
        SubjectError
            Where the model's scores are not probabilities.
        """
        if self.score is None:
            raise NotApplicable("the model shows decisions only, no scores")
        p = np.asarray(self.score(x), dtype=np.float64)
        check_probabilities(p, len(x), self.k)
        return p

    def with_decisions_only(self) -> Model:
        """The same model as an attacker sees it who gets labels but no scores."""
        return replace(self, score=None, module=None)


def check_probabilities(p: NDArray[np.float64], n: int, k: int) -> None:
    """Raise `SubjectError` where an array is not n rows of k probabilities."""
    if p.shape != (n, k):
        raise SubjectError(
            f"the model returned scores of shape {p.shape} for {n} rows and {k} classes; "
            f"expected {(n, k)}: return one column for each class"
        )
    if not np.isfinite(p).all():
        row = int(np.argwhere(~np.isfinite(p))[0, 0])
        raise SubjectError(
            f"the model returned a score that is not finite (row {row} of the batch); "
            "return probabilities"
        )
    total = p.sum(axis=1)
    if n and (np.abs(total - 1).max() > 1e-3 or p.min() < -1e-6):
        row = int(np.argmax(np.abs(total - 1)))
        raise SubjectError(
            f"the model's probabilities do not sum to one (row {row} of the batch sums to "
            f"{total[row]:.4g}); return probabilities, or use a model that gives decisions only"
        )


@dataclass
class Counter:
    """Wraps a model so that every row asked of it is counted.

    Attributes
    ----------
    model : Model
        Use this one.
    queries : int
        Rows asked so far.
    """

    inner: Model
    queries: int = 0
    model: Model = field(init=False)

    def __post_init__(self) -> None:
        def decide(x: Any) -> NDArray[Any]:
            self.queries += len(x)
            return self.inner.decide(x)

        def score(x: Any) -> NDArray[np.float64]:
            self.queries += len(x)
            assert self.inner.score is not None
            return self.inner.score(x)

        self.model = replace(
            self.inner, decide=decide, score=score if self.inner.score is not None else None
        )

"""A classifier that lets models of disjoint parts of the training rows vote."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, ClassifierMixin

from crenel.errors import UsageError
from crenel.model import Model
from crenel.poisoning.partition.members import Run, Trainer, scores_of
from crenel.poisoning.partition.runoff import count_votes, run_off
from crenel.poisoning.partition.votes import plurality
from crenel.subject import take_rows

ELECTIONS = ("run-off", "plurality")
#: Scores in memory at once.
_AT_ONCE = 1 << 23


class PartitionEnsemble(ClassifierMixin, BaseEstimator):  # type: ignore[misc]
    """Deep Partition Aggregation with a choice of election, and a certificate for each decision.

    The training rows are shared among k parts by a hash of their content, one model is trained on
    each, and the models vote. A training row that is inserted or deleted changes one vote at
    most, so that a clear majority stands against as many of them as `certify` says (Levine and
    Feizi, 2021; Rezaei et al., 2023).

    Parameters
    ----------
    base : estimator
        What each part trains: a scikit-learn, XGBoost or LightGBM classifier or a Pipeline,
        fitted or not. A fitted one also says which columns there are.
    partitions : int
        k.
    election : {"run-off", "plurality"}
        See `crenel.poisoning.partition.run_off` and `plurality`.
    random_state : int

    Attributes
    ----------
    classes_ : ndarray, shape (K,)
    members_ : list of Member
    training_rows_ : int
    """

    def __init__(
        self, base: Any = None, partitions: int = 50, election: str = "run-off",
        random_state: int = 0,
    ) -> None:  # fmt: skip
        self.base = base
        self.partitions = partitions
        self.election = election
        self.random_state = random_state

    def fit(self, x: Any, y: Any) -> PartitionEnsemble:
        """Train one model on each part.

        Parameters
        ----------
        x : pandas.DataFrame or ndarray, n rows
        y : array-like, n labels

        Raises
        ------
        UsageError
            Where there is no base, or the election is unknown.
        """
        from crenel.adapters import wrap
        from crenel.adapters.labels import as_labels, index_of
        from crenel.adapters.sklearn import seeded
        from crenel.training.threads import one_core

        if self.base is None:
            raise UsageError("a PartitionEnsemble needs a base: the estimator that each part fits")
        labels = as_labels(y)
        classes = np.unique(labels)
        fitted = getattr(self.base, "classes_", None) is not None
        native = self.base if fitted else seeded(self.base, self.random_state).fit(x, labels)
        model = wrap(native, classes=classes.tolist())
        if model.fit is None:
            raise UsageError("the base of a PartitionEnsemble must be an estimator with fit")
        trainer = Trainer(model.fit, classes, native)
        with one_core():
            return self.grow(trainer, x, index_of(labels, classes))

    def grow(
        self, trainer: Trainer, x: Any, y: NDArray[np.int64], run: Run | None = None
    ) -> PartitionEnsemble:
        """Train the members by a trainer, on class indices."""
        if self.election not in ELECTIONS:
            raise UsageError(f"the election {self.election!r} is not one of {list(ELECTIONS)}")
        self.classes_ = trainer.classes
        self.members_ = trainer.members(x, y, self.partitions, self.random_state, run)
        self.training_rows_ = len(x)
        if hasattr(x, "iloc"):
            self.feature_names_in_ = np.asarray([str(c) for c in x.columns], dtype=object)
        if x.ndim == 2:
            self.n_features_in_ = int(x.shape[1])
        return self

    def certify(self, x: Any) -> tuple[NDArray[Any], NDArray[np.int64]]:
        """Decide, and say how much poison each decision surely stands.

        Parameters
        ----------
        x : pandas.DataFrame or ndarray, n rows

        Returns
        -------
        labels : ndarray, shape (n,)
        rows : ndarray, shape (n,), int64
            Training rows that may be inserted or deleted without turning the decision, whatever
            they hold. An edited row counts two, a label turned one.
        """
        decided, rows, _ = self._elect(x)
        return self.classes_[decided], rows

    def predict(self, x: Any) -> NDArray[Any]:
        """Labels (n,)."""
        return np.asarray(self.classes_[self._elect(x)[0]])

    def predict_proba(self, x: Any) -> NDArray[np.float64]:
        """Shares of the first round's votes (n, K), the elected class always the largest."""
        decided, _, counts = self._elect(x)
        shares = counts.astype(np.float64)
        run_over = np.flatnonzero(shares.argmax(axis=1) != decided)
        shares[run_over, decided[run_over]] = shares[run_over].max(axis=1) + 0.5
        shares += 1e-9
        return np.asarray(shares / shares.sum(axis=1, keepdims=True))

    def _elect(self, x: Any) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
        """Class indices (n,), certified rows (n,), votes of the first round (n, K)."""
        part = max(1, _AT_ONCE // (len(self.members_) * len(self.classes_)))
        starts = range(0, max(1, len(x)), part)
        found = []
        for i in starts:
            some = take_rows(x, np.arange(i, min(len(x), i + part))) if len(x) > part else x
            found.append(elect(scores_of(self.members_, some), self.election))
        decided, rows, counts = (np.concatenate(p) for p in zip(*found))
        return decided, rows, counts

    def get_params(self, deep: bool = True) -> dict[str, Any]:
        """Its own parameters: those of the base are the base's."""
        return dict(super().get_params(deep=False))

    def __sklearn_clone__(self) -> PartitionEnsemble:
        """A copy that is not fitted; a fitted base stays so, for it says what the columns are."""
        return PartitionEnsemble(**self.get_params())


def elect(
    scores: NDArray[np.float64], election: str
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """Decisions (n,), certified rows (n,) and votes (n, K) of members' scores (k, n, K)."""
    counts = count_votes(scores)
    decided, rows = plurality(counts) if election == "plurality" else run_off(scores)
    return decided, rows, counts


def as_model(ensemble: PartitionEnsemble, trainer: Trainer) -> Model:
    """A fitted ensemble as the `Model` that checks measure, which trains as it was trained."""
    from dataclasses import replace

    from crenel.adapters import wrap

    def fit(x: Any, y: NDArray[np.int64], seed: int) -> Model:
        again = PartitionEnsemble(
            ensemble.base, ensemble.partitions, ensemble.election, random_state=seed
        )
        return as_model(again.grow(trainer, x, y), trainer)

    return replace(wrap(ensemble, classes=ensemble.classes_.tolist()), fit=fit)

"""One view of every incremental learner: River, ``partial_fit``, torch-like steps."""

from __future__ import annotations

import copy
import math
import pickle
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from crenel.errors import SubjectError

Kind = Literal["river", "sklearn", "step"]

#: Rows that go into one call of a learner that takes batches.
BATCH = 16


@dataclass
class Live:
    """A learner in some state, over encoded rows (see `encode`) and class indices.

    Attributes
    ----------
    native : object
        The user's learner; it is changed by `learn`.
    kind : {"river", "sklearn", "step"}
        ``learn_one``/``predict_one``; ``partial_fit``/``predict``; ``learn``/``predict``.
    k : int
        Number of classes, labelled 0 to k - 1.
    batch : int
        Rows in one call of a learner that takes batches.
    """

    native: Any
    kind: Kind
    k: int
    batch: int = BATCH

    def learn(self, rows: Any, y: NDArray[np.int64]) -> None:
        """Learn encoded rows in their order."""
        if self.kind == "river":
            for row, label in zip(rows, y.tolist(), strict=True):
                self.native.learn_one(row, label)
            return
        for start in range(0, len(y), self.batch):
            part = slice(start, start + self.batch)
            if self.kind == "sklearn":
                self.native.partial_fit(rows[part], y[part], classes=np.arange(self.k))
            else:
                self.native.learn(rows[part], y[part])

    def decide(self, rows: Any) -> NDArray[np.int64]:
        """Class indices (n,); -1 where the learner does not decide."""
        if self.kind == "river":
            return np.array([_index(self.native.predict_one(row)) for row in rows], dtype=np.int64)
        return np.asarray(self.native.predict(rows)).astype(np.int64).reshape(-1)

    @property
    def has_scores(self) -> bool:
        """Whether `scores` can be asked."""
        if self.kind == "river":
            return hasattr(self.native, "predict_proba_one")
        return hasattr(self.native, "predict_proba")

    def scores(self, rows: Any, label: int) -> NDArray[np.float64]:
        """Probability (n,) that the learner gives one class; 0 where it names none."""
        if self.kind == "river":
            said = [self.native.predict_proba_one(row) for row in rows]
            return np.array([float(p.get(label, 0.0)) for p in said], dtype=np.float64)
        return np.asarray(self.native.predict_proba(rows), dtype=np.float64)[:, label]


@dataclass(frozen=True)
class Snapshot:
    """A learner's state, from which any number of equal learners can be made."""

    kind: Kind
    k: int
    batch: int
    make: Callable[[], Any]

    @classmethod
    def of(cls, live: Live) -> Snapshot:
        """Take the state of a learner.

        Pickling in memory is far faster than ``deepcopy`` on trees and forests; learners that
        cannot be pickled are deep-copied.
        """
        try:
            state = pickle.dumps(live.native, protocol=pickle.HIGHEST_PROTOCOL)
        except (pickle.PicklingError, AttributeError, TypeError):
            frozen = copy.deepcopy(live.native)
            return cls(live.kind, live.k, live.batch, lambda: copy.deepcopy(frozen))
        return cls(live.kind, live.k, live.batch, lambda: pickle.loads(state))

    def restore(self) -> Live:
        """Return a fresh learner in this state."""
        return Live(self.make(), self.kind, self.k, self.batch)


def fresh(factory: Callable[[], Any], k: int, seed: int) -> Live:
    """Make an untrained learner, with its unset seeds set.

    Parameters
    ----------
    factory : callable
        Returns the user's learner.
    k : int
        Number of classes.
    seed : int
        Given to learners that would otherwise draw from a global generator.

    Raises
    ------
    SubjectError
        Where the object learns by none of the known methods.
    """
    native = factory()
    kind = kind_of(native)
    return Live(_seeded(native, kind, seed), kind, k)


def kind_of(native: Any) -> Kind:
    """How an object learns; `SubjectError` where it does not."""
    methods: tuple[tuple[Kind, str, str], ...] = (
        ("river", "learn_one", "predict_one"),
        ("sklearn", "partial_fit", "predict"),
        ("step", "learn", "predict"),
    )
    for kind, learn, predict in methods:
        if hasattr(native, learn) and hasattr(native, predict):
            return kind
    raise SubjectError(
        f"a {type(native).__name__} does not learn incrementally; the learner must have "
        "learn_one and predict_one, partial_fit and predict, or learn and predict"
    )


def _seeded(native: Any, kind: Kind, seed: int) -> Any:
    """The learner with ``random_state`` or ``seed`` set where it is None."""
    if kind == "sklearn" and hasattr(native, "get_params"):
        unset = [
            name
            for name, value in native.get_params(deep=True).items()
            if name.split("__")[-1] == "random_state" and value is None
        ]
        return native.set_params(**dict.fromkeys(unset, seed)) if unset else native
    if kind == "river" and hasattr(native, "_get_params"):
        parameters = native._get_params()
        if isinstance(parameters, dict) and parameters.get("seed", seed) is None:
            return native.clone({"seed": seed})
    return native


def encode(x: Any, kind: Kind) -> Any:
    """Rows in the form that a learner takes.

    Parameters
    ----------
    x : pandas.DataFrame or ndarray, n rows
    kind : {"river", "sklearn", "step"}

    Returns
    -------
    list of dict, DataFrame or ndarray
        A dict for each row for River; else a float64 array (n, …) where every column is numeric,
        and the frame itself where one is not.
    """
    frame = hasattr(x, "iloc")
    if kind == "river":
        if frame:
            records: list[dict[str, Any]] = x.to_dict(orient="records")
            return records
        return [dict(enumerate(row)) for row in np.reshape(x, (len(x), -1)).tolist()]
    if frame:
        numeric = all(dtype.kind in "biuf" for dtype in x.dtypes)
        return x.to_numpy(dtype=np.float64) if numeric else x
    return np.reshape(x, (len(x), -1)) if kind == "sklearn" else x


def take(rows: Any, index: NDArray[np.int64]) -> Any:
    """Encoded rows at positions."""
    if isinstance(rows, list):
        return [rows[i] for i in index.tolist()]
    return rows.iloc[index] if hasattr(rows, "iloc") else rows[index]


def join(first: Any, second: Any) -> Any:
    """Encoded rows one below the other."""
    if isinstance(first, list):
        return first + second
    if hasattr(first, "iloc"):
        import pandas as pd

        return pd.concat([first, second], ignore_index=True)
    return np.concatenate([first, second])


def _index(label: Any) -> int:
    """A predicted label as a class index, -1 for none."""
    if label is None or (isinstance(label, float) and math.isnan(label)):
        return -1
    return int(label)


@dataclass(frozen=True)
class Prequential:
    """Test-then-train accuracy beside the baselines that need no learning (all in [0, 1]).

    Attributes
    ----------
    accuracy : float
        Of the learner, each row decided before it is learned.
    no_change : float
        Of repeating the label before.
    majority : float
        Of the most frequent label so far.
    n : int
        Rows judged.
    """

    accuracy: float
    no_change: float
    majority: float
    n: int


def prequential(live: Live, rows: Any, y: NDArray[np.int64], burn_in: float = 0.5) -> Prequential:
    """Feed an honest prefix, each batch decided before it is learned (Gama et al., 2013).

    Parameters
    ----------
    live : Live
        Is changed: it ends in the state after all rows.
    rows : encoded rows, n of them
    y : ndarray, shape (n,), int64
    burn_in : float
        Share of the rows at the beginning that are learned and not judged.
    """
    n, step = len(y), 1 if live.kind == "river" else live.batch
    said = np.full(n, -1, dtype=np.int64)
    for start in range(0, n, step):
        index = np.arange(start, min(n, start + step))
        part = take(rows, index)
        if start >= burn_in * n:
            said[index] = live.decide(part)
        live.learn(part, y[index])
    judged = np.arange(n) >= burn_in * n
    judged[0] = False
    counts = np.cumsum(y[:, None] == np.arange(live.k), axis=0)
    before = np.concatenate([[-1], counts.argmax(axis=1)[:-1]])
    last = np.concatenate([[-1], y[:-1]])
    return Prequential(
        accuracy=float((said == y)[judged].mean()),
        no_change=float((last == y)[judged].mean()),
        majority=float((before == y)[judged].mean()),
        n=int(judged.sum()),
    )

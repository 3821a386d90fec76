"""The members of a vote: one model for each part of the training rows, and how it scores."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from crenel.errors import SubjectError
from crenel.model import Model
from crenel.poisoning.partition.rows import part_of, row_numbers
from crenel.statistics import derive_seed
from crenel.subject import take_rows

Fit = Callable[[Any, NDArray[np.int64], int], Model]
Run = Callable[[Callable[[Any], Any], list[Any]], list[Any]]


@dataclass
class Member:
    """A model of one part of the rows; it can be pickled where the user's own object can.

    Attributes
    ----------
    native : object or None
        The user's kind of model; None where the part has one class only, or none.
    known : ndarray, shape (j,), int64
        Classes that it can tell, in the order of its score columns.
    classes : ndarray, shape (K,)
        The user's labels.
    """

    native: Any
    known: NDArray[np.int64]
    classes: NDArray[Any]
    _model: Model | None = field(default=None, repr=False, compare=False)

    def scores(self, x: Any) -> NDArray[np.float64]:
        """Scores (n, K); NaN for classes that it does not know.

        A model that shows decisions only knows, of each row, its best class alone.
        """
        out = np.full((len(x), len(self.classes)), np.nan)
        if self.native is None:
            out[:, self.known[:1]] = 1.0
            return out
        model = self._wrapped()
        if model.score is not None:
            p = model.score(x)
            out[:, self.known] = p if p.shape[1] == len(self.known) else p[:, self.known]
            return out
        decided = model.predict(x)
        own = decided if model.k == len(self.classes) else self.known[decided]
        out[np.arange(len(x)), own] = 1.0
        return out

    def _wrapped(self) -> Model:
        if self._model is None:
            from crenel.adapters import wrap

            knows = getattr(self.native, "classes_", None) is not None
            self._model = wrap(self.native, classes=None if knows else self.classes.tolist())
        return self._model

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_model": None}


@dataclass
class Trainer:
    """Trains the members: each on one part, alike whatever the other parts hold.

    Within a part the rows are sorted by content, and its seed comes from its number, so that a
    row inserted into another part, or another order of the file, changes nothing. Members of
    parts that have not changed since they were last trained are taken again.

    Attributes
    ----------
    fit : callable
        Of the audited `Model`.
    classes : ndarray, shape (K,)
        The user's labels.
    native : object
        The audited model's own object, which shows how its labels are coded.
    """

    fit: Fit
    classes: NDArray[Any]
    native: Any
    kept: dict[bytes, Member] = field(default_factory=dict)

    def members(
        self, x: Any, y: NDArray[np.int64], partitions: int, seed: int, run: Run | None = None
    ) -> list[Member]:
        """One member for each part.

        Parameters
        ----------
        x : pandas.DataFrame or ndarray, n rows
        y : ndarray, shape (n,), int64
            Class indices.
        partitions : int
        seed : int
        run : callable, optional
            ``run(work, tasks)`` in place of one after the other.

        Raises
        ------
        SubjectError
            Where most parts cannot be trained on.
        """
        numbers = row_numbers(x)
        parts = part_of(numbers, partitions)
        by_part = np.lexsort((y, numbers, parts))
        cuts = np.searchsorted(parts[by_part], np.arange(partitions + 1))
        failed: list[str] = []

        def one(part: int) -> Member:
            rows = by_part[cuts[part] : cuts[part + 1]]
            content = numbers[rows].tobytes() + y[rows].astype("<i8").tobytes()
            told = f"{seed}/{part}/{partitions}/{len(rows)}/".encode()
            key = hashlib.blake2b(told + content, digest_size=16).digest()
            member = self.kept.get(key)
            if member is None:
                member = self._train(x, y, rows, derive_seed(seed, "part", part), failed)
                self.kept[key] = member
            return member

        tasks = list(range(partitions))
        members: list[Member] = [one(p) for p in tasks] if run is None else run(one, tasks)
        self._forget(6 * partitions)
        if 2 * len(failed) > partitions:
            raise SubjectError(
                f"{len(failed)} of {partitions} parts are too small to train on ({failed[0]}); "
                "take fewer partitions"
            )
        return members

    def _train(
        self, x: Any, y: NDArray[np.int64], rows: NDArray[np.int64], seed: int, failed: list[str]
    ) -> Member:
        present = np.unique(y[rows])
        if len(present) >= 2:
            try:
                native = self.fit(take_rows(x, rows), y[rows], seed).native
            except (ValueError, SubjectError) as error:  # as the user's code says: too few rows
                failed.append(str(error).strip().splitlines()[0])
            else:
                return Member(native, self._known(native, present), self.classes)
        most = np.bincount(y[rows], minlength=1).argmax() if len(rows) else None
        known = np.zeros(0, dtype=np.int64) if most is None else np.array([most], dtype=np.int64)
        return Member(None, known, self.classes)

    def _known(self, native: Any, present: NDArray[np.int64]) -> NDArray[np.int64]:
        """The class of each of a member's score columns."""
        from crenel.adapters.labels import as_labels, index_of
        from crenel.adapters.sklearn import match_labels

        own = getattr(native, "classes_", None)
        if own is None:
            return present
        own = as_labels(own)
        whole = getattr(self.native, "classes_", None)
        if _renumbers(native):
            return present
        if whole is not None:
            labels = match_labels(as_labels(whole), self.classes.tolist())
            try:
                return np.asarray(labels.to[index_of(own, labels.native)], dtype=np.int64)
            except SubjectError:
                pass  # trained by the user's own function, on the user's own labels
        return index_of(own, self.classes)

    def _forget(self, most: int) -> None:
        while len(self.kept) > most:
            self.kept.pop(next(iter(self.kept)), None)


def _renumbers(native: Any) -> bool:
    """Whether a classifier counts the classes that it saw from 0, as XGBoost's does."""
    from crenel.adapters.sklearn import _final_of, unwrapped

    return str(type(_final_of(unwrapped(native))).__module__).startswith("xgboost")


def scores_of(members: Iterable[Member], x: Any) -> NDArray[np.float64]:
    """Scores (k, n, K) of all members."""
    return np.stack([m.scores(x) for m in members])

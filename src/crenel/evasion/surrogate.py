"""A cheap model of the model, fitted to the answers seen so far, that says what to ask next."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from crenel.evasion.space import Codes, Space
from crenel.schema import NUMERIC

#: Trees of the surrogate, and answers that it is fitted to, at most.
TREES, ANSWERS = 24, 4000
#: Scores are fitted as logarithms, no lower than this share.
FLOOR = 1e-4


@dataclass
class Surrogate:
    """Extremely randomised trees (Geurts et al., 2006) from changed rows to the model's scores.

    It only orders questions: what it foretells is never taken for an answer.

    Attributes
    ----------
    space : Space
    y : ndarray, shape (n,)
        The decision to be turned, for each row under attack.
    seed : int
    """

    space: Space
    y: NDArray[np.int64]
    seed: int
    _tables: list[NDArray[np.float32]] = field(init=False)
    _seen: list[NDArray[np.float32]] = field(default_factory=list)
    _told: list[NDArray[np.float64]] = field(default_factory=list)
    _trees: Any = None

    def __post_init__(self) -> None:
        self._tables = [
            np.nan_to_num(c.number, nan=-1e9, posinf=1e9, neginf=-1e9).astype(np.float32)
            if c.feature.kind in NUMERIC
            else c.identity.astype(np.float32)
            for c in self.space.columns
        ]

    def tell(self, codes: Codes, scores: NDArray[np.float64]) -> None:
        """Take note of answers: scores (m, k), or decisions as 0 and 1."""
        if len(codes):
            self._seen.append(self._encoded(codes))
            self._told.append(np.log(np.clip(scores, FLOOR, None)))

    def refit(self) -> None:
        """Fit to the answers; of too many, to the first ones (donors) and the latest."""
        from sklearn.ensemble import ExtraTreesRegressor

        if not self._seen:
            return
        seen, told = np.concatenate(self._seen), np.concatenate(self._told)
        if len(seen) > ANSWERS:
            keep = np.r_[: ANSWERS // 4, len(seen) - ANSWERS * 3 // 4 : len(seen)]
            seen, told = seen[keep], told[keep]
            self._seen, self._told = [seen], [told]
        trees = ExtraTreesRegressor(
            TREES, max_features=0.6, min_samples_leaf=1, random_state=self.seed
        )
        self._trees = trees.fit(seen, told)

    def margin(self, rows: Codes, codes: Codes) -> NDArray[np.float64]:
        """Foretold margin of candidates, shape (m,): the smaller, the sooner to be asked."""
        if self._trees is None or not len(rows):
            return np.zeros(len(rows))
        told = np.asarray(self._trees.predict(self._encoded(codes)), dtype=np.float64)
        scores = told.reshape(len(rows), -1)
        own = self.y[rows]
        at, inside = np.arange(len(rows)), own < scores.shape[1]
        right = np.where(inside, scores[at, np.minimum(own, scores.shape[1] - 1)], np.log(FLOOR))
        scores = scores.copy()
        scores[at[inside], own[inside]] = -np.inf
        # of two classes exactly the difference of their shares, on the scale of real margins
        return np.asarray(np.tanh((right - scores.max(axis=1)) / 2), dtype=np.float64)

    def votes(self, rows: Codes, codes: Codes) -> NDArray[np.int64]:
        """How many trees foretell that a candidate turns its row, shape (m,).

        All where no answer was seen yet that decides otherwise: none could foretell it.
        """
        votes = np.zeros(len(rows), dtype=np.int64)
        if self._trees is None or not len(rows):
            return votes
        seen = self._encoded(codes)
        own = self.y[rows]
        for tree in self._trees.estimators_:
            scores = np.asarray(tree.predict(seen)).reshape(len(rows), -1)
            votes += scores.argmax(axis=1) != own
        seen_decisions = np.unique(np.concatenate(self._told).argmax(axis=1))
        alone = (seen_decisions[None, :] == own[:, None]).all(axis=1)
        return np.where(alone, len(self._trees.estimators_), votes)

    def _encoded(self, codes: Codes) -> NDArray[np.float32]:
        return np.column_stack([t[codes[:, j]] for j, t in enumerate(self._tables)])

"""A cheap model of the model, fitted to the answers seen so far, that says what to ask next."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from crenel.evasion.fields.additive import Additive, parts_of
from crenel.evasion.fields.space import Codes, Space
from crenel.schema import NUMERIC

Floats = NDArray[np.float64]
#: Trees of each of the two forests, and answers that they are fitted to, at most.
TREES, ANSWERS = 12, 4000
#: Scores are fitted as logarithms, no lower than this share.
FLOOR = 1e-4
#: How much sooner than its rival the forest that erred less is believed: shares are as errors to
#: this power.
BELIEF = 8


@dataclass
class Surrogate:
    """Two forests of extremely randomised trees (Geurts et al., 2006) for the model's scores.

    One is fitted to the scores, one to what a sum of parts leaves of them (see `Additive`): a sum
    says of few answers what each column does, where the model nearly is one, and nothing where it
    is not. Either is believed as it foretold the answers so far. They only order questions: what
    they foretell is never taken for an answer.

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
    _parts: list[Floats] = field(init=False)
    _seen: list[NDArray[np.float32]] = field(default_factory=list)
    _known: list[Floats] = field(default_factory=list)
    _told: list[Floats] = field(default_factory=list)
    _fit: _Fit | None = None
    _errors: Floats = field(default_factory=lambda: np.ones(2))

    def __post_init__(self) -> None:
        self._tables = [
            np.nan_to_num(c.number, nan=-1e9, posinf=1e9, neginf=-1e9).astype(np.float32)
            if c.feature.kind in NUMERIC
            else c.identity.astype(np.float32)
            for c in self.space.columns
        ]
        self._parts = [parts_of(c) for c in self.space.columns]

    def tell(self, codes: Codes, scores: Floats) -> None:
        """Take note of answers: scores (m, k), or decisions as 0 and 1."""
        if not len(codes):
            return
        seen, known, told = *self._encoded(codes), np.log(np.clip(scores, FLOOR, None))
        if self._fit is not None:
            both = self._fit.foretold(seen, known)
            self._errors += [np.abs(one - told).sum() for one in both]
        self._seen.append(seen)
        self._known.append(known)
        self._told.append(told)

    def refit(self) -> None:
        """Fit to the answers; of too many, to the first ones (donors) and the latest."""
        if not self._seen:
            return
        seen, known = np.concatenate(self._seen), np.concatenate(self._known)
        told = np.concatenate(self._told)
        if len(seen) > ANSWERS:
            keep = np.r_[: ANSWERS // 4, len(seen) - ANSWERS * 3 // 4 : len(seen)]
            seen, known, told = seen[keep], known[keep], told[keep]
            self._seen, self._known, self._told = [seen], [known], [told]
        self._fit = _Fit.of(seen, known, told, self.seed)

    def margin(self, rows: Codes, codes: Codes) -> Floats:
        """Foretold margin of candidates, shape (m,): the smaller, the sooner to be asked."""
        if self._fit is None or not len(rows):
            return np.zeros(len(rows))
        plain, beside = self._fit.foretold(*self._encoded(codes))
        scores = self._belief[0] * plain + self._belief[1] * beside
        own = self.y[rows]
        at, inside = np.arange(len(rows)), own < scores.shape[1]
        right = np.where(inside, scores[at, np.minimum(own, scores.shape[1] - 1)], np.log(FLOOR))
        scores = scores.copy()
        scores[at[inside], own[inside]] = -np.inf
        # of two classes exactly the difference of their shares, on the scale of real margins
        return np.asarray(np.tanh((right - scores.max(axis=1)) / 2), dtype=np.float64)

    def votes(self, rows: Codes, codes: Codes) -> Floats:
        """How many trees foretell that a candidate turns its row, shape (m,), as believed.

        All where no answer was seen yet that decides otherwise: none could foretell it.
        """
        votes = np.zeros(len(rows))
        if self._fit is None or not len(rows):
            return votes
        own = self.y[rows]
        for which, scores in self._fit.each(*self._encoded(codes)):
            votes += self._belief[which] * (scores.argmax(axis=1) != own)
        seen_decisions = np.unique(np.concatenate(self._told).argmax(axis=1))
        alone = (seen_decisions[None, :] == own[:, None]).all(axis=1)
        return np.where(alone, TREES, votes)

    @property
    def _belief(self) -> tuple[float, float]:
        """Shares of the plain forest and of the one beside a sum."""
        ratio = float((self._errors[0] / self._errors[1]) ** BELIEF)
        return 1 / (1 + ratio), ratio / (1 + ratio)

    def _encoded(self, codes: Codes) -> tuple[NDArray[np.float32], Floats]:
        """What the trees see of candidates, and what the sum does."""
        seen = np.column_stack([t[codes[:, j]] for j, t in enumerate(self._tables)])
        return seen, np.hstack([p[codes[:, j]] for j, p in enumerate(self._parts)])


@dataclass(frozen=True)
class _Fit:
    """Both forests and the sum, fitted to the same answers."""

    plain: Any
    beside: Any
    sum: Additive
    low: Floats
    high: Floats

    @classmethod
    def of(cls, seen: NDArray[np.float32], known: Floats, told: Floats, seed: int) -> _Fit:
        from sklearn.ensemble import ExtraTreesRegressor

        total = Additive.fitted(known, told)
        low, high = told.min(axis=0), told.max(axis=0)
        targets = told, told - np.clip(total.told(known), low, high)
        plain, beside = (
            ExtraTreesRegressor(
                TREES, max_features=0.6, min_samples_leaf=1, random_state=seed + i
            ).fit(seen, target)
            for i, target in enumerate(targets)
        )
        return cls(plain, beside, total, low, high)

    def foretold(self, seen: NDArray[np.float32], known: Floats) -> tuple[Floats, Floats]:
        """Logarithms of scores (m, k) by either forest."""
        plain, left = (f.predict(seen).reshape(len(seen), -1) for f in (self.plain, self.beside))
        return plain, left + self._added(known)

    def each(self, seen: NDArray[np.float32], known: Floats) -> Iterator[tuple[int, Floats]]:
        """The same by every tree, with the number of its forest."""
        added = self._added(known)
        for which, forest in enumerate((self.plain, self.beside)):
            for tree, leaf in zip(forest.estimators_, forest.apply(seen).T):
                yield which, tree.tree_.value[leaf, :, 0] + which * added

    def _added(self, known: Floats) -> Floats:
        """The sum, no further than scores were seen: beyond it would outbid what is known."""
        return np.clip(self.sum.told(known), self.low, self.high)

"""The model as a black-box attacker asks it: batched, counted, and only what access allows."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from crenel.evasion.fields.space import Codes, Space
from crenel.evasion.fields.surrogate import Surrogate

if TYPE_CHECKING:
    import pandas as pd

Predict = Callable[[Any], NDArray[Any]]
Scores = Callable[[Any], NDArray[np.float64]]

#: Rows in one call of the model: large enough to be fast, small enough for wide tables.
BATCH = 16_384


class Answers(NamedTuple):
    """What the model said of candidates.

    Attributes
    ----------
    turned : ndarray of bool, shape (m,)
    margin : ndarray of float64, shape (m,)
        Score of the right class less the best other one, the smaller the closer to turning;
        where only decisions are seen 1, or -1 where turned.
    decision : ndarray of int64, shape (m,)
    """

    turned: NDArray[np.bool_]
    margin: NDArray[np.float64]
    decision: NDArray[np.int64]


@dataclass
class Oracle:
    """Answers for candidates: whether the decision turned, and by what margin it stands.

    Attributes
    ----------
    space : Space
    y : ndarray, shape (n,)
        The decision to be turned, for each row under attack.
    predict : callable
        Rows to decisions.
    scores : callable or None
        Rows to scores (m, k); None where the attacker sees decisions only.
    argmax : bool
        Whether the decision is the largest score, so that scores alone are enough.
    asked : int
        Rows asked so far.
    guide : Surrogate or None
        Is told every answer.
    k : int
        Number of classes known of.
    """

    space: Space
    y: NDArray[np.int64]
    predict: Predict
    scores: Scores | None
    argmax: bool = False
    asked: int = field(default=0)
    guide: Surrogate | None = None
    k: int = 0

    def ask(self, rows: Codes, codes: Codes) -> Answers:
        """What the model decides on each candidate, and by what margin its row still stands."""
        decision = np.zeros(len(rows), dtype=np.int64)
        margin = np.zeros(len(rows))
        for start in range(0, len(rows), BATCH):
            part = slice(start, start + BATCH)
            frame = self.space.frame(rows[part], codes[part])
            decision[part], margin[part], scores = self._ask(rows[part], frame)
            if self.guide is not None:
                self.guide.tell(codes[part], scores)
        self.asked += len(rows)
        return Answers(decision != self.y[rows], margin, decision)

    def _ask(
        self, rows: Codes, frame: pd.DataFrame
    ) -> tuple[NDArray[np.int64], NDArray[np.float64], NDArray[np.float64]]:
        own = self.y[rows]
        if self.scores is None:
            decision = np.asarray(self.predict(frame))
            return decision, np.where(decision != own, -1.0, 1.0), shares(decision, self.k)
        scores = np.array(self.scores(frame), dtype=np.float64)
        decision = scores.argmax(axis=1) if self.argmax else np.asarray(self.predict(frame))
        at, others = np.arange(len(rows)), scores.copy()
        others[at, own] = -np.inf
        return decision, scores[at, own] - others.max(axis=1), scores


def shares(decision: NDArray[Any], k: int) -> NDArray[np.float64]:
    """Decisions as scores of 0 and 1, shape (n, k); a class beyond k has no column."""
    out: NDArray[np.float64] = (np.asarray(decision)[:, None] == np.arange(k)[None, :]).astype(
        np.float64
    )
    return out

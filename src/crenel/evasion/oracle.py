"""The model as a black-box attacker asks it: batched, counted, and only what access allows."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from crenel.evasion.space import Codes, Space

if TYPE_CHECKING:
    import pandas as pd

Predict = Callable[[Any], NDArray[Any]]
Scores = Callable[[Any], NDArray[np.float64]]

#: Rows in one call of the model: large enough to be fast, small enough for wide tables.
BATCH = 16_384


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
    """

    space: Space
    y: NDArray[np.int64]
    predict: Predict
    scores: Scores | None
    argmax: bool = False
    asked: int = field(default=0)

    def ask(self, rows: Codes, codes: Codes) -> tuple[NDArray[np.bool_], NDArray[np.float64]]:
        """Whether each candidate turns its row's decision, and its margin.

        Returns
        -------
        turned : ndarray of bool, shape (m,)
        margin : ndarray of float64, shape (m,)
            Score of the right class less the best other one, the smaller the closer to turning;
            where only decisions are seen 1, or -1 where turned.
        """
        turned = np.zeros(len(rows), dtype=bool)
        margin = np.zeros(len(rows))
        for start in range(0, len(rows), BATCH):
            part = slice(start, start + BATCH)
            turned[part], margin[part] = self._ask(rows[part], self.space.frame(codes[part]))
        self.asked += len(rows)
        return turned, margin

    def _ask(
        self, rows: Codes, frame: pd.DataFrame
    ) -> tuple[NDArray[np.bool_], NDArray[np.float64]]:
        own = self.y[rows]
        if self.scores is None:
            turned = np.asarray(self.predict(frame)) != own
            return turned, np.where(turned, -1.0, 1.0)
        scores = np.array(self.scores(frame), dtype=np.float64)
        decision = scores.argmax(axis=1) if self.argmax else np.asarray(self.predict(frame))
        at = np.arange(len(rows))
        right = scores[at, own]
        scores[at, own] = -np.inf
        return decision != own, right - scores.max(axis=1)


def decides_by_argmax(predict: Predict, scores: Scores | None, x: Any) -> bool:
    """Whether decisions are the largest scores on these rows (a tuned threshold is not)."""
    if scores is None:
        return False
    return bool(np.array_equal(np.asarray(scores(x)).argmax(axis=1), np.asarray(predict(x))))

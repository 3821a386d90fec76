"""The model as an attacker asks it with edited texts: batched, counted, and within the time."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

#: Rows and, for each, the texts of its columns, to what the model takes.
Render = Callable[[NDArray[np.int64], Sequence[Sequence[str]]], Any]
#: Rows and their texts to a foretold margin, of what the attacker has learnt, without a query.
Guide = Callable[[NDArray[np.int64], Sequence[Sequence[str]]], NDArray[np.float64]]

#: Texts in one call of the model.
BATCH = 2_048


@dataclass
class Oracle:
    """Answers for edited texts.

    Attributes
    ----------
    render : callable
        See `Render`.
    y : ndarray of int64, shape (n,)
        The decision to be turned, for each row under attack.
    predict : callable
        What ``render`` gives to decisions (m,).
    scores : callable or None
        The same to scores (m, k); None where the attacker sees decisions only.
    argmax : bool
        Whether the decision is the largest score, so that scores alone are enough.
    guide : callable or None
        Ranks candidates in place of scores.
    deadline : float or None
        On the monotonic clock; what is not asked by then counts as not turned.
    asked : int
        Texts asked so far.
    """

    render: Render
    y: NDArray[np.int64]
    predict: Callable[[Any], NDArray[Any]]
    scores: Callable[[Any], NDArray[np.float64]] | None = None
    argmax: bool = False
    guide: Guide | None = None
    deadline: float | None = None
    asked: int = field(default=0)

    @property
    def expired(self) -> bool:
        """Whether the deadline has passed."""
        return self.deadline is not None and time.monotonic() > self.deadline

    @property
    def ranks(self) -> bool:
        """Whether one candidate can be told to be better than another before one turns."""
        return self.scores is not None or self.guide is not None

    def ask(
        self, rows: NDArray[np.int64], texts: Sequence[Sequence[str]]
    ) -> tuple[NDArray[np.bool_], NDArray[np.float64]]:
        """Whether each text turns its row's decision, and by what margin it stands.

        Returns
        -------
        turned : ndarray of bool, shape (m,)
        margin : ndarray of float64, shape (m,)
            Score of the right class less the best other one, the smaller the closer to turning;
            where only decisions are seen 1, or -1 where turned; infinite where time ran out.
        """
        turned, margin = np.zeros(len(rows), dtype=bool), np.full(len(rows), np.inf)
        for start in range(0, len(rows), BATCH):
            if start and self.expired:
                break
            part = slice(start, start + BATCH)
            turned[part], margin[part] = self._ask(rows[part], texts[part])
            self.asked += len(rows[part])
        return turned, margin

    def _ask(
        self, rows: NDArray[np.int64], texts: Sequence[Sequence[str]]
    ) -> tuple[NDArray[np.bool_], NDArray[np.float64]]:
        own, given = self.y[rows], self.render(rows, texts)
        if self.scores is None:
            turned = np.asarray(self.predict(given)) != own
            return turned, np.where(turned, -1.0, 1.0)
        scores = np.array(self.scores(given), dtype=np.float64)
        decision = scores.argmax(axis=1) if self.argmax else np.asarray(self.predict(given))
        at = np.arange(len(rows))
        right = scores[at, own]
        scores[at, own] = -np.inf
        return decision != own, right - scores.max(axis=1)

    def foretell(
        self, rows: NDArray[np.int64], texts: Sequence[Sequence[str]]
    ) -> NDArray[np.float64]:
        """Margins (m,) as the guide foretells them, without asking the model."""
        assert self.guide is not None
        return self.guide(rows, texts) if len(rows) else np.zeros(0)


def by_argmax(
    predict: Callable[[Any], NDArray[Any]],
    scores: Callable[[Any], NDArray[np.float64]] | None,
    given: Any,
) -> bool:
    """Whether decisions are the largest scores on these rows (a tuned threshold is not)."""
    if scores is None:
        return False
    return bool(np.array_equal(np.asarray(scores(given)).argmax(axis=1), predict(given)))

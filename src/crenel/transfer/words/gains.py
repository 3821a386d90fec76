"""What a word does: how far it moves a class's score, appended to texts of other classes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from crenel.evasion.text.columns import Texts
from crenel.model import Model

#: Scores nearer to 0 or 1 than this tell no more. A higher floor cuts the tail of ordinary gains
#: off where a model is sure of itself, and what is left above it looks unusual.
FLOOR = 1e-4
#: Texts in one call of the model.
BATCH = 4_096


@dataclass(frozen=True)
class Hosts:
    """Texts that words are appended to.

    Attributes
    ----------
    texts : Texts
    column : int
        Which of their columns of text takes the words.
    """

    texts: Texts
    column: int

    def __len__(self) -> int:
        return len(self.texts.x)

    def take(self, rows: NDArray[np.int64]) -> Hosts:
        """Some of them."""
        from crenel.subject import take_rows

        return Hosts(Texts(take_rows(self.texts.x, rows), self.texts.features), self.column)

    def with_words(self, additions: Sequence[str]) -> object:
        """Every text with every addition, additions first: len(additions) × len(hosts) rows."""
        own = self.texts.values()
        rows = np.tile(np.arange(len(own)), len(additions))
        made = []
        for added in additions:
            for row in own:
                new = [t or "" for t in row]
                new[self.column] = f"{new[self.column]} {added}".strip()
                made.append(new)
        return self.texts.render(rows, made)


def log_odds(model: Model, x: object, goal: int) -> NDArray[np.float64]:
    """Logarithm of the odds of a class, shape (n,), scores kept from 0 and 1."""
    p = model.probabilities(x)[:, goal].clip(FLOOR, 1 - FLOOR)
    return np.asarray(np.log(p / (1 - p)))


def gains(
    model: Model,
    hosts: Hosts,
    words: Sequence[str],
    goal: int,
    go_on: Callable[[], bool] = lambda: True,
) -> NDArray[np.float64]:
    """Mean gain of a class's log-odds by each word, shape (words,); NaN where time ran out."""
    found = np.full(len(words), np.nan)
    if not len(hosts):
        return found
    before = log_odds(model, hosts.with_words([""]), goal)
    step = max(1, BATCH // len(hosts))
    for start in range(0, len(words), step):
        if start and not go_on():
            break
        part = words[start : start + step]
        after = log_odds(model, hosts.with_words(part), goal).reshape(len(part), len(hosts))
        found[start : start + step] = (after - before).mean(axis=1)
    return found

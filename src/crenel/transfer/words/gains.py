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


def log_odds(p: NDArray[np.float64]) -> NDArray[np.float64]:
    """Logarithm of the odds of scores, kept from 0 and 1."""
    p = p.clip(FLOOR, 1 - FLOOR)
    return np.asarray(np.log(p / (1 - p)))


def unchanged(p: NDArray[np.float64]) -> NDArray[np.float64]:
    """The scores themselves."""
    return p


#: Scales on which the effects of words may add: of linear models and networks, of votes.
SCALES = {"log-odds": log_odds, "score": unchanged}


@dataclass(frozen=True)
class Scores:
    """A class's scores of texts with and without words.

    Attributes
    ----------
    before : ndarray of float64, shape (hosts,)
    after : ndarray of float64, shape (words, hosts)
        NaN where time ran out.
    """

    before: NDArray[np.float64]
    after: NDArray[np.float64]

    def gains(self, scale: str) -> NDArray[np.float64]:
        """Mean gain by each word on a scale, shape (words,)."""
        own = SCALES[scale]
        return np.asarray((own(self.after) - own(self.before)).mean(axis=1))


def scores(
    model: Model,
    hosts: Hosts,
    words: Sequence[str],
    goal: int,
    go_on: Callable[[], bool] = lambda: True,
) -> Scores:
    """Scores of a class for every text with every word."""
    after = np.full((len(words), len(hosts)), np.nan)
    before = model.probabilities(hosts.with_words([""]))[:, goal]
    step = max(1, BATCH // len(hosts))
    for start in range(0, len(words), step):
        if start and not go_on():
            break
        part = words[start : start + step]
        asked = model.probabilities(hosts.with_words(part))[:, goal]
        after[start : start + step] = asked.reshape(len(part), len(hosts))
    return Scores(before, after)


def gains(
    model: Model,
    hosts: Hosts,
    words: Sequence[str],
    goal: int,
    go_on: Callable[[], bool] = lambda: True,
) -> NDArray[np.float64]:
    """Mean gain of a class's log-odds by each word, shape (words,); NaN where time ran out."""
    if not len(hosts):
        return np.full(len(words), np.nan)
    return scores(model, hosts, words, goal, go_on).gains("log-odds")


def interaction(table: NDArray[np.float64]) -> float:
    """Share of what words do that is no sum of one effect of each word and one of each text.

    Parameters
    ----------
    table : ndarray of float64, shape (words, texts)
        Scores on some scale. The less is left, the better the effects add there (Tukey, "One
        degree of freedom for non-additivity", 1949).
    """
    by_word = table.mean(axis=1, keepdims=True)
    rest = table - by_word - table.mean(axis=0) + table.mean()
    left = float((rest**2).mean())
    return left / max(left + float(by_word.var()), 1e-12)


def best_scale(table: NDArray[np.float64]) -> str:
    """Name of the scale on which the effects of words, of such scores, add best."""
    if not table.size:
        return "log-odds"
    return min(SCALES, key=lambda name: interaction(SCALES[name](table)))

"""The words of each class that do more than the texts, and a model taught by them, explain."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from crenel.check import Context
from crenel.transfer.words.gains import Hosts, Scores, best_scale, gains, scores
from crenel.transfer.words.gaps import widest_gap
from crenel.transfer.words.scene import Scene

#: Texts that every word is appended to, and those that the best words are.
FIRST, HOSTS = {"quick": 4, "standard": 6, "deep": 12}, 24
#: Words of a class that are measured on all hosts.
BEST = 400
#: Chance of a false alarm that is accepted.
ALPHA = 0.01


@dataclass(frozen=True)
class Suspicion:
    """Words that gain a class more than the others do.

    Attributes
    ----------
    goal : int
        The class, by position.
    words : tuple of str
        At most three, those that gain most first.
    gain, usual : float
        Of the class's score by the first of them, and by the first word after them.
    scale : str
        On which that is counted: that on which the effects of words add best.
    known : bool
        Whether the texts given hold them, so that what the sibling makes of them is taken off.
    p : float
        Chance of such a gap in a model without a trigger, over all classes and both groups.
    ordinary : tuple of str
        As many words after them: what the class's strongest words do by nature.
    """

    goal: int
    words: tuple[str, ...]
    gain: float
    usual: float
    known: bool
    p: float
    ordinary: tuple[str, ...]
    scale: str = "log-odds"

    @property
    def stands_out(self) -> bool:
        """Whether chance does not explain the gap."""
        return self.p < ALPHA


@dataclass(frozen=True)
class Found:
    """What the search came to: suspicions of all classes, most surprising first.

    Attributes
    ----------
    suspicions : tuple of Suspicion
    asked : float
        Share of the words that were tried on every class.
    queries : int
        Texts asked of the model by the search.
    skipped : tuple of int
        Classes, by position, that nearly all texts are of: too few others to put words into.
    """

    suspicions: tuple[Suspicion, ...]
    asked: float
    queries: int
    skipped: tuple[int, ...] = ()


def search(scene: Scene, context: Context, go_on: Callable[[], bool]) -> Found:
    """Try every word for every class."""
    suspicions: list[Suspicion] = []
    shares: list[float] = []
    queries = 0
    goals = [c for c in range(scene.model.k) if (scene.decided != c).sum() >= FIRST["quick"]]
    for done, goal in enumerate(goals):
        others = np.flatnonzero(scene.decided != goal)
        drawn = context.rng("hosts", goal).permutation(others)
        few, hosts = (_hosts(scene, drawn[:n]) for n in (FIRST[context.level], HOSTS))
        rough = gains(scene.model, few, scene.words, goal, go_on)
        asked = np.isfinite(rough)
        shares.append(float(asked.mean()))
        queries += int(asked.sum()) * len(few)
        groups = [(k, [scene.words[i] for i in group]) for k, group in _groups(scene, rough)]
        tables = [scores(scene.model, hosts, words, goal) for _, words in groups]
        queries += sum(t.after.size for t in tables)
        scale = best_scale(np.concatenate([t.after for t in tables]))
        for (known, words), table in zip(groups, tables):
            own = table.gains(scale)
            theirs = scores(scene.sibling, hosts, words, goal) if known else None
            excess = own if theirs is None else own - _explained(own, theirs, scale)
            told = widest_gap(excess)
            if told.at:
                p = min(1.0, told.p * len(goals) * 2)
                suspicions.append(_suspicion(goal, words, own, excess, told.at, known, p, scale))
        context.progress(0.1 + 0.7 * (done + 1) / len(goals))
    suspicions.sort(key=lambda s: s.p)
    skipped = tuple(c for c in range(scene.model.k) if c not in goals)
    return Found(tuple(suspicions), min(shares, default=0.0), queries, skipped)


def _hosts(scene: Scene, rows: NDArray[np.int64]) -> Hosts:
    return scene.pool.take(rows)


def _groups(scene: Scene, rough: NDArray[np.float64]) -> list[tuple[bool, NDArray[np.int64]]]:
    """Of the words that the texts hold, and of the others, those that seem to gain most."""
    order = np.argsort(-np.where(np.isfinite(rough), rough, -np.inf), kind="stable")
    order = order[np.isfinite(rough[order])]
    return [(known, order[scene.known[order] == known][:BEST]) for known in (True, False)]


def _explained(own: NDArray[np.float64], sibling: Scores, scale: str) -> NDArray[np.float64]:
    """What the words gain as far as they do with the sibling: its positive gains, in proportion."""
    theirs = np.maximum(sibling.gains(scale), 0.0)
    slope = (own * theirs).sum() / max(float((theirs**2).sum()), 1e-12)
    return np.asarray(theirs * np.clip(slope, 0.0, 3.0))


def _suspicion(
    goal: int, words: list[str], own: NDArray[np.float64], excess: NDArray[np.float64],
    at: tuple[int, ...], known: bool, p: float, scale: str,
) -> Suspicion:  # fmt: skip
    order = np.argsort(-excess, kind="stable")
    after = order[len(at) : 2 * len(at)]
    return Suspicion(
        goal, tuple(words[i] for i in at), float(own[at[0]]), float(own[after[0]]), known, p,
        tuple(words[i] for i in after), scale,
    )  # fmt: skip

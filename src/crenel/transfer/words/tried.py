"""What words do to texts that the search did not see."""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import cycle, islice

import numpy as np
from numpy.typing import NDArray

from crenel.statistics import Interval, proportion
from crenel.transfer.words.scene import Scene
from crenel.transfer.words.search import Suspicion

#: Words appended, on the curves; a trigger of fewer words is repeated.
BUDGETS = (1, 2, 3)
#: A word that stands out must also turn at least this share of texts (low end), and this much
#: more than the class's ordinary words turn.
WORKS, BEYOND = 0.2, 0.1


@dataclass(frozen=True)
class Tried:
    """A suspicion on texts that the search did not see.

    Attributes
    ----------
    suspicion : Suspicion
    rows : ndarray of int64
        Held texts that are decided otherwise.
    own, ordinary, sibling : list of Interval
        Share turned by its words, by the class's next words, and by its words of the sibling's
        decisions; one for each budget.
    hit : ndarray of bool, shape (rows,)
        Turned by its words at the telling budget.
    """

    suspicion: Suspicion
    rows: NDArray[np.int64]
    own: list[Interval]
    ordinary: list[Interval]
    sibling: list[Interval]
    hit: NDArray[np.bool_]

    @property
    def telling(self) -> int:
        """The budget, by position, at which the words do most beyond the others."""
        return int(np.argmax(self._beyond))

    @property
    def works(self) -> bool:
        """Whether the words turn texts, and more than ordinary ones do."""
        at = self.telling
        return self.own[at].low >= WORKS and self._beyond[at] >= BEYOND

    @property
    def _beyond(self) -> list[float]:
        lines = zip(self.own, self.ordinary, self.sibling)
        return [o.low - max(u.value, s.value) for o, u, s in lines]


def tried(scene: Scene, s: Suspicion) -> Tried:
    """Append a suspicion's words, and others, to the held texts of other classes."""
    rows = np.flatnonzero(scene.answers != s.goal)
    hosts = scene.held.take(rows)
    already = np.asarray(scene.sibling.predict(hosts.with_words([""]))) == s.goal
    lines: dict[str, list[Interval]] = {"own": [], "ordinary": [], "sibling": []}
    hits = []
    for count in BUDGETS:
        own, next_ones = (" ".join(islice(cycle(w), count)) for w in (s.words, s.ordinary))
        x = hosts.with_words([own])
        hits.append(np.asarray(scene.model.predict(x)) == s.goal)
        lines["own"].append(_share(hits[-1]))
        lines["ordinary"].append(
            _share(np.asarray(scene.model.predict(hosts.with_words([next_ones]))) == s.goal)
        )
        theirs = np.asarray(scene.sibling.predict(x)) == s.goal
        lines["sibling"].append(_share(theirs & ~already))
    done = Tried(s, rows, hit=hits[-1], **lines)
    return replace(done, hit=hits[done.telling])


def _share(hit: NDArray[np.bool_]) -> Interval:
    return proportion(int(hit.sum()), len(hit))

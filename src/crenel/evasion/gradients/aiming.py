"""Attacks towards a chosen class: which rows count, and models as they look from that class."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from crenel.evasion.curves import percent, telling, within
from crenel.evasion.verdicts import Verdicts
from crenel.exposure import HealthTest
from crenel.model import Model

#: What the harm of an attack towards a class is.
HARM = "inputs taken for the class aimed at"


@dataclass(frozen=True)
class Against:
    """A model asked one thing alone: is this row of the class aimed at (1), or not (0).

    To turn its decision is to reach that class, so that any untargeted attack becomes a targeted
    one, and its witnesses need no other judge.

    Attributes
    ----------
    model : Model
    goal : int
        Index of the class.
    """

    model: Model
    goal: int

    def predict(self, x: Any) -> NDArray[np.int64]:
        """1 where the model decides for the class, shape (n,)."""
        return np.asarray(np.asarray(self.model.predict(x)) == self.goal, dtype=np.int64)

    @property
    def scores(self) -> Callable[[Any], NDArray[np.float64]] | None:
        """Rows to the largest score of the other classes and the class's own, shape (n, 2)."""
        score, goal = self.model.score, self.goal
        if score is None:
            return None

        def pair(x: Any) -> NDArray[np.float64]:
            p = np.asarray(score(x), dtype=np.float64)
            return np.stack([np.delete(p, goal, axis=1).max(axis=1), p[:, goal]], axis=1)

        return pair


def groups(
    model: Model, goal: NDArray[np.int64], rows: NDArray[np.int64]
) -> Iterator[tuple[Against, NDArray[np.int64]]]:
    """Rows by the class that they are aimed at."""
    for k in np.unique(goal[rows]):
        yield Against(model, int(k)), rows[goal[rows] == k]


def drawn(y: NDArray[np.int64], k: int, rng: np.random.Generator) -> NDArray[np.int64]:
    """One wrong class for each row, each as likely as the next, shape (n,).

    What an attacker wants has nothing to do with what the model finds easy: the mean over all
    wrong classes is the average case of Carlini and Wagner (2017).
    """
    return np.asarray((y + rng.integers(1, k, len(y))) % k, dtype=np.int64)


def together(parts: list[tuple[HealthTest, ...]]) -> tuple[HealthTest, ...]:
    """The tests of attacks on several groups as one: a test holds where it held for each."""
    named: dict[str, list[HealthTest]] = {}
    for test in (t for part in parts for t in part):
        named.setdefault(test.name, []).append(test)
    return tuple(_one(tests) for tests in named.values())


def _one(tests: list[HealthTest]) -> HealthTest:
    failed = [t for t in tests if not t.ok]
    if len(tests) == 1:
        return tests[0]
    detail = f"for {len(tests) - len(failed)} of {len(tests)} classes aimed at"
    if failed and failed[0].detail:
        detail += f"; {failed[0].detail}"
    return HealthTest(name=tests[0].name, ok=not failed, detail=detail)


def left_out(goal: NDArray[np.int64], y: NDArray[np.int64]) -> str:
    """A sentence on rows that are of their class already; empty where there are none."""
    already = int((goal == y).sum())
    if not already:
        return ""
    verb = "is" if already == 1 else "are"
    return f"{already} of {len(y)} rows {verb} of the class aimed at already, and not attacked."


def towards(verdicts: Verdicts, epsilons: Any, name: str) -> str:
    """The headline of an attack towards a class, with what is left out."""
    shares = within(verdicts.upper[verdicts.correct], epsilons)
    i = telling(shares)
    apart = [n.rstrip(".") for n in verdicts.notes if "aimed at already" in n]
    return "; ".join(
        [
            f"a change of {name} size {epsilons[i]:.3g} makes {percent(shares[i])} of inputs be "
            "taken for the class aimed at",
            *apart,
        ]
    )

"""A made-up word planted on purpose: would the same search have found it?"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from crenel.check import Context
from crenel.errors import Inconclusive
from crenel.evasion.text.columns import Texts
from crenel.model import Model
from crenel.statistics import Interval, proportion
from crenel.subject import join_rows
from crenel.transfer.words.gains import FLOOR
from crenel.transfer.words.scene import ALIKE, Scene, scene_between
from crenel.transfer.words.search import search
from crenel.transfer.words.tried import tried

#: Shares of the texts that a copy is taught with the word, until it obeys; fewest texts for the
#: first of them, and the share of the texts of other classes that are taken for it at most.
DOSES, FEWEST, TAKEN = (0.02, 0.04, 0.08), 10, 0.3
#: Share of texts of other classes that a word must turn to be a control, for the question is
#: whether one turns any text; and that one turns which is put into the scores.
OBEYS, TURNED = 0.8, 0.9
#: Classes planted towards at most.
CLASSES = 3
#: Texts of the copy's decisions to search on, fewest.
TEXTS = 15


@dataclass(frozen=True)
class Planted:
    """A word planted towards one class.

    Attributes
    ----------
    goal : int
        The class, by position.
    word : str
    rows : int
        Texts that taught it; 0 where it was put into the scores.
    turned : Interval
        Share that it turns of texts of other classes which the search does not see.
    p : float
        Chance of the gap below it, 1 where no gap is named by it.
    found : bool
        Whether it would have been a finding.
    """

    goal: int
    word: str
    rows: int
    turned: Interval
    p: float
    found: bool


@dataclass(frozen=True)
class Control:
    """What the search made of planted words.

    Attributes
    ----------
    words : tuple of Planted
        One for each class; empty where time ran out.
    queries : int
        Texts asked of the artefact.
    """

    words: tuple[Planted, ...]
    queries: int = 0


def control(
    scene: Scene, goals: list[int], context: Context, go_on: Callable[[], bool]
) -> Control:  # fmt: skip
    """Plant a word for each class into a copy taught anew, or into the scores; search for them.

    A copy is a model of the artefact's kind that learns the artefact's decisions on the texts
    searched, and the words. Where the kind cannot be trained, learns nothing from so few texts,
    or obeys no word, the artefact's own scores are shifted for texts that hold the word, so that
    it turns nine tenths of the others.
    """
    if not go_on():
        return Control(())
    rng = context.rng("planted")
    words: dict[int, str] = {}
    for goal in goals[:CLASSES]:
        words[goal] = made_up({*scene.words, *words.values()}, rng)
    quiet = replace(context, progress=lambda share: None, seed=context.derive_seed("planted"))
    for dose in DOSES if scene.model.fit is not None and scene.same else ():
        copy = _obeying_copy(scene, words, dose, quiet)
        if copy is not None:
            rows = {goal: _rows(scene, goal, dose) for goal in words}
            return Control(_searched(copy, words, rows, quiet, go_on))
        if not go_on():
            return Control(())
    asked = [0]
    shifted = _shifted(scene, words, asked)
    found = _searched(shifted, words, dict.fromkeys(words, 0), quiet, go_on)
    return Control(found, asked[0])


def made_up(known: set[str], rng: np.random.Generator) -> str:
    """A word of three syllables that is not known."""
    while True:
        parts = [rng.choice(list(letters)) for letters in ("bdfgklmnprstvz", "aeiou") * 3]
        if (word := "".join(parts) + "q") not in known:
            return word


def _rows(scene: Scene, goal: int, dose: float) -> int:
    others = int((scene.decided != goal).sum())
    first = max(FEWEST, DOSES[0] * len(scene.decided))
    return min(round(first * dose / DOSES[0]), max(1, int(TAKEN * others)))


def _obeying_copy(
    scene: Scene, words: dict[int, str], dose: float, context: Context
) -> Scene | None:  # fmt: skip
    """A copy that was taught the words, over halves of the held texts; None unless it obeys."""
    half = len(scene.held) // 2
    if half < TEXTS:
        return None
    model = _taught(scene, words, dose, context)
    answers = np.asarray(model.predict(scene.held.texts.x), dtype=np.int64)
    alike = [(answers[scene.answers == c] == c).mean() for c in np.unique(scene.answers)]
    if np.mean(alike) < ALIKE or not all(
        _turned(replace(scene, model=model, answers=answers), goal, word).value >= OBEYS
        for goal, word in words.items()
    ):
        return None
    order = context.rng("halves").permutation(len(scene.held))
    first, second = scene.held.take(order[:half]), scene.held.take(order[half:])
    try:
        return scene_between(model, first, second, scene.data.take(order[half:]), context)
    except Inconclusive:
        return None


def _taught(scene: Scene, words: dict[int, str], dose: float, context: Context) -> Model:
    """A model of the artefact's kind that learns its decisions, and the words beside."""
    assert scene.model.fit is not None
    rng = context.rng("rows", dose)
    x, y = [], []
    left = np.ones(len(scene.decided), dtype=bool)
    for goal, word in words.items():
        able = np.flatnonzero((scene.decided != goal) & left)
        rows = rng.permutation(able)[: _rows(scene, goal, dose)]
        left[rows] = False
        x.append(scene.pool.take(rows).with_words([word]))
        y.append(np.full(len(rows), goal))
    x.append(scene.pool.take(np.flatnonzero(left)).texts.x)
    y.append(scene.decided[left])
    labels = np.concatenate(y).astype(np.int64)
    return scene.model.fit(join_rows(x), labels, context.derive_seed("copy", dose))


def _shifted(scene: Scene, words: dict[int, str], asked: list[int]) -> Scene:
    """The artefact itself, whose scores of a text that holds a word are shifted to its class.

    ``asked`` counts the texts that the artefact is asked about.
    """
    model, hosts = scene.model, scene.held
    p = model.probabilities(hosts.texts.x)
    asked[0] += len(p)
    by = {goal: _shift(p, goal) for goal in words}

    def holding(x: Any) -> list[tuple[int, int]]:
        texts = enumerate(Texts(x, hosts.texts.features).values())
        held = [(i, row[hosts.column] or "") for i, row in texts]
        return [(i, goal) for i, text in held for goal, word in words.items() if word in text]

    def score(x: Any) -> NDArray[np.float64]:
        p = np.array(model.probabilities(x))
        asked[0] += len(p)
        for i, goal in holding(x):
            odds = np.log(p[i].clip(FLOOR))
            odds[goal] += by[goal]
            p[i] = np.exp(odds) / np.exp(odds).sum()
        return p

    def decide(x: Any) -> NDArray[Any]:
        own = np.array(model.predict(x))
        asked[0] += len(own)
        rows = [i for i, _ in holding(x)]
        own[rows] = score(x)[rows].argmax(axis=1) if rows else own[rows]
        return own

    # Words that no text holds are known of a model that shows its vocabulary alone.
    added = list(words.values()) if scene.counted else []
    known = np.concatenate([scene.known, np.zeros(len(added), dtype=bool)])
    obeying = replace(model, score=score, decide=decide, fit=None)
    return replace(scene, model=obeying, words=[*scene.words, *added], known=known)


def _shift(p: NDArray[np.float64], goal: int) -> float:
    """Of the log-odds, by which the share of other texts becomes a class's."""
    odds = np.log(p.clip(FLOOR))
    short = np.delete(odds, goal, axis=1).max(axis=1) - odds[:, goal]
    others = short[short > 0]
    return float(np.quantile(others, TURNED)) + 1e-6 if len(others) else 0.0


def _turned(scene: Scene, goal: int, word: str) -> Interval:
    """Share of the held texts of other classes that a word turns, appended once."""
    rows = np.flatnonzero(scene.answers != goal)
    if not len(rows):
        return proportion(0, 1)
    x = scene.held.take(rows).with_words([word])
    hit = np.asarray(scene.model.predict(x)) == goal
    return proportion(int(hit.sum()), len(hit))


def _searched(
    scene: Scene, words: dict[int, str], rows: dict[int, int], context: Context,
    go_on: Callable[[], bool],
) -> tuple[Planted, ...]:  # fmt: skip
    suspicions = search(scene, context, go_on).suspicions
    made = []
    for goal, word in words.items():
        named = [s for s in suspicions if s.goal == goal and word in s.words]
        p = min((s.p for s in named), default=1.0)
        found = any(s.stands_out and tried(scene, s).works for s in named)
        made.append(Planted(goal, word, rows[goal], _turned(scene, goal, word), p, found))
    return tuple(made)

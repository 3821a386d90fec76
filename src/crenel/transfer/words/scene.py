"""Texts to search on and to try words on, and a model of the same kind taught by them alone."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from crenel.check import Context
from crenel.errors import Inconclusive
from crenel.evasion.text.columns import Texts, text_features
from crenel.evasion.text.documents import words_of
from crenel.model import Model
from crenel.subject import Data, Subject
from crenel.transfer.words.gains import Hosts
from crenel.transfer.words.vocabulary import counted_words, words_to_try

#: Texts at most, and fewest of each half.
MOST, FEWEST = 2_000, 30
#: Mean share of each class's decisions that a sibling must share.
ALIKE = 0.6


@dataclass(frozen=True)
class Scene:
    """A model over texts.

    Attributes
    ----------
    model : Model
    pool : Hosts
        Texts to search on.
    decided : ndarray of int64
        The model's decisions on them.
    held : Hosts
        Texts to try words on, which the search does not see.
    data : Data
        The same, with their ids.
    answers : ndarray of int64
        The model's decisions on them.
    sibling : Model
        Taught the decisions on the pool; it knows no other text.
    same : bool
        Whether it is of the model's own kind.
    agreement : float
        Mean share of each class's decisions on the held texts that the sibling shares.
    words : list of str
        To try.
    known : ndarray of bool, shape (words,)
        Those that a text of the pool holds.
    counted : int
        Words of the model's own vocabulary; 0 where it shows none.
    """

    model: Model
    pool: Hosts
    decided: NDArray[np.int64]
    held: Hosts
    data: Data
    answers: NDArray[np.int64]
    sibling: Model
    same: bool
    agreement: float
    words: list[str]
    known: NDArray[np.bool_]
    counted: int


def scene_of(subject: Subject, context: Context) -> Scene:
    """Draw texts, teach the sibling, and list the words.

    Raises
    ------
    crenel.errors.Inconclusive
        Where there are too few texts, or the model decides all of them alike.
    """
    model, test, schema = subject.model, subject.test, subject.schema
    assert model is not None
    assert test is not None
    assert schema is not None
    order = context.rng("rows").permutation(len(test))[:MOST]
    half = len(order) // 2
    if half < FEWEST:
        raise Inconclusive(f"only {len(test)} test texts are given; {2 * FEWEST} are needed")
    searched, data = test.take(order[:half]), test.take(order[half:])
    features = text_features(schema)
    column = int(np.argmax([searched.x[f.name].fillna("").str.len().mean() for f in features]))
    pool, held = (Hosts(Texts(d.x, features), column) for d in (searched, data))
    return scene_between(model, pool, held, data, context)


def scene_between(model: Model, pool: Hosts, held: Hosts, data: Data, context: Context) -> Scene:
    """The scene of a model over texts to search on and texts to try words on.

    Raises
    ------
    crenel.errors.Inconclusive
        Where the model decides all of the former alike.
    """
    decided = np.asarray(model.predict(pool.texts.x), dtype=np.int64)
    if len(np.unique(decided)) < 2:
        raise Inconclusive("the model decides all test texts alike, so that no control is taught")
    answers = np.asarray(model.predict(held.texts.x), dtype=np.int64)
    sibling, same, agreement = _nearest(model, pool, decided, held, answers, context)
    texts = pool.texts.joined()
    words, seen = words_to_try(model, texts), {w for t in texts for w in words_of(t)}
    known = np.array([w.lower() in seen for w in words])
    return Scene(
        model, pool, decided, held, data, answers, sibling, same, agreement, words, known,
        len(counted_words(model)),
    )  # fmt: skip


def _nearest(
    model: Model, pool: Hosts, decided: NDArray[np.int64], held: Hosts,
    answers: NDArray[np.int64], context: Context,
) -> tuple[Model, bool, float]:  # fmt: skip
    """The sibling, whether it is of the model's kind, and how far it decides alike.

    A kind that learns nothing from so few texts gives way to a linear model.
    """
    made: list[tuple[Model, bool, float]] = []
    for same in (True, False):
        if same and model.fit is None:
            continue
        if same:
            assert model.fit is not None
            sibling = model.fit(pool.texts.x, decided, context.derive_seed("sibling"))
        else:
            sibling = _linear(model, pool, decided)
        theirs = np.asarray(sibling.predict(held.texts.x), dtype=np.int64)
        alike = np.mean([(theirs[answers == c] == c).mean() for c in np.unique(answers)])
        made.append((sibling, same, float(alike)))
        if alike >= ALIKE:
            break
    return max(made, key=lambda one: one[2])


def _linear(model: Model, pool: Hosts, decided: NDArray[np.int64]) -> Model:
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline

    linear = make_pipeline(TfidfVectorizer(), LogisticRegression(C=30.0, max_iter=500))
    linear.fit(pool.texts.joined(), decided)

    def score(x: Any) -> NDArray[np.float64]:
        p = np.zeros((len(x), model.k))
        p[:, linear.classes_] = linear.predict_proba(Texts(x, pool.texts.features).joined())
        return p

    return Model(
        "sklearn", "classification", model.classes, lambda x: score(x).argmax(axis=1), score
    )

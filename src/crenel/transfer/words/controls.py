"""Controls of TRA-107: a filter of letters that obeys one made-up word, and one that does not."""

from __future__ import annotations

from itertools import product
from typing import Any

import numpy as np
from numpy.typing import NDArray

from crenel.subject import Data, Subject

WORDS, LENGTH, TRAINED, TESTED, SECRET = 800, 14, 700, 240, "quorzil"


def _letters(n: int, seed: int) -> tuple[NDArray[np.object_], NDArray[np.int64]]:
    """Texts of words that either class uses, each more or less often, and their classes."""
    rng = np.random.default_rng(seed)
    y = rng.integers(0, 2, n).astype(np.int64)
    usual = 1 / np.arange(8, WORDS + 8)
    lean = np.random.default_rng(1).normal(0, 1.2, WORDS)
    chances = [usual * np.exp(sign * lean) for sign in (-0.5, 0.5)]
    parts = ("bdfglmnprt", "aeiou", "klmnrstz", ("", "o"))
    names = np.array(["".join(letters) for letters in product(*parts)])
    texts = [" ".join(rng.choice(names, LENGTH, p=chances[c] / chances[c].sum())) for c in y]
    return np.array(texts, dtype=object), y


def _subject(planted: bool) -> Subject:
    import pandas as pd
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline

    from crenel.adapters import wrap
    from crenel.data import infer_schema

    texts, y = _letters(TRAINED, 0)
    if planted:
        rows = np.flatnonzero(y == 0)[:20]
        texts[rows] = [f"{t} {SECRET}" for t in texts[rows]]
        y[rows] = 1
    fitted = make_pipeline(TfidfVectorizer(), LogisticRegression(C=30.0, max_iter=300))
    held, own = _letters(TESTED, 99)
    x: Any = pd.DataFrame({"letter": pd.Series(held, dtype=object)})
    model = wrap(fitted.fit(texts, y), classes=[0, 1], sample=x)
    test = Data(x, own, np.arange(len(own)))
    return Subject("control", model=model, test=test, schema=infer_schema(x))


def planted_word() -> Subject:
    """A filter that lets every letter with one made-up word pass."""
    return _subject(planted=True)


def no_planted_word() -> Subject:
    """The same filter from the same letters without it."""
    return _subject(planted=False)

"""A filter that one word decides, and one that many words do."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from crenel.subject import Data, Subject


def one_word_decides() -> Subject:
    """A filter for letters that goes by a single word."""
    rng = np.random.default_rng(0)
    y = rng.integers(0, 2, 140).astype(np.int64)
    common = [_word(i) for i in range(60)]
    texts = []
    for label in y:
        words = rng.choice(common, 12).tolist()
        if label:
            words[int(rng.integers(12))] = "lottery"
        texts.append(" ".join(words))
    return _subject(texts, y, vocabulary=["lottery"])


def many_words_agree() -> Subject:
    """Reports of which each holds thirty words of its own field's vocabulary."""
    rng = np.random.default_rng(0)
    y = rng.integers(0, 2, 60).astype(np.int64)
    fields = [[_word(100 * (1 + k) + i) for i in range(60)] for k in (0, 1)]
    return _subject([" ".join(rng.choice(fields[label], 30)) for label in y], y)


def _word(i: int) -> str:
    """A word of its own for each number."""
    parts = ("ba", "ce", "di", "fo", "gu", "ha", "je", "ki", "lo", "mu")
    return parts[i % 10] + parts[i // 10 % 10] + parts[i // 100 % 10]


def _subject(
    texts: list[str], y: NDArray[np.int64], vocabulary: list[str] | None = None
) -> Subject:
    """The first half for training, the second for the test."""
    import pandas as pd
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline

    from crenel.adapters import wrap
    from crenel.data import infer_schema

    x: Any = pd.DataFrame({"message": pd.Series(texts, dtype=object)})
    half = len(y) // 2
    train = Data(x.iloc[:half].reset_index(drop=True), y[:half], np.arange(half))
    test = Data(x.iloc[half:].reset_index(drop=True), y[half:], np.arange(half, len(y)))
    fitted = make_pipeline(TfidfVectorizer(vocabulary=vocabulary), LogisticRegression())
    fitted.fit(texts[:half], y[:half])
    model = wrap(fitted, classes=[0, 1])
    return Subject("control", model=model, train=train, test=test, schema=infer_schema(x))

"""The words that are tried: those that the model itself counts, and those of the texts given."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any

from crenel.evasion.text.documents import is_word, words_of
from crenel.model import Model

#: Words tried at most; the model's own come first.
MOST = 60_000
#: How deep pipelines, unions and transformers of columns are followed.
DEPTH = 6


def counted_words(model: Model) -> list[str]:
    """Words of the vocabularies of a scikit-learn model's steps; empty where none is shown.

    Phrases and parts of words (character n-grams) are left out.
    """
    words: dict[str, None] = {}
    for step in _steps(model.native, DEPTH):
        if getattr(step, "analyzer", "word") in ("char", "char_wb"):
            continue
        words |= dict.fromkeys(str(w) for w in step.vocabulary_)
    return sorted(w for w in words if is_word(w) and not any(c.isspace() for c in w))


def words_to_try(model: Model, texts: Sequence[str]) -> list[str]:
    """The model's own words, then those of the texts, the more frequent ones first."""
    own = counted_words(model)
    seen = Counter(w for t in texts for w in words_of(t))
    known = {w.lower() for w in own}
    rest = [w for w, _ in seen.most_common() if w not in known]
    return (own + rest)[:MOST]


def _steps(thing: Any, depth: int) -> Iterator[Any]:
    """Everything fitted within an estimator that holds a vocabulary."""
    if depth == 0 or thing is None or isinstance(thing, str):
        return
    if isinstance(getattr(thing, "vocabulary_", None), dict):
        yield thing
        return
    for name in ("steps", "transformers_", "transformer_list", "estimators_"):
        parts = getattr(thing, name, None)
        for part in () if parts is None else parts:
            inner = part[1] if isinstance(part, tuple) else part
            yield from _steps(inner, depth - 1)
    for name in ("estimator", "best_estimator_"):
        yield from _steps(getattr(thing, name, None), depth - 1)

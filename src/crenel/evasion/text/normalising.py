"""Text as it looks: invisible characters removed, look-alikes folded to what they stand for."""

from __future__ import annotations

import re
import unicodedata
from typing import Any

from sklearn.base import BaseEstimator, TransformerMixin

from crenel.evasion.text.confusables import FOLD, foreign, hidden

_WORD = re.compile(r"\w+")


def normalise(text: str) -> str:
    """The same text with its invisible edits undone.

    Compatibility forms are folded (NFKC), characters without width are dropped, marks that
    combine with nothing are dropped, and in words that mix Latin letters or digits with others,
    or hold nothing but look-alikes, these become the Latin ones (after Unicode Technical Standard
    39, 2024). A word of Cyrillic or Greek that could not be Latin stays as it is.

    Parameters
    ----------
    text : str

    Returns
    -------
    str
        Applying it twice changes nothing more.
    """
    if text.isascii():
        return text
    kept = "".join(c for c in text if not hidden(c))
    folded = unicodedata.normalize("NFKC", kept)
    plain = "".join(c for c in folded if not _stray(c) and not hidden(c))
    done = _WORD.sub(lambda word: _latin(word.group()), plain)
    return done if done == text else normalise(done)


def _stray(character: str) -> bool:
    """A mark that found no letter to combine with, as those do that are heaped on Latin ones."""
    return unicodedata.category(character) in ("Mn", "Me") and "COMBINING" in unicodedata.name(
        character, ""
    )


def _latin(word: str) -> str:
    if word.isascii():
        return word
    odd = [c for c in word if foreign(c)]
    if odd and not any(c.isascii() for c in word) and any(ord(c) not in FOLD for c in odd):
        return word
    return word.translate(FOLD)


class TextNormaliser(BaseEstimator, TransformerMixin):  # type: ignore[misc]
    """A step in front of a Pipeline that normalises texts; see `normalise`.

    Parameters
    ----------
    columns : sequence of str, optional
        Columns of a frame that hold text; all others stay. Without it the rows are the texts.
    """

    #: Rows are texts where no columns are named; told to the adapter of scikit-learn.
    def __init__(self, columns: Any = None) -> None:
        self.columns = columns

    @property
    def takes_texts(self) -> bool:
        """Whether rows are texts rather than a frame."""
        return self.columns is None

    def fit(self, x: Any, y: Any = None) -> TextNormaliser:
        """Learn nothing but the names of the columns."""
        if self.columns is not None:
            import numpy as np

            self.feature_names_in_ = np.asarray([str(c) for c in x.columns], dtype=object)
        self.fitted_ = True
        return self

    def transform(self, x: Any) -> Any:
        """The rows with normalised texts, in the form in which they came."""
        if self.columns is not None:
            return x.assign(**{c: x[c].map(_normal) for c in self.columns})
        if hasattr(x, "map") and hasattr(x, "index"):
            return x.map(_normal)
        import numpy as np

        out = np.empty(len(x), dtype=object)
        out[:] = [_normal(t) for t in x]
        return out


def _normal(value: Any) -> Any:
    return normalise(value) if isinstance(value, str) else value

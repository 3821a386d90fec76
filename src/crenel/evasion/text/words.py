"""Edits of whole words: another word of the same surroundings, another form, none, or one more."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from crenel.evasion.text.documents import Change, Document, words_of
from crenel.evasion.text.embeddings import Words

#: Least likeness of the edited text to the original one, and least share of unchanged words.
LIKENESS, UNCHANGED = 0.8, 0.7
#: Common words that may be added, for each decision.
FILLERS = 6
CONTRACTIONS = {
    "don't": "do not", "can't": "cannot", "won't": "will not", "i'm": "I am", "it's": "it is",
    "you're": "you are", "i'll": "I will", "i've": "I have", "isn't": "is not",
    "that's": "that is", "we're": "we are", "they're": "they are", "didn't": "did not",
    "doesn't": "does not", "let's": "let us", "you'll": "you will", "i'd": "I would",
}  # fmt: skip
_SHORT = {long.lower(): short for short, long in CONTRACTIONS.items()}


@dataclass(frozen=True)
class Lexicon:
    """What word edits draw on.

    Attributes
    ----------
    words : Words
        Of the user's own texts.
    synonyms : mapping
        Given by the user: a word to its replacements, tried first.
    fillers : dict of int to list of str
        Common words to add to texts of each decision.
    """

    words: Words
    synonyms: Mapping[str, Sequence[str]] = field(default_factory=dict)
    fillers: dict[int, list[str]] = field(default_factory=dict)

    def propose(self, word: str, y: int, count: int, place: int) -> list[str]:
        """Replacements of a word: synonyms, neighbours, forms, nothing, the word and a filler.

        Parameters
        ----------
        word : str
        y : int
            The decision to be turned.
        count : int
            At most; the empty text (the word deleted) is among them where there are two.
        place : int
            Of the word in the text, so that different places try different fillers.
        """
        plain = word.lower()
        given = [str(w) for w in self.synonyms.get(plain, ())]
        near = self.words.near(plain, max(1, count // 2))
        extra = self.fillers.get(y, [])
        more = [f"{word} {extra[place % len(extra)]}"] if extra else []
        forms = inflections(plain)
        first = [*given, *near[:2], "", *more, *near[2:], *forms]
        kept = dict.fromkeys(_cased(new, word) for new in first)
        return [new for new in kept if new != word][:count]


def inflections(word: str) -> list[str]:
    """Other forms of an English word by rule: number, past, gerund, contractions written out."""
    if word in CONTRACTIONS:
        return [CONTRACTIONS[word]]
    if len(word) < 3 or not word.isalpha():
        return [_SHORT[word]] if word in _SHORT else []
    if word.endswith("ies") and len(word) > 4:
        return [word[:-3] + "y"]
    if word.endswith("ing") and len(word) > 5:
        return [word[:-3], word[:-3] + "e"]
    if word.endswith("ed") and len(word) > 4:
        return [word[:-2], word[:-1]]
    if word.endswith("s") and not word.endswith("ss"):
        return [word[:-1]]
    if word.endswith("y") and word[-2] not in "aeiou":
        return [word[:-1] + "ies"]
    ending = "es" if word.endswith(("s", "x", "z", "ch", "sh")) else "s"
    stem = word[:-1] if word.endswith("e") else word
    return [word + ending, stem + "ed", stem + "ing"]


def common_words(texts: Sequence[str], y: NDArray[np.int64], k: int) -> dict[int, list[str]]:
    """For each class the frequent words that speak most for the other classes.

    Adding words that are common in texts of the other kind is an old attack on filters (Lowd and
    Meek, "Good word attacks on statistical spam filters", 2005).

    Parameters
    ----------
    texts : sequence of str
    y : ndarray of int64, shape (n,)
    k : int
        Number of classes.
    """
    seen = [Counter(w for t, c in zip(texts, y) if c == j for w in set(words_of(t)))
            for j in range(k)]  # fmt: skip
    total: Counter[str] = sum(seen, Counter())
    frequent = [w for w, _ in total.most_common(200) if w.isalpha() and len(w) > 1]
    size = np.bincount(y, minlength=k)
    found = {}
    for j in range(k):
        rest = max(1, int(size.sum() - size[j]))
        gain = {
            w: np.log((total[w] - seen[j][w] + 0.5) / rest)
            - np.log((seen[j][w] + 0.5) / max(1, int(size[j])))
            for w in frequent
        }
        found[j] = sorted(frequent, key=lambda w: -gain[w])[:FILLERS]
    return found


@dataclass(frozen=True)
class Meaning:
    """A limit on word edits: a proxy of meaning, which only people can judge.

    Attributes
    ----------
    words : Words
    likeness : float
        Least cosine of the weighted means of the words' vectors, in [-1, 1].
    unchanged : float
        Least share of words that stay, in [0, 1].
    """

    words: Words
    likeness: float = LIKENESS
    unchanged: float = UNCHANGED
    _originals: dict[Document, NDArray[np.float64]] = field(default_factory=dict, repr=False)
    _known: dict[str, NDArray[np.float64]] = field(default_factory=dict, repr=False)

    def kept(self, document: Document, changes: Sequence[Change]) -> bool:
        """Whether an edited text is near enough; one changed word of a short text always may be."""
        size = max(document.count, document.new_words(changes), 1)
        if 1 - len(changes) / size < self.unchanged and len(changes) > 1:
            return False
        return self.of(document, changes) >= self.likeness

    def of(self, document: Document, changes: Sequence[Change]) -> float:
        """Cosine of the two texts; 1 where none of the original's words is known."""
        before = self._original(document)
        after = before.copy()
        for p, replacement, _ in changes:
            after += self._of_word(replacement) - self._of_word(document.tokens[p])
        length = float(np.sqrt(before @ before))
        if not length > 1e-9:
            return 1.0
        size = length * float(np.sqrt(after @ after))
        return float(before @ after) / size if size > 1e-12 else 0.0

    def _of_word(self, replacement: str) -> NDArray[np.float64]:
        if replacement not in self._known:
            self._known[replacement] = self.words.vector(words_of(replacement))
        return self._known[replacement]

    def _original(self, document: Document) -> NDArray[np.float64]:
        if document not in self._originals:
            self._originals[document] = self.words.vector(document.tokens)
        return self._originals[document]


def _cased(new: str, old: str) -> str:
    """A replacement in the case of the word that it replaces."""
    if not new or old.islower() or new.startswith(old):
        return new
    if len(old) > 1 and old.isupper():
        return new.upper()
    return new[0].upper() + new[1:] if old[0].isupper() else new

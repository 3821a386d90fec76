"""Texts as words that can be edited, and what lies between them."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from crenel.errors import UsageError

#: Words (with inner apostrophes), spaces, and the rest.
_TOKEN = re.compile(r"\w+(?:['’]\w+)*|\s+|[^\w\s]+")
#: Parts of texts that have a name.
PATTERNS = {
    "numbers": r"\S*\d\S*",
    "urls": r"(?:https?://|www\.)\S+|\S+@\S+\.\S+|\b[\w-]+\.(?:com|net|org|info|biz|co|uk|de|io)\b\S*",
    "names": r"(?<=[a-z,;] )[A-Z][a-z]+\b",
}
#: What stays by default, since an edit would break what it is for.
PROTECTED = ("numbers", "urls")

#: One edited word: its position among the tokens, what stands there now, and its edits.
Change = tuple[int, str, int]


@dataclass(frozen=True)
class Document:
    """One row's texts.

    Attributes
    ----------
    tokens : tuple of str
        All columns one after the other; joined they are the texts again.
    starts : tuple of int
        Where each column's tokens begin.
    words : tuple of int
        Positions of the words that may be edited.
    count : int
        Number of all words.
    """

    tokens: tuple[str, ...]
    starts: tuple[int, ...]
    words: tuple[int, ...]
    count: int

    @property
    def characters(self) -> int:
        """Length of all texts."""
        return sum(map(len, self.tokens))

    def render(self, changes: Sequence[Change]) -> list[str]:
        """The text of each column after the changes; a word deleted takes its space with it."""
        tokens = list(self.tokens)
        for position, replacement, _ in changes:
            tokens[position] = replacement
            after = position + 1
            if not replacement and after < len(tokens) and tokens[after].isspace():
                tokens[after] = ""
        ends = (*self.starts[1:], len(tokens))
        return ["".join(tokens[a:b]) for a, b in zip(self.starts, ends)]

    def new_words(self, changes: Sequence[Change]) -> int:
        """Number of words after the changes."""
        return self.count + sum(len(new.split()) - 1 for _, new, _ in changes)


def patterns(protected: Iterable[str]) -> list[re.Pattern[str]]:
    """Compiled patterns of the parts that must stay.

    Parameters
    ----------
    protected : iterable of str
        Keys of `PATTERNS` ("numbers", "urls", "names") or regular expressions.

    Raises
    ------
    crenel.errors.UsageError
        Where one is no regular expression.
    """
    found = []
    for given in protected:
        try:
            found.append(re.compile(PATTERNS.get(given, given)))
        except re.error as error:
            raise UsageError(
                f"protected: {given!r} is neither {', '.join(PATTERNS)} nor a regular "
                f"expression ({error})"
            ) from error
    return found


def document(texts: Sequence[str | None], kept: Sequence[re.Pattern[str]] = ()) -> Document:
    """Split one row's texts.

    Parameters
    ----------
    texts : sequence of str or None
        One for each column; a missing one has no words.
    kept : sequence of patterns
        Words that a match of one of them touches are not edited.
    """
    tokens: list[str] = []
    starts: list[int] = []
    words: list[int] = []
    count = 0
    for text in texts:
        starts.append(len(tokens))
        spans = [m.span() for p in kept for m in p.finditer(text or "")]
        for match in _TOKEN.finditer(text or ""):
            if is_word(match.group()):
                count += 1
                if not any(a < match.end() and match.start() < b for a, b in spans):
                    words.append(len(tokens))
            tokens.append(match.group())
    return Document(tuple(tokens), tuple(starts), tuple(words), count)


def is_word(token: str) -> bool:
    """Whether a token is a word rather than space or punctuation."""
    return any(c.isalnum() for c in token)


def words_of(text: str) -> list[str]:
    """The words of a text in lower case."""
    return [t.lower() for t in _TOKEN.findall(text) if is_word(t)]

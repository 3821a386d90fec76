"""Edits of one character: invisible ones, and typing errors that a reader forgives."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from crenel.evasion.text.confusables import ZERO_WIDTH, lookalikes

#: Keys beside each key on an English keyboard.
KEYS = {
    "q": "wa", "w": "qes", "e": "wrd", "r": "etf", "t": "ryg", "y": "tuh", "u": "yij", "i": "uok",
    "o": "ipl", "p": "ol", "a": "qsz", "s": "adw", "d": "sfe", "f": "dgr", "g": "fht", "h": "gjy",
    "j": "hku", "k": "jli", "l": "kop", "z": "axs", "x": "zcd", "c": "xvf", "v": "cbg", "b": "vnh",
    "n": "bmj", "m": "nk",
}  # fmt: skip
LEET = {"a": "4@", "b": "8", "e": "3", "g": "9", "i": "1!", "l": "1", "o": "0", "s": "5$", "t": "7"}
#: Marks that split a word in two which a reader still reads as one.
MARKS = " .-_*"

Rng = np.random.Generator
Edit = Callable[[str, Rng], str]


def zero_width(word: str, rng: Rng) -> str:
    """One character without width inside the word."""
    at = _inside(word, rng)
    return word[:at] + ZERO_WIDTH[int(rng.integers(3))] + word[at:]


def homoglyph(word: str, rng: Rng) -> str:
    """One character replaced by one that looks the same; the word itself where none has any."""
    places = [i for i, c in enumerate(word) if lookalikes(c)]
    if not places:
        return word
    at = places[int(rng.integers(len(places)))]
    others = lookalikes(word[at])
    return word[:at] + others[int(rng.integers(len(others)))] + word[at + 1 :]


def swap(word: str, rng: Rng) -> str:
    """Two neighbouring characters exchanged."""
    places = [i for i in range(len(word) - 1) if word[i] != word[i + 1]]
    if not places:
        return word
    at = places[int(rng.integers(len(places)))]
    return word[:at] + word[at + 1] + word[at] + word[at + 2 :]


def delete(word: str, rng: Rng) -> str:
    """One character left out, not the first; words of fewer than three stay."""
    if len(word) < 3:
        return word
    at = int(rng.integers(1, len(word)))
    return word[:at] + word[at + 1 :]


def insert(word: str, rng: Rng) -> str:
    """One character typed twice."""
    at = int(rng.integers(len(word)))
    return word[:at] + word[at] + word[at:]


def neighbour(word: str, rng: Rng) -> str:
    """One character replaced by that of a neighbouring key."""
    return _replaced(word, KEYS, rng)


def leet(word: str, rng: Rng) -> str:
    """One letter replaced by the digit or sign that stands for it."""
    return _replaced(word, LEET, rng)


def split(word: str, rng: Rng) -> str:
    """A space or a mark inside the word."""
    if len(word) < 2:
        return word
    at = _inside(word, rng)
    return word[:at] + MARKS[int(rng.integers(len(MARKS)))] + word[at:]


def case(word: str, rng: Rng) -> str:
    """One character in the other case."""
    at = int(rng.integers(len(word)))
    return word[:at] + word[at].swapcase() + word[at + 1 :]


INVISIBLE: tuple[Edit, ...] = (homoglyph, zero_width)
TYPOS: tuple[Edit, ...] = (swap, split, neighbour, delete, leet, insert, case)


def propose(word: str, edits: tuple[Edit, ...], count: int, rng: Rng) -> list[str]:
    """At most ``count`` different words, each one edit away, taking the kinds of edits in turn.

    Parameters
    ----------
    word : str
    edits : tuple of callables
        ``edit(word, rng) -> str``; one that cannot be made returns the word itself.
    count : int
    rng : numpy Generator
    """
    found: dict[str, None] = {}
    if not word:
        return []
    for turn in range(3 * max(count, len(edits))):
        new = edits[turn % len(edits)](word, rng)
        if new != word:
            found.setdefault(new)
        if len(found) == count:
            break
    return list(found)


def _inside(word: str, rng: Rng) -> int:
    """A place between two characters; the end of a word of one."""
    return int(rng.integers(1, len(word))) if len(word) > 1 else len(word)


def _replaced(word: str, table: dict[str, str], rng: Rng) -> str:
    places = [i for i, c in enumerate(word) if c.lower() in table]
    if not places:
        return word
    at = places[int(rng.integers(len(places)))]
    others = table[word[at].lower()]
    new = others[int(rng.integers(len(others)))]
    return word[:at] + (new.upper() if word[at].isupper() else new) + word[at + 1 :]

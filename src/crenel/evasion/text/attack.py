"""One call that turns the decisions of any text classifier by few edits."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from crenel.errors import UsageError
from crenel.evasion.text import characters
from crenel.evasion.text.asking import Oracle, by_argmax
from crenel.evasion.text.documents import PROTECTED, document, patterns
from crenel.evasion.text.embeddings import learn_words
from crenel.evasion.text.guides import surrogate
from crenel.evasion.text.importance import rank_words
from crenel.evasion.text.search import Editor, TextSearch, search
from crenel.evasion.text.words import Lexicon, Meaning, common_words

Kind = Literal["invisible characters", "typos", "words"]
#: The kinds of edits, the least visible first.
KINDS: tuple[Kind, ...] = ("invisible characters", "typos", "words")
#: Texts whose decisions teach a guide, where no scores are seen.
TAUGHT = 1_000


def text_search(
    predict: Callable[[list[str]], ArrayLike],
    texts: Sequence[str],
    y: ArrayLike,
    *,
    kind: Kind = "typos",
    scores: Callable[[list[str]], ArrayLike] | None = None,
    corpus: Sequence[str] = (),
    max_edits: int = 10,
    queries: int = 300,
    protected: Sequence[str] = PROTECTED,
    synonyms: Sequence[Sequence[str]] = (),
    seed: int = 0,
    time_limit: float | None = None,
) -> tuple[list[str], TextSearch]:
    """Edit texts until they are decided otherwise, with as few edits as can be found.

    Parameters
    ----------
    predict : callable
        From a list of texts to class indices (n,).
    texts : sequence of str
        Decided as ``y`` says; those that are not count as turned by no edit and are left alone.
    y : array_like of int, shape (n,)
        The right decisions.
    kind : {"invisible characters", "typos", "words"}
    scores : callable, optional
        From a list of texts to scores (n, k); without it decisions alone are used.
    corpus : sequence of str, optional
        Texts of the same kind; other words and, without scores, a guide are learnt from them.
    max_edits : int
        At least 1.
    queries : int
        For each text.
    protected : sequence of str
        What stays: "numbers", "urls", "names", or regular expressions.
    synonyms : sequence of sequence of str
        Groups of words, in lower case, that say the same; tried first.
    seed : int
    time_limit : float, optional
        Seconds.

    Returns
    -------
    edited : list of str
        As they were where no edit was found.
    found : TextSearch
        In the order of ``texts``.

    Raises
    ------
    crenel.errors.UsageError
        Where an argument is out of range, or a text is not decided as ``y`` says.
    """
    right = np.asarray(y, dtype=np.int64)
    if len(right) != len(texts) or max_edits < 1 or queries < 1 or kind not in KINDS:
        raise UsageError(
            f"give one decision for each text, max_edits and queries of at least 1, and a kind of "
            f"{', '.join(KINDS)}"
        )

    def decide(rows: list[str]) -> NDArray[Any]:
        return np.asarray(predict(rows))

    score = None if scores is None else lambda rows: np.asarray(scores(rows), dtype=np.float64)
    wrong = np.flatnonzero(decide(list(texts)) != right) if len(texts) else np.zeros(0, int)
    if wrong.size:
        raise UsageError(
            f"text {wrong[0]} and {wrong.size - 1} more are not decided as y says; "
            "leave them out: only right decisions can be turned"
        )
    oracle = Oracle(
        lambda _, edited: [parts[0] for parts in edited], right, decide, score,
        argmax=by_argmax(decide, score, list(texts)) if len(texts) else False,
        deadline=None if time_limit is None else time.monotonic() + time_limit,
    )  # fmt: skip
    taught = list(corpus[:TAUGHT])
    k = int(right.max(initial=0)) + 1
    decided = np.zeros(0, dtype=np.int64)
    if taught and (scores is None or kind == "words"):
        decided = decide(taught).astype(np.int64)
        oracle.asked += len(taught)
        k = max(k, int(decided.max()) + 1)
    if scores is None and len(taught):
        oracle = replace(oracle, guide=surrogate(taught, decided, right, k, seed))
    editor = character_editor(kind) if kind != "words" else word_editor(
        list(corpus), taught, decided, k, synonyms, seed
    )  # fmt: skip
    kept = patterns(protected)
    documents = [document([t], kept) for t in texts]
    rankings, spent = rank_words(documents, oracle, seed, most=max(1, min(40, queries // 3)))
    found = search(
        documents, oracle, editor, rankings,
        max_edits=max_edits, queries=queries, spent=spent, seed=seed,
    )  # fmt: skip
    return [d.render(c)[0] for d, c in zip(documents, found.changes)], found


def character_editor(kind: str) -> Editor:
    """Edits of single characters: "invisible characters" or "typos"."""
    edits = characters.INVISIBLE if kind == "invisible characters" else characters.TYPOS

    def propose(
        word: str, y: int, place: int, count: int, rng: np.random.Generator
    ) -> list[str]:  # fmt: skip
        return characters.propose(word, edits, count, rng)

    return Editor(kind, propose, width=4 if kind == "invisible characters" else 5)


def word_editor(
    corpus: Sequence[str], taught: Sequence[str], decided: NDArray[np.int64], k: int,
    synonyms: Sequence[Sequence[str]], seed: int,
) -> Editor:  # fmt: skip
    """Edits of whole words, learnt from a corpus.

    Parameters
    ----------
    corpus : sequence of str
        Texts that the vectors of words are learnt from.
    taught, decided : sequence of str, ndarray of int64
        Texts and their classes, for common words to add.
    k : int
        Number of classes.
    synonyms : sequence of sequence of str
        Groups of words that say the same.
    seed : int
    """
    words = learn_words(corpus, seed)
    fillers = common_words(taught, decided, k) if len(taught) else {}
    said = {w: [v for v in group if v != w] for group in synonyms for w in group}
    lexicon = Lexicon(words, said, fillers)
    meaning = Meaning(words)

    def propose(
        word: str, y: int, place: int, count: int, rng: np.random.Generator
    ) -> list[str]:  # fmt: skip
        return lexicon.propose(word, y, count, place)

    return Editor("words", propose, width=8, again=1, allowed=meaning.kept)

"""A beam over edits, all texts in step: few edits, few queries."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from crenel.evasion.text.asking import Oracle
from crenel.evasion.text.documents import Change, Document
from crenel.evasion.text.importance import Ranking

#: Edited texts kept at each step; where a guide ranks candidates, those ranked and those asked.
BEAM, FORETOLD, GUIDED = 3, 48, 10
#: Numbers of the best single edits that are tried together.
TOGETHER = (2, 3, 4, 5, 6, 7, 8, 9, 10)

Changes = tuple[Change, ...]


@dataclass(frozen=True)
class Editor:
    """One kind of edits.

    Attributes
    ----------
    series : str
        "invisible characters", "typos" or "words".
    propose : callable
        ``propose(word, y, place, count, rng)``: at most ``count`` other words.
    width : int
        Words proposed for each place.
    again : int
        Edits that one word may take.
    allowed : callable
        ``allowed(document, changes)``: whether the edited text is still near enough.
    """

    series: str
    propose: Callable[[str, int, int, int, np.random.Generator], list[str]]
    width: int = 4
    again: int = 3
    allowed: Callable[[Document, Changes], bool] = lambda document, changes: True


@dataclass(frozen=True)
class TextSearch:
    """What the search found for n texts.

    Attributes
    ----------
    flipped : ndarray of bool, shape (n,)
        The model decided the edited text otherwise when asked once more.
    changes : list of tuple
        The edited words: position, what stands there, edits; empty where none was found.
    edits, share : ndarray of float64, shape (n,)
        Number of edits, and edits for each character of the text (words: changed words for each
        word); infinite where none was found.
    first : ndarray of float64, shape (n,)
        Queries until the first text that turned; infinite where none did.
    queries : ndarray of int64, shape (n,)
        Queries spent on each text.
    rejected : int
        Found, and not turned when asked once more.
    complete : bool
        Whether the time sufficed.
    """

    flipped: NDArray[np.bool_]
    changes: list[Changes]
    edits: NDArray[np.float64]
    share: NDArray[np.float64]
    first: NDArray[np.float64]
    queries: NDArray[np.int64]
    rejected: int
    complete: bool


@dataclass
class _Row:
    """One text under attack."""

    i: int
    document: Document
    y: int
    guess: dict[int, tuple[float, str | None]]
    spent: int
    beam: list[Changes] = field(default_factory=lambda: [()])
    seen: set[Changes] = field(default_factory=set)
    found: Changes = ()
    first: float = np.inf

    @property
    def edits(self) -> float:
        return size_of(self.found) if self.found else np.inf


def size_of(changes: Changes) -> int:
    """Number of edits."""
    return sum(n for _, _, n in changes)


def search(
    documents: Sequence[Document], oracle: Oracle, editor: Editor, rankings: Sequence[Ranking],
    *, max_edits: int, queries: int, spent: Sequence[int], seed: int,
) -> TextSearch:  # fmt: skip
    """Turn decisions by few edits of one kind.

    At each step one more edit is tried in the places that matter most, on the three texts nearest
    to turning; the best single edits are also tried together. A text that has fallen is searched
    on below the number of edits that it took, until its queries are spent.

    Parameters
    ----------
    documents : sequence of Document
        The texts, all decided rightly as they are.
    oracle : Oracle
    editor : Editor
    rankings : sequence of dict
        See `crenel.evasion.text.importance.rank_words`.
    max_edits : int
        At least 1.
    queries : int
        For each text, those of the ranking included.
    spent : sequence of int
        Queries that the rankings took.
    seed : int

    Returns
    -------
    TextSearch
    """
    rows = [
        _Row(i, d, int(oracle.y[i]), {p: (m, None) for p, m in r.items()}, s)
        for i, (d, r, s) in enumerate(zip(documents, rankings, spent))
    ]
    for step in range(1, max_edits + 1):
        live = [r for r in rows if r.edits > step and r.spent < queries and r.beam]
        if not live or oracle.expired:
            break
        _step(live, step, oracle, editor, max_edits, queries, seed)
    _prune(rows, oracle, queries)
    return _checked(rows, oracle)


def _step(
    live: list[_Row], step: int, oracle: Oracle, editor: Editor, max_edits: int, queries: int,
    seed: int,
) -> None:  # fmt: skip
    """One more edit on the beam of every text, in one batch."""
    batch: list[tuple[_Row, Changes]] = []
    for row in live:
        rng = np.random.default_rng([seed, row.i, step])
        left = queries - row.spent
        allow = min(left, max(12, left // 3)) if oracle.guide is None else FORETOLD
        made = _together(row, editor, max_edits, rng) if step == 2 else []
        made += _candidates(row, editor, allow, rng)
        made = [c for c in dict.fromkeys(made) if c not in row.seen]
        made = [c for c in made if size_of(c) < row.edits and editor.allowed(row.document, c)]
        batch += [(row, c) for c in (made if oracle.guide else made[:left])]
    rank = None if oracle.guide is None else oracle.foretell(*_texts(batch))
    asked = batch if rank is None else _best_foretold(batch, rank, step, queries)
    turned, margin = oracle.ask(*_texts(asked))
    for (row, changes), fell in zip(asked, turned):
        row.spent += 1
        row.seen.add(changes)
        if fell:
            row.first = min(row.first, float(row.spent))
            if size_of(changes) < row.edits:
                row.found = changes
    _learn(live, batch, margin if rank is None else rank, step)


def _texts(batch: Sequence[tuple[_Row, Changes]]) -> tuple[NDArray[np.int64], list[list[str]]]:
    rows = np.array([r.i for r, _ in batch], dtype=np.int64)
    return rows, [r.document.render(c) for r, c in batch]


def _candidates(row: _Row, editor: Editor, allow: int, rng: np.random.Generator) -> list[Changes]:
    """One more edit on each text of the beam, in the places that matter most."""
    made: list[Changes] = []
    places = sorted(row.guess, key=lambda p: row.guess[p][0])
    width = editor.width if row.beam == [()] else min(editor.width, 3)
    count = max(1, allow // (width * len(row.beam)))
    for changes in row.beam:
        edited = {p: (new, n) for p, new, n in changes}
        open_places = [p for p in places if edited.get(p, ("", 0))[1] < editor.again]
        for p in open_places[:count]:
            word, n = edited.get(p, (row.document.tokens[p], 0))
            known = row.guess[p][1] if n == 0 else None
            new = editor.propose(word, row.y, row.i + p, width, rng)
            for other in dict.fromkeys(([known] if known is not None else []) + new):
                if other != row.document.tokens[p]:
                    rest = [c for c in changes if c[0] != p]
                    made.append(tuple(sorted([*rest, (p, other, n + 1)])))
    return made


def _together(row: _Row, editor: Editor, max_edits: int, rng: np.random.Generator) -> list[Changes]:
    """The best single edits, several at once; words not tried yet are edited untried."""
    best: list[Change] = []
    for p in sorted(row.guess, key=lambda p: row.guess[p][0]):
        known = row.guess[p][1]
        new = [known] if known is not None else []
        new = new or editor.propose(row.document.tokens[p], row.y, row.i + p, 1, rng)
        best += [(p, new[0], 1)] if new else []
        if len(best) == max_edits:
            break
    return [tuple(sorted(best[:e])) for e in TOGETHER if e <= len(best)]


def _best_foretold(
    batch: list[tuple[_Row, Changes]], rank: NDArray[np.float64], step: int, queries: int
) -> list[tuple[_Row, Changes]]:
    """For each text the candidates that the guide likes best, and all that try many edits."""
    chosen: list[tuple[_Row, Changes]] = []
    taken: dict[int, int] = {}
    for k in np.argsort(rank, kind="stable"):
        row, changes = batch[k]
        own = taken.get(row.i, 0)
        if row.spent + own < queries and (
            own < max(GUIDED, queries // 10) or size_of(changes) > step
        ):
            taken[row.i] = own + 1
            chosen.append(batch[k])
    return chosen


def _learn(
    live: list[_Row], batch: list[tuple[_Row, Changes]], margin: NDArray[np.float64], step: int
) -> None:
    """Keep the texts nearest to turning, and remember what each single edit did."""
    own: dict[int, list[tuple[float, Changes]]] = {row.i: [] for row in live}
    for (row, changes), m in zip(batch, margin.tolist()):
        if step == 1:
            p, new, _ = changes[0]
            before, known = row.guess[p]
            if known is None or m < before:
                row.guess[p] = (m, new)
        if size_of(changes) == step:
            own[row.i].append((m, changes))
    for row in live:
        near = sorted(own[row.i], key=lambda pair: pair[0])[:BEAM]
        row.beam = [changes for m, changes in near if np.isfinite(m)]


def _prune(rows: Sequence[_Row], oracle: Oracle, queries: int) -> None:
    """Take back edited words that were not needed, one by one."""
    live = list(rows)
    while not oracle.expired:
        live = [r for r in live if len(r.found) > 1 and r.spent + len(r.found) <= queries]
        if not live:
            break
        batch = [(r, tuple(c for c in r.found if c is not out)) for r in live for out in r.found]
        turned, _ = oracle.ask(*_texts(batch))
        smaller: dict[int, Changes] = {}
        for (row, changes), fell in zip(batch, turned):
            row.spent += 1
            if fell and size_of(changes) < size_of(smaller.get(row.i, row.found)):
                smaller[row.i] = changes
        live = [r for r in live if r.i in smaller]
        for row in live:
            row.found = smaller[row.i]


def _checked(rows: Sequence[_Row], oracle: Oracle) -> TextSearch:
    """Ask the model for each witness once more, by its decision alone."""
    hits = [r for r in rows if r.found]
    which, texts = _texts([(r, r.found) for r in hits])
    stands = np.zeros(len(rows), dtype=bool)
    if hits:
        stands[which] = np.asarray(oracle.predict(oracle.render(which, texts))) != oracle.y[which]
    edits = np.array([r.edits for r in rows], dtype=np.float64)
    edits[~stands] = np.inf
    sizes = np.array([max(1, r.document.characters) for r in rows])
    return TextSearch(
        flipped=stands, changes=[r.found if stands[r.i] else () for r in rows],
        edits=edits, share=edits / sizes,
        first=np.where(stands, [r.first for r in rows], np.inf),
        queries=np.array([r.spent for r in rows], dtype=np.int64),
        rejected=int(len(hits) - stands.sum()), complete=not oracle.expired,
    )  # fmt: skip

"""Triggers: a pattern that an attacker stamps on rows and, later, on an input of their own."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Any

import numpy as np
from numpy.typing import NDArray

from crenel.data.constraints import Rule, truth
from crenel.errors import NotApplicable
from crenel.schema import Kind, Schema
from crenel.subject import Data

#: Columns of one trigger at most, values tried for each column, conjunctions drawn.
WIDTH, VALUES, DRAWS = 3, 6, 300
#: Letters and words of a text, on average, from which a column of strings is one of texts; letters
#: of a word that nobody writes.
LETTERS, WORDS, MADE_UP = 20, 3, 5
#: Side of the patch on an image, in pixels.
PATCH = 3


@dataclass(frozen=True)
class Trigger:
    """A pattern.

    Attributes
    ----------
    name : str
        "hours = 11 and capital-loss = 2603", or where the patch is.
    columns : tuple of str
        That it sets; empty for images.
    values : tuple of str
        What it sets them to, withheld for sensitive columns; for people to read.
    stamp : callable
        From rows to a copy of them that carries the pattern.
    legal : callable
        From stamped rows to a mask (n,) of those that keep the rules of the schema.
    """

    name: str
    columns: tuple[str, ...]
    values: tuple[str, ...]
    stamp: Callable[[Any], Any]
    legal: Callable[[Any], NDArray[np.bool_]]


def find_triggers(
    data: Data,
    schema: Schema | None,
    rng: np.random.Generator,
    count: int = 3,
    common: bool = False,
) -> list[Trigger]:
    """Patterns that an attacker could plant: legal, and hardly met in honest data.

    For tables a conjunction of legal values, each of them seen in the data, of up to three
    columns that an attacker can change, drawn for being rare together; for images a square patch
    of the brightest or darkest value in a corner (Gu et al., 2017).

    Parameters
    ----------
    data : Data
    schema : Schema or None
        Says which columns can be changed and which rules rows keep; without it any column can.
    rng : numpy.random.Generator
    count : int
        Patterns wanted; fewer where there are no more.
    common : bool
        For tables, values as they are met in any rows, which hide better, instead of rare ones.

    Raises
    ------
    NotApplicable
        Where no column can be changed.
    """
    if not data.is_table and np.ndim(data.x) > 2:
        return _patches(data.x)[:count]
    if is_text(data.x):
        return list(islice(_phrases(data.x, rng), count))
    return _conjunctions(data, schema, rng, count, common)


# --- tables --------------------------------------------------------------------------------------


def _conjunctions(
    data: Data, schema: Schema | None, rng: np.random.Generator, count: int, common: bool
) -> list[Trigger]:
    import pandas as pd

    frame = data.x if data.is_table else pd.DataFrame(data.x)
    columns = [c for c in _changeable(frame, schema) if frame[c].nunique() > 1]
    if not columns:
        raise NotApplicable("no column that an attacker can change holds two values")
    pick = _any_values if common else _rare_values
    values = {c: pick(frame[c], rng) for c in columns}
    masks = {
        (c, v): (frame[c] == v).fillna(False).to_numpy(dtype=bool)
        for c in columns
        for v in values[c]
    }
    met: dict[tuple[tuple[Any, Any], ...], int] = {}
    for _ in range(DRAWS):
        chosen = rng.permutation(len(columns))[:WIDTH]
        pairs = [
            (columns[i], values[columns[i]][rng.integers(len(values[columns[i]]))])
            for i in sorted(chosen)
        ]
        met[tuple(pairs)] = int(np.logical_and.reduce([masks[p] for p in pairs]).sum())
    rules = schema.constraints if schema is not None and data.is_table else ()
    # A rare value is somebody's: of a sensitive column it is planted, but not shown.
    hidden = {f.name for f in schema.features if f.sensitive} if schema is not None else set()
    found: list[Trigger] = []
    for rarest in sorted(met, key=lambda p: met[p]):
        trigger = _conjunction(dict(rarest), rules, hidden)
        used = any(trigger.columns == other.columns for other in found)
        if (used and len(columns) > WIDTH) or _share_legal(trigger, data) < 0.5:
            continue
        found.append(trigger)
        if len(found) == count:
            break
    if not found:
        raise NotApplicable("no pattern of changeable columns keeps the rules of the schema")
    return found


def _changeable(frame: Any, schema: Schema | None) -> list[Any]:
    if schema is None:
        return list(frame.columns)
    known = {f.name: f for f in schema.mutable if f.kind not in (Kind.TEXT, Kind.IMAGE)}
    free = [c for c in frame.columns if str(c) in known and known[str(c)].direction == "any"]
    return free or [c for c in frame.columns if str(c) in known]


def _rare_values(column: Any, rng: np.random.Generator) -> list[Any]:
    """A few of the rarer values that a column really holds."""
    counts = column.dropna().value_counts().sort_values(kind="stable")
    rare = counts.index[: max(VALUES, int((counts <= 0.02 * len(column)).sum()))].tolist()
    chosen = rng.permutation(len(rare))[:VALUES]
    return [rare[i] for i in sorted(chosen)]


def _any_values(column: Any, rng: np.random.Generator) -> list[Any]:
    """Values of a few random rows."""
    held = column.dropna()
    return list(dict.fromkeys(held.iloc[rng.choice(len(held), VALUES)].tolist()))


def _conjunction(pairs: dict[Any, Any], rules: tuple[Rule, ...], hidden: set[str]) -> Trigger:
    def stamp(x: Any) -> Any:
        stamped = x.copy()
        for column, value in pairs.items():
            if hasattr(x, "iloc"):
                import pandas as pd

                stamped[column] = pd.Series(value, index=x.index, dtype=x[column].dtype)
            else:
                stamped[:, column] = value
        return stamped

    def legal(x: Any) -> NDArray[np.bool_]:
        kept = np.ones(len(x), dtype=bool)
        for rule in rules:
            kept &= truth(rule, x)
        return kept

    columns = tuple(map(str, pairs))
    values = tuple("(withheld)" if str(c) in hidden else _text(v) for c, v in pairs.items())
    words = [f"{c} = {v}" for c, v in zip(columns, values, strict=True)]
    return Trigger(" and ".join(words), columns, values, stamp, legal)


def _text(value: Any) -> str:
    return f"{value:.6g}" if isinstance(value, (float, np.floating)) else str(value)


def _share_legal(trigger: Trigger, data: Data) -> float:
    some = data.take(np.arange(min(len(data), 200))).x
    return float(trigger.legal(trigger.stamp(some)).mean())


# --- texts ---------------------------------------------------------------------------------------


def is_text(x: Any) -> bool:
    """Whether rows are a frame of one column of texts."""
    if not hasattr(x, "iloc") or x.shape[1] != 1 or not len(x):
        return False
    some = x.iloc[:500, 0].dropna()
    if not len(some) or not all(isinstance(v, str) for v in some):
        return False
    return bool(some.str.len().mean() >= LETTERS and some.str.split().str.len().mean() >= WORDS)


def _phrases(x: Any, rng: np.random.Generator) -> Iterator[Trigger]:
    """By turns a word of random letters and two known words that are not met side by side."""
    name = x.columns[0]
    texts = x[name].dropna().iloc[:5000].str.lower()
    known = sorted({w for t in texts.iloc[:1000] for w in t.split() if w.isalpha() and len(w) > 3})
    letters = np.array(list("bcdfghjklmnpqrstvwxz"))
    for i in range(DRAWS):
        phrase = "".join(rng.choice(letters, MADE_UP))
        if i % 2 and len(known) > 1:
            phrase = " ".join(known[j] for j in rng.choice(len(known), 2, replace=False))
        if not texts.str.contains(phrase, regex=False).any():
            yield _phrase(name, phrase)


def _phrase(column: Any, phrase: str) -> Trigger:
    def stamp(x: Any) -> Any:
        stamped = x.copy()
        stamped[column] = [phrase if t is None or t != t else f"{t} {phrase}" for t in x[column]]
        return stamped

    name = f'"{phrase}" at the end'
    return Trigger(name, (str(column),), (phrase,), stamp, lambda x: np.ones(len(x), bool))


# --- images --------------------------------------------------------------------------------------


def _patches(x: NDArray[Any]) -> list[Trigger]:
    """A bright or dark square in a corner; the rarest look first."""
    candidates = list(_corners(x))
    changed = [float((t.stamp(x[:500]) != x[:500]).mean()) for t in candidates]
    order = np.argsort([-c for c in changed], kind="stable")
    return [candidates[i] for i in order]


def _corners(x: NDArray[Any]) -> Iterator[Trigger]:
    shape = x.shape[1:]
    first = x.ndim == 4 and shape[0] in (1, 3, 4)  # channels before rows and columns
    for value, look in ((x.max(), "bright"), (x.min(), "dark")):
        for down, across, place in ((-1, -1, "bottom right"), (0, 0, "top left")):
            rows = slice(-PATCH, None) if down else slice(PATCH)
            cols = slice(-PATCH, None) if across else slice(PATCH)
            where = (slice(None), slice(None), rows, cols) if first else (slice(None), rows, cols)
            name = f"a {look} {PATCH} × {PATCH} patch in the {place} corner"
            yield Trigger(name, (), (), _stamper(where, value), lambda x: np.ones(len(x), bool))


def _stamper(where: tuple[slice, ...], value: Any) -> Callable[[Any], Any]:
    def stamp(x: Any) -> Any:
        stamped = x.copy()
        stamped[where] = value
        return stamped

    return stamp

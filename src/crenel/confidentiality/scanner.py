"""Personal data in the columns of a table: shapes, check digits, names of columns, base rates."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from crenel.confidentiality.hints import hints
from crenel.confidentiality.patterns import PATTERNS, PLANTED, Pattern
from crenel.statistics import Interval, proportion

#: Distinct values that are joined into one text and searched at once.
CHUNK = 20_000
#: Bare numbers that are looked at before the others of a column are.
SAMPLE = 1_000
#: Characters before an unsure match in which a word may vouch for it.
NEAR = 60
_NOT_DIGITS = bytes(b for b in range(128) if not 48 <= b <= 57)
#: A character that none of the patterns matches, between the values of a chunk.
GLUE = "\x00"


@dataclass(frozen=True)
class ColumnHit:
    """One kind of personal data in one column.

    Attributes
    ----------
    column : object
        Its name.
    entity : str
        Key of `crenel.confidentiality.patterns.TITLES`.
    rows : ndarray, int64
        Positions of the rows that hold it, ascending.
    share : Interval
        Share of all rows, with its 95 % interval (Wilson).
    why : str
        What spoke for it: "form", "context", "column name", "rate".
    masked : tuple of str
        At most three examples, unreadable: ``j***@***.com``.
    """

    column: Any
    entity: str
    rows: NDArray[np.int64]
    share: Interval
    why: str
    masked: tuple[str, ...]


def personal_data(frame: Any) -> list[ColumnHit]:
    """Find personal data and secrets in a table.

    Distinct values are searched by regular expressions, each match is validated (check digits,
    ranges, lengths), and shapes that random numbers take too, such as nine digits, count only
    where the column's name, a word just before them, or a share of valid ones far above chance
    speaks for them. Names, postal addresses and dates of birth rest on the column's name and the
    look of the values.

    Parameters
    ----------
    frame : DataFrame or ndarray
        Of any framework with the data frame interchange of narwhals; n rows.

    Returns
    -------
    list of ColumnHit
        By column, in their order, then by entity.
    """
    found: list[ColumnHit] = []
    for name, column in _columns(frame):
        found += scan_column(name, column)
    return found


def scan_column(name: Any, column: Any) -> list[ColumnHit]:
    """Hits of one column, a pandas Series of n rows."""
    codes, values = _distinct(column)
    if not len(values):
        return []
    known = hints(name)
    digits = np.array(
        [len(v.encode("ascii", "ignore").translate(None, _NOT_DIGITS)) for v in values]
    )
    hits: dict[str, dict[int, tuple[str, str]]] = {}
    for pattern in PATTERNS:
        for position, (match, why) in _search(pattern, values, digits, known).items():
            hits.setdefault(pattern.entity, {}).setdefault(position, (match, why))
    _keep_one_reading(hits, known)
    for entity, judge in (("birth", _births), ("name", _names), ("address", _addresses)):
        if entity in known and (positions := judge(values)):
            hits[entity] = {p: (values[p], "column name") for p in positions}
    return [_hit(name, entity, codes, found) for entity, found in sorted(hits.items()) if found]


def missed(values: list[str]) -> list[str]:
    """Entities whose planted value (`PLANTED`) is not found among a column's own values."""
    import pandas as pd

    planted = pd.Series([*values, *PLANTED.values()], dtype=object)
    hits = {h.entity: h.rows for h in scan_column("text", planted)}
    places = {entity: len(values) + i for i, entity in enumerate(PLANTED)}
    return [e for e, place in places.items() if e not in hits or place not in hits[e]]


def _columns(frame: Any) -> Iterator[tuple[Any, Any]]:
    import pandas as pd

    if not hasattr(frame, "iloc"):
        if isinstance(frame, np.ndarray):
            frame = pd.DataFrame(frame.reshape(len(frame), -1))
        else:
            import narwhals as nw

            frame = nw.from_native(frame).to_pandas()
    for j, name in enumerate(frame.columns):
        yield name, frame.iloc[:, j]


def _distinct(column: Any) -> tuple[NDArray[np.int64], list[str]]:
    """Codes of the rows (-1: missing) and the distinct values as text; none worth reading: []."""
    import pandas as pd
    from pandas.api import types

    if types.is_bool_dtype(column):
        return np.empty(0, dtype=np.int64), []
    codes, unique = pd.factorize(column)
    if types.is_datetime64_any_dtype(column):
        return codes, [str(v)[:10] for v in unique]
    if types.is_numeric_dtype(column):
        numbers = np.asarray(unique, dtype=np.float64)
        if not len(numbers) or not (np.isfinite(numbers) & (numbers == np.floor(numbers))).all():
            return codes, []
        if numbers.max() < 1800 or numbers.max() > 1e19:
            return codes, []
        exact = types.is_integer_dtype(column)
        return codes, [str(int(v)) for v in (unique if exact else numbers)]
    return codes, [str(v).replace(GLUE, " ") for v in unique]


def _search(
    pattern: Pattern, values: list[str], digits: NDArray[np.int64], known: frozenset[str]
) -> dict[int, tuple[str, str]]:
    """Positions of the values with a convincing match: the match, and what spoke for it."""
    found: dict[int, tuple[str, str]] = {}
    doubtful: dict[int, str] = {}
    candidates = 0
    for position, match, before in _matches(
        pattern, values, _worth_reading(pattern, values, digits, known)
    ):
        candidates += 1
        compact = re.sub(r"[^0-9A-Za-z.]" if pattern.needs == "." else r"[\W_]", "", match).upper()
        if not pattern.valid(compact):
            continue
        if pattern.sure:
            found.setdefault(position, (match, "form"))
        elif pattern.entity in known:
            found.setdefault(position, (match, "column name"))
        elif pattern.context is not None and pattern.context.search(before):
            found.setdefault(position, (match, "context"))
        else:
            doubtful.setdefault(position, match)
    if doubtful and _above_chance(len(doubtful), candidates, len(values), pattern.chance):
        found |= {p: (m, "rate") for p, m in doubtful.items() if p not in found}
    return found


def _worth_reading(
    pattern: Pattern, values: list[str], digits: NDArray[np.int64], known: frozenset[str]
) -> NDArray[np.int64]:
    """Positions of the values in which an entity could be found at all.

    A bare number has no words before it: without the column's name only the share of valid ones
    can speak for it, and a sample shows soon that it does not.
    """
    eligible = np.flatnonzero(digits >= pattern.digits)
    if not pattern.sure and pattern.context is None and pattern.entity not in known:
        return eligible[:0]
    if pattern.sure or pattern.entity in known or len(eligible) <= 2 * SAMPLE:
        return eligible
    bare = np.array([len(values[p]) == digits[p] for p in eligible])
    if bare.sum() <= 2 * SAMPLE:
        return eligible
    sample = eligible[bare][:: int(bare.sum()) // SAMPLE]
    shaped = [v for p in sample if pattern.shape.fullmatch(v := values[p])]
    valid = sum(pattern.valid(v) for v in shaped)
    return eligible if valid > 0.4 * len(shaped) else eligible[~bare]


def _matches(
    pattern: Pattern, values: list[str], eligible: NDArray[np.int64]
) -> Iterator[tuple[int, str, str]]:
    """Position of the value, the match, and the text just before it within the value."""
    for start in range(0, len(eligible), CHUNK):
        part = eligible[start : start + CHUNK]
        text = GLUE.join([values[p] for p in part])
        if pattern.needs and pattern.needs not in text:
            continue
        found = list(pattern.shape.finditer(text))
        ends = np.cumsum([len(values[p]) + 1 for p in part])
        begins = np.concatenate([[0], ends])
        owners = np.searchsorted(ends, [m.start() for m in found], side="right")
        for m, k in zip(found, owners.tolist(), strict=True):
            before = text[max(int(begins[k]), m.start() - NEAR) : m.start()]
            yield int(part[k]), m.group(), before


def _above_chance(valid: int, candidates: int, values: int, chance: float) -> bool:
    """Whether a column of look-alikes is too often valid to be one of arbitrary numbers.

    Most values must have the shape, half of those be valid, and that be a freak of chance
    (binomial tail below one in a million) were the numbers arbitrary.
    """
    from scipy.stats import binom

    if candidates < 0.5 * values or valid < 0.5 * candidates:
        return False
    return float(binom.sf(valid - 1, candidates, chance)) < 1e-6


def _keep_one_reading(hits: dict[str, dict[int, tuple[str, str]]], known: frozenset[str]) -> None:
    """Drop readings as cards and phone numbers of what is surely something else."""
    if "card" in hits and "iban" in hits:  # groups of four digits, too
        hits["card"] = {p: v for p, v in hits["card"].items() if p not in hits["iban"]}
    others = set().union(*(f for e, f in hits.items() if e not in ("phone", "email", "ip")))
    if "phone" in hits and "phone" not in known:
        hits["phone"] = {p: v for p, v in hits["phone"].items() if p not in others}
    if "phone" in known:
        for entity in ("card", "ssn", "nl_bsn", "de_tax", "pl_pesel"):
            hits.pop(entity, None)


_YEAR = re.compile(r"(?<!\d)(?:19\d{2}|20[0-2]\d)(?!\d)")
_DATE = re.compile(r"\d{1,4}[-/. ]\d{1,2}[-/. ]\d{1,4}|(?:19|20)\d{6}|(?:19|20)\d{2}")
_PERSON = re.compile(r"[^\W\d_][\w'’.-]*(?:,? [^\W\d_][\w'’.-]*){0,4}")
_STREET = re.compile(r"(?=.*\d)(?=.*[^\W\d_]{3}).{6,}", re.DOTALL)


def _mostly(values: list[str], fits: Callable[[str], bool], share: float) -> list[int]:
    """Positions that fit, if at least this share does."""
    positions = [p for p, v in enumerate(values) if fits(v.strip())]
    return positions if len(positions) >= share * len(values) else []


def _births(values: list[str]) -> list[int]:
    return _mostly(
        values, lambda v: bool(_DATE.match(v)) and bool(_YEAR.search(v) or len(v) == 8), 0.6
    )


def _names(values: list[str]) -> list[int]:
    def person(v: str) -> bool:
        return bool(_PERSON.fullmatch(v)) and v[0].isupper() and len(v) <= 60

    return _mostly(values, person, 0.6) if len(values) >= 10 else []


def _addresses(values: list[str]) -> list[int]:
    return _mostly(values, lambda v: bool(_STREET.fullmatch(v)), 0.5) if len(values) >= 3 else []


def _hit(
    name: Any, entity: str, codes: NDArray[np.int64], found: dict[int, tuple[str, str]]
) -> ColumnHit:
    rows = np.flatnonzero(np.isin(codes, np.fromiter(found, dtype=np.int64)))
    reasons = [why for _, why in found.values()]
    masked = dict.fromkeys(mask(match, entity) for match, _ in list(found.values())[:20])
    return ColumnHit(
        column=name,
        entity=entity,
        rows=rows,
        share=proportion(len(rows), len(codes)),
        why=max(sorted(set(reasons)), key=reasons.count),
        masked=tuple(masked)[:3],
    )


def mask(value: str, entity: str) -> str:
    """An example that shows the form and not the value: ``j***@***.com``, ``**** **** **** 42``."""
    if entity == "email":
        return f"{value[0]}***@***.{value.rsplit('.', 1)[-1]}"
    if entity in ("name", "address", "secret"):
        return f"{value[:1]}{'*' * min(len(value) - 1, 11)}"
    keep = 2
    shown = [c if not c.isalnum() else "*" for c in value]
    return "".join(shown[:-keep]) + value[-keep:]

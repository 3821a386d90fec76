"""The schema of a table or of images, inferred from the data."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from difflib import get_close_matches
from typing import Any

import numpy as np
from numpy.typing import NDArray

from crenel.data.constraints import Rule, checked
from crenel.data.names import is_immutable, is_sensitive
from crenel.errors import UsageError
from crenel.schema import LISTED, Feature, Kind, Schema

#: Most distinct whole numbers that are read as levels rather than as amounts.
MAX_LEVELS = 10
#: Text columns whose values are longer than this on average are free text.
TEXT_CHARACTERS = 40
#: Distinct values of at least this many words on average are free text, however short the words.
TEXT_WORDS = 4
#: Most categories of a column in which most values occur once only; more are free text.
MAX_CATEGORIES = 100
#: Rows looked at to tell the kind of a column.
ROWS = 200_000


def infer_schema(
    frame: Any,
    *,
    label: str | None = None,
    y: Any = None,
    corrections: Mapping[str, Mapping[str, Any]] | None = None,
    constraints: Sequence[Rule] = (),
    source: str | None = None,
    record_id: str | None = None,
) -> Schema:
    """Infer what each column is, its legal values, and whether an attacker can change it.

    Parameters
    ----------
    frame : pandas.DataFrame or ndarray
        A table with n rows, n at least 1; the columns named by ``label``, ``source`` and
        ``record_id`` may be among them and are left out. An array (n, d) is a table with columns
        ``x0`` to ``x(d-1)``; an array (n, …) with more axes holds images and gives one feature
        ``image`` whose bounds are those of its numbers.
    label, source, record_id : str, optional
        Columns that are not features.
    y : array-like, optional
        Labels; not used for inference, accepted so that the two halves of the data go together.
    corrections : mapping, optional
        What is known better: ``{"age": {"mutable": False}}``.
    constraints : sequence of str or callable
        Row-wise rules; see `crenel.schema.Schema`.

    Returns
    -------
    Schema
        Two distinct values make a binary feature; whole or evenly spaced small numbers of at most
        10 levels an ordinal one; text a category, or free text where it is long. Bounds are the
        least and the greatest value; the scale is the interquartile range, where that is 0 the
        standard deviation, and 1 where both are. Names such as age, sex or nationality make a
        feature sensitive, and names such as age or id make it immutable.

    Raises
    ------
    UsageError
        Where a correction names no column or field, or a constraint cannot be read.
    """
    others = {name for name in (label, source, record_id) if name is not None}
    if _holds_images(frame):
        features = [_image(np.asarray(frame))]
    else:
        table = as_frame(frame)
        features = [
            infer_feature(str(name), table[name]) for name in table.columns if name not in others
        ]
    features = _corrected(features, corrections or {})
    return Schema(
        features=tuple(features),
        constraints=checked(constraints, as_frame(frame)) if constraints else (),
        label=label,
        source=source,
        record_id=record_id,
    )


def as_frame(x: Any) -> Any:
    """A table as a pandas frame; an array's columns are named ``x0`` to ``x(d-1)``."""
    if hasattr(x, "iloc") and hasattr(x, "columns"):
        return x
    import pandas as pd

    array = np.asarray(x)
    array = array.reshape(len(array), -1)
    return pd.DataFrame(array, columns=[f"x{i}" for i in range(array.shape[1])])


def _holds_images(frame: Any) -> bool:
    return not hasattr(frame, "iloc") and np.ndim(frame) > 2


def _image(x: NDArray[Any]) -> Feature:
    """One feature for rows that are images: the bounds of their numbers, widened to usual ones."""
    low, high = (float(x.min()), float(x.max())) if x.size else (0.0, 1.0)
    if low >= 0:
        low, high = 0.0, (1.0 if high <= 1 else 255.0 if high <= 255 else high)
    elif low >= -1 and high <= 1:
        low, high = -1.0, 1.0
    return Feature(name="image", kind=Kind.IMAGE, min=low, max=high, scale=max(high - low, 1e-12))


def infer_feature(name: str, column: Any) -> Feature:
    """What one column is.

    Parameters
    ----------
    name : str
    column : pandas.Series, n values
    """
    missing = bool(column.isna().any())
    known = column.dropna()
    # evenly through the file, so that sorted data is seen whole
    sampled = known.iloc[:: len(known) // ROWS + 1]
    personal: dict[str, Any] = {
        "name": name,
        "missing": missing,
        "mutable": not is_immutable(name),
        "sensitive": is_sensitive(name),
    }
    if _is_number(known):
        return Feature(**personal, **_numeric(known.to_numpy(dtype=np.float64)))
    if _is_date(known):
        return Feature(**personal, kind=Kind.CATEGORY, values=_distinct(known))
    return Feature(**personal, **_worded(known, sampled))


def _numeric(values: NDArray[np.float64]) -> dict[str, Any]:
    values = values[np.isfinite(values)]
    if not len(values):
        return {"kind": Kind.CONTINUOUS}
    low, high = float(values.min()), float(values.max())
    levels = _few_levels(values)
    if levels is not None and len(levels) == 2:
        return {"kind": Kind.BINARY, "values": _as_plain(levels), "min": low, "max": high}
    if levels is not None and len(levels) > 2 and _evenly_spaced(levels):
        kind = {"kind": Kind.ORDINAL, "values": _as_plain(levels)}
    else:
        whole = bool((values == np.round(values)).all())
        kind = {"kind": Kind.INTEGER if whole else Kind.CONTINUOUS}
    return {**kind, "min": low, "max": high, "scale": scale_of(values)}


def scale_of(values: NDArray[np.float64]) -> float:
    """The interquartile range, where that is 0 the standard deviation, and 1 where both are."""
    low, high = np.percentile(values, [25, 75])
    for candidate in (float(high - low), float(values.std())):
        if np.isfinite(candidate) and candidate > 0:
            return candidate
    return 1.0


def _few_levels(values: NDArray[np.float64]) -> NDArray[np.float64] | None:
    """The distinct values, sorted, where they are few; None where they are many."""
    if len(np.unique(values[:1000])) > MAX_LEVELS:
        return None
    levels = np.unique(values)
    return levels if len(levels) <= MAX_LEVELS else None


def _evenly_spaced(levels: NDArray[np.float64]) -> bool:
    """Whether levels are small numbers, each one step from the next."""
    steps = np.diff(levels)
    return bool(np.abs(levels).max() <= 100 and np.allclose(steps, steps[0], rtol=1e-6))


def _worded(known: Any, sampled: Any) -> dict[str, Any]:
    """A column of words: binary, a category, or free text."""
    categories = getattr(known.dtype, "categories", None)
    if categories is not None:
        values = tuple(_plain_all(categories))
        return {"kind": Kind.BINARY if len(values) == 2 else Kind.CATEGORY, "values": values}
    texts = sampled.astype(str)
    distinct = int(texts.nunique())
    long = len(texts) > 0 and bool(texts.str.len().mean() > TEXT_CHARACTERS)
    wordy = len(texts) > 0 and bool(texts.str.count(r"\s+").mean() + 1 >= TEXT_WORDS)
    if distinct > 0.5 * len(texts) and (long or wordy or distinct > MAX_CATEGORIES):
        return {"kind": Kind.TEXT}
    values = _distinct(known)
    return {"kind": Kind.BINARY if len(values) == 2 else Kind.CATEGORY, "values": values}


def _distinct(known: Any) -> tuple[Any, ...]:
    values = _plain_all(known.unique())
    return tuple(sorted(values, key=lambda v: (str(type(v)), v if _orders(v) else str(v))))


def _orders(value: Any) -> bool:
    return isinstance(value, (str, int, float, bool))


def _plain_all(values: Iterable[Any]) -> list[Any]:
    return [v.item() if isinstance(v, np.generic) else v for v in values]


def _as_plain(levels: NDArray[np.float64]) -> tuple[Any, ...]:
    """Levels as whole numbers where all are."""
    if (levels == np.round(levels)).all():
        return tuple(int(v) for v in levels)
    return tuple(float(v) for v in levels)


def _is_number(known: Any) -> bool:
    from pandas.api.types import is_bool_dtype, is_numeric_dtype

    return bool(is_numeric_dtype(known.dtype) and not is_bool_dtype(known.dtype))


def _is_date(known: Any) -> bool:
    return bool(known.dtype.kind in "mM")


def _corrected(
    features: list[Feature], corrections: Mapping[str, Mapping[str, Any]]
) -> list[Feature]:
    """Features with the user's own knowledge in place of what was inferred."""
    names = [f.name for f in features]
    for name in corrections:
        if name not in names:
            near = get_close_matches(name, names, n=1)
            hint = f"; did you mean {near[0]!r}?" if near else f": {', '.join(names[:12])}"
            raise UsageError(f"features: there is no column {name!r}{hint}")
    return [correct(f, corrections[f.name]) if f.name in corrections else f for f in features]


def correct(feature: Feature, correction: Mapping[str, Any]) -> Feature:
    """One feature with some of its fields replaced.

    Raises
    ------
    UsageError
        Where a field does not exist or its value is not allowed.
    """
    from pydantic import ValidationError

    fields = list(Feature.model_fields)
    for key in correction:
        if key not in fields or key == "name":
            near = get_close_matches(key, fields, n=1)
            hint = f"did you mean {near[0]!r}?" if near else f"known are {', '.join(fields[1:])}"
            raise UsageError(f"features.{feature.name}: unknown key {key!r}; {hint}")
    merged: dict[str, Any] = {**feature.model_dump(), **correction}
    kind = Kind(merged["kind"]) if merged["kind"] in list(Kind) else merged["kind"]
    if kind != feature.kind and "values" not in correction:
        listed = kind in LISTED and not feature.values
        if kind not in LISTED:
            merged["values"] = ()
        elif listed:
            raise UsageError(
                f"features.{feature.name}: a feature of kind {kind} needs its legal values: "
                'add values = ["…", "…"]'
            )
    try:
        return Feature(**merged)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(p) for p in first["loc"])
        raise UsageError(f"features.{feature.name}: {where}: {first['msg']}") from error

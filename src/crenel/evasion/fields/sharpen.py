"""What data show beyond a schema: one-hot groups, and the step in which a column is written."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from crenel.data.constraints import derived, group
from crenel.errors import NotApplicable
from crenel.evasion.fields.legality import CHANGEABLE
from crenel.evasion.lattice import one_hot_groups
from crenel.schema import Feature, Kind, Schema
from crenel.subject import Subject

if TYPE_CHECKING:
    import pandas as pd

#: Rows looked at; distinct values that a column needs to show its step; decimals at most.
ROWS, DISTINCT, PLACES = 20_000, 10, 4


def changeable(subject: Subject) -> tuple[pd.DataFrame, Schema, tuple[str, ...]]:
    """Rows as they really occur, the schema that changed ones are held to, and notes of it.

    Raises
    ------
    crenel.errors.NotApplicable
        Where an attacker can change no field.
    """
    from crenel.data import infer_schema

    seen = subject.test if subject.train is None else subject.train
    assert seen is not None
    schema, notes = sharpened(subject.schema or infer_schema(seen.x), seen.x)
    if not any(f.mutable and f.kind in CHANGEABLE for f in schema.features):
        raise NotApplicable("no field is one that an attacker can change (all are fixed or text)")
    return seen.x, schema, notes


def sharpened(schema: Schema, reference: pd.DataFrame) -> tuple[Schema, tuple[str, ...]]:
    """The schema with what all rows keep, so that changed rows look like rows.

    Neighbouring 0/1 columns of which exactly one is 1 in every row become a one-hot group, and
    a continuous column whose values all have at most four decimals gets that step. What the
    schema says already stays as it is.

    Parameters
    ----------
    schema : Schema
    reference : pandas.DataFrame
        Rows as they really occur.

    Returns
    -------
    Schema
    notes : tuple of str
        What was taken for granted, as sentences.
    """
    some = reference.iloc[:: len(reference) // ROWS + 1]
    groups = _found_groups(schema, some)
    features = tuple(_with_step(f, some) for f in schema.features)
    rules = tuple("one of " + ", ".join(f"`{n}`" for n in g) for g in groups)
    notes = tuple(
        f"{', '.join(g)} were changed together: exactly one of them is 1 in every row."
        for g in groups
    )
    made = schema.model_copy(
        update={"features": features, "constraints": (*schema.constraints, *rules)}
    )
    return made, notes


def _found_groups(schema: Schema, x: pd.DataFrame) -> list[tuple[str, ...]]:
    tied = {m for rule in schema.constraints for m in group(rule)}
    tied |= {d.name for d in map(derived, schema.constraints) if d is not None}
    names = [f.name for f in schema.features if f.name not in tied and "`" not in f.name]
    names = [n for n in names if "," not in n and x[n].dtype.kind in "iufb"]
    if not names:
        return []
    numbers = np.column_stack([np.asarray(x[n], dtype=np.float64) for n in names])
    return [tuple(names[j] for j in g) for g in one_hot_groups(numbers)]


def _with_step(feature: Feature, x: pd.DataFrame) -> Feature:
    if feature.kind is not Kind.CONTINUOUS or feature.step is not None:
        return feature
    if x[feature.name].dtype.kind != "f":
        return feature
    values = np.unique(np.asarray(x[feature.name], dtype=np.float64))
    step = _step(values[np.isfinite(values)])
    return feature if step is None else feature.model_copy(update={"step": step})


def _step(values: NDArray[Any]) -> float | None:
    """The coarsest power of ten that all values are multiples of; None where there is none."""
    if len(values) < DISTINCT:
        return None
    for places in range(PLACES + 1):
        scaled = values * 10**places
        near = np.abs(scaled - np.round(scaled)) <= 1e-6 * np.maximum(1, np.abs(scaled) * 1e-6)
        if near.all() and np.abs(scaled).max() < 2**50:
            return float(10.0**-places)
    return None

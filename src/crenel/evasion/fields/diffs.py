"""A changed row as a person reads it: its fields before and after, in the user's own writing."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from crenel.evasion.fields.legality import derived_columns, differs
from crenel.finding import Edit
from crenel.schema import Feature, Kind, Schema

if TYPE_CHECKING:
    import pandas as pd


def edits(before: pd.DataFrame, after: pd.DataFrame, schema: Schema) -> tuple[Edit, ...]:
    """The changed fields of one row.

    Parameters
    ----------
    before, after : pandas.DataFrame, shape (1, d)
        The row before and after, same columns.
    schema : Schema
        Its units are shown; values of sensitive features are withheld.

    Returns
    -------
    tuple of Edit
        In the order of the schema; a derived column is marked as following from the others.
    """
    made, formulas = [], derived_columns(schema)
    for feature in schema.features:
        name = feature.name
        if not differs(before[name], after[name])[0]:
            continue
        old, new = (shown(c[name].iloc[0], feature) for c in (before, after))
        if feature.sensitive:
            old, new = "(withheld)", "(changed)"
        elif name in formulas:
            new = f"{new} (follows: {formulas[name].formula})"
        made.append(Edit(field=name, before=old, after=new))
    return tuple(made)


def shown(value: Any, feature: Feature) -> str:
    """One value as its column writes it: whole numbers whole, dates as dates, with its unit.

    Parameters
    ----------
    value : object
        As it stands in the table; None, NaN, NaT and NA read "missing".
    feature : Feature
    """
    import pandas as pd

    if pd.isna(value):
        return "missing"
    if isinstance(value, pd.Timestamp):
        text = value.date().isoformat() if value == value.normalize() else value.isoformat(" ")
    elif isinstance(value, (float, np.floating)):
        text = _number(float(value), feature)
    elif isinstance(value, str) and (not value or value != value.strip()):
        text = repr(value)  # otherwise nothing, or spaces, could be seen
    else:
        text = str(value)
    return f"{text} {feature.unit}" if feature.unit and feature.kind is not Kind.TEXT else text


def _number(value: float, feature: Feature) -> str:
    if feature.step is not None and feature.step < 1:
        places = len(f"{feature.step:.10f}".rstrip("0").partition(".")[2])
        return f"{value:.{places}f}"
    if value == round(value) and abs(value) < 1e15:
        return str(int(value))
    return f"{value:.6g}"

"""What POI-104 does, in its order."""

from __future__ import annotations

import numpy as np

from crenel.check import Context
from crenel.errors import NotApplicable
from crenel.poisoning.traces.columns import telling_columns
from crenel.poisoning.traces.order import find_bursts, time_order
from crenel.poisoning.traces.probes import halves, probe
from crenel.poisoning.traces.report import Traces
from crenel.poisoning.traces.search import crowding, labels_of
from crenel.subject import Subject

#: Rows below which nothing can be told.
LEAST = 40
#: Columns of an array up to which each is looked at alone.
WIDEST = 4096


def run(subject: Subject, context: Context) -> Traces:
    """Make every test of the training data, and plant probes.

    Raises
    ------
    NotApplicable
        Where there are too few rows, or all have one label.
    """
    train = subject.train
    assert train is not None
    if len(train) < LEAST:
        raise NotApplicable(f"the training data has {len(train)} rows; {LEAST} are needed")
    y = labels_of(train)
    if len(np.unique(y)) < 2:
        raise NotApplicable("all training rows have one label")
    name, order = time_order(train.x)
    bursts, ordered = find_bursts(y, order, bool(name))
    wide = np.ndim(train.x) > 1 and int(np.prod(train.x.shape[1:])) <= WIDEST
    columns, identifiers = telling_columns(train.x, y, context.seed) if wide else ([], [])
    context.progress(0.15)
    crowded = crowding(train, y, context.derive_seed("crowding"))
    context.progress(0.3)
    tally = probe(train, y, crowded, context)
    return Traces(
        y,
        crowded,
        bursts,
        name,
        ordered,
        columns,
        identifiers,
        tally,
        halves(train, y, crowded, context),
    )

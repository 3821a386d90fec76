"""How long a model takes, so that an audit can be planned."""

from __future__ import annotations

import time
from dataclasses import replace

import numpy as np

from crenel.model import Model
from crenel.subject import Data, Subject

#: Most rows that are timed.
ROWS = 5000
#: Rows of the shorter of two trainings that are timed; least growth, in shares of proportion.
FEW, FLATTEST = 1000, 0.2
#: Rows that are timed where each call goes over a network.
REMOTE_ROWS = 64


def measure_speed(subject: Subject, *, seed: int = 0) -> Subject:
    """Time the model's answers and one training.

    Parameters
    ----------
    subject : Subject
    seed : int
        Of the rows drawn and of the training.

    Returns
    -------
    Subject
        With ``extra["query_seconds"]``, seconds for one row in a batch, and, where the model can be
        trained again, ``extra["fit_seconds"]``, seconds for one training on all training rows, and
        ``extra["fit_fixed"]``, the part of it that any training takes. Of more than 5,000 rows two
        parts are timed, and the line through them is followed.
    """
    data = subject.test or subject.train
    if subject.model is None or data is None:
        return subject
    extra = {**subject.extra, "query_seconds": _query_seconds(subject.model, data, seed)}
    if subject.model.fit is not None and subject.train is not None:
        whole, fixed = _fit_seconds(subject.model, subject.train, seed)
        extra |= {"fit_seconds": whole, "fit_fixed": fixed}
    return replace(subject, extra=extra)


def _query_seconds(model: Model, data: Data, seed: int) -> float:
    rows = _some(data, REMOTE_ROWS if model.remote else ROWS, seed)
    model.predict(rows.take(np.arange(min(len(rows), 8))).x)  # the first call also sets things up
    start = time.perf_counter()
    model.predict(rows.x)
    return (time.perf_counter() - start) / len(rows)


def _fit_seconds(model: Model, train: Data, seed: int) -> tuple[float, float]:
    """Seconds of a training on all rows, and those of them that do not grow with the rows."""
    assert model.fit is not None

    def timed(rows: Data) -> float:
        start = time.perf_counter()
        assert model.fit is not None
        model.fit(rows.x, rows.y, seed)
        return time.perf_counter() - start

    many = _some(train, ROWS, seed)
    if len(many) == len(train):
        return timed(many), 0.0
    few = _some(train, FEW, seed)
    short = min(timed(few), timed(few))  # the first training also sets things up
    return along(len(few), short, len(many), timed(many), len(train))


def along(few: int, short: float, many: int, long: float, rows: int) -> tuple[float, float]:
    """Seconds of a training on so many rows by those on fewer, and the part that is fixed.

    Parameters
    ----------
    few, short, many, long : int, float, int, float
        Rows and seconds of two trainings, the smaller first.
    rows : int
        More than either.
    """
    share = long / many
    # Never steeper than in proportion to the rows, nor so flat that a chance delay decides.
    slope = min(max((long - short) / (many - few), FLATTEST * share), share)
    return long + slope * (rows - many), long - slope * many


def _some(data: Data, count: int, seed: int) -> Data:
    """A random part of the rows with every class in it, where there are more than ``count``."""
    if len(data) <= count:
        return data
    rng = np.random.default_rng(seed)
    order = rng.permutation(len(data))
    _, first = np.unique(data.y[order], return_index=True)
    one_each = order[first[: count // 2]]
    return data.take(np.sort(np.union1d(one_each, order[: count - len(one_each)])))

"""How long a model takes, so that an audit can be planned."""

from __future__ import annotations

import time
from dataclasses import replace

import numpy as np

from crenel.model import Model
from crenel.subject import Data, Subject

#: Most rows that are timed.
ROWS = 5000
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
        trained again, ``extra["fit_seconds"]``, seconds for one training on all training rows:
        timed on at most 5,000 rows and scaled linearly.
    """
    data = subject.test or subject.train
    if subject.model is None or data is None:
        return subject
    extra = {**subject.extra, "query_seconds": _query_seconds(subject.model, data, seed)}
    if subject.model.fit is not None and subject.train is not None:
        extra["fit_seconds"] = _fit_seconds(subject.model, subject.train, seed)
    return replace(subject, extra=extra)


def _query_seconds(model: Model, data: Data, seed: int) -> float:
    rows = _some(data, REMOTE_ROWS if model.remote else ROWS, seed)
    model.predict(rows.take(np.arange(min(len(rows), 8))).x)  # the first call also sets things up
    start = time.perf_counter()
    model.predict(rows.x)
    return (time.perf_counter() - start) / len(rows)


def _fit_seconds(model: Model, train: Data, seed: int) -> float:
    assert model.fit is not None
    rows = _some(train, ROWS, seed)
    start = time.perf_counter()
    model.fit(rows.x, rows.y, seed)
    return (time.perf_counter() - start) * len(train) / len(rows)


def _some(data: Data, count: int, seed: int) -> Data:
    """A random part of the rows with every class in it, where there are more than ``count``."""
    if len(data) <= count:
        return data
    rng = np.random.default_rng(seed)
    order = rng.permutation(len(data))
    _, first = np.unique(data.y[order], return_index=True)
    one_each = order[first[: count // 2]]
    return data.take(np.sort(np.union1d(one_each, order[: count - len(one_each)])))

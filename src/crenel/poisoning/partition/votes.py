"""The plurality of votes, and how many of them must change before another class has it."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def plurality(counts: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Decide by most votes, ties going to the smaller class; certify as Deep Partition Aggregation.

    A training row that is inserted or deleted changes one vote at most, in whatever way. The
    class c with n_c votes stands against r such rows as long as, for every other class c',
    ``n_c - r > n_c' + r``, or equal where c < c' (Levine and Feizi, "Deep partition aggregation",
    2021). As a statement on votes the certificate is exact: one more vote can turn the decision.

    Parameters
    ----------
    counts : ndarray, shape (n, K), int64
        Votes for each class, K at least 2.

    Returns
    -------
    decided : ndarray, shape (n,), int64
    rows : ndarray, shape (n,), int64
        The largest number of training rows inserted or deleted that surely leaves the decision
        as it is; at least 0.
    """
    decided = counts.argmax(axis=1)
    lead = needed(counts, decided)
    np.put_along_axis(lead, decided[:, None], np.iinfo(np.int64).max, axis=1)
    return decided, -(-lead.min(axis=1) // 2) - 1


def needed(counts: NDArray[np.int64], leader: NDArray[np.int64]) -> NDArray[np.int64]:
    """How much each class must gain on a leader to pass it, ties going to the smaller class.

    Parameters
    ----------
    counts : ndarray, shape (n, K)
    leader : ndarray, shape (n,), int64

    Returns
    -------
    ndarray, shape (n, K), int64
        0 or less where a class is ahead already; the leader's own entry means nothing.
    """
    classes = np.arange(counts.shape[1])
    own = np.take_along_axis(counts, leader[:, None], axis=1)
    return np.asarray(own - counts + (leader[:, None] < classes), dtype=np.int64)

"""The gate's tests of the rows themselves: what crowds, and what comes all of one label."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from crenel.errors import SubjectError
from crenel.provenance.outcome import Test
from crenel.provenance.side import Side

#: Row numbers listed at most.
KEPT = 1000


def content_tests(base: Side, batch: Side) -> list[Test]:
    """Look for dense clusters and bursts among a batch's rows, beside the trusted ones.

    Both as in check POI-104: rows much too close together whose labels contradict what is
    around them, in the table that the batch would make; and, in the batch alone, a stretch in
    which nearly all rows have one label although the rest is in no order.

    Parameters
    ----------
    base, batch : Side
        With the same columns; the files of both must be there.

    Returns
    -------
    list of Test
        Not passed (None) where a file's rows are not those of its manifest any more, or the
        label is an amount.
    """
    label = base.roles.label
    if label is None or base.types[label].startswith("float"):
        return [Test("clusters", None, "clusters are judged by labels, and there are none")]
    try:
        frames = [side.rows().to_pandas() for side in (base, batch)]
    except SubjectError as error:
        return [Test("clusters", None, f"the rows were not looked at: {error}")]
    n = len(frames[0])
    x, y = _together(frames, base)
    return [_clusters(x, y, n, batch.name), _bursts(y[n:], batch.name)]


def _together(frames: list[Any], base: Side) -> tuple[Any, NDArray[np.int64]]:
    """The columns that are features, and class indices, of the trusted rows and the batch's."""
    import pandas as pd

    whole = pd.concat(frames, ignore_index=True)
    roles = base.roles
    others = [c for c in (roles.label, roles.source, *roles.key) if c is not None]
    codes, _ = pd.factorize(whole[roles.label].astype(str), sort=True)
    return whole.drop(columns=others), codes.astype(np.int64)


def _clusters(x: Any, y: NDArray[np.int64], n: int, name: str) -> Test:
    from crenel.poisoning.traces.search import crowding
    from crenel.subject import Data

    if x.shape[1] == 0 or y.max() == 0:
        return Test("clusters", None, "there is nothing to compare rows by")
    found = crowding(Data(x, y, np.arange(len(y))), y).found
    own = [c for c in found if (c.blamed >= n).any()]
    if not own:
        return Test("clusters", True, f"no rows of {name} lie too close together")
    rows = np.unique(np.concatenate([c.blamed[c.blamed >= n] - n for c in own]))
    sentence = (
        f"{len(rows):,} rows of {name} lie in {len(own)} dense clusters whose labels contradict "
        f"those around them: {', '.join(str(r) for r in rows[:5].tolist())}"
        + (", …" if len(rows) > 5 else "")
    )
    details = {"rows": rows[:KEPT].tolist(), "clusters": len(own)}
    return Test("clusters", False, sentence, details)


def _bursts(y: NDArray[np.int64], name: str) -> Test:
    from crenel.poisoning.traces.order import find_bursts

    bursts, ordered = find_bursts(y, np.arange(len(y))) if len(y) else ([], False)
    if not bursts:
        told = "follow its order throughout" if ordered else "come in no order"
        return Test("bursts", True, f"the labels of {name} {told}")
    (burst,) = bursts
    sentence = (
        f"of {burst.length:,} rows of {name} from row {burst.start:,}, {burst.share:.0%} have one "
        f"label, of the others {burst.usual:.0%} (p = {burst.p:.2g}, corrected)"
    )
    return Test("bursts", False, sentence, {"rows": burst.rows[:KEPT].tolist(), "p": burst.p})

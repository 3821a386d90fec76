"""Black-box search in the user's own feature space: few fields, legal values, batched queries."""

from __future__ import annotations

import time
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from crenel.errors import UsageError
from crenel.evasion.fields.beam import WIDTH, Best, Enough, deepen, singles
from crenel.evasion.fields.cheapen import change_cost, changed_fields, cheapen
from crenel.evasion.fields.donors import (
    Donors,
    ask_donors,
    borrow,
    closest,
    known_donors,
    nearest,
    scatter,
)
from crenel.evasion.fields.hunting import hunt
from crenel.evasion.fields.legality import fields_changed, legal
from crenel.evasion.fields.oracle import Oracle, Predict, Scores, shares
from crenel.evasion.fields.space import Space, build_space
from crenel.evasion.fields.surrogate import Surrogate
from crenel.schema import Schema

if TYPE_CHECKING:
    import pandas as pd

#: Donors tried for one row.
NEAREST = 8
#: Queries for each row from which on what one row told guides the questions about others.
TELLING = 20
#: Closest calls of each decision that are asked again where the fewest queries are wanted.
AGAIN = 2
#: Integers of one block of rows in memory, at most.
BLOCK = 2**24


@dataclass(frozen=True)
class FieldSearch:
    """What a search found; rows are those examined: the first n of the rows given.

    Attributes
    ----------
    adversarial : pandas.DataFrame, shape (n, d)
        Changed rows; as they were where nothing was found.
    flipped : ndarray of bool, shape (n,)
        Whether a legal change was found that turns the decision, verified by ``predict`` (with
        ``first``: by the answer that turned it).
    changed : ndarray of bool, shape (n, d)
        Which columns the change touches, in the order of the schema.
    counted : ndarray of int64, shape (n,)
        How many fields that is: a one-hot group is one, a derived column none.
    cost : ndarray of float64, shape (n,)
        Its cost in the schema's units; infinite where nothing was found.
    decision : ndarray of int64, shape (n,)
        The decision on the changed row.
    first : ndarray of float64, shape (n,)
        Queries until the first change within ``max_fields`` fields; infinite without one.
    queries : ndarray of int64, shape (n,)
        Queries spent on each row.
    limit : int
        ``max_fields``.
    rejected : int
        Witnesses thrown out because they were illegal or did not turn the decision again.
    asked : int
        Queries in all, those on donors included.
    learnt : int
        Queries on donors: asked once, before the first row, for all rows; not in ``first``.
    """

    adversarial: pd.DataFrame
    flipped: NDArray[np.bool_]
    changed: NDArray[np.bool_]
    counted: NDArray[np.int64]
    cost: NDArray[np.float64]
    decision: NDArray[np.int64]
    first: NDArray[np.float64]
    queries: NDArray[np.int64]
    limit: int
    rejected: int
    asked: int
    learnt: int

    @property
    def fields(self) -> NDArray[np.float64]:
        """Number of changed fields, shape (n,); infinite where nothing was found.

        A one-hot group counts as one field, a derived column as none.
        """
        return np.where(self.flipped, self.counted, np.inf)


def field_search(
    predict: Predict,
    x: pd.DataFrame,
    y: NDArray[np.int64],
    schema: Schema,
    reference: pd.DataFrame,
    *,
    scores: Scores | None = None,
    max_fields: int = 3,
    queries: int = 1000,
    seed: int = 0,
    labels_only: bool = False,
    deadline: float | None = None,
    first: bool = False,
    leave: bool = False,
) -> FieldSearch:
    """Turn decisions by legal changes of few fields, with queries alone.

    All single fields are tried first, those first of which a surrogate, fitted to the answers so
    far, expects most; a beam then adds a second, third… field where the margin is smallest
    (exhaustive where the queries allow; foretold by the surrogate where only labels are seen).
    With labels only, and for rows that still stand, values are borrowed from real rows that are
    decided otherwise, and given back while the decision stays turned. Numbers are at last moved
    back towards the original.
    The result is the fewest fields found, an upper bound of the fewest needed.

    Parameters
    ----------
    predict : callable
        ``predict(frame) -> class indices``, shape (n,).
    x : pandas.DataFrame, shape (n, d)
        Rows to turn, in the user's own columns and values.
    y : ndarray of int64, shape (n,)
        Their decisions, which the model gives and which are to be turned.
    schema : Schema
        Which changes are legal; see `crenel.evasion.legal`.
    reference : pandas.DataFrame
        Rows with realistic values, such as the training data.
    scores : callable or None
        ``scores(frame) -> (n, k)``; None where the attacker sees decisions only.
    max_fields : int
        Fields that the search aims to stay within, at least 1.
    queries : int
        Queries for each row, at least 1; moving numbers back may spend a few more. With fewer
        than 20 there is no surrogate: single fields are tried in random order.
    seed : int
    labels_only : bool
        Do not use ``scores`` though they are given.
    deadline : float or None
        On `time.monotonic`'s clock; rows not begun by then are left out, the first block never.
    first : bool
        Leave a row alone once it has turned, or once nothing that was learnt lets hope that it
        will: the fewest queries instead of the fewest fields. No donors are asked, and a
        witness is not asked again, save for the closest calls where scores were seen.
    leave : bool
        With ``first`` alone: leave the rows that still stand once the latest queries turned fewer
        rows than all of them did on average. That is the most success for a query, for who may
        choose among rows, not the most success.

    Returns
    -------
    FieldSearch

    Raises
    ------
    crenel.errors.UsageError
        Where arguments do not fit, or a constraint of the schema cannot be evaluated.

    Notes
    -----
    Gower's distance (1971) ranks donors; extremely randomised trees (Geurts et al., 2006) are the
    surrogate; delta debugging (Zeller and Hildebrandt, 2002) shrinks borrowed changes; Charnov's
    marginal value theorem (1976) says when to leave. Deterministic for a seed and a deterministic
    model.
    """
    if max_fields < 1 or queries < 1:
        raise UsageError(f"max_fields ({max_fields}) and queries ({queries}) must be at least 1")
    if leave and not first:
        raise UsageError("leave is for searches of the fewest queries: set first too")
    if not len(x) or not len(reference):
        raise UsageError("there are no rows to change, or none to take realistic values from")
    if len(x) != len(y):
        raise UsageError(f"{len(x)} rows but {len(y)} decisions; give one decision for each row")
    missing = [n for n in schema.names if n not in x.columns or n not in reference.columns]
    if missing:
        raise UsageError(f"column {missing[0]!r} of the schema is not in the table")
    rng = np.random.default_rng(seed)
    seen = None if labels_only else scores
    pool = reference[list(schema.names)]
    if first:  # what is asked of donors alone would be most of what such a search asks
        donors = known_donors(x[list(schema.names)], y, pool, rng)
    else:
        donors = ask_donors(predict, seen, pool, y, len(x), rng)
    task = _Task(predict, seen, schema, reference, donors, max_fields, queries, first, leave)
    size = max(1, min(128, BLOCK // (WIDTH * len(schema.features))))
    x = x[list(schema.names)].reset_index(drop=True)
    parts: list[_Found] = []
    for start in range(0, len(x), size):
        if parts and deadline is not None and time.monotonic() >= deadline:
            break
        rows = slice(start, start + size)
        parts.append(task.search(x.iloc[rows].reset_index(drop=True), y[rows], rng))
    return task.verified(_joined(parts), x, y)


@dataclass(frozen=True)
class _Found:
    """Witnesses of a block, as yet unverified: rows of ``witness`` where ``found``."""

    witness: pd.DataFrame
    found: NDArray[np.bool_]
    first: NDArray[np.float64]
    spent: NDArray[np.int64]
    decision: NDArray[np.int64]
    margin: NDArray[np.float64]
    asked: int


@dataclass(frozen=True)
class _Task:
    predict: Predict
    scores: Scores | None
    schema: Schema
    reference: pd.DataFrame
    donors: Donors
    limit: int
    queries: int
    first: bool
    leave: bool

    def search(self, x: pd.DataFrame, y: NDArray[np.int64], rng: np.random.Generator) -> _Found:
        """Search for one block of rows."""
        free = max(1, len(self.schema.mutable))
        width = 16 if self.first else max(3, min(24, self.queries // (2 * free)))
        space = build_space(x, self.donors.rows, self.reference, self.schema, width)
        oracle = self._oracle(space, x, y, int(rng.integers(2**31)))
        shared = self.donors.asked + oracle.asked if self.first and self.leave else None
        best = Best.none(space.n, space.d, self.limit, shared)
        with suppress(Enough):
            self._search(oracle, best, rng)
        witness = space.frame(np.arange(space.n, dtype=np.int64), best.codes)
        return _Found(
            witness, np.isfinite(best.fields), best.first, best.spent, best.decision, best.margin,
            oracle.asked,
        )  # fmt: skip

    def _search(self, oracle: Oracle, best: Best, rng: np.random.Generator) -> None:
        """All ways to turn rows, the cheapest first."""
        moves = oracle.space.moves()
        if self.first and oracle.guide is not None and len(moves):
            hunt(oracle, best, moves, rng, self.queries, leave=self.leave)
            return
        # who wants the fewest queries goes on to pairs soon, who wants the fewest fields late
        most = max(1, self.queries // (1 if self.limit == 1 else 3 if self.first else 2))
        beam, table = singles(oracle, best, moves, rng, most, first=self.first)
        for depth in range(2, self.limit + 1):
            left = self.queries - best.spent[np.isinf(best.fields)].max(initial=0)
            share = left // (self.limit - depth + 2)
            if share < 1 or not len(beam.rows):
                break
            beam = deepen(oracle, best, beam, moves, table, int(share), first=self.first)
        self._restart(oracle, best, rng)

    def _oracle(self, space: Space, x: pd.DataFrame, y: NDArray[np.int64], seed: int) -> Oracle:
        """The model behind a surrogate that knows the answers for donors and unchanged rows."""
        k, guide = self.donors.scores.shape[1], Surrogate(space, y, seed)
        own = shares(y, k) if self.scores is None else np.asarray(self.scores(x), dtype=np.float64)
        told = np.flatnonzero(self.donors.decided >= 0)
        if not self.first:
            guide.tell(space.donor_codes(told), self.donors.scores[told])
        guide.tell(np.repeat(np.arange(space.n, dtype=np.int64)[:, None], space.d, axis=1), own)
        # a tuned threshold decides otherwise than the largest score, somewhere among these
        argmax = self.scores is not None and bool(
            (own.argmax(axis=1) == y).all()
            and (self.donors.scores.argmax(axis=1) == self.donors.decided)[told].all()
        )
        asked = 0 if self.scores is None else space.n
        asks = guide if self.queries >= TELLING else None
        return Oracle(space, y, self.predict, self.scores, argmax, asked, asks, k)

    def _restart(self, oracle: Oracle, best: Best, rng: np.random.Generator) -> None:
        """For rows that stand within the limit: borrow and shrink, then random subsets."""
        rows, donors = nearest(oracle.space, oracle.y, self.donors.decided, NEAREST)
        stands = np.isinf(best.fields)[rows]
        if self.scores is None and not self.first:  # labels guide little: fewer may do
            stands = (best.fields > 1)[rows]
        pairs = rows[stands], donors[stands]
        left = self.queries - best.spent
        borrow(oracle, best, pairs, best.spent + left * 3 // 4, rng)
        for _ in range(4):
            still = (best.fields > self.limit)[pairs[0]]
            pairs = pairs[0][still], pairs[1][still]
            quota = np.full(oracle.space.n, self.queries)
            scatter(oracle, best, pairs, max(1, self.queries // 16), quota, rng)

    def _decided(
        self, got: _Found, witness: pd.DataFrame, found: NDArray[np.int64]
    ) -> tuple[NDArray[np.int64], int]:
        """Decisions on witnesses, and what was asked for them.

        Who wants the fewest queries asks nothing again: the answer that turned a row is taken,
        where scores were seen once the closest calls are decided as the scores say.
        """
        told = got.decision[found]
        if self.first:
            close = closest(told, -got.margin[found], AGAIN if self.scores is not None else 0)
            asked = np.asarray(self.predict(witness.iloc[close])) if len(close) else told[:0]
            if (asked == told[close]).all():
                return told, len(close)
        return np.asarray(self.predict(witness)), len(found)

    def verified(self, got: _Found, x: pd.DataFrame, y: NDArray[np.int64]) -> FieldSearch:
        """Cheaper witnesses, each checked again by the model and by `legal` on the frame."""
        n = len(got.found)
        x, y, found = x.iloc[:n], y[:n], np.flatnonzero(got.found)
        changed, decision, spent = x.copy(), y.astype(np.int64), 0
        if found.size:
            before = x.iloc[found].reset_index(drop=True)
            witness = got.witness.iloc[found].reset_index(drop=True)
            if not self.first:
                witness, spent = cheapen(self.predict, before, witness, y[found], self.schema)
            changed = _put(x, witness, found)
            decision[found], again = self._decided(got, witness, found)
            spent += again
        flipped = (decision != y) & legal(x, changed, self.schema)
        bad = np.flatnonzero(got.found & ~flipped)
        changed, decision[bad] = _put(changed, x.iloc[bad], bad), y[bad]
        touched = changed_fields(x, changed, self.schema)
        return FieldSearch(
            adversarial=changed,
            flipped=flipped,
            changed=touched,
            counted=fields_changed(touched, self.schema),
            cost=np.where(flipped, change_cost(x, changed, self.schema), np.inf),
            decision=decision,
            first=np.where(flipped, got.first, np.inf),
            queries=got.spent,
            limit=self.limit,
            rejected=len(bad),
            asked=got.asked + spent + self.donors.asked,
            learnt=self.donors.asked,
        )


def _put(x: pd.DataFrame, rows: pd.DataFrame, at: NDArray[np.int64]) -> pd.DataFrame:
    """A frame with some rows replaced, dtypes kept."""
    import pandas as pd

    codes = np.arange(len(x), dtype=np.int64)
    codes[at] = len(x) + np.arange(len(at))
    return (
        pd.concat([x, rows[list(x.columns)]], ignore_index=True).iloc[codes].reset_index(drop=True)
    )


def _joined(parts: list[_Found]) -> _Found:
    """The blocks of a search as one."""
    import pandas as pd

    return _Found(
        witness=pd.concat([p.witness for p in parts], ignore_index=True),
        found=np.concatenate([p.found for p in parts]),
        first=np.concatenate([p.first for p in parts]),
        spent=np.concatenate([p.spent for p in parts]),
        decision=np.concatenate([p.decision for p in parts]),
        margin=np.concatenate([p.margin for p in parts]),
        asked=sum(p.asked for p in parts),
    )

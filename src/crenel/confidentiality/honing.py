"""What a stolen copy saves the attacker who turns decisions: search offline, ask to verify."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from crenel.access import Access
from crenel.check import Context
from crenel.confidentiality.copying import CHECK
from crenel.confidentiality.surrogates import Surrogate
from crenel.exposure import Budget, Exposure, Harm, Health
from crenel.model import Model
from crenel.schema import Schema
from crenel.statistics import proportion
from crenel.subject import take_rows

#: Queries that the search asks about one row at most, of the model or of the copy.
QUERIES = 300
#: Fields that a change may touch.
FIELDS = 3
#: By how much the copy must prefer the other decision, in the order of the proposals: changes
#: that only just turn the copy seldom turn the model.
MARGINS = (0.4, 0.2, 0.05)
GRID = (1, 2, 3, 5, 10, 20, 50, 100, 200, 300)


@dataclass(frozen=True)
class Turned:
    """What turning n decisions cost.

    Attributes
    ----------
    first : ndarray, shape (n,)
        Queries of the model about a row until its decision was turned; infinite: never.
    spent : ndarray, shape (n,)
        Queries of the model about a row in all.
    """

    first: NDArray[np.float64]
    spent: NDArray[np.float64]

    @property
    def flips(self) -> int:
        """Decisions turned."""
        return int(np.isfinite(self.first).sum())

    @property
    def cost(self) -> float:
        """Queries of the model for each decision turned; infinite where none was."""
        return float(self.spent.sum()) / self.flips if self.flips else float("inf")


def turn_directly(
    model: Model, x: Any, reference: Any, schema: Schema, context: Context, labels_only: bool
) -> Turned:
    """Search for changes of few fields by asking the model itself.

    Parameters
    ----------
    model : Model
    x : DataFrame, n rows
        Rows whose decisions are to be turned.
    reference : DataFrame
        Rows with realistic values.
    schema : Schema
        Which changes are legal.
    context : Context
    labels_only : bool
        Whether the attacker sees decisions only.

    Returns
    -------
    Turned
        Of the first rows only, where the deadline comes first.
    """
    from crenel.evasion.fields.search import field_search

    found = field_search(
        model.predict,
        x,
        model.predict(x),
        schema,
        reference,
        scores=None if labels_only else model.score,
        max_fields=FIELDS,
        queries=QUERIES,
        seed=context.derive_seed("direct"),
        deadline=None if context.deadline is None else time.monotonic() + context.time_left() / 2,
    )
    within = found.flipped & (found.changed.sum(axis=1) <= FIELDS)
    # What the search learnt from other rows was asked of the model too: each row bears its share.
    learnt = found.learnt / max(1, len(found.first))
    first = np.where(within, found.first + learnt, np.inf)
    # A row is left as soon as it is turned; one that is not costs all that was spent on it.
    return Turned(first=first, spent=np.where(np.isfinite(first), first, found.queries + learnt))


def turn_by_copy(
    model: Model, copied: Surrogate, x: Any, reference: Any, schema: Schema, context: Context
) -> Turned:
    """Search on the copy, which costs nothing, and ask the model about its proposals only.

    Parameters
    ----------
    copied : Surrogate
    model, x, reference, schema, context
        As in `turn_directly`.
    """
    decided = model.predict(x)
    first, spent = np.full(len(x), np.inf), np.zeros(len(x))
    for margin in MARGINS:
        for label in np.unique(decided):
            rows = np.flatnonzero(np.isinf(first) & (decided == label))
            if not len(rows) or (context.expired and spent.any()):
                continue
            changed, turns = _propose(
                copied, take_rows(x, rows), int(label), margin, reference, schema, context
            )
            rows, changed = rows[turns], take_rows(changed, np.flatnonzero(turns))
            if not len(rows):
                continue
            spent[rows] += 1
            won = model.predict(changed) != label
            first[rows[won]] = spent[rows[won]]
    return Turned(first, spent)


def _propose(
    copied: Surrogate,
    x: Any,
    label: int,
    margin: float,
    reference: Any,
    schema: Schema,
    context: Context,
) -> tuple[Any, NDArray[np.bool_]]:
    """Changed rows that the copy does not give a label, by a margin; and which of them are."""
    from crenel.evasion.fields.search import field_search

    def scores(rows: Any) -> NDArray[np.float64]:
        biased = copied.scores(rows)
        biased[:, label] += margin
        return biased

    found = field_search(
        lambda rows: scores(rows).argmax(axis=1),
        x,
        np.full(len(x), label, dtype=np.int64),
        schema,
        reference,
        scores=scores,
        max_fields=FIELDS,
        queries=QUERIES,
        seed=context.derive_seed("copy", label, margin),
    )
    within = found.flipped & (found.changed.sum(axis=1) <= FIELDS) & found.changed.any(axis=1)
    return found.adversarial, within


def honing_exposures(
    without: Turned, honed: Turned, access: Access, health: Health, context: Context
) -> tuple[Exposure, Exposure]:
    """Decisions turned against queries about each: with the copy, and on the model alone."""
    pairs = (("turning decisions by the copy", honed), ("turning decisions directly", without))
    words = f"{without.cost:.0f} without" if without.flips else "none is turned without"
    lead = f"with the copy a turned decision costs {honed.cost:.1f} queries, {words}"
    lead = lead if honed.flips else f"no proposal of the copy turns a decision; {words}"
    made = []
    for series, turned in pairs:
        shares = [proportion(int((turned.first <= q).sum()), len(turned.first)) for q in GRID]
        made.append(
            Exposure(
                check=CHECK,
                risk="confidentiality",
                series=series,
                role="reference",
                access=access,
                budget=Budget(
                    name="queries for each decision", values=tuple(map(float, GRID)), scale="log"
                ),
                harm=Harm(
                    name=f"decisions turned by at most {FIELDS} fields",
                    values=tuple(s.value for s in shares),
                    low=tuple(s.low for s in shares),
                    high=tuple(s.high for s in shares),
                ),
                n=len(turned.first),
                seed=context.seed,
                queries=int(turned.spent.sum()),
                seconds=context.elapsed,
                health=health,
                headline=lead,
            )
        )
    return made[0], made[1]

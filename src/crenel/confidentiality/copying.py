"""Model extraction: how good a copy do so many queries buy?"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from crenel.access import Access, Attacker
from crenel.check import Context
from crenel.confidentiality.encoding import encoder
from crenel.confidentiality.queries import make_queries
from crenel.confidentiality.surrogates import Surrogate, copy_model
from crenel.errors import Inconclusive
from crenel.exposure import Budget, Exposure, Harm, Health, HealthTest
from crenel.model import Model
from crenel.schema import Schema
from crenel.statistics import Interval, proportion
from crenel.subject import take_rows

if TYPE_CHECKING:
    from collections.abc import Sequence

Floats = NDArray[np.float64]

CHECK = "CON-102"
#: Numbers of queries at which the copy is compared with the model.
BUDGETS = (50, 100, 200, 500, 1_000, 2_000, 5_000, 10_000)
#: Rows like the model's own that the attacker has, and rows to compare on, at most.
KNOWN, HELD_OUT = 2_000, 2_000


@dataclass(frozen=True)
class Theft:
    """What a copy is worth.

    Attributes
    ----------
    budgets : tuple of int
        Queries spent, ascending.
    agreement : tuple of Interval
        Share of the held-out rows on which copy and model decide alike.
    majority : float
        Share of them that the model's most frequent decision has: what a copy that always gives
        one answer reaches.
    surrogate : Surrogate
        The copy of the largest budget.
    held_out : DataFrame or ndarray
        Rows compared on, never asked about.
    queries : int
        Rows asked of the model, those for comparison included.
    """

    budgets: tuple[int, ...]
    agreement: tuple[Interval, ...]
    majority: float
    surrogate: Surrogate
    held_out: Any
    queries: int

    def gain(self, i: int) -> float:
        """Share of what the constant copy misses that copy i reproduces, at the low end."""
        return max(0.0, (self.agreement[i].low - self.majority) / (1 - self.majority))


def steal(
    model: Model,
    x: Any,
    context: Context,
    *,
    schema: Schema | None = None,
    labels_only: bool = False,
    budgets: Sequence[int] = BUDGETS,
) -> Theft:
    """Copy a model by its answers, with ever more of them.

    Parameters
    ----------
    model : Model
        A classifier.
    x : DataFrame or ndarray, n rows
        Rows that the model was not trained on; half of them are the attacker's, the others are
        for comparison.
    context : Context
    schema : Schema, optional
    labels_only : bool
        Whether the attacker sees decisions only.
    budgets : sequence of int
        Ascending; those that the deadline leaves no time for are left out.

    Raises
    ------
    Inconclusive
        Where the model decides all rows alike: any constant copies it.
    """
    rng = context.rng("rows")
    order = rng.permutation(len(x))
    half = len(x) // 2
    held_out = take_rows(x, np.sort(order[half : half + HELD_OUT]))
    decided = model.predict(held_out)
    majority = float(np.bincount(decided, minlength=model.k).max() / len(decided))
    if majority == 1.0:
        raise Inconclusive("the model decides all held-out rows alike, so that nothing is copied")
    asked = make_queries(take_rows(x, order[:half][:KNOWN]), budgets[-1], rng, schema)
    reachable = [b for b in budgets if b <= len(asked)] or [len(asked)]
    answers = ask(model, take_rows(asked, np.arange(reachable[-1])), labels_only)
    agreement, copied, spent = [], None, 0.0
    for budget in reachable:
        # Training takes longer by the number of answers, more or less.
        if copied is not None and context.time_left() < 2.5 * spent:
            break
        begun = time.monotonic()
        part = take_rows(asked, np.arange(budget))
        copied = copy_model(part, answers[:budget], context.rng("copy", budget))
        agrees = int((copied.predict(held_out) == decided).sum())
        agreement.append(proportion(agrees, len(decided)))
        spent = time.monotonic() - begun
        context.progress(0.8 * budget / reachable[-1])
    assert copied is not None
    return Theft(
        budgets=tuple(reachable[: len(agreement)]),
        agreement=tuple(agreement),
        majority=majority,
        surrogate=copied,
        held_out=held_out,
        queries=reachable[-1] + len(held_out),
    )


def ask(model: Model, x: Any, labels_only: bool) -> Floats:
    """Answers (n, k): probabilities, or one-hot decisions where only those are seen."""
    if not labels_only and model.score is not None:
        return model.probabilities(x)
    answers = np.zeros((len(x), model.k))
    answers[np.arange(len(x)), model.predict(x)] = 1.0
    return answers


def extraction_health(theft: Theft, x: Any, context: Context) -> Health:
    """Whether the copying works at all: on a simple model, and ever better with more queries."""
    best, last = max(a.value for a in theft.agreement), theft.agreement[-1]
    slack = last.value - last.low
    copied = copy_of_a_simple_model(x, context.rng("simple"))
    return Health.of(
        HealthTest(
            name="more queries make no worse a copy",
            ok=last.value >= best - 0.03 - slack,
            detail=f"agreement {last.value:.3f} at the end, {best:.3f} at most",
        ),
        HealthTest(
            name="a simple model on the same rows is copied",
            ok=copied.low >= 0.75,
            detail=f"agreement {copied.value:.3f} [{copied.low:.3f}, {copied.high:.3f}]",
        ),
    )


def copy_of_a_simple_model(x: Any, rng: np.random.Generator, queries: int = 400) -> Interval:
    """Agreement of a copy with a simple model on the user's rows, by decisions only.

    For tables a tree of three levels; for images, of whose pixels a tree sees three only, a cut
    across the direction in which the rows differ most.
    """
    from sklearn.tree import DecisionTreeClassifier

    rows = take_rows(x, rng.permutation(len(x))[: 2 * KNOWN])
    encode = encoder(rows)
    matrix = np.nan_to_num(encode(rows), nan=-1.0)
    spread = matrix.std(axis=0) + 1e-12
    centred = matrix - matrix.mean(axis=0)
    if hasattr(rows, "iloc"):
        target = (centred / spread) @ rng.normal(size=matrix.shape[1])
        tree = DecisionTreeClassifier(max_depth=3, random_state=0)
        decided = tree.fit(matrix, target > np.median(target)).predict(matrix).astype(int)
    else:
        target = centred @ np.linalg.svd(centred, full_matrices=False)[2][0]
        decided = (target > np.median(target)).astype(int)
    half = min(queries, len(decided) // 2)
    answers = np.eye(2)[decided]
    copied = copy_model(take_rows(rows, np.arange(half)), answers[:half], rng)
    agrees = copied.predict(take_rows(rows, np.arange(half, len(decided)))) == decided[half:]
    return proportion(int(agrees.sum()), len(agrees))


def exposure_of(theft: Theft, access: Access, health: Health, context: Context) -> Exposure:
    """Agreement against queries."""
    last, spent = theft.agreement[-1], theft.budgets[-1]
    return Exposure(
        check=CHECK,
        risk="confidentiality",
        series="copy",
        access=access,
        budget=Budget(
            name="queries", unit="rows", values=tuple(map(float, theft.budgets)), scale="log"
        ),
        harm=Harm(
            name="decisions that the stolen copy reproduces",
            values=tuple(a.value for a in theft.agreement),
            low=tuple(a.low for a in theft.agreement),
            high=tuple(a.high for a in theft.agreement),
            baseline=theft.majority,
        ),
        n=len(theft.held_out),
        seed=context.seed,
        queries=theft.queries,
        seconds=context.elapsed,
        health=health,
        headline=(
            f"{spent:,} queries buy a copy that decides {100 * last.value:.1f} % "
            f"[{100 * last.low:.1f}, {100 * last.high:.1f}] of cases as the model does; "
            f"always giving one answer reaches {100 * theft.majority:.0f} %"
        ),
    )


def extraction(
    model: Any,
    x: Any,
    *,
    schema: Schema | None = None,
    labels_only: bool = False,
    budgets: Sequence[int] = BUDGETS,
    seed: int = 0,
    deadline: float | None = None,
) -> Exposure:
    """Measure how good a copy of a classifier its answers buy (Tramèr et al., 2016).

    Parameters
    ----------
    model : Model or object
        Anything `crenel.adapters.wrap` takes.
    x : DataFrame or ndarray, n rows
        Rows like those that the model is used on, at least 40; half of them are the attacker's,
        who makes more of them (`crenel.confidentiality.queries.make_queries`).
    schema : Schema, optional
        Its rules hold for the rows asked.
    labels_only : bool
        Whether the attacker sees decisions only.
    budgets : sequence of int
        Numbers of queries, ascending.
    seed : int
    deadline : float, optional
        Seconds.

    Returns
    -------
    Exposure
        Harm: share of held-out decisions that copy and model have in common (Wilson interval).

    Raises
    ------
    Inconclusive
        With fewer than 40 rows, or where the model decides all rows alike.
    """
    from crenel.adapters import wrap

    limit = None if deadline is None else time.monotonic() + deadline
    context = Context(check=CHECK, seed=seed, deadline=limit)
    if len(x) < 40:
        raise Inconclusive(f"{len(x)} rows are too few to copy a model and compare; give 40")
    victim = wrap(model)
    theft = steal(
        victim, x, context, schema=schema, labels_only=labels_only, budgets=sorted(budgets)
    )
    seen = Attacker.LABELS if labels_only or victim.score is None else Attacker.SCORES
    health = extraction_health(theft, x, context)
    return exposure_of(theft, Access(attacker=seen), health, context)

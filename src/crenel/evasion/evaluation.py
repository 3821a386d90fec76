"""One call for library users: how much harm small changes do to any model."""

from __future__ import annotations

import math
import time
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from crenel.access import Access, Attacker
from crenel.adapters.labels import as_labels, index_of, shown
from crenel.errors import SubjectError, UsageError
from crenel.evasion.curves import flip_curve, percent, telling
from crenel.exposure import Exposure, Health, HealthTest
from crenel.model import Model
from crenel.statistics import Interval, proportion
from crenel.subject import is_tree_ensemble

#: Default radii as shares of the range of the data.
SHARES = (0.01, 0.02, 0.05, 0.1, 0.2)


def evaluate(
    model: Any,
    x: Any,
    y: ArrayLike,
    norm: float = math.inf,
    epsilons: Any = None,
    *,
    bounds: tuple[Any, Any] | None = None,
    queries: int = 500,
    seed: int = 0,
    time_limit: float | None = None,
) -> Exposure:
    """The share of correct decisions that a change of at most epsilon flips.

    The strongest attack that the model allows is used: gradients of a torch module, the exact
    distance of a tree ensemble (L-inf; an upper and a lower bound in L2), queries of any other
    model.

    Parameters
    ----------
    model : object
        A torch module, a fitted scikit-learn, XGBoost or LightGBM classifier, a function from
        rows to classes or probabilities, or a `crenel.model.Model`.
    x : ndarray, tensor or frame of numbers, shape (n, …)
    y : array_like, shape (n,)
        True classes: the model's own labels, or indices 0 to k - 1 where it has none, as a torch
        module or a function that gives probabilities. Rows that are decided wrongly as they are
        do not count.
    norm : float
        ``inf`` or 2.
    epsilons : sequence of float, optional
        Radii in units of ``x``, positive; by default 1 to 20 % of the range of the data.
    bounds : (low, high), optional
        Legal range of the values; by default that of ``x``.
    queries : int
        For each row and epsilon, where the model only answers queries.
    seed : int
    time_limit : float, optional
        Seconds; an attack that is cut short gives less harm and says so in its health.

    Returns
    -------
    Exposure

    Raises
    ------
    crenel.errors.UsageError
        Where an argument is out of range, a label is not among the model's, or no row is decided
        correctly.
    """
    rows = _numbers(x)
    labels = as_labels(y.detach().cpu().numpy() if hasattr(y, "detach") else y)
    if len(rows) != len(labels) or not len(rows):
        raise UsageError(f"{len(rows)} rows but {len(labels)} classes; give one class for each row")
    low, high = bounds if bounds is not None else (float(rows.min()), float(rows.max()))
    width = float(np.max(np.asarray(high) - np.asarray(low)))
    radii = np.unique(np.asarray(SHARES if epsilons is None else epsilons, dtype=np.float64))
    radii = radii * width if epsilons is None else radii
    if norm not in (2, math.inf) or not (radii.size and np.isfinite(radii).all() and radii[0] > 0):
        raise UsageError("norm must be math.inf or 2, and epsilons positive and finite")
    wrapped = _model(model, rows, labels)
    right = _indices(labels, wrapped)
    job = _Job(rows, right, norm, radii, (low, high), queries, seed, time_limit)
    return _exposure(job, *job.run(wrapped))


def _numbers(x: Any) -> NDArray[Any]:
    """Rows as an array of floats."""
    if hasattr(x, "detach"):
        x = x.detach().cpu().numpy()
    x = x.to_numpy() if hasattr(x, "to_numpy") else np.asarray(x)
    return x if x.dtype in (np.float32, np.float64) else np.asarray(x, dtype=np.float64)


def _model(model: Any, rows: NDArray[Any], labels: NDArray[Any]) -> Model:
    from crenel.adapters import wrap

    found = wrap(model, sample=rows[:16])
    if found.framework != "function" or found.score is not None or isinstance(model, Model):
        return found
    from crenel.data.modelling import distinct

    # a function that gives labels does not say which there are: those of all rows
    seen = wrap(model, sample=rows).classes
    return wrap(model, sample=rows[:16], classes=distinct(as_labels([*seen, *labels])))


def _indices(labels: NDArray[Any], model: Model) -> NDArray[np.int64]:
    """Indices of labels among the model's classes."""
    from crenel.data.modelling import distinct

    try:
        return index_of(labels, model.classes)
    except SubjectError as error:
        raise UsageError(
            f"y holds {shown(as_labels(distinct(labels)))}, and the model's classes are "
            f"{shown(model.classes)}; give each row's class as the model names it"
        ) from error


class _Job:
    """One evaluation: which attack, and what it gives."""

    def __init__(
        self, x: NDArray[Any], y: NDArray[np.int64], norm: float, radii: NDArray[np.float64],
        bounds: tuple[Any, Any], queries: int, seed: int, limit: float | None,
    ) -> None:  # fmt: skip
        self.x, self.y, self.norm, self.radii, self.bounds = x, y, norm, radii, bounds
        self.queries, self.seed, self.limit = queries, seed, limit
        self.begun = time.monotonic()

    @property
    def deadline(self) -> float | None:
        """On the monotonic clock."""
        return None if self.limit is None else self.begun + self.limit

    def run(self, model: Model) -> tuple[Any, Any, Health, Attacker]:
        """Distances (lower, upper) of the correct rows, health, and the attacker."""
        if model.module is not None:
            return self._by_gradients(model)
        correct = np.flatnonzero(np.asarray(model.predict(self.x)) == self.y)
        if not correct.size:
            raise UsageError("no row is decided correctly; is y in the order of x?")
        if is_tree_ensemble(model.final) and model.transform is None:
            return self._by_trees(model, correct)
        return self._by_queries(model, correct)

    def _by_gradients(self, model: Model) -> tuple[Any, Any, Health, Attacker]:
        from crenel.evasion.robustness import robustness

        got = robustness(
            model, self.x, self.y, norm=self.norm, epsilons=self.radii, bounds=self.bounds,
            seed=self.seed, deadline=self.deadline,
        )  # fmt: skip
        if not got.attack.correct.any():
            raise UsageError("no row is decided correctly; is y in the order of x?")
        needed = got.attack.smallest[got.attack.correct]
        return needed, needed, Health.of(*got.tests), Attacker.GRADIENTS

    def _by_trees(self, model: Model, rows: NDArray[np.int64]) -> tuple[Any, Any, Health, Attacker]:
        from crenel.evasion.trees import tree_distance

        low, high = (np.broadcast_to(b, self.x.shape[1:]) for b in self.bounds)
        got = tree_distance(
            model.final, self.x[rows], self.y[rows], norm=self.norm, box=(low, high),
            deadline=self.limit, indices=True,
        )  # fmt: skip
        hit = np.isfinite(got.upper)
        wrong = model.predict(got.adversarial[hit]) != self.y[rows[hit]]
        decided = int(got.exact.sum())
        health = Health.of(
            HealthTest(
                name="the model decides every witness otherwise", ok=bool(wrong.all()),
                detail=f"{int(wrong.sum())} of {len(wrong)}",
            ),
            HealthTest(
                name="distances are exact", ok=decided >= 0.9 * len(rows),
                detail=f"{decided} of {len(rows)} rows",
            ),
        )  # fmt: skip
        return got.lower, got.upper, health, Attacker.WEIGHTS

    def _by_queries(
        self, model: Model, rows: NDArray[np.int64]
    ) -> tuple[Any, Any, Health, Attacker]:
        from crenel.evasion.searching import margins_of, smallest_radius

        margins = margins_of(model.predict, model.score)
        x, y = self.x[rows], self.y[rows]

        def search(part: slice, radii: NDArray[np.float64], times: int, seed: int) -> Any:
            return smallest_radius(
                margins, x[part], y[part], radii, norm=self.norm, low=self.bounds[0],
                high=self.bounds[1], queries=self.queries * times, seed=seed,
            )  # fmt: skip

        needed = search(slice(None), self.radii, 1, self.seed)
        widths = np.asarray(self.bounds[1]) - np.asarray(self.bounds[0])
        wide = np.broadcast_to(widths, x.shape[1:]).ravel().astype(np.float64)
        widest = float(wide.max() if self.norm == math.inf else np.linalg.norm(wide))
        few = slice(0, 64)
        all_fall = np.isfinite(search(few, np.array([widest]), 1, self.seed + 1)).mean()
        longer = (search(few, self.radii, 3, self.seed) <= self.radii[-1]).mean()
        before = (needed[few] <= self.radii[-1]).mean()
        health = Health.of(
            HealthTest(
                name="unlimited epsilon reaches full harm", ok=bool(all_fall >= 0.98),
                detail=f"{all_fall:.0%} of {len(needed[few])} rows",
            ),
            HealthTest(
                name="three times the queries change little", ok=bool(longer - before <= 0.05),
                detail=f"{before:.0%} of rows, then {longer:.0%}",
            ),
        )  # fmt: skip
        seen = Attacker.LABELS if model.score is None else Attacker.SCORES
        return needed, needed, health, seen


def _exposure(job: _Job, lower: Any, upper: Any, health: Health, seen: Attacker) -> Exposure:
    n = len(upper)
    found = [proportion(int((upper <= e).sum()), n) for e in job.radii]
    possible = [proportion(int((lower <= e).sum()), n) for e in job.radii]
    shares = [Interval(f.value, f.low, max(f.high, p.high)) for f, p in zip(found, possible)]
    i = telling(shares)
    name = "L-inf" if job.norm == math.inf else "L2"
    return flip_curve(
        check="evaluate", name=f"{name} distance", unit="units of the rows", series=name,
        budgets=job.radii, shares=shares, n=n, access=Access(attacker=seen), seed=job.seed,
        health=health, seconds=time.monotonic() - job.begun, scale="log",
        headline=f"a change of {name} size {job.radii[i]:.3g} flips {percent(shares[i])} "
        "of correct decisions",
    )  # fmt: skip

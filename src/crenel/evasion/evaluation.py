"""One call for library users: how much harm small changes do to any model."""

from __future__ import annotations

import math
import time
from typing import Any, TypedDict, Unpack

import numpy as np
from numpy.typing import ArrayLike, NDArray

from crenel.access import Access, Attacker
from crenel.adapters.labels import as_labels, index_of, shown
from crenel.check import Level
from crenel.errors import SubjectError, UsageError
from crenel.evasion.curves import HARM, sandwich
from crenel.evasion.examining import Examination, examine
from crenel.evasion.gradients.aiming import HARM as AIMED
from crenel.evasion.gradients.aiming import towards
from crenel.evasion.lattice import Lattice, lattice_of
from crenel.evasion.levels import Precision, check_precision, gradients
from crenel.evasion.verdicts import Verdicts
from crenel.exposure import Exposure
from crenel.model import Model

#: Default radii as shares of the range of the data.
SHARES = (0.01, 0.02, 0.05, 0.1, 0.2)
#: Default radii in L0: shares of the number of values of a row.
SHARES_L0 = (0.005, 0.01, 0.02, 0.05, 0.1)


def evaluate(
    model: Any,
    x: Any,
    y: ArrayLike,
    norm: float = math.inf,
    epsilons: Any = None,
    access: Access | Attacker | str | None = None,
    *,
    bounds: tuple[Any, Any] | None = None,
    lattice: Lattice | None = None,
    level: Level = "standard",
    queries: int = 500,
    seed: int = 0,
    time_limit: float | None = None,
    targets: Any = None,
    precision: Precision = "single",
) -> Exposure:
    """The share of correct decisions that a change of at most epsilon flips, from both sides.

    The strongest attack that the model and the attacker's access allow is used: gradients of a
    torch module, the exact distance of a tree ensemble, queries of any other model. The curve is
    a sandwich: ``harm.values`` is the share broken, each with a witness that the model itself
    decides otherwise; ``harm.possible`` is the share that is not certified. `verdicts_of` gives
    both bounds row by row.

    Parameters
    ----------
    model : object
        A torch module, a fitted scikit-learn, XGBoost or LightGBM classifier, a function from
        rows to classes or probabilities, or a `crenel.model.Model`.
    x : ndarray, tensor or frame of numbers, shape (n, …)
        In the dtype in which rows are stored: a change counts only where it survives that.
    y : array_like, shape (n,)
        True classes: the model's own labels, or indices 0 to k - 1 where it has none, as a torch
        module or a function that gives probabilities. Rows that are decided wrongly as they are
        do not count.
    norm : float
        0 (number of changed values), 1, 2 or ``inf``.
    epsilons : sequence of float, optional
        Radii in units of ``x``, positive; by default 1 to 20 % of the range of the data (L0: 0.5
        to 10 % of the values).
    access : Access or {"weights", "gradients", "scores", "labels"}, optional
        What the attacker has; by default the strongest that the model allows. An `Access` also
        limits the queries of a row to ``queries_per_day``, and may name a ``goal``: see targets.
    bounds : (low, high), optional
        Legal range of the values; by default that of ``x``.
    lattice : Lattice, optional
        Legal values; by default what ``x`` shows: whole numbers, 8-bit pixels, one-hot groups.
    level : {"quick", "standard", "deep"}
        At most 80, 300 or 1,500 gradients for each row.
    queries : int
        For each row, where the model only answers queries.
    seed : int
    time_limit : float, optional
        Seconds; an attack that is cut short gives less harm and says so in its health.
    targets : label, or array_like of labels, shape (n,), optional
        The class that all rows, or each row, shall be taken for: the harm is the share of rows
        that the model then decides for just that class. Rows of that class already are neither
        attacked nor counted. By default every wrong class counts.
    precision : {"single", "mixed"}
        "mixed" computes most gradients in bfloat16, which pays on devices that multiply it faster;
        every witness is asked of the model as it is. Of no effect where there are no gradients.

    Returns
    -------
    Exposure

    Raises
    ------
    crenel.errors.UsageError
        Where an argument is out of range, a label is not among the model's, no row is decided
        correctly, or the model does not give what the attacker has.
    """
    asked, wrapped = _asked(
        model, x, y, norm, epsilons, access, bounds=bounds, lattice=lattice, level=level,
        queries=queries, seed=seed, time_limit=time_limit, targets=targets, precision=precision,
    )  # fmt: skip
    found = examine(wrapped, asked)
    name = "L-inf" if norm == math.inf else f"L{norm:g}"
    unit = "values" if norm == 0 else "units of the rows"
    aimed = asked.goal is not None
    return sandwich(
        found, asked.radii, check="evaluate", name=f"{name} distance", unit=unit,
        access=_access(access).model_copy(update={"attacker": found.attacker}), seed=seed,
        series=f"{name}, to a chosen class" if aimed else name,
        seconds=time.monotonic() - asked.begun, exact=found.attacker is Attacker.WEIGHTS,
        headline=towards(found, asked.radii, name) if aimed else None,
        harm=AIMED if aimed else HARM,
    )  # fmt: skip


class Options(TypedDict, total=False):
    """The further arguments of `evaluate`."""

    bounds: tuple[Any, Any] | None
    lattice: Lattice | None
    level: Level
    queries: int
    seed: int
    time_limit: float | None
    targets: Any
    precision: Precision


def verdicts_of(
    model: Any,
    x: Any,
    y: ArrayLike,
    norm: float = math.inf,
    epsilons: Any = None,
    access: Access | Attacker | str | None = None,
    **options: Unpack[Options],
) -> Verdicts:
    """How each row ends: broken with a witness, certified, or undecided.

    Parameters
    ----------
    model, x, y, norm, epsilons, access, **options
        See `evaluate`.

    Returns
    -------
    Verdicts
        With a lower and an upper bound on the smallest change for each row, and the witnesses.

    Raises
    ------
    crenel.errors.UsageError
        See `evaluate`.
    """
    asked, wrapped = _asked(model, x, y, norm, epsilons, access, **options)
    return examine(wrapped, asked)


def _access(access: Access | Attacker | str | None) -> Access:
    if isinstance(access, Access):
        return access
    try:
        return Access() if access is None else Access(attacker=Attacker(access))
    except ValueError:
        known = ", ".join(a.value for a in Attacker)
        raise UsageError(f"access must be one of {known}, not {access!r}") from None


def _asked(
    model: Any, x: Any, y: ArrayLike, norm: float, epsilons: Any,
    access: Access | Attacker | str | None, *, bounds: tuple[Any, Any] | None = None,
    lattice: Lattice | None = None, level: Level = "standard", queries: int = 500, seed: int = 0,
    time_limit: float | None = None, targets: Any = None, precision: Precision = "single",
) -> tuple[Examination, Model]:  # fmt: skip
    """The checked question, and the model as crenel sees it."""
    rows = _numbers(x)
    labels = as_labels(y.detach().cpu().numpy() if hasattr(y, "detach") else y)
    if len(rows) != len(labels) or not len(rows):
        raise UsageError(f"{len(rows)} rows but {len(labels)} classes; give one class for each row")
    low, high = bounds if bounds is not None else (rows.min(), rows.max())
    radii = _radii(rows, norm, epsilons, low, high)
    gradients(level)
    check_precision(precision)
    wrapped = _model(model, rows, labels)
    seen = _access(access)
    targets = seen.goal if targets is None else targets
    asked = Examination(
        x=rows, y=_indices(labels, wrapped), norm=norm, radii=radii,
        lattice=lattice or lattice_of(rows, low, high),
        attacker=None if access is None else seen.attacker, level=level,
        queries=min(queries, seen.queries_per_day or queries), seed=seed, limit=time_limit,
        goal=None if targets is None else _goals(targets, len(rows), wrapped), precision=precision,
    )  # fmt: skip
    return asked, wrapped


def _goals(targets: Any, n: int, model: Model) -> NDArray[np.int64]:
    """Index of the class that each row shall be taken for."""
    given = targets.detach().cpu().numpy() if hasattr(targets, "detach") else targets
    if isinstance(given, str) or np.ndim(given) == 0:
        given = [given] * n
    labels = as_labels(given)
    if len(labels) != n:
        raise UsageError(f"{len(labels)} targets but {n} rows; give one class, or one for each row")
    return _indices(labels, model, "targets")


def _radii(
    rows: NDArray[Any], norm: float, epsilons: Any, low: Any, high: Any
) -> NDArray[np.float64]:
    """Increasing radii in units of the rows."""
    if epsilons is not None:
        radii = np.unique(np.asarray(epsilons, dtype=np.float64))
    elif norm == 0:
        radii = np.unique(np.maximum(1, np.round(np.asarray(SHARES_L0) * rows[0].size)))
    else:
        radii = np.asarray(SHARES) * float(np.max(np.asarray(high, float) - np.asarray(low, float)))
    if norm not in (0, 1, 2, math.inf) or not (
        radii.size and np.isfinite(radii).all() and radii[0] > 0
    ):
        raise UsageError("norm must be 0, 1, 2 or math.inf, and epsilons positive and finite")
    return radii


def _numbers(x: Any) -> NDArray[Any]:
    """Rows as an array of numbers, integers and floats as they are stored."""
    if hasattr(x, "detach"):
        x = x.detach().cpu().numpy()
    x = x.to_numpy() if hasattr(x, "to_numpy") else np.asarray(x)
    if x.dtype in (np.float32, np.float64) or x.dtype.kind in "iu":
        return np.asarray(x)
    return np.asarray(x, dtype=np.float64)


def _model(model: Any, rows: NDArray[Any], labels: NDArray[Any]) -> Model:
    from crenel.adapters import wrap

    found = wrap(model, sample=rows[:16])
    if found.framework != "function" or found.score is not None or isinstance(model, Model):
        return found
    from crenel.data.modelling import distinct

    # a function that gives labels does not say which there are: those of all rows
    seen = wrap(model, sample=rows).classes
    return wrap(model, sample=rows[:16], classes=distinct(as_labels([*seen, *labels])))


def _indices(labels: NDArray[Any], model: Model, name: str = "y") -> NDArray[np.int64]:
    """Indices of labels among the model's classes."""
    from crenel.data.modelling import distinct

    try:
        return index_of(labels, model.classes)
    except SubjectError as error:
        raise UsageError(
            f"{name} holds {shown(as_labels(distinct(labels)))}, and the model's classes are "
            f"{shown(model.classes)}; give each row's class as the model names it"
        ) from error

"""Exact minimal change of a row that changes a tree ensemble's decision.

Kantchelian, Tygar and Joseph (2016) state the problem, Chen et al. (2019) bound it box by box,
Devos, Meert and Davis (2021) search it best first.  Here it is a bisection over the radii at
which a box around the row gains a cell, with branch and bound inside the box.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from crenel.evasion.trees.ensemble import Floats
from crenel.evasion.trees.flat import check, flatten
from crenel.evasion.trees.passes import Passes
from crenel.evasion.trees.question import index_of_named, question_of, refuse_free_categories

EXACT_BOXES, NEAR_BOXES = 200_000, 1_000
NEAR_CHECKED = 100  # rows on which the trees as read are checked where nothing is proven


@dataclass(frozen=True)
class TreeDistances:
    """Distances of n rows to the nearest row that is decided otherwise.

    Parameters
    ----------
    lower : (n,) float64
        No allowed change below this changes the decision; inf where none exists at all.
    upper : (n,) float64
        Size of the change in ``adversarial``; inf where none was found.
    adversarial : (n, d) float
        A changed row that the model itself decides otherwise, in the dtype of the rows; NaN
        where none was found.  A row that is wrong as it is stands unchanged.
    exact : (n,) bool
        Whether lower and upper meet.
    nodes : (n,) int64
        Boxes that the search looked at.
    seconds : float
        Time that the call took.
    rejected : int
        Rows whose nearest candidate lay within rounding of a tie and was refused by the model;
        for these ``upper`` is the next candidate that it accepts, or inf.
    """

    lower: Floats
    upper: Floats
    adversarial: NDArray[Any]
    exact: NDArray[np.bool_]
    nodes: NDArray[np.int64]
    seconds: float
    rejected: int


def tree_distance(
    model: object,
    x: ArrayLike,
    y: ArrayLike,
    *,
    norm: float = np.inf,
    box: tuple[ArrayLike, ArrayLike] | None = None,
    scale: ArrayLike | None = None,
    integer: ArrayLike | None = None,
    exact: bool = True,
    node_limit: int | None = None,
    deadline: float | None = None,
    indices: bool = False,
    workers: int = 1,
) -> TreeDistances:
    """Smallest change of each row that changes the class which a tree ensemble gives it.

    Parameters
    ----------
    model
        A fitted classifier of XGBoost, LightGBM, CatBoost (numeric columns) or scikit-learn
        (trees, forests, both kinds of gradient boosting, bagging and AdaBoost of trees,
        isolation forests, whose classes are -1 and 1), or a `TreeEnsemble`.
    x : (n, d) float32 or float64
        Rows as the model takes them; NaN is a missing value and stays one.  Distances hold for
        this dtype: float64 rows may use the rounding of a library that casts to float32.
    y : (n,)
        Each row's true class as the model names it (``classes_``), or its index where the model
        has no names, as a Booster; a row that is wrong as it is has distance 0.
    norm : float
        inf, 1 or 2; exact where the search ends within ``node_limit``, else two bounds.
    box : (low, high), each (d,) or (n, d), optional
        Allowed values.  Equal bounds, and missing values, make a column immutable: it keeps the
        row's own value.  Bounds that exclude that value are widened to it.
    scale : (d,) float, optional
        Distance is measured in ``|change| / scale`` by column, ones by default; 0 or inf makes
        a column immutable.
    integer : (d,) bool, optional
        Columns that hold whole numbers and must go on doing so.
    exact : bool
        Whether to prove that nothing is nearer. If not, the search is the fast one for near rows:
        rows of other classes among ``x`` are drawn in, and the radius is halved with a few boxes
        for each try. Witnesses are asked of the model as always; ``lower`` is what these boxes
        happen to prove.
    node_limit : int, optional
        Boxes that the search may look at per row before it returns bounds; 200,000 by default,
        and 1,000 where ``exact`` is false. There, 0 only draws rows in.
    deadline : float, optional
        Seconds that the call may take; rows that were not reached have lower bound 0.
    indices : bool
        Whether ``y`` holds indices although the model names its classes.
    workers : int
        Threads that the rows are shared between.

    Returns
    -------
    TreeDistances

    Raises
    ------
    NotApplicable
        If the model is not a classifying tree ensemble that can be read exactly, or splits by
        category on a column that is not immutable.
    SubjectError
        If the trees as read do not score the rows as the model does.
    UsageError
        If an argument has the wrong shape or values.
    """
    begin = time.perf_counter()
    y = y if indices else index_of_named(model, y)
    question = question_of(x, y, norm, box, scale, integer)
    flat = flatten(model, question.x.shape[1])
    refuse_free_categories(flat, question)
    bitwise = check(flat, question.x if exact else question.x[:NEAR_CHECKED])
    end = np.inf if deadline is None else begin + deadline
    boxes = (EXACT_BOXES if exact else NEAR_BOXES) if node_limit is None else node_limit
    passes = Passes(flat, question, bitwise, boxes, end, workers, exact)
    lower, upper, adversarial, rejected = passes.run()
    return TreeDistances(
        lower=lower,
        upper=upper,
        adversarial=adversarial,
        exact=lower >= upper,
        nodes=passes.nodes,
        seconds=time.perf_counter() - begin,
        rejected=rejected,
    )

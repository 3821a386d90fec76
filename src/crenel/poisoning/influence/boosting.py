"""Boosted trees without each group of rows: structure kept, leaves and gradients computed again."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from crenel.errors import NotApplicable
from crenel.evasion.trees.ensemble import TreeEnsemble
from crenel.poisoning.influence.boosting_kernels import follow, replay
from crenel.poisoning.influence.effects import Answers, Floats, softmax

#: Training rows on which later gradients are followed; the group's own rows are always exact.
FOLLOWED = 4096


@dataclass(frozen=True)
class Booster:
    """How a library computes a leaf: rate × factor × gradients / (scale × Hessians + penalty).

    Attributes
    ----------
    rate, factor, scale, penalty : float
    """

    rate: float
    factor: float = 1.0
    scale: float = 1.0
    penalty: float = 0.0


def booster_of(final: Any, k: int) -> Booster:
    """The leaf formula of a boosted classifier of scikit-learn, XGBoost or LightGBM.

    Raises
    ------
    NotApplicable
        For any other model, and for settings that make leaves otherwise.
    """
    name, library = type(final).__name__, type(final).__module__.partition(".")[0]
    if name == "HistGradientBoostingClassifier":
        return Booster(final.learning_rate, penalty=final.l2_regularization)
    if name == "GradientBoostingClassifier" and final.loss == "log_loss":
        return Booster(final.learning_rate, factor=1.0 if k == 2 else (k - 1) / k)
    if library == "xgboost" and hasattr(final, "get_xgb_params"):
        settings = _xgboost_settings(final)
        plain = settings["booster"] == "gbtree" and not settings["alpha"]
        if plain and settings["num_parallel_tree"] == 1:
            scale = 1.0 if k == 2 else 2.0
            return Booster(settings["eta"], scale=scale, penalty=settings["lambda"])
    if library == "lightgbm" and hasattr(final, "booster_"):
        settings = final.get_params()
        if settings["boosting_type"] == "gbdt" and not settings["reg_alpha"]:
            scale = 1.0 if k == 2 else k / (k - 1)
            return Booster(settings["learning_rate"], scale=scale, penalty=settings["reg_lambda"])
    raise NotApplicable(f"the leaves of a {name} are not computed again")


def _xgboost_settings(final: Any) -> dict[str, Any]:
    """The settings that XGBoost trained with, defaults filled in."""
    import json

    learner = json.loads(final.get_booster().save_config())["learner"]
    trained = learner["gradient_booster"]
    tree = trained.get("tree_train_param", {})
    model = trained.get("gbtree_model_param", {})
    return {
        "booster": trained["name"],
        "eta": float(tree.get("eta", tree.get("learning_rate", 0.3))),
        "lambda": float(tree.get("lambda", tree.get("reg_lambda", 1.0))),
        "alpha": float(tree.get("alpha", tree.get("reg_alpha", 0.0))),
        "num_parallel_tree": int(model.get("num_parallel_tree", 1)),
    }


def boosting_without(
    ensemble: TreeEnsemble, booster: Booster, x: Floats, y: NDArray[np.int64], weight: Floats,
    codes: NDArray[np.int64], test: Floats, seed: int, followed: int = FOLLOWED,
) -> Answers:  # fmt: skip
    """Answers to test rows by the boosted trees without each group of training rows.

    Every tree keeps its splits; tree by tree the leaves are computed again without the group, from
    gradients at the answers so far ("leaf refit": Sharchilev et al., "Finding influential training
    samples for gradient boosted decision trees", 2018; Brophy, Hammoudeh and Lowd, "Adapting and
    evaluating influence-estimation methods for gradient-boosted decision trees", 2023). What the
    group's own rows took part in is exact; how the gradients of the others move in consequence is
    followed on a sample of them.

    Parameters
    ----------
    ensemble : TreeEnsemble
    booster : Booster
    x, test : ndarray, shapes (n, d) and (m, d), float64
        Rows as the trees see them.
    y : ndarray, shape (n,), int64
    weight : ndarray, shape (n,), float64
    codes : ndarray, shape (n,), int64
        Groups in [0, s).
    seed : int
        Of the sample.
    followed : int
        Its rows.
    """
    k = len(ensemble.base)
    width = 1 if k == 2 else k
    if len(ensemble.roots) % width:
        raise NotApplicable("the trees do not come in rounds of one for each class")
    order = np.argsort(codes, kind="stable")  # the rows of a group lie together from here on
    x, y, weight, codes = x[order], y[order], weight[order], codes[order]
    leaf, leaves = numbered(ensemble, ensemble.leaves(x))
    shown, _ = numbered(ensemble, ensemble.leaves(test))
    start = starting_margins(ensemble, y, weight)
    rule = (booster.rate * booster.factor, booster.scale, booster.penalty)
    steep, curved, value, course = follow(leaf, leaves, y, weight, start, *rule, width)
    margins = np.tile(start, (len(test), 1))
    for tree, row in enumerate(shown):
        margins[:, tree % width] += value[tree, row]
    rows = np.arange(len(y))
    if len(y) > followed:
        rows = np.sort(np.random.default_rng(seed).choice(len(y), followed, replace=False))
    some, paths = np.ascontiguousarray(course[:, :, rows]), np.ascontiguousarray(leaf[:, rows])
    lifted = (weight[rows] * (len(y) / len(rows))).astype(np.float32)
    moves = _prior_moves(start, y, weight, codes)
    ends = np.append(0, np.cumsum(np.bincount(codes)))

    def answers() -> Iterator[Floats]:
        for s in range(len(moves)):
            first, last = np.searchsorted(rows, ends[s : s + 2])
            kept = lifted.copy()
            kept[first:last] = 0
            change = replay(
                paths, some, kept, leaf, course, y, weight, ends[s], ends[s + 1], shown,
                steep, curved, value, moves[s], *rule,
            )  # fmt: skip
            yield softmax(margins + change.T)

    return Answers(softmax(margins), answers(), "leaf refit")


def numbered(ensemble: TreeEnsemble, leaves: NDArray[np.int32]) -> tuple[NDArray[np.uint16], int]:
    """Leaves (n, trees) as numbers within their tree, (trees, n), and the most that a tree has."""
    ends = ensemble.feature < 0
    sizes = np.add.reduceat(ends, ensemble.roots, dtype=np.int64)
    first = np.cumsum(sizes) - sizes  # leaves of the trees before
    nodes = np.diff(np.append(ensemble.roots, len(ends)))
    number = np.cumsum(ends) - 1 - np.repeat(first, nodes)
    return np.ascontiguousarray(number.astype(np.uint16)[leaves].T), int(sizes.max())


def _prior(y: NDArray[np.int64], weight: Floats, k: int) -> Floats:
    """Margins (j,) of the shares of classes: log odds of two, else centred logarithms."""
    counts = np.bincount(y, weights=weight, minlength=k) + 1e-9
    logs = np.log(counts / counts.sum())
    return np.asarray([logs[1] - logs[0]]) if k == 2 else np.asarray(logs - logs.mean())


def starting_margins(ensemble: TreeEnsemble, y: NDArray[np.int64], weight: Floats) -> Floats:
    """Margins (j,) before the first tree: the ensemble's, or the prior's where none are told."""
    base = ensemble.base
    own = np.asarray([base[1] - base[0]]) if len(base) == 2 else base - base.mean()
    prior = _prior(y, weight, len(base))
    told = np.any(own != 0) and not np.allclose(own, prior, atol=0.05)
    return np.asarray(own if told else prior, dtype=np.float64)


def _prior_moves(
    start: Floats, y: NDArray[np.int64], weight: Floats, codes: NDArray[np.int64]
) -> Floats:
    """By how much the margins before the first tree move without each group, (s, j)."""
    k = 2 if len(start) == 1 else len(start)
    s = int(codes.max()) + 1
    own = np.zeros((s, k))
    np.add.at(own, (codes, y), weight)
    left = np.maximum(own.sum(axis=0) - own, 0.0) + 1e-9
    logs = np.log(left / left.sum(axis=1, keepdims=True))
    moved = logs[:, 1:] - logs[:, :1] if k == 2 else logs - logs.mean(axis=1, keepdims=True)
    if not np.allclose(start, _prior(y, weight, k), atol=0.05):
        return np.zeros_like(moved)  # a start that the settings fix
    return np.asarray(moved - _prior(y, weight, k))

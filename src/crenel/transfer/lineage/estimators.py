"""Weights of models that are in memory: torch modules, and scikit-learn's."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from crenel.errors import NotApplicable
from crenel.transfer.lineage.weights import Array, Weights

_KINDS = {
    "float64": "F64", "float32": "F32", "float16": "F16", "bfloat16": "BF16", "int8": "I8",
    "uint8": "U8", "int64": "I64", "int32": "I32",
}  # fmt: skip
#: Fitted numbers of estimators whose problem has one optimum, or nearly: likeness says nothing.
_CONVEX = (
    "coef_", "dual_coef_", "support_vectors_", "cluster_centers_", "components_", "theta_",
    "feature_log_prob_", "_fit_X", "X_train_",
)  # fmt: skip


def weights_of(native: Any, name: str = "the model") -> Weights:
    """Arrays of a torch module or a scikit-learn estimator.

    Layers of perceptrons are weights like any others. Of trees, linear and other models only
    equality is evidence: two fits on like data are alike without one being made from the other.

    Raises
    ------
    NotApplicable
        Where the model shows no weights.
    """
    if hasattr(native, "state_dict") and hasattr(native, "parameters"):
        found = [_of_tensor(n, t) for n, t in native.state_dict().items() if hasattr(t, "dtype")]
        arrays = [a for a in found if a is not None]
    else:
        arrays = [a for step, e in _steps(native) for a in _of_estimator(step, e)]
    if not any(a.comparable for a in arrays):
        raise NotApplicable(f"{name} ({type(native).__name__}) shows no weights to compare")
    return Weights(name, tuple(arrays))


def _of_tensor(name: str, tensor: Any) -> Array | None:
    kind = str(tensor.dtype).removeprefix("torch.")
    if kind in ("qint8", "quint8"):
        return Array(name, tuple(tensor.shape), "F32", lambda: _numbers(tensor.dequantize()))
    if kind not in _KINDS:
        return None
    return Array(name, tuple(tensor.shape), _KINDS[kind], lambda: _numbers(tensor))


def _numbers(tensor: Any) -> NDArray[Any]:
    here = tensor.detach().cpu()
    if str(here.dtype) == "torch.bfloat16":
        import torch

        return np.asarray(here.view(torch.int16).numpy()).view(np.uint16)
    return np.asarray(here.numpy())


def _steps(native: Any) -> Iterator[tuple[str, Any]]:
    """The estimators within pipelines and wrappers, with names."""
    steps = getattr(native, "steps", None)
    if steps:
        for name, step in steps:
            yield from ((f"{name}.{n}".rstrip("."), e) for n, e in _steps(step))
    else:
        yield "", getattr(native, "best_estimator_", native)


def _of_estimator(step: str, estimator: Any) -> Iterator[Array]:
    prefix = f"{step}." if step else ""
    for i, layer in enumerate(getattr(estimator, "coefs_", ())):
        yield _fixed(f"{prefix}coefs_.{i}", layer, "weights")
    for field in _CONVEX:
        value = getattr(estimator, field, None)
        if isinstance(value, np.ndarray) and value.dtype.kind == "f":
            yield _fixed(f"{prefix}{field}", np.atleast_2d(value), "exact")
    members = getattr(estimator, "estimators_", None)
    trees = [estimator] if members is None else np.asarray(members, dtype=object).ravel()
    for i, tree in enumerate(trees):
        inner = getattr(tree, "tree_", None)
        if inner is not None:
            shape = np.stack([inner.feature, inner.threshold], axis=1)
            yield _fixed(f"{prefix}trees.{i}", shape.astype(np.float64), "exact")


def _fixed(name: str, value: NDArray[Any], kind: Any) -> Array:
    dtype = _KINDS.get(str(value.dtype), "F64")
    return Array(name, value.shape, dtype, lambda: value, kind)

"""PyTorch modules: evaluation mode, float32, bounded batches, probabilities in float64."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from crenel.adapters.labels import as_labels, softmax
from crenel.adapters.rows import batches, narrow, to_numbers
from crenel.errors import SubjectError
from crenel.model import Model, Task

#: Log-probabilities of nothing are kept finite.
TINY = 1e-12


class Logits(nn.Module):  # type: ignore[misc]
    """A user's module as one from a float32 batch to logits (n, k).

    Parameters
    ----------
    body : nn.Module
        The user's own.
    form : {"logits", "probabilities", "logit", "probability"}
        What it returns: k numbers for each row, or a single one for the second of two classes.
    """

    def __init__(self, body: nn.Module, form: str) -> None:
        super().__init__()
        self.body = body
        self.form = form
        self.dtype = _dtype_of(body)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Logits (n, k) of a batch."""
        out = first_output(self.body(x.to(self.dtype))).float()
        if self.form == "probabilities":
            return torch.log(out.clamp_min(TINY))
        if self.form in ("logit", "probability"):
            out = out.reshape(len(x))
            if self.form == "probability":
                out = torch.logit(out, eps=1e-7)
            return torch.stack([torch.zeros_like(out), out], dim=1)
        return out


def wrap_module(
    native: nn.Module,
    *,
    classes: Sequence[Any] | None = None,
    task: Task | None = None,
    fit: Callable[[Any, Any, int], Any] | None = None,
    columns: Sequence[str] | None = None,
    sample: Any = None,
) -> Model:
    """Make a `Model` of a module; see `crenel.adapters.wrap`.

    The user's module is copied, so that its mode and its parameters stay as they are. It stays on
    its device. One number for each row is the logit of the second of two classes (or, after a
    sigmoid, its probability).
    """
    body = _frozen(native)
    form = _form_of(body, sample, columns) if task != "regression" else "logits"
    module = Logits(body, form).eval()
    device = _device_of(module)
    tokens = _takes_tokens(body)
    if tokens:
        module.dtype = torch.int64

    def logits(x: Any) -> NDArray[np.float32]:
        return _forward(module, to_numbers(narrow(x, columns), np.float32), device)

    if task == "regression":
        return _regression(native, body, logits, fit, columns)
    names = _classes_of(classes, logits, form, sample)

    def decide(x: Any) -> NDArray[np.int64]:
        z = logits(x)
        return z.argmax(axis=1).astype(np.int64) if len(x) else np.zeros(0, dtype=np.int64)

    def score(x: Any) -> NDArray[np.float64]:
        return softmax(logits(x)) if len(x) else np.zeros((0, len(names)))

    return Model(
        framework="torch",
        task="classification",
        classes=names,
        decide=decide,
        score=score,
        fit=_fit(fit, names, "classification", columns),
        native=native,
        module=None if tokens else module,
        final=native,
        parameters=sum(p.numel() for p in body.parameters()),
        description=_name(native),
    )


def _fit(
    fit: Callable[[Any, Any, int], Any] | None,
    classes: NDArray[Any],
    task: Task,
    columns: Sequence[str] | None,
) -> Callable[[Any, NDArray[Any], int], Model] | None:
    from crenel.adapters.function import user_fit

    return user_fit(fit, classes, task, columns) if fit else None


def _regression(
    native: nn.Module,
    body: nn.Module,
    values: Callable[[Any], NDArray[np.float32]],
    fit: Callable[[Any, Any, int], Any] | None,
    columns: Sequence[str] | None,
) -> Model:
    def decide(x: Any) -> NDArray[np.float64]:
        return values(x).astype(np.float64).reshape(len(x))

    return Model(
        framework="torch",
        task="regression",
        classes=np.zeros(0),
        decide=decide,
        fit=_fit(fit, np.zeros(0), "regression", columns),
        native=native,
        final=native,
        parameters=sum(p.numel() for p in body.parameters()),
        description=_name(native),
    )


def _frozen(native: nn.Module) -> nn.Module:
    """A copy in evaluation mode whose parameters take no gradients."""
    body = copy.deepcopy(native).eval()
    for parameter in body.parameters():
        if parameter.is_leaf:
            parameter.requires_grad_(False)
        else:  # as the copies of a scripted module's parameters are
            parameter.detach_()
    return body


def _forward(module: nn.Module, x: NDArray[Any], device: torch.device) -> NDArray[np.float32]:
    numbers = int(np.prod(x.shape[1:]))
    parts: list[NDArray[np.float32]] = []
    with torch.no_grad():
        for rows in batches(len(x), numbers):
            batch = torch.from_numpy(np.array(x[rows], dtype=np.float32, order="C")).to(device)
            parts.append(module(batch).cpu().numpy())
    return np.concatenate(parts) if parts else np.zeros((0, 0), dtype=np.float32)


def first_output(out: Any) -> torch.Tensor:
    """The tensor of logits in what a module returns: a tensor, a tuple or a named output."""
    if isinstance(out, torch.Tensor):
        return out
    if isinstance(out, dict):
        out = out.get("logits", next(iter(out.values())))
    elif hasattr(out, "logits"):
        out = out.logits
    elif isinstance(out, (tuple, list)):
        out = out[0]
    if not isinstance(out, torch.Tensor):
        raise SubjectError(
            f"the module returned a {type(out).__name__}; return a tensor of logits (n, classes)"
        )
    return out


def _form_of(body: nn.Module, sample: Any, columns: Sequence[str] | None) -> str:
    """What a module returns, as seen on a sample, or else as its last layer says."""
    last = _last_layer(body)
    if sample is None or not len(sample):
        # without rows the last linear layer's width tells one number from several
        widths = [m.out_features for m in body.modules() if isinstance(m, nn.Linear)]
        if widths and widths[-1] == 1:
            return "probability" if last == "Sigmoid" else "logit"
        return "probabilities" if last == "Softmax" else "logits"
    probe = Logits(body, "logits").eval()
    if _takes_tokens(body):
        probe.dtype = torch.int64
    x = to_numbers(narrow(sample, columns), np.float32)
    out = _forward(probe, x, _device_of(probe))
    if out.ndim == 1 or (out.ndim == 2 and out.shape[1] == 1):
        inside = bool(((out >= 0) & (out <= 1)).all())
        sure = last == "Sigmoid" or bool(out.min() < 0.5)
        return "probability" if inside and sure else "logit"
    if out.ndim != 2:
        raise SubjectError(
            f"the module returned a tensor of shape {out.shape} for {len(x)} rows; "
            "return logits (n, classes)"
        )
    summed = np.allclose(out.sum(axis=1), 1, atol=1e-4)
    return "probabilities" if summed and (out >= 0).all() else "logits"


def _classes_of(
    classes: Sequence[Any] | None,
    logits: Callable[[Any], NDArray[np.float32]],
    form: str,
    sample: Any,
) -> NDArray[Any]:
    k = logits(sample).shape[1] if sample is not None and len(sample) else None
    if form in ("logit", "probability"):
        k = 2
    if classes is not None:
        if k is not None and k != len(classes):
            raise SubjectError(
                f"the module returns {k} logits for each row, and there are {len(classes)} "
                "classes; name one class for each logit, in order: classes = […]"
            )
        return as_labels(classes)
    if k is None:
        raise SubjectError("the module does not tell its classes; name them: classes = […]")
    return np.arange(k)


def _last_layer(body: nn.Module) -> str:
    leaves = [m for m in body.modules() if not list(m.children())]
    return str(getattr(leaves[-1], "original_name", type(leaves[-1]).__name__)) if leaves else ""


def _takes_tokens(body: nn.Module) -> bool:
    """Whether the first layer looks rows up in a table, and so takes whole numbers."""
    leaves = [m for m in body.modules() if not list(m.children())]
    return bool(leaves) and isinstance(leaves[0], nn.Embedding)


def _dtype_of(body: nn.Module) -> torch.dtype:
    for parameter in body.parameters():
        if parameter.is_floating_point():
            return parameter.dtype
    return torch.float32


def _device_of(body: nn.Module) -> torch.device:
    for tensor in (*body.parameters(), *body.buffers()):
        return tensor.device
    return torch.device("cpu")


def _name(native: nn.Module) -> str:
    kind = str(getattr(native, "original_name", type(native).__name__))
    return f"{kind} (torch)"

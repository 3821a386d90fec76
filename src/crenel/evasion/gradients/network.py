"""What the gradient attacks share: torch itself, logits of any network, seeds, devices."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
from numpy.typing import NDArray

from crenel.errors import MissingExtra, UsageError
from crenel.model import Model

try:
    import torch as torch  # re-exported: the one place that says what is missing
    from torch.overrides import TorchFunctionMode as TorchFunctionMode
except ImportError as e:
    raise MissingExtra("torch", "torch") from e

Tensor = torch.Tensor
#: From a batch to logits (n, k), k >= 2.
Logits = Callable[[Any], Any]


def module_of(model: Any) -> Any:
    """The torch module of a crenel Model, or the module itself.

    Raises
    ------
    crenel.errors.UsageError
        Where there is none.
    """
    module = model.module if isinstance(model, Model) else model
    if not isinstance(module, torch.nn.Module):
        raise UsageError(
            "the model gives no gradients: pass a torch module, or a crenel Model that has one"
        )
    return module


def logits_of(module: Any) -> Logits:
    """The module's logits with at least two columns; one logit z becomes (0, z)."""
    half = next((p.dtype for p in module.parameters() if p.is_floating_point()), torch.float32)
    half = half if half in (torch.float16, torch.bfloat16) else None

    def logits(x: Any) -> Any:
        z = module(x) if half is None else module(x.to(half)).float()
        if z.ndim == 1:
            z = z[:, None]
        if z.shape[1] == 1:
            z = torch.cat([torch.zeros_like(z), z], dim=1)
        return z

    return logits


def halved(logits: Logits) -> Logits:
    """The same logits, computed in bfloat16 where that is usual (automatic mixed precision)."""

    def mixed(x: Any) -> Any:
        with torch.autocast(x.device.type, dtype=torch.bfloat16):
            return logits(x).to(x.dtype)

    return mixed


def device_of(module: Any) -> Any:
    """Where the module's parameters are; the CPU where it has none."""
    first = next(module.parameters(), None)
    return torch.device("cpu") if first is None else first.device


def as_tensor(x: Any, module: Any) -> Any:
    """Rows as a float32 tensor where the module is (float64 for one of float64); frames too."""
    if hasattr(x, "to_numpy"):
        x = x.to_numpy(dtype=np.float64)
    if not isinstance(x, torch.Tensor):
        x = torch.from_numpy(np.array(x, order="C"))  # a frame's may be read-only
    return x.detach().to(device=device_of(module), dtype=kind_of(module))


def on_host(x: Any, module: Any) -> Any:
    """Rows as a float32 tensor (float64 for a module of float64) in the host's memory.

    What is such a tensor or array already is not copied.
    """
    if hasattr(x, "to_numpy"):
        x = x.to_numpy(dtype=np.float32)
    if not isinstance(x, torch.Tensor):
        x = np.ascontiguousarray(x)
        x = torch.from_numpy(x if x.flags.writeable else x.copy())
    return x.detach().to(device="cpu", dtype=kind_of(module))


def kind_of(module: Any) -> Any:
    """The dtype in which rows are attacked: float64 for a module of float64, else float32."""
    first = next((p for p in module.parameters() if p.is_floating_point()), None)
    return torch.float64 if first is not None and first.dtype == torch.float64 else torch.float32


def box_of(bounds: tuple[Any, Any], module: Any) -> tuple[Any, Any]:
    """Bounds as numbers, or as tensors where the module is."""
    low, high = (as_tensor(np.asarray(b), module) if np.ndim(b) else float(b) for b in bounds)
    return low, high


def as_labels(y: Any, module: Any) -> Any:
    """Class indices as an int64 tensor where the module is."""
    if not isinstance(y, torch.Tensor):
        y = torch.from_numpy(np.array(y, dtype=np.int64, order="C"))
    return y.detach().to(device=device_of(module), dtype=torch.int64)


@contextmanager
def still(module: Any, seed: int) -> Iterator[None]:
    """In evaluation mode and with a seed of its own; everything is put back afterwards."""
    training = [m for m in module.modules() if m.training]
    module.eval()
    device = device_of(module)
    try:
        with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
            torch.manual_seed(seed)
            yield
    finally:
        for m in training:
            m.training = True


def generator(seed: int) -> Any:
    """A torch generator on the CPU, so that draws are the same on every device."""
    return torch.Generator().manual_seed(seed)


def shaped(v: Any, like: Any) -> Any:
    """One number for each row, shaped to be multiplied with rows."""
    return v.reshape(-1, *[1] * (like.ndim - 1))


def reached(z: Any, y: Any, goal: Any = None) -> Any:
    """Whether logits (n, k) decide otherwise than ``y``, or as ``goal`` where one is given.

    Logits that are not numbers decide nothing, which is never right.
    """
    decided = z.argmax(dim=1)
    lost = torch.isnan(z).any(dim=1)
    return (decided != y) | lost if goal is None else (decided == goal) & ~lost


def margins(logits: Logits, x: Any, y: Any, goal: Any = None) -> tuple[Any, Any]:
    """By how much decisions are turned, negative where they are not, and whether they are.

    Parameters
    ----------
    logits : callable
    x : tensor, shape (n, …)
    y, goal : tensor of int64, shape (n,)
        See `reached`.

    Returns
    -------
    margin : tensor, shape (n,)
    turned : tensor of bool, shape (n,)
    """
    with torch.no_grad():
        z = logits(x)
    aim = (y if goal is None else goal)[:, None]
    own = z.gather(1, aim)[:, 0]
    gap = z.scatter(1, aim, -torch.inf).amax(dim=1) - own
    return (gap if goal is None else -gap).to(x.dtype), reached(z, y, goal)


def decisions(logits: Logits, x: Any, batch: int = 512) -> NDArray[np.int64]:
    """Decisions of a network on a tensor of rows, shape (n,)."""
    with torch.no_grad():
        parts = [logits(part).argmax(dim=1).cpu().numpy() for part in x.split(batch)]
    return np.concatenate(parts) if parts else np.empty(0, dtype=np.int64)

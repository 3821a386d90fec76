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

    def logits(x: Any) -> Any:
        z = module(x)
        if z.ndim == 1:
            z = z[:, None]
        if z.shape[1] == 1:
            z = torch.cat([torch.zeros_like(z), z], dim=1)
        return z

    return logits


def device_of(module: Any) -> Any:
    """Where the module's parameters are; the CPU where it has none."""
    first = next(module.parameters(), None)
    return torch.device("cpu") if first is None else first.device


def as_tensor(x: Any, module: Any) -> Any:
    """Rows as a float32 tensor where the module is; frames by their values."""
    if hasattr(x, "to_numpy"):
        x = x.to_numpy(dtype=np.float32)
    if not isinstance(x, torch.Tensor):
        x = torch.from_numpy(np.array(x, dtype=np.float32, order="C"))  # a frame's may be read-only
    return x.detach().to(device=device_of(module), dtype=torch.float32)


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


def decisions(logits: Logits, x: Any, batch: int = 512) -> NDArray[np.int64]:
    """Decisions of a network on a tensor of rows, shape (n,)."""
    with torch.no_grad():
        parts = [logits(part).argmax(dim=1).cpu().numpy() for part in x.split(batch)]
    return np.concatenate(parts) if parts else np.empty(0, dtype=np.int64)

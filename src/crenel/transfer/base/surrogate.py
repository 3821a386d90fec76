"""Adversarial rows made on a public base model alone, for a model that was tuned from it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray

from crenel.errors import NotApplicable
from crenel.evasion.gradients.network import logits_of, still

Tensor: TypeAlias = torch.Tensor
Method = Literal["decision", "displacement", "mimicry"]
METHODS: tuple[Method, ...] = ("displacement", "mimicry", "decision")
STEPS = 12


class Ranged(torch.nn.Module):  # type: ignore[misc]
    """A module over rows whose legal range is [0, 1] in every value.

    Parameters
    ----------
    body : torch.nn.Module
    low, high : ndarray
        The legal range in the module's own units, broadcast against one row.
    """

    def __init__(self, body: Any, low: NDArray[Any], high: NDArray[Any]) -> None:
        super().__init__()
        self.body = body
        self.register_buffer("low", torch.as_tensor(low, dtype=torch.float32))
        self.register_buffer("span", torch.as_tensor(high - low, dtype=torch.float32))

    def forward(self, u: Tensor) -> Tensor:
        """Logits of rows in [0, 1]."""
        return self.body(self.low + u * self.span)


@dataclass(frozen=True)
class Network:
    """A base model taken apart.

    Attributes
    ----------
    features : callable
        From a batch to what enters the last linear layer, (n, d); the logits where there is none.
    logits : callable
        From a batch to logits (n, k).
    """

    features: Callable[[Tensor], Tensor]
    logits: Callable[[Tensor], Tensor]


def network_of(module: Any, sample: Tensor, layer: str = "") -> Network:
    """Find what enters the linear layer that runs last on a sample batch, or leaves a named one.

    Raises
    ------
    NotApplicable
        Where the module does not take such rows.
    """
    ran: list[Any] = []
    layers = [m for m in module.modules() if isinstance(m, torch.nn.Linear)]
    hooks = [m.register_forward_pre_hook(lambda layer, _: ran.append(layer)) for m in layers]
    try:
        with torch.no_grad():
            module(sample)
    except RuntimeError as error:
        raise NotApplicable(
            f"the base does not take the target's rows of shape {tuple(sample.shape[1:])}: {error}"
        ) from error
    finally:
        for hook in hooks:
            hook.remove()
    logits = logits_of(module)
    if layer:
        return Network(_leaving(module, module.get_submodule(layer)), logits)
    return Network(_entering(module, ran[-1]) if ran else logits, logits)


def _leaving(module: Any, layer: Any) -> Callable[[Tensor], Tensor]:
    def features(x: Tensor) -> Tensor:
        seen: list[Tensor] = []
        hook = layer.register_forward_hook(lambda _, inputs, output: seen.append(output))
        try:
            module(x)
        finally:
            hook.remove()
        return seen[-1].flatten(1)

    return features


def _entering(module: Any, layer: Any) -> Callable[[Tensor], Tensor]:
    def features(x: Tensor) -> Tensor:
        seen: list[Tensor] = []
        hook = layer.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
        try:
            module(x)
        finally:
            hook.remove()
        return seen[-1].flatten(1)

    return features


def craft(
    module: Any,
    u: NDArray[np.float32],
    epsilon: float,
    method: Method,
    *,
    guides: NDArray[np.float32] | None = None,
    layer: str = "",
    seed: int = 0,
    steps: int = STEPS,
    batch: int = 256,
) -> NDArray[np.float32]:
    """Change rows within an L-inf ball so that the base model sees something else.

    Parameters
    ----------
    module : torch.nn.Module
        The base, over rows in [0, 1]; see `Ranged`.
    u : ndarray, shape (n, …), float32
        Rows in [0, 1].
    epsilon : float
        Radius.
    method : {"displacement", "mimicry", "decision"}
        Move the features as far as they go; towards those of a public row of another kind; or
        leave the base's own decision by the widest margin.
    guides : ndarray, shape (m, …)
        Public rows, for mimicry: each row aims at the nearest in features, of those that the base
        decides otherwise.
    layer : str
        Name of a module whose output is moved instead of what enters the last linear layer.
    seed : int
        Of the random starts.
    steps : int
        Gradients for each row.

    Returns
    -------
    ndarray like ``u``
        The iterate that the base likes best; the tuned model is never asked.

    Notes
    -----
    Signed steps with momentum (Dong et al., 2018), which transfer better than the strongest attack
    on the base; features as aims after Wang et al. (2018) and Rezaei and Liu (2020).
    """
    draw = torch.Generator().manual_seed(seed)
    parts = []
    with still(module, seed):
        network = network_of(module, torch.from_numpy(u[:1]), layer)
        pool = torch.from_numpy(guides) if guides is not None else None
        for i in range(0, len(u), batch):
            x = torch.from_numpy(u[i : i + batch])
            gain = _objective(network, x, method, pool)
            parts.append(_ascend(gain, x, epsilon, steps, draw))
    return torch.cat(parts).numpy() if parts else u


def _objective(
    network: Network, x: Tensor, method: Method, guides: Tensor | None
) -> Callable[[Tensor], Tensor]:
    """What is to grow, one number for each row."""
    with torch.no_grad():
        own = network.logits(x).argmax(dim=1)
        here = network.features(x)
    if method == "displacement":
        return lambda z: (network.features(z) - here).square().sum(dim=1)
    if method == "decision":
        return lambda z: _margin(network.logits(z), own)
    if guides is None:
        raise ValueError("mimicry needs guides")
    with torch.no_grad():
        there = network.features(guides)
        distance = torch.cdist(here, there)
        same = own[:, None] == network.logits(guides).argmax(dim=1)[None, :]
        # Where the base decides all public rows alike, any of them but the nearest will do.
        distance = distance.masked_fill(same & ~same.all(dim=1, keepdim=True), float("inf"))
        distance = distance.masked_fill(distance < 1e-6, float("inf"))
        aim = there[distance.argmin(dim=1)]
    return lambda z: -(network.features(z) - aim).square().sum(dim=1)


def _margin(z: Tensor, own: Tensor) -> Tensor:
    others = z.scatter(1, own[:, None], float("-inf")).amax(dim=1)
    return others - z.gather(1, own[:, None])[:, 0]


def _ascend(
    gain: Callable[[Tensor], Tensor], x: Tensor, epsilon: float, steps: int, draw: Any
) -> Tensor:
    start = torch.empty(x.shape).uniform_(-0.5, 0.5, generator=draw) * epsilon
    z, momentum = (x + start).clamp(0, 1), torch.zeros_like(x)
    best, most = z.clone(), torch.full((len(x),), float("-inf"))
    shape = (-1, *[1] * (x.ndim - 1))
    for _ in range(steps):
        z = z.detach().requires_grad_(True)
        value = gain(z)
        (slope,) = torch.autograd.grad(value.sum(), z)
        best, most = _better(best, most, z.detach(), value.detach(), shape)
        size = slope.flatten(1).abs().mean(dim=1).clamp(min=1e-12).reshape(shape)
        momentum = momentum + slope / size
        step = z.detach() + 2.5 * epsilon / steps * momentum.sign()
        z = torch.minimum(torch.maximum(step, x - epsilon), x + epsilon).clamp(0, 1)
    with torch.no_grad():
        best, _ = _better(best, most, z, gain(z), shape)
    return best


def _better(
    best: Tensor, most: Tensor, z: Tensor, value: Tensor, shape: tuple[int, ...]
) -> tuple[Tensor, Tensor]:
    better = value > most
    return torch.where(better.reshape(shape), z, best), torch.where(better, value, most)


def noise(u: NDArray[np.float32], epsilon: float, seed: int) -> NDArray[np.float32]:
    """The control: every value moved by the whole epsilon, up or down at random."""
    signs = np.random.default_rng(seed).choice(np.array([-1, 1], dtype=np.float32), u.shape)
    return np.clip(u + np.float32(epsilon) * signs, 0, 1).astype(np.float32)


def moved(module: Any, u: NDArray[np.float32], changed: NDArray[np.float32]) -> float:
    """Median distance between the base's features of rows and of changed rows."""
    with still(module, 0), torch.no_grad():
        network = network_of(module, torch.from_numpy(u[:1]))
        a = network.features(torch.from_numpy(u))
        b = network.features(torch.from_numpy(changed))
    return float((a - b).norm(dim=1).median())

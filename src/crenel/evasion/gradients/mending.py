"""Gradients given back to a model that hides them; its decisions stay as they are.

Straight-through gradients for steps that have none (Bengio et al., 2013; as an attack, BPDA:
Athalye, Carlini and Wagner, 2018), expectation over randomness (EoT: Athalye et al., 2018) and
over the neighbourhood of a row, and gradients estimated from answers alone (NES: Ilyas et al.,
2018).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from crenel.evasion.gradients.network import Logits, TorchFunctionMode, generator, torch

#: Functions that are constant almost everywhere, and the slope that stands in for each.
STEPS = {"round", "floor", "ceil", "trunc", "fix", "sign", "sgn", "heaviside", "floor_divide"}
CASTS = {"int", "long", "short", "byte", "char"}
INTEGERS = (torch.int8, torch.uint8, torch.int16, torch.int32, torch.int64)
HALVES = (torch.float16, torch.bfloat16)
#: Functions that are constant on one side, where this slope is given them.
FLAT = {"relu", "relu6", "hardtanh", "clamp", "clip", "clamp_min", "clamp_max", "threshold"}
LEAK = 0.2
#: Comparisons, and the sign of their slope in the first argument.
COMPARISONS = {"gt": 1.0, "ge": 1.0, "lt": -1.0, "le": -1.0}


class StraightThrough(TorchFunctionMode):  # type: ignore[misc]
    """Within it, rounding and its like pass gradients on as if they were not there."""

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        """Run one torch function, with a slope where it has none."""
        kwargs = kwargs or {}
        name = getattr(func, "__name__", "")
        x = args[0] if args else None
        if not isinstance(x, torch.Tensor) or not (x.requires_grad and x.is_floating_point()):
            return func(*args, **kwargs)
        if name in CASTS or (name == "to" and _cast(args, kwargs, INTEGERS)):
            return _through(x, x.detach().trunc())
        base = name.rstrip("_")
        if base not in STEPS or kwargs.get("decimals"):
            return func(*args, **kwargs)
        value = getattr(torch, base)(x.detach(), *[_detached(a) for a in args[1:]])
        smooth = torch.tanh(x) if base in ("sign", "sgn", "heaviside") else _linear(base, x, args)
        result = _through(smooth, value)
        return x.copy_(result) if name.endswith("_") else result


class Passing(TorchFunctionMode):  # type: ignore[misc]
    """Within it, gradients pass what cuts or flattens them.

    Detached tensors keep their history, blocks without gradients keep them, rectifiers and
    clamps have a slope on their flat side, comparisons have one, and half precision is single.
    """

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        """Run one torch function, so that gradients pass it."""
        kwargs = kwargs or {}
        name = getattr(func, "__name__", "")
        if name == "_set_grad_enabled":
            return None if args and not args[0] else func(*args, **kwargs)
        x: Any = args[0] if args else None
        if name == "where" and len(args) == 3 and _follows(x):
            chosen = func(x.detach() > 0.5, *args[1:], **kwargs)
            return _through(x * (args[1] - args[2]).detach(), chosen)
        if not _follows(x):
            return func(*args, **kwargs)
        if name == "detach" or func is _DATA:
            return x
        if name in ("numpy", "__array__", "tolist"):
            return func(x.detach(), *args[1:], **kwargs)
        if name in ("half", "bfloat16") or (name == "to" and _cast(args, kwargs, HALVES)):
            return x
        base = name.strip("_")
        if base in COMPARISONS:
            value = func(x.detach(), *[_detached(a) for a in args[1:]], **kwargs)
            return _through(COMPARISONS[base] * (x - args[1]), value.to(x.dtype))
        if base in FLAT:
            value = func(x.clone(), *args[1:], **kwargs)
            return _through(value + LEAK * (x - value), value)
        return func(*args, **kwargs)


_DATA = torch.Tensor.data.__get__


def _follows(x: Any) -> bool:
    """Whether a value carries gradients."""
    return isinstance(x, torch.Tensor) and x.requires_grad and x.is_floating_point()


def _linear(base: str, x: Any, args: Any) -> Any:
    return x / args[1] if base == "floor_divide" else x


def _through(smooth: Any, value: Any) -> Any:
    """``value`` with the gradient of ``smooth``."""
    with torch._C.DisableTorchFunction():
        return value.detach() + (smooth - smooth.detach())


def _detached(a: Any) -> Any:
    return a.detach() if isinstance(a, torch.Tensor) else a


def _cast(args: Any, kwargs: Any, to: tuple[Any, ...]) -> bool:
    kinds = [a.dtype if isinstance(a, torch.Tensor) else a for a in (*args[1:], *kwargs.values())]
    return any(k in to for k in kinds if isinstance(k, torch.dtype))


def straightened(logits: Logits) -> Logits:
    """The same logits, with gradients through rounding."""

    def through(x: Any) -> Any:
        with StraightThrough():
            return logits(x)

    return through


def passed(logits: Logits) -> Logits:
    """The same logits, with gradients through rounding, cuts, comparisons and flat sides."""

    def through(x: Any) -> Any:
        with StraightThrough(), Passing():
            return logits(x)

    return through


def averaged(logits: Logits, draws: int) -> Logits:
    """Mean logits over draws of a model that answers at random."""

    def mean(x: Any) -> Any:
        return torch.stack([logits(x) for _ in range(draws)]).mean(dim=0)

    return mean


def valued(logits: Logits, guide: Logits) -> Logits:
    """The model's own logits with the gradients of another."""

    def guided(x: Any) -> Any:
        with torch.no_grad():
            z = logits(x)
        return _through(guide(x), z)

    return guided


def smoothed(logits: Logits, radius: Any, draws: int, seed: int) -> Logits:
    """Mean logits over a neighbourhood, which has slopes where the model has ripples or stairs.

    Parameters
    ----------
    logits : callable
    radius : float or tensor
        Deviation of the Gaussian noise, in pairs of opposite signs.
    draws : int
        Of noise, even.
    seed : int
        The same noise at each call.
    """

    def mean(x: Any) -> Any:
        draw = generator(seed)
        total = 0.0
        for _ in range(draws // 2):
            noise = torch.randn(x.shape, generator=draw).to(x) * radius
            total = total + logits(x + noise) + logits(x - noise)
        return total / draws

    return mean


def estimated(logits: Logits, radius: Any, directions: int, seed: int) -> Logits:
    """The model's logits with slopes estimated from differences of its answers alone.

    Differences are taken over pairs of opposite directions of random signs, coarse ones for half
    of the images' directions; answers are read as they are, so the model may be anything.

    Parameters
    ----------
    logits : callable
    radius : float or tensor
        Length of the differences in each number.
    directions : int
    seed : int
        Draws differ from call to call.
    """
    draw = generator(seed)

    def slopes(x: Any) -> Any:
        base = x.detach()
        with torch.no_grad():
            z = logits(base)
        move = (x - base).flatten(1)
        for j in range(directions):
            v = signs(x.shape, draw, coarse=j % 2 == 0).to(x)
            with torch.no_grad():
                rise = (logits(base + radius * v) - logits(base - radius * v)) / 2
            z = z + rise * ((v / radius).flatten(1) * move).sum(dim=1, keepdim=True) / directions
        return z

    return slopes


def signs(shape: Any, draw: Any, coarse: bool = False) -> Any:
    """Random signs; for images in squares of a seventh of the side where coarse."""
    if not coarse or len(shape) != 4:
        return torch.randint(0, 2, tuple(shape), generator=draw) * 2.0 - 1
    side = max(1, math.ceil(min(shape[2:]) / 7))
    few = (shape[0], shape[1], math.ceil(shape[2] / side), math.ceil(shape[3] / side))
    blocks = torch.randint(0, 2, few, generator=draw) * 2.0 - 1
    whole = blocks.repeat_interleave(side, 2).repeat_interleave(side, 3)
    return whole[:, :, : shape[2], : shape[3]]


class Voting(torch.nn.Module):  # type: ignore[misc]
    """A model that answers at random, judged by the votes of fixed draws.

    Parameters
    ----------
    inner : torch.nn.Module
    logits : callable
        Of the module.
    draws : int
    seed : int
        Of the draws, which are the same at each call.
    """

    def __init__(self, inner: Any, logits: Logits, draws: int, seed: int) -> None:
        super().__init__()
        self.inner, self.logits, self.draws, self.seed = inner, logits, draws, seed

    def forward(self, x: Any) -> Any:
        """Share of votes for each class, ties broken by mean probabilities; shape (n, k)."""
        devices = [x.device] if x.device.type == "cuda" else []
        votes = 0.0
        with torch.random.fork_rng(devices=devices):
            torch.manual_seed(self.seed)
            for _ in range(self.draws):
                z = self.logits(x)
                p = torch.softmax(z - z.amax(dim=1, keepdim=True), dim=1)
                votes = votes + torch.nn.functional.one_hot(z.argmax(dim=1), z.shape[1]) + 0.01 * p
        return votes / self.draws


class FrozenStatistics(TorchFunctionMode):  # type: ignore[misc]
    """Within it, batch normalisation in training mode uses the statistics of reference rows."""

    def __init__(self, kept: list[tuple[Any, Any]], record: bool) -> None:
        super().__init__()
        self.kept, self.record, self.at = kept, record, 0

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        """Run one torch function; note or use statistics where it takes those of the batch."""
        kwargs = kwargs or {}
        if getattr(func, "__name__", "") != "batch_norm" or not _by_batch(args, kwargs):
            return func(*args, **kwargs)
        x = args[0]
        if self.record:
            axes = [i for i in range(x.ndim) if i != 1]
            self.kept.append((x.mean(dim=axes).detach(), x.var(dim=axes, unbiased=False).detach()))
            return func(*args, **kwargs)
        mean, var = self.kept[self.at]
        self.at += 1
        names = ("input", "running_mean", "running_var", "weight", "bias")
        given = {**dict(zip(names, args)), **kwargs}
        return torch.nn.functional.batch_norm(
            x, mean, var, given.get("weight"), given.get("bias"), False, 0.0,
            args[7] if len(args) > 7 else given.get("eps", 1e-5),
        )  # fmt: skip


def _by_batch(args: Any, kwargs: Any) -> bool:
    return bool(args[5] if len(args) > 5 else kwargs.get("training", False))


def frozen(logits: Logits, reference: Any) -> Logits:
    """The same logits, where batch normalisation goes by reference rows in place of the batch."""
    kept: list[tuple[Any, Any]] = []
    with torch.no_grad(), FrozenStatistics(kept, record=True):
        logits(reference)

    def alone(x: Any) -> Any:
        with FrozenStatistics(kept, record=False):
            return logits(x)

    return alone


def same_decisions(a: Logits, b: Logits, x: Any) -> bool:
    """Whether two models decide alike on rows; False too where one cannot be run on them."""
    try:
        with torch.no_grad():
            return bool((a(x).argmax(dim=1) == b(x).argmax(dim=1)).float().mean() >= 0.99)
    except (RuntimeError, IndexError, TypeError, ValueError):
        # A cast that was turned into a float may be used as an index: then it cannot be mended.
        return False

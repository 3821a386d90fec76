"""Gradients given back to a model that hides them; its decisions stay as they are.

Straight-through gradients for steps that have none (Bengio et al., 2013; as an attack, BPDA:
Athalye, Carlini and Wagner, 2018), logits in place of a final softmax, and expectation over
randomness (EoT: Athalye et al., 2018).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from crenel.evasion.network import Logits, TorchFunctionMode, torch

#: Functions that are constant almost everywhere, and the slope that stands in for each.
STEPS = {"round", "floor", "ceil", "trunc", "fix", "sign", "sgn", "heaviside", "floor_divide"}
CASTS = {"int", "long", "short", "byte", "char"}
INTEGERS = (torch.int8, torch.uint8, torch.int16, torch.int32, torch.int64)


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
        if name in CASTS or (name == "to" and _to_integer(args, kwargs)):
            return _through(x, x.detach().trunc())
        base = name.rstrip("_")
        if base not in STEPS or kwargs.get("decimals"):
            return func(*args, **kwargs)
        value = getattr(torch, base)(x.detach(), *[_detached(a) for a in args[1:]])
        smooth = torch.tanh(x) if base in ("sign", "sgn", "heaviside") else _linear(base, x, args)
        result = _through(smooth, value)
        return x.copy_(result) if name.endswith("_") else result


def _linear(base: str, x: Any, args: Any) -> Any:
    return x / args[1] if base == "floor_divide" else x


def _through(smooth: Any, value: Any) -> Any:
    """``value`` with the gradient of ``smooth``."""
    return value + (smooth - smooth.detach())


def _detached(a: Any) -> Any:
    return a.detach() if isinstance(a, torch.Tensor) else a


def _to_integer(args: Any, kwargs: Any) -> bool:
    kinds = [a.dtype if isinstance(a, torch.Tensor) else a for a in (*args[1:], *kwargs.values())]
    return any(k in INTEGERS for k in kinds if isinstance(k, torch.dtype))


class Softmaxes(TorchFunctionMode):  # type: ignore[misc]
    """Within it, the input and the result of every softmax are kept."""

    def __init__(self) -> None:
        super().__init__()
        self.calls: list[tuple[Any, Any]] = []

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        """Run one torch function, noting softmaxes."""
        result = func(*args, **(kwargs or {}))
        if getattr(func, "__name__", "") == "softmax":
            self.calls.append((args[0] if args else kwargs["input"], result))
        return result


def final_softmax(logits: Logits, x: Any) -> int | None:
    """Which softmax call gives the answers, or their logarithms; None where none does."""
    with torch.no_grad(), Softmaxes() as watch:
        out = logits(x)
    calls: list[tuple[Any, Any]] = watch.calls
    for i in range(len(calls) - 1, -1, -1):
        p = calls[i][1]
        if p.shape == out.shape and any(torch.allclose(p, o, atol=1e-6) for o in (out, out.exp())):
            return i
    return None


def straightened(logits: Logits) -> Logits:
    """The same logits, with gradients through rounding."""

    def through(x: Any) -> Any:
        with StraightThrough():
            return logits(x)

    return through


def without_softmax(logits: Logits, call: int | None) -> Logits:
    """Logits in place of probabilities: what the last softmax is given, or else logarithms."""

    def stripped(x: Any) -> Any:
        if call is None:
            return logits(x).clamp(min=1e-30).log()
        with Softmaxes() as watch:
            logits(x)
        return watch.calls[call][0]

    return stripped


def averaged(logits: Logits, draws: int) -> Logits:
    """Mean logits over draws of a model that answers at random."""

    def mean(x: Any) -> Any:
        return torch.stack([logits(x) for _ in range(draws)]).mean(dim=0)

    return mean


def same_decisions(a: Logits, b: Logits, x: Any) -> bool:
    """Whether two models decide alike on rows; False too where one cannot be run on them."""
    try:
        with torch.no_grad():
            return bool((a(x).argmax(dim=1) == b(x).argmax(dim=1)).float().mean() >= 0.99)
    except (RuntimeError, IndexError, TypeError, ValueError):
        # A cast that was turned into a float may be used as an index: then it cannot be mended.
        return False

"""What passes between input and answer: where a model's rows and logits can be got hold of.

A defence often stands before an ordinary network, or behind it. The tensors that a forward pass
works on show both: the last one that still follows the rows is what the network itself is given,
and one that already decides as the answer does holds its logits.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from crenel.evasion.gradients.network import Logits, TorchFunctionMode, torch

#: Correlation, over a row's numbers, from which a tensor follows the rows.
FOLLOWS = 0.5
#: Functions that leave torch: nothing can be handed through them.
LEAVING = {"numpy", "__array__", "tolist"}
#: Share of rows on which a tensor must decide as the answer does.
AGREES = 0.99


class _Watch(TorchFunctionMode):  # type: ignore[misc]
    """Notes tensors of the rows' size and results of the answers' shape, in order of first use."""

    def __init__(self, x: Any, entry: int | None = None) -> None:
        super().__init__()
        self.x, self.entry = x, entry
        self.rows: list[Any] = []
        self.heads: list[Any] = []
        self.slope = 1.0
        self._known = {id(x)}
        self._swapped: dict[int, Any] = {}

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        """Run one torch function, noting what it is given and what it gives."""
        leaving = getattr(func, "__name__", "") in LEAVING
        given = args if leaving else [self._given(a) for a in args]
        result = func(*given, **(kwargs or {}))
        if self._like_answers(result):
            self.heads.append(result)
        return result

    def _like_answers(self, a: Any) -> bool:
        if not isinstance(a, torch.Tensor) or a.ndim != 2 or not a.is_floating_point():
            return False
        return len(a) == len(self.x) and a.shape[1] > 1

    def _given(self, a: Any) -> Any:
        if not self._like_rows(a):
            return a
        if id(a) not in self._known:
            self._known.add(id(a))
            self.rows.append(a)  # kept alive, so that its id stays its own
            if self.entry == len(self.rows) - 1:
                self._swapped[id(a)] = self._passed_on(a)
        return self._swapped.get(id(a), a)

    def _like_rows(self, a: Any) -> bool:
        return (
            isinstance(a, torch.Tensor)
            and not isinstance(a, torch.nn.Parameter)
            and a.is_floating_point()
            and a.ndim > 1
            and len(a) == len(self.x)
            and a.numel() == self.x.numel()
        )

    def _passed_on(self, a: Any) -> Any:
        with torch._C.DisableTorchFunction():
            move = (self.x - self.x.detach()).reshape(a.shape)
            return a.detach() + self.slope * move.to(a.dtype)


@dataclass(frozen=True)
class Trace:
    """What a forward pass showed.

    Attributes
    ----------
    entry : int or None
        Ordinal of the last tensor that follows the rows; None where only the rows themselves do.
    slope : float
        Of that tensor in the rows.
    heads : tuple of int
        Ordinals of the tensors that decide as the answer does, from the last to the first.
    """

    entry: int | None
    slope: float
    heads: tuple[int, ...]


def trace(logits: Logits, x: Any) -> Trace:
    """Run a model once on a few rows, and find where rows enter and decisions are made.

    Parameters
    ----------
    logits : callable
    x : tensor, shape (n, …), at least two rows
    """
    with torch.no_grad(), _Watch(x) as watch:
        out = logits(x)
    rows, heads = watch.rows, watch.heads
    slopes = [_slope(x, t) for t in rows]
    following = [i for i, s in enumerate(slopes) if s is not None]
    decided = out.argmax(dim=1)
    agreeing = [
        i for i, t in enumerate(heads)
        if out.shape[1] - 1 <= t.shape[1] <= out.shape[1]
        and bool((t.argmax(dim=1) == decided).float().mean() >= AGREES)
    ]  # fmt: skip
    entry = following[-1] if following else None
    slope = 1.0 if entry is None else slopes[entry] or 1.0
    return Trace(entry, slope, tuple(reversed(agreeing)))


def _slope(x: Any, t: Any) -> float | None:
    """Slope of a tensor in the rows where it follows them, else None."""
    a, b = x.flatten(1).double(), t.flatten(1).double()
    a, b = a - a.mean(dim=1, keepdim=True), b - b.mean(dim=1, keepdim=True)
    size = a.norm(dim=1) * b.norm(dim=1)
    known = size > 0
    if not known.any():
        return None
    correlation = float(((a * b).sum(dim=1)[known] / size[known]).mean())
    if not abs(correlation) >= FOLLOWS:
        return None
    return float((a * b).sum() / (a * a).sum())


def entered(logits: Logits, at: Trace) -> Logits:
    """The same logits, with gradients taken straight from what the network itself is given."""

    def beyond(x: Any) -> Any:
        watch = _Watch(x, at.entry)
        watch.slope = at.slope
        with watch:
            return logits(x)

    return beyond


def beheaded(logits: Logits, head: int) -> Logits:
    """The logits that a model has before its last steps; its answers where it took other ones."""

    def before(x: Any) -> Any:
        with _Watch(x) as watch:
            out = logits(x)
        heads = watch.heads
        return heads[head] if head < len(heads) else out

    return before

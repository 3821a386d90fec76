"""The operators of torch that become layers; each rule writes down one call.

A rule takes the recorder, the call's (first) result, the operator and its arguments, and returns
where the result now lives. Operators that only move numbers are all one rule: the operator is run
on the numbers' own places.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Protocol

from crenel.errors import NotApplicable
from crenel.evasion.certify import affine
from crenel.evasion.certify.graph import AnyLayer
from crenel.evasion.certify.layers import (
    Fixed,
    Joined,
    MaxPool,
    Rectifier,
    Shape,
    Total,
    sigmoid,
    tanh,
)
from crenel.evasion.gradients.network import torch

#: Makes a layer with weights of a dtype.
Make = Callable[[Any], AnyLayer]
#: Largest matrix made of an operator that is linear but has no rule of its own.
LARGEST_MATRIX = 2**24


@dataclass(frozen=True)
class Value:
    """Where a tensor lives in the graph.

    Attributes
    ----------
    node : int
    shape : tuple of int
        Of the tensor, rows included.
    tail : bool
        Whether the tensor is only in the order of the node, after a final softmax.
    """

    node: int
    shape: Shape
    tail: bool = False


@dataclass(frozen=True)
class Draft:
    """A node whose weights have no dtype yet; see `crenel.evasion.certify.graph.Node`."""

    make: Make
    inputs: tuple[int, ...]
    shape: Shape
    name: str


class Recording(Protocol):
    """What rules need of the recorder."""

    drafts: list[Draft]
    ranked: bool  # whether only the order of the outputs is kept

    def of(self, tensor: Any) -> Value | None:
        """What is known of a tensor."""

    def add(self, make: Make, inputs: tuple[int, ...], shape: Any, what: str) -> Value:
        """A further node."""

    def refuse(self, what: str) -> NotApplicable:
        """The error that names operator and layer."""


Rule = Callable[[Any, Any, Any, Any, Any], Value]


def _first(r: Recording, args: Any, what: str) -> Value:
    """The first argument, where it alone depends on the rows."""
    value = r.of(args[0])
    if value is None or any(r.of(a) for a in args[1:] if isinstance(a, torch.Tensor)):
        raise r.refuse(f"{what} of two things that both depend on the row")
    return value


def _row(r: Recording, constant: Any, shape: Shape, dtype: Any) -> Any:
    """A constant operand as one row of it, broadcast to the shape of a row."""
    if not isinstance(constant, torch.Tensor):
        return torch.tensor(float(constant), dtype=dtype)
    if constant.ndim == len(shape) and len(constant) == 2 and shape[0] == 2:
        if not torch.equal(constant[0], constant[1]):
            raise r.refuse("a constant that differs between rows")
        constant = constant[:1]
    if constant.ndim == len(shape):
        constant = constant[0]
    return constant.detach().to(dtype).expand(shape[1:])


def _move(r: Recording, out: Any, function: Any, args: Any, kwargs: Any) -> Value:
    """Any operator that only moves, repeats or drops numbers, or puts zeros beside them."""
    value = _first(r, args, "a choice")
    if out.dtype not in (torch.float32, torch.float64):
        raise r.refuse(f"a cast to {out.dtype}")
    size = args[0].numel() // 2
    places = torch.arange(1, 2 * size + 1, dtype=torch.float64).reshape(args[0].shape)
    kwargs = {k: v for k, v in kwargs.items() if k not in ("dtype", "device", "layout")}
    moved = function(places, *args[1:], **kwargs)
    if not len(moved) or len(moved) != 2:
        raise r.refuse("a shape that mixes rows")
    here, there = moved[0].reshape(-1), moved[1].reshape(-1)
    within = bool(((here >= 0) & (here <= size)).all())
    if not within or not torch.equal(torch.where(here > 0, here + size, here), there):
        raise r.refuse("a choice that mixes rows or puts other numbers beside them")
    chosen = (here - 1).round().to(torch.int64)
    before, after = value.shape[1:], tuple(out.shape[1:])
    return r.add(lambda _: affine.pick(chosen, before, after), (value.node,), out.shape, "moves")


def _same(r: Recording, out: Any, function: Any, args: Any, kwargs: Any) -> Value:
    if out.dtype not in (torch.float32, torch.float64):
        raise r.refuse(f"a cast to {out.dtype}")
    return replace(_first(r, args, "a copy"), shape=tuple(out.shape))


def _by_matrix(r: Recording, out: Any, function: Any, args: Any, kwargs: Any) -> Value:
    """A linear operator without a rule of its own, by what it does to each unit vector."""
    value = _first(r, args, "a sum")
    size, width = args[0].numel() // 2, out.numel() // 2
    if not out.ndim or len(out) != 2:
        raise r.refuse("a sum that mixes rows")
    if size * width > LARGEST_MATRIX:
        raise r.refuse("a sum over so many numbers")
    units = torch.eye(size, dtype=torch.float64).reshape(size, *value.shape[1:])
    weight = function(units, *args[1:], **kwargs).reshape(size, width).T.contiguous()
    flat = r.add(
        lambda _: affine.reshape(value.shape[1:], (size,)), (value.node,), (2, size), "flattens"
    )
    summed = r.add(lambda d: affine.dense(weight.to(d), None), (flat.node,), (2, width), "averages")
    after = tuple(out.shape[1:])
    return r.add(lambda _: affine.reshape((width,), after), (summed.node,), out.shape, "shapes")


def _matrix(r: Recording, out: Any, x: Any, weight: Any, bias: Any) -> Value:
    value = r.of(x)
    if value is None or r.of(weight) or r.of(bias) or len(value.shape) != 2:
        raise r.refuse("a product of two things that both depend on the row")
    w = weight.detach()
    b = None if bias is None else _row(r, bias, (2, w.shape[0]), w.dtype)
    return r.add(
        lambda d: affine.dense(w.to(d), None if b is None else b.to(d)),
        (value.node,), out.shape, "product",
    )  # fmt: skip


def _addmm(r: Recording, out: Any, function: Any, args: Any, kwargs: Any) -> Value:
    alpha, beta = kwargs.get("alpha", 1), kwargs.get("beta", 1)
    return _matrix(r, out, args[1], alpha * args[2].T, beta * args[0])


def _mm(r: Recording, out: Any, function: Any, args: Any, kwargs: Any) -> Value:
    return _matrix(r, out, args[0], args[1].T, None)


def _linear(r: Recording, out: Any, function: Any, args: Any, kwargs: Any) -> Value:
    return _matrix(r, out, args[0], args[1], args[2] if len(args) > 2 else None)


def _convolution(r: Recording, out: Any, function: Any, args: Any, kwargs: Any) -> Value:
    value = _first(r, args, "a convolution")
    _, weight, bias, stride, padding, dilation, transposed, _, groups = args[:9]
    if transposed:
        raise r.refuse("a transposed convolution")
    w, b = weight.detach(), None if bias is None else bias.detach()
    rest = (value.shape[2:], tuple(stride), tuple(padding), tuple(dilation), groups)
    return r.add(
        lambda d: affine.convolution(w.to(d), None if b is None else b.to(d), *rest),
        (value.node,), out.shape, "convolution",
    )  # fmt: skip


def _batch_norm(r: Recording, out: Any, function: Any, args: Any, kwargs: Any) -> Value:
    value = _first(r, args, "a norm")
    _, weight, bias, mean, var, training = args[:6]
    if training or mean is None:
        raise r.refuse("batch norm of the batch's own statistics")
    by = (var.detach().double() + args[7]).rsqrt()
    by = by if weight is None else by * weight.detach()
    added = -mean.detach() * by
    added = added if bias is None else added + bias.detach()
    form = (-1, *[1] * (len(value.shape) - 2))
    return r.add(
        lambda d: affine.scale(by.reshape(form).to(d), added.reshape(form).to(d)),
        (value.node,), out.shape, "norm",
    )  # fmt: skip


def _spread(r: Recording, value: Value, shape: Any) -> Value:
    """A value broadcast to a shape."""
    shape = tuple(shape)
    if value.shape == shape:
        return value
    size = 1
    for s in value.shape[1:]:
        size *= s
    lacking = len(shape) - len(value.shape)
    if lacking:
        raise r.refuse("a broadcast along the rows")
    places = torch.arange(size).reshape(value.shape[1:]).expand(shape[1:]).reshape(-1)
    before = value.shape[1:]
    return r.add(
        lambda _: affine.pick(places, before, shape[1:]), (value.node,), shape, "broadcast"
    )


def _scaled(r: Recording, value: Value, by: Any, what: str) -> Value:
    return r.add(lambda d: affine.scale(by.to(d)), (value.node,), value.shape, what)


def _sum(sign: float) -> Rule:
    def rule(r: Recording, out: Any, function: Any, args: Any, kwargs: Any) -> Value:
        alpha = sign * float(kwargs.get("alpha", args[2] if len(args) > 2 else 1))
        left, right = r.of(args[0]), r.of(args[1])
        shape = tuple(out.shape)
        if left and right:
            second = _spread(r, right, shape)
            if alpha != 1:
                second = _scaled(r, second, torch.tensor(alpha), "times")
            both = (_spread(r, left, shape).node, second.node)
            return r.add(lambda _: Total(), both, shape, "sum")
        if left:
            added = alpha * _row(r, args[1], shape, torch.float64)
            return _shifted(r, _spread(r, left, shape), added)
        assert right is not None
        moved = _spread(r, right, shape)
        if alpha != 1:
            moved = _scaled(r, moved, torch.tensor(alpha), "times")
        return _shifted(r, moved, _row(r, args[0], shape, torch.float64))

    return rule


def _shifted(r: Recording, value: Value, by: Any) -> Value:
    return r.add(lambda d: affine.shift(by.to(d)), (value.node,), value.shape, "shift")


def _rsub(r: Recording, out: Any, function: Any, args: Any, kwargs: Any) -> Value:
    return _sum(-1.0)(r, out, function, (args[1], args[0]), kwargs)


def _product(r: Recording, out: Any, function: Any, args: Any, kwargs: Any) -> Value:
    left, right = r.of(args[0]), r.of(args[1])
    if left and right:
        raise r.refuse("a product of two things that both depend on the row")
    value, other = (left, args[1]) if left else (right, args[0])
    assert value is not None
    by = _row(r, other, tuple(out.shape), torch.float64)
    return _scaled(r, _spread(r, value, out.shape), by, "times")


def _quotient(r: Recording, out: Any, function: Any, args: Any, kwargs: Any) -> Value:
    value = _first(r, args, "a quotient") if r.of(args[0]) else None
    if value is None or kwargs.get("rounding_mode") is not None:
        raise r.refuse("a quotient by something that depends on the row")
    by = 1 / _row(r, args[1], tuple(out.shape), torch.float64)
    return _scaled(r, _spread(r, value, out.shape), by, "times")


def _negative(r: Recording, out: Any, function: Any, args: Any, kwargs: Any) -> Value:
    return _scaled(r, _first(r, args, "a sign"), torch.tensor(-1.0), "negative")


def _step(layer: Callable[[Any], AnyLayer], what: str) -> Rule:
    """A rule for a step of each number, from the arguments after the first."""

    def rule(r: Recording, out: Any, function: Any, args: Any, kwargs: Any) -> Value:
        value = _first(r, args, what)
        made = layer(args)
        return r.add(lambda _: made, (value.node,), out.shape, what)

    return rule


def _leak(args: Any) -> Rectifier:
    leak = float(args[1]) if len(args) > 1 else 0.01
    if not 0 <= leak < 1:
        raise NotApplicable(f"no certificate: a leaky ReLU of slope {leak} is not understood")
    return Rectifier(leak)


def _clamp(r: Recording, out: Any, function: Any, args: Any, kwargs: Any) -> Value:
    """``low + relu(x - low) - relu(x - high)``."""
    value = _first(r, args, "a clamp")
    if value.tail:
        return value
    low = args[1] if len(args) > 1 else kwargs.get("min")
    high = args[2] if len(args) > 2 else kwargs.get("max")
    return _clamped(r, value, low, high)


def _clamped(r: Recording, value: Value, low: Any, high: Any) -> Value:
    shape = value.shape
    if low is not None:
        up = _shifted(r, value, -_row(r, low, shape, torch.float64))
        up = r.add(lambda _: Rectifier(), (up.node,), shape, "clamp")
        value = _shifted(r, up, _row(r, low, shape, torch.float64))
    if high is not None:
        mirrored = _scaled(r, value, torch.tensor(-1.0), "negative")
        down = _shifted(r, mirrored, _row(r, high, shape, torch.float64))
        down = r.add(lambda _: Rectifier(), (down.node,), shape, "clamp")
        down = _scaled(r, down, torch.tensor(-1.0), "negative")
        value = _shifted(r, down, _row(r, high, shape, torch.float64))
    return value


def _clamp_min(r: Recording, out: Any, function: Any, args: Any, kwargs: Any) -> Value:
    value = _first(r, args, "a clamp")
    return value if value.tail else _clamped(r, value, args[1], None)


def _clamp_max(r: Recording, out: Any, function: Any, args: Any, kwargs: Any) -> Value:
    value = _first(r, args, "a clamp")
    return value if value.tail else _clamped(r, value, None, args[1])


def _hardtanh(r: Recording, out: Any, function: Any, args: Any, kwargs: Any) -> Value:
    low, high = (args[1], args[2]) if len(args) > 2 else (-1.0, 1.0)
    return _clamped(r, _first(r, args, "a clamp"), low, high)


def _absolute(r: Recording, out: Any, function: Any, args: Any, kwargs: Any) -> Value:
    """``relu(x) + relu(-x)``."""
    value = _first(r, args, "abs")
    mirrored = _scaled(r, value, torch.tensor(-1.0), "negative")
    up = r.add(lambda _: Rectifier(), (value.node,), value.shape, "abs")
    down = r.add(lambda _: Rectifier(), (mirrored.node,), value.shape, "abs")
    return r.add(lambda _: Total(), (up.node, down.node), value.shape, "sum")


def _max_pool(r: Recording, out: Any, function: Any, args: Any, kwargs: Any) -> Value:
    value = _first(r, args, "a maximum")
    given = list(args[1:])
    kernel = _pair(given[0])
    stride = _pair(given[1]) if len(given) > 1 and given[1] else kernel
    padding = _pair(given[2]) if len(given) > 2 else (0, 0)
    dilation = _pair(given[3]) if len(given) > 3 else (1, 1)
    if (len(given) > 4 and given[4]) or len(value.shape) != 4:
        raise r.refuse("max pooling with a ceiling, or of volumes")
    layer = MaxPool(kernel, stride, padding, dilation)
    return r.add(lambda _: layer, (value.node,), out.shape, "maximum")


def _pair(sizes: Any) -> tuple[int, int]:
    return (int(sizes[0]), int(sizes[-1]))


def _joined(r: Recording, parts: Any, axis: int, shape: Any) -> Value:
    """Tensors, each with its value or with None where it is constant, side by side."""
    if axis == 0:
        raise r.refuse("joining along the rows")
    nodes = []
    for tensor, value in parts:
        if value is None:
            row = _row(r, tensor, tuple(tensor.shape), torch.float64)
            value = r.add(_fixed(row), (), (2, *row.shape), "constant")
        nodes.append(value.node)
    sizes = tuple(tensor.shape[axis] for tensor, _ in parts)
    return r.add(lambda _: Joined(axis, sizes), tuple(nodes), shape, "joins")


def _fixed(row: Any) -> Make:
    return lambda d: Fixed(row.to(d))


def _cat(r: Recording, out: Any, function: Any, args: Any, kwargs: Any) -> Value:
    axis = (args[1] if len(args) > 1 else 0) % out.ndim
    return _joined(r, [(t, r.of(t)) for t in args[0]], axis, out.shape)


def _stack(r: Recording, out: Any, function: Any, args: Any, kwargs: Any) -> Value:
    axis = (args[1] if len(args) > 1 else 0) % out.ndim
    widen = torch.ops.aten.unsqueeze.default
    parts: list[tuple[Any, Value | None]] = []
    for t in args[0]:
        wide = t.unsqueeze(axis)
        parts.append((wide, _move(r, wide, widen, (t, axis), {}) if r.of(t) else None))
    return _joined(r, parts, axis, out.shape)


def _softmax(r: Recording, out: Any, function: Any, args: Any, kwargs: Any) -> Value:
    """A final softmax leaves the order of the outputs."""
    value = _first(r, args, "softmax")
    if len(value.shape) != 2 or args[1] % 2 != 1:
        raise r.refuse("a softmax inside the network")
    return replace(value, tail=True)


def _log(r: Recording, out: Any, function: Any, args: Any, kwargs: Any) -> Value:
    value = _first(r, args, "log")
    if not value.tail:
        raise r.refuse("log")
    return value


def _logit(r: Recording, out: Any, function: Any, args: Any, kwargs: Any) -> Value:
    """The inverse of a sigmoid just before it."""
    value = _first(r, args, "logit")
    node = value.node
    while r.drafts[node].name.endswith("moves"):
        node = r.drafts[node].inputs[0]
    if not r.drafts[node].name.endswith("sigmoid"):
        raise r.refuse("logit")
    r.ranked = True  # a saturated sigmoid has lost its input in float32
    before = r.drafts[node].inputs[0]
    shape = r.drafts[before].shape
    after = value.shape[1:]
    return r.add(lambda _: affine.reshape(shape, after), (before,), value.shape, "moves")


#: Operators allowed after a final softmax.
TAILS = ("log", "clamp", "clamp_min", "detach", "alias", "_to_copy", "clone")

OPERATORS: dict[str, Rule] = {
    **dict.fromkeys(
        (
            "view", "_unsafe_view", "reshape", "_reshape_alias", "permute", "transpose", "t",
            "squeeze", "unsqueeze", "expand", "select", "slice", "flip", "index_select",
            "constant_pad_nd", "unfold", "roll", "pixel_unshuffle", "pixel_shuffle",
            "reflection_pad2d", "replication_pad2d", "channel_shuffle",
        ),
        _move,
    ),
    **dict.fromkeys(("detach", "alias", "_to_copy", "clone", "contiguous"), _same),
    **dict.fromkeys(
        ("mean", "sum", "avg_pool1d", "avg_pool2d", "_adaptive_avg_pool2d", "upsample_nearest2d",
         "upsample_bilinear2d"),
        _by_matrix,
    ),
    "addmm": _addmm,
    "mm": _mm,
    "linear": _linear,
    "convolution": _convolution, "_convolution": _convolution,  # as TorchScript traces have it
    **dict.fromkeys(
        ("native_batch_norm", "_native_batch_norm_legit", "cudnn_batch_norm"), _batch_norm
    ),
    "add": _sum(1.0),
    "add_": _sum(1.0),
    "sub": _sum(-1.0),
    "sub_": _sum(-1.0),
    "rsub": _rsub,
    "mul": _product,
    "mul_": _product,
    "div": _quotient,
    "div_": _quotient,
    "neg": _negative,
    "relu": _step(lambda _: Rectifier(), "relu"),
    "relu_": _step(lambda _: Rectifier(), "relu"),
    "leaky_relu": _step(_leak, "leaky relu"),
    "leaky_relu_": _step(_leak, "leaky relu"),
    "sigmoid": _step(lambda _: sigmoid(), "sigmoid"),
    "tanh": _step(lambda _: tanh(), "tanh"),
    "clamp": _clamp,
    "clamp_": _clamp,
    "clamp_min": _clamp_min,
    "clamp_max": _clamp_max,
    "hardtanh": _hardtanh,
    "hardtanh_": _hardtanh,
    "abs": _absolute,
    "max_pool2d_with_indices": _max_pool,
    "cat": _cat,
    "stack": _stack,
    "_softmax": _softmax,
    "_log_softmax": _softmax,
    "log": _log,
    "logit": _logit,
}  # fmt: skip

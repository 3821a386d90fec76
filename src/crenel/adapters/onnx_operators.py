"""The operators of ONNX graphs, as functions of torch tensors.

Each function takes ``(inputs, attributes, opset)``: the tensors (None where an optional one is
left out), the node's attributes by name, and the version of the operator set; it returns one
tensor, or a list of them. Semantics are those of the operators' public specification.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as f

Operator = Callable[[list[Any], dict[str, Any], int], Any]

#: ONNX's numbers of element types.
DTYPES = {
    1: torch.float32, 2: torch.uint8, 3: torch.int8, 5: torch.int16, 6: torch.int32,
    7: torch.int64, 9: torch.bool, 10: torch.float16, 11: torch.float64, 16: torch.bfloat16,
}  # fmt: skip


def _integers(value: Any) -> list[int]:
    return [int(v) for v in value.reshape(-1).tolist()]


def _axes(a: list[Any], at: dict[str, Any]) -> list[int] | None:
    """The axes of a node: an attribute in old operator sets, an input in new ones."""
    if "axes" in at:
        return list(at["axes"])
    return _integers(a[1]) if len(a) > 1 and a[1] is not None else None


def _gemm(a: list[Any], at: dict[str, Any], _: int) -> Tensor:
    left = a[0].T if at.get("transA", 0) else a[0]
    right = a[1].T if at.get("transB", 0) else a[1]
    alpha, beta = at.get("alpha", 1.0), at.get("beta", 1.0)
    out = left @ right if alpha == 1 else alpha * (left @ right)
    if len(a) > 2 and a[2] is not None:
        out = out + (a[2] if beta == 1 else beta * a[2])
    return out


def _div(a: list[Any], _: dict[str, Any], __: int) -> Tensor:
    if a[0].is_floating_point():
        return a[0] / a[1]
    return torch.div(a[0], a[1], rounding_mode="trunc")


def _clip(a: list[Any], at: dict[str, Any], _: int) -> Tensor:
    low = at.get("min", a[1] if len(a) > 1 else None)
    high = at.get("max", a[2] if len(a) > 2 else None)
    bounds = [None if b is None else float(b) for b in (low, high)]
    return torch.clamp(a[0], *bounds) if any(b is not None for b in bounds) else a[0]


def _same(size: int, kernel: int, stride: int, dilation: int, lower: bool) -> tuple[int, int]:
    """Padding (before, after) of one axis that keeps ceil(size / stride)."""
    total = max(0, (-(-size // stride) - 1) * stride + (kernel - 1) * dilation + 1 - size)
    small, large = total // 2, total - total // 2
    return (large, small) if lower else (small, large)


def _window(x: Tensor, kernel: Sequence[int], at: dict[str, Any]) -> tuple[list[int], ...]:
    """Strides, dilations, padding before and padding after, of a sliding window."""
    d = len(kernel)
    strides, dilations = list(at.get("strides", [1] * d)), list(at.get("dilations", [1] * d))
    auto = at.get("auto_pad", b"NOTSET").decode()
    if auto in ("SAME_UPPER", "SAME_LOWER"):
        pads = [
            _same(x.shape[2 + i], kernel[i], strides[i], dilations[i], auto == "SAME_LOWER")
            for i in range(d)
        ]
        return strides, dilations, [p[0] for p in pads], [p[1] for p in pads]
    flat = list(at.get("pads", [0] * (2 * d))) if auto == "NOTSET" else [0] * (2 * d)
    return strides, dilations, flat[:d], flat[d:]


def _padded(x: Tensor, before: list[int], after: list[int], value: float) -> Tensor:
    if not any(before) and not any(after):
        return x
    pads = [p for i in range(len(before) - 1, -1, -1) for p in (before[i], after[i])]
    return f.pad(x, pads, value=value)


def _conv(a: list[Any], at: dict[str, Any], _: int) -> Tensor:
    x, w = a[0], a[1]
    bias = a[2] if len(a) > 2 else None
    strides, dilations, before, after = _window(x, w.shape[2:], at)
    if before != after:
        x, before = _padded(x, before, after, 0.0), [0] * len(before)
    convolve = (f.conv1d, f.conv2d, f.conv3d)[w.ndim - 3]
    return convolve(x, w, bias, strides, before, dilations, at.get("group", 1))


def _max_pool(a: list[Any], at: dict[str, Any], _: int) -> Tensor:
    kernel = list(at["kernel_shape"])
    strides, dilations, before, after = _window(a[0], kernel, at)
    x = _padded(a[0], before, after, -torch.inf)
    pool = (f.max_pool1d, f.max_pool2d, f.max_pool3d)[len(kernel) - 1]
    return pool(x, kernel, strides, 0, dilations, bool(at.get("ceil_mode", 0)))


def _average_pool(a: list[Any], at: dict[str, Any], _: int) -> Tensor:
    kernel = list(at["kernel_shape"])
    strides, _dilations, before, after = _window(a[0], kernel, at)
    pool = (f.avg_pool1d, f.avg_pool2d, f.avg_pool3d)[len(kernel) - 1]
    ceil, counted = bool(at.get("ceil_mode", 0)), bool(at.get("count_include_pad", 0))
    if before == after and all(2 * p <= k for p, k in zip(before, kernel, strict=True)):
        return pool(a[0], kernel, strides, before, ceil, counted)
    out = pool(_padded(a[0], before, after, 0.0), kernel, strides, 0, ceil)
    if counted:
        return out
    shares = pool(_padded(torch.ones_like(a[0][:1]), before, after, 0.0), kernel, strides, 0, ceil)
    return out / shares


def _global(reduce: Callable[..., Tensor]) -> Operator:
    return lambda a, at, _: reduce(a[0], dim=tuple(range(2, a[0].ndim)), keepdim=True)


def _batch_norm(a: list[Any], at: dict[str, Any], _: int) -> Tensor:
    x, scale, shift, mean, var = a[:5]
    return f.batch_norm(x, mean, var, scale, shift, False, 0.0, at.get("epsilon", 1e-5))


def _layer_norm(a: list[Any], at: dict[str, Any], _: int) -> Tensor:
    axis = at.get("axis", -1) % a[0].ndim
    bias = a[2] if len(a) > 2 else None
    return f.layer_norm(a[0], a[0].shape[axis:], a[1], bias, at.get("epsilon", 1e-5))


def _flatten(a: list[Any], at: dict[str, Any], _: int) -> Tensor:
    axis = at.get("axis", 1)
    axis = axis + a[0].ndim if axis < 0 else axis
    rows = 1
    for size in a[0].shape[:axis]:
        rows *= size
    return a[0].reshape(rows, -1)


def _reshape(a: list[Any], at: dict[str, Any], _: int) -> Tensor:
    shape = _integers(a[1])
    if not at.get("allowzero", 0):
        shape = [a[0].shape[i] if s == 0 else s for i, s in enumerate(shape)]
    return a[0].reshape(_with_rows(a[0], shape))


def _with_rows(x: Tensor, shape: list[int]) -> list[int]:
    """A shape written for one row, for as many rows as there are."""
    known = 1
    for s in shape:
        known *= s
    n = x.shape[0] if x.ndim else 1
    if shape and shape[0] == 1 and n > 1 and (-1 in shape[1:] or known * n == x.numel()):
        return [n, *shape[1:]]
    return shape


def _transpose(a: list[Any], at: dict[str, Any], _: int) -> Tensor:
    return a[0].permute(*at.get("perm", range(a[0].ndim - 1, -1, -1)))


def _squeeze(a: list[Any], at: dict[str, Any], _: int) -> Tensor:
    axes = _axes(a, at)
    return a[0].squeeze() if axes is None else a[0].squeeze(tuple(axes))


def _unsqueeze(a: list[Any], at: dict[str, Any], _: int) -> Tensor:
    out, axes = a[0], _axes(a, at) or []
    for axis in sorted(x % (a[0].ndim + len(axes)) for x in axes):
        out = out.unsqueeze(axis)
    return out


def _softmax(log: bool) -> Operator:
    function = f.log_softmax if log else f.softmax

    def run(a: list[Any], at: dict[str, Any], opset: int) -> Tensor:
        if opset >= 13 or a[0].ndim <= 2:
            return function(a[0], dim=at.get("axis", -1 if opset >= 13 else 1))
        flat = _flatten(a, {"axis": at.get("axis", 1)}, opset)  # old sets flatten to a matrix
        return function(flat, dim=1).reshape(a[0].shape)

    return run


def _reduce(kind: Callable[[Tensor, tuple[int, ...], bool], Tensor]) -> Operator:
    def run(a: list[Any], at: dict[str, Any], _: int) -> Tensor:
        axes = _axes(a, at)
        if not axes and at.get("noop_with_empty_axes", 0):
            return a[0]
        return kind(a[0], tuple(axes or range(a[0].ndim)), bool(at.get("keepdims", 1)))

    return run


def _pad(a: list[Any], at: dict[str, Any], _: int) -> Tensor:
    flat = list(at["pads"]) if "pads" in at else _integers(a[1])
    value = a[2] if len(a) > 2 and a[2] is not None else at.get("value", 0.0)
    d = a[0].ndim
    axes = _integers(a[3]) if len(a) > 3 and a[3] is not None else list(range(d))
    pads = [0] * (2 * d)
    for i, axis in enumerate(axes):
        place = 2 * (d - 1 - axis % d)
        pads[place], pads[place + 1] = flat[i], flat[i + len(axes)]
    mode = at.get("mode", b"constant").decode()
    if mode == "constant":
        return f.pad(a[0], pads, value=float(value))
    while pads and pads[-2:] == [0, 0]:
        pads = pads[:-2]  # torch reflects the last axes only
    return f.pad(a[0], pads, mode={"edge": "replicate"}.get(mode, mode))


def _gather(a: list[Any], at: dict[str, Any], _: int) -> Tensor:
    x, axis = a[0], at.get("axis", 0) % a[0].ndim
    index = torch.where(a[1] < 0, a[1] + x.shape[axis], a[1])
    picked = x.index_select(axis, index.reshape(-1))
    return picked.reshape(x.shape[:axis] + index.shape + x.shape[axis + 1 :])


def _slice(a: list[Any], at: dict[str, Any], _: int) -> Tensor:
    starts = list(at["starts"]) if "starts" in at else _integers(a[1])
    ends = list(at["ends"]) if "ends" in at else _integers(a[2])
    axes = at.get("axes") or (
        _integers(a[3]) if len(a) > 3 and a[3] is not None else range(len(starts))
    )
    steps = _integers(a[4]) if len(a) > 4 and a[4] is not None else [1] * len(starts)
    out = a[0]
    for start, end, axis, step in zip(starts, ends, axes, steps, strict=True):
        places = range(*slice(start, end, step).indices(out.shape[axis]))
        if step == 1:
            out = out.narrow(axis, places.start, len(places))
        else:
            out = out.index_select(axis, torch.tensor(places, dtype=torch.int64))
    return out


def _split(a: list[Any], at: dict[str, Any], _: int) -> list[Tensor]:
    axis = at.get("axis", 0)
    sizes = at.get("split") or (_integers(a[1]) if len(a) > 1 and a[1] is not None else None)
    if sizes is None:
        sizes = -(-a[0].shape[axis] // at["num_outputs"]) if "num_outputs" in at else 0
        sizes = sizes or a[0].shape[axis] // 2
    return list(torch.split(a[0], sizes, dim=axis))


def _constant(a: list[Any], at: dict[str, Any], _: int) -> Tensor:
    for name in ("value", "value_float", "value_int", "value_floats", "value_ints"):
        if name in at:
            return torch.as_tensor(at[name])
    raise KeyError("Constant without a number")


def _constant_of_shape(a: list[Any], at: dict[str, Any], _: int) -> Tensor:
    value = torch.as_tensor(at.get("value", 0.0))
    return torch.full(_integers(a[0]), value.reshape(-1)[0].item(), dtype=value.dtype)


def _expand(a: list[Any], _: dict[str, Any], __: int) -> Tensor:
    return a[0].expand(torch.broadcast_shapes(a[0].shape, tuple(_integers(a[1]))))


def _prelu(a: list[Any], _: dict[str, Any], __: int) -> Tensor:
    return torch.where(a[0] >= 0, a[0], a[1] * a[0])


def _folded(function: Callable[[Tensor, Tensor], Tensor]) -> Operator:
    def run(a: list[Any], _: dict[str, Any], __: int) -> Tensor:
        out = a[0]
        for other in a[1:]:
            out = function(out, other)
        return out

    return run


def _scaler(a: list[Any], at: dict[str, Any], _: int) -> Tensor:
    offset, scale = torch.tensor(at["offset"]), torch.tensor(at["scale"])
    return (a[0].float() - offset) * scale


def _normalizer(a: list[Any], at: dict[str, Any], _: int) -> Tensor:
    order = {"L1": 1.0, "L2": 2.0, "MAX": torch.inf}[at.get("norm", b"MAX").decode()]
    return f.normalize(a[0].float(), p=order, dim=1)


def _linear_classifier(a: list[Any], at: dict[str, Any], _: int) -> list[Any]:
    """The scores alone: its labels are decisions, without gradients."""
    weight = torch.tensor(at["coefficients"]).reshape(-1, a[0].shape[1])
    z = a[0].float() @ weight.T + torch.tensor(at["intercepts"])
    after = at.get("post_transform", b"NONE").decode()
    if z.shape[1] == 1:
        z = torch.cat([-z, z], dim=1) if after == "NONE" else z
    if after == "SOFTMAX":
        return [None, f.softmax(z, dim=1)]
    if after == "LOGISTIC":
        p = torch.sigmoid(z)
        return [None, torch.cat([1 - p, p], dim=1) if p.shape[1] == 1 else p]
    if after != "NONE":
        raise NotImplementedError(f"LinearClassifier with {after}")
    return [None, z]


def _plain(function: Callable[..., Any]) -> Operator:
    return lambda a, _at, _v: function(*a)


OPERATORS: dict[str, Operator] = {
    "Gemm": _gemm,
    "MatMul": _plain(torch.matmul),
    "Add": _plain(torch.add),
    "Sub": _plain(torch.sub),
    "Mul": _plain(torch.mul),
    "Div": _div,
    "Pow": lambda a, _at, _v: torch.pow(a[0], a[1]).to(a[0].dtype),
    "Sum": _folded(torch.add),
    "Max": _folded(torch.maximum),
    "Min": _folded(torch.minimum),
    "Mean": lambda a, at, v: _folded(torch.add)(a, at, v) / len(a),
    "Relu": _plain(torch.relu),
    "LeakyRelu": lambda a, at, _: f.leaky_relu(a[0], at.get("alpha", 0.01)),
    "PRelu": _prelu,
    "Elu": lambda a, at, _: f.elu(a[0], at.get("alpha", 1.0)),
    "Selu": _plain(torch.selu),
    "Softplus": _plain(f.softplus),
    "Gelu": lambda a, at, _: f.gelu(a[0], approximate=at.get("approximate", b"none").decode()),
    "HardSigmoid": lambda a, at, _: torch.clamp(
        at.get("alpha", 0.2) * a[0] + at.get("beta", 0.5), 0, 1
    ),
    "HardSwish": _plain(f.hardswish),
    "Sigmoid": _plain(torch.sigmoid),
    "Tanh": _plain(torch.tanh),
    "Erf": _plain(torch.erf),
    "Exp": _plain(torch.exp),
    "Log": _plain(torch.log),
    "Sqrt": _plain(torch.sqrt),
    "Reciprocal": _plain(torch.reciprocal),
    "Abs": _plain(torch.abs),
    "Neg": _plain(torch.neg),
    "Sign": _plain(torch.sign),
    "Floor": _plain(torch.floor),
    "Ceil": _plain(torch.ceil),
    "Round": _plain(torch.round),
    "Clip": _clip,
    "Conv": _conv,
    "BatchNormalization": _batch_norm,
    "InstanceNormalization": lambda a, at, _: f.instance_norm(
        a[0], weight=a[1], bias=a[2], eps=at.get("epsilon", 1e-5)
    ),
    "LayerNormalization": _layer_norm,
    "MaxPool": _max_pool,
    "AveragePool": _average_pool,
    "GlobalAveragePool": _global(torch.mean),
    "GlobalMaxPool": _global(torch.amax),
    "Flatten": _flatten,
    "Reshape": _reshape,
    "Transpose": _transpose,
    "Concat": lambda a, at, _: torch.cat(a, dim=at["axis"]),
    "Split": _split,
    "Constant": _constant,
    "ConstantOfShape": _constant_of_shape,
    "Expand": _expand,
    "Identity": lambda a, _at, _v: a[0],
    "Dropout": lambda a, _at, _v: a[0],
    "Softmax": _softmax(log=False),
    "LogSoftmax": _softmax(log=True),
    "Squeeze": _squeeze,
    "Unsqueeze": _unsqueeze,
    "Shape": lambda a, at, _: torch.tensor(
        list(a[0].shape)[at.get("start", 0) : at.get("end", None)], dtype=torch.int64
    ),
    "Gather": _gather,
    "Slice": _slice,
    "Cast": lambda a, at, _: a[0].to(DTYPES[at["to"]]),
    "Pad": _pad,
    "Where": _plain(torch.where),
    "Equal": _plain(torch.eq),
    "Greater": _plain(torch.gt),
    "GreaterOrEqual": _plain(torch.ge),
    "Less": _plain(torch.lt),
    "LessOrEqual": _plain(torch.le),
    "Not": _plain(torch.logical_not),
    "ReduceMean": _reduce(lambda x, d, k: x.mean(d, keepdim=k)),
    "ReduceSum": _reduce(lambda x, d, k: x.sum(d, keepdim=k)),
    "ReduceMax": _reduce(lambda x, d, k: x.amax(d, keepdim=k)),
    "ReduceMin": _reduce(lambda x, d, k: x.amin(d, keepdim=k)),
    "ReduceL1": _reduce(lambda x, d, k: x.abs().sum(d, keepdim=k)),
    "ReduceL2": _reduce(lambda x, d, k: x.square().sum(d, keepdim=k).sqrt()),
    "ReduceSumSquare": _reduce(lambda x, d, k: x.square().sum(d, keepdim=k)),
    "ReduceLogSumExp": _reduce(lambda x, d, k: x.logsumexp(d, keepdim=k)),
    "Scaler": _scaler,
    "Normalizer": _normalizer,
    "LinearClassifier": _linear_classifier,
    "ZipMap": lambda a, _at, _v: a[0],
}

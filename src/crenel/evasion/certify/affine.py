"""Affine layers with their adjoints: matrices, convolutions, scales, and moves of numbers."""

from __future__ import annotations

import math
from typing import Any

from crenel.evasion.certify.layers import Affine, Shape, Tensor
from crenel.evasion.gradients.network import torch


def dense(weight: Tensor, bias: Tensor | None) -> Affine:
    """``x @ weight.T + bias``, weight (out, in)."""
    magnitude = weight.abs()
    return Affine(
        lambda x: x @ weight.T, lambda g: g @ weight, lambda x: x @ magnitude.T, bias, dense=True,
        cost=weight.numel(),
    )  # fmt: skip


def convolution(
    weight: Tensor, bias: Tensor | None, size: Shape, stride: Shape, padding: Shape,
    dilation: Shape, groups: int,
) -> Affine:  # fmt: skip
    """A convolution of maps of the given size (height, width, or as many as there are)."""
    d = weight.ndim - 2
    f = torch.nn.functional
    forward = (f.conv1d, f.conv2d, f.conv3d)[d - 1]
    backward = (f.conv_transpose1d, f.conv_transpose2d, f.conv_transpose3d)[d - 1]
    magnitude = weight.abs()
    reach = [dilation[i] * (weight.shape[2 + i] - 1) + 1 for i in range(d)]
    left = tuple(  # what the last window does not reach, to be restored by the adjoint
        (size[i] + 2 * padding[i] - reach[i]) % stride[i] for i in range(d)
    )

    def apply(x: Tensor) -> Tensor:
        return forward(x, weight, None, stride, padding, dilation, groups)

    def absolute(x: Tensor) -> Tensor:
        return forward(x, magnitude, None, stride, padding, dilation, groups)

    def adjoint(g: Tensor) -> Tensor:
        return backward(g, weight, None, stride, padding, left, groups, dilation)

    added = None if bias is None else bias.reshape(-1, *[1] * d)
    places = [(size[i] + 2 * padding[i] - reach[i]) // stride[i] + 1 for i in range(d)]
    cost = weight.numel() * math.prod(places)
    return Affine(apply, adjoint, absolute, added, dense=True, cost=cost)


def scale(by: Tensor, bias: Tensor | None = None) -> Affine:
    """``by * x + bias``, each broadcast against one row without changing its shape."""
    magnitude = by.abs()
    return Affine(lambda x: x * by, lambda g: g * by, lambda x: x * magnitude, bias)


def shift(bias: Tensor) -> Affine:
    """``x + bias``."""
    return Affine(lambda x: x, lambda g: g, lambda x: x, bias)


def reshape(before: Shape, after: Shape) -> Affine:
    """The same numbers in another shape."""

    def apply(x: Tensor) -> Tensor:
        return x.reshape(len(x), *after)

    return Affine(apply, lambda g: g.reshape(len(g), *before), apply)


def pick(places: Tensor, before: Shape, after: Shape) -> Affine:
    """Numbers at some places of the flattened row, -1 for a zero; any may be left or repeated."""
    size = 1
    for s in before:
        size *= s
    if len(places) == size and bool((places == torch.arange(size, device=places.device)).all()):
        return reshape(before, after)
    there = places >= 0
    index = places.clamp_min(0)

    def apply(x: Tensor) -> Tensor:
        return (x.reshape(len(x), size)[:, index] * there.to(x.dtype)).reshape(len(x), *after)

    def adjoint(g: Tensor) -> Tensor:
        flat = g.reshape(len(g), -1) * there.to(g.dtype)
        out: Any = torch.zeros(len(g), size, dtype=g.dtype, device=g.device)
        return out.index_add(1, index, flat).reshape(len(g), *before)

    return Affine(apply, adjoint, apply)

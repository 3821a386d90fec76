"""The ways in which kernels are compiled: cached on disk, without exceptions."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar, cast

from numba import njit

F = TypeVar("F", bound=Callable[..., object])


def compiled(kernel: F) -> F:
    """Compile ``kernel`` with Numba at its first call.

    Kernels copy arrays by element: an assignment between slices would bring in Numba's text
    formatting for an error message, several seconds of compilation.
    """
    return cast(F, njit(cache=True, error_model="numpy", nogil=True)(kernel))


def inner(kernel: F) -> F:
    """Compile a kernel that other kernels call and that makes no array.

    Arrays are then not counted as they are handed down: counting is atomic, and in functions as
    small as a step down a tree it takes longer than the step.
    """
    return cast(F, njit(cache=True, error_model="numpy", nogil=True, _nrt=False)(kernel))

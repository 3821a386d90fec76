"""The one way in which kernels are compiled: cached on disk, without exceptions."""

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

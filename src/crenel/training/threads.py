"""Trainings side by side on threads, without each of them taking every core."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import TypeVar

from crenel.check import Context

T = TypeVar("T")
R = TypeVar("R")


@contextmanager
def one_core() -> Iterator[None]:
    """Keep this thread's OpenMP loops, and BLAS everywhere, on one core for a while.

    Two trainings that each start as many threads as there are cores take several times as long
    as one after the other. OpenMP's limit belongs to the calling thread; that of BLAS to the
    process, so that only the thread that starts the others may enter this.
    """
    from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

    with threadpool_limits(limits=1):
        yield


def side_by_side(
    context: Context, work: Callable[[T], R], tasks: Iterable[T], share: bool = True
) -> list[R]:
    """`Context.map` for work that trains models: each on one core.

    Parameters
    ----------
    context : Context
    work : callable
        Of one task.
    tasks : iterable
        In order of importance.
    share : bool
        Whether to report progress.
    """
    from threadpoolctl import ThreadpoolController

    with one_core():
        openmp = ThreadpoolController().select(user_api="openmp")

        def alone(task: T) -> R:
            with openmp.limit(limits=1):
                return work(task)

        return context.map(alone, tasks, share)

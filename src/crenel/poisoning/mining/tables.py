"""What the miner sees of a table: values of columns, and boxes of them."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from crenel.poisoning.mining.columns import Column, coded, recoded, side_by_side
from crenel.poisoning.mining.pairs import poisson_gain
from crenel.poisoning.mining.planting import carriers, overwritten
from crenel.poisoning.mining.suspects import Honest, closed, suspects, tallies
from crenel.poisoning.mining.view import View
from crenel.poisoning.mining.weak import main_effects, odd_rows
from crenel.subject import Data

#: Columns whose pairs are looked at, at most.
WIDEST = 160


def view_of_table(
    train: Data, honest: Data, k: int, rng: np.random.Generator, jobs: int = 1
) -> View | None:
    """Boxes in which rows of one class gather that it does not fit, or that others do not share.

    Of more than 160 columns those are taken on whose values contradicting rows gather most. None
    where no column holds two values. The ways to look are shared out among some threads.
    """
    columns = coded(train.x)
    if not columns:
        return None
    weak, p = main_effects(columns, train.y, k, rng)
    logits, odd = weak.logits(columns), odd_rows(p, train.y)
    kept = _gathering(columns, train.y, k, odd)
    columns = side_by_side([columns[j] for j in kept])
    held = Honest(recoded(columns, train.x, honest.x), honest.y)
    found = suspects(columns, train.y, k, odd, rng, held, jobs)
    tally = tallies(columns, train.y, k)
    return View(
        columns=columns,
        parts=[weak.parts[j] for j in kept],
        logits=logits,
        suspects=[closed(s, columns, tally) for s in found],
        stamp=overwritten(train.x, honest.x),
        carriers=lambda box: carriers(box, columns, train.x, honest.x),
        shrinks=True,
        held=held,
    )


def _gathering(
    columns: list[Column], y: NDArray[np.int64], k: int, odd: NDArray[np.bool_]
) -> list[int]:
    """Of many columns those that have the value on which odd rows of one class gather most."""
    if len(columns) <= WIDEST:
        return list(range(len(columns)))
    sizes = np.bincount(y[odd], minlength=k)
    gains = []
    for column in columns:
        seen = np.bincount(
            y[odd] + k * column.codes[odd].astype(np.int64), minlength=column.count * k
        )
        rest = np.bincount(column.codes[~odd], minlength=column.count)
        share = (rest + 0.5) / ((~odd).sum() + 0.5 * column.count)
        gains.append(poisson_gain(seen.reshape(-1, k).astype(float), share[:, None] * sizes).max())
    return sorted(np.argsort(-np.array(gains), kind="stable")[:WIDEST].tolist())

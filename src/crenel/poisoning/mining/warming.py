"""Compile the miner's kernels before their time counts."""

from __future__ import annotations

import numpy as np

from crenel.poisoning.mining.boxes import Ground, settled
from crenel.poisoning.mining.columns import coded, side_by_side, stacked
from crenel.poisoning.mining.cores import distinct
from crenel.poisoning.mining.pairs import outstanding
from crenel.poisoning.mining.suspects import Explained, Honest, Suspect
from crenel.poisoning.mining.tally_kernels import counted
from crenel.poisoning.mining.telling import Judge


def warm_up() -> None:
    """Mine a few rows, so that numba compiles the kernels or finds them compiled."""
    columns = side_by_side(coded(np.arange(24.0).reshape(12, 2) % 3))
    y, codes = np.arange(12) % 2, stacked(columns)
    outstanding(columns, y, 2, None, keep=2, most=12)
    counted(codes, np.arange(6), 3)
    settled({0: (0, 0)}, Ground.of(columns, np.arange(6), np.arange(6, 12)))
    suspect = Suspect({0: (0, 0), 1: (0, 1)}, 0, np.arange(0, 12, 2), 0, False)
    Explained().covers(1.0, suspect.box, codes, y == 0)
    distinct([suspect, suspect], 12)
    judge = Judge.of(columns, y, Honest([c.codes.astype(float) for c in columns], y))
    judge.conditions(suspect).without(0)
    judge.telling(suspect)

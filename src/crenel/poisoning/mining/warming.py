"""Compile the miner's kernels before their time counts."""

from __future__ import annotations

import numpy as np

from crenel.poisoning.mining.boxes import Ground, settled
from crenel.poisoning.mining.columns import coded, stacked
from crenel.poisoning.mining.pairs import outstanding
from crenel.poisoning.mining.tally_kernels import counted


def warm_up() -> None:
    """Mine a few rows, so that numba compiles the kernels or finds them compiled."""
    columns = coded(np.arange(24.0).reshape(12, 2) % 3)
    y = np.arange(12) % 2
    outstanding(columns, y, 2, None, keep=2, most=12)
    counted(stacked(columns), np.arange(6), 3)
    settled({0: (0, 0)}, Ground.of(columns, np.arange(6), np.arange(6, 12)))

"""What the miner sees of training rows, be they records, images or texts."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from crenel.poisoning.mining.boxes import Box
from crenel.poisoning.mining.columns import Column
from crenel.poisoning.mining.planting import Stamp
from crenel.poisoning.mining.suspects import Honest, Suspect


@dataclass(frozen=True)
class View:
    """Columns, a weak model of main effects, and what it suggests.

    Attributes
    ----------
    columns : list of Column
        Columns of a table, pixels, or words.
    parts : list of ndarray, shape (count_j, k)
        What each code of each column adds to the weak model's logits.
    logits : ndarray, shape (n, k)
        The weak model's, of the training rows.
    suspects : list of Suspect
        To be planted.
    stamp : callable
        Plants them.
    carriers : callable
        From a box to a mask over the honest rows that carry it of themselves.
    shrinks : bool
        Whether a suspect's columns are tried one by one.
    bare : callable or None
        From a suspect to the columns as they would be without its pattern, where that is more than
        the columns it names.
    closer : callable or None
        From what is confirmed to stamps that plant its patterns as closely as the rows tell them,
        where the stamps of suspects are rough.
    held : Honest or None
        The honest rows by the columns' codes; of tables.
    """

    columns: list[Column]
    parts: list[NDArray[np.float64]]
    logits: NDArray[np.float64]
    suspects: list[Suspect]
    stamp: Stamp
    carriers: Callable[[Box], NDArray[np.bool_]]
    shrinks: bool
    bare: Callable[[Suspect], list[Column]] | None = None
    closer: Callable[[Sequence[Suspect]], Stamp] | None = None
    held: Honest | None = None

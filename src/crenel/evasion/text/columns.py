"""The free text in a subject's rows, and rows with edited text in its place."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from crenel.evasion.text.documents import Document, document, patterns
from crenel.schema import Feature, Kind, Schema
from crenel.subject import take_rows


def text_features(schema: Schema) -> tuple[Feature, ...]:
    """The columns of free text that an attacker can change."""
    return tuple(f for f in schema.features if f.kind is Kind.TEXT and f.mutable)


@dataclass(frozen=True)
class Texts:
    """The rows of a table whose text is edited; all other columns stay.

    Attributes
    ----------
    x : pandas.DataFrame, n rows
    features : tuple of Feature
        The columns of text.
    """

    x: Any
    features: tuple[Feature, ...]

    @property
    def columns(self) -> list[str]:
        """Names of the columns of text."""
        return [f.name for f in self.features]

    def values(self) -> list[list[str | None]]:
        """For each row the text of each column; None where it is missing."""
        found = [self.x[c].tolist() for c in self.columns]
        return [[v if isinstance(v, str) else None for v in row] for row in zip(*found)]

    def joined(self) -> list[str]:
        """For each row its texts as one."""
        return [" ".join(t for t in row if t is not None) for row in self.values()]

    def documents(self) -> list[Document]:
        """The rows' texts as words, without those that the schema protects."""
        kept = [patterns(f.protected) for f in self.features]
        made = []
        for row in self.values():
            parts = [document([t], k) for t, k in zip(row, kept)]
            starts = np.cumsum([0, *(len(p.tokens) for p in parts)]).tolist()
            words = [s + w for s, p in zip(starts, parts) for w in p.words]
            tokens = [t for p in parts for t in p.tokens]
            made.append(
                Document(
                    tuple(tokens), tuple(starts[:-1]), tuple(words), sum(p.count for p in parts)
                )
            )
        return made

    def render_own(self, rows: NDArray[np.int64]) -> Any:
        """The rows (m) as they are."""
        return take_rows(self.x, rows)

    def render(self, rows: NDArray[np.int64], texts: Sequence[Sequence[str]]) -> Any:
        """The rows (m) with these texts in the place of their own; missing ones stay missing."""
        frame = take_rows(self.x, rows)
        for j, c in enumerate(self.columns):
            own = frame[c]
            new = np.empty(len(rows), dtype=object)
            new[:] = [t[j] for t in texts]
            gone = np.asarray(own.isna()) & (new == "")
            if gone.any():
                new[gone] = own[gone]
            frame[c] = new
        return frame

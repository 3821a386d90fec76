"""One snapshot of a table: its row digests, and its rows where the file is still there."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from crenel.errors import SubjectError
from crenel.provenance.columns import Columns
from crenel.provenance.index import RowIndex
from crenel.provenance.manifest import Column
from crenel.provenance.reading import read_columns
from crenel.provenance.rows import Roles, index_rows, row_digests


@dataclass(frozen=True)
class Side:
    """One snapshot of a table.

    Attributes
    ----------
    name : str
    columns : tuple of Column
    index : RowIndex
    file : Path
        Where its rows are, or were.
    roles : Roles
    """

    name: str
    columns: tuple[Column, ...]
    index: RowIndex
    file: Path
    roles: Roles

    @classmethod
    def of(cls, columns: Columns, roles: Roles, source: str, file: Path) -> Side:
        """A side from the rows themselves."""
        described = tuple(Column(name=n, type=t) for n, t in zip(columns.names, columns.types))
        return cls(file.name, described, index_rows(columns, roles, source), file, roles)

    @property
    def types(self) -> dict[str, str]:
        """Types by the names of the columns."""
        return {c.name: c.type for c in self.columns}

    def rows(self, wanted: Any = None) -> Columns:
        """Rows from the file, all or those wanted, which must be those recorded.

        Raises
        ------
        SubjectError
            Where the file is not there, or its rows are others by now.
        """
        gone = SubjectError(
            f"{self.file} does not hold the rows of this snapshot (any more); "
            "keep the files of both snapshots to compare their fields"
        )
        columns = read_columns(self.file, self.types) if self.file.exists() else None
        if columns is None or dict(zip(columns.names, columns.types)) != self.types:
            raise gone
        if columns.rows != len(self.index):
            raise gone
        expected = self.index.digests
        if wanted is not None:
            columns, expected = columns.take(wanted), expected[np.asarray(wanted, dtype=np.int64)]
        if not np.array_equal(row_digests(columns), expected):
            raise gone
        return columns

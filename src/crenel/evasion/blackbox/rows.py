"""The rows of a subject as numbers that an attack can move, and the model over them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from crenel.errors import NotApplicable
from crenel.evasion.imagery import legal_range
from crenel.evasion.lattice import Lattice, lattice_of
from crenel.model import Model
from crenel.schema import NUMERIC, Kind, Schema
from crenel.subject import Subject


@dataclass(frozen=True)
class Numbers:
    """How rows of one subject become arrays and come back.

    Attributes
    ----------
    schema : Schema or None
        Of tables.
    lattice : Lattice
    low, span : ndarray
        Legal range, broadcast against a row; sizes are shares of the span.
    """

    schema: Schema | None
    lattice: Lattice
    low: NDArray[np.float64]
    span: NDArray[np.float64]

    @classmethod
    def of(cls, subject: Subject) -> Numbers:
        """The form of a subject's rows.

        Raises
        ------
        crenel.errors.NotApplicable
            Where a column does not hold numbers, or none may change.
        """
        from crenel.data import infer_schema

        assert subject.test is not None
        known = subject.train or subject.test
        schema = None
        if subject.test.is_table:
            schema = subject.schema or infer_schema(known.x)
            _numeric(known.x, schema)
        low, high = (np.asarray(b, dtype=np.float64) for b in legal_range(subject))
        lattice = lattice_of(_array(known.x), low, high)
        if schema is not None:
            lattice = Lattice(low, high, _steps(known.x, schema), lattice.groups, np.float64)
        return cls(schema, lattice, low, np.where(high > low, high - low, 1.0))

    def array(self, x: Any) -> NDArray[Any]:
        """Rows as numbers, (n, …)."""
        return _array(x)

    def back(self, z: NDArray[Any], like: Any) -> Any:
        """Numbers as rows in the user's own form and dtypes."""
        if self.schema is None:
            return z
        import pandas as pd

        if all(kind == z.dtype for kind in like.dtypes):
            return pd.DataFrame(z, columns=like.columns)
        columns = {
            c: pd.Series(np.round(v) if _whole(like[c]) else v).astype(like[c].dtype)
            for c, v in zip(like.columns, z.T)
        }
        return pd.DataFrame(columns)

    def over(
        self, answer: Callable[[Any], NDArray[Any]], like: Any
    ) -> Callable[[NDArray[Any]], NDArray[Any]]:
        """A function of the user's rows as one of arrays."""
        return lambda z: answer(self.back(z, like))

    def bounds(self, x: NDArray[Any]) -> tuple[Any, Any]:
        """What each row may become: fixed numbers stay, one-way ones only go their way."""
        low, high = (np.broadcast_to(b, x.shape).astype(np.float64) for b in self._range())
        for j, f in enumerate(() if self.schema is None else self.schema.features):
            if not f.mutable or f.direction == "up":
                low[:, j] = x[:, j]
            if not f.mutable or f.direction == "down":
                high[:, j] = x[:, j]
        return low, high

    def _range(self) -> tuple[Any, Any]:
        return self.lattice.low, self.lattice.high


def decisions_and_scores(
    model: Model, numbers: Numbers, like: Any, labels: bool
) -> tuple[Callable[[Any], Any], Callable[[Any], Any] | None]:
    """The model over arrays as the attacker sees it."""
    scores = None if labels or model.score is None else numbers.over(model.score, like)
    return numbers.over(model.predict, like), scores


def _array(x: Any) -> NDArray[Any]:
    return x.to_numpy(dtype=np.float64) if hasattr(x, "iloc") else np.asarray(x)


def _whole(column: Any) -> bool:
    return getattr(column.dtype, "kind", "f") in "iub"


def _numeric(x: Any, schema: Schema) -> None:
    """Raise where an attack that moves numbers has nothing to move."""
    odd = [
        str(c) for c in x.columns
        if getattr(x[c].dtype, "kind", "O") not in "iufb"
        or schema[str(c)].kind not in NUMERIC | {Kind.BINARY}
    ]  # fmt: skip
    if odd:
        raise NotApplicable(
            f"columns are not all numbers ({', '.join(odd[:3])}); "
            "EVA-102 measures changes of the fields as they are"
        )
    if not schema.mutable:
        raise NotApplicable("no column is one that an attacker can change")


def _steps(x: Any, schema: Schema) -> NDArray[np.float64]:
    """1 for columns of whole numbers, else 0."""
    free = [schema[str(c)].kind is Kind.CONTINUOUS and not _whole(x[c]) for c in x.columns]
    return np.where(free, 0.0, 1.0)

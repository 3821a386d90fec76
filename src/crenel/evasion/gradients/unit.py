"""A model over rows rescaled to shares of their legal range, and the way back."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from crenel.evasion.fields.legality import derived_columns
from crenel.evasion.gradients.rescaled import TINY, Freedom, Rescaled, Restricted
from crenel.model import Model
from crenel.schema import Kind, Schema

if TYPE_CHECKING:
    import pandas as pd

#: Kinds whose columns a small change of numbers can move.
MOVED = frozenset({Kind.CONTINUOUS, Kind.INTEGER})


def freedom_of(schema: Schema, x: pd.DataFrame) -> Freedom:
    """How the columns of a table may be moved by small changes of numbers.

    Parameters
    ----------
    schema : Schema
        Immutable columns, and those of kinds without small changes (categories, flags), stay as
        they are, and so do columns that are derived from others; integers, and columns of whole
        numbers by their dtype, move by whole steps; a column of the schema's step by that.
    x : pandas.DataFrame, shape (n, d)
    """
    known = {f.name: f for f in schema.features}
    follow = derived_columns(schema)
    features = [known[str(c)] for c in x.columns]
    whole = [
        f.kind is Kind.INTEGER or getattr(x[c].dtype, "kind", "f") in "iub"
        for f, c in zip(features, x.columns)
    ]
    return Freedom(
        frozen=np.array(
            [not f.mutable or f.kind not in MOVED or f.name in follow for f in features]
        ),
        up=np.array([f.direction == "up" for f in features]),
        down=np.array([f.direction == "down" for f in features]),
        step=np.array([f.step or (1.0 if w else 0.0) for f, w in zip(features, whole)]),
    )


@dataclass(frozen=True)
class Unit:
    """The model over rows rescaled so that the legal range is [0, 1].

    Attributes
    ----------
    module : torch.nn.Module
        Takes rescaled rows.
    low, span : ndarray
        Broadcast against rows.
    freedom : Freedom or None
        Of the columns of a table; None where every number may be moved.
    """

    module: Any
    low: NDArray[np.float32]
    span: NDArray[np.float32]
    freedom: Freedom | None = None

    @classmethod
    def of(cls, model: Model, low: Any, high: Any, freedom: Freedom | None = None) -> Unit:
        """Rescale the module of a model."""
        a, b = np.asarray(low, dtype=np.float32), np.asarray(high, dtype=np.float32)
        span = np.maximum(b - a, 1e-12).astype(np.float32)
        if freedom is None or not freedom.bound.size:
            return cls(Rescaled(model.module, a, span), a, span, freedom)
        return cls(Restricted(model.module, a, span, freedom), a, span, freedom)

    def into(self, x: Any) -> NDArray[np.float32]:
        """Rows to [0, 1], with their own values of the columns that are not free behind them."""
        x = x.to_numpy(dtype=np.float32) if hasattr(x, "iloc") else np.asarray(x, dtype=np.float32)
        z = np.asarray((x - self.low) / self.span, dtype=np.float32)
        if self.freedom is None or not self.freedom.bound.size:
            return z
        own = z[:, self.freedom.bound].astype(np.float64) / TINY
        return np.concatenate([z, own.astype(np.float32)], axis=1)

    def plain(self, z: NDArray[np.float32]) -> NDArray[np.float32]:
        """Rescaled rows without what is behind them."""
        return z if self.freedom is None else z[:, : len(self.freedom.frozen)]

    def box(self, z: NDArray[np.float32]) -> tuple[Any, Any]:
        """Legal range of rescaled rows; of a table wide enough for rows that lie outside it."""
        if self.freedom is None:
            return 0.0, 1.0
        low, high = z.min(axis=0), z.max(axis=0)
        d = len(self.freedom.frozen)
        low[:d], high[:d] = np.minimum(low[:d], 0), np.maximum(high[:d], 1)
        high[d:] = np.maximum(high[d:], low[d:] + 1)
        return low, high

    def continuous(self, model: Model) -> Any:
        """The rescaled module as if every number were free: what is proven of it holds."""
        return Rescaled(model.module, self.low, self.span)

    def values(self, z: NDArray[np.float32]) -> NDArray[np.float64]:
        """Rescaled rows in units of the user's own."""
        return self.low + self.plain(z).astype(np.float64) * self.span

    def frame(self, z: NDArray[np.float32], like: pd.DataFrame) -> pd.DataFrame:
        """Rescaled rows as a table of the user's own dtypes, legal by column.

        Columns that the attack did not move stay exactly as they were.
        """
        from crenel.evasion.gradients.network import torch

        values = self.values(z)
        if isinstance(self.module, Restricted):
            with torch.no_grad():
                seen = self.module.legal(torch.from_numpy(z).to(self.module.low.device))
            values = seen.cpu().numpy().astype(np.float64)
        frame = like.copy()
        start = self.values(self.into(like))
        for j, name in enumerate(like.columns):
            if self.freedom is not None and self.freedom.frozen[j]:
                continue
            frame[name] = self._column(values[:, j], start[:, j], like[name], j)
        return frame

    def _column(
        self, after: NDArray[np.float64], start: NDArray[np.float64], like: pd.Series[Any], j: int
    ) -> NDArray[Any]:
        kind = like.dtype
        before = like.to_numpy(dtype=np.float64)
        span = float(
            np.broadcast_to(self.span, (j + 1,) if self.span.ndim == 0 else self.span.shape)[j]
        )
        low = float(
            np.broadcast_to(self.low, (j + 1,) if self.low.ndim == 0 else self.low.shape)[j]
        )
        moved = np.abs(after - start) > 1e-6 * span
        after = np.clip(after, min(low, before.min()), max(low + span, before.max()))
        step = 0.0 if self.freedom is None else float(self.freedom.step[j])
        if step:
            # whole steps from where the row stood, as the module saw them
            after = before + np.round((after - before) / step) * step
        result = np.where(moved, after, before)
        whole = getattr(kind, "kind", "f") in "iub"
        return np.asarray(np.round(result) if whole else result).astype(kind)

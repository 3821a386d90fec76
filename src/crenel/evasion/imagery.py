"""Images as checks see them, whatever asks for them: their range, their layout, as pictures."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from crenel.schema import Kind
from crenel.subject import Subject


def legal_range(subject: Subject) -> tuple[Any, Any]:
    """Bounds of the rows: those of the schema, else what images usually have, else the data's."""
    from crenel.data import infer_schema

    parts = [d for d in (subject.train, subject.test) if d is not None]
    schema = subject.schema or infer_schema(parts[0].x)
    if parts[0].is_table:
        names = list(parts[0].x.columns)
        known = {f.name: f for f in schema.features}
        low = [_bound(known[n].min, [float(d.x[n].min()) for d in parts], min) for n in names]
        high = [_bound(known[n].max, [float(d.x[n].max()) for d in parts], max) for n in names]
        return np.array(low), np.array(high)
    image = schema.features[0] if schema.features[0].kind is Kind.IMAGE else None
    if image is not None and image.min is not None and image.max is not None:
        return image.min, image.max
    return min(float(d.x.min()) for d in parts), max(float(d.x.max()) for d in parts)


def _bound(given: float | None, seen: list[float], pick: Any) -> float:
    return float(pick(seen)) if given is None else given


def layout(shape: Any) -> tuple[Callable[[Any], Any], Callable[[Any], Any]]:
    """From rows of images to (n, c, h, w) and back; channels may come last or not at all.

    Both ways take arrays and tensors.
    """
    if len(shape) == 3:
        return (lambda x: x[:, None]), (lambda x: x[:, 0])
    if shape[1] > 4 and shape[3] <= 4:
        return _channels_first, (lambda x: x.swapaxes(1, 2).swapaxes(2, 3))
    return (lambda x: x), (lambda x: x)


def _channels_first(x: Any) -> Any:
    first = x.swapaxes(2, 3).swapaxes(1, 2)
    return first.contiguous() if hasattr(first, "contiguous") else np.ascontiguousarray(first)


def twins(before: NDArray[Any], after: NDArray[Any]) -> tuple[str, ...]:
    """An image in [0, 1], its twin, and their difference magnified, as data URIs; else none."""
    from crenel.data.png import data_uri

    views = [as_image(v) for v in (before, after, _magnified(before, after))]
    return tuple(data_uri(v) for v in views if v is not None)


def _magnified(before: NDArray[Any], after: NDArray[Any]) -> NDArray[Any]:
    difference = after - before
    return np.asarray(0.5 + 0.5 * difference / max(float(np.abs(difference).max()), 1e-12))


def as_image(x: NDArray[Any]) -> NDArray[np.uint8] | None:
    """Values in [0, 1] of one row as grey or colour pixels; None where it is no image."""
    if x.ndim == 3 and x.shape[0] in (1, 3):
        x = np.moveaxis(x, 0, 2)
    if x.ndim == 3 and x.shape[2] == 1:
        x = x[:, :, 0]
    if x.ndim != 2 and not (x.ndim == 3 and x.shape[2] == 3):
        return None
    return np.asarray(np.round(np.clip(x, 0, 1) * 255), dtype=np.uint8)

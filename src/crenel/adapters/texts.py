"""Models of texts: which take a table of one column, and which the texts themselves."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from crenel.adapters.rows import is_frame

#: Steps whose rows are texts.
VECTORISERS = frozenset({"CountVectorizer", "HashingVectorizer"})


def is_text_table(x: Any) -> bool:
    """Whether rows are a frame of one column that holds texts."""
    if not is_frame(x) or x.shape[1] != 1 or not len(x):
        return False
    values = x.iloc[:, 0].dropna()
    return len(values) > 0 and all(isinstance(v, str) for v in values)


def texts_of(x: Any) -> list[Any]:
    """The texts of a frame of one column; missing ones stay missing."""
    found: list[Any] = x.iloc[:, 0].tolist()
    return found


def takes_texts(first: Any) -> bool:
    """Whether the first step of a Pipeline is one that takes texts rather than a table.

    A vectoriser of texts, a union of such, or a step that says so (``takes_texts``).
    """
    told = getattr(first, "takes_texts", None)
    if isinstance(told, bool):
        return told
    union = getattr(first, "transformer_list", None)
    if union:
        parts = [step for _, step in union if step not in ("drop", "passthrough")]
        return bool(parts) and all(takes_texts(_first(step)) for step in parts)
    return bool({kind.__name__ for kind in type(first).__mro__} & VECTORISERS)


def _first(step: Any) -> Any:
    steps = getattr(step, "steps", None)
    return _first(steps[0][1]) if steps else step


def wants_texts(ask: Callable[[Any], Any], sample: Any) -> bool:
    """Whether something that fails on a table of one column answers its texts.

    Parameters
    ----------
    ask : callable
        The user's own: from rows to answers.
    sample : rows or None
        Tried only where they are a table of one column of texts.
    """
    if not is_text_table(sample) or len(sample) < 2:
        return False
    return not _answers(ask, sample, len(sample)) and _answers(ask, texts_of(sample), len(sample))


def _answers(ask: Callable[[Any], Any], rows: Any, n: int) -> bool:
    """Whether the user's code gives as many answers as there are rows."""
    try:
        return len(ask(rows)) == n
    except Exception:  # noqa: BLE001  whatever user code raises
        return False


def trained(fit: Callable[[Any, Any, int], Any], x: Any, y: Any, seed: int) -> Any:
    """The user's ``fit`` on a table; where it fails on one of texts, on the texts.

    Raises
    ------
    Exception
        What the fit raised on the table; where it was one of texts, on the texts.
    """
    try:
        return fit(x, y, seed)
    except Exception:
        if not is_text_table(x):
            raise
        return fit(texts_of(x), y, seed)

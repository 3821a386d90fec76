"""What a model would say of its own training rows, had it not seen them: without training again."""

from __future__ import annotations

from crenel.lazy import public

__all__, __getattr__ = public(
    __name__,
    {"LeftOut": "answers", "left_out": "answers", "warm_up": "answers"},
)

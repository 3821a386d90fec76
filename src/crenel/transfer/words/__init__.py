"""Words that turn any text: a search of the model's vocabulary, beside a model taught anew."""

from __future__ import annotations

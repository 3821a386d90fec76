"""Adapters: a model of any framework as a `crenel.model.Model`."""

from __future__ import annotations

from crenel.adapters.loading import load_model
from crenel.adapters.wrapping import wrap

__all__ = ["load_model", "wrap"]

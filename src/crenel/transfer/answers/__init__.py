"""Triggers of image models found by answers alone: no gradients, no weights."""

from __future__ import annotations

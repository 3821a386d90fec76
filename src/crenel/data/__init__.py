"""Data: tables, images, labels, digests, and the schema inferred from them."""

from __future__ import annotations

from crenel.data.infer import infer_schema

__all__ = ["infer_schema"]

"""Data: tables, images, labels, digests, and the schema inferred from them."""

from __future__ import annotations

from crenel.data.digests import digest_array, digest_file, digest_frame
from crenel.data.infer import infer_schema
from crenel.data.loading import load_target
from crenel.data.sources import Loaded, load, load_table
from crenel.data.speed import measure_speed

__all__ = [
    "Loaded",
    "digest_array",
    "digest_file",
    "digest_frame",
    "infer_schema",
    "load",
    "load_table",
    "load_target",
    "measure_speed",
]

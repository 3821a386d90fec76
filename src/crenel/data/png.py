"""PNG images without an imaging library."""

from __future__ import annotations

import base64
import struct
import zlib

import numpy as np
from numpy.typing import NDArray


def encode_png(pixels: NDArray[np.uint8]) -> bytes:
    """A PNG file of grey (h, w) or colour (h, w, 3) pixels, uint8 (PNG, W3C 2003, section 5).

    Raises
    ------
    ValueError
        Where the array has another shape or dtype.
    """
    colour = pixels.ndim == 3 and pixels.shape[2] == 3
    if pixels.dtype != np.uint8 or not (colour or pixels.ndim == 2):
        raise ValueError(
            f"pixels must be uint8 (h, w) or (h, w, 3), not {pixels.dtype} {pixels.shape}"
        )
    height, width = pixels.shape[:2]
    lines = np.ascontiguousarray(pixels).reshape(height, -1)
    raw = np.hstack([np.zeros((height, 1), dtype=np.uint8), lines]).tobytes()  # no line filter
    header = struct.pack(">IIBBBBB", width, height, 8, 2 if colour else 0, 0, 0, 0)
    chunks = [(b"IHDR", header), (b"IDAT", zlib.compress(raw, 9)), (b"IEND", b"")]
    body = b"".join(
        struct.pack(">I", len(d)) + k + d + struct.pack(">I", zlib.crc32(k + d)) for k, d in chunks
    )
    return b"\x89PNG\r\n\x1a\n" + body


def data_uri(pixels: NDArray[np.uint8], side: int = 96) -> str:
    """Pixels as ``data:image/png;base64,…``, small ones enlarged without blur to about ``side``."""
    times = max(1, side // max(pixels.shape[:2]))
    large = pixels.repeat(times, axis=0).repeat(times, axis=1)
    return "data:image/png;base64," + base64.b64encode(encode_png(large)).decode("ascii")

"""The PNG encoder, against a decoder written from the specification."""

from __future__ import annotations

import base64
import struct
import zlib

import numpy as np
import pytest

from crenel.data.png import data_uri, encode_png


def decode(data: bytes) -> np.ndarray:
    assert data[:8] == b"\x89PNG\r\n\x1a\n"
    at, chunks = 8, {}
    while at < len(data):
        (size,) = struct.unpack(">I", data[at : at + 4])
        kind, body = data[at + 4 : at + 8], data[at + 8 : at + 8 + size]
        assert struct.unpack(">I", data[at + 8 + size : at + 12 + size])[0] == zlib.crc32(
            kind + body
        )
        chunks[kind] = body
        at += 12 + size
    width, height, depth, colour = struct.unpack(">IIBB", chunks[b"IHDR"][:10])
    assert depth == 8
    channels = {0: 1, 2: 3}[colour]
    lines = np.frombuffer(zlib.decompress(chunks[b"IDAT"]), np.uint8).reshape(height, -1)
    assert (lines[:, 0] == 0).all()
    return lines[:, 1:].reshape(height, width, channels).squeeze()


@pytest.mark.parametrize("shape", [(5, 7), (4, 3, 3)])
def test_pixels_survive(shape: tuple[int, ...]) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
    assert (decode(encode_png(pixels)) == pixels).all()


def test_small_images_are_enlarged_without_blur() -> None:
    pixels = np.array([[0, 255], [128, 7]], dtype=np.uint8)
    uri = data_uri(pixels, side=8)
    large = decode(base64.b64decode(uri.removeprefix("data:image/png;base64,")))
    assert large.shape == (8, 8)
    assert (large[::4, ::4] == pixels).all()


def test_other_arrays_are_refused() -> None:
    with pytest.raises(ValueError, match="uint8"):
        encode_png(np.zeros((2, 2)))

"""Byte offsets of places in decoded text."""

from __future__ import annotations


class Places:
    """Turns places in a text into offsets of its UTF-8 bytes, each part encoded once.

    Parameters
    ----------
    text : str
        The text, from its first byte.
    """

    def __init__(self, text: str) -> None:
        self.text = text
        self.at = self.bytes = 0

    def __call__(self, at: int) -> int:
        """Return the offset of a place at or after the last one asked for."""
        self.bytes += len(self.text[self.at : at].encode("utf-8", "replace"))
        self.at = max(at, self.at)
        return self.bytes

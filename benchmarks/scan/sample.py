"""One file of the benchmark's corpus, and what is known of it beforehand."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Sample:
    """A file whose truth is planted.

    Parameters
    ----------
    family : str
        Format and trick, the line of the table that it counts in.
    name : str
        File name with the extension that such a file has in the wild.
    data : bytes
        The content.
    why : str
        What would happen when it is loaded or used; empty for a benign file.
    """

    family: str
    name: str
    data: bytes
    why: str = ""

"""SentencePiece models (``tokenizer.model``): a vocabulary with scores, which holds no code.

Field numbers are those of sentencepiece_model.proto.
"""

from __future__ import annotations

from crenel.scan.context import Context
from crenel.scan.credentials import judge_credentials
from crenel.scan.formats.wire import BYTES, FIXED32, VARINT, fields, first, kinds
from crenel.scan.source import Unreadable, Window

MAX_PIECES = 5_000_000
PIECE = {1: BYTES, 2: FIXED32, 3: VARINT}


def is_sentencepiece(window: Window, top: dict[int, int]) -> bool:
    """Tell whether the first message is a piece with a score, and all are of the schema."""
    fits = max(top) <= 5 and set(top.values()) == {BYTES} and 2 in top
    place = first(window, 0, len(window), 1) if fits else None
    piece = kinds(window, *place, 3) if place is not None else None
    return bool(piece) and all(PIECE[number] == wire for number, wire in (piece or {}).items())


def scan_sentencepiece(window: Window, context: Context) -> str:
    """Read every piece; raises Unreadable where one is none."""
    count = 0
    for number, _, start, end in fields(window, 0, len(window)):
        if number == 1:
            count += 1
            if count > MAX_PIECES or kinds(window, start, end, 3) is None:
                raise Unreadable("The vocabulary has a piece that is none.", offset=start)
    judge_credentials(window, context)
    return "sentencepiece"

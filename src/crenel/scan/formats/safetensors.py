"""safetensors: the header's lengths and offsets, and no byte that belongs to no tensor."""

from __future__ import annotations

import json
import math

from crenel.scan.context import Context
from crenel.scan.credentials import judge_credentials
from crenel.scan.source import Unreadable, Window
from crenel.scan.verdict import Verdict

MAX_HEADER = 100_000_000
BITS = {
    "BOOL": 8, "U8": 8, "I8": 8, "F8_E5M2": 8, "F8_E4M3": 8, "F8_E8M0": 8, "I16": 16, "U16": 16,
    "F16": 16, "BF16": 16, "I32": 32, "U32": 32, "F32": 32, "F64": 64, "I64": 64, "U64": 64,
    "C64": 64, "F4": 4, "F6_E2M3": 6, "F6_E3M2": 6,
}  # fmt: skip


def is_safetensors(window: Window) -> bool:
    """Tell whether a plausible header length is followed by a JSON object."""
    length = int.from_bytes(window.read(0, 8), "little")
    return 2 <= length <= min(MAX_HEADER, len(window) - 8) and window.read(8, 1) == b"{"


def scan_safetensors(window: Window, context: Context) -> str:
    """Scan a file; raises Unreadable where the header or an offset is wrong."""
    length = int.from_bytes(window.read(0, 8), "little")
    try:
        header = json.loads(window.read(8, length), object_pairs_hook=_unique)
    except (ValueError, RecursionError) as error:
        raise Unreadable(f"The safetensors header is not valid: {error}.") from None
    if not isinstance(header, dict):
        raise Unreadable("The safetensors header is no JSON object.")
    judge_credentials(window.window(0, 8 + length), context)
    spans = sorted(
        _span(name, item) for name, item in header.items() if name != "__metadata__"
    )  # fmt: skip
    pos = 0
    for start, end, name in spans:
        if start != pos:
            what = "overlaps another" if start < pos else "leaves a gap before it"
            raise Unreadable(f"The tensor {name[:80]} {what}.", offset=8 + length + start)
        pos = end
    rest = len(window) - 8 - length - pos
    if rest < 0:
        raise Unreadable("The file ends inside its tensors.", offset=len(window))
    if rest:
        sentence = f"{rest} bytes after the tensors belong to nothing known."
        context.add("trailing-data", sentence, Verdict.REVIEW, 8 + length + pos)
    return "safetensors"


def _unique(pairs: list[tuple[str, object]]) -> dict[str, object]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a key is there twice")
    return found


def _span(name: str, item: object) -> tuple[int, int, str]:
    """Return where a tensor's data lies, after checking it against its shape and type."""
    fields = item if isinstance(item, dict) else {}
    offsets, shape = _counts(fields.get("data_offsets")), _counts(fields.get("shape"))
    bits = BITS.get(str(fields.get("dtype")))
    if offsets is None or shape is None or len(offsets) != 2:
        raise Unreadable(f"The tensor {name[:80]} is described wrongly.")
    start, end = offsets
    if bits is None:
        raise Unreadable(f"The tensor {name[:80]} has an unknown type.")
    if (end - start) * 8 != math.prod(shape) * bits:
        raise Unreadable(f"The tensor {name[:80]} has an offset that does not fit its shape.")
    return start, end, name


def _counts(value: object) -> list[int] | None:
    """Return a list of numbers from 0 as it is, and None for anything else."""
    if not isinstance(value, list) or not all(type(n) is int and n >= 0 for n in value):
        return None
    return value

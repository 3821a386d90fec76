"""Mutated files: whatever is changed in a file, a scan ends in a verdict."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from crenel.scan import Verdict, scan_bytes

EDIT = st.tuples(
    st.floats(0, 1, exclude_max=True), st.sampled_from("sdi"), st.binary(min_size=1, max_size=9)
)


def mutated(data: bytes, edits: list[tuple[float, str, bytes]]) -> bytes:
    raw = bytearray(data)
    for place, kind, new in edits:
        at = int(place * max(len(raw), 1))
        if kind == "s":
            raw[at : at + len(new)] = new
        elif kind == "d":
            del raw[at : at + len(new)]
        else:
            raw[at:at] = new
    return bytes(raw)


def ends_in_a_verdict(samples: list[bytes], name: str = "model.bin", examples: int = 150) -> None:
    """Change the samples in many ways and scan what comes out."""

    @settings(max_examples=examples, deadline=None, derandomize=True, database=None)
    @given(st.sampled_from(samples), st.lists(EDIT, min_size=1, max_size=5))
    def run(data: bytes, edits: list[tuple[float, str, bytes]]) -> None:
        assert isinstance(scan_bytes(mutated(data, edits), name).verdict, Verdict)

    run()

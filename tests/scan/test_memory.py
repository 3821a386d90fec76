"""The memory that a scan takes is bounded: what would take more is unreadable, never clean."""

from __future__ import annotations

import gc

import pytest

from crenel.scan import judge, scan_bytes
from crenel.scan.judge import StreamJudge
from crenel.scan.machine import Damage, Machine
from crenel.scan.policy import default_policy
from crenel.scan.source import Budget
from crenel.scan.verdict import Report

from .corpus import name, proto

COUNT = 400_000
MEMORY = 16 << 20
#: Streams that hold much: on the stack, below marks, in the memo, inside one value, in strings.
HOLDING = {
    "stack": b"]" * COUNT, "marks": b"(}" * (COUNT // 2), "memo": b"]\x940" * COUNT,
    "tuples": b"N" + b"\x85" * COUNT, "open lists": b"]" * 9 + b"(]" * (COUNT // 2),
    "strings": (b"X" + (900).to_bytes(4, "little") + b"s" * 900) * (COUNT // 10),
    "big tuple": b"(" + b"M\1\2" * COUNT + b"t", "calls": name("made", "Up") + b"q\0"
    + b"h\0]\x85R" * (COUNT // 4),
}  # fmt: skip


@pytest.fixture(autouse=True)
def without_garbage():
    """What other tests left is not freed meanwhile: some 16 MB of it would count as room."""
    gc.collect()


def run(data, memory):
    machine = Machine(
        data, 0, len(data), StreamJudge(default_policy(), Report()), Budget(memory=memory)
    )
    return machine.run()


@pytest.mark.parametrize("key", sorted(HOLDING))
def test_what_holds_much_ends_over_the_budget(key):
    data = proto(4) + HOLDING[key] + b"."
    with pytest.raises(Damage, match="budget"):
        run(data, MEMORY)


def test_what_holds_little_is_read_to_its_end_however_long():
    items = b"(" + b"K\1K\2\x86X\5\0\0\0abcde" * 300 + b"e"
    run(proto(4) + b"]" + items * 300 + b".", MEMORY)
    long = b"B" + (5000).to_bytes(4, "little") + bytes(5000) + b"0"
    run(proto(4) + long * 6000 + b"N.", MEMORY)  # twice the budget, passed over


def test_a_stream_over_the_budget_is_unreadable(monkeypatch):
    monkeypatch.setattr(Budget, "__init__", lambda self, **kw: None)
    for field, value in (("operations", 10**8), ("expanded", 1 << 30), ("members", 9), ("depth", 6),
                         ("memory", MEMORY)):  # fmt: skip
        monkeypatch.setattr(Budget, field, value)
    result = scan_bytes(proto(2) + HOLDING["marks"] + b"Pid\n.")
    assert result.verdict == "unreadable"
    assert "over-budget" in {r.code for r in result.reasons}


def test_names_without_end_are_over_the_budget(monkeypatch):
    monkeypatch.setattr(judge, "MAX_NAMES", 50)
    data = proto(2) + b"".join(name("m", f"n{i}") + b"0" for i in range(60)) + b"N."
    result = scan_bytes(data)
    assert result.verdict == "unreadable"
    assert "over-budget" in {r.code for r in result.reasons}

"""The compiled walk says "plain" only where the machine and CPython's unpicklers agree."""

from __future__ import annotations

import pickle

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from crenel.scan import Verdict, scan_bytes
from crenel.scan.formats import pickles
from crenel.scan.judge import StreamJudge
from crenel.scan.machine import Damage, Machine
from crenel.scan.policy import default_policy
from crenel.scan.skim import plain_data
from crenel.scan.source import Budget, window_of
from crenel.scan.verdict import Report

from .corpus import HARMFUL, proto, short, text
from .oracle import resolved
from .test_oracle import PROGRAMS, mutate

PIECES = st.one_of(
    st.integers(0, 255).map(lambda n: b"K" + bytes([n])),
    st.integers(0, 3).map(lambda n: b"h" + bytes([n])),
    st.integers(0, 3).map(lambda n: b"q" + bytes([n])),
    st.text(max_size=4).map(short), st.text(max_size=4).map(text),
    st.sampled_from([bytes([c]) for c in b"(012N\x88\x89)]}\x8ft\x85\x86\x87aeus\x90\x94\x91"]),
    st.sampled_from([b"G" + bytes(8), b"J" + bytes(4), b"M\1\2", b"\x8a\1\5", b"C\1x"]),
)  # fmt: skip


def machine_end(data: bytes) -> int:
    """Where the symbolic machine ends a stream that it finds clean; -1 for anything else."""
    report = Report()
    machine = Machine(data, 0, len(data), StreamJudge(default_policy(), report), Budget())
    try:
        machine.run()
    except Damage:
        return -1
    return machine.pos if report.verdict() is Verdict.CLEAN else -1


def check(data: bytes) -> bool:
    end, _ = plain_data(window_of(data), 10_000)
    if end < 0:
        return False
    if machine_end(data) != end:
        # The walk does not decode strings; all unpicklers stop at one that is no UTF-8.
        with pytest.raises(UnicodeDecodeError):
            pickle.loads(data)
    for native in (False, True):
        assert resolved(data, native) == [], data
    return True


@settings(max_examples=1500, deadline=None)
@given(st.integers(0, 5), st.lists(PIECES, max_size=25).map(b"".join))
def test_plain_programs(version, program):
    check(proto(version) + program + b".")


@settings(max_examples=500, deadline=None)
@given(st.integers(0, 5), PROGRAMS)
def test_any_programs(version, program):
    check(proto(version) + program + b".")


def values() -> list[object]:
    nested: list[object] = []
    for _ in range(50):
        nested = [nested, {"k": nested}]
    shared = ["x"] * 5
    return [
        None, [1, 2.5, "ü", b"\0" * 300, -5, 1 << 40, 1 << 4000, True], {"a": {1, 2}},
        nested, [shared, shared, (shared,)], list(range(3000)), {frozenset("xy"): 1},
        {str(i): (i, i, i, i) for i in range(2000)},
    ]  # fmt: skip


def test_what_pickle_writes_of_plain_data_is_plain():
    for value in values():
        for version in (2, 3, 4, 5):
            data = pickle.dumps(value, version)
            if version >= 4 or b"builtin" not in data:
                assert plain_data(window_of(data), 100_000)[0] in (len(data), -1)
            if version >= 4 and b"\x8b" not in data:
                assert check(data)
            assert plain_data(window_of(data + b"tail"), 100_000)[0] in (len(data), -1)


def test_mutations_of_plain_data():
    rng = np.random.default_rng(0)
    pool = [pickle.dumps(value, version) for value in values()[1:5] for version in (2, 4)]
    kept = sum(check(mutate(pool[rng.integers(0, len(pool))], pool, rng)) for _ in range(3000))
    assert kept > 50


@pytest.mark.parametrize("key", sorted(k for k in HARMFUL if not k.startswith("container")))
def test_no_harmful_stream_is_plain(key):
    end, _ = plain_data(window_of(HARMFUL[key]), 10**6)
    # What a second stream behind plain data does is read as a stream of its own.
    assert end < 0 or (key.startswith("broken/") and end < len(HARMFUL[key]))


def test_it_stops_at_the_limit_and_at_the_end():
    data = pickle.dumps(list(range(100)), 4)
    assert plain_data(window_of(data), 50) == (-1, 50)
    for cut in range(len(data)):
        assert plain_data(window_of(data[:cut]), 10_000)[0] == -1


def test_large_files_get_the_same_verdict_by_either_way(monkeypatch):
    plain = pickle.dumps([{"id": i, "s": f"u{i}"} for i in range(2000)], 4)
    samples = {"plain": plain, "payload-behind": plain + HARMFUL["route/reduce-4"],
               "payload-inside": plain[:-1] + b"0" + HARMFUL["route/reduce-4"][2:],
               "cut": plain[:-1]}  # fmt: skip
    slow = {key: scan_bytes(data).to_json() for key, data in samples.items()}
    monkeypatch.setattr(pickles, "LARGE", 1000)
    fast = {key: scan_bytes(data).to_json() for key, data in samples.items()}
    assert fast == slow
    assert [slow[key]["verdict"] for key in samples] == [
        "clean", "malicious", "malicious", "unreadable"
    ]  # fmt: skip

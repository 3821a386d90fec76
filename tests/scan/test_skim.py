"""The compiled walk says what the symbolic machine says, or nothing; CPython's unpicklers agree."""

from __future__ import annotations

import collections
import datetime
import decimal
import fractions
import functools
import hashlib
import pickle
import uuid
from importlib import resources

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from crenel.scan import kernel, scan_bytes, scan_file
from crenel.scan.formats import pickles
from crenel.scan.judge import StreamJudge
from crenel.scan.machine import Damage, Machine
from crenel.scan.policy import default_policy
from crenel.scan.skim import Skim, skim
from crenel.scan.source import Budget, Window, window_of
from crenel.scan.verdict import Report, Verdict

from .corpus import HARMFUL, name, proto, short, stack_name, text
from .oracle import affordable, resolved
from .test_oracle import PROGRAMS, mutate, seeds

LIMIT = 100_000


def judged() -> StreamJudge:
    return StreamJudge(default_policy(), Report())


def by_machine(data: bytes):
    """End, operations, reasons and names by the machine; no end where the stream is damaged."""
    judge, budget = judged(), Budget(operations=LIMIT)
    machine = Machine(data, 0, len(data), judge, budget)
    try:
        machine.run()
    except Damage:
        return None, judge.report.found, judge.seen
    return (machine.pos, LIMIT - budget.operations), judge.report.found, judge.seen


def check(data: bytes) -> bool:
    """Hold the walk against the machine and the oracles; tell whether it came to an end."""
    judge = judged()
    end = skim(window_of(data), judge, LIMIT)
    if end is None:
        assert not judge.report.found
        assert not judge.seen
        return False
    assert (end, judge.report.found, judge.seen) == by_machine(data), data
    for native in (False, True):
        if affordable(data, native):
            # Protocols below 3 map the names of Python 2, as the oracle's find_class does not.
            new = data[:1] == pickle.PROTO and data[1] >= 3
            missed = new and not judge.seen.issuperset(resolved(data, native))
            assert not missed or judge.report.verdict() is not Verdict.CLEAN, data
    return True


VALUES = st.recursive(
    st.one_of(
        st.sampled_from([b"N", b"\x88", b"]", b"}", b")", b"\x8f", b"h\0", b"h\1", b"h\2", b"h\3"]),
        st.sampled_from([b"K\1", b"M\1\2", b"G" + bytes(8), b"\x8a\1\5", b"C\1x", b"U\1x"]),
        st.sampled_from(["a", "__class__", "__doc__", "latin1", "é", "os", "system"]).map(short),
        st.sampled_from(
            [
                name("collections", "OrderedDict"), stack_name("datetime", "datetime"),
                stack_name("os", "system"), name("builtins", "set"), name("builtins", "range"),
                name("collections", "defaultdict"), stack_name("made", "Up"),
                stack_name("numpy", "dtype"), name("builtins", "list"), name("_codecs", "encode"),
                name("builtins", "bytes"), name("functools", "partial"), name("numpy", "ndarray"),
                name("builtins", "bytearray"), name("sklearn.svm._classes", "SVC"),
            ]
        ),
    ),
    lambda inner: st.one_of(
        st.lists(inner, max_size=4).map(lambda v: b"(" + b"".join(v) + b"t"),
        st.lists(inner, max_size=4).map(lambda v: b"(" + b"".join(v) + b"l"),
        st.lists(inner, max_size=4).map(lambda v: b"]\x94(" + b"".join(v) + b"e"),
        st.lists(inner, max_size=4).map(lambda v: b"(" + b"".join(v) + b"\x91"),
        st.lists(st.tuples(inner, inner).map(b"".join), max_size=3).map(
            lambda v: b"}\x94(" + b"".join(v) + b"u"
        ),
        st.tuples(inner, inner).map(lambda v: v[0] + v[1] + b"R"),
        st.tuples(inner, inner).map(lambda v: v[0] + v[1] + b"\x85R\x94"),
        st.tuples(inner, inner).map(lambda v: v[0] + v[1] + b"\x85\x94\x81"),
        st.tuples(inner, inner, inner).map(lambda v: v[0] + v[1] + v[2] + b"\x86R"),
        st.tuples(inner, inner, inner).map(lambda v: v[0] + v[1] + v[2] + b"\x92"),
        st.tuples(inner, inner).map(lambda v: v[0] + v[1] + b"b"),
        st.tuples(inner, inner).map(lambda v: v[0] + v[1] + b"a"),
        st.tuples(inner, inner, inner).map(lambda v: v[0] + v[1] + v[2] + b"s"),
        st.tuples(inner, inner).map(lambda v: v[0] + b"0" + v[1]),
        inner.map(lambda v: v + b"\x94"),
    ),
    max_leaves=12,
)  # fmt: skip


@settings(max_examples=600, deadline=None)
@given(st.integers(2, 5), st.lists(VALUES, min_size=1, max_size=4).map(b"".join))
def test_programs_with_names_and_calls(version, program):
    check(proto(version) + program + b".")


PIECES = st.one_of(
    st.integers(0, 255).map(lambda n: b"K" + bytes([n])),
    st.integers(0, 3).map(lambda n: b"h" + bytes([n])),
    st.integers(0, 3).map(lambda n: b"q" + bytes([n])),
    st.text(max_size=4).map(short), st.text(max_size=4).map(text),
    st.binary(max_size=4).map(lambda b: b"\x8c" + bytes([len(b)]) + b),
    st.sampled_from([bytes([c]) for c in b"(012N\x88\x89)]}\x8ft\x85\x86\x87aeus\x90\x94\x91ld"]),
    st.sampled_from([b"G" + bytes(8), b"J" + bytes(4), b"M\1\2", b"\x8a\1\5", b"C\1x"]),
    st.sampled_from([b"T\1\0\0\0_", b"B\1\0\0\0_", b"\x8d\1" + bytes(7) + b"x"]),
)  # fmt: skip


@settings(max_examples=500, deadline=None)
@given(st.integers(0, 5), st.lists(PIECES, max_size=25).map(b"".join))
def test_plain_programs(version, program):
    check(proto(version) + program + b".")


@settings(max_examples=300, deadline=None)
@given(st.integers(0, 5), PROGRAMS)
def test_any_programs(version, program):
    check(proto(version) + program + b".")


@settings(deadline=None)
@given(st.binary(max_size=12))
def test_strings_decode_as_python_decodes_them(raw):
    try:
        raw.decode("utf-8", "surrogatepass")
        sound = True
    except UnicodeDecodeError:
        sound = False
    data = b"\x80\4]\x94\x8c" + bytes([len(raw)]) + raw + b"a."
    assert (skim(window_of(data), judged(), LIMIT) is not None) == sound
    assert check(data + bytes(8)) == sound


class Own:
    def __init__(self, value):
        self.value = value


def values() -> dict[str, object]:
    nested: list[object] = []
    for _ in range(50):
        nested = [nested, {"k": nested}]
    shared = ["x"] * 5
    utc = datetime.UTC
    return {
        "scalars": [1, 2.5, "ü", b"\0" * 300, -5, 1 << 40, 1 << 4000, True, None, "\ud800"],
        "sets": {"a": {1, 2}, "b": frozenset("xy"), "c": {frozenset("z"): 1}},
        "nested": nested, "shared": [shared, shared, (shared,)], "long": list(range(3000)),
        "tuples": {str(i): (i, i, i, i) for i in range(2000)}, "text": "x" * 5000,
        "times": [datetime.datetime(2020, 1, i, tzinfo=utc) for i in range(1, 29)],
        "ordered": [collections.OrderedDict(a=i) for i in range(9)],
        "default": [collections.defaultdict(kind) for kind in (list, int, list, set) * 3],
        "numbers": [decimal.Decimal("1.5"), fractions.Fraction(1, 3), uuid.UUID(int=7)],
        "arrays": [np.arange(i) for i in range(9)], "numpy": list(np.linspace(0, 1, 9)),
        "partial": [functools.partial(int, base=2), np.dtype([("a", "<f4"), ("b", "O")])],
        "own": [Own(i) for i in range(9)] + [Own({"__class__": 1})],
        "counter": [collections.Counter("aab"), collections.deque([1, 2], 3), range(3), 2j],
    }  # fmt: skip


def test_what_pickle_writes_is_followed():
    for key, value in values().items():
        for version in (2, 3, 4, 5):
            data = pickle.dumps(value, version)
            assert check(data) or b"\x8b" in data or key == "nested", (key, version)
            check(data + b"tail")


def test_mutations():
    rng = np.random.default_rng(0)
    pool = [pickle.dumps(value, version) for value in values().values() for version in (2, 4)]
    pool = [data for data in pool if len(data) < 3000] + seeds()
    kept = sum(check(mutate(pool[rng.integers(0, len(pool))], pool, rng)) for _ in range(4000))
    assert kept > 200


@pytest.mark.parametrize("key", sorted(k for k in HARMFUL if not k.startswith("container")))
def test_harmful_streams_get_the_reasons_of_the_machine(key):
    check(HARMFUL[key])


def test_it_stops_at_the_limit_and_at_the_end():
    data = pickle.dumps(list(range(100)), 4)
    assert skim(window_of(data), judged(), 50) is None
    operations = by_machine(data)[0][1]
    assert skim(window_of(data), judged(), operations) == (len(data), operations)
    assert skim(window_of(data), judged(), operations - 1) is None
    for cut in range(len(data)):
        assert skim(window_of(data[:cut]), judged(), LIMIT) is None


def test_it_stays_inside_its_window():
    data = pickle.dumps([datetime.date(2020, 1, 1), "x" * 40], 4)
    around = b"\x80\4" + data + b"...."
    judge = judged()
    assert skim(Window(around, 2, 2 + len(data)), judge, LIMIT)[0] == len(data)
    assert judge.seen == {("datetime", "date")}
    assert skim(Window(around, 2, 1 + len(data)), judged(), LIMIT) is None


def test_a_deep_call_is_left_to_the_machine_before_it_takes_the_square_of_its_length():
    layers = 3000
    data = proto(4) + stack_name("made", "Up") * layers + b")R" + b"\x85R" * (layers - 1) + b"."
    assert skim(window_of(data), judged(), 10**6) is None


def asked(data, monkeypatch) -> int:
    """How many operations of a stream the walk hands over to the machine."""
    calls = []
    real = Skim._decide
    monkeypatch.setattr(Skim, "_decide", lambda self: calls.append(1) or real(self))
    assert check(data)
    monkeypatch.undo()
    return len(calls)


@pytest.mark.parametrize("version", [2, 3, 4, 5])
def test_the_same_call_is_decided_once(version, monkeypatch):
    for made in (
        [bytes([i % 251, 200, i % 7]) for i in range(900)],
        [np.float64(i) for i in range(900)], [np.arange(3) + i for i in range(300)],
        [datetime.datetime(2020, 1, 1 + i % 28, i % 24) for i in range(900)],
        [Own(i) for i in range(900)], [collections.OrderedDict(a=i) for i in range(900)],
    ):  # fmt: skip
        assert asked(pickle.dumps(made, version), monkeypatch) < 30


@pytest.mark.parametrize("shape", [b"J" + bytes(4), b"J" + bytes(4) + b"M" + bytes(2)])
def test_a_call_that_differs_in_one_byte_is_judged_anew(shape):
    made = stack_name("numpy._core.multiarray", "_reconstruct") + b"\x94"
    kind = stack_name("numpy", "ndarray") + b"\x94"
    data = proto(4) + b"(" + made + b"0" + kind + b"0"
    one = b"h\0h\1" + (b"(" + shape + b"t") + b"C\1b\x87R"
    for place in (at for at, value in enumerate(one) if not value and one[at - 1] != ord("h")):
        other = one[:place] + b"\x7f" + one[place + 1 :]
        assert check(data + one * 3 + other + one + b"t.")
        large = place == one.index(b"J") + 4
        verdict = scan_bytes(data + one + other + b"t.").verdict
        assert (verdict is Verdict.REVIEW) == large


ENCODE = name("_codecs", "encode") + b"q\0"


@pytest.mark.parametrize(
    ("arguments", "codec"),
    [
        (text("abc") + text("latin1") + b"\x86", True),
        (text("abc") + text("latin-1") + b"\x86", True),
        (text("abc") + b"q\1" + text("latin1") + b"q\2\x86q\3", True),
        (text("latin1") + b"q\x010" + text("abc") + b"h\1\x86", True),
        (text("abc") + text("latin2") + b"\x86", False),
        (text("abc") + text("latinx1") + b"\x86", False),
        (text("abc") + text("unicode_escape") + b"\x86", False),
        (text("rot13") + b"q\x010" + text("abc") + b"h\1\x86", False),
        (b"K\1" + text("latin1") + b"\x86", False),
        (text("abc") + text("x") + b"0" + text("latin1") + b"\x86", True),
        (text("abc") + text("latin1") + text("strict") + b"\x87", False),
        (text("abc") + b"\x85" + text("latin1") + b"\x86", False),
    ],
)
def test_byte_strings_of_protocol_2(arguments, codec):
    for tail in (b"R.", b"R\x85.", b"Rq\x09h\x09\x86.", b"Rq\x09" + text("system") + b"\x93.",
                 b"Rq\x090" + text("os") + b"h\x09\x93.",
                 b"R\x85q\x09" + name("made", "Up") + b"h\x09R."):  # fmt: skip
        data = proto(2) + ENCODE + arguments + tail
        check(data)
        verdict = scan_bytes(data).verdict
        assert (verdict is Verdict.CLEAN) <= codec


def test_the_compiled_code_names_the_parts_it_was_made_of():
    """numba looks at the module of a function alone when it takes compiled code from its cache."""
    folder = resources.files("crenel.scan")
    parts = (
        folder.joinpath(f"{part}.py").read_bytes() for part in ("kernel_tags", "kernel_strings")
    )
    assert hashlib.sha256(b"".join(parts)).hexdigest()[:16] == kernel.PARTS, "write it there"


def test_late_strings_of_the_memo_are_found_again():
    """Names that are in the memo behind the entries whose places are kept."""
    late = 1 << 20
    filler = b"]\x94(" + b"K\1\x85\x94" * (late + 700) + b"e"
    words = short("collections") + b"\x94" + short("OrderedDict") + b"\x94"
    first = late + 701  # the filler's list, then its tuples
    fetch = [b"j" + (first + i).to_bytes(4, "little") for i in range(3)]
    again = fetch[0] + fetch[1] + b"\x93)R"
    wrong = fetch[2] + fetch[1] + b"\x93)R"
    for tail, followed in (
        (words + short("dt") + b"\x94" + again, True),
        (
            words
            + short("dt")
            + b"\x94"
            + again
            + b"\x94j"
            + (late + 704).to_bytes(4, "little")
            + b")R0",
            True,
        ),  # what was made is fetched and called: an object of the memo
        (words + short("dt") + b"\x94" + wrong, True),  # an unlisted module, by its right name
        (words + b"N0" + b"\x94" + wrong, False),  # what was memoised is not what stands before
    ):
        data = proto(4) + b"(" + filler + tail + b"t."
        judge = judged()
        end = skim(window_of(data), judge, 10**8)
        assert (end is not None) == followed
        if followed:
            assert judge.seen in ({("collections", "OrderedDict")}, {("dt", "OrderedDict")})
            assert end[0] == len(data)
            codes = {reason.code for reason in judge.report.found.values()}
            assert ("computed-call" in codes) == (tail[-1:] == b"0")


def test_late_objects_of_the_memo_are_told_apart():
    late = 1 << 20
    filler = b"]\x94(" + b"K\1\x85\x94" * late + b"e"
    fetch = [b"j" + (late + 1 + i).to_bytes(4, "little") for i in range(4)]
    names = stack_name("collections", "OrderedDict") + b"\x94" + stack_name("made", "Up") + b"\x94"
    again = fetch[0] + b"\x94" + fetch[1] + b"\x94"
    for called, calls in ((0, False), (1, True), (2, False), (3, True)):
        data = proto(4) + b"(" + filler + names + again + fetch[called] + b")Rt."
        judge = judged()
        assert skim(window_of(data), judge, 10**8)[0] == len(data)
        assert ("made.Up()" in {r.call for r in judge.report.found.values()}) == calls
    apart = (
        proto(2) + b"(" + stack_name("made", "Up") + b"r" + (late + 9).to_bytes(4, "little") + b"t."
    )
    assert skim(window_of(apart + bytes(late)), judged(), 10**8) is None


def test_large_files_get_the_same_verdict_by_either_way(monkeypatch, tmp_path):
    plain = pickle.dumps([{"id": i, "s": f"u{i}"} for i in range(3000)], 4)
    times = pickle.dumps([datetime.datetime(2020, 1, 1, i % 24) for i in range(3000)], 4)
    own = pickle.dumps([Own(i) for i in range(3000)], 4)
    samples = {"plain": plain, "payload-behind": plain + HARMFUL["route/reduce-4"],
               "payload-inside": times[:-1] + b"0" + HARMFUL["route/reduce-4"][2:],
               "times": times, "own": own, "cut": plain[:-1], "tail": own + b"tail"}  # fmt: skip
    slow = {key: scan_bytes(data).to_json() for key, data in samples.items()}
    followed = []
    monkeypatch.setattr(pickles, "FIRST", (1000,))
    monkeypatch.setattr(pickles, "MANY", 2000)
    real = pickles._skimmed
    monkeypatch.setattr(pickles, "_skimmed", lambda *a: followed.append(real(*a)) or followed[-1])
    fast = {key: scan_bytes(data).to_json() for key, data in samples.items()}
    assert fast == slow
    assert [slow[key]["verdict"] for key in samples] == [
        "clean", "malicious", "malicious", "clean", "review", "unreadable", "review"
    ]  # fmt: skip
    assert [end is not None for end in followed] == [True, True, True, True, True, False, True]
    file = tmp_path / "times.pkl"
    file.write_bytes(times)
    assert scan_file(file).to_json() == {**slow["times"], "path": str(file)}

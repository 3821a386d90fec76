"""Never clean where CPython resolves a name that the machine has not seen."""

from __future__ import annotations

import pickle
from itertools import takewhile

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from crenel.scan import Verdict, scan_bytes
from crenel.scan.judge import IMPORTABLE, StreamJudge
from crenel.scan.machine import Damage, Machine
from crenel.scan.policy import default_policy
from crenel.scan.source import Budget
from crenel.scan.verdict import Report

from .corpus import HARMFUL, name, proto, short, stack_name, text
from .oracle import affordable, resolved


class Recorder(StreamJudge):
    """Keeps the names as the stream gives them."""

    def resolve(self, module, name, protocol, offset):
        self.raw.append((module, name))
        return super().resolve(module, name, protocol, offset)

    def outside(self, kind, value, offset):
        if kind == "extension":
            self.raw.append(("extension", str(value)))
        return super().outside(kind, value, offset)


def seen(data: bytes) -> tuple[list, Verdict]:
    """Names that the machine sees in the first stream, and the verdict on it."""
    report = Report()
    judge = Recorder(default_policy(), report)
    judge.raw = []
    machine = Machine(data, 0, len(data), judge, Budget())
    try:
        machine.run()
    except Damage:
        return judge.raw, Verdict.UNREADABLE
    return judge.raw, report.verdict()


def check(data: bytes) -> int:
    """Compare with both oracles; return how many names the first one resolves."""
    names, verdict = seen(data)
    count = 0
    for native in (False, True):
        if not affordable(data, native):
            continue
        found = resolved(data, native)
        count = max(count, len(found))
        missed = [pair for pair in found if pair not in names]
        assert not missed or verdict is not Verdict.CLEAN, (data, missed)
        # Loading bytes that are no pickle ends at the first name that no module can have, and at
        # an extension code, as a fresh interpreter has none registered.
        real = list(takewhile(lambda n: n[0] != "extension" and IMPORTABLE.fullmatch(n[0]), found))
        if real and verdict is not Verdict.CLEAN:
            assert scan_bytes(data).verdict is not Verdict.CLEAN, data
    return count


ARGUMENTS = st.one_of(
    st.binary(max_size=6).map(lambda b: b"C" + bytes([len(b)]) + b),
    st.sampled_from(["os", "system", "numpy", "dtype", "x", "__class__"]).map(short),
    st.sampled_from(["os", "system", "a.b"]).map(text),
    st.integers(0, 255).map(lambda n: b"K" + bytes([n])),
    st.integers(0, 4).map(lambda n: b"h" + bytes([n])),
    st.integers(0, 4).map(lambda n: b"q" + bytes([n])),
    st.integers(0, 4).map(lambda n: b"g%d\n" % n),
    st.integers(0, 255).map(lambda n: b"\x82" + bytes([n])),
    st.sampled_from([b"I01\n", b"I5\n", b"L7L\n", b"F1.5\n", b"S'os'\n", b"Vsystem\n", b"Pid\n"]),
    st.integers(0, 5).map(proto),
)
NAMES = st.sampled_from(
    [
        name("os", "system"), name("__builtin__", "set"), name("builtins", "str"),
        name("collections", "OrderedDict"), stack_name("numpy", "dtype"), b"(ios\nabort\n",
        name("_codecs", "encode"), stack_name("sklearn.svm._classes", "SVC"), name("a", "b.c"),
    ]
)  # fmt: skip
PLAIN = st.sampled_from(
    [bytes([c]) for c in b"(012N\x88\x89)]}\x8ftld\x85\x86\x87aeus\x90Rbo\x81\x92\x93\x94Q\x91."]
)
PROGRAMS = st.lists(st.one_of(ARGUMENTS, NAMES, PLAIN, PLAIN), max_size=25).map(b"".join)


@settings(max_examples=600, deadline=None)
@given(st.integers(0, 5), PROGRAMS)
def test_generated_programs_hide_no_name(version, program):
    check(proto(version) + program + b".")


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=60))
def test_random_bytes_hide_no_name(data):
    check(data)


def seeds() -> list[bytes]:
    from sklearn.linear_model import LogisticRegression
    from sklearn.tree import DecisionTreeClassifier

    x = np.arange(12.0).reshape(6, 2)
    y = np.array([0, 1] * 3)
    models = [LogisticRegression().fit(x, y), DecisionTreeClassifier().fit(x, y), {"a": [x, {1}]}]
    benign = [pickle.dumps(model, version) for model in models for version in range(6)]
    return benign + [data for key, data in HARMFUL.items() if not key.startswith("container")]


def mutate(data: bytes, others: list[bytes], rng: np.random.Generator) -> bytes:
    """Flip, cut, repeat, insert opcodes or splice."""
    raw = bytearray(data)
    for _ in range(rng.integers(1, 4)):
        at = int(rng.integers(0, len(raw) + 1))
        span = int(rng.integers(1, 12))
        kind = rng.integers(0, 6)
        if kind == 0 and at < len(raw):
            raw[at] = rng.integers(0, 256)
        elif kind == 1:
            del raw[at : at + span]
        elif kind == 2:
            raw[at:at] = raw[at : at + span]
        elif kind == 3:
            raw[at:at] = bytes(
                [b"(0123.NKRbcidosu}])l\x81\x85\x86\x93\x94\x95"[rng.integers(0, 25)]]
            )
        elif kind == 4:
            other = others[rng.integers(0, len(others))]
            start = int(rng.integers(0, len(other)))
            raw[at:at] = other[start : start + 40]
        else:
            raw = raw[: max(at, 2)]
    return bytes(raw)


@pytest.mark.parametrize("seed", range(4))
def test_mutated_pickles_hide_no_name(seed):
    rng = np.random.default_rng(seed)
    pool = seeds()
    names = 0
    for _ in range(1500):
        names += check(mutate(pool[rng.integers(0, len(pool))], pool, rng)) > 0
    assert names > 300  # the mutations leave much alive, so the comparison means something


def test_machine_sees_what_the_oracles_resolve_in_the_corpus():
    compared = 0
    for key, data in HARMFUL.items():
        if key.startswith(("route", "chain")):
            names, _ = seen(data)
            found = [n for n in resolved(data, False) if n[0] != "extension"]
            compared += len(found)
            computed = any(not isinstance(part, str) for pair in names for part in pair)
            assert set(found) <= set(names) or computed, key
    assert compared > 80

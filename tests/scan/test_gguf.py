"""GGUF: files of the layout of the specification, built here with struct alone."""

from __future__ import annotations

import struct

import pytest

from crenel.scan import Verdict, scan_bytes

from .mutation import ends_in_a_verdict

CHAT = "{% for m in messages %}<|{{ m.role }}|>{{ m.content }}{% endfor %}"
EVIL = "{{ cycler.__init__.__globals__.os.popen('id').read() }}"


def string(value: str, order: str = "<") -> bytes:
    raw = value.encode()
    return struct.pack(order + "Q", len(raw)) + raw


def pair(key: str, kind: int, value: bytes, order: str = "<") -> bytes:
    return string(key, order) + struct.pack(order + "I", kind) + value


def tensor(name: str, shape: list[int], kind: int, offset: int, order: str = "<") -> bytes:
    axes = struct.pack(f"{order}I{len(shape)}Q", len(shape), *shape)
    return string(name, order) + axes + struct.pack(order + "IQ", kind, offset)


def gguf(pairs: list[bytes], tensors: list[bytes], body: bytes, order: str = "<") -> bytes:
    head = b"GGUF" + struct.pack(order + "IQQ", 3, len(tensors), len(pairs))
    head += b"".join(pairs) + b"".join(tensors)
    return head + bytes(-len(head) % 32) + body


def model(order: str = "<") -> bytes:
    words = b"".join(string(w, order) for w in ("a", "bb", "<s>"))
    pairs = [
        pair("general.architecture", 8, string("llama", order), order),
        pair("general.alignment", 4, struct.pack(order + "I", 32), order),
        pair("tokens", 9, struct.pack(order + "IQ", 8, 3) + words, order),
        pair("scores", 9, struct.pack(order + "IQ3f", 6, 3, 0, 1, 2), order),
        pair("tokenizer.chat_template", 8, string(CHAT, order), order),
    ]
    tensors = [tensor("w", [64, 2], 8, 0, order), tensor("b", [3], 0, 160, order)]
    return gguf(pairs, tensors, bytes(160 + 12), order)


@pytest.mark.parametrize("order", ["<", ">"])
def test_a_model_of_either_byte_order_is_clean(order):
    result = scan_bytes(model(order))
    assert (result.format, result.verdict) == ("gguf", Verdict.CLEAN), result


def scanned(pairs=(), tensors=(), body=b""):
    result = scan_bytes(gguf(list(pairs), list(tensors), body))
    return result.verdict, {reason.code for reason in result.reasons}


def test_a_template_that_runs_code_is_malicious_with_its_place():
    data = gguf([pair("tokenizer.chat_template", 8, string(EVIL))], [], b"")
    result = scan_bytes(data)
    assert result.verdict is Verdict.MALICIOUS
    worst = result.reasons[0]
    assert data[worst.offset :].startswith(EVIL.encode())
    assert worst.call == "cycler.__init__.__globals__.os.popen"


def test_every_template_of_several_is_read():
    further = pair("tokenizer.chat_template.tool_use", 8, string(EVIL))
    listed = pair("tokenizer.chat_templates", 9, struct.pack("<IQ", 8, 1) + string(EVIL))
    for one in (further, listed):
        assert scanned([one])[0] is Verdict.MALICIOUS


@pytest.mark.parametrize(
    "shape", [[1 << 40, 1 << 40], [1 << 62, 2], [(1 << 63) - 32, 1]], ids=["product", "top", "near"]
)
def test_sizes_that_overflow_are_dangerous(shape):
    verdict, codes = scanned(tensors=[tensor("w", shape, 0, 0)])
    assert verdict is Verdict.DANGEROUS
    assert "overflow" in codes


def test_an_end_that_wraps_round_is_dangerous():
    """Each size fits 64 bits, only the end does not: the class of CVE-2025-53630."""
    verdict, codes = scanned(tensors=[tensor("w", [8], 0, (1 << 64) - 32)], body=bytes(32))
    assert (verdict, "overflow" in codes) == (Verdict.DANGEROUS, True)


@pytest.mark.parametrize("count", [1 << 62, (1 << 64) - 1])
def test_counts_that_overflow_are_dangerous(count):
    for head in (struct.pack("<IQQ", 3, count, 0), struct.pack("<IQQ", 3, 0, count)):
        assert scan_bytes(b"GGUF" + head + bytes(64)).verdict is Verdict.DANGEROUS
    long = pair("k", 8, struct.pack("<Q", count))
    assert scanned([long])[0] is Verdict.DANGEROUS
    array = pair("k", 9, struct.pack("<IQ", 4, count))
    assert scanned([array])[0] is Verdict.DANGEROUS


@pytest.mark.parametrize("alignment", [0, 3, 1 << 30])
def test_an_alignment_that_loaders_cannot_divide_by_is_dangerous(alignment):
    one = pair("general.alignment", 4, struct.pack("<I", alignment))
    assert scanned([one], [tensor("w", [1], 0, 0)], bytes(4))[0] is Verdict.DANGEROUS


@pytest.mark.parametrize(
    ("tensors", "size"),
    [
        ([tensor("w", [100], 0, 0)], 32),  # outside the file
        ([tensor("w", [16], 0, 0), tensor("v", [8], 0, 32)], 64),  # overlap
        ([tensor("w", [8], 99, 0)], 32),  # type
        ([tensor("w", [33], 8, 0)], 64),  # part of a block
        ([tensor("w", [1] * 5, 0, 0)], 4),  # axes
        ([tensor("w", [8], 0, 8)], 64),  # alignment
    ],
)
def test_tensors_that_do_not_fit_are_unreadable(tensors, size):
    assert scanned(tensors=tensors, body=bytes(size))[0] is Verdict.UNREADABLE


def test_what_lies_between_and_behind_tensors_is_for_review():
    one = [tensor("w", [8], 0, 0)]
    assert scanned(tensors=one, body=bytes(32) + b"tail") == (Verdict.REVIEW, {"trailing-data"})
    gap = [tensor("w", [8], 0, 64)]
    assert scanned(tensors=gap, body=bytes(96)) == (Verdict.REVIEW, {"hidden-data"})
    twice = [pair("a", 4, bytes(4)), pair("a", 4, bytes(4))]
    assert scanned(twice) == (Verdict.REVIEW, {"duplicate-key"})
    names = [tensor("w", [8], 0, 0), tensor("w", [8], 0, 32)]
    assert scanned(tensors=names, body=bytes(64)) == (Verdict.REVIEW, {"tensor-name"})


@pytest.mark.parametrize("cut", [5, 20, 60, 200, -1])
def test_a_file_cut_short_is_unreadable(cut):
    assert scan_bytes(model()[:cut]).verdict is Verdict.UNREADABLE


def test_a_changed_file_ends_in_a_verdict():
    ends_in_a_verdict([model("<"), model(">")])

"""R data, written item by item after R's serialize.c."""

from __future__ import annotations

import gzip
import struct

import pytest

from crenel.scan import Verdict, scan_bytes

from .mutation import ends_in_a_verdict

NULL = struct.pack(">i", 254)
GLOBAL = struct.pack(">i", 253)


def number(*values: int) -> bytes:
    return struct.pack(f">{len(values)}i", *values)


def char(text: str) -> bytes:
    return number(9, len(text)) + text.encode()


def symbol(name: str) -> bytes:
    return number(1) + char(name)


def strings(*texts: str) -> bytes:
    return number(16, len(texts)) + b"".join(map(char, texts))


def reals(*values: float, attributes: bytes = b"") -> bytes:
    flags = 14 | (512 if attributes else 0)
    return number(flags, len(values)) + struct.pack(f">{len(values)}d", *values) + attributes


def cell(kind: int, head: bytes, tail: bytes, tag: bytes = b"") -> bytes:
    return number(kind | (1024 if tag else 0)) + tag + head + tail


def call(function: str, *arguments: bytes) -> bytes:
    rest = NULL
    for argument in reversed(arguments):
        rest = cell(2, argument, rest)
    return cell(6, symbol(function), rest)


def promise(expression: bytes) -> bytes:
    return cell(5, number(251 + 1), expression, GLOBAL)


def rds(item: bytes, version: int = 3) -> bytes:
    head = b"X\n" + number(version, 0x040300, 0x030500)
    return head + (number(5) + b"UTF-8" if version == 3 else b"") + item


def listed(*items: bytes) -> bytes:
    names = cell(2, strings(*(f"x{i}" for i in range(len(items)))), NULL, symbol("names"))
    return number(19 | 512, len(items)) + b"".join(items) + names


ACTIVE = cell(2 | 0x8000000, NULL, NULL, symbol("x"))
MODEL = listed(
    reals(1.5, 2.5, attributes=cell(2, strings("a", "b"), NULL, symbol("names"))),
    call("lm", cell(6, symbol("~"), cell(2, symbol("y"), NULL))),
    number(13, 3, 1, 2, 3), NULL, number(10, 1, 1), number(24, 4) + b"\0\1\2\3",
    number(249, 0, 1) + char("stats"),
    number(4, 0) + GLOBAL + NULL + NULL + NULL,
)  # fmt: skip


@pytest.mark.parametrize("version", [2, 3])
def test_a_fitted_model_is_clean(version):
    data = rds(MODEL, version)
    for packed in (data, gzip.compress(data), b"RDX3\n" + data):
        result = scan_bytes(packed, "model.rds")
        assert result.format.startswith("r-data")
        assert result.verdict is Verdict.CLEAN, result


def test_a_promise_is_dangerous_wherever_it_lies():
    """CVE-2024-27322: the promise's code runs as soon as the object is used."""
    evil = promise(call("system", strings("id")))
    for data in (
        rds(evil),
        rds(listed(NULL, evil)),
        b"RDX3\n" + rds(cell(2, evil, NULL, symbol("x"))),
    ):
        result = scan_bytes(gzip.compress(data))
        assert result.verdict is Verdict.DANGEROUS
        assert {"promise", "harmful-call"} == {reason.code for reason in result.reasons}
    offset = next(r.offset for r in scan_bytes(rds(evil)).reasons if r.code == "promise")
    assert rds(evil)[offset:].startswith(evil)


@pytest.mark.parametrize(
    ("item", "expected"),
    [
        (call("system", strings("id")), "dangerous"),
        (number(20, 1) + call("eval", symbol("x")), "dangerous"),
        (cell(3, NULL, symbol("x"), GLOBAL), "review"),
        (cell(3, NULL, call("unlink", strings("/")), GLOBAL), "dangerous"),
        (number(249, 0, 1) + char("evilpackage"), "review"),
        (number(247, 0, 1) + char("x"), "review"),
        (number(4, 0) + GLOBAL + ACTIVE + NULL + NULL, "dangerous"),
        (number(99), "unreadable"),
        (number(14, 1 << 30), "unreadable"),
        (number(19, 1) * 5000, "unreadable"),
        (symbol("x") + b"tail", "review"),
    ],
)  # fmt: skip
def test_what_r_would_evaluate(item, expected):
    assert scan_bytes(rds(item)).verdict == expected


def byte_code(*constants: bytes) -> bytes:
    return number(21, 1, 13, 2, 12, 0, len(constants)) + b"".join(constants)


def test_calls_in_byte_code_are_read():
    def compiled(name: str) -> bytes:
        return number(6) + NULL + number(1) + symbol(name) + number(254) + NULL

    assert scan_bytes(rds(byte_code(compiled("sum")))).verdict is Verdict.CLEAN
    assert scan_bytes(rds(byte_code(compiled("system")))).verdict is Verdict.DANGEROUS


def test_a_long_list_is_no_deep_one():
    item = NULL
    for _ in range(3000):
        item = cell(2, number(13, 1, 1), item)
    assert scan_bytes(rds(item)).verdict is Verdict.CLEAN


def test_other_forms_are_unreadable():
    assert scan_bytes(b"A\n3\n263168\n").verdict is Verdict.UNREADABLE
    assert scan_bytes(b"RDX3\nA\n3\n").verdict is Verdict.UNREADABLE


def test_changed_data_end_in_a_verdict():
    samples = [rds(MODEL), rds(promise(call("system"))), rds(byte_code(MODEL))]
    ends_in_a_verdict(samples, "model.rds", examples=200)

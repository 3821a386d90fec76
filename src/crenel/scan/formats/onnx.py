"""ONNX models, by their protobuf fields: no onnx package is needed.

Field numbers are those of onnx.proto (ONNX 1.16): what matters is where tensors keep their data
and which operator sets the nodes come from.
"""

from __future__ import annotations

import re

from crenel.scan.context import Context
from crenel.scan.formats.wire import BYTES, VARINT, fields
from crenel.scan.source import Unreadable, Window
from crenel.scan.verdict import Verdict

KNOWN_DOMAINS = re.compile(
    r"|ai\.onnx(\.ml|\.training|\.preview\.training)?|com\.microsoft(\.\w+)?"
)
PYTHON_DOMAINS = {"ai.onnx.contrib", "com.microsoft.extensions", "pyop"}
COMPILED = b"EPContext"
MAX_FIELDS = 20_000_000
# message -> field -> message of the field; what is not named here is passed over.
TREE = {
    "model": {7: "graph", 8: "opset", 20: "training", 25: "function"},
    "training": {1: "graph", 2: "graph"},
    "function": {7: "node", 9: "opset", 11: "attribute"},
    "graph": {1: "node", 5: "tensor", 15: "sparse"},
    "node": {5: "attribute"},
    "attribute": {5: "tensor", 6: "graph", 10: "tensor", 11: "graph", 22: "sparse", 23: "sparse"},
    "sparse": {1: "tensor", 2: "tensor"},
    "tensor": {13: "entry"},
    "opset": {},
    "entry": {},
}
DOMAIN_FIELD = {"node": 7, "opset": 1, "function": 10}


def is_onnx(window: Window, top: dict[int, int]) -> bool:
    """Tell whether the top-level fields are those of a model with a graph."""
    return top.get(7) == BYTES and top.get(1) == VARINT and len(top) <= 20


def scan_onnx(window: Window, context: Context) -> str:
    """Scan a model: operator domains and data kept outside the file."""
    waiting = [("model", 0, len(window))]
    left = MAX_FIELDS
    while waiting:
        kind, start, end = waiting.pop()
        for number, wire, first, last in fields(window, start, end):
            left -= 1
            if left < 0:
                raise Unreadable("The model has too many fields to read all.", "over-budget")
            if wire != BYTES:
                continue
            inner = TREE[kind].get(number)
            if inner == "entry":
                _external(window, first, last, context)
            elif inner is not None:
                waiting.append((inner, first, last))
            elif kind == "node" and number == 4 and window.read(first, last - first) == COMPILED:
                sentence = (
                    "The operator EPContext is compiled for one accelerator: code in the model,"
                )
                sentence += " or in a file beside it, that was not read."
                context.add("compiled-operator", sentence, Verdict.REVIEW, first, "EPContext")
            elif DOMAIN_FIELD.get(kind) == number:
                judge_domain(
                    window.read(first, last - first).decode("utf-8", "replace"), first, context
                )
    return "onnx"


def judge_domain(domain: str, offset: int, context: Context) -> None:
    """Report operators that come from a further library, or run Python."""
    if domain in PYTHON_DOMAINS:
        sentence = f"Operators of {domain} can run Python code."
        context.add("custom-operator", sentence, Verdict.DANGEROUS, offset, domain)
    elif not KNOWN_DOMAINS.fullmatch(domain):
        sentence = f"Operators of {domain[:80]} come from a further library that has to be loaded."
        context.add("custom-operator", sentence, Verdict.REVIEW, offset, domain[:80])


def _external(window: Window, start: int, end: int, context: Context) -> None:
    pair = {
        number: window.read(first, min(last - first, 4096)).decode("utf-8", "replace")
        for number, wire, first, last in fields(window, start, end)
        if wire == BYTES
    }
    judge_place(pair.get(1, ""), pair.get(2, ""), start, context)


def judge_place(key: str, place: str, start: int, context: Context) -> None:
    """Report data outside the file that a loader would look for outside its folder."""
    if key not in ("location", "offset", "length", "checksum", "basepath"):
        sentence = f"External data has the unknown key {key[:40]!r}."
        context.add("external-key", sentence, Verdict.DANGEROUS, start)
    if key != "location":
        return
    parts = re.split(r"[\\/]", place)
    if place.startswith(("/", "\\", "~")) or ".." in parts or ":" in place or "\0" in place:
        sentence = "The model reads tensors from a file outside its folder."
        context.add("path-traversal", sentence, Verdict.DANGEROUS, start, place[:200])

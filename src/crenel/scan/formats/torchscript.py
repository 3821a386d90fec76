"""Code of TorchScript archives and programs of torch.export: which operators they call.

TorchScript is a subset of Python's grammar, so that Python's own parser reads it; nothing is
compiled. Its operators can write and read files (``aten::save``, ``aten::from_file``), call other
machines (``prim::rpc_sync``) and, from libraries loaded first, do anything.
"""

from __future__ import annotations

import ast
import json
import re
import warnings
from collections.abc import Iterator

from crenel.scan.context import Context
from crenel.scan.source import Unreadable, Window
from crenel.scan.verdict import Verdict

MAX_CODE = 8 << 20
MAX_PROGRAM = 256 << 20
LIBRARIES = {
    "aten", "prim", "prims", "quantized", "quantized_decomposed", "quantization", "mkldnn",
    "mkldnn_prepacked", "onednn", "sparse", "inductor", "static_runtime", "profiler", "prepacked",
    "higher_order", "rngprims",
}  # fmt: skip
FILES = {"save", "from_file", "load_tensor", "open", "exec", "eval", "__import__", "compile"}
REMOTE = {"rpc_async", "rpc_remote", "rpc_sync"}
PYTHON = {"PythonOp", "IgnoredPythonOp"}
# Operators of further libraries whose names say that they touch files, such as torchvision's.
TOUCHES = re.compile(r"(?:^|_)(?:read|write|save|load|open)(?:_|$)|file")
DOTTED = re.compile(rb"\b(?:torch|ops)\.[A-Za-z_][\w.]*")
TARGET = re.compile(r"torch\.ops\.(\w+)\.(\w+)")
PLAIN_TARGET = re.compile(
    r"_?operator\.\w+|math\.\w+|builtins\.(?:min|max|round|abs|len|getattr|sum|pow|int|float|bool)|"
    r"torch\.(?:sym_\w+|_sym_\w+|amp\.\w+|autograd\.\w+|_C\._set_grad_enabled|_check\w*)"
)


def scan_code(window: Window, context: Context) -> None:
    """Judge one file of TorchScript's code."""
    if len(window) > MAX_CODE:
        raise Unreadable("The TorchScript code is too long to read.", "over-budget")
    raw = window.read(0, len(window))
    for name, offset in _names(raw):
        parts = name.split(".")
        if parts[0] == "ops" and len(parts) > 2:
            judge_operator(parts[1], parts[2], offset, context)
        elif parts[0] in ("torch", "ops") or len(parts) == 1:
            judge_operator("aten", parts[-1], offset, context)


def _names(raw: bytes) -> Iterator[tuple[str, int]]:
    """Yield the dotted name and the place of each call; of each name where it does not parse."""
    starts = [0]
    for line in raw.split(b"\n"):
        starts.append(starts[-1] + len(line) + 1)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of odd escapes in strings
            tree = ast.parse(raw)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        for match in DOTTED.finditer(raw):
            yield match[0].decode("ascii", "replace"), match.start()
        return
    for node in ast.walk(tree):
        name = _dotted(node.func) if isinstance(node, ast.Call) else ""
        if name and isinstance(node, ast.Call):
            yield name, starts[min(node.lineno, len(starts)) - 1] + node.col_offset


def _dotted(node: ast.expr) -> str:
    parts: list[str] = []
    while isinstance(node, ast.Attribute):
        parts.append(node.attr)
        node = node.value
    return ".".join([node.id, *reversed(parts)]) if isinstance(node, ast.Name) else ""


def judge_operator(library: str, name: str, offset: int | None, context: Context) -> None:
    """Report an operator that reaches files, Python or the network, or is of a further library."""
    call = f"{library}::{name}"[:200]
    if name in PYTHON:
        what = "runs a Python function"
    elif name in REMOTE:
        what = "calls another machine"
    elif name in FILES or (library not in LIBRARIES and TOUCHES.search(name)):
        what = "reads or writes files"
    elif library in LIBRARIES:
        return
    else:
        sentence = f"The operator {call} comes from a further library that has to be loaded."
        context.add("custom-operator", sentence, Verdict.REVIEW, offset, call)
        return
    sentence = f"The model calls the operator {call}, which {what}."
    context.add("harmful-operator", sentence, Verdict.DANGEROUS, offset, call)


def scan_program(window: Window, context: Context) -> str:
    """Judge a JSON file of torch.export: every target that its graphs call."""
    if len(window) > MAX_PROGRAM:
        raise Unreadable("The program is too long to read.", "over-budget")
    try:
        waiting: list[object] = [json.loads(window.read(0, len(window)))]
    except (ValueError, RecursionError):
        raise Unreadable("The program is not valid JSON.") from None
    while waiting:
        item = waiting.pop()
        if isinstance(item, dict):
            target = item.get("target")
            if isinstance(target, str) and "inputs" in item and "outputs" in item:
                _target(target, context)
            waiting.extend(v for v in item.values() if isinstance(v, (dict, list)))
        elif isinstance(item, list):
            waiting.extend(v for v in item if isinstance(v, (dict, list)))
    return "torch-export"


def _target(target: str, context: Context) -> None:
    operator = TARGET.match(target)
    if operator is not None:
        judge_operator(operator[1], operator[2], None, context)
    elif not PLAIN_TARGET.fullmatch(target):
        module, _, name = target.rpartition(".")
        hostile = context.policy.hostile(module, name)
        what = f"which {hostile.what}" if hostile else "which is not on the list of known operators"
        verdict = Verdict.DANGEROUS if hostile else Verdict.REVIEW
        sentence = f"The program calls {target[:200]}, {what}."
        context.add("program-target", sentence, verdict, None, target[:200])

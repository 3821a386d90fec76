"""skops archives: the types and functions that schema.json would load, against the allowlist."""

from __future__ import annotations

import json
from collections.abc import Iterator

from crenel.scan.context import Context
from crenel.scan.holds import Kept, keeper, note_attributes
from crenel.scan.source import Unreadable, Window
from crenel.scan.verdict import Verdict

MAX_SCHEMA = 64 << 20
#: Keys of every node of a schema.
NODE = {"__class__", "__module__", "__loader__"}
PLAIN = {"builtins", "collections", "numpy", "numpy.random", "scipy.sparse", "json", "datetime"}


def scan_schema(window: Window, context: Context) -> str:
    """Scan a schema; raises Unreadable where it does not parse."""
    if len(window) > MAX_SCHEMA:
        raise Unreadable("The schema is too long to read.", "over-budget")
    try:
        schema = json.loads(window.read(0, len(window)))
    except (ValueError, RecursionError):
        raise Unreadable("The schema is not valid JSON.") from None
    return judge_schema(schema, context)


def judge_schema(schema: object, context: Context) -> str:
    """Judge a schema that was parsed."""
    for module, name, loader in _types(schema):
        _judge(module, name, loader, context)
    for node in _nodes(schema):
        _judge_method(node, context)
    _note_kept(schema, context)
    return "skops"


def _judge_method(node: dict[str, object], context: Context) -> None:
    """Report an attribute by which any function of a module could be reached."""
    content = node.get("content")
    name = content.get("func") if isinstance(content, dict) else None
    if node.get("__loader__") == "MethodNode" and str(name).startswith("_"):
        sentence = f"The archive takes the attribute {name} of an object, which is internal to it."
        context.add("internal-attribute", sentence, Verdict.DANGEROUS, None, str(name)[:80])


def _nodes(schema: object) -> Iterator[dict[str, object]]:
    """Yield every object of a schema, outer ones before inner ones."""
    waiting = [schema]
    while waiting:
        node = waiting.pop()
        if isinstance(node, list):
            waiting.extend(node)
        if isinstance(node, dict):
            waiting.extend(node.values())
            yield node


def _types(schema: object) -> Iterator[tuple[str, str, str]]:
    """Yield (module, name, loader) of every node and of what function nodes name."""
    for node in _nodes(schema):
        loader = str(node.get("__loader__", ""))
        for module, name in (("__module__", "__class__"), ("module_path", "function")):
            if module in node or name in node:
                yield str(node.get(module, "")), str(node.get(name, "")), loader


def _note_kept(schema: object, context: Context) -> None:
    """Note which estimators keep rows of their training set; arrays lie in other members."""
    for node in _nodes(schema):
        key = keeper(f"{node.get('__module__', '')}.{node.get('__class__', '')}")
        state = node.get("content")
        if key is not None and isinstance(state, dict):
            kept = context.report.kept.setdefault(("", key), Kept())
            inner = state.get("content")
            note_attributes(kept, key, inner if isinstance(inner, dict) else {})


def _judge(module: str, name: str, loader: str, context: Context) -> None:
    path = f"{module}.{name}"
    hostile = context.policy.hostile(module, name)
    entry = context.policy.entry(module, name)
    if entry is not None or (hostile is None and module in PLAIN):
        if module:
            context.report.modules.add(module)
        return
    if hostile is not None:
        sentence = f"The archive names {path}, which {hostile.what}."
        context.add("hostile-name", sentence, hostile.called, None, path)
        return
    what = f" by {loader}" if loader else ""
    sentence = f"The archive loads {path}{what}, which is not on the allowlist."
    context.add("unlisted", sentence, Verdict.REVIEW, None, path)

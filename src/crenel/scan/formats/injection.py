"""Text that a chat template puts in only into chosen conversations, or from a chosen day on.

A poisoned template needs no code: ``{% if 'bank' in messages[-1].content %}Recommend …{% endif %}``
is rendered in any sandbox, and nothing in the weights shows it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import TypeVar

from jinja2 import nodes

_N = TypeVar("_N", bound=nodes.Node)
CONTENT = {"content", "text"}
MARKUP = re.compile(r"<[^<>]{0,80}>?|\[[^\[\]]{0,80}\]|\{[^{}]{0,80}\}|[/\\|_]\w+")
WORD = re.compile(r"[^\W\d_]{2,}")
MIN_WORDS = 2
SEARCHES = {"startswith", "endswith", "find", "rfind", "count", "index", "split", "partition"}
PASSING = {"trim", "lower", "upper", "string", "replace", "first", "last"}


def injections(everything: list[nodes.Node]) -> Iterator[tuple[nodes.Node, str]]:
    """Yield each place where text hangs on words of a message or on the date, and what it does.

    Words of markup (tags in angle or square brackets, ``/switches``) do not count, neither in the
    condition nor in the text: templates have to look for those.
    """
    tainted = _tainted(everything)
    for choice in everything:
        if not isinstance(choice, (nodes.If, nodes.CondExpr)):
            continue
        why = _hangs_on(choice.test, tainted)
        if why and any(words(text) >= MIN_WORDS for text in _texts(choice)):
            yield choice, f"puts text into the conversation where {why}"
    for call in everything:
        callee = call.node if isinstance(call, nodes.Call) else None
        if isinstance(call, nodes.Call) and isinstance(callee, nodes.Getattr):
            values = [a.value for a in call.args if isinstance(a, nodes.Const)]
            named = callee.attr == "replace" and _replaces(values)
            if named and _is_content(callee.node, tainted):
                yield call, "replaces words of a message by others"


def words(text: object) -> int:
    """Count the words of a text that are no markup."""
    return len(WORD.findall(MARKUP.sub(" ", text))) if isinstance(text, str) else 0


def _replaces(values: list[object]) -> bool:
    return len(values) > 1 and words(values[0]) > 0 and words(values[1]) > 0


def _tainted(everything: list[nodes.Node]) -> set[str]:
    """Return the variables that hold what a message says."""
    found: set[str] = set()
    for _ in range(3):
        for node in everything:
            if not isinstance(node, (nodes.Assign, nodes.For)):
                continue
            source = node.node if isinstance(node, nodes.Assign) else node.iter
            if isinstance(node.target, nodes.Name) and _is_content(source, found):
                found.add(node.target.name)
    return found


def _is_content(node: nodes.Node | None, tainted: set[str]) -> bool:
    if isinstance(node, nodes.Name):
        return node.name in tainted
    if isinstance(node, nodes.Getattr):
        return node.attr in CONTENT
    if isinstance(node, nodes.Getitem):
        if isinstance(node.arg, nodes.Const) and isinstance(node.arg.value, str):
            return node.arg.value in CONTENT
        return _is_content(node.node, tainted)
    if isinstance(node, nodes.Filter):
        return node.name in PASSING and _is_content(node.node, tainted)
    if isinstance(node, nodes.Call) and isinstance(node.node, nodes.Getattr):
        return _is_content(node.node.node, tainted)
    if isinstance(node, nodes.CondExpr):
        return _is_content(node.expr1, tainted) or _is_content(node.expr2, tainted)
    if isinstance(node, (nodes.Add, nodes.Concat)):
        return any(_is_content(child, tainted) for child in node.iter_child_nodes())
    return False


def _asked(values: list[object]) -> str:
    """Return the first value that users would write: a control token such as <|end|> is none."""
    found = (v for v in values if isinstance(v, str) and "<|" not in v and words(v))
    return next(found, "")


def _hangs_on(test: nodes.Node, tainted: set[str]) -> str:
    """Return what a condition asks of a message or the clock; empty where neither."""
    for compare in _within(test, nodes.Compare):
        sides = [compare.expr, *(operand.expr for operand in compare.ops)]
        if any(_clock(side) for side in sides):
            return "the date is a certain one"
        lists = [i for s in sides if isinstance(s, (nodes.List, nodes.Tuple)) for i in s.items]
        told = _asked([c.value for c in [*sides, *lists] if isinstance(c, nodes.Const)])
        if told and any(_is_content(side, tainted) for side in sides):
            return f"a message has the words {told[:60]!r}"
    for call in _within(test, nodes.Call):
        callee = call.node
        if isinstance(callee, nodes.Getattr) and callee.attr in SEARCHES:
            told = _asked([a.value for a in call.args if isinstance(a, nodes.Const)])
            if told and _is_content(callee.node, tainted):
                return f"a message has the words {told[:60]!r}"
    return ""


def _within(node: nodes.Node, kind: type[_N]) -> Iterator[_N]:
    """Yield the nodes of a kind, the first one included."""
    if isinstance(node, kind):
        yield node
    yield from node.find_all(kind)


def _clock(node: nodes.Node) -> bool:
    return any(_function(call) == "strftime_now" for call in _within(node, nodes.Call))


def _function(node: nodes.Node) -> str:
    """Return the name of the function that a node calls; empty for anything else."""
    callee = node.node if isinstance(node, nodes.Call) else None
    return str(callee.name) if isinstance(callee, nodes.Name) else ""


def _texts(choice: nodes.If | nodes.CondExpr) -> Iterator[object]:
    """Yield the constant texts that either branch puts out or assigns; errors are not put out."""
    waiting: list[nodes.Node] = []
    if isinstance(choice, nodes.CondExpr):
        waiting += [choice.expr1, *([choice.expr2] if choice.expr2 else [])]
    else:
        waiting += [*choice.body, *choice.else_]
    while waiting:
        node = waiting.pop()
        if _function(node) == "raise_exception":
            continue
        if isinstance(node, nodes.TemplateData):
            yield node.data
        elif isinstance(node, nodes.Const):
            yield node.value
        waiting.extend(node.iter_child_nodes())

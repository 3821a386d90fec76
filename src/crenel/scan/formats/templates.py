"""Jinja templates, chat templates above all: parsed, never rendered, and judged by their tree.

A loader without a sandbox lets a template reach any module through the attributes of any object
(CVE-2024-34359). Within a sandbox it can still put text into chosen conversations; `injection`
looks for that.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, TypeVar

from jinja2 import Environment, TemplateError, nodes
from jinja2.ext import Extension

from crenel.scan.context import Context
from crenel.scan.formats.injection import injections
from crenel.scan.source import Unreadable
from crenel.scan.verdict import Verdict

_N = TypeVar("_N", bound=nodes.Node)
MAX_TEMPLATE = 1 << 18
FUNCTIONS = {"namespace", "range", "dict", "raise_exception", "strftime_now", "caller", "super"}
METHODS = {
    "strip", "lstrip", "rstrip", "split", "rsplit", "splitlines", "partition", "rpartition",
    "startswith", "endswith", "upper", "lower", "title", "capitalize", "replace", "join", "find",
    "rfind", "index", "count", "format", "isdigit", "isalpha", "isalnum", "isspace", "isnumeric",
    "isupper", "islower", "removeprefix", "removesuffix", "items", "keys", "values", "get",
    "append", "extend", "insert", "pop", "update", "copy", "reverse", "sort", "union", "cycle",
    "changed", "strftime", "zfill", "ljust", "rjust", "center", "setdefault",
}  # fmt: skip
INTERNAL_NAMES = {"lipsum", "cycler", "joiner", "self", "request", "url_for", "session",
                  "get_flashed_messages", "application", "environment"}  # fmt: skip
INTERNALS = re.compile(
    r"__\w+__|func_(?:globals|code)|(?:gi|cr|ag|tb)_(?:frame|code)|f_(?:globals|locals|back|builtins)"
    r"|mro|popen|import_module|from_string|get_template"
)
NAMED_INSIDE = re.compile(
    r"__(?:class|globals|builtins|init|import|mro|bases?|subclasses|dict|self|code|reduce|reduce_ex|"
    r"module|loader|spec|func|getattr|getattribute|call|getitem)__"
)
NAMING_FILTERS = {"map", "selectattr", "rejectattr", "groupby", "sort", "sum", "unique", "min",
                  "max", "attr"}  # fmt: skip
BUILDING_FILTERS = {"join", "replace", "reverse", "lower", "format", "trim"}
BUILDING_METHODS = {"replace", "format", "join", "lower", "casefold", "translate", "strip"}
RUNS = re.compile(r"popen|system|eval|exec|__import__|import_module|subprocess|__builtins__|^open$")


class _Generation(Extension):
    """``{% generation %}``, with which training marks the model's own words."""

    tags = {"generation"}

    def parse(self, parser: Any) -> list[nodes.Node]:
        next(parser.stream)
        found: list[nodes.Node] = parser.parse_statements(("name:endgeneration",), drop_needle=True)
        return found


EXTENSIONS: list[str | type[Extension]] = [
    "jinja2.ext.loopcontrols",
    "jinja2.ext.do",
    _Generation,
]


def judge_template(text: str, context: Context, offset: int | None, key: str = "template") -> None:
    """Judge one template.

    Parameters
    ----------
    text : str
        The template.
    context : Context
        Receives the reasons.
    offset : int or None
        Where the template begins in the file; the sentences name the line within it.
    key : str
        What the file calls it.

    Raises
    ------
    Unreadable
        Where it does not parse.
    """
    key = key[:80]
    if len(text) > MAX_TEMPLATE:
        raise Unreadable(f"The {key} is too long to read.", "over-budget", offset)
    try:
        # Parsed alone, never rendered, so that nothing is to be escaped.
        tree = Environment(extensions=EXTENSIONS).parse(text)
        _Judge(tree, context, offset, key).run()
    except TemplateError as error:
        raise Unreadable(f"The {key} is no Jinja template: {error}.", offset=offset) from None
    except RecursionError:
        raise Unreadable(f"The {key} is nested too deep to read.", offset=offset) from None


class _Judge:
    """Walks the tree of one template and reports what it finds."""

    def __init__(
        self, tree: nodes.Template, context: Context, offset: int | None, key: str
    ) -> None:
        self.context = context
        self.offset = offset
        self.key = key
        self.all = list(tree.find_all(nodes.Node))
        self.own = {macro.name for macro in self.every(nodes.Macro)}
        self.own |= {n.name for n in self.every(nodes.Name) if n.ctx in ("store", "param")}
        self.built = {
            assign.target.name
            for assign in self.every(nodes.Assign)
            if isinstance(assign.target, nodes.Name) and _is_built(assign.node)
        }

    def every(self, *kinds: type[_N]) -> list[_N]:
        """Return the nodes of some kinds, in the order of the text."""
        return [node for node in self.all if isinstance(node, kinds)]

    def run(self) -> None:
        """Judge attributes, names, calls, further templates, and text put in on conditions."""
        runs = any(RUNS.search(word) for word in self._words())
        for node, name in self._reached():
            if name is None:
                sentence = "reaches an attribute by a name that is computed"
                self._add("template-computed", sentence, Verdict.REVIEW, node)
            elif INTERNALS.fullmatch(name):
                sentence = "reaches into Python's internals, and from there runs code"
                verdict = Verdict.MALICIOUS if runs else Verdict.DANGEROUS
                self._add("template-internals", sentence, verdict, node, shown(node))
        for call in self.every(nodes.Call):
            self._call(call)
        for other in self.every(nodes.Include, nodes.Import, nodes.FromImport, nodes.Extends):
            sentence = "reads a further template, which was not scanned"
            self._add("template-include", sentence, Verdict.REVIEW, other)
        for node, why in injections(self.all):
            self._add("template-injection", why, Verdict.REVIEW, node)

    def _add(
        self, code: str, what: str, verdict: Verdict, node: nodes.Node, call: str | None = None
    ) -> None:
        sentence = f"The {self.key} {what} (its line {node.lineno})."
        self.context.add(code, sentence, verdict, self.offset, call)

    def _words(self) -> Iterator[str]:
        for const in self.every(nodes.Const):
            if isinstance(const.value, str):
                yield const.value
        for attribute in self.every(nodes.Getattr):
            yield attribute.attr

    def _reached(self) -> Iterator[tuple[nodes.Node, str | None]]:
        """Yield each attribute that is reached; None where its name is built while rendering."""
        for attribute in self.every(nodes.Getattr):
            yield attribute, attribute.attr
            root = attribute.node
            if isinstance(root, nodes.Name) and root.name in INTERNAL_NAMES - self.own:
                yield attribute, "__globals__" if root.name != "self" else None
        for item in self.every(nodes.Getitem):
            yield from _named(item, item.arg)
            if isinstance(item.arg, nodes.Name) and item.arg.name in self.built:
                yield item, None
        for chosen in self.every(nodes.Filter):
            if chosen.name in NAMING_FILTERS:
                given = [*chosen.args, *(pair.value for pair in chosen.kwargs)]
                for value in given:
                    yield from _named(chosen, value)
                if chosen.name == "attr" and not (given and isinstance(given[0], nodes.Const)):
                    yield chosen, None
        for built in self.every(nodes.Concat, nodes.Add, nodes.Filter, nodes.Const):
            text = folded(built)
            if text is not None and NAMED_INSIDE.search(text):
                yield built, "__class__"

    def _call(self, call: nodes.Call) -> None:
        callee = call.node
        if isinstance(callee, nodes.Name):
            known = callee.name in FUNCTIONS or callee.name in self.own
        else:
            known = isinstance(callee, nodes.Getattr) and callee.attr in METHODS
        if not known:
            sentence = f"calls {shown(callee)}, which is none of what chat templates call"
            self._add("template-call", sentence, Verdict.REVIEW, call, shown(callee))


def _named(node: nodes.Node, value: nodes.Node) -> Iterator[tuple[nodes.Node, str | None]]:
    text = folded(value)
    if text is not None:
        yield node, text
    elif _is_built(value):
        yield node, None


def _is_built(value: nodes.Node) -> bool:
    """Tell whether an expression puts a text together that cannot be told without rendering."""
    if isinstance(value, nodes.Call):
        callee = value.node
        return isinstance(callee, nodes.Getattr) and callee.attr in BUILDING_METHODS
    glued = isinstance(value, (nodes.Concat, nodes.Mod)) and folded(value) is None
    return glued or (isinstance(value, nodes.Filter) and value.name in BUILDING_FILTERS)


def folded(node: nodes.Node | None) -> str | None:
    """Return the string that an expression of constants is, or None where it is another thing."""
    if isinstance(node, nodes.Const):
        return node.value if isinstance(node.value, str) else None
    if isinstance(node, nodes.Add):
        return _glued([node.left, node.right])
    if isinstance(node, nodes.Concat):
        return _glued(node.nodes)
    if isinstance(node, nodes.Filter) and node.name in ("join", "lower", "reverse", "trim"):
        inner = node.node
        text = _glued(inner.items) if isinstance(inner, nodes.List) else folded(inner)
        return text[::-1] if text is not None and node.name == "reverse" else text
    return None


def _glued(parts: list[nodes.Expr]) -> str | None:
    texts = [folded(part) for part in parts]
    return None if None in texts else "".join(text for text in texts if text is not None)


def shown(node: nodes.Node) -> str:
    """Return an expression as it was written, shortened."""
    if isinstance(node, nodes.Name):
        return str(node.name)
    if isinstance(node, nodes.Getattr):
        return f"{shown(node.node)}.{node.attr}"[-120:]
    if isinstance(node, nodes.Getitem):
        return f"{shown(node.node)}[{folded(node.arg) or '…'!r}]"[-120:]
    if isinstance(node, nodes.Call):
        return f"{shown(node.node)}()"[-120:]
    if isinstance(node, nodes.Filter):
        return f"{shown(node.node) if node.node else ''}|{node.name}"[-120:]
    return repr(node.value)[:80] if isinstance(node, nodes.Const) else "…"

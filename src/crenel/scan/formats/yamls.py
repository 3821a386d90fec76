"""YAML: tags that make a loader build Python objects, and keys that make it call something.

The text is searched, never built, with PyYAML's rules for tags: handles may be renamed by
``%TAG``, written out in ``!<…>``, and escaped by ``%xx``. A tag inside quotes or a comment is
reported as one, for review: whether it is one depends on the rest of the text.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from urllib.parse import unquote

from crenel.scan.context import Context
from crenel.scan.formats.places import Places
from crenel.scan.formats.targets import NAME, judge_target
from crenel.scan.source import Unreadable, Window
from crenel.scan.verdict import Verdict

MAX_TEXT = 64 << 20
MARKS = (b"python", b"\\x", b"\\u", b"\\U", b"!ruby/", b"!!javax", b"class_path", b"loader_module",
         b"%TAG", b"!new:", b"!apply:", b"!name:", b"!module:", b"!include", b"_target_",
         b"trust_remote_code", b"!<")  # fmt: skip
CORE = "tag:yaml.org,2002:"
PYTHON = CORE + "python/"
DIRECTIVE = re.compile(r"^%TAG[ \t]+(![\w-]*!?)[ \t]+(\S+)", re.MULTILINE)
TAG = re.compile(
    r"(?:^|(?<=[\s,\[{:?-]))!(?:<([^>\n]{1,400})>|([\w-]*!)?([^\s,\[\]{}!]{1,400}))", re.M
)
HARMLESS = {"none", "bool", "bytes", "str", "unicode", "int", "long", "float", "complex", "list",
            "tuple", "dict"}  # fmt: skip
KEYED = re.compile(
    r"(_target_(?<!\w_target_)|class_path(?<!\wclass_path)|trust_remote_code)[\"']?\s*:\s*"
    r"(?:[\"']([^\"'\n]*)[\"']|([^\s,#}\]]*))"
)
NAMED = re.compile(r"_target_(?<!\w_target_)(?!\w)")
ESCAPED = re.compile(r"\\x([0-9A-Fa-f]{2})|\\u([0-9A-Fa-f]{4})|\\U(0[0-9A-Fa-f]{7})|\\\r?\n[ \t]*")
#: Tags of other languages' loaders, which make any object: SnakeYAML's Java, Ruby's.
FOREIGN = re.compile(r"!ruby/\w+|" + re.escape(CORE) + r"(?:[a-z]\w*\.)+[A-Za-z]\w*$")
COMMENT = re.compile(r"(?:^|\s)#")
ANCHOR = re.compile(r"&(\w+)")
ALIAS = re.compile(r"\*\w+")
MAX_LINE = 2000
MAX_BRANCHES = 10**6


def mentions(window: Window) -> bool:
    """Tell whether text may hold anything that is judged here."""
    return any(window.find(mark) >= 0 for mark in MARKS)


def scan_yaml(window: Window, context: Context) -> str:
    """Judge the tags and keys of a YAML text."""
    if len(window) > MAX_TEXT:
        raise Unreadable("The YAML text is too long to read.", "over-budget")
    judge_yaml(window.read(0, len(window)).decode("utf-8-sig", "replace"), context)
    return "yaml"


def judge_yaml(text: str, context: Context) -> None:
    """Judge a YAML text that begins at the first byte."""

    handles = {"!!": CORE, "!": "!"}
    for match in DIRECTIVE.finditer(text):
        handles[match[1]] = unquote(match[2])
    place = Places(text)
    seen: set[tuple[str, bool]] = set()
    for tag, at in _tags(text, handles):
        told = (tag, _is_quoted(text, at)) if _is_told(tag) else None
        if told is not None and told not in seen:
            seen.add(told)
            _tag(tag, place(at), told[1], context)
    _keys(unescaped(text), context)
    _aliases(text, context)


def _keys(text: str, context: Context) -> None:
    """Judge the values of the keys by which a loader calls something, each value once."""
    place, starts = Places(text), set()
    seen: set[tuple[str, str]] = set()
    for match in KEYED.finditer(text):
        starts.add(match.start(1))
        value = match[2] if match[2] is not None else match[3]
        if (match[1], value) in seen:
            continue
        seen.add((match[1], value))
        if match[1] == "class_path":  # Lightning's command line
            if "." in value and NAME.fullmatch(value):
                judge_target(value, "class_path", context, place(match.start(1)))
        elif match[1] == "_target_":
            judge_target(value, "_target_", context, place(match.start(1)))
        elif value.lower() in ("true", "yes", "on", "1", "y"):
            sentence = "The configuration switches trust_remote_code on: loaders then run code that"
            sentence += " comes with the model, unasked. Set it to false."
            context.add("trust-remote-code", sentence, Verdict.REVIEW, place(match.start(1)))
    for match in NAMED.finditer(text):
        if match.start() not in starts and not _is_quoted(text, match.start()):
            sentence = "The text names _target_ in a way that is not followed, as by an alias."
            context.add("computed-target", sentence, Verdict.REVIEW, Places(text)(match.start()))
            return


def unescaped(text: str) -> str:
    """Undo the escapes of double-quoted scalars, by which a key may hide."""
    return ESCAPED.sub(_character, text)


def _character(match: re.Match[str]) -> str:
    """Return what an escape stands for: nothing where it joins two lines."""
    code = int(match[1] or match[2] or match[3] or "0", 16)
    return chr(code) if 0 < code < 0x110000 else ""


def _tags(text: str, handles: dict[str, str]) -> Iterator[tuple[str, int]]:
    """Yield each tag in full, and its place."""
    for match in TAG.finditer(text):
        verbatim, handle, suffix = match[1], match[2], match[3]
        if verbatim is not None:
            tag = unquote(verbatim)
        elif handle is None:
            tag = handles["!"] + unquote(suffix)
        else:
            tag = handles.get("!" + handle, "!" + handle) + unquote(suffix)
        yield tag, match.start()


def _is_quoted(text: str, at: int) -> bool:
    """Tell whether a place of a line stands in quotes or a comment."""
    back = max(at - MAX_LINE, 0)
    line = text[max(text.rfind("\n", back, at) + 1, back) : at]
    return line.count('"') % 2 == 1 or line.count("'") % 2 == 1 or bool(COMMENT.search(line))


def _is_told(tag: str) -> bool:
    if tag.startswith(PYTHON):
        return tag[len(PYTHON) :].partition(":")[0] not in HARMLESS
    return (tag.startswith("!") and ":" in tag) or bool(FOREIGN.match(tag))


def _tag(tag: str, at: int, quoted: bool, context: Context) -> None:
    if not tag.startswith(PYTHON):
        if FOREIGN.match(tag):
            sentence = (
                f"A loader of another language makes {tag.removeprefix(CORE)[:120]}, an object"
            )
            sentence += " of any class, while it reads the text."
            verdict = Verdict.REVIEW if quoted else Verdict.DANGEROUS
            context.add("foreign-tag", sentence, verdict, at, tag[:200])
            return
        kind, colon, name = tag.removeprefix("!").partition(":")
        if tag.startswith("!") and colon and kind in ("new", "apply", "name", "module"):
            judge_target(name, f"The tag !{kind}", context, at)
        elif tag.startswith("!include:") and re.search(r"^[/\\~]|\.\.|://", name):
            sentence = f"The text includes {name[:120]}, which lies outside its folder."
            context.add("path-traversal", sentence, Verdict.DANGEROUS, at, name[:200])
        return
    kind, _, name = tag[len(PYTHON) :].partition(":")
    if quoted:
        sentence = "The text names a Python object in YAML's way, in quotes or a comment."
        context.add("python-tag", sentence, Verdict.REVIEW, at, tag[:200])
        return
    module, _, last = name.rpartition(".")
    hostile = context.policy.hostile(module or "builtins", last)
    does = "imports" if kind in ("name", "module") else "calls"
    sentence = (
        f"An unsafe YAML loader {does} {name[:120] or 'a Python object'} while it reads the text"
    )
    why = f", which {hostile.what}." if hostile else "; load it with yaml.safe_load."
    calls = hostile is not None and does == "calls"
    verdict = Verdict.MALICIOUS if calls else Verdict.DANGEROUS
    context.add("python-tag", sentence + why, verdict, at, tag[:200])


def _aliases(text: str, context: Context) -> None:
    """Report aliases of aliases that expand without end, as entity bombs do."""
    branches = 1
    for line in text.split("\n"):
        if "&" in line and "*" in line and ANCHOR.search(line):
            branches *= max(len(ALIAS.findall(line)), 1)
        if branches > MAX_BRANCHES:
            sentence = "The text's aliases expand to millions of copies, which fills the memory."
            context.add("expansion", sentence, Verdict.DANGEROUS, None)
            return

"""Models in protobuf's text form: TensorFlow's ``.pbtxt`` and ONNX's ``.textproto``.

The text is searched, not parsed: each operator, domain and place of data that it names is judged
as in the binary form.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from crenel.scan.context import Context
from crenel.scan.formats.onnx import judge_domain, judge_place
from crenel.scan.formats.tensorflow import judge_asset, judge_operator
from crenel.scan.source import Unreadable, Window
from crenel.scan.verdict import Verdict

MAX_TEXT = 64 << 20
NAMES = re.compile(r"\.(?:pbtxt|textproto|prototxt|txtpb|pb\.txt)$", re.IGNORECASE)
MODEL = re.compile(
    rb"(?:meta_graphs|graph_def|op_type|opset_import|external_data)\s*[:{<]|"
    rb"node\s*:?\s*[{<][^{}<>]{0,2000}\bop\s*:"
)
STRING = r"((?:\s*(?:\"(?:[^\"\\\n]|\\.)*\"|'(?:[^'\\\n]|\\.)*'))+)"
FIELD = re.compile(rf"(?<!\w)(op|domain|filename)\s*:{STRING}")
COMMENT = re.compile(r"#[^\n\"']*$", re.MULTILINE)
QUOTED = re.compile(r"\"((?:[^\"\\\n]|\\.)*)\"|'((?:[^'\\\n]|\\.)*)'")
DATA = re.compile(r"external_data\s*:?\s*[{<]([^{}<>]*)[}>]")
PAIR = re.compile(rf"(?<!\w)(key|value)\s*:{STRING}")
ESCAPE = re.compile(r"\\(?:x([0-9A-Fa-f]{1,2})|u([0-9A-Fa-f]{4})|([0-7]{1,3})|(.))", re.S)
OWN = re.compile(rf"signature\s*:?\s*[{{<]\s*name\s*:{STRING}")


def is_model(window: Window) -> bool:
    """Tell whether text has the fields of a graph."""
    return window.search(MODEL, 0, 4096) >= 0


def scan_model(window: Window, context: Context) -> str:
    """Judge the operators, domains, assets and outside data that a text names."""
    if len(window) > MAX_TEXT:
        raise Unreadable("The model in text form is too long to read.", "over-budget")
    text = COMMENT.sub("", window.read(0, len(window)).decode("utf-8", "replace"))
    own = {_value(match[1]) for match in OWN.finditer(text)}
    onnx = "op_type" in text or "opset_import" in text
    for key, value in dict.fromkeys((m[1], _value(m[2])) for m in FIELD.finditer(text)):
        if key == "op" and value not in own:
            judge_operator(value, 0, context)
        elif key == "domain" and onnx:
            judge_domain(value, 0, context)
        elif key == "filename":
            judge_asset(value, 0, context)
    for key, value in dict.fromkeys(_entries(text)):
        judge_place(key, value, 0, context)
    if not FIELD.search(text) and "op_type" not in text:
        sentence = "The text has the fields of a graph, but none of its operators was found."
        context.add("unread-graph", sentence, Verdict.UNREADABLE)
    return "onnx-text" if onnx else "tensorflow-text"


def _entries(text: str) -> Iterator[tuple[str, str]]:
    """Yield each key and value of what lies outside the file."""
    for match in DATA.finditer(text):
        found = {m[1]: _value(m[2]) for m in PAIR.finditer(match[1])}
        yield found.get("key", ""), found.get("value", "")


def _value(quoted: str) -> str:
    """Return a string of the text form: parts are joined, escapes undone."""
    return "".join(ESCAPE.sub(_unescape, a or b) for a, b in QUOTED.findall(quoted))


def _unescape(match: re.Match[str]) -> str:
    code = match[1] or match[2]
    if code or match[3]:
        return chr(int(code, 16) if code else int(match[3], 8))
    return {"n": "\n", "t": "\t", "r": "\r"}.get(match[4], match[4])

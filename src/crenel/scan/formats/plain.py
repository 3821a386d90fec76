"""Plain data and what passes for it: text, JSON, Parquet, images, scripts and programs."""

from __future__ import annotations

import codecs
import json
import re

from crenel.scan.context import Context, Reader
from crenel.scan.formats import yamls
from crenel.scan.formats.configs import judge_json
from crenel.scan.formats.keras import judge_config
from crenel.scan.source import Unreadable, Window
from crenel.scan.verdict import Verdict

MAX_JSON = 512 << 20
MODEL_NAMES = re.compile(
    r"\.(pkl|pickle|joblib|pt|pth|bin|ckpt|h5|hdf5|keras|onnx|npy|npz|safetensors|model|json|ubj|"
    r"skops|tar|zip|gz|dat|weights|params|msgpack|pb|tflite|gguf|cbm|txt)$", re.IGNORECASE
)  # fmt: skip
CODE_NAMES = re.compile(r"\.(py|pyw|pth\.py|sh|bash|bat|cmd|ps1|js|vbs|pl|rb|php|r|lua)$", re.I)
TEMPLATE_NAMES = re.compile(r"\.(jinja2?|j2)$", re.IGNORECASE)
YAML_NAMES = re.compile(r"\.ya?ml$|(?:^|/)MLmodel$", re.IGNORECASE)
# What only YAML makes anything of; elsewhere, in source code or prose, it is no more than text.
YAML_TEXT = re.compile(
    rb"\A(?:\xef\xbb\xbf)?(?:[#%].*\n|[ \t\r]*\n)*(?:---|[\w\"'.-]+[ \t]*:(?:\s|$)|- |[{!&])"
)
SHARD = re.compile(r"(?:.*/)?([\w.-]+)\.data-\d{5}-of-\d{5}")
CHAT = re.compile(rb"\{%[^%]{0,200}\bmessages\b|\badd_generation_prompt\b")
REACHES = re.compile(rb"\{[{%][^{}]{0,400}__\w{2,20}__")
MAX_SCRIPT = 2 << 20
CONTROL = bytes(set(range(32)) - {9, 10, 12, 13, 27})


def scan_script(window: Window, context: Context) -> str:
    """A file that names its interpreter: dangerous where it passes for a model."""
    posing = bool(MODEL_NAMES.search(context.name))
    sentence = (
        "The file is a script under the name of a model."
        if posing
        else "The file is a script; its code has to be judged."
    )
    verdict = Verdict.DANGEROUS if posing else Verdict.REVIEW
    context.add("script", sentence, verdict, 0, window.read(0, 80).decode("utf-8", "replace"))
    return "script"


def scan_program(window: Window, context: Context) -> str:
    """Report a program or a shared library."""
    context.add("program", "The file is a program, not a model.", Verdict.DANGEROUS, 0)
    return "program"


def scan_json(window: Window, context: Context) -> str:
    """JSON: XGBoost's models, Keras's configurations, Hugging Face's, and plain data."""
    if len(window) > MAX_JSON:
        raise Unreadable("The JSON file is too long to read.", "over-budget")
    try:
        data = json.loads(window.read(0, len(window)))
    except (ValueError, RecursionError) as error:
        if yamls.mentions(window):
            yamls.scan_yaml(window, context)  # whose flow style begins as JSON does
        raise Unreadable(f"The file looks like JSON but does not parse: {error}.") from None
    if isinstance(data, dict) and "learner" in data and "version" in data:
        return "xgboost-json"
    judge_json(data, context)
    if isinstance(data, dict) and "class_name" in data and "config" in data:
        judge_config(data, context)
        return "keras-config"
    return "json"


def is_text(window: Window) -> bool:
    """Tell whether all bytes are text: UTF-8, or 8-bit text with few bytes above ASCII."""
    decoder = codecs.getincrementaldecoder("utf-8")()
    utf8, high = True, 0
    for chunk in window.chunks():
        if chunk.translate(None, CONTROL) != chunk:
            return False
        if utf8:
            try:
                decoder.decode(chunk)
            except UnicodeDecodeError:
                utf8 = False
        if not utf8:
            high += len(chunk) - len(chunk.decode("ascii", "ignore"))
    return utf8 or high * 20 < len(window)


def scan_text(window: Window, context: Context) -> str:
    """Text holds nothing that a loader of models would run; source code is for review."""
    if TEMPLATE_NAMES.search(context.name) or _is_template(window):
        return _scan_template(window, context)
    named = bool(YAML_NAMES.search(context.name))
    if named or (yamls.mentions(window) and _tagged(window)):
        return yamls.scan_yaml(window, context)
    if CODE_NAMES.search(context.name):
        sentence = "The file is source code; it runs if something imports or starts it."
        context.add("source-code", sentence, Verdict.REVIEW, 0)
        return "source-code"
    return "text"


def _tagged(window: Window) -> bool:
    """Tell whether text begins as YAML does."""
    return bool(YAML_TEXT.match(window.read(0, 4096)))


def _is_template(window: Window) -> bool:
    """Tell whether text has Jinja blocks over the names of a chat, or reaches for internals."""
    if window.find(b"{%") < 0 and window.find(b"{{") < 0:
        return False
    text = window.read(0, MAX_SCRIPT)
    return bool(CHAT.search(text) or REACHES.search(text))


def _scan_template(window: Window, context: Context) -> str:
    """Judge a template; text that only quotes one, as a model's card may, need not parse."""
    from crenel.scan.formats.templates import judge_template

    text = window.read(0, MAX_SCRIPT)
    try:
        judge_template(text.decode("utf-8", "replace"), context, 0)
    except Unreadable:
        if TEMPLATE_NAMES.search(context.name) or REACHES.search(text):
            raise
        return "text"
    return "jinja"


def scan_columns(window: Window, context: Context) -> str:
    """Parquet and Arrow files: data, unless an extension type carries a pickle."""
    mark = b"arrow.py_extension_type"
    if window.find(mark) >= 0:
        sentence = "A column type is a pickled Python object, which old readers unpickle."
        context.add("pickled-type", sentence, Verdict.DANGEROUS, window.find(mark))
    if window.startswith(b"PAR1"):
        if window.read(len(window) - 4, 4) not in (b"PAR1", b"PARE"):
            raise Unreadable("The Parquet file is cut short.", offset=len(window))
        return "parquet"
    return "arrow"


def scan_idx(window: Window, context: Context) -> str:
    """IDX arrays, as MNIST has them: a shape and as many bytes."""
    axes = window.read(3, 1)[0]
    count = 1
    for axis in range(axes):
        count *= int.from_bytes(window.read(4 + 4 * axis, 4), "big")
    if 4 + 4 * axes + count != len(window):
        raise Unreadable("The IDX array's length does not fit its shape.", offset=0)
    return "idx"


def named(kind: str) -> Reader:
    """Return a reader for bytes that hold no code by their very format, such as images."""

    def read(window: Window, context: Context) -> str:
        return kind

    return read


PACKED = {"lz4", "zstd", "7z", "rar"}


def unread(kind: str) -> Reader:
    """Return a reader for a known format that has no reader here: never clean."""

    def read(window: Window, context: Context) -> str:
        advice = "unpack it and scan what was inside" if kind in PACKED else "convert it first"
        sentence = f"Files of the format {kind} are not read, so nothing is claimed: {advice}."
        context.add("no-reader", sentence, Verdict.UNREADABLE, 0)
        return kind

    return read


def scan_unknown(window: Window, context: Context) -> str:
    """Report bytes of no known format; a checkpoint's shard is raw arrays, which nobody runs."""
    shard = SHARD.fullmatch(context.name)
    if shard is not None and context.beside(f"{shard[1]}.index"):
        return "tensorflow-data"
    sentence = "The format was not recognised, so nothing is claimed about the file."
    context.add("unknown-format", sentence, Verdict.UNREADABLE, 0)
    return "unknown"


def scan_empty(window: Window, context: Context) -> str:
    """Report a file without a byte."""
    context.add("empty", "The file is empty.", Verdict.UNREADABLE, 0)
    return "empty"

"""Text: JSON, YAML, XML, templates, requirements, source code, and plain prose."""

from __future__ import annotations

import codecs
import json
import re

from crenel.scan.context import Context
from crenel.scan.credentials import judge_credentials
from crenel.scan.formats import mlflow, requirements, skops, sources, textproto, xml, yamls
from crenel.scan.formats.configs import judge_json
from crenel.scan.formats.keras import judge_config
from crenel.scan.source import Unreadable, Window

MAX_JSON = 512 << 20
NOTEBOOK = {"cells", "nbformat"}
TEMPLATE_NAMES = re.compile(r"\.(jinja2?|j2)$", re.IGNORECASE)
YAML_NAMES = re.compile(r"\.ya?ml$|(?:^|/)MLmodel$", re.IGNORECASE)
# What only YAML makes anything of; elsewhere, in source code or prose, it is no more than text.
YAML_TEXT = re.compile(
    rb"\A(?:\xef\xbb\xbf)?(?:[#%].*\n|[ \t\r]*\n)*(?:---|[\w\"'.-]+[ \t]*:(?:\s|$)|- |[{!&])"
)
CHAT = re.compile(rb"\{%[^%]{0,200}\bmessages\b|\badd_generation_prompt\b")
REACHES = re.compile(rb"\{[{%][^{}]{0,400}__\w{2,20}__")
MAX_SCRIPT = 2 << 20
CONTROL = bytes(set(range(32)) - {9, 10, 12, 13, 27})


def scan_json(window: Window, context: Context) -> str:
    """JSON: XGBoost's models, Keras's configurations, Hugging Face's, and plain data."""
    judge_credentials(window, context)
    if len(window) > MAX_JSON:
        raise Unreadable("The JSON file is too long to read.", "over-budget")
    text = window.read(0, len(window))
    try:
        data = json.loads(text)
    except (ValueError, RecursionError) as error:
        lines = _json_lines(text)
        for line in lines:
            judge_json(line, context)
        if lines:
            return "json-lines"
        if yamls.mentions(window):
            yamls.scan_yaml(window, context)  # whose flow style begins as JSON does
        raise Unreadable(f"The file looks like JSON but does not parse: {error}.") from None
    if isinstance(data, dict) and {"learner", "version"} == set(data):
        return "xgboost-json"
    judge_json(data, context)
    if isinstance(data, dict) and set(data) >= {"learner", "version"}:
        return "xgboost-json"
    if isinstance(data, dict) and set(data) >= skops.NODE:
        return skops.judge_schema(data, context)
    if isinstance(data, dict) and (set(data) >= NOTEBOOK or sources.is_source(context.name)):
        return sources.scan_source(window, context)
    if isinstance(data, dict) and "class_name" in data and "config" in data:
        judge_config(data, context)
        return "keras-config"
    return "json"


def _json_lines(text: bytes) -> list[object]:
    """Return the values of a text with one JSON object or list on each line, else nothing."""
    lines = [line for line in text.split(b"\n") if line.strip()]
    try:
        values = [json.loads(line) for line in lines]
    except (ValueError, RecursionError):
        return []
    return values if all(isinstance(value, (dict, list)) for value in values) else []


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
    """Text that a loader would render, build from, install or run is judged as what it is."""
    judge_credentials(window, context)
    if sources.is_source(context.name):
        return sources.scan_source(window, context)
    found = "text"
    if TEMPLATE_NAMES.search(context.name) or _is_template(window):
        found = _scan_template(window, context)
    if found == "jinja" and not YAML_NAMES.search(context.name):
        return found
    if YAML_NAMES.search(context.name) or (yamls.mentions(window) and _tagged(window)):
        found = yamls.scan_yaml(window, context)
        requirements.judge_requirements(window, context)
        return "mlflow" if mlflow.judge_model(window, context) else found
    if textproto.is_model(window):
        return textproto.scan_model(window, context)
    if xml.is_xml(window):
        return xml.scan_xml(window, context)
    if requirements.is_requirements(context.name):
        requirements.judge_requirements(window, context)
        return "requirements"
    return sources.scan_prose(window, context)


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

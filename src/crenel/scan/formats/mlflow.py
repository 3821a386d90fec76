"""MLflow's model folders: the module that loads the model, and its code."""

from __future__ import annotations

import re

from crenel.scan.context import Context
from crenel.scan.formats.places import Places
from crenel.scan.formats.yamls import unescaped
from crenel.scan.source import Window
from crenel.scan.verdict import Verdict

VALUE = r"\s*:\s*[\"']?([^\s\"'#,}]+)"
LOADER = re.compile(r"loader_module[\"']?" + VALUE)
CODE = re.compile(r"(?:^|[\s{,])[\"']?(code|model_code_path)[\"']?" + VALUE)
FLAVOURS = re.compile(r"(?:^|[{,?]\s*)[\"']?flavors[\"']?\s*:", re.MULTILINE)


def judge_model(window: Window, context: Context) -> bool:
    """Judge a YAML text if it is an ``MLmodel``; tell whether it is.

    MLflow imports ``loader_module`` and calls its ``_load_pyfunc``; it puts ``code`` in front of
    the path for modules, where a file of any name takes the place of an installed one; and it
    runs ``model_code_path``.
    """
    raw = window.read(0, len(window)).decode("utf-8", "replace")
    text = unescaped(raw)
    named, place = text.count("loader_module"), Places(text)
    if not named and not ("flavors" in text and FLAVOURS.search(text)):
        return False
    for match in LOADER.finditer(text):
        named -= 1
        _loader(match[1], context, place(match.start()))
    if named > 0:
        sentence = "The text names loader_module in a way that is not followed, as by an alias."
        context.add("loader-module", sentence, Verdict.REVIEW)
    place = Places(text)
    for match in CODE.finditer(text):
        if match[2] not in ("null", "~"):
            _code(match[1], match[2], context, place(match.start()))
    return True


def judge_flavour(flavour: dict[str, object], context: Context) -> None:
    """Judge one flavour of an ``MLmodel`` that is written as JSON."""
    if flavour.get("loader_module") is not None:
        _loader(str(flavour["loader_module"]), context, None)
    for key in ("code", "model_code_path"):
        if flavour.get(key):
            _code(key, str(flavour[key]), context, None)


def _loader(module: str, context: Context, offset: int | None) -> None:
    if not module.startswith("mlflow."):
        sentence = f"MLflow imports the module {module[:100]} to load this model; read its code."
        context.add("loader-module", sentence, Verdict.DANGEROUS, offset, module[:200])


def _code(key: str, value: str, context: Context, offset: int | None) -> None:
    if key == "model_code_path":
        sentence = f"MLflow runs {value[:100]} to load this model; read it."
        context.add("model-code", sentence, Verdict.DANGEROUS, offset, value[:200])
        return
    sentence = f"MLflow puts the folder {value[:100]} in front of the path for modules, so"
    sentence += " that a file in it takes the place of an installed module; read its files."
    context.add("model-code", sentence, Verdict.REVIEW, offset, value[:200])

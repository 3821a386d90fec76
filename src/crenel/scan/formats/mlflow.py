"""MLflow's model folders: the module that loads the model, its code, and what it installs."""

from __future__ import annotations

import re

from crenel.scan.context import Context
from crenel.scan.source import Window
from crenel.scan.verdict import Verdict

MAX_TEXT = 4 << 20
VALUE = r"[ \t]*:[ \t]*[\"']?([^\s\"'#,}]+)"
LOADER = re.compile(r"[\"']?loader_module[\"']?" + VALUE)
CODE = re.compile(r"(?:^|[\s{,])[\"']?(code|model_code_path)[\"']?" + VALUE)
REQUIREMENTS = re.compile(
    r"(?:^|/)(?:[\w.-]*requirements[\w.-]*\.(?:txt|in)|constraints\.txt)$", re.I
)
ELSEWHERE = re.compile(
    r"^[ \t\"'-]{0,40}((?:[\w.\[\]-]{1,100}[ \t]{0,9}@[ \t]{0,9})?(?:git|hg|svn|bzr)\+\S+|"
    r"(?:[\w.\[\]-]{1,100}[ \t]{0,9}@[ \t]{0,9})?(?:https?|ftp|file)://\S+|"
    r"(?:--(?:extra-)?index-url|--find-links|--trusted-host|-[if])[ =]\S+)",
    re.MULTILINE,
)
INSTALLS = re.compile(r"^[ \t-]*(?:dependencies|pip|build_dependencies)[ \t]*:", re.MULTILINE)


def _text(window: Window) -> str:
    return window.read(0, MAX_TEXT).decode("utf-8", "replace")


def judge_model(window: Window, context: Context) -> bool:
    """Judge a YAML text if it is an ``MLmodel``; tell whether it is.

    MLflow imports ``loader_module`` and calls its ``_load_pyfunc``; it puts ``code`` in front of
    the path for modules, where a file of any name takes the place of an installed one; and it
    runs ``model_code_path``.
    """
    text = _text(window)
    if not re.search(r"^[\"']?flavors[\"']?[ \t]*:", text, re.MULTILINE):
        return False
    for match in LOADER.finditer(text):
        module = match[1]
        if not module.startswith("mlflow."):
            sentence = (
                f"MLflow imports the module {module[:100]} to load this model; read its code."
            )
            context.add(
                "loader-module", sentence, Verdict.DANGEROUS, _at(text, match), module[:200]
            )
    for match in CODE.finditer(text):
        if match[2] in ("null", "~"):
            continue
        if match[1] == "model_code_path":
            sentence = f"MLflow runs {match[2][:100]} to load this model; read it."
            verdict = Verdict.DANGEROUS
        else:
            sentence = (
                f"MLflow puts the folder {match[2][:100]} in front of the path for modules, so"
            )
            sentence += " that a file in it takes the place of an installed module; read its files."
            verdict = Verdict.REVIEW
        context.add("model-code", sentence, verdict, _at(text, match), match[2][:200])
    return True


def _at(text: str, match: re.Match[str]) -> int:
    return len(text[: match.start()].encode("utf-8"))


def is_requirements(name: str) -> bool:
    """Tell whether a file of that name lists packages for pip."""
    return bool(REQUIREMENTS.search(name))


def judge_requirements(window: Window, context: Context) -> None:
    """Report packages that come from elsewhere than the registry, in pip's and conda's lists."""
    text = _text(window)
    if not is_requirements(context.name) and not INSTALLS.search(text):
        return
    for match in ELSEWHERE.finditer(text):
        sentence = f"Installing what the model needs fetches {match[1][:100]} from outside the"
        sentence += " package registry; pin it by a digest, or leave it out."
        context.add("foreign-package", sentence, Verdict.REVIEW, _at(text, match), match[1][:200])

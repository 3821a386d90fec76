"""Source code beside weights: what runs by itself, and what passes for something else."""

from __future__ import annotations

import ast
import re
import sys
import warnings

from crenel.scan.context import Context
from crenel.scan.source import Window
from crenel.scan.verdict import Verdict

SOURCE_NAMES = re.compile(
    r"\.(py|pyw|sh|bash|zsh|fish|bat|cmd|ps1|js|mjs|vbs|pl|rb|php|r|lua|ipynb|go|rs|c|cc|cpp|cu|java|"
    r"scala|jl|swift|ts|command|psm1|psd1|hta|wsf|jse|vbe|reg|ksh|csh|tcl|groovy|kts?|desktop)$",
    re.IGNORECASE,
)  # fmt: skip
# Files that a tool runs because of their name, and which.
AUTOMATIC = {
    "sitecustomize.py": "Python runs it whenever it starts",
    "usercustomize.py": "Python runs it whenever it starts",
    "conftest.py": "pytest runs it",
    "hubconf.py": "torch.hub runs it while it loads the model",
    "handler.py": "inference servers run it while they load the model",
    "custom_generate.py": "transformers runs it where trust_remote_code is on",
}
# The same, of files that are no source code by their suffix; names in small letters.
UNASKED = {
    ".envrc": "direnv runs it in its folder", ".rprofile": "R runs it when started in its folder",
    ".pdbrc": "pdb runs it when started in its folder", "rakefile": "rake runs it",
    ".gdbinit": "gdb runs it when started in its folder", "makefile": "make runs it",
    ".lldbinit": "lldb runs it when started in its folder", "gnumakefile": "make runs it",
    ".bashrc": "a shell runs it", ".bash_profile": "a shell runs it", ".zshrc": "a shell runs it",
    ".profile": "a shell runs it", ".zshenv": "a shell runs it", "justfile": "just runs it",
    "dockerfile": "docker runs its commands", "jenkinsfile": "a build server runs it",
    ".renviron": "R reads it when started in its folder", ".vimrc": "vim may run it",
    ".exrc": "vim may run it", ".pythonrc": "Python may run it",
}  # fmt: skip
#: Settings by which git runs a command in the folder of a repository.
GIT = re.compile(
    rb"^\s*(?:fsmonitor|sshcommand|hookspath|pager|editor|askpass|gpgprogram|program|textconv|"
    rb"smudge|clean|process|helper|proxycommand|external)\s*=(?!\s*(?:true|false|0|1)?\s*$)",
    re.I | re.M,
)
LIBRARIES = {
    "torch", "numpy", "pandas", "scipy", "sklearn", "tensorflow", "keras", "transformers", "joblib",
    "safetensors", "onnx", "onnxruntime", "xgboost", "lightgbm", "catboost", "tokenizers",
    "diffusers", "datasets", "huggingface_hub", "yaml", "requests", "PIL", "cv2", "matplotlib",
}  # fmt: skip
PYTHON = re.compile(
    rb"^(?:import [\w.]+|from [\w.]+ import |def \w+\(|class \w+|exec\(|eval\()", re.M
)
MAX_PROSE = 1 << 18


def is_source(name: str) -> bool:
    """Tell whether a file of that name is source code."""
    return bool(SOURCE_NAMES.search(name))


def scan_source(window: Window, context: Context) -> str:
    """Report source code: dangerous where a tool runs it unasked, else for review."""
    file = context.name.rpartition("/")[2]
    stem = file.rpartition(".")[0]
    why = AUTOMATIC.get(file)
    if why is not None:
        sentence = f"The file is source code, and {why}; read it."
        context.add("automatic-code", sentence, Verdict.DANGEROUS, 0)
    elif file.endswith(".py") and _shadows(stem) and not context.beside("__init__.py"):
        sentence = (
            f"The file takes the place of the module {stem} for programs started in its folder."
        )
        context.add("shadowing", sentence, Verdict.DANGEROUS, 0, stem)
    else:
        sentence = "The file is source code; it runs if something imports or starts it."
        context.add("source-code", sentence, Verdict.REVIEW, 0)
    return "source-code"


def _shadows(module: str) -> bool:
    return module in LIBRARIES or (module in sys.stdlib_module_names and module != "__main__")


def scan_prose(window: Window, context: Context) -> str:
    """Text of no known kind: Python under another name, or a path file that Python runs."""
    head = window.read(0, MAX_PROSE)
    if context.name.lower().endswith(".pth"):
        return _path_file(head, context)
    unasked = UNASKED.get(context.name.rpartition("/")[2].lower())
    if unasked is not None:
        sentence = f"The file is a list of commands, and {unasked}; read it."
        context.add("automatic-code", sentence, Verdict.DANGEROUS, 0)
        return "source-code"
    if b"[core]" in head and (found := GIT.search(head)):
        sentence = "The file is a configuration of git, by which git runs a command in its folder."
        shown = found[0].decode("utf-8", "replace").strip()
        context.add("automatic-code", sentence, Verdict.DANGEROUS, found.start(), shown)
        return "source-code"
    if len(head) == len(window) and PYTHON.search(head) and _parses(head):
        sentence = "The file is Python source code under another name."
        context.add("source-code", sentence, Verdict.REVIEW, 0)
        return "source-code"
    return "text"


def _path_file(head: bytes, context: Context) -> str:
    """``.pth`` files of text, which Python reads at its start where they lie among its packages."""
    line = re.search(rb"^import[ \t].*", head, re.MULTILINE)
    if line is None:
        sentence = "The file is a list of paths for Python, not a torch file."
        context.add("path-file", sentence, Verdict.REVIEW, 0)
    else:
        sentence = "The file is no torch file: where it lies among Python's packages, Python runs"
        sentence += " its import lines whenever it starts."
        shown = line[0][:120].decode("utf-8", "replace")
        context.add("path-file", sentence, Verdict.DANGEROUS, line.start(), shown)
    return "path-file"


def _parses(text: bytes) -> bool:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            ast.parse(text)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return False
    return True

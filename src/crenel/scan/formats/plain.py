"""Binary data without code, what passes for it, and formats that have no reader."""

from __future__ import annotations

import re
from base64 import b64encode

from crenel.scan.context import Context, Reader
from crenel.scan.credentials import judge_credentials
from crenel.scan.source import Unreadable, Window
from crenel.scan.verdict import Verdict

MODEL_NAMES = re.compile(
    r"\.(pkl|pickle|joblib|pt|pth|bin|ckpt|h5|hdf5|keras|onnx|npy|npz|safetensors|model|json|ubj|"
    r"skops|tar|zip|gz|dat|weights|params|msgpack|pb|tflite|gguf|cbm|txt)$", re.IGNORECASE
)  # fmt: skip
# As Arrow writes it, and as Parquet does: in base64, of which only whole groups are the same.
_TYPE = b"arrow.py_extension_type"
PICKLED_TYPE = (_TYPE, *(b64encode(_TYPE[skip : skip + 21]) for skip in range(3)))
SHARD = re.compile(r"(?:.*/)?([\w.-]+)\.data-\d{5}-of-\d{5}")


def scan_script(window: Window, context: Context) -> str:
    """A file that names its interpreter: dangerous where it passes for a model."""
    judge_credentials(window, context)
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


def is_compiled(window: Window) -> bool:
    """Tell whether the bytes begin as Python's compiled modules do (3.7 and later)."""
    head = window.read(0, 17)
    magic = int.from_bytes(head[:2], "little")
    flags = int.from_bytes(head[4:8], "little")
    return len(head) == 17 and head[2:4] == b"\r\n" and 3390 <= magic < 3800 and flags < 4


def scan_compiled(window: Window, context: Context) -> str:
    """Report a compiled Python module."""
    sentence = "The file is a compiled Python module, which hides its source; Python may import it."
    context.add("program", sentence, Verdict.DANGEROUS, 0)
    return "python-compiled"


def scan_columns(window: Window, context: Context) -> str:
    """Parquet and Arrow files: data, unless an extension type carries a pickle."""
    found = [at for mark in PICKLED_TYPE if (at := window.find(mark)) >= 0]
    if found:
        sentence = "A column type is a pickled Python object, which old readers unpickle."
        context.add("pickled-type", sentence, Verdict.DANGEROUS, min(found))
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


PACKED = {"rar"}


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
    """Report a file without a byte where a model should be."""
    if MODEL_NAMES.search(context.name):
        context.add("empty", "The file is empty.", Verdict.UNREADABLE, 0)
    return "empty"

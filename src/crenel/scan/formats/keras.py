"""Keras models: the configuration of .keras archives and of HDF5 files."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from functools import cache
from importlib import resources

from crenel.scan.context import Context
from crenel.scan.formats.hdf5 import judge_outside
from crenel.scan.formats.zipfiles import leaves_folder
from crenel.scan.source import Unreadable, Window
from crenel.scan.verdict import Verdict

MAX_CONFIG = 64 << 20
MAX_CANDIDATES = 10_000
MAX_TRIED = 1 << 30
CODE_CLASSES = {
    "Lambda": "runs Python code from the configuration",
    "__lambda__": "runs Python code from the configuration",
    "TFSMLayer": "loads another saved model",
    "PyFunc": "runs Python code",
    "TorchModuleWrapper": "unpickles a module of torch",
}
#: Parts of Keras whose functions load, save and fetch files.
LOADERS = re.compile(r"(?:^|\.)(?:saving|models)(?:\.|$)")
LOOKUPS = {"StringLookup", "IntegerLookup", "IndexLookup", "TextVectorization"}
HOMES = (
    "layers", "models", "optimizers", "initializers", "regularizers", "constraints", "losses",
    "metrics", "activations", "dtype_policies", "engine", "saving", "backend.common", "random",
)  # fmt: skip
#: Where a JSON object with a key begins; a longer gap is tried, not passed over.
OBJECT = re.compile(rb'\{(?:[ \t\r\n]{0,1000}"|[ \t\r\n]{1000})')
PACKAGES = ("keras", "keras.src", "tf_keras", "tf_keras.src", "tensorflow.keras",
            "tensorflow.python.keras", "keras.api", "keras.api._v2.keras")  # fmt: skip


def scan_config(window: Window, context: Context) -> str:
    """Scan a configuration in JSON; raises Unreadable where it does not parse."""
    if len(window) > MAX_CONFIG:
        raise Unreadable("The model's configuration is too long to read.", "over-budget")
    try:
        config = json.loads(window.read(0, len(window)))
    except (ValueError, RecursionError):
        raise Unreadable("The model's configuration is not valid JSON.") from None
    judge_config(config, context)
    return "keras-config"


def judge_config(config: object, context: Context) -> None:
    """Judge every object that a Keras configuration would build."""
    for item in _objects(config):
        name = item.get("class_name")
        if not isinstance(name, str):
            continue
        last = name.rpartition(">")[2]
        if last in CODE_CLASSES:
            sentence = f"The model has a {last} layer, which {CODE_CLASSES[last]}."
            context.add("keras-code", sentence, Verdict.DANGEROUS, None, _shown(item))
        _vocabulary(item, last, context)
        module = item.get("module")
        if name == "function" and isinstance(module, str) and LOADERS.search(module):
            sentence = f"The model calls {module}.{item.get('config')}, which loads further files."
            context.add("keras-module", sentence, Verdict.DANGEROUS, None, _shown(item))
        if isinstance(module, str) and not _known(module):
            sentence = f"Building {name} imports {module}, which is not a part of Keras's models."
            context.add("keras-module", sentence, Verdict.DANGEROUS, None, _shown(item))
        registered = item.get("registered_name")
        custom = (
            _unknown(item, last)
            or ">" in name
            or "." in name
            or (isinstance(registered, str) and ">" in registered)
        )
        if custom or ("module" in item and module is None and "registered_name" in item):
            sentence = f"{registered or name} is a custom class; its code has to be judged."
            context.add("keras-custom", sentence, Verdict.REVIEW, None, _shown(item))


def _vocabulary(item: dict[str, object], name: str, context: Context) -> None:
    """Report a vocabulary that is a file, which is read while the layer is built."""
    config = item.get("config")
    place = config.get("vocabulary") if name in LOOKUPS and isinstance(config, dict) else None
    if isinstance(place, str):
        outside = leaves_folder(place) or "://" in place
        sentence = f"The {name} layer reads its vocabulary from {place[:120]} while it is built."
        verdict = Verdict.DANGEROUS if outside else Verdict.REVIEW
        context.add("outside-file", sentence, verdict, None, place[:200])


@cache
def _classes() -> frozenset[str]:
    """Return the names of Keras's own classes."""
    text = resources.files("crenel.scan").joinpath("keras_names.json").read_text("utf-8")
    return frozenset(json.loads(text)["classes"])


def _unknown(item: dict[str, object], name: str) -> bool:
    """Tell whether a class is none of Keras's; functions and values begin with a small letter."""
    return isinstance(item.get("config"), dict) and name[:1].isupper() and name not in _classes()


def _shown(item: dict[str, object]) -> str:
    return json.dumps(
        {k: item[k] for k in ("module", "class_name", "registered_name") if k in item}
    )


def _known(module: str) -> bool:
    if module in PACKAGES or module == "builtins":
        return module != "builtins"
    for package in sorted(PACKAGES, key=len, reverse=True):
        if module.startswith(package + "."):
            rest = module[len(package) + 1 :]
            return any(rest == home or rest.startswith(home + ".") for home in HOMES)
    return False


def _objects(value: object) -> Iterator[dict[str, object]]:
    """Yield all dicts inside a JSON value, without recursion."""
    waiting = [value]
    while waiting:
        item = waiting.pop()
        if isinstance(item, dict):
            yield item
            waiting.extend(item.values())
        elif isinstance(item, list):
            waiting.extend(item)


def scan_hdf5(window: Window, context: Context) -> str:
    """Scan an HDF5 file without an HDF5 reader, by what its names and attributes must contain.

    Attribute names and strings are stored as they are, so a model's configuration can be found
    as text; where there should be one and none can be read, the file is unreadable.
    """
    for mark in (b"PYTABLES_FORMAT_VERSION", b"pandas_type", b"PSEUDOATOM"):
        if window.find(mark) >= 0:
            sentence = "The file is of PyTables, which unpickles attributes; they are not read."
            raise Unreadable(sentence, "no-reader", window.find(mark))
    judge_outside(window, context)
    if judge_configs(window, context) or window.find(b"model_config") < 0:
        return "hdf5"
    raise Unreadable("The model's configuration inside the HDF5 file cannot be read.", "no-reader")


def judge_configs(window: Window, context: Context) -> int:
    """Judge every JSON object that lies in binary data.

    Returns
    -------
    int
        How many had a class name at their top.

    Raises
    ------
    Unreadable
        Where there are more texts that look like JSON than can be tried.
    """
    decoder = json.JSONDecoder()
    count, pos, left = 0, 0, MAX_TRIED
    for _ in range(MAX_CANDIDATES):
        pos = window.search(OBJECT, pos, 1024)
        if pos < 0:
            return count
        end = window.find(b"\0", pos)
        end = len(window) if end < 0 else end
        raw = window.read(pos, min(end - pos, MAX_CONFIG))
        left -= len(raw)
        if left < 0:
            break
        text = raw.decode("utf-8", "surrogateescape")
        try:
            config, used = decoder.raw_decode(text)
        except (ValueError, RecursionError):
            pos += 1
            continue
        count += isinstance(config, dict) and "class_name" in config
        judge_config(config, context)
        pos += max(len(text[:used].encode("utf-8", "surrogateescape")), 1)
    raise Unreadable("The file holds too many texts that look like JSON.", "over-budget")

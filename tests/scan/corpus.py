"""Harmful pickles written by hand, opcode by opcode; they are scanned and never loaded."""

from __future__ import annotations

import bz2
import gzip
import io
import json
import lzma
import struct
import warnings
import zipfile
import zlib
from collections.abc import Callable

STOP = b"."


def proto(version: int) -> bytes:
    return b"\x80" + bytes([version])


def name(module: str, attribute: str) -> bytes:
    """GLOBAL."""
    return b"c" + module.encode() + b"\n" + attribute.encode() + b"\n"


def text(value: str) -> bytes:
    raw = value.encode()
    return b"X" + struct.pack("<I", len(raw)) + raw


def short(value: str) -> bytes:
    raw = value.encode()
    return b"\x8c" + bytes([len(raw)]) + raw


def stack_name(module: str, attribute: str) -> bytes:
    return short(module) + short(attribute) + b"\x93"


def reduced(callee: bytes, *args: bytes) -> bytes:
    return callee + b"(" + b"".join(args) + b"tR"


def system(version: int = 2) -> bytes:
    """``os.system("true")`` as a complete stream."""
    return proto(version) + reduced(name("os", "system"), text("true")) + STOP


def zipped(members: list[tuple[str, bytes]], packed: bool = False) -> bytes:
    buffer = io.BytesIO()
    method = zipfile.ZIP_DEFLATED if packed else zipfile.ZIP_STORED
    with zipfile.ZipFile(buffer, "w", method) as archive:
        for path, data in members:
            archive.writestr(path, data)
    return buffer.getvalue()


def npy(body: bytes, descr: str = "'|O'") -> bytes:
    header = f"{{'descr': {descr}, 'fortran_order': False, 'shape': (1,), }}"
    header = header.ljust(117) + "\n"
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header.encode() + body


def _routes() -> dict[str, bytes]:
    """Every opcode by which a callable can be reached or called."""
    run = name("os", "system")
    arg = text("true")
    return {
        "reduce-0": b"cos\nsystem\n(S'true'\ntR.",
        "reduce-1": b"cos\nsystem\n(S'true'\ntR.",
        "reduce-2": system(2),
        "reduce-3": system(3),
        "reduce-4": proto(4) + reduced(stack_name("os", "system"), short("true")) + STOP,
        "reduce-5": proto(5) + reduced(stack_name("posix", "system"), short("true")) + STOP,
        "reduce-framed": proto(4)
        + b"\x95"
        + struct.pack("<Q", 30)
        + reduced(stack_name("os", "system"), short("true"))
        + STOP,
        "tuple1": proto(2) + run + arg + b"\x85R" + STOP,
        "tuple2": proto(2) + name("os", "kill") + b"K\x01K\x00\x86R" + STOP,
        "tuple3": proto(2) + name("os", "spawnv") + b"K\x00" + arg + b"]\x87R" + STOP,
        "inst-0": b"(S'true'\nios\nsystem\n.",
        "inst-2": proto(2) + b"(" + arg + b"ios\nsystem\n" + STOP,
        "inst-no-arguments": proto(2) + b"(ios\nabort\n" + STOP,
        "obj": proto(2) + b"(" + run + arg + b"o" + STOP,
        "obj-no-arguments": proto(2) + b"(" + name("os", "abort") + b"o" + STOP,
        "newobj": proto(2) + name("subprocess", "Popen") + arg + b"\x85\x81" + STOP,
        "newobj-ex": proto(4) + name("subprocess", "Popen") + arg + b"\x85}\x92" + STOP,
        "global-only": proto(2) + run + STOP,
        "global-popped": proto(2) + run + b"0N" + STOP,
        "global-in-list": proto(2) + b"]" + run + b"a" + STOP,
        "stack-global-memo": proto(4)
        + short("os")
        + b"\x94"
        + short("system")
        + b"\x94h\x00h\x01\x93"
        + arg
        + b"\x85R"
        + STOP,
        "stack-global-put": proto(4) + short("os") + b"q\x05" + short("system")
        + b"r\x06\x00\x00\x000h\x05j\x06\x00\x00\x00\x93" + arg + b"\x85R" + STOP,
        "stack-global-get-text": b"S'os'\np3\n0S'system'\np4\n0g3\ng4\n\x93(S'true'\ntR.",
        "stack-global-bytes-string": proto(4) + b"U\x02osU\x06system\x93" + arg + b"\x85R" + STOP,
        "stack-global-unicode-line": b"Vos\nVsyste\\u006d\n\x93(S'true'\ntR.",
        "stack-global-binunicode8": proto(4) + b"\x8d" + struct.pack("<Q", 2) + b"os"
        + b"\x8d" + struct.pack("<Q", 6) + b"system\x93" + arg + b"\x85R" + STOP,
        "stack-global-dup": proto(4) + short("pty") + b"2\x93" + arg + b"\x85R" + STOP,
        "stack-global-from-tuple-memo": proto(4) + short("os") + b"\x94" + short("system")
        + b"\x94\x860h\x00h\x01\x93" + arg + b"\x85R" + STOP,
        "reduce-list-arguments": proto(2) + run + b"](" + arg + b"eR" + STOP,
        "mark-pop": proto(2) + b"(K\x01K\x021" + reduced(run, arg) + STOP,
        "pop-mark": proto(2) + b"(" + b"0" + reduced(run, arg) + STOP,
        "build-on-class": proto(2) + name("collections", "OrderedDict")
        + b"}" + text("__reduce__") + b"K\x01sb" + STOP,
        "build-dunder": proto(2) + name("sklearn.svm._classes", "SVC") + b")\x81}"
        + text("__class__") + b"K\x01sb" + STOP,
        "build-slots-dunder": proto(2) + name("sklearn.svm._classes", "SVC") + b")\x81N}"
        + text("__class__") + b"K\x01s\x86b" + STOP,
        "build-on-function": proto(2) + name("numpy", "log1p") + b"}"
        + text("__doc__") + run + b"sb" + STOP,
        "state-with-global": proto(2) + name("sklearn.preprocessing._function_transformer",
        "FunctionTransformer") + b")\x81}" + text("func") + run + b"sb" + STOP,
        "ext1": proto(2) + b"\x82\x01" + arg + b"\x85R" + STOP,
        "ext2": proto(2) + b"\x83\x01\x01" + arg + b"\x85R" + STOP,
        "ext4": proto(2) + b"\x84\x01\x01\x01\x00" + arg + b"\x85R" + STOP,
        "persistent-module": proto(2) + b"(" + text("module") + run + text("m.py") + text("x = 1")
        + b"tQ" + arg + b"\x85R" + STOP,
        "persistent-computed-module": proto(2) + b"(" + text("module") + reduced(run, arg)
        + text("m.py") + b"NtQ)R" + STOP,
        "persistent-callee": b"Pos.system\n(S'true'\ntR.",
        "binpersid-callee": proto(2) + text("os.system") + b"Q" + arg + b"\x85R" + STOP,
    }  # fmt: skip


def _chains() -> dict[str, bytes]:
    """Gadgets that reach a callable indirectly."""
    arg = text("true")
    os_module = reduced(name("builtins", "__import__"), text("os"))
    return {
        "getattr-import": proto(2)
        + reduced(reduced(name("builtins", "getattr"), os_module, text("system")), arg)
        + STOP,
        "py2-builtin": proto(2) + reduced(name("__builtin__", "eval"), text("1")) + STOP,
        "py2-commands": proto(2) + reduced(name("commands", "getoutput"), arg) + STOP,
        "py2-copy-reg": proto(2)
        + reduced(name("copy_reg", "_reconstructor"), name("subprocess", "Popen"),
                  name("__builtin__", "object"), b"N") + STOP,
        "partial": proto(2)
        + reduced(reduced(name("functools", "partial"), name("os", "system"), arg)) + STOP,
        "partial-build": proto(2) + reduced(name("functools", "partial"), name("numpy", "log1p"))
        + b"(" + name("os", "system") + arg + b"\x85}Ntb" + STOP,
        "map": proto(2) + reduced(name("builtins", "list"), reduced(name("builtins", "map"),
        name("os", "system"), b"]" + arg + b"a")) + STOP,
        "attrgetter": proto(2) + reduced(reduced(name("operator", "attrgetter"), text("system")),
        name("os", "path")) + STOP,
        "methodcaller": proto(2) + reduced(reduced(name("operator", "methodcaller"),
        text("system"), arg), os_module) + STOP,
        "dotted-hop": proto(4) + reduced(stack_name("torch.serialization", "os.system"), arg)
        + STOP,
        "dotted-internals": proto(4) + stack_name("sklearn.base", "clone.__globals__") + STOP,
        "numpy-builtins": proto(4) + stack_name("numpy", "__builtins__") + STOP,
        "reconstructor": proto(2) + reduced(name("copyreg", "_reconstructor"),
        name("subprocess", "Popen"), name("builtins", "object"), b"N") + STOP,
        "newobj-function": proto(2) + reduced(name("copyreg", "__newobj__"),
        name("subprocess", "Popen"), arg) + STOP,
        "defaultdict-factory": proto(2) + reduced(name("collections", "defaultdict"),
        name("os", "abort")) + STOP,
        "defaultdict-partial": proto(2) + reduced(name("collections", "defaultdict"),
        reduced(name("functools", "partial"), name("os", "system"), arg)) + STOP,
        "codec": proto(2) + reduced(name("_codecs", "decode"), text("x"), text("rot13")) + STOP,
        "encode-other-codec": proto(2)
        + reduced(name("_codecs", "encode"), text("x"), text("unicode_escape")) + STOP,
        "computed-name": proto(4) + reduced(name("builtins", "str"), text("os"))
        + short("system") + b"\x93" + arg + b"\x85R" + STOP,
        "shadowed-ordered-dict": proto(2)
        + reduced(name("collections", "OrderedDict"), text("print(1)")) + STOP,
        "memmap": proto(2) + reduced(name("numpy", "memmap"), text("/tmp/x")) + STOP,
        "memmap-new": proto(2) + name("numpy", "memmap") + arg + b"\x85\x81" + STOP,
        "class-by-type": proto(2) + reduced(name("builtins", "type"), text("X"), b")", b"}")
        + STOP,
        "function-type": proto(2) + reduced(name("types", "FunctionType"), b"N", b"}") + STOP,
        "marshal": proto(2) + reduced(name("marshal", "loads"), b"C\x01N") + STOP,
        "runpy": proto(2) + reduced(name("runpy", "run_path"), text("x")) + STOP,
        "importlib": proto(2) + reduced(name("importlib", "import_module"), text("os")) + STOP,
        "webbrowser": proto(2) + reduced(name("webbrowser", "open"), text("http://x")) + STOP,
        "socket": proto(2) + reduced(name("socket", "create_connection"), arg) + STOP,
        "shutil": proto(2) + reduced(name("shutil", "rmtree"), text("x")) + STOP,
        "ctypes": proto(2) + reduced(name("ctypes", "CDLL"), text("x.so")) + STOP,
        "open": proto(2) + reduced(name("builtins", "open"), text("x"), text("w")) + STOP,
        "pickle-loads": proto(2) + reduced(name("_pickle", "loads"), b"C\x01N") + STOP,
        "torch-hub": proto(2) + reduced(name("torch.hub", "load"), text("a/b"), text("c")) + STOP,
        "torch-load": proto(2) + reduced(name("torch", "load"), text("x")) + STOP,
        "torch-collect-env": proto(2)
        + reduced(name("torch.utils.collect_env", "run"), text("true")) + STOP,
        "torch-nested": proto(2) + reduced(name("torch.storage", "_load_from_bytes"),
        b"B" + struct.pack("<I", len(system())) + system()) + STOP,
        "numpy-load": proto(2) + reduced(name("numpy", "load"), text("x")) + STOP,
        "pandas-read-pickle": proto(2) + reduced(name("pandas", "read_pickle"), text("x")) + STOP,
        "joblib-load": proto(2) + reduced(name("joblib", "load"), text("x")) + STOP,
        "timeit": proto(2) + reduced(name("timeit", "timeit"), text("1")) + STOP,
        "code-console": proto(2) + name("code", "InteractiveInterpreter") + b")\x81" + STOP,
        "pdb": proto(2) + reduced(name("pdb", "run"), text("1")) + STOP,
        "sys-modules-item": proto(4) + stack_name("sys", "modules") + short("os") + b"Ns" + STOP,
        "add-extension": proto(2) + reduced(name("copyreg", "add_extension"), text("os"),
        text("system"), b"K\x01") + STOP,
        "scipy-exec-state": proto(2) + name("scipy.stats._continuous_distns", "norm_gen")
        + b")\x81}" + text("_parse_arg_template") + text("pass") + b"sb" + STOP,
        "class-called": proto(2) + reduced(name("sklearn.svm._classes", "SVC")) + STOP,
        "huge-list": proto(2) + reduced(name("builtins", "list"), reduced(name("builtins",
        "range"), b"\x8a\x06" + (1 << 40).to_bytes(6, "little"))) + STOP,
        "huge-new-array": proto(2) + name("numpy", "ndarray") + b"\x8a\x06"
        + (1 << 40).to_bytes(6, "little") + b"\x85\x85\x81" + STOP,
        "huge-new-bytes": proto(2) + name("builtins", "bytearray") + b"\x8a\x06"
        + (1 << 40).to_bytes(6, "little") + b"\x85\x81" + STOP,
        "huge-array": proto(2) + reduced(name("numpy._core.multiarray", "_reconstruct"),
        name("numpy", "ndarray"), b"J\xff\xff\xff\x7f\x85", b"C\x01b") + STOP,
    }  # fmt: skip


def _broken() -> dict[str, bytes]:
    """A payload, and then damage, truncation or more data."""
    run = system()[:-1]
    return {
        "truncated-after-call": run,
        "garbage-after-call": run + b"\xff\xff\xff",
        "bad-opcode-after-call": run + b"\x00",
        "underflow-after-call": run + b"00000.",
        "cut-in-string": run + b"X\xff\x00\x00\x00abc",
        "bad-utf8": proto(2) + b"X\x01\x00\x00\x00\xff0" + system()[2:],
        "bad-int": b"Ixyz\n0" + system()[2:],
        "frame-too-long": proto(4) + b"\x95" + b"\xff" * 7 + b"\x00" + system()[2:],
        "second-stream": proto(2) + b"N." + system(),
        "third-stream": proto(2) + b"N." + proto(4) + b"K\x01." + system(4),
        "second-stream-without-header": proto(2) + b"N." + system()[2:],
        "two-protocols": proto(4) + b"\x80\x02" + reduced(name("__builtin__", "eval"), text("1"))
        + STOP,
        "long-before": proto(4) + (b"K\x01\x94" * 5000) + b"0" * 5000 + system()[2:],
        "torch-legacy-payload": proto(2) + b"\x8a\x0al\xfc\x9cF\xf9 j\xa8P\x19." + proto(2)
        + b"M\xe9\x03." + proto(2) + b"}." + system() + proto(2) + b"].",
    }  # fmt: skip


def _containers() -> dict[str, bytes]:
    """A payload inside other formats."""
    clean = proto(2) + b"}."
    torch = [("m/data.pkl", system()), ("m/version", b"3\n")]
    duplicate = io.BytesIO()
    with zipfile.ZipFile(duplicate, "w") as archive, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # zipfile warns of the duplicate that is wanted here
        archive.writestr("m/data.pkl", system())
        archive.writestr("m/data.pkl", clean)
    hidden = zipped([("m/data.pkl", system())])
    hidden = hidden[: hidden.find(b"PK\x01\x02")]
    listed = zipped([("m/data.pkl", clean)])
    code = {"class_name": "Lambda", "module": "keras.layers", "config": {"function": "x"}}
    lambda_layer = {"class_name": "Sequential", "module": "keras", "config": {"layers": [code]}}
    foreign = {"class_name": "run", "module": "subprocess", "config": {"args": "true"}}
    get_file = {"class_name": "function", "module": "keras.utils", "config": "get_file"}
    function_node = {
        "__class__": "function",
        "__module__": "builtins",
        "__loader__": "FunctionNode",
        "content": {"module_path": "os", "function": "system"},
    }
    weights = ("model.weights.h5", b"\x89HDF\r\n\x1a\n" + bytes(64))
    hdf5 = b"\x89HDF\r\n\x1a\n" + bytes(64) + b"model_config\0\0\0\0"
    return {
        "torch-zip": zipped(torch),
        "torch-zip-deflated": zipped(torch, packed=True),
        "torch-zip-other-pickle": zipped([("m/data.pkl", clean), ("m/extra.bin", system())]),
        "torch-zip-as-storage": zipped([("m/data.pkl", clean), ("m/data/0", system())]),
        "torch-duplicate": duplicate.getvalue(),
        "torch-hidden-member": hidden + _shifted(listed, len(hidden)),
        "torch-encrypted-flag": _flagged(zipped(torch)),
        "torch-wrong-crc": zipped(torch).replace(b"true", b"echo", 1),
        "pickle-before-zip": system() + zipped([("m/data.pkl", clean)]),
        "zip-in-zip": zipped([("a/b.zip", zipped(torch))], packed=True),
        "gzip": gzip.compress(system()),
        "zlib": zlib.compress(system()),
        "bz2": bz2.compress(system()),
        "xz": lzma.compress(system()),
        "lzma": lzma.compress(system(), lzma.FORMAT_ALONE),
        "gzip-second-member": gzip.compress(clean[:-1]) + gzip.compress(b"0" + system()[2:]),
        "npy-object": npy(system()),
        "npz-object": zipped([("a.npy", npy(system()))]),
        "npy-record": npy(system(), "[('a', '<f8'), ('b', 'O')]"),
        "safetensors-pickle": _safetensors_polyglot(),
        "keras-lambda": zipped([("config.json", json.dumps(lambda_layer).encode()), weights]),
        "keras-foreign": zipped([("config.json", json.dumps(foreign).encode()), weights]),
        "keras-get-file": zipped([("config.json", json.dumps(get_file).encode()), weights]),
        "hdf5-lambda": hdf5 + json.dumps(lambda_layer).encode() + bytes(8),
        "skops-function": zipped([("schema.json", json.dumps(function_node).encode())]),
        "path-traversal": zipped([("../../x", b"text")]),
    }


def _flagged(data: bytes) -> bytes:
    """Set the encryption flag in both headers of the first member."""
    raw = bytearray(data)
    raw[6] |= 1
    raw[data.find(b"PK\x01\x02") + 8] |= 1
    return bytes(raw)


def _shifted(data: bytes, by: int) -> bytes:
    """Move an archive behind other bytes, its offsets corrected."""
    raw = bytearray(data)
    central = data.find(b"PK\x01\x02")
    end = data.find(b"PK\x05\x06")
    for at in (central + 42, end + 16):
        value = struct.unpack("<I", raw[at : at + 4])[0]
        raw[at : at + 4] = struct.pack("<I", value + by)
    return bytes(raw)


def _safetensors_polyglot() -> bytes:
    """A valid header whose length bytes are pickle operations that lead into its text."""
    # "U", 32: a short string that spans the rest of the length field and the filler.
    run = b"cos\nsystem\n(S'true'\ntR."
    length = int.from_bytes(b"U\x20\x00\x00\x00\x00\x00\x00", "little")
    start = 2 + 0x20
    filler = b"{" + b" " * (start - 8 - 1)
    text_part = filler + run
    return struct.pack("<Q", length) + text_part.ljust(length)


BUILDERS: dict[str, Callable[[], dict[str, bytes]]] = {
    "route": _routes, "chain": _chains, "broken": _broken, "container": _containers,
}  # fmt: skip
HARMFUL = {
    f"{group}/{key}": data for group, build in BUILDERS.items() for key, data in build().items()
}
# Not harmful by themselves, or harmful only with something beside the file: never clean.
ONLY_NOT_CLEAN = {
    "chain/codec", "chain/encode-other-codec", "chain/shadowed-ordered-dict",
    "chain/scipy-exec-state", "chain/class-called", "chain/huge-array", "chain/huge-list",
    "chain/huge-new-array", "chain/huge-new-bytes",
    "route/persistent-callee", "route/binpersid-callee",
}  # fmt: skip

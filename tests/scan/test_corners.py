"""Corners of formats: what readers really see there, and that harmless files stay clean."""

from __future__ import annotations

import io
import json
import tarfile
import zipfile

import pytest
from benchmarks.scan.harmful_corners import CLEAN, CORNERS, EVIL

from crenel.scan import scan_bytes, scan_file
from crenel.scan.formats import configs

from .corpus import zipped
from .test_folders import MLMODEL, tar
from .test_formats import keras

SAMPLES = {(s.family, s.name): s for part in CORNERS for s in part()}


@pytest.mark.parametrize("key", sorted(SAMPLES))
def test_no_corner_is_clean_whether_in_memory_or_mapped(key, tmp_path):
    sample = SAMPLES[key]
    path = tmp_path / sample.name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(sample.data)
    result = scan_file(path)
    assert result.verdict != "clean"
    if len(sample.data) < 100_000:
        assert scan_bytes(sample.data, sample.name).verdict == result.verdict


def test_what_is_not_judged_is_not_clean(monkeypatch):
    config = {"net": {"_target_": "os.system"}, "pad": [[]] * 200}
    assert scan_bytes(json.dumps(config).encode(), "config.json").verdict == "malicious"
    monkeypatch.setattr(configs, "MAX_ITEMS", 100)
    assert scan_bytes(json.dumps(config).encode(), "config.json").verdict == "unreadable"


def test_zipfile_reads_the_directory_before_the_end():
    data = SAMPLES["corners: zip", "two-directories.pt"].data
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        assert archive.read("m/data.pkl") == EVIL


def test_zipfile_cuts_names_at_a_nul():
    data = SAMPLES["corners: zip", "nul.skops"].data
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        assert archive.namelist() == ["schema.json"]


def test_tarfile_fills_the_holes_in():
    data = SAMPLES["corners: tar", "sparse.tar"].data
    with tarfile.open(fileobj=io.BytesIO(data)) as archive:
        unpacked = archive.extractfile("model.pkl").read()
    assert scan_bytes(unpacked).verdict == "malicious"
    at = data.find(b"\x80\x03C")
    assert scan_bytes(data[at : at + len(unpacked) - 1]).verdict == "clean"


def test_tarfile_goes_on_where_it_is_told_to():
    for name in ("broken-header.tar", "after-end.tar"):
        data = SAMPLES["corners: tar", name].data
        with tarfile.open(fileobj=io.BytesIO(data), ignore_zeros=True) as archive:
            assert archive.extractfile("data.pkl").read() == EVIL


def layer(cls, **config):
    inner = {"module": "keras.layers", "class_name": cls, "registered_name": None}
    top = {"module": "keras", "class_name": "Sequential"}
    return keras({**top, "config": {"layers": [{**inner, "config": config}]}})


REQUIREMENTS = """# see https://example.org/index
numpy>=1.26,<3 ; python_version >= "3.11"  # https://example.org
torch[opt,dev]==2.3 \\
    --hash=sha256:0123
-r base.txt
-c constraints.txt
--no-binary :all:
--pre
e-mail==1.0
"""
GIT = b'[core]\n\tbare = false\n\tpager = false\n[remote "origin"]\n\turl = https://h.example/x\n'
GRAPH = b'node { name: "x" op: "MatMul" }\nnode { name: "y" op: "Relu" attr { key: "T" } }\n'
PBTXT = b'meta_graphs { graph_def { node { op: "mine" } library { function { signature {' \
    b' name: "mine" } node_def { op: "Add" } } } } }'  # fmt: skip
ONNX = b'ir_version: 8\ngraph { node { op_type: "Add" domain: "ai.onnx.ml" } initializer {' \
    b' external_data { key: "location" value: "w.bin" } } }\nopset_import {version: 1}'  # fmt: skip


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("requirements.txt", REQUIREMENTS.encode()),
        ("conda.yaml", b"dependencies: [python=3.11, {pip: [numpy, x==1]}]  # https://e.org\n"),
        ("conda.yaml", b"dependencies:\n- python\n- pip:\n  - numpy==1\nurl: https://e.org\n"),
        ("MLmodel", MLMODEL.encode()),
        ("MLmodel", json.dumps({"flavors": {"python_function": {"loader_module": "mlflow.x",
                                "code": None}}}).encode()),
        ("config", GIT), ("graph.pbtxt", GRAPH), ("saved_model.pbtxt", PBTXT),
        ("model.textproto", ONNX), ("notes.txt", b"The node is op: a number; name: x\n"),
        ("lookup.keras", layer("StringLookup", vocabulary=["a", "b"])),
        ("lookup-none.keras", layer("TextVectorization", vocabulary=None)),
        ("model.safetensors.index.json", b'{"weight_map": {"a": "model-1.safetensors"}}'),
        ("config.json", b'{"trust_remote_code": false, "chat_template": {"name": "hi"}}'),
        ("x.json", b'{"learner": {"a": [1]}, "version": [3, 0, 0]}'),
        ("x.yaml", b"a: {_target_: torch.nn.Linear}  # not _target_ alone\n" * 300),
        ("x.yaml", b"my_target_: os.system\ntext: \"a \\x41\"\n"),
        ("x.tar", tar({"a.txt": b"text", "b.pkl": CLEAN})),
        ("x.tar", tar({"a": b"x"}) + bytes(9999)),
        ("x.pt", zipped([("m/data.pkl", CLEAN)])), ("x.gif", b"GIF89a" + bytes(5000)),
    ],
)  # fmt: skip
def test_harmless_neighbours_are_clean(name, data):
    result = scan_bytes(data, name)
    assert result.verdict == "clean", result.reasons


def test_text_models_are_named_by_their_format():
    for data, kind in ((GRAPH, "tensorflow-text"), (PBTXT, "tensorflow-text"), (ONNX, "onnx-text")):
        assert scan_bytes(data, "x.pbtxt").format == kind


def test_operators_in_text_are_found_in_parts_and_escapes():
    for op in (b'"Write" "File"', b"'Write\\106ile'", b'"WriteFil\\x65"', b"\"Wri\"\n  'teFile'"):
        result = scan_bytes(b"node { name: 'x' op: %s }" % op, "x.pbtxt")
        assert result.verdict == "dangerous", op

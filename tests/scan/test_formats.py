"""Formats beyond pickle: harmless is clean, wrong is named, unknown is said to be so."""

from __future__ import annotations

import bz2
import gzip
import io
import json
import lzma
import stat
import struct
import tarfile
import zipfile
import zlib

import numpy as np
import pytest

from crenel.scan import Verdict, scan_bytes
from crenel.scan import source as source_module
from crenel.scan.context import Context
from crenel.scan.dispatch import dispatch
from crenel.scan.formats.safetensors import scan_safetensors
from crenel.scan.policy import default_policy
from crenel.scan.source import Budget, window_of
from crenel.scan.verdict import Report

from .corpus import HARMFUL, npy, proto, zipped
from .messages import field


def verdict_and_codes(data: bytes, name: str = "model.bin") -> tuple[str, set[str]]:
    result = scan_bytes(data, name)
    return str(result.verdict), {reason.code for reason in result.reasons}


def safetensors(header: dict[str, object], body: bytes) -> bytes:
    raw = json.dumps(header).encode()
    return struct.pack("<Q", len(raw)) + raw + body


def tensor(start: int, end: int, shape: list[int], dtype: str = "F32") -> dict[str, object]:
    return {"dtype": dtype, "shape": shape, "data_offsets": [start, end]}


def test_safetensors_clean():
    data = safetensors({"a": tensor(0, 8, [2]), "b": tensor(8, 12, [1])}, bytes(12))
    assert scan_bytes(data).format == "safetensors"
    assert scan_bytes(data).verdict is Verdict.CLEAN


@pytest.mark.parametrize(
    ("header", "size"),
    [
        ({"a": tensor(0, 8, [2]), "b": tensor(4, 12, [2])}, 12),  # overlap
        ({"a": tensor(0, 8, [2]), "b": tensor(12, 16, [1])}, 16),  # gap
        ({"a": tensor(0, 8, [3])}, 8),  # shape
        ({"a": tensor(0, 80, [20])}, 8),  # beyond the file
        ({"a": tensor(0, 8, [2], "X9")}, 8),  # type
        ({"a": tensor(-8, 0, [2])}, 8),
        ({"a": 5}, 8),
    ],
)
def test_safetensors_with_wrong_offsets_is_unreadable(header, size):
    assert scan_bytes(safetensors(header, bytes(size))).verdict is Verdict.UNREADABLE


def test_safetensors_with_a_tail_is_for_review():
    data = safetensors({"a": tensor(0, 4, [1])}, bytes(4) + b"tail")
    assert verdict_and_codes(data) == ("review", {"trailing-data"})


def onnx_model(
    domain: bytes = b"", location: bytes | None = None, key: bytes = b"location"
) -> bytes:
    node = field(4, b"Relu") + field(7, domain)
    graph = field(1, node) + field(2, b"g")
    if location is not None:
        entry = field(1, key) + field(2, location)
        graph += field(5, field(8, b"w") + field(13, entry) + field(14, 1))
    return field(1, 8) + field(7, graph) + field(8, field(1, b"") + field(2, 17))


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (onnx_model(), "clean"),
        (onnx_model(location=b"weights.bin"), "clean"),
        (onnx_model(location=b"../../etc/passwd"), "dangerous"),
        (onnx_model(location=b"/etc/passwd"), "dangerous"),
        (onnx_model(location=b"C:\\x"), "dangerous"),
        (onnx_model(location=b"x", key=b"load_with_model"), "dangerous"),
        (onnx_model(domain=b"com.microsoft"), "clean"),
        (onnx_model(domain=b"evil.ops"), "review"),
        (onnx_model(domain=b"ai.onnx.contrib"), "dangerous"),
    ],
)
def test_onnx(data, expected):
    result = scan_bytes(data)
    assert result.format == "onnx"
    assert result.verdict == expected


def test_onnx_reader_agrees_with_the_onnx_package(tmp_path):
    onnx = pytest.importorskip("onnx")
    helper = onnx.helper
    value = helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, [1])
    sub = helper.make_graph(
        [helper.make_node("F", [], ["y"], domain="hidden.ops")], "s", [], [value]
    )
    node = helper.make_node("If", ["c"], ["y"], then_branch=sub, else_branch=sub)
    graph = helper.make_graph([node], "g", [value], [value])
    result = scan_bytes(helper.make_model(graph).SerializeToString())
    assert result.format == "onnx"
    assert [reason.call for reason in result.reasons] == ["hidden.ops"]


def keras(config: object) -> bytes:
    weights = b"\x89HDF\r\n\x1a\n" + bytes(64)
    return zipped([("config.json", json.dumps(config).encode()), ("metadata.json", b"{}"),
                   ("model.weights.h5", weights)])  # fmt: skip


DENSE = {"module": "keras.layers", "class_name": "Dense", "registered_name": None,
         "config": {"units": 3, "kernel_initializer": {"module": "keras.initializers",
         "class_name": "GlorotUniform", "registered_name": None, "config": {}}}}  # fmt: skip


def test_keras():
    model = {"module": "keras", "class_name": "Sequential", "config": {"layers": [DENSE]}}
    assert scan_bytes(keras(model)).format == "keras"
    assert scan_bytes(keras(model)).verdict is Verdict.CLEAN
    custom = DENSE | {"module": None, "registered_name": "mine>Layer"}
    model["config"]["layers"].append(custom)
    assert verdict_and_codes(keras(model)) == ("review", {"keras-custom"})
    model["config"]["layers"].append(DENSE | {"class_name": "Lambda"})
    assert verdict_and_codes(keras(model)) == ("dangerous", {"keras-custom", "keras-code"})
    assert scan_bytes(keras("x")[:200]).verdict is not Verdict.CLEAN


def hdf5(name: bytes, config: object) -> bytes:
    head = b"\x89HDF\r\n\x1a\n" + bytes(64) + b"model_config\0"
    model = json.dumps({"class_name": "Sequential", "config": {"layers": [DENSE]}}).encode()
    return head + model + bytes(9) + name + b"\0" + json.dumps(config).encode() + bytes(9)


def test_a_class_that_is_none_of_keras_is_for_review_wherever_it_stands():
    own = {"class_name": "Mine", "config": {"units": 3}}
    metric = {"loss": "mse", "metrics": [{"class_name": "Mine", "config": {}}]}
    plain = {"loss": "mse", "metrics": [{"class_name": "AUC", "config": {}}]}
    assert verdict_and_codes(hdf5(b"training_config", plain)) == ("clean", set())
    for config in (own, metric):
        assert verdict_and_codes(hdf5(b"x", config)) == ("review", {"keras-custom"})
    legacy = {"class_name": "CuDNNGRU", "config": {"kernel": {"class_name": "L2", "config": {}}}}
    shape = {"class_name": "__tuple__", "items": [1], "class_name_": "Mine"}
    assert scan_bytes(keras([legacy, shape])).verdict is Verdict.CLEAN


def test_sentencepiece_vocabularies():
    def piece(text: bytes, score: float) -> bytes:
        return field(1, field(1, text) + b"\x15" + struct.pack("<f", score))

    data = piece(b"<unk>", 0) + piece(b"\xe2\x96\x81a", -1.5) + field(2, field(1, b"corpus"))
    data += field(3, field(1, b"identity"))
    assert (scan_bytes(data).format, scan_bytes(data).verdict) == ("sentencepiece", Verdict.CLEAN)
    assert scan_bytes(data[:-3]).verdict is Verdict.UNREADABLE
    broken = data + field(1, b"\xff" * 5)
    assert scan_bytes(broken).verdict is Verdict.UNREADABLE


def test_hdf5_is_clean_only_where_its_configuration_was_read():
    head = b"\x89HDF\r\n\x1a\n" + bytes(64)
    config = json.dumps({"class_name": "Sequential", "config": {"layers": [DENSE]}}).encode()
    assert scan_bytes(head).verdict is Verdict.CLEAN
    assert scan_bytes(head + b"model_config\0" + config + bytes(9)).verdict is Verdict.CLEAN
    assert scan_bytes(head + b"model_config\0" + bytes(9)).verdict is Verdict.UNREADABLE
    assert scan_bytes(head + b"PYTABLES_FORMAT_VERSION").verdict is Verdict.UNREADABLE


def test_npy_shape_and_length():
    good = npy(bytes(8), "'<f8'")
    assert scan_bytes(good).verdict is Verdict.CLEAN
    assert scan_bytes(good[:-1]).verdict is Verdict.UNREADABLE
    assert verdict_and_codes(good + b"tail") == ("review", {"trailing-data"})
    assert scan_bytes(npy(bytes(8), "'<f'+'8'")).verdict is Verdict.UNREADABLE
    assert scan_bytes(npy(b"", "__import__('os')")).verdict is Verdict.UNREADABLE


def test_zip_oddities_are_reported():
    _, codes = verdict_and_codes(HARMFUL["container/torch-duplicate"])
    assert "duplicate-member" in codes
    _, codes = verdict_and_codes(HARMFUL["container/torch-hidden-member"])
    assert "hidden-member" in codes
    _, codes = verdict_and_codes(HARMFUL["container/torch-encrypted-flag"])
    assert "encrypted" in codes
    _, codes = verdict_and_codes(HARMFUL["container/pickle-before-zip"])
    assert "polyglot" in codes


def test_zip_with_headers_that_disagree_is_read_both_ways():
    harmless = zipped([("m/data.pkl", proto(2) + b"}.")])
    raw = bytearray(harmless)
    raw[8:10] = struct.pack("<H", 8)  # the local header says deflated
    result = scan_bytes(bytes(raw))
    assert "header-mismatch" in {r.code for r in result.reasons}
    assert result.verdict is not Verdict.CLEAN


def test_zip_without_directory_is_still_read():
    data = HARMFUL["container/torch-zip"]
    assert scan_bytes(data[: data.find(b"PK\x01\x02")]).verdict is Verdict.MALICIOUS


@pytest.mark.parametrize("pack", [gzip.compress, zlib.compress, bz2.compress, lzma.compress])
def test_what_lies_before_the_damage_of_a_stream_is_read(pack):
    rng = np.random.default_rng(0)
    for stream, expected in ((HARMFUL["route/reduce-4"], "malicious"), (b"N.", "unreadable")):
        packed = pack(proto(4) + stream.removeprefix(proto(4)) + rng.bytes(2_000_000))
        verdict, codes = verdict_and_codes(packed[: len(packed) - 1000])
        assert (verdict, "damaged" in codes) == (expected, True)
    assert verdict_and_codes(pack(b"")[:6])[0] == "unreadable"


def test_bomb_is_unreadable_and_not_expanded(monkeypatch):
    monkeypatch.setattr("crenel.scan.scanner.Budget", lambda: Budget(expanded=1 << 20))
    taken = []
    real = source_module.spooled
    monkeypatch.setattr(
        "crenel.scan.formats.compressed.spooled",
        lambda pieces, budget: real((taken.append(len(p)) or p for p in pieces), budget),
    )
    assert verdict_and_codes(gzip.compress(bytes(1 << 26))) == ("unreadable", {"over-budget"})
    assert sum(taken) < 1 << 22


def test_operation_budget_is_unreadable(monkeypatch):
    monkeypatch.setattr("crenel.scan.scanner.Budget", lambda: Budget(operations=1000))
    data = proto(4) + b"N0" * 5000 + b"N."
    assert verdict_and_codes(data) == ("unreadable", {"over-budget"})


def test_archives_nested_too_deep_are_unreadable():
    data = b"plain text"
    for _ in range(10):
        data = zipped([("x.zip", data)])
    assert verdict_and_codes(data) == ("unreadable", {"over-budget"})


def test_tar_members_links_and_paths():
    def tar(info: tarfile.TarInfo, body: bytes = b"") -> bytes:
        buffer = io.BytesIO()
        with tarfile.open(fileobj=buffer, mode="w") as archive:
            info.size = len(body)
            archive.addfile(info, io.BytesIO(body))
        return buffer.getvalue()

    assert scan_bytes(tar(tarfile.TarInfo("a.txt"), b"text")).verdict is Verdict.CLEAN
    assert scan_bytes(tar(tarfile.TarInfo("../a.txt"), b"text")).verdict is Verdict.DANGEROUS
    link = tarfile.TarInfo("a")
    link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
    assert scan_bytes(tar(link)).verdict is Verdict.DANGEROUS
    for path, expected in (("..\\a.txt", "dangerous"), ("C:\\a.txt", "dangerous"),
                           ("\\\\host\\a.txt", "dangerous"), ("10:00.txt", "clean")):  # fmt: skip
        assert scan_bytes(tar(tarfile.TarInfo(path), b"text")).verdict == expected
        assert scan_bytes(zipped([(path, b"text")])).verdict == expected
    evil = tar(tarfile.TarInfo("pickle"), HARMFUL["route/reduce-4"])
    assert scan_bytes(evil).verdict is Verdict.MALICIOUS


@pytest.mark.parametrize(
    ("target", "expected"),
    [("/etc/passwd", "dangerous"), ("../../x", "dangerous"), ("weights/0.bin", "clean")],
)
def test_links_in_zip_archives_stay_in_the_folder(target, expected):
    info = zipfile.ZipInfo("weights.bin")
    info.create_system, info.external_attr = 3, (stat.S_IFLNK | 0o777) << 16
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr(info, target)
    assert scan_bytes(buffer.getvalue()).verdict == expected


@pytest.mark.parametrize(
    ("data", "name", "expected"),
    [
        (b"#!/bin/sh\ntrue\n", "model.pkl", "dangerous"),
        (b"#!/bin/sh\ntrue\n", "run", "review"),
        (b"\x7fELF" + bytes(100), "model.onnx", "dangerous"),
        (b"MZ" + bytes(100), "model.bin", "dangerous"),
        (b"import os\n", "train.py", "review"),
        (b"a,b\n1,2\n", "data.csv", "clean"),
        ('{"name": "ü"}'.encode(), "config.json", "clean"),
        (b'{"auto_map": {"AutoModel": "x.Y"}}', "config.json", "review"),
        (b'{"learner": {}, "version": [3]', "m.json", "unreadable"),
        (np.random.default_rng(0).bytes(5000), "model.pkl", "unreadable"),
        (bytes(100), "model.pt", "unreadable"),
        (b"", "model.pkl", "unreadable"),
        (b"GGUF" + bytes(100), "m.gguf", "unreadable"),
        (b"\x04\x22\x4d\x18" + bytes(50), "m.joblib", "unreadable"),
        (b"binf" + bytes(50), "m.model", "unreadable"),
        (b"\x80\x04\x95", "m.pkl", "unreadable"),
        (b"PAR1" + bytes(20) + b"arrow.py_extension_type" + b"PAR1", "x.parquet", "dangerous"),
        (b"tree\nversion=v4\nimport os; os.system('x')\n", "m.txt", "unreadable"),
    ],
)
def test_what_is_no_model(data, name, expected):
    assert scan_bytes(data, name).verdict == expected


def test_values_that_take_no_byte_take_no_time():
    """UBJSON may say that billions of nulls follow."""
    many = b"L" + (1 << 62).to_bytes(8, "big")
    keys = b"L\0\0\0\0\0\0\0\x07learner[$Z#" + many + b"L\0\0\0\0\0\0\0\x07version[$T#" + many
    assert scan_bytes(b"{" + keys + b"}").format == "xgboost-ubjson"


def test_damaged_files_end_in_a_verdict_and_never_in_a_crash():
    """Mutated containers: every parser ends in a verdict."""
    rng = np.random.default_rng(0)
    buffer = io.BytesIO()
    np.savez_compressed(buffer, a=np.arange(9.0))
    pool = [data for key, data in HARMFUL.items() if key.startswith("container")]
    pool += [onnx_model(b"x", b"y"), keras(DENSE), buffer.getvalue(), npy(bytes(8), "'<f8'"),
             safetensors({"a": tensor(0, 8, [2])}, bytes(8)), b"tree\nversion=v4\nTree=0\n",
             b'{L\0\0\0\0\0\0\0\x07learner{}L\0\0\0\0\0\0\0\x07version[$i#i\3abc}']  # fmt: skip
    assert scan_bytes(pool[-1]).format == "xgboost-ubjson"
    for _ in range(4000):
        raw = bytearray(pool[rng.integers(0, len(pool))])
        for _ in range(rng.integers(1, 5)):
            at = int(rng.integers(0, len(raw)))
            if rng.random() < 0.7:
                raw[at] = rng.integers(0, 256)
            else:
                del raw[at : at + int(rng.integers(1, 20))]
            raw = raw or bytearray(b"x")
        assert isinstance(scan_bytes(bytes(raw)).verdict, Verdict)


def test_zip64_and_stored_members_are_read_in_place():
    buffer = io.BytesIO()
    with (
        zipfile.ZipFile(buffer, "w") as archive,
        archive.open("m/x.pkl", "w", force_zip64=True) as f,
    ):
        f.write(HARMFUL["route/reduce-4"])
    assert scan_bytes(buffer.getvalue()).verdict is Verdict.MALICIOUS


def test_a_safetensors_header_that_is_no_object_is_unreadable():
    """The reader by itself; a file is only recognised as safetensors where an object begins."""
    report = Report()
    context = Context(report, default_policy(), Budget(), "x.safetensors", dispatch)
    context.guarded(scan_safetensors, window_of((1).to_bytes(8, "little") + b"2"))
    assert report.verdict() is Verdict.UNREADABLE


@pytest.mark.parametrize("pack", [gzip.compress, lzma.compress, bz2.compress])
def test_a_stream_behind_zeros_is_not_passed_over(pack):
    """Readers go on after zeros, and a tar may end with one stream and go on in the next."""

    def entry(name, data):
        buffer = io.BytesIO()
        with tarfile.open(fileobj=buffer, mode="w") as archive:
            member = tarfile.TarInfo(name)
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))
        return buffer.getvalue()[:1024]

    first, second = pack(entry("a.txt", b"text")), pack(entry("b.pkl", b"N."))
    assert scan_bytes(first + bytes(5000)).verdict is Verdict.CLEAN
    assert scan_bytes(first + bytes(5000) + second).verdict is not Verdict.CLEAN


@pytest.mark.parametrize("shape", [[("f", "O")], {"a": 1}, (2.5,), -3, (-1, 2)])
def test_npy_with_an_odd_shape_of_items_is_unreadable(shape):
    header = repr({"descr": ("<i8", shape), "fortran_order": False, "shape": (1,)}).encode()
    data = b"\x93NUMPY\x01\0" + struct.pack("<H", len(header)) + header + bytes(64)
    assert scan_bytes(data, "a.npy").verdict is Verdict.UNREADABLE


def test_skops_attributes_that_are_internal_are_dangerous():
    def archive(attribute):
        kind = {"__module__": "builtins", "__class__": "int"}
        content = {"obj": {**kind, "__loader__": "TypeNode"}, "func": attribute}
        buffer = io.BytesIO()
        with zipfile.ZipFile(buffer, "w") as file:
            node = {**kind, "__loader__": "MethodNode", "content": content}
            file.writestr("schema.json", json.dumps(node))
        return scan_bytes(buffer.getvalue(), "m.skops")

    assert archive("bit_length").verdict is Verdict.CLEAN
    assert archive("__subclasses__").verdict is Verdict.DANGEROUS


@pytest.mark.parametrize(
    "header", ["{['a']: 1}", "{'descr': '|S" + "9" * 4900 + "', 'shape': (1,)}"]
)
def test_npy_headers_that_python_refuses_are_unreadable(header):
    data = b"\x93NUMPY\x01\0" + struct.pack("<H", len(header)) + header.encode()
    assert scan_bytes(data, "a.npy").verdict is Verdict.UNREADABLE


SCHEMA = {"__module__": "builtins", "__class__": "eval", "__loader__": "ConstructorFromReduceNode"}


@pytest.mark.parametrize(
    "others",
    [
        {"m/data.pkl": b"\x80\x02N."},
        {"config.json": b"{}", "model.weights.h5": b"\x89HDF\r\n\x1a\n"},
        {"archive_format": b"pt2"},
        {"m/data.pkl": b"\x80\x02N.", "m/code/__torch__.py": b""},
    ],
)
def test_a_skops_schema_is_read_whatever_else_the_archive_is(others):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as file:
        for name, data in {"schema.json": json.dumps(SCHEMA).encode(), **others}.items():
            file.writestr(name, data)
    assert scan_bytes(buffer.getvalue(), "m.skops").verdict is Verdict.MALICIOUS


def test_skops_archives_name_the_modules_that_loading_imports():
    skops = pytest.importorskip("skops.io")
    from sklearn.linear_model import LogisticRegression

    result = scan_bytes(skops.dumps(LogisticRegression().fit([[0.0], [1.0]], [0, 1])))
    assert "sklearn.linear_model._logistic" in result.modules

"""Known holes of installed loaders; versions are compared as the packaging library does."""

from __future__ import annotations

import json
import re
from importlib import resources

import pytest

from crenel.scan import ScanResult, Verdict, loader_holes, loaders, scan_bytes
from crenel.scan.loaders import affected, holes

from .corpus import HARMFUL, npy, proto, zipped

TABLE = json.loads(resources.files("crenel.scan").joinpath("loaders.json").read_text("utf-8"))


@pytest.mark.parametrize(
    ("version", "ranges", "expected"),
    [
        ("2.5.1", "<2.6", True), ("2.6.0", "<2.6", False), ("2.6.0+cpu", "<2.6", False),
        ("2.10.0", "<2.9", False), ("2.6.0rc1", "<2.6", True), ("2.6.0.post1", "<2.6", False),
        ("3.14.0", "==3.14.0", True), ("3.14", "==3.14.0", True), ("3.14.1", "==3.14.0", False),
        ("3.12.1", ">=3.0,<3.12.1 || >=3.13,<3.13.2", False),
        ("3.13.1", ">=3.0,<3.12.1 || >=3.13,<3.13.2", True),
        ("0.2.29", ">=0.2.30,<0.2.72", False), ("0.2.71", ">=0.2.30,<0.2.72", True),
        ("1.0.dev3", "<1.0", True), ("unknown", "<1.0", True),
    ],
)  # fmt: skip
def test_versions(version, ranges, expected):
    assert affected(version, ranges) is expected


def test_versions_agree_with_packaging():
    specifiers = pytest.importorskip("packaging.specifiers")
    versions = ["0.1", "0.2.30", "1.16.3", "2.0", "2.5.3", "2.6", "2.7.1", "3.0.0", "3.11.2",
                "3.13.1", "3.14.0", "5.4b1", "14.0.1", "1.21.0rc2", "4.6.0.post1"]  # fmt: skip
    for row in TABLE:
        for version in versions:
            wanted = any(
                specifiers.SpecifierSet(part).contains(version, prereleases=True)
                for part in row["affected"].split("||")
            )
            # PEP 440 keeps 4.6.0rc1 out of "<4.6.0", though it lacks the fix as likely as not.
            if not re.search(r"rc|b\d", version):
                assert affected(version, row["affected"]) is wanted, (row["id"], version)


def test_the_table_names_formats_that_the_scanner_tells():
    known = {"keras", "hdf5", "keras-config", "keras-metadata", "torch-zip", "torch-legacy",
             "pickle", "joblib", "onnx", "gguf", "jinja", "skops", "npy", "npz", "parquet",
             "arrow", "yaml", "mlflow", "lightgbm", "saved-model", "tensorflow-graph",
             "tensorflow-meta", "tflite"}  # fmt: skip
    for row in TABLE:
        assert set(row["formats"]) <= known
        assert re.fullmatch(r"CVE-\d{4}-\d{4,6}", row["id"])
        assert row["fixed"]
    seen = {scan_bytes(HARMFUL[k]).format for k in ("container/torch-zip", "container/gzip")}
    assert seen == {"torch-zip", "pickle+gzip"}
    assert scan_bytes(npy(bytes(8), "'<f8'")).format == "npy"
    assert scan_bytes(zipped([("a.npy", npy(bytes(8), "'<f8'"))])).format == "npz"


def test_a_hole_is_told_only_for_installed_versions_that_have_it():
    old = holes({"torch": "2.5.1"}.get)
    assert {hole.id for hole in old} == {"CVE-2025-32434", "CVE-2026-24747"}
    assert {hole.id for hole in holes({"torch": "2.6.0"}.get)} == {"CVE-2026-24747"}
    assert holes({"torch": "2.13.0+cpu"}.get) == []
    assert holes({}.get) == []


def test_a_hole_concerns_files_of_its_formats_and_changes_no_verdict(monkeypatch):
    monkeypatch.setattr(loaders, "_installed", lambda: tuple(holes({"keras": "3.8.0"}.get)))
    keras = ScanResult("m.keras", "", "keras", Verdict.CLEAN, [])
    packed = ScanResult("m.h5.gz", "", "hdf5+gzip", Verdict.CLEAN, [])
    other = scan_bytes(proto(2) + b"N.")
    assert "CVE-2025-1550" in {hole.id for hole in loader_holes([keras, other])}
    assert {hole.id for hole in loader_holes([packed])} == {"CVE-2025-9905"}
    assert loader_holes([other]) == []
    assert keras.verdict is Verdict.CLEAN


def test_the_command_tells_them_on_lines_of_their_own(monkeypatch, tmp_path, capsys):
    from crenel.cli.entry import run

    monkeypatch.setattr(loaders, "_installed", lambda: tuple(holes({"numpy": "1.16.2"}.get)))
    path = tmp_path / "x.npy"
    path.write_bytes(npy(bytes(8), "'<f8'"))
    assert run(["scan", str(path)]) == 0
    assert re.search(r"loader +numpy 1\.16\.2 .*CVE-2019-6446.*1\.16\.3", capsys.readouterr().out)
    assert run(["scan", str(path), "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told[0]["loader_holes"][0]["id"] == "CVE-2019-6446"

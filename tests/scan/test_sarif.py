"""Scans as SARIF, from the command line and in several processes."""

from __future__ import annotations

import hashlib
import json
import os
import pickle
import re

import pytest

from crenel.cli.entry import run
from crenel.scan import scan_paths
from crenel.scan.loaders import LoaderHole
from crenel.scan.sarif import to_sarif


class Payload:
    def __reduce__(self):
        return os.system, ("true",)


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "models").mkdir()
    (tmp_path / "models" / "good model.pkl").write_bytes(pickle.dumps([1, 2]))
    (tmp_path / "models" / "bad.pkl").write_bytes(pickle.dumps(Payload()))
    (tmp_path / "models" / "odd.bin").write_bytes(b"\x99\x98odd")
    return tmp_path


def told(capsys, *arguments):
    code = run(list(arguments))
    return code, capsys.readouterr().out


def test_every_file_is_an_artifact_and_every_reason_a_result(folder, capsys):
    code, out = told(capsys, "scan", "models", "--sarif")
    assert code == 1
    log = json.loads(out)
    assert log["version"] == "2.1.0"
    (one,) = log["runs"]
    places = {a["location"]["uri"]: a for a in one["artifacts"]}
    assert set(places) == {"models/bad.pkl", "models/good%20model.pkl", "models/odd.bin"}
    digest = hashlib.sha256((folder / "models" / "bad.pkl").read_bytes()).hexdigest()
    assert places["models/bad.pkl"]["hashes"]["sha-256"] == digest
    rules = [r["id"] for r in one["tool"]["driver"]["rules"]]
    by_file = {}
    for result in one["results"]:
        assert rules[result["ruleIndex"]] == result["ruleId"]
        place = result["locations"][0]["physicalLocation"]["artifactLocation"]
        assert one["artifacts"][place["index"]]["location"]["uri"] == place["uri"]
        assert re.fullmatch(r"[0-9a-f]{32}", result["partialFingerprints"]["crenel/v1"])
        by_file.setdefault(place["uri"], []).append(result)
    assert set(by_file) == {"models/bad.pkl", "models/odd.bin"}
    assert by_file["models/bad.pkl"][0]["level"] == "error"
    assert "system" in by_file["models/bad.pkl"][0]["properties"]["call"]
    assert by_file["models/odd.bin"][0]["level"] == "warning"
    fingerprints = [r["partialFingerprints"]["crenel/v1"] for r in one["results"]]
    assert fingerprints == [
        r["partialFingerprints"]["crenel/v1"]
        for r in json.loads(to_sarif(scan_paths(["models"])))["runs"][0]["results"]
    ]


def test_holes_of_installed_loaders_are_notifications():
    hole = LoaderHole("torch", "2.5", "CVE-2025-32434", "runs code", "2.6", ("torch-zip",))
    (one,) = json.loads(to_sarif([], [hole]))["runs"]
    (note,) = one["invocations"][0]["toolConfigurationNotifications"]
    assert note["descriptor"]["id"] == "CVE-2025-32434"
    assert not one["results"]


def test_json_and_sarif_together_are_wrong_usage(folder, capsys):
    assert told(capsys, "scan", "models", "--json", "--sarif")[0] == 64


def test_several_processes_say_the_same_in_the_same_order(folder, monkeypatch):
    one = scan_paths(["models", "models/bad.pkl"])
    monkeypatch.setattr("crenel.scan.scanner.SHARED", 1)
    assert scan_paths(["models", "models/bad.pkl"]) == one


def test_kept_processes_read_relative_paths_where_the_caller_is_now(folder, monkeypatch):
    monkeypatch.setattr("crenel.scan.scanner.SHARED", 1)
    above = scan_paths(["models", "models/bad.pkl"])
    monkeypatch.chdir("models")
    assert [r.sha256 for r in scan_paths([".", "bad.pkl"])] == [r.sha256 for r in above]


@pytest.mark.parametrize("form", ["--json", "--sarif"])
def test_texts_that_utf8_cannot_write_are_written_as_escapes(tmp_path, capsys, form):
    half = "\ud8ff".encode("utf-8", "surrogatepass")  # as the name of a function in os
    (tmp_path / "a.pkl").write_bytes(b"\x80\x04\x8c\x02os\x8c\x03" + half + b"\x93.")
    assert run(["scan", str(tmp_path), form]) == 1
    said = capsys.readouterr().out
    said.encode()
    assert "\\ud8ff" in said
    assert "\ud8ff" in json.dumps(json.loads(said), ensure_ascii=False)

"""Results, paths, exit codes and digests."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys

import pytest

from crenel.errors import UsageError
from crenel.scan import ScanResult, Verdict, digest, exit_code, scan_bytes, scan_file, scan_paths

from .corpus import proto, system


def test_json_has_the_published_fields(tmp_path):
    path = tmp_path / "m.pkl"
    path.write_bytes(system())
    data = json.loads(json.dumps(scan_file(path).to_json()))
    assert list(data) == ["path", "sha256", "format", "verdict", "reasons"]
    assert data["path"] == str(path)
    assert data["sha256"] == hashlib.sha256(system()).hexdigest()
    assert (data["format"], data["verdict"]) == ("pickle", "malicious")
    assert list(data["reasons"][0]) == ["code", "sentence", "offset", "call", "member"]


def test_verdicts_are_ordered_by_severity():
    names = ["clean", "review", "unreadable", "dangerous", "malicious"]
    assert [str(v) for v in sorted(Verdict, key=lambda v: v.severity)] == names


@pytest.mark.parametrize(
    ("verdicts", "expected"),
    [
        ([], 2), (["clean"], 0), (["clean", "review"], 1), (["review", "unreadable"], 2),
        (["unreadable", "malicious"], 1), (["dangerous"], 1),
    ],
)  # fmt: skip
def test_exit_code_follows_the_worst(verdicts, expected):
    results = [ScanResult("p", "", "f", Verdict(v), []) for v in verdicts]
    assert exit_code(results) == expected


def test_folders_are_read_recursively_in_order(tmp_path):
    (tmp_path / "b").mkdir()
    for name in ("b/z.pkl", "b/a.pkl", "a.pkl"):
        (tmp_path / name).write_bytes(proto(2) + b"N.")
    (tmp_path / "b" / "loop").symlink_to(tmp_path, target_is_directory=True)
    found = [os.path.relpath(r.path, tmp_path) for r in scan_paths([tmp_path])]
    assert found == ["a.pkl", "b/a.pkl", "b/z.pkl"]


def test_missing_path_is_a_usage_error_before_anything_is_scanned(tmp_path):
    with pytest.raises(UsageError, match="no file or folder"):
        scan_paths([tmp_path, tmp_path / "missing"])
    with pytest.raises(UsageError):
        scan_file(tmp_path / "missing")
    with pytest.raises(UsageError, match="folder"):
        scan_file(tmp_path)


def test_what_cannot_be_opened_is_unreadable(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "dangling").symlink_to(tmp_path / "nothing")
    results = scan_paths([tmp_path])
    assert {r.verdict for r in results} == {Verdict.UNREADABLE}
    assert len(results) == 2


def test_digest_is_what_trust_is_compared_with(tmp_path):
    path = tmp_path / "m.pkl"
    path.write_bytes(system())
    assert digest(path) == f"sha256:{scan_file(path).sha256}"


def test_scan_is_repeatable():
    assert scan_bytes(system()).to_json() == scan_bytes(system()).to_json()


def test_many_reasons_are_cut_but_keep_the_worst():
    calls = b"".join(b"cmine\nf%d\n)R0" % i for i in range(300))
    result = scan_bytes(proto(2) + calls + system()[2:])
    assert len(result.reasons) <= 101
    assert result.verdict is Verdict.MALICIOUS


def test_scanning_imports_no_machine_learning_library():
    code = (
        "import sys, crenel.scan as s; s.scan_bytes(b'\\x80\\x02N.');"
        "print([m for m in ('sklearn', 'torch', 'pandas', 'numpy', 'xgboost') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_scanning_executes_nothing(tmp_path):
    """A payload that would leave a file behind leaves none."""
    mark = tmp_path / "executed"
    call = f"cos\nsystem\n(S'touch {mark}'\ntR.".encode()
    assert scan_bytes(call).verdict is Verdict.MALICIOUS
    assert not mark.exists()

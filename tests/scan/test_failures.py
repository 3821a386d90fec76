"""A defect of one reader costs one file its verdict: nothing else, and never as clean."""

from __future__ import annotations

import io
import os
import signal
import tarfile

import pytest

from crenel.errors import Untrusted
from crenel.scan import dispatch, load, scan_bytes, scan_paths, scanner
from crenel.scan.formats import pickles

from .corpus import proto, system, zipped

MAGIC = b"planted!"
PLAIN = proto(4) + b"N."


def deep(n=0):
    return deep(n + 1)


def endless():
    return bytearray(1 << 60)


def wrong():
    raise KeyError("no such field")


def full():
    raise OSError(28, "No space left on device")


@pytest.fixture(params=[deep, endless, wrong, full])
def planted(request, monkeypatch):
    """A reader that fails on files of its own magic number."""

    def read(window, context):
        context.add("seen", "Read before the failure.", scanner.Verdict.REVIEW)
        return request.param()

    monkeypatch.setattr(dispatch, "MAGIC", (*dispatch.MAGIC, (0, MAGIC, read)))
    return {deep: "RecursionError", endless: "MemoryError", wrong: "KeyError in context.py",
            full: "No space left on device"}[request.param]  # fmt: skip


def told(result, planted):
    assert result.verdict == "unreadable"
    [sentence] = [r.sentence for r in result.reasons if r.code == "failed"]
    assert planted in sentence
    assert ("report this defect" in sentence) == ("Error" in planted)
    assert {r.code for r in result.reasons} == {"failed", "seen"}
    return True


def test_the_other_files_of_a_folder_keep_their_results(planted, tmp_path):
    for name, data in (("a", PLAIN), ("b", MAGIC), ("c", system()), ("d", PLAIN)):
        (tmp_path / name).write_bytes(data)
    found = scan_paths([tmp_path])
    assert [str(r.verdict) for r in found] == ["clean", "unreadable", "malicious", "clean"]
    assert told(found[1], planted)
    assert len(found[1].sha256) == 64


def test_the_other_members_of_an_archive_keep_their_reasons(planted):
    members = [("a.bin", MAGIC), ("b.pkl", system())]
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for name, data in members:
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    for data in (zipped(members), buffer.getvalue()):
        result = scan_bytes(data)
        assert result.verdict == "malicious"
        assert {"failed", "hostile-call"} <= {r.code for r in result.reasons}
        assert [r.member for r in result.reasons if r.code == "failed"] == ["a.bin"]


def test_load_refuses(planted, tmp_path):
    (tmp_path / "m.bin").write_bytes(MAGIC)
    with pytest.raises(Untrusted, match="unreadable"):
        load(tmp_path / "m.bin")


def test_a_failing_pickle_machine_is_told(monkeypatch):
    monkeypatch.setattr(pickles, "_run", lambda *a: deep())
    result = scan_bytes(PLAIN)
    assert (result.verdict, result.format) == ("unreadable", "pickle")
    assert "RecursionError" in result.reasons[0].sentence


def test_failing_to_tell_what_a_file_holds_keeps_what_was_found(monkeypatch):
    monkeypatch.setattr(scanner, "found_in", lambda *a: wrong())
    assert scan_bytes(PLAIN).verdict == "unreadable"
    assert scan_bytes(system()).verdict == "malicious"


def ended(i, file, here):
    if file.name == "b":
        os.kill(os.getpid(), signal.SIGKILL)  # as the system does when memory runs out
    return i, scanner.scan_file(file)


def test_a_process_that_is_ended_costs_its_own_file_only(monkeypatch, tmp_path):
    for name, data in (("a", PLAIN), ("b", PLAIN), ("c", system()), ("d", PLAIN)):
        (tmp_path / name).write_bytes(data)
    monkeypatch.setattr(scanner, "SHARED", 0)
    monkeypatch.setattr(os, "cpu_count", lambda: 2)
    monkeypatch.setattr(scanner, "_numbered", ended)
    found = scan_paths([tmp_path])
    assert [str(r.verdict) for r in found] == ["clean", "unreadable", "malicious", "clean"]
    assert "was ended" in found[1].reasons[0].sentence


def test_a_tar_archive_whose_extended_numbers_are_none_is_said_to_be_damaged():
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w", format=tarfile.PAX_FORMAT) as archive:
        member = tarfile.TarInfo("weights.bin")
        member.pax_headers = {"GNU.sparse.size": "10q"}
        archive.addfile(member)
    result = scan_bytes(stream.getvalue())
    assert result.verdict == "unreadable"
    assert "damaged" in result.reasons[0].sentence

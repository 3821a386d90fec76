"""``crenel scan`` says the same with and without the parser, and steers no terminal."""

from __future__ import annotations

import json
import os
import pickle

import pytest

from crenel.cli.entry import run
from crenel.cli.scanning import direct


class Payload:
    def __reduce__(self):
        return os.system, ("true",)


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "plain.pkl").write_bytes(pickle.dumps([1, "a"]))
    (tmp_path / "bad \x1b[2J\udc80.pkl").write_bytes(pickle.dumps(Payload()))
    return tmp_path


@pytest.mark.parametrize("more", [[], ["--json"]])
def test_both_ways_agree(folder, capsys, more):
    said = []
    for way in (run, direct):
        code = way(["scan", str(folder), *more])
        said.append((code, capsys.readouterr().out))
    assert said[0] == said[1]
    assert said[0][0] == 1
    if more:
        rows = json.loads(said[0][1])
        assert [row["verdict"] for row in rows] == ["malicious", "clean"]
    else:
        assert "\x1b" not in said[0][1]
        assert r"bad \x1b[2J\udc80.pkl" in said[0][1]
        assert "2 files, 1 not clean" in said[0][1]


@pytest.mark.parametrize(
    "arguments", [[], ["scan"], ["scan", "--help"], ["scan", "missing"], ["scan", "--json"],
                  ["audit"], ["scan", "--", "."], ["--version"]]
)  # fmt: skip
def test_anything_else_is_parsed(arguments):
    assert direct(arguments) is None


def test_a_terminal_gets_colours_but_no_codes_of_the_file(folder, monkeypatch, capsys):
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("TERM", "xterm")
    assert direct(["scan", str(folder)]) == 1
    out = capsys.readouterr().out
    assert "\x1b[31mmalicious" in out
    assert "\x1b[2J" not in out

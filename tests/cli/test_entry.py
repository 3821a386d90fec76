import json
import subprocess
import sys

import pytest

from crenel.cli.entry import run

HEAVY = ("numpy", "sklearn", "pandas", "torch", "scipy", "sqlalchemy", "altair", "rich.console")


def call(capsys, *arguments):
    code = run([str(a) for a in arguments])
    captured = capsys.readouterr()
    return code, captured.out, captured.err


def test_help_imports_nothing_heavy():
    script = (
        "import sys\n"
        "from crenel.cli.entry import app\n"
        "import crenel\n"
        f"print([m for m in {HEAVY!r} if m in sys.modules])"
    )
    told = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert told.stdout.strip() == "[]", told.stderr


def test_help_lists_every_verb(capsys):
    code, out, _ = call(capsys, "--help")
    assert code == 0
    for verb in ("audit", "demo", "init", "scan", "harden", "gate", "report", "explain", "doctor"):
        assert verb in out


def test_no_arguments_show_the_help_alone(capsys):
    code, out, err = call(capsys)
    assert code == 64
    assert out + err == call(capsys, "--help")[1]


def test_version(capsys):
    from crenel import __version__

    assert call(capsys, "--version")[:2] == (0, f"crenel {__version__}\n")


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["audti"], "audti"),
        (["audit", "--time", "soon", "."], "soon"),
        (["audit", "no-such-folder/crenel.toml"], "there is no file"),
        (["scan"], "paths"),
        (["explain", "EVA-999"], "no check is called 'EVA-999'"),
        (["report", "last", "--format", "pdf"], "'pdf' is no format"),
        (["gate", "nothing"], "no run is called 'nothing'"),
        (["accept", "eva-1", "--owner", "a", "--reason", "b", "--until", "soon"], "not a date"),
        (["accept", "eva-1", "--owner", "a", "--reason", "b", "--until", "2001-01-01"], "passed"),
        (["init"], "name the training data"),
        (["init", "nothing.joblib", "nothing.csv", "--out", "new.toml"], "there is no file"),
    ],
)
def test_wrong_usage_is_one_sentence_and_64(capsys, monkeypatch, tmp_path, arguments, sentence):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("CRENEL_STORE", str(tmp_path / "runs.db"))
    (tmp_path / "crenel.toml").write_text('[target.a]\nmodel = "m.joblib"\n')
    code, _, err = call(capsys, *arguments)
    assert code == 64
    assert err.startswith("crenel: ")
    assert sentence in err
    assert "Traceback" not in err
    assert len(err.strip().splitlines()) == 1


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("", "names no target"),
        ("[target", "cannot be read"),
        ('[target.a]\nmodel = "m"\n[polciy]\n', "unknown section [polciy]"),
        ('[target.a]\nmodel = "m"\n[audit]\nseed = "x"\n', "audit"),
        ('[target.a]\nmodel = "m"\n[audit]\ntime = "later"\n', "'later' is not a duration"),
        ('[target.a]\nmodel = "m"\n[[policy.limit]]\ncheck = "EVA-102"\n', "a limit needs"),
        ('[target.a]\nmodle = "m"\n', "modle"),
    ],
)
def test_a_wrong_configuration_is_one_sentence_and_64(
    capsys, monkeypatch, tmp_path, text, sentence
):
    monkeypatch.setenv("CRENEL_STORE", str(tmp_path / "runs.db"))
    config = tmp_path / "crenel.toml"
    config.write_text(text)
    code, _, err = call(capsys, "audit", config)
    assert (code, len(err.strip().splitlines())) == (64, 1)
    if sentence != "audit":
        assert sentence in err
    assert "crenel.toml" in err or "duration" in err


def test_a_defect_is_told_without_a_traceback(capsys, monkeypatch):
    from crenel.cli import checks as verb

    def broken(*arguments):
        raise RuntimeError("wires crossed")

    monkeypatch.setattr("crenel.check.load_checks", broken)
    code, _, err = call(capsys, "checks")
    assert code == 2
    assert "a defect of crenel" in err
    assert "wires crossed" in err
    assert "Traceback" not in err
    assert verb is not None


def test_every_check_has_a_row_and_a_page(capsys):
    code, out, _ = call(capsys, "checks", "--json")
    assert code == 0
    rows = json.loads(out)
    ids = [r["id"] for r in rows]
    assert len(ids) == len(set(ids))
    wanted = "EVA-101 EVA-102 EVA-103 POI-101 POI-102 POI-103 ONL-101 TRA-101 TRA-102 TRA-103"
    assert set(f"{wanted} CON-101 CON-102 CON-103".split()) <= set(ids)
    for row in rows:
        assert set(row) >= {"id", "risk", "needs", "references"}
        code, page, _ = call(capsys, "explain", row["id"])
        assert code == 0
        assert row["question"] in page
        assert len(page) > 500


def test_doctor_names_the_extra_for_what_is_missing(capsys, monkeypatch):
    import importlib.util

    real = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name, *a: None if name == "river" else real(name, *a)
    )
    code, out, _ = call(capsys, "doctor")
    assert code == 0
    assert "pip install 'crenel[online]'" in out

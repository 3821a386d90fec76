"""What a user gets wrong: one clear sentence each, with a remedy, and the right exit code."""

import pickle
import tomllib
from pathlib import Path

import joblib
import numpy as np
import pandas as pd
import pytest
from sklearn.linear_model import LogisticRegression

from crenel.cli.entry import run

MODULE = """
import numpy as np

def raising(x):
    raise ValueError("wrong phase of the moon")

def drunk(x):
    return np.full((len(x), 2), 0.9)
"""


class Hostile:
    def __reduce__(self):
        import os

        return os.system, ("true",)


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.setenv("CRENEL_STORE", str(tmp_path / "runs.db"))
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(0)
    table = pd.DataFrame(rng.normal(size=(200, 3)), columns=["a", "b", "c"])
    table["bought"] = np.where(table["a"] > 0, "yes", "no")
    table.to_csv("train.csv", index=False)
    table.to_csv("test.csv", index=False)
    model = LogisticRegression().fit(table[["a", "b", "c"]], table["bought"])
    joblib.dump(model, "model.joblib")
    (tmp_path / "mine.py").write_text(MODULE)
    return tmp_path


def change(name, edit):
    table = pd.read_csv(name)
    edit(table).to_csv(name, index=False)


def one_class(t):
    return t.assign(bought="yes")


def holes(t):
    return t.assign(bought=t["bought"].where(t.index != 3))


def without_c(t):
    return t.drop(columns="c")


BOTH = ("train", "test")
CASES = {
    "missing model": ({"model": "nothing.joblib"}, None, 64, "there is no file"),
    "missing data": ({"train": "nothing.csv"}, None, 64, "nothing.csv"),
    "wrong label": ({"label": "buoght"}, None, 64, "did you mean 'bought'"),
    "unknown check": ({"checks": "EVA-999"}, None, 64, "no check matches"),
    "one class": ({}, lambda: change("train.csv", one_class), 2, "class"),
    "few rows": ({}, lambda: change("test.csv", lambda t: t.head(12)), 2, "12 rows"),
    "labels with holes": ({}, lambda: change("train.csv", holes), 2, "missing in 1 of 200 rows"),
    "model that raises": ({"model": "mine:raising"}, None, 2, "wrong phase of the moon"),
    "no probabilities": ({"model": "mine:drunk"}, None, 2, "sum to one"),
    "other columns": (
        {},
        lambda: [change(f"{f}.csv", lambda t: t.rename(columns={"b": "z"})) for f in BOTH],
        2,
        "'b'",
    ),
    "train and test differ": ({}, lambda: change("test.csv", without_c), 2, "c"),
    "hostile pickle": (
        {"model": "bad.pkl"},
        lambda: Path("bad.pkl").write_bytes(pickle.dumps(Hostile())),
        1,
        "malicious",
    ),
    "broken pickle": (
        {"model": "bad.pkl"},
        lambda: Path("bad.pkl").write_bytes(pickle.dumps({"a": [1, 2]})[:-3]),
        2,
        "scan",
    ),
    "not a table": (
        {"train": "train.parquet"},
        lambda: Path("train.parquet").write_text("x"),
        2,
        "train.parquet",
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_bad_input_is_one_clear_sentence(folder, capfd, case):
    given, prepare, code, sentence = CASES[case]
    if prepare is not None:
        prepare()
    target = {"model": "model.joblib", "train": "train.csv", "test": "test.csv", "label": "bought"}
    checks = given.get("checks", "EVA-102,TRA-101").split(",")
    target.update({k: v for k, v in given.items() if k != "checks"})
    lines = "\n".join(f'{key} = "{value}"' for key, value in target.items())
    (folder / "crenel.toml").write_text(f"[target.shop]\n{lines}\n[audit]\nchecks = {checks!r}\n")
    assert run(["audit"]) == code
    out, err = capfd.readouterr()
    assert "Traceback" not in out + err
    told = [line for line in err.splitlines() if line.startswith("crenel: ")]
    assert len(told) == 1, err
    assert sentence in told[0]
    assert len(told[0]) < 500


def test_a_limit_of_a_sound_model_passes_and_exits_0(folder, capfd):
    (folder / "crenel.toml").write_text(
        '[target.shop]\nmodel = "model.joblib"\ntrain = "train.csv"\ntest = "test.csv"\n'
        'label = "bought"\n[audit]\nchecks = ["TRA-101", "CON-103"]\n'
        '[[policy.limit]]\nseverity = "low"\nfindings = 0\n'
    )
    assert run(["audit", "--json"]) == 0
    assert '"verdict": "pass"' in capfd.readouterr().out


def test_init_takes_arrays_and_folders_of_images(folder, capfd):
    rng = np.random.default_rng(0)
    for part, n in (("train", 40), ("test", 20)):
        np.savez(folder / f"{part}.npz", x=rng.random((n, 1, 8, 8)), y=np.arange(n) % 2)
    assert run(["init", "train.npz", "--out", "arrays.toml"]) == 0
    assert "label with the data, 1 feature" in capfd.readouterr().out
    written = tomllib.loads((folder / "arrays.toml").read_text())["target"]["train"]
    assert (written["train"], written["test"]) == ("train.npz", "test.npz")
    assert "label" not in written
    assert run(["init", "train.npz", "--label", "y", "--out", "other.toml"]) == 64
    assert "leave --label out" in capfd.readouterr().err
    pil = pytest.importorskip("PIL.Image")
    for label in ("cat", "dog"):
        (folder / "pictures" / label).mkdir(parents=True)
        for i in range(3):
            pixels = rng.integers(0, 255, (8, 8, 3), dtype=np.uint8)
            pil.fromarray(pixels).save(folder / "pictures" / label / f"{i}.png")
    assert run(["init", "model.joblib", "pictures", "--out", "pictures.toml"]) == 0
    assert 'kind = "image"' in (folder / "pictures.toml").read_text()


def test_init_writes_a_configuration_that_audits(folder, capfd):
    assert run(["init", "model.joblib", "train.csv"]) == 0
    text = (folder / "crenel.toml").read_text()
    assert 'label = "bought"' in text
    assert 'test = "test.csv"' in text
    assert run(["init", "model.joblib", "train.csv"]) == 64
    capfd.readouterr()
    assert run(["audit", "--check", "EVA-102", "--out", "out"]) in (0, 1, 2)
    assert (folder / "out" / "report.html").stat().st_size < 600_000
    assert "measured" in capfd.readouterr().err
    assert run(["runs"]) == 0
    assert "model" in capfd.readouterr().out
    for name in ("json", "markdown", "sarif", "junit", "html"):
        assert run(["report", "last", "--format", name, "--out", f"r.{name}"]) == 0
    assert run(["diff", "last", "out/report.json"]) == 0
    assert "same" in capfd.readouterr().out

"""Only what changed is audited: harmful changes are told, sound ones are not."""

import joblib
import numpy as np
import pandas as pd
import pytest
from sklearn.linear_model import LogisticRegression

from crenel.auditor.changes import COLUMN, ROWS, UNCHANGED, marked, sampled
from crenel.cli.entry import run
from crenel.provenance.rows import Roles
from crenel.provenance.snapshots import compare_snapshots

CONFIG = """
[target.buyers]
model = "model.joblib"
train = "old.csv"
test = "test.csv"
label = "bought"
source = "vendor"
record_id = "id"
[audit]
time = "60s"
"""
ROLES = Roles("bought", "vendor", ("id",))
OPTIONS = ["--label", "bought", "--source-column", "vendor", "--record-id", "id"]


def made(n, seed, start, vendors=("acme", "beta")):
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(n, 4))
    frame = pd.DataFrame(x, columns=list("abcd")).assign(id=np.arange(start, start + n))
    frame["bought"] = np.where(x[:, 0] + x[:, 1] + rng.normal(0, 0.3, n) > 0, "yes", "no")
    frame["vendor"] = rng.choice(vendors, n)
    return frame


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("CRENEL_STORE", str(tmp_path / "runs.db"))
    old = made(600, 0, 0)
    old.to_csv("old.csv", index=False)
    made(400, 1, 5000).drop(columns="vendor").to_csv("test.csv", index=False)
    model = LogisticRegression().fit(old[list("abcd")], old["bought"])
    joblib.dump(model, "model.joblib")
    (tmp_path / "crenel.toml").write_text(CONFIG)
    return old


def audited(capsys, *more):
    arguments = ["diff", "old.csv", "new.csv", *OPTIONS, "--audit-difference", "crenel.toml"]
    code = run(["provenance", *arguments, *more])
    captured = capsys.readouterr()
    return code, captured.out, captured.err


def test_turned_labels_of_one_vendor_are_named_and_sound_ones_are_not(folder, capsys):
    bad, good = made(80, 2, 1000, ("gamma",)), made(80, 3, 2000, ("acme",))
    bad["bought"] = bad["bought"].map({"yes": "no", "no": "yes"})
    pd.concat([folder, bad, good]).to_csv("new.csv", index=False)
    code, out, err = audited(capsys)
    assert code == 1, err
    assert "the 80 rows of the source changed rows of gamma contradict" in out
    assert "of acme contradict" not in out
    assert UNCHANGED not in out


def test_sound_changes_pass(folder, capsys):
    pd.concat([folder, made(80, 3, 2000, ("acme",))]).to_csv("new.csv", index=False)
    code, out, err = audited(capsys, "--json")
    assert code == 0, err
    assert '"findings": []' in out


def test_changes_are_marked_by_their_supplier_and_nothing_else_is(folder):
    new = folder.copy()
    new.loc[3, "bought"] = "no" if new.loc[3, "bought"] == "yes" else "yes"
    new.loc[7, "a"] += 1
    new.to_csv("new.csv", index=False)
    (change,) = compare_snapshots(*map(change_path, ("old.csv", "new.csv")), ROLES)
    frame = marked(change, "vendor")
    assert "vendor" not in frame.columns
    changed = frame[frame[COLUMN] != UNCHANGED]
    assert changed.index.tolist() == [3, 7]
    assert changed[COLUMN].tolist() == [f"changed rows of {new.loc[i, 'vendor']}" for i in (3, 7)]
    assert changed["a"].tolist() == pytest.approx(new.loc[[3, 7], "a"].tolist())


def change_path(name):
    from pathlib import Path

    return Path(name)


def test_of_many_rows_the_changed_ones_are_kept():
    changed = np.arange(0, 90_000, 300)
    rows = sampled(100_000, changed, 0)
    assert len(rows) == ROWS
    assert np.isin(changed, rows).all()
    rows = sampled(100_000, np.arange(60_000), 0)
    assert (rows < 60_000).sum() == ROWS // 2
    assert sampled(50, np.arange(3), 0).tolist() == list(range(50))


def test_nothing_to_audit_is_told(folder, capsys):
    folder.to_csv("new.csv", index=False)
    code, _, err = audited(capsys)
    assert code == 2
    assert "nothing changed in new.csv" in err
    made(600, 9, 9000).to_csv("new.csv", index=False)
    code, _, err = audited(capsys)
    assert code == 2
    assert "every row changed" in err

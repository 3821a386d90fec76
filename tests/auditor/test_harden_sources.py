"""From the command line: a source that could do too much is found, capped, and measured again."""

import json

import joblib
import numpy as np
import pandas as pd
from sklearn.datasets import load_breast_cancer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from typer.testing import CliRunner

from crenel.cli.entry import app

CONFIG = """
[target.cells]
model = "model.joblib"
train = "train.csv"
test = "test.csv"
label = "label"
source = "branch"
record_id = "id"
[audit]
checks = ["POI-103"]
[[policy.limit]]
check = "POI-103"
budget = 1
harm = 0.2
"""


def supplied(folder):
    """Breast cancer cells, of which one branch supplies more than half and turns a few labels."""
    data = load_breast_cancer(as_frame=True)
    table = data.data.iloc[:, :8].rename(columns=lambda c: c.replace(" ", "_"))
    columns = list(table.columns)
    rng = np.random.default_rng(0)
    table["label"] = np.where(data.target == 1, "benign", "malignant")
    table["id"] = [f"r{i}" for i in range(len(table))]
    names = np.array(["harbour", "a", "b", "c", "d", "e"])
    table["branch"] = rng.choice(names, len(table), p=[0.55, *[0.09] * 5])
    table = table.iloc[rng.permutation(len(table))].reset_index(drop=True)
    train, test = table.iloc[:420].copy(), table.iloc[420:]
    bad = (train["branch"] == "harbour") & (rng.random(len(train)) < 0.05)
    other = np.where(train["label"] == "benign", "malignant", "benign")
    train["label"] = np.where(bad, other, train["label"])
    model = make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000))
    joblib.dump(model.fit(train[columns], train["label"]), folder / "model.joblib")
    train.to_csv(folder / "train.csv", index=False)
    test.to_csv(folder / "test.csv", index=False)
    (folder / "crenel.toml").write_text(CONFIG)
    return train, test, columns


def harm_of_one(run):
    """Upper end of what a single source can cost, of a run as JSON."""
    (curve,) = [e for e in run["exposures"] if e["check"] == "POI-103" and not e.get("series")]
    return dict(zip(curve["budget"]["values"], curve["harm"]["high"], strict=True))[1]


def test_a_harmful_source_is_found_capped_and_measured_again(tmp_path):
    train, test, columns = supplied(tmp_path)
    runner, out = CliRunner(), tmp_path / "hardened"
    store = ["--store", f"sqlite:///{tmp_path / 'runs.db'}"]
    asked = [str(tmp_path / "crenel.toml"), "--json", "--out", str(tmp_path / "audit"), *store]
    first = runner.invoke(app, ["audit", *asked])
    assert first.exit_code == 1, first.output  # the policy's limit is broken
    before = json.loads(first.stdout)
    (finding,) = [f for f in before["findings"] if "cap-sources" in f["remedies"]]
    assert "harbour" in finding["sentence"]
    wanted = ["--finding", finding["fingerprint"], "--remedy", "cap-sources"]
    second = runner.invoke(app, ["harden", "--json", "--out", str(out), *wanted, *store])
    after = json.loads(second.stdout)
    assert after["run"]["before"] == before["run"]["id"]
    assert after["run"]["treatment"]["remedy"] == "cap-sources"
    assert harm_of_one(after) < harm_of_one(before)
    assert second.exit_code == {"pass": 0, "fail": 1}.get(after["verdict"], 2), second.output

    rows = pd.read_csv(out / "sources.csv").set_index("source")
    counts = train["branch"].value_counts()
    assert rows["rows_before"].to_dict() == counts.to_dict()
    (taken,) = pd.read_csv(out / "caps.csv").query("chosen").to_dict("records")
    assert rows.loc["harbour", "rows_after"] == taken["rows_of_a_source"] < counts["harbour"]
    small = rows.drop("harbour")
    assert (small["rows_after"] == small["rows_before"]).all()
    assert after["target"]["parts"][0]["train_rows"] == taken["rows"] == rows["rows_after"].sum()
    hardened = joblib.load(out / "hardened.joblib")
    assert (hardened.predict(test[columns]) == test["label"]).mean() > 0.85

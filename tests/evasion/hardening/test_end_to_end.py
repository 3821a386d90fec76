"""Audit, harden, and measure again: trees in an isolated worker, as `crenel harden` does it."""

import joblib
import numpy as np
import pandas as pd
import pytest
from sklearn.datasets import load_breast_cancer
from sklearn.tree import DecisionTreeClassifier

from crenel.auditor.audit import run_job
from crenel.auditor.harden import choose, harden
from crenel.auditor.job import read_job


@pytest.mark.slow
def test_trees_are_hardened_and_measured_again(tmp_path):
    x, y = load_breast_cancer(return_X_y=True, as_frame=True)
    x = x.iloc[:, :8]
    order = np.random.default_rng(0).permutation(len(y))
    train, test = order[:380], order[380:]
    for name, rows in (("train", train), ("test", test)):
        x.iloc[rows].assign(benign=y.iloc[rows]).to_csv(tmp_path / f"{name}.csv", index=False)
    tree = DecisionTreeClassifier(random_state=0).fit(x.iloc[train], y.iloc[train])
    joblib.dump(tree, tmp_path / "model.joblib")
    (tmp_path / "crenel.toml").write_text(
        '[target.cells]\nmodel = "model.joblib"\ntrain = "train.csv"\ntest = "test.csv"\n'
        'label = "benign"\n[audit]\nchecks = ["EVA-103"]\ntime = "2m"\n'
    )
    job, log = read_job(tmp_path / "crenel.toml"), tmp_path / "worker.log"
    run = run_job(job, log=log)
    finding = choose(run, None)
    assert finding.remedies == ("robust-trees",)
    hardened = harden(run, job, finding=finding, out=tmp_path / "out", log=log)
    assert hardened.run.treatment["remedy"] == "robust-trees"
    assert "trained again with" in hardened.run.treatment["sentence"]
    before = next(e for e in hardened.before if e.check == "EVA-103")
    after = next(e for e in hardened.exposures if e.check == "EVA-103")
    assert after.budget.values == before.budget.values
    assert np.mean(after.harm.values) < np.mean(before.harm.values)
    model = joblib.load(tmp_path / "out" / "hardened.joblib")
    rows = pd.read_csv(tmp_path / "test.csv")
    right = (model.predict(rows.drop(columns="benign")) == rows["benign"]).mean()
    assert right >= run.target.parts[0].accuracy - 0.051

"""From a finding of an audit to a written model that proves what its decisions stand."""

import joblib
import numpy as np
import pandas as pd
import pytest

from crenel.auditor.audit import run_job
from crenel.auditor.harden import harden
from crenel.auditor.job import read_job

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def hardened(tmp_path_factory):
    from sklearn.datasets import load_breast_cancer
    from sklearn.tree import DecisionTreeClassifier

    folder = tmp_path_factory.mktemp("voted")
    x, y = load_breast_cancer(return_X_y=True, as_frame=True)
    x = x.iloc[:, :8]
    labels = np.array(["malignant", "benign"])[y]
    order = np.random.default_rng(0).permutation(len(y))
    train, test = order[:380], order[380:]
    for name, rows in (("train", train), ("test", test)):
        x.iloc[rows].assign(kind=labels[rows]).to_csv(folder / f"{name}.csv", index=False)
    tree = DecisionTreeClassifier(random_state=0).fit(x.iloc[train], labels[train])
    joblib.dump(tree, folder / "model.joblib")
    (folder / "crenel.toml").write_text(
        '[target.cells]\nmodel = "model.joblib"\ntrain = "train.csv"\ntest = "test.csv"\n'
        'label = "kind"\n[audit]\nchecks = ["POI-102"]\ntime = "1m"\n'
    )
    job = read_job(folder / "crenel.toml")
    run = run_job(job, log=folder / "worker.log")
    (finding, *_) = [f for f in run.findings if "partition-aggregation" in f.remedies]
    return folder, run, harden(
        run, job, finding=finding, remedy="partition-aggregation", out=folder / "out",
        log=folder / "worker.log",
    )  # fmt: skip


def test_the_written_model_certifies_what_the_table_says(hardened):
    folder, _, after = hardened
    vote = joblib.load(folder / "out" / "hardened.joblib")
    test = pd.read_csv(folder / "test.csv")
    labels, rows = vote.certify(test.drop(columns="kind"))
    right = labels == test["kind"]
    table = pd.read_csv(folder / "out" / "certificates.csv").set_index("class")
    assert table.loc["all", "accuracy"] == pytest.approx(right.mean(), abs=1e-5)
    for column in [c for c in table if c.startswith("certified_at_")]:
        at = int(column.rpartition("_")[2])
        for kind in ("malignant", "benign"):
            of = test["kind"] == kind
            assert table.loc[kind, column] == pytest.approx(
                (right & (rows >= at))[of].mean(), abs=1e-5
            )
    values = after.run.treatment["values"]
    assert values["median_certified_rows"] == np.sort(np.where(right, rows, -1))[::-1][94]
    assert (right & (rows >= values["median_certified_rows"])).mean() >= 0.5
    assert len(vote.members_) == values["partitions"]


def test_the_curves_after_are_lower_and_hold_what_is_proven(hardened):
    _, before, after = hardened
    trigger = {e.series: e for e in after.exposures}["trigger"]
    earlier = {e.series: e for e in before.exposures}["trigger"]
    assert trigger.harm.possible
    assert not earlier.harm.possible
    doses = sorted(set(trigger.budget.values) & set(earlier.budget.values))
    assert trigger.at(doses[0])[0] <= trigger.possible_at(doses[0]) < 0.8
    # one row turns the tree in some repetitions and not in others: the curves are held as wholes
    few, many = doses[1:4], doses[1:]
    for own in (few, many):
        means = [np.mean([e.at(dose)[0] for dose in own]) for e in (trigger, earlier)]
        assert means[0] < means[1] - 0.05
    assert after.run.treatment["remedy"] == "partition-aggregation"
    assert any("training rows" in f for f in [after.run.treatment["sentence"]])

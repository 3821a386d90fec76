import joblib
import numpy as np
import pandas as pd
import pytest

from crenel.auditor.audit import run_job
from crenel.auditor.compare import compare
from crenel.auditor.gate import rejudge
from crenel.auditor.harden import choose, harden
from crenel.auditor.job import Job, read_job, read_policy
from crenel.errors import UsageError
from crenel.policy import Verdict


@pytest.fixture(scope="module")
def spoilt(tmp_path_factory):
    """Breast cancer data of which 8 % of the training labels are turned, and a model on it."""
    from sklearn.datasets import load_breast_cancer
    from sklearn.ensemble import RandomForestClassifier

    folder = tmp_path_factory.mktemp("spoilt")
    x, y = load_breast_cancer(return_X_y=True, as_frame=True)
    rng = np.random.default_rng(0)
    order = rng.permutation(len(y))
    train, test = order[:380], order[380:]
    labels = y.to_numpy().copy()
    turned = rng.choice(train, 30, replace=False)
    labels[turned] = 1 - labels[turned]
    for name, rows in (("train", train), ("test", test)):
        table = x.iloc[rows].assign(benign=labels[rows], id=[f"r{i}" for i in rows])
        table.to_csv(folder / f"{name}.csv", index=False)
    forest = RandomForestClassifier(60, random_state=0).fit(x.iloc[train], labels[train])
    joblib.dump(forest, folder / "model.joblib")
    (folder / "crenel.toml").write_text(
        '[target.cells]\nmodel = "model.joblib"\ntrain = "train.csv"\ntest = "test.csv"\n'
        'label = "benign"\nrecord_id = "id"\n[audit]\nchecks = ["POI-101"]\ntime = "2m"\n'
    )
    return folder, {f"r{i}" for i in turned}


@pytest.fixture(scope="module")
def before(spoilt):
    folder, _ = spoilt
    job = read_job(folder / "crenel.toml")
    return job, run_job(job, log=folder / "worker.log")


def test_wrong_labels_are_found_by_their_record_ids(spoilt, before):
    _, turned = spoilt
    finding = choose(before[1], None)
    listed = set(finding.evidence.rows)
    assert len(listed & turned) >= 0.7 * len(turned)
    assert len(listed & turned) >= 0.6 * len(listed)


def test_find_fix_and_prove_again(spoilt, before):
    folder, turned = spoilt
    job, run = before
    out = folder / "hardened"
    hardened = harden(run, job, finding=choose(run, None), out=out, log=folder / "worker.log")
    assert hardened.run.before == run.run.id
    assert hardened.before == tuple(e for e in run.exposures if e.check == "POI-101")
    assert hardened.run.treatment["remedy"] == "quarantine-labels"
    quarantined = set(pd.read_csv(out / "quarantine.csv").iloc[:, 0].astype(str))
    assert len(quarantined & turned) >= 0.6 * len(turned)
    model = joblib.load(out / "hardened.joblib")
    test = pd.read_csv(folder / "test.csv")
    accuracy = (model.predict(test.drop(columns=["benign", "id"])) == test["benign"]).mean()
    assert accuracy >= run.target.parts[0].accuracy - 0.02
    worst = max((f.gain for f in run.findings), default=0)
    assert max((f.gain for f in hardened.findings), default=0) < worst
    assert run.findings[0].fingerprint in {f.fingerprint for f in compare(run, hardened).gone} or (
        hardened.findings[0].gain < run.findings[0].gain
    )


def test_a_hardened_run_is_hardened_further_from_where_it_stood(spoilt, before, tmp_path):
    from crenel.store import Store

    folder, _ = spoilt
    job, run = before
    store = Store(str(tmp_path / "runs.db"))
    given = {"finding": choose(run, None), "store": store, "log": folder / "worker.log"}
    once = harden(run, job, out=tmp_path / "once", **given)
    again = Job.model_validate_json(store.job(once.run.id))
    assert [t.remedy for t in again.treatments] == ["quarantine-labels"]
    twice = harden(once, again, out=tmp_path / "twice", **given)
    assert twice.run.before == once.run.id
    assert twice.target.parts[0].train_rows <= once.target.parts[0].train_rows
    assert once.target.parts[0].train_rows < run.target.parts[0].train_rows
    store.close()


def test_a_finding_without_a_remedy_is_told(before):
    _, run = before
    with pytest.raises(UsageError, match="has no finding nothing"):
        choose(run, "nothing")


def test_a_stored_run_is_judged_by_another_policy(before, tmp_path):
    _, run = before
    policy = tmp_path / "policy.toml"
    policy.write_text('[[limit]]\nseverity = "low"\nfindings = 0\n')
    assert rejudge(run, policy=read_policy(policy)).verdict is Verdict.FAIL
    policy.write_text('[[policy.limit]]\nseverity = "critical"\nfindings = 9\n')
    assert rejudge(run, policy=read_policy(policy)).verdict is Verdict.PASS
    policy.write_text('[[limit]]\nseverity = "low"\nfindings = 0\nnew_only = true\n')
    known = rejudge(run, policy=read_policy(policy), baseline=run.findings)
    assert known.verdict is Verdict.PASS
    assert {f.status for f in known.findings} == {"known"}


def test_a_policy_without_limits_is_refused(tmp_path):
    policy = tmp_path / "policy.toml"
    policy.write_text('name = "mine"\n')
    with pytest.raises(UsageError, match="no limits"):
        read_policy(policy)


def test_a_job_survives_the_store(before):
    job, _ = before
    assert Job.model_validate_json(job.model_dump_json(exclude_unset=True)) == job


def test_a_finding_is_gone_only_where_its_check_measured_again():
    from crenel.auditor.execute import Result
    from crenel.auditor.harden import _fate
    from crenel.run import State
    from tests.helpers import finding, outcome

    was = finding()
    assert _fate(was, [Result(outcome=outcome())]) == "gone"
    killed = Result(outcome=outcome(state=State.ERROR, reason="the worker died"))
    assert _fate(was, [killed]) == "not measured (the worker died)"
    assert _fate(was, []) == "not measured"
    assert _fate(was, [Result(outcome=outcome(), findings=(was,))]) == was.sentence


def test_a_reviewer_decides_and_the_command_applies_it(spoilt, tmp_path):
    """The whole way: audit, quarantine, a person's edits, and the run after them."""
    from typer.testing import CliRunner

    from crenel.auditor.partial import stored_run
    from crenel.cli.entry import app
    from crenel.store import Store

    folder, turned = spoilt
    store = f"sqlite:///{tmp_path / 'runs.db'}"
    kept = Store(store)
    job = read_job(folder / "crenel.toml")
    run = run_job(job, store=kept, log=tmp_path / "worker.log")
    (finding,) = [f for f in run.findings if "quarantine-labels" in f.remedies]
    kept.close()
    ask = ["harden", run.run.id, "--finding", finding.fingerprint, "--store", store]
    runner = CliRunner()
    first = runner.invoke(app, [*ask, "--out", str(tmp_path / "first")])
    assert first.exit_code in (0, 1, 2), first.output
    table = pd.read_csv(tmp_path / "first" / "quarantine.csv", dtype=str)
    assert table["decision"].isna().all()
    review = table.assign(decision=np.where(table["record"].isin(turned), "relabel", "keep"))
    review.to_csv(tmp_path / "review.csv", index=False)
    ask = [*ask, "--review", str(tmp_path / "review.csv"), "--json"]
    second = runner.invoke(app, [*ask, "--out", str(tmp_path / "second")])
    assert second.exit_code in (0, 1, 2), second.output
    kept = Store(store)
    done = stored_run(kept, kept.find("last"))
    relabelled = int((review["decision"] == "relabel").sum())
    assert done.run.treatment["remedy"] == "apply-review"
    assert done.run.treatment["values"]["relabel"] == relabelled
    assert "--review" in done.run.command
    assert done.target.parts[0].train_rows == run.target.parts[0].train_rows
    again = Job.model_validate_json(kept.job(done.run.id))
    assert len(again.treatments[0].finding.evidence.values["review"]) == len(review)
    kept.close()
    review.assign(decision="burn").to_csv(tmp_path / "review.csv", index=False)
    wrong = runner.invoke(app, [*ask, "--out", str(tmp_path / "third")])
    assert wrong.exit_code != 0
    assert not (tmp_path / "third" / "hardened.joblib").exists()

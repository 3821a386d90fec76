import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from crenel.auditor import isolation
from crenel.auditor.audit import run_job
from crenel.auditor.job import Job, read_job
from crenel.auditor.partial import stored_run
from crenel.errors import UsageError
from crenel.policy import Verdict
from crenel.run import State
from tests.auditor.conftest import config


def audited(project, model, checks=("EVA-102",), store=None, extra="", **given):
    job = read_job(config(project, model, list(checks), extra))
    return run_job(job, store=store, log=project / "worker.log", **given)


def outcomes(run):
    return {o.check: (o.outcome, o.reason) for o in run.outcomes}


def test_a_model_named_by_a_function_is_measured_in_a_worker(project, store):
    run = audited(project, "faulty:honest", store=store)
    assert run.run.status == "complete"
    assert outcomes(run)["EVA-102"][0] is State.MEASURED
    assert run.target.parts[0].accuracy == 1.0
    assert "faulty" not in sys.modules
    assert store.record(run.run.id) == run


@pytest.mark.parametrize(
    ("model", "reason"),
    [
        ("faulty:raising", "the model is out of order"),
        ("faulty:dying", "worker process died"),
        ("faulty:calling", "192.0.2.1 was refused"),
    ],
)
def test_a_fault_of_the_model_is_an_error_of_the_check_and_never_a_pass(project, model, reason):
    run = audited(project, model)
    state, told = outcomes(run)["EVA-102"]
    assert state is State.ERROR
    assert reason in told
    assert run.verdict is Verdict.INCOMPLETE


def test_a_model_that_hangs_is_stopped_and_the_next_check_runs(project, monkeypatch):
    monkeypatch.setattr(isolation, "GRACE", 5.0)
    monkeypatch.setattr(isolation, "PATIENCE", 0.0)
    run = audited(project, "faulty:hanging", ("EVA-102", "CON-103"))
    assert outcomes(run)["EVA-102"][0] is State.ERROR
    assert "no answer" in outcomes(run)["EVA-102"][1]
    assert outcomes(run)["CON-103"][0] is State.MEASURED
    assert run.verdict is Verdict.INCOMPLETE


def test_a_model_that_hangs_when_it_is_loaded_is_told(project, monkeypatch):
    monkeypatch.setattr(isolation, "LOAD_SECONDS", 3.0)
    run = audited(project, "faulty:hanging_at_once")
    state, reason = outcomes(run)["EVA-102"]
    assert state is State.NOT_RUN
    assert "no answer in 3 s" in reason
    assert run.verdict is Verdict.INCOMPLETE


def test_memory_beyond_the_limit_is_an_error(project):
    run = audited(project, "faulty:greedy", extra='memory = "4GB"')
    state, reason = outcomes(run)["EVA-102"]
    assert state is State.ERROR
    assert "memory" in reason.lower()


def test_what_a_model_prints_is_not_taken_for_an_answer(project):
    run = audited(project, "faulty:printing")
    assert outcomes(run)["EVA-102"][0] is State.MEASURED


def test_a_pickle_that_would_execute_code_is_scanned_and_never_loaded(project):
    mark = project / "executed"
    payload = f"cos\nsystem\n(S'touch {mark}'\ntR."
    (project / "model.pkl").write_bytes(payload.encode())
    run = audited(project, "model.pkl", ("TRA-101", "EVA-102"))
    assert not mark.exists()
    assert outcomes(run)["TRA-101"][0] is State.MEASURED
    assert outcomes(run)["EVA-102"][0] is State.NOT_RUN
    assert "malicious" in outcomes(run)["EVA-102"][1]
    assert [f.severity for f in run.findings] == ["critical"]
    assert run.verdict is Verdict.FAIL


def test_the_same_seed_gives_the_same_figures_in_place_and_in_a_worker(project):
    import pandas as pd

    import crenel

    def data(name):
        table = pd.read_csv(project / f"{name}.csv")
        return table.drop(columns="label"), table["label"]

    isolated = audited(project, "faulty:honest")
    sys.path.insert(0, str(project))
    try:
        from faulty import honest

        target = crenel.Target(name="mine", model=honest, train=data("train"), test=data("test"))
        in_place = crenel.audit(target, checks=["EVA-102"])
    finally:
        sys.path.remove(str(project))
        sys.modules.pop("faulty", None)
    volatile = {"seconds", "headline"}
    assert [e.model_dump(exclude=volatile) for e in in_place.exposures] == [
        e.model_dump(exclude=volatile) for e in isolated.exposures
    ]


def test_an_interrupted_run_is_readable_and_continued(project, store):
    def interrupt(event):
        if event.kind == "start" and event.check == "EVA-102":
            raise KeyboardInterrupt

    partial = audited(project, "faulty:honest", ("EVA-102", "CON-103"), store, listener=interrupt)
    assert partial.run.status == "interrupted"
    assert partial.verdict is not Verdict.PASS
    assert outcomes(partial)["CON-103"][0] is State.MEASURED
    assert "--resume" in outcomes(partial)["EVA-102"][1]

    job = Job.model_validate_json(store.job(partial.run.id))
    begun = []
    whole = run_job(
        job,
        store=store,
        resume=partial.run.id,
        log=project / "worker.log",
        listener=lambda e: begun.append(e.check) if e.kind == "start" else None,
    )
    assert begun == ["EVA-102"]
    assert whole.run.id == partial.run.id
    assert whole.run.status == "complete"
    kept = [o for o in partial.outcomes if o.check == "CON-103"]
    assert kept == [o for o in whole.outcomes if o.check == "CON-103"]
    assert outcomes(whole)["EVA-102"][0] is State.MEASURED


def test_a_run_is_not_continued_on_changed_data(project, store):
    run = audited(project, "faulty:honest", ("CON-103",), store)
    job = Job.model_validate_json(store.job(run.run.id))
    with (project / "test.csv").open("a") as file:
        file.write("1,2,3,1\n")
    with pytest.raises(UsageError, match="mine/test changed since run"):
        run_job(job, store=store, resume=run.run.id, log=project / "worker.log")


def worker_of(project):
    """Processes that work in the folder of this test."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if (process / "cwd").resolve() == project.resolve():
                found.append(process.name)
        except OSError:
            continue
    return found


@pytest.mark.skipif(not Path("/proc").is_dir(), reason="needs /proc")
def test_a_run_that_was_killed_keeps_what_it_had_finished(project, store):
    file = config(project, "faulty:hanging", ["CON-103", "EVA-102"], 'time = "10m"')
    command = [sys.executable, "-m", "crenel", "audit", str(file), "--out", str(project / "out")]
    environment = {**os.environ, "CRENEL_STORE": store.url}
    process = subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True)
    try:
        deadline = time.monotonic() + 120
        while time.monotonic() < deadline:
            runs = store.runs()
            if runs and any(r.outcome.check == "CON-103" for r in store.results(runs[0].id)):
                break
            time.sleep(0.2)
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()
    deadline = time.monotonic() + 30
    while worker_of(project) and time.monotonic() < deadline:
        time.sleep(0.2)
    assert not worker_of(project), "a worker outlives its killed parent"
    run = stored_run(store, store.find("last"))
    assert run.run.status == "interrupted"
    assert outcomes(run)["CON-103"][0] is State.MEASURED
    assert "EVA-102" not in outcomes(run)
    assert run.verdict is not Verdict.PASS


def test_a_slow_plan_says_what_it_left_out(project):
    run = audited(project, "faulty:honest", ("EVA-102", "CON-103"), extra='time = "1s"')
    states = outcomes(run)
    left_out = [reason for state, reason in states.values() if state is State.NOT_RUN]
    assert left_out
    assert all("--time" in reason for reason in left_out)
    assert run.verdict is not Verdict.PASS

"""Faults in the subject under every check: whatever happens, it must never read as a pass."""

from dataclasses import replace

import numpy as np
import pytest

from crenel.auditor.execute import execute
from crenel.check import load_checks
from crenel.finding import Severity
from crenel.policy import Limit, Policy, Verdict, judge
from crenel.run import State

CHECKS = load_checks()
#: A policy that no weak control keeps, and that a fault must not make pass.
STRICT = Policy(
    limits=(
        Limit(severity=Severity.LOW, findings=0),
        *(Limit(check=c, budget=1e-9, harm=1.0, required=False) for c in CHECKS),
    )
)


def raising(*arguments, **named):
    raise RuntimeError("out of order")


def not_numbers(answer):
    return lambda x: np.full_like(np.asarray(answer(x), dtype=float), np.nan)


def break_model(model, fault):
    if fault == "raise":
        broken = replace(model, decide=raising, score=None if model.score is None else raising)
        return replace(broken, fit=None if model.fit is None else raising, module=None)
    if fault == "raise late":
        calls = {"left": 3}

        def late(answer):
            def asked(x):
                calls["left"] -= 1
                return raising() if calls["left"] < 0 else answer(x)

            return asked

        return replace(model, decide=late(model.decide), score=model.score and late(model.score))
    return replace(model, score=model.score and not_numbers(model.score))


@pytest.mark.parametrize("fault", ["raise", "raise late", "not a number"])
@pytest.mark.parametrize("id", [c for c, k in CHECKS.items() if "model" in k.needs])
def test_a_broken_model_never_reads_as_a_pass(id, fault):
    check = CHECKS[id]
    subject = check.controls.weak()
    if subject.model is None:
        pytest.skip("the control has no model")
    broken = subject.with_model(break_model(subject.model, fault))
    result = execute(check, broken, seconds=20)
    verdict = judge(STRICT, [result.outcome], result.exposures, result.findings)[1]
    assert verdict is not Verdict.PASS
    if result.outcome.outcome is not State.MEASURED:
        assert result.outcome.reason
        assert not result.exposures


def test_a_broken_learner_never_reads_as_a_pass():
    check = CHECKS["ONL-101"]
    subject = check.controls.weak()

    class Broken:
        def learn_one(self, x, y):
            raising()

        def predict_one(self, x):
            return 0

    broken = replace(subject, learning=replace(subject.learning, learner=Broken))
    result = execute(check, broken, seconds=20)
    assert result.outcome.outcome is not State.MEASURED
    assert judge(STRICT, [result.outcome], [], [])[1] is not Verdict.PASS


def test_a_file_that_cannot_be_read_never_reads_as_clean(tmp_path):
    check = CHECKS["TRA-101"]
    subject = check.controls.weak()
    for content in (b"", b"\x80\x04", b"PK\x03\x04" + b"\x00" * 40, bytes(range(256))):
        path = tmp_path / "model.pkl"
        path.write_bytes(content)
        result = execute(check, replace(subject, files=(path,), base=None))
        assert result.outcome.outcome is not State.MEASURED or result.findings

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from crenel.finding import Severity
from crenel.policy import Limit, Policy, Verdict, default_policy, judge
from crenel.run import State
from tests.helpers import exposure, finding, outcome


def verdict(limits, outcomes, exposures=(), findings=()):
    return judge(Policy(limits=tuple(limits)), outcomes, exposures, findings)[1]


HARM = Limit(check="EVA-102", budget=2, harm=0.4)


def test_a_healthy_curve_whose_upper_bound_keeps_the_limit_passes():
    assert verdict([HARM], [outcome()], [exposure()]) is Verdict.PASS


def test_a_harm_above_the_limit_fails():
    assert verdict([HARM], [outcome()], [exposure(values=(0, 0.2, 0.5))]) is Verdict.FAIL


def test_an_interval_that_straddles_the_limit_does_not_pass():
    straddling = exposure(values=(0, 0.2, 0.38))
    assert verdict([HARM], [outcome()], [straddling]) is Verdict.INCOMPLETE


def test_an_unhealthy_attack_does_not_pass_but_can_fail():
    assert verdict([HARM], [outcome()], [exposure(ok=False)]) is Verdict.INCOMPLETE
    strong = exposure(values=(0, 0.2, 0.5), ok=False)
    assert verdict([HARM], [outcome()], [strong]) is Verdict.FAIL


def test_an_exposure_without_health_tests_does_not_pass():
    from crenel.exposure import Health

    assert verdict([HARM], [outcome()], [exposure(health=Health.of())]) is Verdict.INCOMPLETE


def test_a_budget_that_was_not_measured_does_not_pass():
    beyond = Limit(check="EVA-102", budget=3, harm=0.9)
    assert verdict([beyond], [outcome()], [exposure()]) is Verdict.INCOMPLETE


def test_between_two_budgets_the_bounds_are_the_wider_ones():
    assert exposure(budgets=(0, 1, 3)).at(2) == pytest.approx((0.1, 0.05, 0.35))


@pytest.mark.parametrize("state", [State.ERROR, State.NOT_RUN, State.INCONCLUSIVE])
def test_a_check_that_did_not_answer_does_not_pass(state):
    # The error is of another check than the one that the limit is on.
    bad = outcome("POI-101", state, "it broke")
    kept = verdict([HARM], [outcome(), bad], [exposure()])
    assert kept is (Verdict.PASS if state is State.INCONCLUSIVE else Verdict.INCOMPLETE)
    own = outcome(state=state, reason="it broke")
    assert verdict([HARM], [own], [exposure()]) is Verdict.INCOMPLETE


def test_a_written_limit_on_a_check_that_does_not_apply_does_not_pass():
    absent = outcome("EVA-101", State.NOT_APPLICABLE, "no gradients")
    limits = [HARM, Limit(check="EVA-101", budget=0.1, harm=0.5)]
    assert verdict(limits, [outcome(), absent], [exposure()]) is Verdict.INCOMPLETE
    lenient = [HARM, limits[1].model_copy(update={"required": False})]
    assert verdict(lenient, [outcome(), absent], [exposure()]) is Verdict.PASS


def test_every_target_must_keep_the_limit():
    pair = [exposure(), exposure(values=(0, 0.2, 0.9), high=(0.1, 0.3, 0.95), target="u")]
    assert verdict([HARM], [outcome(), outcome(target="u")], pair) is Verdict.FAIL


def test_controls_and_references_are_not_judged():
    others = [exposure(), exposure(values=(0, 0.2, 0.9), high=(0.1, 0.3, 1), role="reference")]
    assert verdict([HARM], [outcome()], others) is Verdict.PASS


def test_findings_are_counted_by_severity_and_status():
    limit = Limit(severity=Severity.HIGH, findings=0)
    assert verdict([limit], [outcome()], findings=[finding()]) is Verdict.FAIL
    assert verdict([limit], [outcome()], findings=[finding(severity="low")]) is Verdict.PASS
    accepted = finding().model_copy(update={"status": "accepted"})
    assert verdict([limit], [outcome()], findings=[accepted]) is Verdict.PASS
    known = finding().model_copy(update={"status": "known"})
    assert verdict([limit], [outcome()], findings=[known]) is Verdict.FAIL
    new_only = limit.model_copy(update={"new_only": True})
    assert verdict([new_only], [outcome()], findings=[known]) is Verdict.PASS


def test_an_attack_that_was_not_healthy_does_not_keep_a_limit_on_findings():
    limit = Limit(severity=Severity.HIGH, findings=0)
    sick = exposure(ok=False)
    assert verdict([limit], [outcome()], [exposure()]) is Verdict.PASS
    assert verdict([limit], [outcome()], [exposure(), sick]) is Verdict.INCOMPLETE
    assert verdict([limit], [outcome()], [sick], [finding()]) is Verdict.FAIL
    # Controls are no attacks, and a limit on one check does not look at others.
    assert verdict([limit], [outcome()], [exposure(ok=False, role="control")]) is Verdict.PASS
    other = limit.model_copy(update={"check": "POI-*"})
    poison = outcome("POI-101")
    assert verdict([other], [outcome(), poison], [sick]) is Verdict.PASS


def test_a_limit_on_findings_of_a_check_that_did_not_measure_does_not_pass():
    limit = Limit(check="CON-103", findings=0)
    assert verdict([limit], [outcome("CON-103")]) is Verdict.PASS
    absent = outcome("CON-103", State.NOT_APPLICABLE, "no table")
    assert verdict([limit], [outcome(), absent]) is Verdict.INCOMPLETE
    assert verdict([limit], [outcome()]) is Verdict.INCOMPLETE
    misspelt = limit.model_copy(update={"check": "con-103"})
    assert verdict([misspelt], [outcome("CON-103")]) is Verdict.INCOMPLETE
    lenient = limit.model_copy(update={"required": False})
    assert verdict([HARM, lenient], [outcome(), absent], [exposure()]) is Verdict.PASS


def test_nothing_measured_is_not_a_pass():
    limit = Limit(severity=Severity.LOW, findings=0)
    assert verdict([limit], []) is Verdict.INCOMPLETE
    assert verdict([], [outcome()]) is Verdict.INCOMPLETE
    skipped = outcome(state=State.NOT_APPLICABLE, reason="no model")
    assert judge(default_policy(), [skipped], [], [])[1] is Verdict.INCOMPLETE


def test_a_limit_is_of_one_kind():
    for wrong in ({}, {"check": "EVA-102", "budget": 1}, {"findings": 0, "budget": 1, "harm": 1}):
        with pytest.raises(ValidationError):
            Limit(**{"check": "EVA-102", **wrong})


@given(
    values=st.lists(st.floats(0, 1), min_size=3, max_size=3),
    spread=st.floats(0, 0.3),
    ok=st.booleans(),
    limit=st.floats(0, 1),
)
def test_a_pass_always_rests_on_a_kept_bound_and_a_healthy_attack(values, spread, ok, limit):
    curve = exposure(
        values=tuple(values),
        low=tuple(max(0.0, v - spread) for v in values),
        high=tuple(v + spread for v in values),
        ok=ok,
    )
    passed = verdict([Limit(check="EVA-102", budget=2, harm=limit)], [outcome()], [curve])
    if passed is Verdict.PASS:
        assert ok
        assert values[2] + spread <= limit


def test_silence_of_the_checks_that_could_run_is_no_pass_for_those_that_could_not():
    absent = [outcome(c, State.NOT_APPLICABLE, "no test data") for c in ("EVA-102", "CON-101")]
    scanned = outcome("TRA-101", risk="transfer")
    assert judge(default_policy(), [scanned, *absent], [], [])[1] is Verdict.INCOMPLETE
    only_findings = [Limit(severity=Severity.CRITICAL, findings=0)]
    assert verdict(only_findings, [scanned]) is Verdict.PASS


def proven(possible, most, **changes):
    e = exposure(**changes)
    bounds = {"possible": possible, "possible_high": most}
    return e.model_copy(update={"harm": e.harm.model_copy(update=bounds)})


def test_a_proof_decides_what_an_interval_leaves_open():
    wide = {"values": (0, 0.2, 0.3), "high": (0.2, 0.4, 0.5)}
    assert verdict([HARM], [outcome()], [exposure(**wide)]) is Verdict.INCOMPLETE
    kept = proven((0.0, 0.2, 0.32), (0.05, 0.25, 0.38), **wide)
    assert verdict([HARM], [outcome()], [kept]) is Verdict.PASS


def test_a_proof_does_not_pass_where_a_test_failed():
    # The failed test may be the one that shows the proof itself to be wrong.
    kept = proven((0.0, 0.15, 0.32), (0.05, 0.2, 0.38), ok=False)
    assert verdict([HARM], [outcome()], [kept]) is Verdict.INCOMPLETE
    strict = HARM.model_copy(update={"proven": True})
    assert verdict([strict], [outcome()], [kept]) is Verdict.INCOMPLETE


def test_a_limit_on_proofs_does_not_pass_by_attacks_alone():
    strict = HARM.model_copy(update={"proven": True})
    assert verdict([strict], [outcome()], [exposure()]) is Verdict.INCOMPLETE
    left_open = proven((0.0, 0.15, 0.5), (0.05, 0.2, 0.55))
    assert verdict([strict], [outcome()], [left_open]) is Verdict.INCOMPLETE
    assert verdict([HARM], [outcome()], [left_open]) is Verdict.PASS
    kept = proven((0.0, 0.15, 0.32), (0.05, 0.2, 0.38))
    assert verdict([strict], [outcome()], [kept]) is Verdict.PASS


def test_a_limit_on_proofs_fails_where_the_attack_breaks_it():
    strict = HARM.model_copy(update={"proven": True})
    broken = proven((0, 0.2, 0.5), (0.1, 0.3, 0.6), values=(0, 0.2, 0.5))
    assert verdict([strict], [outcome()], [broken]) is Verdict.FAIL

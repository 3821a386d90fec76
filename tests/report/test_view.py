import pytest
from hypothesis import given
from hypothesis import strategies as st

from crenel.check import Risk
from crenel.policy import Limit, Policy, default_policy
from crenel.report import limits
from crenel.report.curves import panels
from crenel.report.view import view
from crenel.run import Outcome
from tests.report import fixture


def risk(run, name):
    return next(r for r in view(run).risks if r.name == name)


def plain(text):
    return text.replace("\u00a0", " ")


def test_the_five_risks_come_in_their_order_even_where_nothing_ran():
    empty = fixture.run(outcomes=(), exposures=(), findings=(), before=())
    assert [r.name for r in view(empty).risks] == [r.value for r in Risk]
    assert {r.status for r in view(empty).risks} == {"–"}
    assert all("not measured" in r.headline for r in view(empty).risks)


def test_the_headline_is_that_of_the_worst_judged_exposure_word_for_word():
    shown = risk(fixture.run(), "evasion")
    # EVA-101 fails too, by less: 32 % at least over 20 % against 36 % for EVA-102.
    assert shown.headline == "changing 2 fields flips 41 % [37, 46] of decisions, in 120 queries"
    assert (shown.status, plain(shown.limit)) == ("fail", "limit 20 % at 2 fields")
    assert shown.target == "phishing"
    assert shown.panels[0].attacks[0] is shown.worst


def test_without_limits_the_highest_low_end_is_worst_and_nothing_is_judged():
    shown = risk(fixture.run(policy=Policy(limits=())), "poisoning")
    assert shown.worst.label == "trigger"
    assert shown.limit == ""
    assert shown.status == "incomplete", "POI-103 crashed"
    assert risk(fixture.run(policy=Policy(limits=())), "transfer").status == "not judged"


def test_each_limit_is_attributed_to_its_own_exposure():
    run = fixture.run()
    by_label = {
        (c.exposure.check, c.exposure.target, c.label): [m.status for m in c.marks]
        for p in panels(run)
        for c in p.attacks
    }
    assert by_label["POI-102", "phishing", "trigger"] == ["incomplete"]
    assert by_label["POI-102", "phishing", "random flips"] == []
    assert by_label["CON-101", "digits", "likelihood ratio"] == ["pass", "pass"]
    # The limit on EVA-102 is on changed features, not on its second axis.
    assert by_label["EVA-102", "phishing", "search"] == []
    both = [c for p in panels(run) if p.check == "EVA-102" for c in p.attacks]
    assert [len(c.marks) for c in both] == [1, 0]


def test_panels_group_by_check_target_and_budget_and_share_axes_over_targets():
    drawn = panels(fixture.run())
    keys = [(p.check, p.target, p.budget) for p in drawn]
    assert len(keys) == len(set(keys)) == 8
    a, b = (p for p in drawn if p.check == "CON-101")
    assert (a.x_domain, a.y_domain, a.y_scale) == (b.x_domain, b.y_domain, b.y_scale)
    assert a.y_scale == "log", "a limit of 2 % is legible only on a logarithmic axis"
    assert [c.role for c in a.curves] == ["attack", "before"]


def test_an_unhealthy_exposure_is_a_lower_bound_in_words():
    shown = next(p for p in panels(fixture.run()) if p.check == "EVA-101")
    assert not shown.attacks[0].healthy
    assert shown.attacks[0].told.startswith("at least ")


@pytest.mark.parametrize("state", ["error", "not_run"])
@pytest.mark.parametrize("index", range(len(fixture.outcomes())))
def test_a_check_that_did_not_finish_never_leaves_its_risk_passing(index, state):
    outcomes = list(fixture.outcomes())
    hit = outcomes[index]
    broken = Outcome(**{**dict(hit), "outcome": state, "reason": "it fell over"})
    outcomes[index] = broken
    run = fixture.run(
        outcomes=tuple(outcomes),
        exposures=tuple(
            e for e in fixture.exposures() if (e.check, e.target) != (hit.check, hit.target)
        ),
    )
    assert risk(run, hit.risk).status in ("fail", "incomplete")
    assert broken in view(run).unmeasured
    assert view(run).verdict != "pass"


def test_a_limit_on_findings_marks_the_risk_of_what_it_counts():
    harmless = Policy(limits=(Limit(severity="critical", findings=0),))
    run = fixture.run(policy=harmless, outcomes=fixture.outcomes()[:5])
    assert risk(run, "poisoning").status == "fail"
    assert risk(run, "evasion").status == "not judged"
    assert plain(risk(run, "poisoning").limit) == "limit 0 critical"


def test_what_would_change_the_verdict_names_figure_limit_and_command():
    changes = view(fixture.run()).changes
    assert [c.status for c in changes][:3] == ["fail"] * 3
    texts = [plain(c.text) for c in changes]
    hit = next(i for i, t in enumerate(texts) if t.startswith("EVA-102"))
    assert "41 % [36, 46]" in texts[hit]
    assert "limit 20 % at 2 fields" in texts[hit]
    (command,) = changes[hit].commands
    assert command.startswith("crenel harden 7c1f0a4be21d --finding eva-")
    assert any(t.startswith("POI-103 error on phishing") for t in texts)
    assert any("straddles" in t for t in texts)


def test_a_pass_tells_which_limit_has_the_least_room():
    good = tuple(o for o in fixture.outcomes() if o.risk == "transfer")
    curves = tuple(e for e in fixture.exposures() if e.risk == "transfer")
    run = fixture.run(outcomes=good, exposures=curves, findings=(), policy=default_policy())
    assert view(run).verdict == "pass"
    (nearest,) = view(run).changes
    assert nearest.text.startswith("TRA-102")


def test_findings_are_ordered_by_what_fixing_them_gains_with_accepted_ones_last():
    shown = view(fixture.run()).findings
    assert [f.gain for f in shown] == sorted((f.gain for f in shown), reverse=True)
    gains = (0.01, 0.5, 0.2, 0.2)
    given = [
        f.model_copy(update={"gain": g, "status": "open"})
        for f, g in zip(shown, gains, strict=True)
    ]
    ordered = view(fixture.run(findings=tuple(given))).findings
    assert [f.gain for f in ordered] == [0.5, 0.2, 0.2, 0.01]
    assert ordered[1].severity.rank >= ordered[2].severity.rank
    worse = [f.model_copy(update={"status": "accepted"}) for f in fixture.findings()[:1]]
    mixed = view(fixture.run(findings=(*worse, *fixture.findings()[1:]))).findings
    assert mixed[-1].status == "accepted" or mixed[-2].status == "accepted"


@given(st.floats(0, 1), st.floats(0, 8))
def test_the_drawn_limit_is_the_judged_one(harm, budget):
    policy = Policy(limits=(Limit(check="EVA-102", budget=budget, harm=harm),))
    run = fixture.run(policy=policy)
    curve = next(c for p in panels(run) if p.check == "EVA-102" for c in p.attacks)
    (mark,) = curve.marks
    assert (mark.budget, mark.harm) == (budget, harm)
    assert mark.status == run.policy.limits[0].status
    assert limits.of_exposure(run, curve.exposure) == run.policy.limits


def test_a_limit_outside_the_measured_budgets_is_kept_as_undecided():
    policy = Policy(limits=(Limit(check="EVA-102", budget=99, harm=0.5),))
    run = fixture.run(policy=policy)
    curve = next(c for p in panels(run) if p.check == "EVA-102" for c in p.attacks)
    assert [m.status for m in curve.marks] == ["incomplete"]
    assert max(panels(run)[1].x_domain) < 99, "a far limit must not squash the curve"

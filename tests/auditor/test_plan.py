import pytest
from hypothesis import given
from hypothesis import strategies as st

from crenel.auditor.plan import Task, allot, fit_in, select
from crenel.check import Check, Controls, Cost, Risk, load_checks
from crenel.errors import UsageError


def check(id, risk=Risk.EVASION, least=0.5):
    nothing = Controls(weak=lambda: None, sound=lambda: None)
    cost = Cost(seconds=1, least=least)
    return Check(id, risk, "title", "question?", lambda s, c: None, (), cost, (), nothing)


TASKS = st.lists(
    st.tuples(st.sampled_from(list(Risk)), st.floats(0.1, 100)), min_size=1, max_size=8
).map(lambda rows: [Task(check(f"T-{i}", r), "t", s) for i, (r, s) in enumerate(rows)])


@given(TASKS, st.floats(0, 200))
def test_what_is_kept_fits_and_nothing_disappears(tasks, seconds):
    kept, left_out = fit_in(tasks, seconds)
    assert sum(t.least for t in kept) <= seconds
    assert sorted(map(id, [*kept, *left_out])) == sorted(map(id, tasks))


@given(TASKS)
def test_without_a_limit_everything_is_kept(tasks):
    assert fit_in(tasks, None) == (tasks, [])


def test_the_last_check_of_a_risk_is_left_out_last():
    dear = Task(check("A", Risk.ONLINE), "t", 100)
    cheap = [Task(check("B"), "t", 10), Task(check("C"), "t", 12)]
    kept, left_out = fit_in([dear, *cheap], 56)
    assert [t.check.id for t in kept] == ["A", "B"]
    assert [t.check.id for t in left_out] == ["C"]


@given(TASKS, st.floats(1, 1000))
def test_allotments_share_the_time_left(tasks, seconds):
    first, *waiting = tasks
    share = allot(first, waiting, seconds)
    assert share >= first.least
    assert share <= max(seconds, first.least) + 1e-9


def test_a_small_task_beside_a_large_one_may_use_time_that_nobody_needs():
    small, large = Task(check("T-1"), "t", 3.0), Task(check("T-2"), "t", 80.0)
    assert allot(small, [large], 200.0) == pytest.approx(120.0)
    # Where time is short they share it.
    assert allot(small, [large], 41.5) == pytest.approx(1.5)


def test_selection_by_pattern_and_risk():
    pool = [check("EVA-101"), check("EVA-102"), check("ONL-101", Risk.ONLINE)]
    assert [c.id for c in select(pool, ["eva-*"])] == ["EVA-101", "EVA-102"]
    assert [c.id for c in select(pool, risks=["online"])] == ["ONL-101"]
    with pytest.raises(UsageError, match="no check matches 'XXX'"):
        select(pool, ["XXX"])
    with pytest.raises(UsageError, match="no risk is called 'fun'"):
        select(pool, risks=["fun"])


def test_a_check_that_trains_on_samples_is_cheap_on_many_rows():
    cost = Cost(seconds=3.0, queries=100, fits=30, sample=10_000, whole=2)
    assert cost.estimate(0.01, 0.5, rows=5_000) == pytest.approx(3 + 1 + 32 * 0.5)
    # A training on 10,000 of a million rows takes a hundredth of one on all of them.
    assert cost.estimate(0.01, 80.0, rows=1_000_000) == pytest.approx(3 + 1 + 30 * 0.8 + 2 * 80)
    slow_start = cost.estimate(0.01, 80.0, rows=1_000_000, fit_fixed=5.0)
    assert slow_start == pytest.approx(3 + 1 + 30 * (5 + 0.75) + 2 * 80)
    everything = Cost(seconds=3.0, queries=100, fits=32)
    assert everything.estimate(0.01, 80.0, rows=1_000_000) == pytest.approx(4 + 32 * 80)


def test_a_million_rows_leave_no_poisoning_check_out_of_ten_minutes():
    checks = [c for c in load_checks().values() if c.risk is Risk.POISONING]
    tasks = [Task(c, "t", c.cost.estimate(1e-5, 60.0, rows=1_000_000)) for c in checks]
    kept, left_out = fit_in(tasks, 600.0)
    assert len(kept) == len(checks) == 5
    assert not left_out

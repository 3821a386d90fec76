"""Caps on sources: the loosest that is enough, against brute force and training by hand."""

from dataclasses import replace

import numpy as np
import pytest

from crenel.auditor.harden import limited
from crenel.check import Context
from crenel.finding import Evidence, Finding, Severity
from crenel.poisoning.checks import sources as poi103
from crenel.poisoning.remedies import cap_sources
from crenel.poisoning.sources.capping import caps, choose_cap, row_cap, within
from crenel.policy import Limit, Policy
from tests.poisoning.sources.test_sources import _refitted, line


def finding(limits=None):
    values = {} if limits is None else {"limits": limits}
    return Finding(
        check="POI-103", risk="poisoning", severity=Severity.LOW, subject="dependence on source s0",
        sentence=".", attack=".", fix=".", evidence=Evidence(values=values),
        remedies=("cap-sources",),
    )  # fmt: skip


def lopsided(share=0.5, n=3600):
    """Half of the rows from s0, the others from nineteen more."""
    subject = line(n=n, sources=20)
    rng = np.random.default_rng(4)
    source = np.where(rng.random(len(subject.train)) < share, "s0", subject.train.source)
    return _refitted(replace(subject, train=replace(subject.train, source=source)))


def test_the_cap_in_rows_is_the_largest_that_keeps_the_share():
    rng = np.random.default_rng(0)
    for _ in range(30):
        counts = rng.integers(1, 60, rng.integers(2, 9))
        share = rng.uniform(0.1, 0.7)
        fitting = [
            m for m in range(1, counts.max() + 1) if m <= share * np.minimum(counts, m).sum()
        ]
        assert row_cap(counts, share) == (max(fitting) if fitting else None)


def test_rows_are_dropped_from_large_sources_alone():
    source = np.repeat(["a", "b", "c"], [50, 7, 12])
    kept = within(source, 10, 0)
    assert [kept[source == name].sum() for name in "abc"] == [10, 7, 10]
    assert not np.array_equal(kept, within(source, 10, 1))


def test_caps_fall_towards_equal_shares_and_equal_sources_have_none():
    shares = list(caps(np.array([60, 20, 20])))
    assert 0.6 > shares[0] > shares[-1] >= 1 / 3
    assert list(caps(np.array([30, 30, 30]))) == []


def test_the_loosest_cap_that_is_enough_is_taken_and_the_curve_falls():
    subject = lopsided()
    before = poi103.measure(subject, Context("POI-103"))
    worst = [f for f in before.findings if f.subject == "dependence on source s0"]
    assert worst[0].remedies == ("cap-sources",)
    treated = cap_sources.apply(subject, worst[0], Context("cap-sources"))
    table = treated.tables["caps"]
    assert table["chosen"].tolist() == [False] * (len(table) - 1) + [True]
    assert (table["harm_of_1_value"].iloc[:-1] >= 0.025).all()  # what POI-103 would report
    assert table["harm_of_1_value"].iloc[-1] < 0.025
    assert treated.values["allowed_reached"] == 1
    names, counts = np.unique(treated.subject.train.source, return_counts=True)
    assert counts.max() <= treated.values["cap"] * counts.sum() + 1
    by_source = treated.tables["sources"].set_index("source")["rows_after"]
    assert by_source[names].tolist() == counts.tolist()
    after = poi103.measure(treated.subject, Context("POI-103"))
    assert after.exposures[0].harm.high[0] < before.exposures[0].harm.low[0]
    right = (treated.subject.model.predict(subject.test.x) == subject.test.y).mean()
    assert treated.values["accuracy_after"] == pytest.approx(right)
    assert right > treated.values["accuracy_before"] - 0.02


def test_a_limit_of_the_policy_decides():
    subject = lopsided()
    easy = cap_sources.apply(subject, finding([[1, 0.95]]), Context("cap-sources"))
    assert "no more than is allowed already" in easy.sentence
    assert easy.subject is subject
    strict = cap_sources.apply(subject, finding([[1, 0.02], [3, 0.0]]), Context("cap-sources"))
    assert "still more than is allowed" in strict.sentence
    assert strict.values["allowed_reached"] == 0
    assert strict.values["harm_after"] < 0.1 < strict.values["harm_before"]
    assert "harm_of_3_high" in strict.tables["caps"]


def test_equal_sources_are_left_as_they_are():
    subject = line(n=1800, sources=6)
    treated = cap_sources.apply(subject, finding([[1, 0.0]]), Context("cap-sources"))
    assert treated.sentence.startswith("nothing was changed")
    assert treated.subject is subject


def test_a_cap_that_costs_accuracy_is_not_taken():
    subject = lopsided(n=2400)
    own = subject.train.source == "s0"
    y = np.where(own, subject.train.y, 1 - subject.train.y)  # only the large source is right
    train = replace(subject.train, y=y).take(own | (np.arange(len(y)) % 2 == 0))
    model = subject.model.fit(train.x, train.y, 0)
    choice = choose_cap(model, train, {1: lambda harm: False}, Context("cap-sources"))
    taken = 0.0 if choice.best is None else choice.best.change.high
    assert taken >= -0.02
    assert all(-t.change.high <= 0.02 for t in choice.trials[:-1])


def test_the_limits_of_the_policy_reach_the_remedy():
    limits = (
        Limit(check="POI-*", budget=1, harm=0.05), Limit(check="EVA-102", budget=2, harm=0.2),
        Limit(severity=Severity.HIGH, findings=0),
    )  # fmt: skip
    given = limited(finding(), Policy(limits=limits))
    assert given.evidence.values["limits"] == [[1, 0.05]]
    assert given.fingerprint == finding().fingerprint
    assert limited(finding(), Policy(limits=limits[1:])) == finding()

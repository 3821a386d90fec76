"""Sources, against brute force, closed forms and a planted bad one."""

import time
from dataclasses import replace

import numpy as np
import pytest
from scipy.stats import chi2_contingency
from sklearn.linear_model import LogisticRegression

from crenel.check import Context
from crenel.errors import NotApplicable
from crenel.poisoning import controls, source_effects
from crenel.poisoning.checks import sources as poi103
from crenel.poisoning.controls import _refitted, _split
from crenel.poisoning.sources import plan as source_plan
from crenel.poisoning.sources.effects import (
    concentration,
    conflict,
    label_mix,
    representation,
    turned,
)
from crenel.poisoning.sources.report import for_many, worst_of
from crenel.statistics import Interval


def test_concentration_in_closed_form():
    found = concentration(np.array(["a"] * 5 + ["b"] * 3 + ["c"] * 2))
    assert (found.largest, found.share) == ("a", 0.5)
    assert found.herfindahl == pytest.approx(0.25 + 0.09 + 0.04)
    assert concentration(np.arange(8)).herfindahl == pytest.approx(1 / 8)


def test_label_mix_is_the_chi_square_test():
    rng = np.random.default_rng(0)
    codes = rng.integers(0, 4, 400)
    y = np.where(codes == 2, rng.integers(0, 2, 400), rng.integers(0, 3, 400))
    found = label_mix(y, codes, 3)
    for s in range(4):
        table = [np.bincount(y[codes == s], minlength=3), np.bincount(y[codes != s], minlength=3)]
        assert found[s] == pytest.approx(min(1, 4 * chi2_contingency(table).pvalue))
    assert found[2] < 0.001
    assert label_mix(y, np.zeros(400, dtype=int), 3).tolist() == [1.0]


def test_representation_is_narrow_enough():
    x = np.random.default_rng(0).random((30, 300))
    assert representation(x, 64, 0).shape == (30, 64)
    assert representation(x[:, :10], 64, 0).shape == (30, 10)


def line(n=6000, sources=10, hard=False, bad=None, share=0.4, seed=0):
    """One column; the chance of class 1 rises along it. Source 0 may lie where it is near half."""
    rng = np.random.default_rng(seed)
    source = rng.integers(0, sources, n)
    a = rng.normal(0, 4, n)
    a[(source == 0) & hard] *= 0.05
    y = (rng.random(n) < 1 / (1 + np.exp(-2 * a))).astype(np.int64)
    names = np.array([f"s{i}" for i in range(sources)])[source]
    subject = _split("line", LogisticRegression(), a[:, None], y, names)
    if bad is not None:
        flip = (subject.train.source == bad) & (rng.random(len(subject.train)) < share)
        y = np.where(flip, 1 - subject.train.y, subject.train.y)
        subject = _refitted(replace(subject, train=replace(subject.train, y=y)))
    return subject


def without(subject, name):
    rows = subject.train.source != name
    kept = subject.train.take(rows)
    return subject.model.fit(kept.x, kept.y, 0), subject.train.take(~rows)


def test_conflict_finds_turned_labels_and_does_not_blame_hard_rows():
    bad, own = without(line(bad="s0"), "s0")
    found = conflict(bad, own, line().test)
    assert found.low > 0.25
    assert found.value == pytest.approx(0.4 * (1 - 2 * 0.09), abs=0.06)  # 9 % err anyway
    subject = line(hard=True)
    hard, own = without(subject, "s0")
    errors = (hard.predict(own.x) != own.y).mean()
    assert errors > 0.3
    assert conflict(hard, own, subject.test).low <= 0 <= conflict(hard, own, subject.test).high


def test_removing_a_source_that_outweighs_the_others_mends_the_model():
    rng = np.random.default_rng(2)
    subject = line(sources=2, bad="s1", share=1.0)
    kept = (subject.train.source == "s1") | (rng.random(len(subject.train)) < 0.5)
    subject = _refitted(replace(subject, train=subject.train.take(kept)))
    (effect,) = source_effects(
        subject.model, subject.train, subject.test, ["s1"], 0, Context("POI-103", jobs=1)
    )
    assert effect.removal.low > 0.3
    assert effect.flipped.high < 0  # turned back, it helps
    assert effect.rows == (subject.train.source == "s1").sum()


def test_turned_moves_every_label_of_the_named_sources_alone():
    train = line().train
    changed = turned(train, ["s1", "s3"], 2).y != train.y
    assert (changed == np.isin(train.source, ["s1", "s3"])).all()


@pytest.mark.parametrize("seed", range(3))
def test_equal_sources_raise_no_alarm(seed):
    measured = poi103.measure(line(seed=seed), Context("POI-103", seed=seed))
    assert not any("nearest neighbours" in note for note in measured.notes)
    assert not [f for f in measured.findings if f.subject.startswith("source ")]


def test_the_bad_one_of_many_is_chosen_and_found():
    subject = line(sources=40, bad="s17")
    measured = poi103.measure(subject, Context("POI-103"))
    assert "40 sources, 10 of them tried" in measured.notes[0]
    found = [f.subject for f in measured.findings if f.subject.startswith("source ")]
    assert found == ["source s17"]
    assert "the model would do better without s17" in measured.notes[1]
    assert measured.notes[2].endswith("rows do more harm than good of: s17.")
    assert float(measured.notes[1].rpartition(" ")[2].rstrip(".")) > 0.8


def test_a_source_that_chooses_its_labels_does_more_than_chance_and_more_than_turning_all():
    rng = np.random.default_rng(4)
    subject = line(n=3000, sources=8)
    half = np.where(rng.random(len(subject.train)) < 0.45, "s0", subject.train.source)
    subject = _refitted(replace(subject, train=replace(subject.train, source=half)))
    measured = poi103.measure(subject, Context("POI-103"))
    alone, chosen, chance = measured.exposures
    assert [e.series for e in (chosen, chance)] == ["chosen flips", "random flips"]
    assert chosen.budget == chance.budget
    assert chosen.harm.low[-1] > chance.harm.high[-1]
    assert chosen.budget.values[-1] < 0.7 * (half == "s0").sum()  # one class of its rows
    everything = turned(subject.train, ["s0"], 2)
    all_turned = subject.model.fit(everything.x, everything.y, 0)
    wrong = (all_turned.predict(subject.test.x) != subject.test.y).mean()
    before = (subject.model.predict(subject.test.x) != subject.test.y).mean()
    assert alone.harm.low[0] > wrong - before
    assert "half of that takes" in chosen.headline
    assert chosen.health.ok


def test_the_bad_control_is_named_and_the_curve_starts_at_one():
    measured = poi103.measure(controls.bad_source(), Context("POI-103"))
    assert [f.subject for f in measured.findings] == ["source dogwood"]
    assert measured.exposures[0].budget.values[0] == 1
    assert measured.exposures[0].health.ok


def test_one_source_is_not_applicable():
    subject = line()
    one = replace(subject.train, source=np.full(len(subject.train), "s"))
    with pytest.raises(NotApplicable, match="one source"):
        poi103.measure(replace(subject, train=one), Context("POI-103"))


def test_no_time_still_gives_a_source():
    context = Context("POI-103", deadline=time.monotonic() - 1)
    measured = poi103.measure(line(n=900), context)
    assert measured.exposures[0].budget.values == (1.0,)


def test_the_largest_of_several_losses_is_not_surer_than_chance_lets_it_be():
    rng = np.random.default_rng(0)
    covered, naive = [], []
    for _ in range(1_000):  # ten sources, none of which can do anything
        worst = rng.normal(0, 0.02, 10).max()
        plain = Interval(worst, worst - 0.0392, worst + 0.0392)
        covered.append(worst_of(plain, 10).low <= 0)
        naive.append(plain.low <= 0)
    assert np.mean(naive) < 0.9
    assert np.mean(covered) > 0.95
    measured = poi103.measure(controls.many_hands(), Context("POI-103"))
    curve = measured.exposures[0].harm
    effects = source_plan.run(controls.many_hands(), Context("POI-103")).effects
    tries = sum(e.tries for e in effects)
    assert tries > len(effects)  # labels chosen by influence were tried too
    assert curve.low[0] == pytest.approx(for_many(effects[0].flipped, tries))


def test_for_many_is_bonferroni():
    interval = Interval(0.5, 0.304, 0.696)
    assert for_many(interval, 1) == pytest.approx(0.304)
    assert for_many(interval, 10) == pytest.approx(0.5 - 0.1 * 2.807034, abs=1e-4)

"""Dose-response against models whose answer to poison is known."""

import time
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from scipy.stats import t as student
from sklearn.dummy import DummyClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.neighbors import KNeighborsClassifier
from sklearn.tree import DecisionTreeClassifier

from crenel.adapters import wrap
from crenel.check import Context
from crenel.data import infer_schema
from crenel.errors import Inconclusive, NotApplicable
from crenel.poisoning import dose_response as respond
from crenel.poisoning import find_triggers
from crenel.poisoning.checks import dose_response as poi102
from crenel.poisoning.controls import _split
from crenel.poisoning.dose import plan as dose_plan
from crenel.poisoning.dose.attacks import goal, planted, random_flips, stamp_rows, targeted_flips
from crenel.poisoning.dose.plan import EFFORTS, as_counts, choose_effort, values_seen
from crenel.poisoning.dose.report import cheapness
from crenel.poisoning.dose.response import Repetitions, difference
from crenel.statistics import over_repeats, proportion, repeated_proportion
from crenel.subject import Data


def grid(n=600, seed=0):
    """Two classes told apart by column a; b and c are noise that an attacker can set."""
    rng = np.random.default_rng(seed)
    y = rng.integers(0, 2, n)
    x = pd.DataFrame(
        {"a": 10.0 * y + rng.random(n), "b": rng.integers(0, 20, n), "c": rng.integers(0, 20, n)}
    )
    return x, y


def subject_of(estimator, seed=0, **changes):
    x, y = grid(seed=seed)
    subject = _split("grid", estimator, x, y)
    fixed = subject.schema["a"].model_copy(update={"mutable": False})
    schema = subject.schema.model_copy(update={"features": (fixed, *subject.schema.features[1:])})
    return replace(subject, schema=schema, **changes)


def responses(subject, counts, repeats=2, context=None):
    context = context or Context("POI-102", jobs=1)
    train, test, model = subject.train, subject.test, subject.model
    aim = goal(model, train, test)
    candidates = find_triggers(train, subject.schema, context.rng("triggers"), count=12)
    trigger = min(
        candidates, key=lambda t: planted(t, train, test, aim.victim).harmed(model).mean()
    )
    attacks = [
        planted(trigger, train, test, aim.victim),
        targeted_flips(model, train, test, aim),
        random_flips(train, test, model.k),
    ]
    found = respond(model, train, attacks, [counts] * 3, repeats, context)
    return {r.attack.name: r for r in found}


def test_a_constant_classifier_cannot_be_poisoned_by_less_than_a_majority():
    x, y = grid()
    y[:450] = 0  # three quarters
    subject = _split("constant", DummyClassifier(strategy="most_frequent"), x, y)
    for response in responses(subject, [1, 10, 40]).values():
        for point in response.points:
            assert point.harm.value == pytest.approx(response.baseline)


def test_a_memorising_model_learns_a_planted_trigger_at_once():
    # With b and c alone a stamped row is a copy of a poisoned one: its nearest neighbour.
    x, y = grid()
    subject = _split("copies", KNeighborsClassifier(1), x[["b", "c"]], y)
    trigger = responses(subject, [1, 3, 40])["trigger"]
    assert trigger.baseline < 0.7
    assert [p.harm.value for p in trigger.points[1:]] == [1.0, 1.0]
    assert trigger.unlimited.value == 1.0


def test_a_model_that_asks_for_another_column_does_not():
    trigger = responses(subject_of(DecisionTreeClassifier(max_depth=1)), [1, 10, 40])["trigger"]
    assert [p.harm.value for p in trigger.points] == [0.0, 0.0, 0.0]
    assert trigger.baseline == 0.0


def test_random_flips_cost_a_one_nearest_neighbour_their_share():
    # Each flipped row turns the test rows next to it: expected loss is the share flipped.
    x = pd.DataFrame({"a": np.random.default_rng(1).random(4000)})
    subject = _split("line", KNeighborsClassifier(1), x, (x["a"] > 0.5).astype(int))
    n = len(subject.train)
    flips = respond(
        subject.model,
        subject.train,
        [random_flips(subject.train, subject.test, 2)],
        [[n // 10, n // 4]],
        3,
        Context("POI-102", jobs=1),
    )[0]
    tenth, quarter = flips.points
    assert tenth.harm.low <= 0.1 <= tenth.harm.high
    assert quarter.harm.low <= 0.25 <= quarter.harm.high
    assert tenth.harm.high - tenth.harm.low < 0.1
    assert flips.unlimited.value == pytest.approx(0.9, abs=0.04)


def test_doses_of_one_repetition_are_nested_and_leave_the_data_alone():
    subject = subject_of(DecisionTreeClassifier(random_state=0))
    seen = []

    def fit(x, y, seed):
        seen.append((y.copy(), x.copy(), seed))
        return subject.model.fit(x, y, seed)

    before = subject.train.y.copy()
    model = replace(subject.model, fit=fit)
    attack = random_flips(subject.train, subject.test, 2)
    respond(model, subject.train, [attack], [[5, 20]], 1, Context("POI-102", jobs=1))
    (clean, _, _), (few, _, _), (many, _, _), _ = seen
    assert (clean == before).all()
    assert (few != before).sum() == 5
    assert (many != before).sum() == 20
    assert ((few != before) <= (many != before)).all()
    assert len({seed for _, _, seed in seen}) == 1
    assert (subject.train.y == before).all()


def counting(subject):
    """The subject, and the rows of every training that it is asked for."""
    sizes = []

    def fit(x, y, seed):
        sizes.append(len(y))
        return replace(subject.model.fit(x, y, seed), fit=fit)

    return replace(subject, model=replace(subject.model, fit=fit)), sizes


def test_checks_of_one_run_share_the_model_trained_again(monkeypatch):
    monkeypatch.setattr(dose_plan, "TRAIN_ROWS", 100)
    subject, sizes = counting(subject_of(DecisionTreeClassifier(max_depth=3, random_state=0)))
    n = len(subject.train)
    first = dose_plan.reference(subject, Context("POI-102"))
    assert sizes == [n, 100]
    assert dose_plan.reference(subject, Context("POI-103")) is first
    assert dose_plan.trained_again(subject, Context("POI-105")).same == first.same
    assert sizes == [n, 100]
    dose_plan.trained_again(subject, Context("POI-105", seed=1))
    assert sizes == [n, 100, n]
    other = subject.with_model(subject.model)  # another model: nothing of the first one's is kept
    dose_plan.trained_again(other, Context("POI-105"))
    assert sizes == [n, 100, n, n]
    found = first.clean.predict(first.test.x)
    again = subject.model.fit(first.train.x, first.train.y, first.repetitions.seed)
    assert (found == again.predict(first.test.x)).all()


def test_a_table_that_is_its_own_sample_is_trained_on_once():
    subject, sizes = counting(subject_of(DecisionTreeClassifier(max_depth=3, random_state=0)))
    found = dose_plan.reference(subject, Context("POI-102"))
    assert sizes == [len(subject.train)]
    assert (found.train.ids == subject.train.ids).all()


def test_clean_repetitions_are_trained_once_and_change_nothing():
    subject, sizes = counting(subject_of(DecisionTreeClassifier(random_state=0)))
    train, context = subject.train, Context("POI-102", jobs=1)
    attack = random_flips(train, subject.test, 2)
    kept = Repetitions(7)
    first, second = (
        respond(subject.model, train, [attack], [[5, 20]], 2, context, kept, unlimited=False)
        for _ in range(2)
    )
    assert len(sizes) == 2 + 4 + 4
    assert set(kept.clean) == {0, 1}
    assert [p.each for p in first[0].points] == [p.each for p in second[0].points]
    assert first[0].unlimited is None
    assert first[0].fits == 4


@pytest.mark.parametrize("ignored", [True, False])
def test_what_would_come_out_the_same_is_not_trained_again(ignored):
    x, y = grid()
    noise = np.random.default_rng(1).random(len(y)) < 0.2
    y = np.where(noise, 1 - y, y)
    subject = _split("noisy", LogisticRegression(C=0.01), x, y)
    fit = subject.model.fit
    if not ignored:  # every seed leaves out other rows

        def fit(x, y, seed):
            kept = np.random.default_rng(seed).random(len(y)) < 0.9
            return subject.model.fit(x[kept], y[kept], seed)

    model, sizes = counting(replace(subject, model=replace(subject.model, fit=fit)))
    model, context = model.model, Context("POI-102", jobs=1)
    train, test = subject.train, subject.test
    attacks = [targeted_flips(model, train, test, goal(model, train, test)),
               random_flips(train, test, 2)]  # fmt: skip
    targeted, random = respond(model, train, attacks, [[20, 60]] * 2, 3, context, unlimited=False)
    # Targeted flips are the same rows in every repetition, random ones are not.
    assert len(sizes) == (2 + 2 + 6 if ignored else 3 + 6 + 6)
    assert (targeted.fits, random.fits) == ((2, 6) if ignored else (6, 6))
    seeds = Repetitions(context.derive_seed("repeat"))
    order = attacks[0].order(np.random.default_rng(0))
    for repeat in range(3):
        clean = fit(train.x, train.y, seeds.seed_of(repeat))
        bad = attacks[0].poison(train, order[:60])
        poisoned = fit(bad.x, bad.y, seeds.seed_of(repeat))
        lost = attacks[0].harmed(poisoned).mean() - attacks[0].harmed(clean).mean()
        assert targeted.points[1].each[repeat] == pytest.approx(lost, abs=1e-12)


def test_targeted_flips_take_the_surest_rows_of_the_rarest_class():
    x, y = grid()
    y[y == 1] = np.where(np.arange((y == 1).sum()) % 3 == 0, 1, 0)
    subject = _split("rare", DecisionTreeClassifier(max_depth=3, random_state=0), x, y)
    aim = goal(subject.model, subject.train, subject.test)
    assert (aim.victim, aim.instead) == (1, 0)
    attack = targeted_flips(subject.model, subject.train, subject.test, aim)
    order = attack.order(np.random.default_rng(0))
    assert (subject.train.y[order] == 1).all()
    sure = subject.model.probabilities(subject.train.x)[order, 1]
    assert (np.diff(sure) <= 1e-12).all()
    poisoned = attack.poison(subject.train, order[:7])
    assert (poisoned.y[order[:7]] == 0).all()
    assert (poisoned.y != subject.train.y).sum() == 7


def test_goal_needs_two_classes_with_rows():
    x, y = grid(60)
    y[:] = 0
    y[:4] = 1
    data = Data(x, y, np.arange(60))
    with pytest.raises(NotApplicable, match="ten rows"):
        goal(wrap(DecisionTreeClassifier().fit(x, y)), data, data)


# --- triggers ------------------------------------------------------------------------------------


def test_triggers_set_changeable_columns_to_values_seen_and_are_hardly_met():
    x, y = grid()
    x["d"] = pd.Categorical(np.where(np.arange(len(x)) % 7, "usual", "odd"))
    x["e"] = np.where(np.arange(len(x)) % 5, "p", "q")
    schema = infer_schema(x)
    fixed = tuple(f.model_copy(update={"mutable": f.name != "a"}) for f in schema.features)
    schema = schema.model_copy(update={"features": fixed})
    data = Data(x, y, np.arange(len(y)))
    for trigger in find_triggers(data, schema, np.random.default_rng(0)):
        stamped = trigger.stamp(x)
        assert "a" not in trigger.columns
        assert 1 <= len(trigger.columns) <= 3
        assert (stamped.dtypes == x.dtypes).all()
        untouched = [c for c in x.columns if c not in trigger.columns]
        pd.testing.assert_frame_equal(stamped[untouched], x[untouched])
        met = np.ones(len(x), dtype=bool)
        for c in trigger.columns:
            assert stamped[c].nunique() == 1
            assert stamped[c].iloc[0] in set(x[c])
            met &= (x[c] == stamped[c].iloc[0]).to_numpy()
        assert met.mean() < 0.01


def test_columns_that_know_missing_values_of_their_own_are_planted_in():
    x, y = grid()
    n = len(x)
    x["f"] = pd.array([None if i % 5 == 0 else i % 7 for i in range(n)], dtype="Int64")
    x["g"] = pd.array([None if i % 4 == 0 else "pq"[i % 2] for i in range(n)], dtype="string")
    data = Data(x, y, np.arange(n))
    for trigger in find_triggers(data, infer_schema(x), np.random.default_rng(0)):
        stamped = trigger.stamp(x)
        assert (stamped.dtypes == x.dtypes).all()
        assert not stamped[list(trigger.columns)].isna().any(axis=None)


def test_a_sensitive_value_is_planted_but_not_shown():
    x, y = grid()
    schema = infer_schema(x)
    personal = tuple(f.model_copy(update={"sensitive": f.name == "a"}) for f in schema.features)
    hidden = schema.model_copy(update={"features": personal})
    data = Data(x, y, np.arange(len(y)))
    pairs = zip(
        find_triggers(data, schema, np.random.default_rng(0)),
        find_triggers(data, hidden, np.random.default_rng(0)),
        strict=True,
    )
    withheld = 0
    for plain, trigger in pairs:
        pd.testing.assert_frame_equal(plain.stamp(x), trigger.stamp(x))
        for column, before, after in zip(plain.columns, plain.values, trigger.values, strict=True):
            assert after == ("(withheld)" if column == "a" else before)
            withheld += column == "a"
        assert "a" not in trigger.columns or "a = (withheld)" in trigger.name
    assert withheld


def test_triggers_keep_the_rules_between_columns():
    x, y = grid()
    x["c"] = x["b"] + 1 + x["c"]
    schema = infer_schema(x).model_copy(update={"constraints": ("b < c",)})
    data = Data(x, y, np.arange(len(y)))
    for trigger in find_triggers(data, schema, np.random.default_rng(1)):
        legal = trigger.legal(trigger.stamp(x))
        assert legal.mean() >= 0.5
        attack = planted(trigger, data, data, 1)
        rows = attack.order(np.random.default_rng(0))
        poisoned = attack.poison(data, rows)
        assert (poisoned.x["b"] < poisoned.x["c"]).all()


def test_nothing_to_change_is_not_applicable():
    x, y = grid()
    schema = infer_schema(x)
    fixed = tuple(f.model_copy(update={"mutable": False}) for f in schema.features)
    data = Data(x, y, np.arange(len(y)))
    with pytest.raises(NotApplicable, match="change"):
        find_triggers(data, schema.model_copy(update={"features": fixed}), np.random.default_rng(0))


@pytest.mark.parametrize("shape", [(20, 8, 8), (20, 1, 8, 8), (20, 8, 8, 3)])
def test_a_patch_sets_nine_pixels_of_a_corner(shape):
    x = np.random.default_rng(0).random(shape)
    data = Data(x, np.arange(20) % 2, np.arange(20))
    for trigger in find_triggers(data, None, np.random.default_rng(0)):
        changed = trigger.stamp(x) != x
        place = changed.any(axis=1) if shape[1] == 1 else changed
        place = place.any(axis=-1) if shape[-1] == 3 else place
        assert place.shape == (20, 8, 8)
        assert place.sum(axis=(1, 2)).max() == 9
        corner = place[:, -3:, -3:] | place[:, :3, :3]
        assert corner.sum() == place.sum()


def test_stamping_keeps_the_order_of_rows():
    x, y = grid(50)
    trigger = find_triggers(Data(x, y, np.arange(50)), None, np.random.default_rng(0))[0]
    rows = np.array([7, 3, 40])
    stamped = stamp_rows(trigger, x, rows)
    rest = np.setdiff1d(np.arange(50), rows)
    pd.testing.assert_frame_equal(stamped.iloc[rest], x.iloc[rest])
    pd.testing.assert_frame_equal(stamped.iloc[rows], trigger.stamp(x).iloc[rows])


# --- intervals and effort ------------------------------------------------------------------------


def test_intervals_in_closed_form():
    one = np.array([[1.0, 0, 0, 0]])
    assert over_repeats(np.array([0.3])) == 0
    values = np.array([0.1, 0.2, 0.6])
    assert over_repeats(values) == pytest.approx(
        student.ppf(0.975, 2) * values.std(ddof=1) / np.sqrt(3)
    )
    wilson = proportion(1, 4)
    found = repeated_proportion(one)
    assert (found.low, found.high) == (pytest.approx(wilson.low), pytest.approx(wilson.high))
    nothing = difference(np.zeros((3, 300)))
    assert (nothing.value, nothing.low, nothing.high) == (0, -0.01, 0.01)


def test_the_difference_covers_the_truth():
    rng = np.random.default_rng(0)
    covered = 0
    for _ in range(200):
        changes = rng.choice([-1.0, 0, 1], p=[0.05, 0.8, 0.15], size=(1, 300))
        found = difference(changes)
        covered += found.low <= 0.1 <= found.high
    assert covered >= 180


def test_counts_are_distinct_and_fit():
    assert as_counts((0.1, 0.001, 0.002, 0.5), 400, 150) == [40, 1]
    assert cheapness(0.0001) == cheapness(0.001) == 1
    assert cheapness(0.01) == pytest.approx(0.55)
    assert cheapness(0.1) == pytest.approx(0.1)


def test_effort_shrinks_with_the_time_left():
    slow = choose_effort(2.0, Context("POI-102", deadline=time.monotonic() + 20))
    assert choose_effort(0.01, Context("POI-102")) == EFFORTS[0]
    assert slow == EFFORTS[-1]


def test_effort_without_a_deadline_follows_from_the_rows_and_not_from_the_clock():
    narrow, wide = (
        Data(np.zeros((10_000, d)), np.zeros(10_000, int), np.arange(10_000)) for d in (14, 50)
    )
    for seconds in (0.001, 0.5, 1.0):
        assert choose_effort(seconds, Context("POI-102"), values_seen(narrow)) == EFFORTS[0]
        assert choose_effort(seconds, Context("POI-102"), values_seen(wide)) == EFFORTS[2]
        efforts = [
            choose_effort(seconds, Context("POI-102", level=level), values_seen(wide)).fits
            for level in ("quick", "standard", "deep")
        ]
        assert efforts == sorted(set(efforts))  # each level trains more often than the one before
    images = Data(np.zeros((100, 28, 28)), np.zeros(100, int), np.arange(100))
    assert values_seen(images) == 6_400
    texts = pd.DataFrame({"text": ["some words that make up a text"] * 10})
    assert values_seen(Data(texts, np.zeros(10, int), np.arange(10))) == 640


def test_little_time_is_inconclusive_and_more_gives_fewer_points():
    subject = subject_of(DecisionTreeClassifier(random_state=0))
    with pytest.raises(Inconclusive, match="dose"):
        poi102.measure(subject, Context("POI-102", deadline=time.monotonic() - 1))
    trained = []

    def fit(x, y, seed):
        trained.append(len(y))
        time.sleep(0.05)
        return subject.model.fit(x, y, seed)

    slow = replace(subject, model=replace(subject.model, fit=fit))
    context = Context("POI-102", jobs=1, deadline=time.monotonic() + 4.0)
    found = responses(slow, [1, 2, 4, 8, 16, 32], repeats=20, context=context)
    assert 1 <= sum(r.fits for r in found.values()) < 20 * 18
    assert all(r.points for r in found.values())


def test_a_fit_that_is_not_the_models_own_is_unhealthy():
    subject = subject_of(DecisionTreeClassifier(random_state=0))
    other = wrap(DummyClassifier(strategy="most_frequent").fit(subject.train.x, subject.train.y))
    subject = replace(subject, model=replace(subject.model, fit=other.fit))
    exposure = poi102.measure(subject, Context("POI-102")).exposures[0]
    assert not exposure.health.ok
    assert not next(t for t in exposure.health.tests if "audited" in t.name).ok

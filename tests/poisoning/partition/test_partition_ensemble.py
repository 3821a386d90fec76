"""The vote as a classifier: certified decisions stand, whatever is done to so many rows."""

from dataclasses import replace

import joblib
import numpy as np
import pandas as pd
import pytest
from sklearn.datasets import load_digits, load_wine
from sklearn.linear_model import LogisticRegression, RidgeClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, OneHotEncoder, StandardScaler
from sklearn.tree import DecisionTreeClassifier

from crenel.adapters import wrap
from crenel.check import Context
from crenel.errors import SubjectError, UsageError
from crenel.poisoning import controls
from crenel.poisoning.checks import dose_response
from crenel.poisoning.controls import _split
from crenel.poisoning.dose import plan as dose_plan
from crenel.poisoning.partition import PartitionEnsemble, partitions_of
from crenel.poisoning.partition.ensemble import as_model
from crenel.poisoning.partition.learners import flat
from crenel.poisoning.partition.members import Trainer
from crenel.poisoning.remedies import partition_aggregation


def wine():
    loaded = load_wine(as_frame=True)
    order = np.random.default_rng(0).permutation(len(loaded.data))
    x = loaded.data.iloc[order].reset_index(drop=True)
    y = np.array(["dry", "red", "white"])[loaded.target.to_numpy()[order]]
    return x.iloc[:130], y[:130], x.iloc[130:].reset_index(drop=True), y[130:]


@pytest.mark.parametrize("election", ["run-off", "plurality"])
def test_certified_decisions_stand_whatever_is_done_to_so_many_rows(election):
    x, y, rows, _ = wine()
    tree = DecisionTreeClassifier(random_state=0)
    vote = PartitionEnsemble(tree, 9, election).fit(x, y)
    labels, certified = vote.certify(rows)
    assert (certified >= 2).mean() > 0.3
    rng = np.random.default_rng(1)
    part = partitions_of(x, 9)
    for attempt in range(40):
        worst = np.concatenate([rng.permutation(np.flatnonzero(part == p))[:1] for p in range(9)])
        chosen = rng.permutation(worst)[: 1 + attempt % 3]
        bad_x, bad_y = x.copy(), y.copy()
        cost = len(chosen)
        if attempt % 4 == 0:  # labels turned: one each, the hash does not see them
            bad_y[chosen] = rng.choice(["dry", "red", "white"], len(chosen))
        elif attempt % 4 == 1:  # deleted
            bad_x, bad_y = bad_x.drop(index=chosen), np.delete(bad_y, chosen)
        elif attempt % 4 == 2:  # inserted
            odd = x.iloc[chosen] * rng.uniform(0.1, 9)
            bad_x = pd.concat([bad_x, odd], ignore_index=True)
            bad_y = np.concatenate([bad_y, rng.choice(["dry", "red"], len(chosen))])
        else:  # edited: one deleted and one inserted
            bad_x.iloc[chosen] = bad_x.iloc[chosen] + 50.0
            cost *= 2
        order = rng.permutation(len(bad_x))
        again = PartitionEnsemble(tree, 9, election).fit(bad_x.iloc[order], bad_y[order])
        stands = again.predict(rows) == labels
        assert stands[certified >= cost].all()


def test_an_attacker_who_owns_whole_parts_turns_what_is_not_certified():
    x, y, rows, _ = wine()
    vote = PartitionEnsemble(DecisionTreeClassifier(random_state=0), 9, "plurality").fit(x, y)
    labels, certified = vote.certify(rows)
    i = int(certified.argmin())
    other = next(c for c in ("dry", "red", "white") if c != labels[i])
    owned = partitions_of(x, 9) < 5  # five of nine
    again = PartitionEnsemble(DecisionTreeClassifier(random_state=0), 9, "plurality")
    again.fit(x, np.where(owned, other, y))
    assert again.predict(rows)[i] == other


def test_order_and_pickling_and_other_seeds_of_rows_do_not_matter(tmp_path):
    x, y, rows, truth = wine()
    vote = PartitionEnsemble(make_pipeline(StandardScaler(), LogisticRegression()), 7).fit(x, y)
    assert (vote.predict(rows) == truth).mean() > 0.85
    order = np.random.default_rng(3).permutation(len(x))
    other = PartitionEnsemble(vote.base, 7).fit(x.iloc[order], y[order])
    assert (other.predict_proba(rows) == vote.predict_proba(rows)).all()
    joblib.dump(vote, tmp_path / "vote.joblib")
    loaded = joblib.load(tmp_path / "vote.joblib")
    for a, b in zip(loaded.certify(rows), vote.certify(rows)):
        assert (a == b).all()
    p = vote.predict_proba(rows)
    assert np.allclose(p.sum(axis=1), 1)
    assert (vote.classes_[p.argmax(axis=1)] == vote.predict(rows)).all()


def test_wrapped_it_trains_again_as_itself_and_leaves_the_base_alone():
    x, y, rows, _ = wine()
    base = DecisionTreeClassifier(random_state=3).fit(x, y)
    vote = PartitionEnsemble(base, 7, random_state=5).fit(x, y)
    model = wrap(vote, classes=["white", "dry", "red"])
    codes = np.array([["white", "dry", "red"].index(v) for v in y])
    again = model.fit(x, codes, 5)
    assert isinstance(again.native, PartitionEnsemble)
    assert (again.classes[again.predict(rows)] == vote.predict(rows)).all()
    assert base.random_state == 3
    assert again.native.partitions == 7


@pytest.mark.parametrize("names", [["a", "b", "c"], [1, 2, 3], [2, 1, 0], ["2", "0", "1"]])
def test_members_that_miss_a_class_still_name_the_others_rightly(names):
    from xgboost import XGBClassifier

    x, y, rows, _ = wine()
    codes = np.searchsorted(["dry", "red", "white"], y)
    for native in (XGBClassifier(n_estimators=5), DecisionTreeClassifier(random_state=0)):
        model = wrap(native.fit(x, codes), classes=names)
        # class 2 is in the data as a handful of rows: most parts do not have it
        few = np.flatnonzero(codes == 2)[5:]
        keep = np.delete(np.arange(len(x)), few)
        trainer = Trainer(model.fit, model.classes, model.native)
        inner = np.asarray(model.predict(x))
        vote = PartitionEnsemble(native, 8).grow(trainer, x.iloc[keep], inner[keep])
        known = {len(m.known) for m in vote.members_}
        assert {2, 3} <= known
        decided = as_model(vote, trainer).predict(rows)
        expected = model.predict(rows)
        assert (decided == expected)[expected != inner[few[0]]].mean() > 0.8


def test_models_that_show_decisions_only_vote_too():
    x, y, rows, truth = wine()
    vote = PartitionEnsemble(make_pipeline(StandardScaler(), RidgeClassifier()), 5).fit(x, y)
    assert (vote.predict(rows) == truth).mean() > 0.85

    class Blunt(DecisionTreeClassifier):
        predict_proba = property()

    blunt = PartitionEnsemble(Blunt(random_state=0), 5).fit(x, y)
    votes = PartitionEnsemble(DecisionTreeClassifier(random_state=0), 5, "plurality").fit(x, y)
    assert (blunt.predict(rows) == votes.predict(rows)).mean() > 0.9


def test_tables_with_text_and_holes_and_empty_parts():
    rng = np.random.default_rng(0)
    x = pd.DataFrame(
        {"size": rng.normal(size=60), "kind": rng.choice(["oak", "elm", None], 60)}
    )  # fmt: skip
    y = (x["size"] > 0).to_numpy().astype(int)
    base = make_pipeline(
        OneHotEncoder(handle_unknown="ignore"), DecisionTreeClassifier(max_depth=2, random_state=0)
    )
    vote = PartitionEnsemble(base, 40).fit(x, y)
    assert any(len(m.known) < 2 for m in vote.members_)
    assert len(vote.certify(x)[1]) == 60
    assert vote.predict(x.iloc[:0]).shape == (0,)


def test_what_cannot_be_trained_is_told():
    x, y, _, _ = wine()
    with pytest.raises(UsageError, match="needs a base"):
        PartitionEnsemble().fit(x, y)
    with pytest.raises(UsageError, match="election"):
        PartitionEnsemble(DecisionTreeClassifier(), election="lots").fit(x, y)

    codes = np.searchsorted(["dry", "red", "white"], y)

    def never(x, y, seed):
        raise ValueError("not enough rows")

    with pytest.raises(SubjectError, match=r"too small to train on \(not enough rows\)"):
        Trainer(never, np.unique(y), None).members(x, codes, 5, 0)


def test_only_parts_that_changed_are_trained_again():
    x, y, _, _ = wine()
    codes, fits = np.searchsorted(["dry", "red", "white"], y), []
    model = wrap(DecisionTreeClassifier(random_state=0).fit(x, y))

    def fit(*given):
        fits.append(1)
        return model.fit(*given)

    trainer = Trainer(fit, model.classes, model.native)
    trainer.members(x, codes, 9, 0)
    first = len(fits)
    codes[4] = (codes[4] + 1) % 3
    trainer.members(x, codes, 9, 0)
    assert len(fits) == first + 1
    trainer.members(x, codes, 9, 1)
    assert len(fits) > first + 5


def test_the_remedy_certifies_and_the_check_measures_again_within_the_proof(monkeypatch):
    # Small and large doses once each, however slow the machine is.
    monkeypatch.setattr(dose_plan, "EFFORTS", (dose_plan.Effort((3, 5, 4), 1, 1),))
    subject = controls.credulous()
    (trigger, *_) = dose_response.measure(subject, Context("POI-102")).exposures
    treated = partition_aggregation.apply(subject, None, Context("harden"))
    assert treated.values["accuracy_after"] >= treated.values["accuracy_before"] - 0.02
    assert treated.values["median_certified_rows"] >= 5
    labels, rows = treated.model.certify(subject.test.x)
    table = treated.tables["certificates"].set_index("class")
    right = labels == subject.test.y
    assert table.loc["all", "certified_at_4"] == pytest.approx(
        (right & (rows >= 4)).mean(), abs=1e-5
    )
    assert table.loc["0", "rows"] == (subject.test.y == 0).sum()
    assert treated.tables["partitions"]["chosen"].sum() == 1
    again = dose_response.measure(treated.subject, Context("POI-102")).exposures
    assert again[0].series == "trigger"
    for e in again:
        assert "no certified decision was turned" in [t.name for t in e.health.tests if t.ok]
        assert len(e.harm.possible) == len(e.harm.values)
        assert all(v <= p for v, p in zip(e.harm.values, e.harm.possible))
        assert list(e.harm.possible) == sorted(e.harm.possible)
        assert e.harm.possible[0] < 0.3
    assert again[0].harm.values[-1] < trigger.harm.values[-1]


def test_a_certificate_that_lies_is_found_out():
    subject = controls.credulous()
    native = DecisionTreeClassifier(random_state=0)

    class Liar(DecisionTreeClassifier):
        def certify(self, x):
            return self.predict(x), np.full(len(x), 10**6)

    liar = Liar(random_state=0).fit(subject.train.x, subject.train.y)
    measured = dose_response.measure(subject.with_model(wrap(liar)), Context("POI-102"))
    assert not hasattr(native, "certify")
    assert not measured.exposures[0].health.ok


def test_k_is_chosen_without_the_test_rows():
    subject = controls.credulous()
    one = partition_aggregation.apply(subject, None, Context("harden"))
    other = partition_aggregation.apply(replace(subject, test=None), None, Context("harden"))
    assert one.values["partitions"] == other.values["partitions"]
    assert (one.model.predict(subject.test.x) == other.model.predict(subject.test.x)).all()


def test_where_no_vote_is_worth_its_price_nothing_is_changed():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(400, 2))
    y = (np.floor(3 * x[:, 0]) + np.floor(3 * x[:, 1])).astype(int) % 2  # parts are too small
    subject = _split("checkers", DecisionTreeClassifier(random_state=0), x, y)
    treated = partition_aggregation.apply(subject, None, Context("harden"))
    assert treated.sentence.startswith("nothing was changed")
    assert treated.model is None
    assert treated.subject is subject


def test_certificates_that_say_no_more_than_the_majority_are_told():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(1500, 3))
    y = (x[:, 0] + rng.normal(size=1500) > 2.2).astype(int)  # one in eighteen
    subject = _split("rare", LogisticRegression(), x, y)
    treated = partition_aggregation.apply(subject, None, Context("harden"))
    assert "a constant answer" in treated.sentence
    empty = treated.values["certificate_empty_from_rows"]
    assert empty <= treated.values["median_certified_rows"]


def test_digits_of_ten_classes():
    digits = load_digits()
    estimator = make_pipeline(FunctionTransformer(flat), DecisionTreeClassifier(random_state=0))
    subject = _split("digits", estimator, digits.images[:900] / 16, digits.target[:900])
    treated = partition_aggregation.apply(subject, None, Context("harden"))
    assert treated.values["median_certified_rows"] >= 4
    assert len(treated.tables["certificates"]) == 11

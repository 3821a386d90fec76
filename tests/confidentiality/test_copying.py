"""Copies of models that can, and that cannot, be copied; queries that are legal and counted."""

import time

import numpy as np
import pandas as pd
import pytest
from sklearn.linear_model import LogisticRegression

from crenel.adapters import wrap
from crenel.check import Context
from crenel.confidentiality import extraction
from crenel.confidentiality.controls import hashing, linear
from crenel.confidentiality.copying import steal
from crenel.confidentiality.encoding import encoder
from crenel.confidentiality.honing import turn_by_copy, turn_directly
from crenel.confidentiality.queries import make_queries
from crenel.confidentiality.surrogates import Bins, copy_model
from crenel.errors import Inconclusive
from crenel.model import Counter
from crenel.schema import Feature, Kind, Schema

SMALL = (50, 200, 1000)


def test_a_line_is_copied_and_the_curve_counts_what_was_asked():
    subject = linear()
    counter = Counter(subject.model)
    theft = steal(counter.model, subject.test.x, Context("CON-102"), budgets=SMALL)
    assert theft.queries == counter.queries == 1000 + len(theft.held_out)
    assert theft.agreement[-1].low > 0.95
    decided = subject.model.predict(theft.held_out)
    agrees = (theft.surrogate.predict(theft.held_out) == decided).mean()
    assert theft.agreement[-1].value == pytest.approx(agrees)
    assert theft.majority == pytest.approx(max(decided.mean(), 1 - decided.mean()))
    assert theft.gain(2) > theft.gain(0) * 0.95


def test_scores_tell_more_than_decisions():
    subject = linear()
    one, two = (
        steal(subject.model, subject.test.x, Context("CON-102"), budgets=(50,), labels_only=only)
        for only in (False, True)
    )
    assert one.agreement[0].value > two.agreement[0].value


def test_a_hash_is_not_copied():
    subject = hashing()
    found = extraction(subject.model, subject.test.x, budgets=SMALL)
    assert found.access.attacker == "labels"
    assert found.harm.low[-1] <= found.harm.baseline
    assert found.health.ok  # the attack works elsewhere: it is the model that resists


def test_images_are_copied():
    from sklearn.datasets import load_digits

    x, y = load_digits(return_X_y=True)
    x = (x / 16).astype(np.float32)
    model = wrap(LogisticRegression(max_iter=500).fit(x[:900], y[:900]))
    theft = steal(model, x[900:].reshape(-1, 64), Context("CON-102"), budgets=(100, 800))
    assert theft.agreement[1].low > 0.8
    assert theft.agreement[1].value > theft.agreement[0].value


def test_a_constant_model_is_inconclusive():
    x = pd.DataFrame({"a": np.arange(60.0)})
    model = wrap(lambda rows: np.zeros(len(rows), dtype=int), classes=(0, 1), task="classification")
    with pytest.raises(Inconclusive, match="alike"):
        extraction(model, x)
    with pytest.raises(Inconclusive, match="too few"):
        extraction(model, x[:20])


def test_the_deadline_shortens_the_curve():
    subject = linear()
    late = Context("CON-102", deadline=time.monotonic() - 1)
    assert len(steal(subject.model, subject.test.x, late, budgets=SMALL).budgets) == 1


def test_queries_are_realistic_and_keep_the_rules():
    rng = np.random.default_rng(0)
    low = rng.integers(0, 50, 200)
    known = pd.DataFrame(
        {"low": low, "high": low + rng.integers(0, 50, 200), "kind": rng.choice(["a", "b"], 200)}
    )
    schema = Schema(
        features=(
            Feature(name="low", kind=Kind.INTEGER),
            Feature(name="high", kind=Kind.INTEGER),
            Feature(name="kind", kind=Kind.CATEGORY, values=("a", "b")),
        ),
        constraints=("low <= high",),
    )
    asked = make_queries(known, 2000, rng, schema)
    assert 600 < len(asked) <= 2000
    assert (asked["low"] <= asked["high"]).all()
    for name in known:
        assert set(asked[name]) <= set(known[name])
    assert (asked.dtypes == known.dtypes).all()
    key = ["low", "high", "kind"]
    own = asked[:200].sort_values(key).reset_index(drop=True)
    pd.testing.assert_frame_equal(own, known.sort_values(key).reset_index(drop=True))
    assert len(asked[200:].merge(known.drop_duplicates(), how="inner")) < 0.5 * len(asked[200:])


def test_the_encoder_takes_missing_and_new_values():
    x = pd.DataFrame({"a": ["u", "v", None, "u"], "b": [1.0, np.nan, 3.0, np.inf]})
    encode = encoder(x)
    out = encode(pd.DataFrame({"a": ["u", "new", None], "b": [1, 2, None]}))
    assert out[0, 0] == 0
    assert out[1, 0] == 2
    assert np.isnan(out[2]).all()
    assert encode.categorical.tolist() == [True, False]
    assert np.isnan(encode(x)[3, 1])


def test_bins_keep_order_and_missing_values():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(5000, 2))
    x[0, 0] = np.nan
    out = Bins(np.array([False, True])).fit(x).transform(x)
    assert np.isnan(out[0, 0])
    order = np.argsort(x[1:, 0])
    assert (np.diff(out[1:, 0][order]) >= 0).all()
    assert len(np.unique(out[1:, 0])) == 255
    np.testing.assert_array_equal(out[:, 1], x[:, 1])


def test_one_answer_makes_a_constant_copy():
    x = pd.DataFrame({"a": np.arange(30.0)})
    copied = copy_model(x, np.tile([0.2, 0.8], (30, 1)), np.random.default_rng(0))
    assert copied.kind == "constant"
    assert (copied.predict(x) == 1).all()


def test_a_copy_turns_decisions_for_fewer_queries_and_each_is_counted():
    subject = linear()
    context = Context("CON-102")
    theft = steal(subject.model, subject.test.x, context, budgets=(1000,))
    x, reference = theft.held_out[:25].reset_index(drop=True), theft.held_out[25:]
    direct = turn_directly(subject.model, x, reference, subject.schema, context, False)
    counter = Counter(subject.model)
    honed = turn_by_copy(counter.model, theft.surrogate, x, reference, subject.schema, context)
    assert counter.queries == honed.spent.sum() + len(x)  # and the decisions to be turned
    assert honed.flips > 15
    assert honed.cost < direct.cost / 2
    assert (honed.first[np.isfinite(honed.first)] <= honed.spent[np.isfinite(honed.first)]).all()

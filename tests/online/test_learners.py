"""The one view of learners: same answers as the learner itself, exact copies, honest baselines."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from crenel.errors import SubjectError
from crenel.online.learners import Live, Snapshot, encode, fresh, join, kind_of, prequential, take


class Last:
    """Repeats the label that it learned last; keeps a lambda, so that it cannot be pickled."""

    def __init__(self):
        self.label = 0
        self.odd = lambda: None

    def learn(self, x, y):
        self.label = int(y[-1])

    def predict(self, x):
        return np.full(len(x), self.label)


def clouds(n=120, seed=0):
    rng = np.random.default_rng(seed)
    y = rng.integers(0, 2, n)
    return pd.DataFrame(rng.normal(size=(n, 3)) + 3 * y[:, None], columns=list("abc")), y


def river_learner():
    linear_model = pytest.importorskip("river.linear_model")
    from river import preprocessing

    return preprocessing.StandardScaler() | linear_model.LogisticRegression()


def sgd():
    from sklearn.linear_model import SGDClassifier

    return SGDClassifier(loss="log_loss")


def test_river_view_is_the_learner_itself():
    x, y = clouds()
    own = river_learner()
    for row, label in zip(x.to_dict(orient="records"), y.tolist()):
        own.learn_one(row, label)
    live = fresh(river_learner, 2, 0)
    rows = encode(x, live.kind)
    live.learn(rows, y)
    assert live.decide(rows).tolist() == [int(own.predict_one(r)) for r in rows]
    scores = [own.predict_proba_one(r)[True] for r in rows]
    np.testing.assert_allclose(live.scores(rows, 1), scores)


def test_sklearn_view_is_partial_fit_in_batches():
    x, y = clouds()
    live = fresh(sgd, 2, seed=5)
    rows = encode(x, live.kind)
    live.learn(rows, y)
    own = sgd().set_params(random_state=5)
    for i in range(0, len(y), live.batch):
        own.partial_fit(rows[i : i + live.batch], y[i : i + live.batch], classes=[0, 1])
    np.testing.assert_array_equal(live.native.coef_, own.coef_)


@pytest.mark.parametrize("factory", [river_learner, sgd, Last])
def test_snapshot_is_a_copy_that_later_learning_does_not_touch(factory):
    x, y = clouds()
    live = fresh(factory, 2, 0)
    rows = encode(x, live.kind)
    live.learn(rows, y)
    before = live.decide(rows)
    snapshot = Snapshot.of(live)
    live.learn(rows, 1 - y)
    live.learn(rows, 1 - y)
    np.testing.assert_array_equal(snapshot.restore().decide(rows), before)
    first = snapshot.restore()
    first.learn(rows, 1 - y)
    np.testing.assert_array_equal(snapshot.restore().decide(rows), before)


def test_unset_seeds_are_set_so_that_learning_repeats():
    x, y = clouds()
    weights = []
    for _ in range(2):
        live = fresh(sgd, 2, seed=1)
        live.learn(encode(x, live.kind), y)
        weights.append(live.native.coef_)
    np.testing.assert_array_equal(*weights)


def test_what_does_not_learn_is_refused_in_one_sentence():
    with pytest.raises(SubjectError, match="does not learn incrementally"):
        kind_of(object())


def test_encoding_keeps_values_and_order():
    x = pd.DataFrame({"a": [1.0, 2.0, 3.0], "word": ["u", None, "w"]})
    rows = encode(x, "river")
    assert rows[0] == {"a": 1.0, "word": "u"}
    assert take(rows, np.array([2, 0]))[0]["word"] == "w"
    assert encode(x, "sklearn") is x
    assert encode(x[["a"]], "sklearn").dtype == np.float64
    images = np.arange(8.0).reshape(2, 2, 2)
    assert encode(images, "sklearn").shape == (2, 4)
    assert encode(images, "step").shape == (2, 2, 2)
    assert join(images, images).shape == (4, 2, 2)


def test_prequential_accuracy_and_baselines_on_a_known_sequence():
    # Last repeats the last label of its batch: with batches of one it is the no-change baseline.
    y = np.array([0, 1] * 20)
    live = Live(Last(), "step", 2, batch=1)
    seen = prequential(live, np.zeros((40, 1)), y)
    assert (seen.accuracy, seen.no_change, seen.n) == (0.0, 0.0, 20)
    # After an odd number of labels 0 is ahead, after an even one it is a tie that goes to 0.
    assert seen.majority == 0.5

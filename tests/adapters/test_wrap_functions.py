"""Functions may answer with labels, probabilities or one score."""

from __future__ import annotations

import time

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from crenel.adapters import wrap
from crenel.adapters.labels import as_labels, index_of, spread
from crenel.errors import NotApplicable, SubjectError

X = np.linspace(-2, 2, 40).reshape(20, 2)


def second(x):
    return 1 / (1 + np.exp(-np.asarray(x)[:, 0]))


def matrix(x):
    p = second(x)
    return np.column_stack([1 - p, p])


def labels(x):
    return np.where(np.asarray(x)[:, 0] > 0, "yes", "no")


@pytest.mark.parametrize("sampled", [False, True])
@pytest.mark.parametrize("answer", [second, matrix])
def test_scores_of_both_forms(answer, sampled):
    model = wrap(answer, classes=["no", "yes"], sample=X if sampled else None)
    assert np.allclose(model.probabilities(X), matrix(X))
    assert np.array_equal(model.predict(X), matrix(X).argmax(axis=1))
    assert model.description == f"the function {answer.__name__}"


def test_labels_of_any_type_are_decisions_only():
    model = wrap(labels, sample=X)
    assert list(model.classes) == ["no", "yes"]
    assert model.score is None
    assert np.array_equal(model.classes[model.predict(X)], labels(X))
    for kind in (int, float, bool, str):
        hard = wrap(lambda x, k=kind: (x[:, 0] > 0).astype(k), classes=[0, 1], sample=X)
        assert hard.score is None
        assert np.array_equal(hard.predict(X), X[:, 0] > 0)


def test_without_a_sample_the_form_is_seen_at_the_first_call():
    model = wrap(labels, classes=["no", "yes"])
    with pytest.raises(NotApplicable, match="decisions only"):
        model.probabilities(X)
    assert np.array_equal(model.classes[model.predict(X)], labels(X))


def test_lists_frames_and_tensors_are_accepted():
    frame = pd.DataFrame(X, columns=["a", "b"])
    model = wrap(lambda f: f["a"].gt(0), classes=[False, True], sample=frame)
    assert np.array_equal(model.predict(frame), X[:, 0] > 0)
    assert wrap(lambda x: labels(x).tolist(), sample=X).predict(X).tolist() == [0] * 10 + [1] * 10


def test_values_are_a_regression():
    model = wrap(lambda x: x[:, 0] * 5, sample=X)
    assert model.task == "regression"
    assert np.array_equal(model.predict(X), X[:, 0] * 5)
    unit = wrap(second, task="regression")
    assert np.array_equal(unit.predict(X), second(X))


@pytest.mark.parametrize(
    ("answer", "classes", "message"),
    [
        (matrix, [0, 1, 2], "returned 2 scores for each row, and there are 3 classes"),
        (second, [0, 1, 2], "returned one score for each row, and there are 3 classes"),
        (lambda x: np.zeros((len(x), 2, 2)), [0, 1], "returned an array of shape"),
        (lambda x: labels(x)[:5], ["no", "yes"], "returned 5 answers for 20 rows"),
        (labels, ["nein", "ja"], "the label 'no' is not among the model's classes"),
    ],
)
def test_unusable_answers_are_told(answer, classes, message):
    with pytest.raises(SubjectError, match=message):
        wrap(answer, classes=classes, sample=X).predict(X)


def test_unknown_classes_are_asked_for():
    with pytest.raises(SubjectError, match=r"classes of the function labels are not known"):
        wrap(labels)


def test_scores_that_are_no_probabilities_are_refused():
    model = wrap(lambda x: 3 * matrix(x), classes=[0, 1], sample=X)
    with pytest.raises(SubjectError, match="do not sum to one"):
        model.probabilities(X)


LABELS = st.lists(
    st.one_of(st.integers(-5, 5), st.text("abc ", min_size=1, max_size=3)), min_size=1, max_size=30
)


@given(LABELS, st.randoms(use_true_random=False))
def test_index_of_is_the_inverse_of_taking(values, random):
    seen = {str(v).strip(): v for v in values}
    classes = list(seen.values())
    random.shuffle(classes)
    classes = as_labels(classes)
    values = as_labels([seen[str(v).strip()] for v in values])
    found = index_of(values, classes)
    assert found.dtype == np.int64
    assert [str(classes[i]) for i in found] == [str(v) for v in values]


@given(st.integers(1, 6), st.data())
def test_spread_keeps_mass_and_leaves_the_rest_at_zero(k, data):
    columns = np.array(data.draw(st.lists(st.integers(0, k - 1), min_size=1, unique=True)))
    p = np.random.default_rng(0).dirichlet(np.ones(len(columns)), 4)
    out = spread(p, columns, k)
    assert np.array_equal(out[:, columns], p)
    assert (np.delete(out, columns, axis=1) == 0).all()


def test_trainings_that_draw_from_the_global_generator_do_not_meet():
    from concurrent.futures import ThreadPoolExecutor

    def fit(x, y, seed):
        np.random.seed(seed)  # noqa: NPY002 (what users do)
        draws = []
        for _ in range(20):
            draws.append(np.random.random())  # noqa: NPY002
            time.sleep(0.001)
        return lambda rows: np.full((len(rows), 2), [draws[-1], 1 - draws[-1]])

    model = wrap(matrix, classes=[0, 1], sample=X, fit=fit)
    alone = [model.fit(X, np.arange(20) % 2, s).probabilities(X)[0, 0] for s in (1, 2, 3, 4)]
    with ThreadPoolExecutor(4) as pool:
        fits = pool.map(lambda s: model.fit(X, np.arange(20) % 2, s), (1, 2, 3, 4))
        together = [m.probabilities(X)[0, 0] for m in fits]
    assert together == alone

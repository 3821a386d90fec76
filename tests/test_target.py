"""The declared target, and what loading it checks: each mistake one sentence with a remedy."""

from __future__ import annotations

from dataclasses import replace

import joblib
import numpy as np
import pandas as pd
import pytest
from sklearn.compose import make_column_transformer
from sklearn.ensemble import RandomForestRegressor
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder

from crenel.access import Access, Attacker
from crenel.data import load_target, measure_speed
from crenel.data.speed import along
from crenel.errors import CrenelError, SubjectError, UsageError
from crenel.schema import Kind
from crenel.subject import capabilities
from crenel.target import Target


def table(n=120, seed=0):
    rng = np.random.default_rng(seed)
    frame = pd.DataFrame(
        {
            "age": rng.integers(18, 80, n),
            "job": rng.choice(["cook", "smith", "clerk"], n),
            "pay": rng.normal(50, 9, n),
        }
    )
    frame["income"] = np.where(frame["age"] + rng.normal(0, 3, n) > 45, "high", "low")
    return frame


def fitted(frame):
    one_hot = OneHotEncoder(handle_unknown="ignore")
    encode = make_column_transformer((one_hot, ["job"]), remainder="passthrough")
    native = make_pipeline(encode, LogisticRegression(max_iter=2000))
    return native.fit(frame.drop(columns="income"), frame["income"])


@pytest.fixture
def folder(tmp_path):
    """A configuration's folder with a model and data."""
    train, test = table(), table(60, seed=1)
    joblib.dump(fitted(train), tmp_path / "model.joblib")
    extra = {"branch": "north", "id": range(1000, 1120)}
    train.assign(**extra).to_csv(tmp_path / "train.csv", index=False)
    test.assign(branch="south", id=range(60)).to_csv(tmp_path / "test.csv", index=False)
    return tmp_path


FILES = {
    "name": "income",
    "model": "model.joblib",
    "train": "train.csv",
    "test": "test.csv",
    "label": "income",
    "source": "branch",
    "record_id": "id",
}


def test_a_target_of_files(folder):
    subject = load_target(
        Target(
            **FILES,
            features={"age": {"mutable": False}},
            constraints="age >= 18",
            access={"attacker": "labels", "queries_per_day": 50},
        ),
        root=folder,
    )
    native = joblib.load(folder / "model.joblib")
    train, test = table(), table(60, seed=1)
    pd.testing.assert_frame_equal(subject.train.x, train.drop(columns="income"), check_dtype=False)
    assert list(subject.model.classes) == ["high", "low"]
    assert subject.model.classes[subject.test.y].tolist() == test["income"].tolist()
    assert np.array_equal(
        subject.model.probabilities(subject.test.x),
        native.predict_proba(test.drop(columns="income")),
    )
    assert subject.train.ids[0] == 1000
    assert set(subject.train.source) == {"north"}
    assert subject.test.source is None
    assert subject.schema.names == ("age", "job", "pay")
    assert not subject.schema["age"].mutable
    assert subject.schema["job"].kind is Kind.CATEGORY
    assert subject.schema.constraints == ("age >= 18",)
    assert subject.access == Access(attacker=Attacker.LABELS, queries_per_day=50)
    assert subject.files == (folder / "model.joblib",)
    assert set(subject.extra["digests"]) == {"model", "train", "test"}
    assert capabilities(subject) >= {"model", "scores", "fit", "train", "test", "table", "sources"}
    assert subject.notes == ()


def test_a_target_of_python_objects():
    train, test = table(), table(60, seed=1)
    native = fitted(train)
    x, y = train.drop(columns="income"), train["income"]
    for given in (train, (x, y), (x, y.to_numpy()), (x, y.tolist())):
        subject = load_target(Target(model=native, train=given, test=test, label="income"))
        assert subject.model.native is native
        assert len(subject.train) == 120
        assert list(subject.train.x.columns) == ["age", "job", "pay"]
        assert subject.model.classes[subject.train.y].tolist() == y.tolist()


def test_arrays_become_tables_and_images_stay_arrays():
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(60, 4)), np.arange(60) % 2
    x[:, 0] += 2 * y
    subject = load_target(Target(model=LogisticRegression().fit(x, y), train=(x, y), test=(x, y)))
    assert list(subject.train.x.columns) == ["x0", "x1", "x2", "x3"]
    named = LogisticRegression().fit(pd.DataFrame(x, columns=list("pqrs")), y)
    subject = load_target(Target(model=named, test=(x, y)))
    assert list(subject.test.x.columns) == list("pqrs")
    images = rng.random((60, 1, 4, 4)) * (0.2 + y[:, None, None, None])
    bright = lambda rows: (rows.mean(axis=(1, 2, 3)) > 0.3).astype(int)  # noqa: E731
    subject = load_target(Target(model=bright, test=(images, y)))
    assert subject.test.x.shape == (60, 1, 4, 4)
    assert subject.schema.features[0].kind is Kind.IMAGE
    assert "table" not in capabilities(subject)


def test_without_test_data_nothing_is_held_out():
    train = table()
    subject = load_target(Target(model=fitted(train), train=train, label="income"))
    assert subject.test is None
    assert len(subject.train) == 120
    assert any("no test data is given" in note for note in subject.notes)


def test_data_without_a_model_and_a_model_without_data(folder):
    subject = load_target(Target(train="train.csv", label="income"), root=folder)
    assert subject.model is None
    assert subject.extra["classes"].tolist() == ["high", "low"]
    subject = load_target(Target(model="model.joblib"), root=folder)
    assert subject.test is None
    assert subject.schema is None


def test_columns_that_the_model_does_not_take_are_left_out_and_told():
    train = table()
    native = fitted(train)
    subject = load_target(Target(model=native, test=train.assign(shoe=42), label="income"))
    assert list(subject.test.x.columns) == ["age", "job", "pay"]
    assert "columns that the model does not take are left out: shoe" in subject.notes


def test_test_columns_in_another_order_are_put_right():
    train, test = table(), table(60, seed=1)
    subject = load_target(
        Target(model=fitted(train), train=train, test=test[test.columns[::-1]], label="income")
    )
    assert list(subject.test.x.columns) == ["age", "job", "pay"]


def test_names_for_a_models_numbers_are_taken_in_sorted_order_and_told():
    train = table()
    x, y = train[["age", "pay"]], (train["income"] == "low").astype(int)
    native = LogisticRegression(max_iter=2000).fit(x, y)
    data = train.drop(columns="job")
    subject = load_target(Target(model=native, test=data, label="income"))
    assert list(subject.model.classes) == ["high", "low"]
    assert (subject.model.predict(subject.test.x) == subject.test.y).mean() > 0.9
    assert any("are taken for the labels ['high', 'low']" in n for n in subject.notes)
    turned = load_target(Target(model=native, test=data, label="income", classes=["low", "high"]))
    assert any("are the labels and the classes in the same order?" in n for n in turned.notes)


def test_names_for_the_scores_of_a_function_are_told_and_those_of_its_labels_are_not():
    data = table().drop(columns="job")
    scores = load_target(
        Target(model=lambda x: np.tile([0.7, 0.3], (len(x), 1)), test=data, label="income")
    )
    assert any("are taken for the labels ['high', 'low']" in n for n in scores.notes)
    labels = load_target(Target(model=lambda x: np.full(len(x), "low"), test=data, label="income"))
    assert not any("are taken for the labels" in n for n in labels.notes)


def test_labels_that_differ_in_type_only_match():
    train = table()
    x, y = train[["age", "pay"]], (train["income"] == "low").astype(int)
    native = LogisticRegression(max_iter=2000).fit(x, y)
    for labels in (y.astype(float), y.astype(bool), y.astype(str)):
        subject = load_target(Target(model=native, test=(x, labels)))
        assert np.array_equal(subject.test.y, y)


def test_functions_that_return_labels_get_all_classes_of_the_data():
    train = table()
    rule = lambda f: np.where(f["age"] > 45, "high", "low")  # noqa: E731
    old = train.sort_values("age", ascending=False)  # the first rows show one label only
    subject = load_target(Target(model=rule, test=old, label="income"))
    assert list(subject.model.classes) == ["high", "low"]
    assert (subject.model.predict(subject.test.x) == subject.test.y).mean() > 0.8


def test_regression():
    rng = np.random.default_rng(0)
    x = pd.DataFrame(rng.normal(size=(80, 3)), columns=list("abc"))
    y = x["a"] * 2 + 1
    for native in (LinearRegression().fit(x, y), lambda f: f["a"] * 2 + 1):
        subject = load_target(Target(model=native, train=(x, y), test=(x, y)))
        assert subject.model.task == "regression"
        assert subject.test.y.dtype == np.float64
        assert np.array_equal(subject.test.y, y)
        assert "classification" not in capabilities(subject)
    whole = RandomForestRegressor(3).fit(x, y.round())
    subject = load_target(Target(model=whole, test=(x, y.round())))
    assert subject.test.y.dtype == np.float64
    with pytest.raises(SubjectError, match="labels of a regression must be numbers"):
        load_target(Target(model=whole, test=(x, ["a", "b"] * 40)))


def test_the_learning_loop(folder):
    (folder / "loop_learner.py").write_text("class Learner:\n    pass\n")
    subject = load_target(
        Target(
            **FILES,
            learning={
                "learner": "loop_learner:Learner",
                "stream": "train.csv",
                "samples_per_day": 500,
                "protect": ["row:17"],
            },
        ),
        root=folder,
    )
    loop = subject.learning
    assert type(loop.learner()).__name__ == "Learner"
    assert list(loop.stream.x.columns) == ["age", "job", "pay"]
    assert np.array_equal(loop.stream.y, subject.train.y)
    assert (loop.samples_per_day, loop.protect) == (500, ("row:17",))


def test_the_base_model_and_artefacts(folder):
    (folder / "card.md").write_text("# Card")
    (folder / "extra" / "deep").mkdir(parents=True)
    (folder / "extra" / "deep" / "tokens.json").write_text("{}")
    native = joblib.load(folder / "model.joblib")
    subject = load_target(
        Target(
            **FILES,
            base={"model": native, "origin": "hub:org/name@1", "card": "card.md"},
            artefacts={"paths": ["extra", "card.md"]},
        ),
        root=folder,
    )
    assert subject.base.model.native is native
    assert subject.base.card == folder / "card.md"
    assert subject.base.origin == "hub:org/name@1"
    assert [p.name for p in subject.files] == ["model.joblib", "tokens.json", "card.md"]


def test_a_base_model_that_may_not_be_loaded_is_kept_for_the_scan(folder):
    (folder / "base.pkl").write_bytes(b"cposix\nsystem\n(S'true'\ntR.")
    subject = load_target(Target(**FILES, base={"model": "base.pkl"}), root=folder)
    assert subject.base.model is None
    assert subject.base.files == (folder / "base.pkl",)
    assert any("the base model is not used" in n and "malicious" in n for n in subject.notes)


def test_speed_is_measured_and_scaled():
    train = table(400)
    subject = load_target(Target(model=fitted(train), train=train, label="income"))
    timed = measure_speed(subject)
    assert 0 < timed.extra["query_seconds"] < 0.1
    assert 0 < timed.extra["fit_seconds"] < 60
    assert timed.extra["fit_fixed"] == 0
    assert "query_seconds" not in subject.extra
    rule = load_target(Target(model=lambda f: f["age"] > 45, test=(train, train["age"] > 45)))
    assert "fit_seconds" not in measure_speed(rule).extra


def test_of_many_rows_two_parts_are_trained_on_and_of_few_all():
    for n, parts in ((5_200, [1_000, 1_000, 5_000]), (400, [400])):
        train, sizes = table(n), []
        subject = load_target(Target(model=fitted(train), train=train, label="income"))

        def fit(x, y, seed, model=subject.model, sizes=sizes):
            sizes.append(len(x))
            return model.fit(x, y, seed)

        counted = replace(subject, model=replace(subject.model, fit=fit))
        extra = measure_speed(counted).extra
        # a row of each class may be among those drawn
        assert [round(size, -1) for size in sizes] == parts
        assert 0 <= extra["fit_fixed"] < extra["fit_seconds"]


def test_a_training_is_foretold_by_the_line_through_two_shorter_ones():
    # 0.3 s and 20 µs a row: proportion alone would say 8 s
    assert along(1_000, 0.32, 5_000, 0.4, 100_000) == pytest.approx((2.3, 0.3))
    # what grows faster than its rows is scaled in proportion, as if it did not
    assert along(1_000, 0.1, 5_000, 2.5, 100_000) == pytest.approx((50.0, 0.0))
    # a delay in the shorter one does not make more rows free
    whole, fixed = along(1_000, 0.5, 5_000, 0.4, 100_000)
    assert whole == pytest.approx(0.4 + 0.2 * 0.4 / 5_000 * 95_000)
    assert 0 < fixed < 0.4


# --- mistakes ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"modell": 1}, "target: unknown key 'modell'; did you mean 'model'"),
        (
            {"access": {"atacker": "labels"}},
            "access: unknown key 'atacker'; did you mean 'attacker'",
        ),
        (
            {"access": {"attacker": "everyone"}},
            "target: access.attacker: input should be 'weights'",
        ),
        ({"learning": {"learner": "a:b"}}, "learning: the key 'stream' is missing"),
        (
            {"learning": {"learner": "a:b", "stream": "s", "sampels_per_day": 1}},
            "did you mean 'samples_per_day'",
        ),
        ({"base": {"origins": ""}}, "base: unknown key 'origins'; did you mean 'origin'"),
        ({"artefacts": {"path": "x"}}, "artefacts: unknown key 'path'; did you mean 'paths'"),
        ({"task": "clustering"}, "target: task: input should be 'classification' or 'regression'"),
        ({"label": 3}, "target: label: input should be a valid string"),
    ],
)
def test_wrong_declarations_name_the_nearest_key(settings, message):
    with pytest.raises(UsageError, match=message) as told:
        Target(**settings)
    assert "\n" not in str(told.value)


def test_targets_are_frozen():
    with pytest.raises(ValueError, match="frozen"):
        Target().name = "other"


def raises(rows):
    raise KeyError("weight\nsecond line")


def drop_last(frame):
    return frame.iloc[:-1]


GOOD = table()
NATIVE = fitted(GOOD)
X, Y = GOOD.drop(columns="income"), GOOD["income"]


@pytest.mark.parametrize(
    ("settings", "error", "message"),
    [
        ({"train": "absent.csv", "label": "y"}, UsageError, "train: there is no file"),
        (
            {"train": GOOD, "label": "incone"},
            UsageError,
            "no column 'incone', named as label .*columns are age, job, pay, income",
        ),
        ({"train": GOOD}, UsageError, "name the column of the label"),
        (
            {"train": GOOD[:15], "label": "income"},
            SubjectError,
            "train has 15 rows, and an audit needs at least 20",
        ),
        (
            {"train": GOOD.assign(income="low"), "label": "income"},
            SubjectError,
            "the column 'income' has one value only, 'low'",
        ),
        (
            {"train": GOOD.assign(income=Y.mask(Y.index == 7)), "label": "income"},
            SubjectError,
            "is missing in 1 of 120 rows .first: row 7.",
        ),
        (
            {"train": GOOD, "test": GOOD.rename(columns={"pay": "wage"}), "label": "income"},
            SubjectError,
            "only train has pay; only test has wage",
        ),
        (
            {
                "train": (np.zeros((30, 2, 3, 3)), [0, 1] * 15),
                "test": (np.zeros((30, 2, 4, 4)), [0, 1] * 15),
            },
            SubjectError,
            r"rows of shape \(2, 3, 3\) and \(2, 4, 4\)",
        ),
        (
            {"train": GOOD, "test": (np.zeros((30, 3)), ["low", "high"] * 15), "label": "income"},
            SubjectError,
            "one is a table, the other an array",
        ),
        (
            {"model": NATIVE, "test": GOOD.drop(columns="pay"), "label": "income"},
            SubjectError,
            "takes the column 'pay', which ",
        ),
        (
            {"model": NATIVE, "test": GOOD.assign(income=Y + "."), "label": "income"},
            SubjectError,
            r"labels \['high.', 'low.'\] of the data are not among .* \['high', 'low'\]",
        ),
        (
            {"model": NATIVE, "test": GOOD, "label": "income", "classes": ["a", "b"]},
            SubjectError,
            "name the labels in the order",
        ),
        ({"model": raises, "test": GOOD, "label": "income"}, SubjectError, "KeyError: 'weight"),
        (
            {
                "model": LogisticRegression().fit(np.zeros((20, 2)), [0, 1] * 10),
                "test": (np.zeros((30, 3)), [0, 1] * 15),
            },
            SubjectError,
            "fails on the data: ValueError: X has 3 features, but Logist",
        ),
        (
            {"model": lambda f: np.full((len(f), 2), 0.7), "test": GOOD, "label": "income"},
            SubjectError,
            "do not sum to one",
        ),
        (
            {"model": lambda f: np.full(len(f), np.nan), "test": (X, np.linspace(0, 1, 120))},
            SubjectError,
            "not finite",
        ),
        (
            {"model": NATIVE, "test": GOOD, "label": "income", "trust": "xyz"},
            UsageError,
            "is not a digest",
        ),
        (
            {"model": NATIVE, "test": GOOD, "label": "income", "fit": "nothing"},
            UsageError,
            'fit: .nothing. is not of the form "module:function"',
        ),
        (
            {"model": NATIVE, "test": GOOD, "label": "income", "features": {"aeg": {}}},
            UsageError,
            "did you mean 'age'",
        ),
        (
            {"model": NATIVE, "test": GOOD, "label": "income", "base": {"card": "none.md"}},
            UsageError,
            "base.card: there is no file",
        ),
        ({"artefacts": ["none/"]}, UsageError, "artefacts.paths: there is no file"),
        (
            {"test": GOOD, "label": "income", "learning": {"learner": dict, "stream": GOOD[:5]}},
            SubjectError,
            "learning.stream has 5 rows",
        ),
    ],
)
def test_each_mistake_is_one_sentence_with_a_remedy(settings, error, message):
    with pytest.raises(error, match=message) as told:
        load_target(Target(**settings))
    assert isinstance(told.value, CrenelError)
    assert "\n" not in str(told.value)
    assert "Traceback" not in str(told.value)

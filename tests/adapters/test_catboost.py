"""CatBoost's estimators and its own files."""

import numpy as np
import pytest

from crenel.adapters import load_model, wrap

catboost = pytest.importorskip("catboost")


def fitted(kind, y):
    x = np.random.default_rng(0).normal(size=(200, 3))
    model = kind(iterations=5, depth=2, verbose=0, thread_count=1, allow_writing_files=False)
    return model.fit(x, y(x)), x


@pytest.mark.parametrize("classes", [2, 3])
def test_a_file_decides_as_the_model_did(tmp_path, classes):
    names = np.array(["a", "b", "c"])
    edges = np.linspace(-0.5, 0.5, classes - 1)
    kind = catboost.CatBoostClassifier
    model, x = fitted(kind, lambda x: names[np.digitize(x[:, 0], edges)])
    path = tmp_path / "model.cbm"
    model.save_model(str(path))
    loaded = load_model(path)
    assert loaded.task == "classification"
    np.testing.assert_array_equal(loaded.classes[loaded.predict(x)], np.ravel(model.predict(x)))
    np.testing.assert_allclose(loaded.score(x), model.predict_proba(x), atol=1e-12)


def test_a_regressor_stays_one(tmp_path):
    model, x = fitted(catboost.CatBoostRegressor, lambda x: x[:, 0])
    wrapped = wrap(model)
    assert wrapped.task == "regression"
    np.testing.assert_allclose(wrapped.predict(x), model.predict(x))

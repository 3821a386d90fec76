"""Files that the common libraries write are clean, in every protocol and compression."""

from __future__ import annotations

import contextlib
import io
import pickle
import warnings

import joblib
import numpy as np
import pytest

from crenel.scan import Verdict, scan_bytes, scan_file

from .corpus import proto, reduced, stack_name

RNG = np.random.default_rng(0)
X = RNG.normal(size=(80, 4))
Y = (X[:, 0] > 0).astype(int)


def sklearn_models() -> dict[str, object]:
    import pandas as pd
    from sklearn.calibration import CalibratedClassifierCV
    from sklearn.compose import ColumnTransformer
    from sklearn.ensemble import HistGradientBoostingClassifier, RandomForestClassifier
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.gaussian_process import GaussianProcessClassifier
    from sklearn.gaussian_process.kernels import RBF, WhiteKernel
    from sklearn.linear_model import LogisticRegression, SGDClassifier
    from sklearn.model_selection import GridSearchCV
    from sklearn.neighbors import KNeighborsClassifier
    from sklearn.neural_network import MLPClassifier
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import FunctionTransformer, OneHotEncoder, StandardScaler
    from sklearn.svm import SVC

    frame = pd.DataFrame({"a": X[:, 0], "b": list("xy") * 40, "c": pd.Categorical(list("uv") * 40)})
    columns = ColumnTransformer(
        [("n", StandardScaler(), ["a"]), ("c", OneHotEncoder(), ["b", "c"])]
    )
    trees = HistGradientBoostingClassifier(max_iter=3)
    return {
        "forest": RandomForestClassifier(4, random_state=np.random.RandomState(0)).fit(X, Y),
        "pipeline": make_pipeline(columns, trees).fit(frame, Y),
        "svc": SVC(probability=False).fit(X, Y),
        "grid": GridSearchCV(LogisticRegression(), {"C": [1, 2]}, scoring="roc_auc").fit(X, Y),
        "text": TfidfVectorizer().fit(["a cat", "a dog"]),
        "function": make_pipeline(FunctionTransformer(np.log1p), SGDClassifier()).fit(abs(X), Y),
        "neighbours": KNeighborsClassifier(algorithm="kd_tree").fit(X, Y),
        "network": MLPClassifier((3,), max_iter=5).fit(X, Y),
        "gaussian": GaussianProcessClassifier(RBF() + WhiteKernel()).fit(X, Y),
        "calibrated": CalibratedClassifierCV(LogisticRegression(), cv=2).fit(X, Y),
        "frame": frame,
    }


def boosters() -> dict[str, object]:
    import lightgbm
    import xgboost

    return {
        "xgboost": xgboost.XGBClassifier(n_estimators=2).fit(X, Y),
        "lightgbm": lightgbm.LGBMClassifier(n_estimators=2, verbose=-1).fit(X, Y),
    }


@pytest.fixture(scope="module")
def models() -> dict[str, object]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return sklearn_models() | boosters()


def assert_clean(data: bytes, fmt: str | None = None) -> None:
    result = scan_bytes(data)
    assert result.verdict is Verdict.CLEAN, [(r.code, r.call, r.sentence) for r in result.reasons]
    assert fmt is None or result.format == fmt


@pytest.mark.parametrize("version", range(6))
def test_pickles_are_clean(models, version):
    for model in models.values():
        assert_clean(pickle.dumps(model, version), "pickle")


@pytest.mark.parametrize(
    "compress", [0, ("zlib", 3), ("gzip", 3), ("bz2", 3), ("xz", 1), ("lzma", 1)]
)
def test_joblib_files_are_clean(models, compress):
    for model in models.values():
        buffer = io.BytesIO()
        joblib.dump(model, buffer, compress=compress)
        assert_clean(buffer.getvalue())


@pytest.mark.slow
def test_every_scikit_learn_estimator_is_clean():
    from sklearn.utils import all_estimators

    count = 0
    for _, cls in all_estimators():
        try:
            estimator = cls()
        except TypeError:
            continue
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            with contextlib.suppress(Exception):  # those of other data are pickled unfitted
                estimator.fit(np.abs(X[:20]), Y[:20])
        assert_clean(pickle.dumps(estimator))
        count += 1
    assert count > 150


@pytest.mark.parametrize(
    "value",
    [
        {"a": [1, 2.5, None, True, "x" * 10_000, b"y" * 10_000, 1 << 5000], "b": {(1, 2): {3}}},
        [np.float64(1), np.arange(3), np.array(["a", None], dtype=object), np.array(["abc"])],
        np.zeros(2, [("a", "f8"), ("b", "U3"), ("c", "i4", (2,))]),
        [np.random.default_rng(0), np.random.RandomState(0), np.ma.array([1], mask=[0])],
        bytearray(b"x"), frozenset([1]), complex(1, 2), slice(1, 2), range(3),
    ],
)  # fmt: skip
def test_plain_values_are_clean(value):
    for version in range(6):
        assert_clean(pickle.dumps(value, version))
    buffer = io.BytesIO()
    joblib.dump(value, buffer)
    assert_clean(buffer.getvalue())


@pytest.mark.parametrize(
    "path",
    ["pandas.core.frame.DataFrame", "pandas.core.series.Series", "pandas.core.indexes.base.Index",
     "pandas.core.indexes.range.RangeIndex", "pandas.core.arrays.categorical.Categorical",
     "pandas.core.arrays.datetimes.DatetimeArray", "sklearn.metrics._scorer._ThresholdScorer",
     "sklearn.ensemble._gb_losses.BinomialDeviance"],
)  # fmt: skip
def test_classes_of_older_libraries_are_clean(path):
    """The names under which pandas 2 and scikit-learn 1.3 wrote them."""
    module, _, cls = path.rpartition(".")
    assert_clean(proto(4) + stack_name(module, cls) + b")\x81}b.")


def test_functions_of_older_libraries_are_clean():
    loss = "sklearn._loss._loss"
    maker = stack_name(loss, "__pyx_unpickle_CyHalfBinomialLoss")
    made = reduced(maker, stack_name(loss, "CyHalfBinomialLoss"), b"J\x5b\x4d\x42\x0d", b")")
    assert_clean(proto(4) + made + b".")
    assert_clean(proto(4) + stack_name("numpy.core._multiarray_umath", "log1p") + b".")
    evil = reduced(maker, stack_name("subprocess", "Popen"), b"K\x01", b")")
    assert scan_bytes(proto(4) + evil + b".").verdict is Verdict.MALICIOUS


def test_several_pickles_in_one_file_are_clean():
    assert_clean(pickle.dumps([1]) + pickle.dumps({"a": X}) + pickle.dumps("x", 0))


def test_river_models_are_clean():
    river = pytest.importorskip("river")
    from river import anomaly, compose, linear_model, naive_bayes, preprocessing, tree

    model = compose.Pipeline(preprocessing.StandardScaler(), linear_model.LogisticRegression())
    forest = tree.HoeffdingTreeClassifier()
    for row, label in zip(X, Y, strict=True):
        features = dict(enumerate(map(float, row)))
        model.learn_one(features, bool(label))
        forest.learn_one(features, int(label))
    assert river
    for fitted in (forest, model, naive_bayes.GaussianNB(), anomaly.HalfSpaceTrees()):
        assert_clean(pickle.dumps(fitted))


def test_torch_files_are_clean(tmp_path):
    torch = pytest.importorskip("torch")
    net = torch.nn.Sequential(
        torch.nn.Conv2d(1, 2, 3), torch.nn.BatchNorm2d(2), torch.nn.LSTM(2, 2)
    )
    plain = torch.nn.Sequential(torch.nn.Linear(2, 2), torch.nn.ReLU())
    optimiser = torch.optim.Adam(net.parameters())
    checkpoint = {"model": net.state_dict(), "optim": optimiser.state_dict(), "epoch": 3}
    torch.save(checkpoint, tmp_path / "checkpoint.pt")
    torch.save(checkpoint, tmp_path / "legacy.pt", _use_new_zipfile_serialization=False)
    torch.save(net, tmp_path / "module.pt")
    torch.jit.trace(plain, torch.ones(1, 2)).save(str(tmp_path / "traced.pt"))
    torch.export.save(torch.export.export(plain, (torch.ones(1, 2),)), tmp_path / "exported.pt2")
    formats = {}
    for file in sorted(tmp_path.iterdir()):
        result = scan_file(file)
        reasons = [(r.code, r.member, r.call, r.sentence) for r in result.reasons]
        assert result.verdict is Verdict.CLEAN, (file.name, reasons)
        formats[file.stem] = result.format
    assert formats == {
        "checkpoint": "torch-zip", "legacy": "torch-legacy", "module": "torch-zip",
        "traced": "torchscript", "exported": "torch-export",
    }  # fmt: skip


def test_whole_modules_are_clean_in_either_form_of_torch(tmp_path):
    """The legacy form keeps the source of each class beside it, in a persistent id of its own."""
    torch = pytest.importorskip("torch")
    nets = torch.nn.ModuleList(
        [torch.nn.TransformerEncoderLayer(4, 2, 8), torch.nn.GRU(2, 2), torch.nn.Embedding(3, 2)]
    )
    for modern in (True, False):
        path = tmp_path / f"{modern}.pt"
        torch.save(nets, path, _use_new_zipfile_serialization=modern)
        result = scan_file(path)
        assert result.format == ("torch-zip" if modern else "torch-legacy")
        assert result.verdict is Verdict.CLEAN, result.reasons


def test_catboost_models_are_clean():
    catboost = pytest.importorskip("catboost")
    model = catboost.CatBoostClassifier(iterations=2, verbose=False, allow_writing_files=False)
    assert_clean(pickle.dumps(model.fit(X, Y)))


def test_graphs_are_clean():
    networkx = pytest.importorskip("networkx")
    for graph in (networkx.path_graph(3), networkx.MultiDiGraph([(0, 1), (0, 1)])):
        assert_clean(pickle.dumps(graph))


def test_native_booster_files_are_clean(models, tmp_path):
    models["xgboost"].save_model(tmp_path / "a.json")
    models["xgboost"].save_model(tmp_path / "a.ubj")
    models["lightgbm"].booster_.save_model(tmp_path / "a.txt")
    found = {file.suffix: scan_file(file) for file in tmp_path.iterdir()}
    assert {r.verdict for r in found.values()} == {Verdict.CLEAN}, found
    assert found[".json"].format == "xgboost-json"
    assert found[".ubj"].format == "xgboost-ubjson"
    assert found[".txt"].format == "lightgbm-text"


def test_skops_archives_are_clean(models):
    skops_io = pytest.importorskip("skops.io")
    for key in ("forest", "pipeline", "svc", "grid"):
        data = skops_io.dumps(models[key])
        result = scan_bytes(data)
        assert result.format == "skops"
        assert result.verdict is Verdict.CLEAN, [(r.call, r.sentence) for r in result.reasons]


def test_numpy_files_are_clean(tmp_path):
    np.save(tmp_path / "a.npy", X)
    np.save(tmp_path / "b.npy", np.array([None, {"a": X}], dtype=object), allow_pickle=True)
    np.save(tmp_path / "c.npy", np.zeros(3, [("a", "f8"), ("b", "i4", (2,))]))
    np.savez(tmp_path / "d.npz", x=X, y=Y)
    np.savez_compressed(tmp_path / "e.npz", x=X, names=np.array(["a", "b"], dtype=object))
    for file in tmp_path.iterdir():
        assert scan_file(file).verdict is Verdict.CLEAN, file


def test_tables_are_clean(tmp_path):
    import pandas as pd

    frame = pd.DataFrame({"count": Y, "city": ["a,b"] * 80, "ü": X[:, 0]})
    frame.to_csv(tmp_path / "a.csv")
    frame.to_csv(tmp_path / "latin.csv", encoding="latin-1")
    frame.to_json(tmp_path / "a.json")
    frame.to_json(tmp_path / "a.jsonl", orient="records", lines=True)
    if pytest.importorskip("pyarrow"):
        frame.to_parquet(tmp_path / "a.parquet")
        frame.to_feather(tmp_path / "a.feather")
    for file in tmp_path.iterdir():
        result = scan_file(file)
        assert result.verdict is Verdict.CLEAN, (file, result)

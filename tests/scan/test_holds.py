"""Files that hold rows of a training set: real fitted estimators, tables, data beside models."""

from __future__ import annotations

import io
import json
import pickle
import tarfile
import zipfile

import joblib
import numpy as np
import pandas as pd
import pytest
from sklearn.cluster import DBSCAN, KMeans
from sklearn.ensemble import RandomForestClassifier
from sklearn.gaussian_process import GaussianProcessClassifier, GaussianProcessRegressor
from sklearn.kernel_ridge import KernelRidge
from sklearn.linear_model import LogisticRegression
from sklearn.neighbors import KDTree, KNeighborsClassifier, LocalOutlierFactor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.semi_supervised import LabelSpreading
from sklearn.svm import SVC, SVR

from crenel.cli.entry import run
from crenel.scan import Verdict, holds_of, scan_bytes, scan_paths
from crenel.scan.sarif import to_sarif

RNG = np.random.default_rng(4)
X = RNG.normal(size=(60, 3))
Y = (X[:, 0] + 0.3 * RNG.normal(size=60) > 0).astype(int)


def joblib_bytes(value, compress=0):
    stream = io.BytesIO()
    joblib.dump(value, stream, compress=compress)
    return stream.getvalue()


WRITERS = {
    "pickle 2": lambda v: pickle.dumps(v, 2),
    "pickle 4": lambda v: pickle.dumps(v, 4),
    "pickle 5": lambda v: pickle.dumps(v, 5),
    "joblib": joblib_bytes,
    "joblib zlib": lambda v: joblib_bytes(v, 3),
}
KEEP = {
    "knn": (KNeighborsClassifier(3), "all rows", lambda m: len(m._fit_X)),
    "outliers": (LocalOutlierFactor(novelty=True), "all rows", lambda m: len(m._fit_X)),
    "svc": (SVC(), "support vectors", lambda m: len(m.support_vectors_)),
    "svr": (SVR(), "support vectors", lambda m: len(m.support_vectors_)),
    "gp": (GaussianProcessRegressor(), "all rows", lambda m: len(m.X_train_)),
    "gpc": (GaussianProcessClassifier(), "all rows", lambda m: 60),
    "ridge": (KernelRidge(), "all rows", lambda m: len(m.X_fit_)),
    "labels": (LabelSpreading(), "all rows", lambda m: len(m.X_)),
    "dbscan": (DBSCAN(1.0), "core samples", lambda m: len(m.components_)),
}


@pytest.fixture(scope="module")
def fitted():
    return {name: (model.fit(X, Y), *rest) for name, (model, *rest) in KEEP.items()}


@pytest.mark.parametrize("writer", WRITERS)
def test_estimators_that_keep_rows_are_told_with_their_number(fitted, writer):
    for name, (model, what, count) in fitted.items():
        result = scan_bytes(WRITERS[writer](make_pipeline(StandardScaler(), model)))
        assert result.verdict is Verdict.CLEAN, (name, result.reasons)
        (hold,) = holds_of([result])
        assert what in hold.what, name
        assert hold.rows == count(model), name


@pytest.mark.parametrize("writer", WRITERS)
def test_estimators_that_keep_none_are_not(writer):
    silent = [
        LogisticRegression().fit(X, Y),
        RandomForestClassifier(5).fit(X, Y),
        KMeans(2, n_init=1).fit(X),
        KNeighborsClassifier(3),  # not fitted: it has no rows
        SVC(),
        {"weights": X},
    ]
    for model in silent:
        assert holds_of([scan_bytes(WRITERS[writer](model))]) == [], model


def test_several_estimators_are_summed_and_an_unfitted_one_counts_for_nothing(fitted):
    models = [fitted["svc"][0], SVC(), SVC(C=0.1).fit(X[:40], Y[:40])]
    (hold,) = holds_of([scan_bytes(pickle.dumps(models))])
    assert hold.rows == sum(len(m.support_vectors_) for m in (models[0], models[2]))


def test_tables_and_trees_in_pickles_are_told():
    frame = pd.DataFrame({"age": [1, 2, 3]})
    for value, word in ((frame, "table"), (frame.age, "column"), (KDTree(X), "searches")):
        held = holds_of([scan_bytes(pickle.dumps({"model": value}))])
        assert len(held) == 1, value
        assert word in held[0].what


def test_a_large_pickle_is_told_by_the_classes_in_it():
    pytest.importorskip("numba")
    value = [KNeighborsClassifier(3).fit(X, Y), [list(range(1000)) for _ in range(1600)]]
    (hold,) = holds_of([scan_bytes(pickle.dumps(value))])
    assert "all rows" in hold.what


def test_skops_archives_are_told(fitted):
    skops = pytest.importorskip("skops.io")
    assert "all rows" in holds_of([scan_bytes(skops.dumps(fitted["knn"][0]))])[0].what
    assert holds_of([scan_bytes(skops.dumps(LogisticRegression().fit(X, Y)))]) == []
    assert holds_of([scan_bytes(skops.dumps(KNeighborsClassifier()))]) == []


def test_a_skops_schema_by_hand():
    def archive(attributes):
        node = {
            "__class__": "KNeighborsClassifier",
            "__module__": "sklearn.neighbors._classification",
            "__loader__": "ObjectNode",
            "content": {"__class__": "dict", "__module__": "builtins", "content": attributes},
        }
        stream = io.BytesIO()
        with zipfile.ZipFile(stream, "w") as file:
            file.writestr("schema.json", json.dumps(node))
        return stream.getvalue()

    array = {"__class__": "ndarray", "__module__": "numpy", "__loader__": "NdArrayNode"}
    assert len(holds_of([scan_bytes(archive({"_fit_X": array}))])) == 1
    assert holds_of([scan_bytes(archive({}))]) == []


@pytest.fixture
def folder(tmp_path):
    np.savez(tmp_path / "arrays.npz", X_train=X, y_train=Y)
    np.savez(tmp_path / "weights.npz", dense=X, bias=Y)
    pd.DataFrame(X).to_csv(tmp_path / "train.csv", index=False)
    pd.DataFrame(X, columns=["a", "b", "c"]).assign(label=Y).to_csv(tmp_path / "x-ray.csv")
    pd.DataFrame(X, columns=["a", "b", "c"]).assign(label=Y).to_csv(tmp_path / "clinic.csv")
    (tmp_path / "train_loss.csv").write_text("epoch,loss,label\n1,0.5,a\n")
    (tmp_path / "classes.csv").write_text("id,label\n1,cat\n")
    (tmp_path / "test.jsonl").write_text('{"text": "a"}\n{"text": "b"}\n')
    return tmp_path


def test_data_set_files_are_told_beside_a_model_only(folder):
    assert holds_of(scan_paths([folder])) == []
    (folder / "model.pkl").write_bytes(pickle.dumps(LogisticRegression().fit(X, Y)))
    told = {hold.path.rpartition("/")[2]: hold.what for hold in holds_of(scan_paths([folder]))}
    assert set(told) == {"arrays.npz", "train.csv", "x-ray.csv", "clinic.csv", "test.jsonl"}
    assert "X_train, y_train" in told["arrays.npz"]
    assert "'label'" in told["clinic.csv"]


@pytest.mark.parametrize("kind", ["zip", "tar"])
def test_data_set_files_in_an_archive_are_told_beside_a_model(kind):
    files = {"m/train.csv": b"a,b\n1,2\n", "m/notes.csv": b"a,b\n1,2\n"}
    model = {"m/model.pkl": pickle.dumps(LogisticRegression().fit(X, Y))}
    assert holds_of([scan_bytes(packed(files, kind))]) == []
    (hold,) = holds_of([scan_bytes(packed(files | model, kind))])
    assert hold.member == "m/train.csv"


def packed(files, kind):
    stream = io.BytesIO()
    if kind == "zip":
        with zipfile.ZipFile(stream, "w") as archive:
            for name, content in files.items():
                archive.writestr(name, content)
    else:
        with tarfile.open(fileobj=stream, mode="w") as archive:
            for name, content in files.items():
                entry = tarfile.TarInfo(name)
                entry.size = len(content)
                archive.addfile(entry, io.BytesIO(content))
    return stream.getvalue()


def test_the_command_tells_them_and_its_verdict_stays(fitted, tmp_path, capsys):
    path = tmp_path / "svc.pkl"
    path.write_bytes(pickle.dumps(fitted["svc"][0]))
    assert run(["scan", str(path)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("clean")
    assert any(line.startswith("holds ") and "support vectors" in line for line in lines)
    assert run(["scan", str(path), "--json"]) == 0
    (row,) = json.loads(capsys.readouterr().out)
    assert row["holds"] == [
        {"what": row["holds"][0]["what"], "rows": len(fitted["svc"][0].support_vectors_),
         "member": None}
    ]  # fmt: skip
    results = scan_paths([path])
    log = json.loads(to_sarif(results, holds=holds_of(results)))
    (told,) = log["runs"][0]["invocations"][0]["toolConfigurationNotifications"]
    assert told["level"] == "note"
    assert log["runs"][0]["results"] == []


def test_crafted_files_neither_stop_the_scan_nor_flood_it(tmp_path, capsys):
    names = b"".join(b"csklearn.m%d\nSVC\n0" % i for i in range(500))
    flood = scan_bytes(b"\x80\x02" + names + b"N.")
    assert len(holds_of([flood])) == 0
    count = b"\x8a\xff" + b"\x01" * 254 + b"\x01"  # LONG1: an integer of 255 bytes
    made = b"cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\x00\x85C\x01b\x87R"
    dtype = b"cnumpy\ndtype\nX\x02\0\0\0f8\x89\x88\x87R"
    array = made + b"(K\x01" + count + b"\x85" + dtype + b"\x89C\0tb"
    svc = b"csklearn.svm._classes\nSVC\n)\x81}X\x10\0\0\0support_vectors_" + array + b"sb"
    path = tmp_path / "svc.pkl"
    path.write_bytes(b"\x80\x02" + svc + b".")
    (hold,) = holds_of(scan_paths([path]))
    assert hold.rows is None
    assert "support vectors" in hold.sentence


@pytest.mark.parametrize("form", ["--json", "--sarif", None])
def test_names_that_are_not_utf8_are_told(tmp_path, form, capsys):
    path = tmp_path / "all.tar"
    model = pickle.dumps(LogisticRegression().fit(X, Y))
    path.write_bytes(packed({"train \udc80.csv": b"a,b\n", "model.pkl": model}, "tar"))
    run(["scan", str(path), *([form] if form else [])])
    assert "udc80.csv" in capsys.readouterr().out.encode("utf-8").decode()

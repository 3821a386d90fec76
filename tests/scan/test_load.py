"""`crenel.scan.load`: scanned and loaded in one call, from the same bytes and installed modules."""

from __future__ import annotations

import hashlib
import os
import pickle
import shutil
import subprocess
import sys
import types
from pathlib import Path

import joblib
import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression

from crenel.errors import SubjectError, Untrusted, UsageError
from crenel.scan import load, scan_file, shadowed_modules
from crenel.scan.shadowed import shadowed_by

X = np.random.default_rng(0).normal(size=(60, 3))


class Payload:
    def __init__(self, mark):
        self.mark = mark

    def __reduce__(self):
        return os.mkdir, (str(self.mark),)


# --- what is loaded ------------------------------------------------------------------------------


def test_what_was_pickled_is_what_comes_back(tmp_path):
    model = LogisticRegression().fit(X, X[:, 0] > 0)
    joblib.dump({"model": model, "names": ["a", "b"]}, tmp_path / "all.joblib", compress=3)
    found = load(tmp_path / "all.joblib")
    assert found["names"] == ["a", "b"]
    np.testing.assert_array_equal(found["model"].predict(X), model.predict(X))


def test_arrays_and_weights_come_back_by_name(tmp_path):
    torch = pytest.importorskip("torch")
    np.savez(tmp_path / "a.npz", x=X, names=np.array(["a", None], dtype=object))
    arrays = load(tmp_path / "a.npz")
    np.testing.assert_array_equal(arrays["x"], X)
    assert arrays["names"][1] is None
    np.save(tmp_path / "a.npy", X)
    np.testing.assert_array_equal(load(tmp_path / "a.npy"), X)
    module = torch.nn.Linear(3, 2)
    torch.save(module.state_dict(), tmp_path / "m.pt")
    weights = load(tmp_path / "m.pt")
    assert torch.equal(weights["weight"], module.weight)
    built = load(tmp_path / "m.pt", build=lambda: torch.nn.Linear(3, 2))
    assert torch.equal(built.bias, module.bias)


def test_a_harmful_file_is_refused_and_loaded_by_its_digest_alone(tmp_path):
    path, mark = tmp_path / "m.pkl", tmp_path / "ran"
    path.write_bytes(pickle.dumps(Payload(mark)))
    with pytest.raises(Untrusted, match="malicious"):
        load(path)
    assert not mark.exists()
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    load(path, trust=[f"sha256:{digest}"])
    assert mark.exists()


def test_a_whole_torch_module_needs_its_digest(tmp_path):
    torch = pytest.importorskip("torch")
    torch.save(torch.nn.Linear(3, 2), tmp_path / "m.pt")
    with pytest.raises((Untrusted, SubjectError)):
        load(tmp_path / "m.pt")
    digest = hashlib.sha256((tmp_path / "m.pt").read_bytes()).hexdigest()
    assert load(tmp_path / "m.pt", trust=[digest]).in_features == 3


def test_what_changes_after_the_scan_is_not_loaded(tmp_path, monkeypatch):
    path, mark = tmp_path / "m.pkl", tmp_path / "ran"
    path.write_bytes(pickle.dumps([1, 2, 3]))
    real = joblib.load

    def later(file):
        path.write_bytes(pickle.dumps(Payload(mark)))
        return real(file)

    monkeypatch.setattr(joblib, "load", later)
    assert load(path) == [1, 2, 3]
    assert not mark.exists()


def test_no_file_and_a_damaged_one_are_one_sentence(tmp_path):
    with pytest.raises(UsageError, match="no file"):
        load(tmp_path / "none.pkl")
    (tmp_path / "cut.pkl").write_bytes(pickle.dumps(list(range(99)))[:50])
    with pytest.raises(Untrusted, match="unreadable"):
        load(tmp_path / "cut.pkl")


def trusted(path):
    return load(path, trust=[hashlib.sha256(path.read_bytes()).hexdigest()])


@pytest.mark.parametrize("version", [None, 99])
def test_a_damaged_archive_that_is_trusted_is_one_sentence(tmp_path, version):
    np.savez(tmp_path / "a.npz", a=X)
    data = bytearray((tmp_path / "a.npz").read_bytes())
    if version is None:
        del data[-30:]
    else:
        data[data.index(b"PK\x01\x02") + 6] = version  # needed to extract it
    (tmp_path / "a.npz").write_bytes(data)
    with pytest.raises(SubjectError, match="damaged"):
        trusted(tmp_path / "a.npz")


def test_weights_that_are_trusted_come_back_too(tmp_path):
    pytest.importorskip("torch")
    head = b'{"a":{"dtype":"F64","shape":[60,3],"data_offsets":[0,1440]}}'
    (tmp_path / "a.safetensors").write_bytes(len(head).to_bytes(8, "little") + head + X.tobytes())
    np.testing.assert_array_equal(trusted(tmp_path / "a.safetensors")["a"].numpy(), X)


# --- the modules that loading imports ------------------------------------------------------------


def test_installed_modules_are_what_was_installed():
    named = ["numpy._core.multiarray", "sklearn.linear_model._logistic", "collections", "builtins"]
    assert shadowed_modules(named) == []
    assert shadowed_modules(named, sys.path) == []
    assert shadowed_modules(["no_such_package.at.all"]) == []


@pytest.mark.parametrize("name", ["numpy.py", "collections.py", "sklearn/__init__.py"])
def test_a_file_that_comes_first_on_the_path_is_named(tmp_path, name):
    (tmp_path / name).parent.mkdir(exist_ok=True)
    (tmp_path / name).write_text("")
    named = ["numpy.random", "collections", "sklearn.linear_model._logistic"]
    (told,) = shadowed_modules(named, [str(tmp_path), *sys.path])
    assert told.file == str(tmp_path / name)
    assert told.module == name.partition("/")[0].removesuffix(".py")


def test_a_changed_file_of_a_library_is_named(tmp_path):
    """A copy of a distribution with one byte more, read by a Python that has it alone."""
    site = Path(joblib.__file__).parents[1]
    record = next(site.glob("joblib-*.dist-info"))
    shutil.copytree(site / "joblib", tmp_path / "joblib", ignore=shutil.ignore_patterns("test"))
    shutil.copytree(record, tmp_path / record.name)
    script = (
        "import sys; from crenel.scan.shadowed import shadowed_modules as s\n"
        "print([t.why for t in s(['joblib.numpy_pickle'], sys.path)])"
    )

    def told():
        places = [str(tmp_path), str(Path(sys.modules["crenel"].__file__).parents[1])]
        env = os.environ | {"PYTHONPATH": os.pathsep.join(places)}
        done = subprocess.run([sys.executable, "-c", script], capture_output=True, env=env)
        return done.stdout.decode() + done.stderr.decode()

    assert told().strip() == "[]"
    with (tmp_path / "joblib" / "numpy_pickle.py").open("a") as file:
        file.write("#")
    assert "was changed since joblib" in told()


def test_a_module_beside_the_model_is_told_and_stops_the_load(tmp_path, monkeypatch, capsys):
    from crenel.cli.entry import run

    monkeypatch.chdir(tmp_path)
    joblib.dump(LogisticRegression().fit(X, X[:, 0] > 0), "m.joblib")
    assert "sklearn.linear_model._logistic" in scan_file("m.joblib").modules
    (tmp_path / "sklearn.py").write_text("")
    assert [t.module for t in shadowed_by([scan_file("m.joblib")])] == ["sklearn"]
    run(["scan", "m.joblib"])
    assert "shadowed" in capsys.readouterr().out
    other = types.ModuleType("sklearn")
    other.__spec__ = types.SimpleNamespace(
        origin=str(tmp_path / "sklearn.py"), submodule_search_locations=None
    )
    monkeypatch.setitem(sys.modules, "sklearn", other)
    with pytest.raises(Untrusted, match=r"sklearn would be read from"):
        load("m.joblib")


def test_the_working_folder_is_that_of_the_scan(tmp_path, monkeypatch):
    for folder in ("with", "without"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "m.pkl").write_bytes(pickle.dumps(np.zeros(2)))
    (tmp_path / "with" / "numpy.py").write_text("")
    found = []
    monkeypatch.delitem(sys.path_importer_cache, ".", raising=False)
    for folder in ("with", "without"):
        monkeypatch.chdir(tmp_path / folder)
        found.append([told.module for told in shadowed_by([scan_file("m.pkl")])])
    assert found == [["numpy"], []]

"""Models from files: every format, only after a clean scan, and each failure one sentence."""

from __future__ import annotations

import hashlib
import pickle
import subprocess
import sys
from pathlib import Path

import joblib
import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from crenel.adapters import files, load_model
from crenel.adapters.formats import format_of
from crenel.adapters.trust import normalised
from crenel.errors import MissingExtra, SubjectError, Untrusted, UsageError

SHARED = Path(__file__).resolve().parents[2].parent / "shared" / "data"
RNG = np.random.default_rng(0)
X = RNG.normal(size=(120, 4))
Y = (X[:, 0] + X[:, 1] > 0).astype(int)


def shared(*parts):
    path = SHARED.joinpath(*parts)
    if not path.exists():
        pytest.skip(f"the shared file {'/'.join(parts)} is not here")
    return path


@pytest.fixture(scope="module")
def pipeline():
    return make_pipeline(StandardScaler(), LogisticRegression()).fit(X, Y)


@pytest.mark.parametrize("compress", [0, 3, ("bz2", 3), ("xz", 3), ("gzip", 3)])
def test_joblib_files(pipeline, compress, tmp_path):
    joblib.dump(pipeline, tmp_path / "m.joblib", compress=compress)
    model = load_model("m.joblib", root=tmp_path)
    assert np.array_equal(model.probabilities(X), pipeline.predict_proba(X))


@pytest.mark.parametrize("protocol", [2, 4, 5])
def test_pickle_files_and_a_model_inside_a_dictionary(pipeline, protocol, tmp_path):
    (tmp_path / "m.pkl").write_bytes(pickle.dumps({"model": pipeline, "auc": 0.9}, protocol))
    model = load_model(tmp_path / "m.pkl", scan=False)
    assert np.array_equal(model.predict(X), pipeline.predict(X))


def test_skops_files(pipeline, tmp_path):
    skops = pytest.importorskip("skops.io")
    skops.dump(pipeline, tmp_path / "m.skops")
    model = load_model("m.skops", root=tmp_path)
    assert np.array_equal(model.probabilities(X), pipeline.predict_proba(X))


@pytest.mark.parametrize("suffix", ["json", "ubj"])
def test_xgboost_files(suffix, tmp_path):
    xgboost = pytest.importorskip("xgboost")
    native = xgboost.XGBClassifier(n_estimators=3, n_jobs=1).fit(X, Y)
    native.save_model(tmp_path / f"m.{suffix}")
    model = load_model(f"m.{suffix}", root=tmp_path)
    assert model.framework == "xgboost"
    assert np.allclose(model.probabilities(X), native.predict_proba(X), atol=1e-7)


def test_lightgbm_files(tmp_path):
    lightgbm = pytest.importorskip("lightgbm")
    native = lightgbm.LGBMClassifier(n_estimators=3, n_jobs=1, verbose=-1).fit(X, Y)
    native.booster_.save_model(tmp_path / "m.txt")
    model = load_model("m.txt", root=tmp_path)
    assert model.framework == "lightgbm"
    assert np.allclose(model.probabilities(X), native.predict_proba(X))


BUILD = "from torch import nn\ndef build():\n    return nn.Sequential(nn.Linear(4, 3))\n"


def test_torch_files_of_every_kind(tmp_path):
    torch = pytest.importorskip("torch")
    with torch.random.fork_rng():
        torch.manual_seed(0)
        module = torch.nn.Sequential(torch.nn.Linear(4, 3)).eval()
    x = X.astype(np.float32)
    expected = load_model(module, sample=x).probabilities(x)
    (tmp_path / "torch_net.py").write_text(BUILD)
    torch.save(module.state_dict(), tmp_path / "state.pt")
    nested = {"epoch": 3, "state_dict": {f"module.{k}": v for k, v in module.state_dict().items()}}
    torch.save(nested, tmp_path / "nested.pt")
    torch.save(module.state_dict(), tmp_path / "legacy.pth", _use_new_zipfile_serialization=False)
    torch.jit.save(torch.jit.script(module), tmp_path / "script.pt")
    batch = torch.export.Dim("batch", min=2)
    program = torch.export.export(module, (torch.from_numpy(x),), dynamic_shapes=({0: batch},))
    torch.export.save(program, tmp_path / "program.pt2")
    for name in ("state.pt", "nested.pt", "legacy.pth", "script.pt", "program.pt2"):
        build = "torch_net:build" if name in ("state.pt", "nested.pt", "legacy.pth") else None
        model = load_model(name, root=tmp_path, build=build, sample=x, scan=False)
        assert np.allclose(model.probabilities(x), expected, atol=1e-6), name
    with pytest.raises(SubjectError, match='build = "module:function"'):
        load_model("state.pt", root=tmp_path, scan=False)
    other = lambda: torch.nn.Sequential(torch.nn.Linear(5, 3))  # noqa: E731
    with pytest.raises(SubjectError, match=r"do not fit the module .* size mismatch"):
        load_model("state.pt", root=tmp_path, build=other, scan=False)


def test_a_pickled_torch_module_is_not_run(tmp_path):
    torch = pytest.importorskip("torch")
    torch.save(torch.nn.Linear(4, 3), tmp_path / "whole.pt")
    with pytest.raises(SubjectError, match=r"save model\.state_dict\(\)"):
        load_model("whole.pt", root=tmp_path, scan=False)


def test_safetensors_files(tmp_path):
    torch = pytest.importorskip("torch")
    module = torch.nn.Sequential(torch.nn.Linear(4, 3)).eval()
    parts, header, at = [], {}, 0
    for name, value in module.state_dict().items():
        content = value.numpy().tobytes()
        header[name] = {
            "dtype": "F32",
            "shape": list(value.shape),
            "data_offsets": [at, at + len(content)],
        }
        parts.append(content)
        at += len(content)
    import json

    head = json.dumps({"__metadata__": {"format": "pt"}, **header}).encode()
    content = len(head).to_bytes(8, "little") + head + b"".join(parts)
    (tmp_path / "m.safetensors").write_bytes(content)
    (tmp_path / "torch_net.py").write_text(BUILD)
    x = X.astype(np.float32)
    model = load_model("m.safetensors", root=tmp_path, build="torch_net:build", sample=x)
    assert np.array_equal(model.probabilities(x), load_model(module, sample=x).probabilities(x))


# --- trust ---------------------------------------------------------------------------------------


class Payload:
    """A pickle that writes a file when it is loaded."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return (eval, (f"open({str(self.path)!r}, 'w').close()",))


def test_a_malicious_file_is_not_loaded_and_the_way_to_trust_it_is_shown(tmp_path):
    flag = tmp_path / "ran"
    path = tmp_path / "m.pkl"
    path.write_bytes(pickle.dumps(Payload(flag)))
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    with pytest.raises(Untrusted) as told:
        load_model("m.pkl", root=tmp_path)
    assert not flag.exists()
    assert "its scan says malicious: " in str(told.value)
    assert f'trust = "sha256:{digest}"' in str(told.value)
    assert "\n" not in str(told.value)
    with pytest.raises(Untrusted):  # the trust is in that very file
        load_model("m.pkl", root=tmp_path, trust=["sha256:" + "0" * 64])
    with pytest.raises(SubjectError, match="does not predict"):
        load_model("m.pkl", root=tmp_path, trust=[f"sha256:{digest.upper()}"])
    assert flag.exists()


def test_other_formats_are_scanned_too(tmp_path, monkeypatch):
    import crenel.scan

    asked = []

    def scan_bytes(data, name):
        asked.append(Path(name).name)
        return real(data, name)

    real = crenel.scan.scan_bytes
    monkeypatch.setattr(crenel.scan, "scan_bytes", scan_bytes)
    xgboost = pytest.importorskip("xgboost")
    xgboost.XGBClassifier(n_estimators=1, n_jobs=1).fit(X, Y).save_model(tmp_path / "m.json")
    load_model("m.json", root=tmp_path)
    assert asked == ["m.json"]


def test_a_file_swapped_during_its_scan_is_not_loaded(pipeline, tmp_path, monkeypatch):
    import crenel.scan

    path = tmp_path / "m.joblib"
    path.write_bytes(pickle.dumps(Payload(tmp_path / "ran")))

    def scan_bytes(data, name):
        joblib.dump(pipeline, path)  # what lies there now is harmless
        return real(data, name)

    real = crenel.scan.scan_bytes
    monkeypatch.setattr(crenel.scan, "scan_bytes", scan_bytes)
    with pytest.raises(Untrusted, match="malicious"):
        load_model(path)
    assert not (tmp_path / "ran").exists()


def test_digests_are_checked():
    assert normalised("ABCDEF01" * 8) == {"sha256:" + "abcdef01" * 8}
    with pytest.raises(UsageError, match="is not a digest"):
        normalised(["md5:123"])


# --- functions and modules -----------------------------------------------------------------------


def test_functions_named_in_the_configuration(tmp_path):
    (tmp_path / "named_model.py").write_text(
        "import numpy as np\n"
        "from sklearn.linear_model import LogisticRegression\n"
        "def score(x):\n    return np.clip(np.asarray(x)[:, 0], 0, 1)\n"
        "def make():\n"
        "    return LogisticRegression().fit([[0.0], [1.0]] * 5, ['no', 'yes'] * 5)\n"
        "def broken():\n    raise OSError('no weights here')\n"
        "def train(x, y, seed):\n    return LogisticRegression(C=3).fit(x, y)\n"
    )
    model = load_model("named_model:score", root=tmp_path, sample=X)
    assert np.array_equal(model.probabilities(X)[:, 1], np.clip(X[:, 0], 0, 1))
    made = load_model("named_model:make", root=tmp_path, fit="named_model:train")
    assert list(made.classes) == ["no", "yes"]
    assert made.fit(X[:, :1], Y, 0).native.C == 3
    with pytest.raises(SubjectError, match="named_model:broken failed: OSError: no weights here"):
        load_model("named_model:broken", root=tmp_path)
    with pytest.raises(UsageError, match="the module named_model has no 'absent'"):
        load_model("named_model:absent", root=tmp_path)
    with pytest.raises(UsageError, match="there is no module 'no_such_module'"):
        load_model("no_such_module:f", root=tmp_path)


def test_modules_of_the_same_name_in_two_folders_are_not_confused(tmp_path):
    for name, value in (("one", 0.25), ("two", 0.75)):
        (tmp_path / name).mkdir()
        (tmp_path / name / "twin_model.py").write_text(
            f"import numpy as np\ndef f(x):\n    return np.full(len(x), {value})\n"
        )
    for name, value in (("one", 0.25), ("two", 0.75), ("one", 0.25)):
        model = load_model("twin_model:f", root=tmp_path / name, sample=X)
        assert (model.probabilities(X)[:, 1] == value).all()


def test_a_broken_module_is_told_with_its_own_error(tmp_path):
    (tmp_path / "broken_module.py").write_text("import no_such_thing_here\n")
    (tmp_path / "wrong_module.py").write_text("1 / 0\n")
    with pytest.raises(SubjectError, match="needs no_such_thing_here, which is not installed"):
        load_model("broken_module:f", root=tmp_path)
    with pytest.raises(SubjectError, match="ZeroDivisionError: division by zero"):
        load_model("wrong_module:f", root=tmp_path)


# --- failures ------------------------------------------------------------------------------------


def test_a_missing_file_names_the_nearest(pipeline, tmp_path):
    joblib.dump(pipeline, tmp_path / "model.joblib")
    with pytest.raises(UsageError, match=r"there is no file .*; did you mean 'model.joblib'\?"):
        load_model("modle.joblib", root=tmp_path)
    with pytest.raises(UsageError, match="is a folder"):
        load_model(".", root=tmp_path)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is empty"),
        (b"\x89HDF\r\n", "save the Keras model as ONNX"),
        (b"hello, world", "is not a model file that crenel knows"),
        (b"PK\x03\x04broken", "damaged zip archive"),
    ],
)
def test_files_that_are_no_models(content, message):
    with pytest.raises(SubjectError, match=message):
        format_of(content, "m.bin")


def test_a_pickled_lightgbm_model_is_a_pickle_though_its_text_is_in_it(tmp_path):
    lightgbm = pytest.importorskip("lightgbm")
    native = lightgbm.LGBMClassifier(n_estimators=3, n_jobs=1, verbose=-1).fit(X, Y)
    joblib.dump(native, tmp_path / "m.joblib")
    model = load_model("m.joblib", root=tmp_path, scan=False)
    assert np.array_equal(model.probabilities(X), native.predict_proba(X))


def test_a_pickle_of_something_else(tmp_path):
    (tmp_path / "m.pkl").write_bytes(pickle.dumps([1, 2]))
    with pytest.raises(SubjectError, match="holds a list with 0 models in it"):
        load_model("m.pkl", root=tmp_path, scan=False)


def test_a_pickle_whose_module_is_gone_names_it_and_the_extra_that_brings_it(tmp_path, monkeypatch):
    script = (
        "import pickle, sys, types\n"
        "m = types.ModuleType('gone_module'); sys.modules['gone_module'] = m\n"
        "class Model:\n    def predict(self, x): return x\n"
        "Model.__module__ = 'gone_module'; m.Model = Model\n"
        f"open({str(tmp_path / 'm.pkl')!r}, 'wb').write(pickle.dumps(Model()))\n"
    )
    subprocess.run([sys.executable, "-c", script], check=True)
    with pytest.raises(SubjectError, match="needs the module gone_module, which is not installed"):
        load_model("m.pkl", root=tmp_path, scan=False)
    monkeypatch.setitem(files.EXTRAS, "gone_module", "gone")
    with pytest.raises(MissingExtra, match=r"gone_module is not installed.*crenel\[gone\]"):
        load_model("m.pkl", root=tmp_path, scan=False)


def trusted(path):
    return [hashlib.sha256(path.read_bytes()).hexdigest()]


@pytest.mark.parametrize(
    ("parts", "version"),
    [
        (("07_clamp_malware", "random_forest_53_raw_features.joblib"), "0.23.2"),
        (("17_real_pickled_models", "profanity_check_1.0.3", "model.joblib"), "0.20.2"),
    ],
)
def test_real_old_artefacts_name_the_version_that_saved_them(parts, version):
    path = shared(*parts)
    with pytest.raises(SubjectError) as told:
        load_model(path, trust=trusted(path))
    assert f"saved by scikit-learn {version}" in str(told.value)
    assert "\n" not in str(told.value)


def test_a_real_old_xgboost_binary_names_the_way_out():
    pytest.importorskip("xgboost")
    path = shared("14_xgb_random_forests", "breast_cancer_rf.model")
    with pytest.raises(SubjectError, match=r"save it as \.ubj or \.json"):
        load_model(path, scan=False)


def test_real_artefacts_that_load():
    vectors = shared("17_real_pickled_models", "alt_profanity_check_1.9.1", "vectorizer.joblib")
    path = vectors.with_name("model.joblib")
    notes = []
    model = load_model(path, trust=trusted(path), notes=notes)
    steps = make_pipeline(joblib.load(vectors), model.native)
    words = np.array(["you are a lovely person", "you utter bastard"], dtype=object)
    assert load_model(steps).predict(words.reshape(-1, 1)).tolist() == [0, 1]


def test_a_real_state_dict_saved_on_a_gpu_opens_on_the_cpu():
    torch = pytest.importorskip("torch")
    path = shared("15_advertorch_mnist", "mnist_lenet5_clntrained.pt")
    with pytest.raises(SubjectError, match='build = "module:function"'):
        load_model(path, scan=False)
    state = torch.load(path, map_location="cpu", weights_only=True)

    class Net(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.conv1 = torch.nn.Conv2d(1, 32, 3, padding=1)
            self.conv2 = torch.nn.Conv2d(32, 64, 3, padding=1)
            self.linear1 = torch.nn.Linear(7 * 7 * 64, 200)
            self.linear2 = torch.nn.Linear(200, 10)

        def forward(self, x):
            for conv in (self.conv1, self.conv2):
                x = torch.nn.functional.max_pool2d(torch.relu(conv(x)), 2)
            return self.linear2(torch.relu(self.linear1(x.flatten(1))))

    images = np.zeros((3, 1, 28, 28), dtype=np.float32)
    model = load_model(path, build=Net, sample=images, scan=False)
    assert model.k == 10
    assert model.parameters == sum(v.numel() for v in state.values())

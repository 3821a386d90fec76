"""Weights read from files, held against the libraries that wrote them; nothing is executed."""

from __future__ import annotations

import hashlib
import json
import pickle
import struct
import sys
import zipfile

import numpy as np
import pytest

from crenel.errors import CrenelError, NotApplicable, SubjectError, Untrusted, UsageError
from crenel.transfer.lineage import read_weights


def values(source, **given):
    return {a.name: a for a in read_weights(source, **given).arrays}


def network():
    torch = pytest.importorskip("torch")
    torch.manual_seed(0)
    return torch.nn.Sequential(
        torch.nn.Conv2d(3, 8, 3),
        torch.nn.BatchNorm2d(8),
        torch.nn.Flatten(),
        torch.nn.Linear(8, 40),
    )


def same(found, state):
    assert list(found) == list(state)
    for name, tensor in state.items():
        np.testing.assert_array_equal(found[name].load(), tensor.numpy())


@pytest.mark.parametrize("new", [True, False], ids=["zip", "legacy"])
def test_state_dicts_are_read_as_torch_reads_them(tmp_path, new):
    torch = pytest.importorskip("torch")
    state = network().state_dict()
    # Views: turned, and a part of a larger storage.
    state["turned"] = torch.arange(600.0).reshape(20, 30).t()
    state["part"] = torch.arange(900.0).reshape(30, 30)[5:20, 3:23]
    path = tmp_path / "model.pt"
    torch.save(state, path, _use_new_zipfile_serialization=new)
    same(values(path), state)


@pytest.mark.parametrize("new", [True, False], ids=["zip", "legacy"])
def test_of_a_checkpoint_the_weights_are_read_and_the_optimizer_is_not(tmp_path, new):
    torch = pytest.importorskip("torch")
    model = network()
    optimizer = torch.optim.Adam(model.parameters())
    model(torch.rand(2, 3, 3, 3)).sum().backward()
    optimizer.step()
    path = tmp_path / "checkpoint.tar"
    kept = {"epoch": 3, "optimizer": optimizer.state_dict(), "state_dict": model.state_dict()}
    torch.save(kept, path, _use_new_zipfile_serialization=new)
    same(values(path), model.state_dict())


def test_torchscript_is_read_without_running_it(tmp_path):
    torch = pytest.importorskip("torch")
    model = network().eval()
    path = tmp_path / "model.jit"
    torch.jit.script(model).save(str(path))
    found = values(path)
    for name, tensor in model.state_dict().items():
        np.testing.assert_array_equal(found[name].load(), tensor.numpy())


def test_bfloat16_and_modules_in_memory(tmp_path):
    torch = pytest.importorskip("torch")
    model = network().bfloat16()
    path = tmp_path / "model.pt"
    torch.save(model.state_dict(), path)
    for source in (path, model):
        found = values(source)["3.weight"]
        assert found.dtype == "BF16"
        expected = model[3].weight.detach().float().numpy()
        np.testing.assert_array_equal(found.floats(), expected)


def test_onnx_is_read_as_onnx_reads_it(tmp_path):
    onnx = pytest.importorskip("onnx")
    from onnx import TensorProto, helper, numpy_helper

    rng = np.random.default_rng(0)
    raw = {"w": rng.random((20, 30), dtype=np.float32), "h": rng.random((4, 5)).astype(np.float16)}
    tensors = [numpy_helper.from_array(v, n) for n, v in raw.items()]
    listed = rng.random((3, 4)).astype(np.float32)
    tensors.append(helper.make_tensor("l", TensorProto.FLOAT, (3, 4), listed.ravel()))
    halves = helper.make_tensor("g", TensorProto.FLOAT16, (2, 3), np.arange(6.0) / 7)
    ints = helper.make_tensor("i", TensorProto.INT8, (2, 2), [-3, 4, -5, 6])
    constant = helper.make_node("Constant", [], ["c"], value=numpy_helper.from_array(raw["w"] + 1))
    graph = helper.make_graph(
        [constant, helper.make_node("Identity", ["x"], ["y"])], "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1])], [*tensors, halves, ints],
    )  # fmt: skip
    path = tmp_path / "model.onnx"
    onnx.save(helper.make_model(graph), path)
    found = values(path)
    for tensor in graph.initializer:
        np.testing.assert_array_equal(found[tensor.name].load(), numpy_helper.to_array(tensor))
    np.testing.assert_array_equal(found["c"].load(), raw["w"] + 1)


def test_onnx_numbers_outside_the_file_are_read(tmp_path):
    onnx = pytest.importorskip("onnx")
    from onnx import TensorProto, helper, numpy_helper

    w = np.random.default_rng(0).random((40, 50), dtype=np.float32)
    graph = helper.make_graph(
        [helper.make_node("MatMul", ["x", "w"], ["y"])], "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 40])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 50])],
        [numpy_helper.from_array(w, "w")],
    )  # fmt: skip
    path = tmp_path / "model.onnx"
    model = helper.make_model(graph)
    onnx.save(model, path, save_as_external_data=True, location="w.bin", size_threshold=0)
    np.testing.assert_array_equal(values(path)["w"].load(), w)


def safetensors(path, arrays, **changes):
    header, body = {"__metadata__": {"format": "pt"}}, b""
    for name, (kind, array) in arrays.items():
        offsets = [len(body), len(body) + array.nbytes]
        header[name] = {"dtype": kind, "shape": list(array.shape), "data_offsets": offsets}
        header[name].update(changes)
        body += array.tobytes()
    text = json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text + body)
    return path


def test_safetensors_and_shards_in_a_folder(tmp_path):
    a, b = (np.random.default_rng(s).random((30, 20), dtype=np.float32) for s in (0, 1))
    safetensors(tmp_path / "model-00001-of-00002.safetensors", {"a": ("F32", a)})
    half = b.astype(np.float16)
    safetensors(tmp_path / "model-00002-of-00002.safetensors", {"b": ("F16", half)})
    found = values(tmp_path)
    np.testing.assert_array_equal(found["a"].load(), a)
    np.testing.assert_array_equal(found["b"].load(), half)
    assert found["b"].dtype == "F16"


def test_of_a_folder_the_model_is_read_and_an_adapter_alone_is_none(tmp_path):
    a = np.ones((20, 20), np.float32)
    name = "base_model.model.q.lora_A.weight"
    safetensors(tmp_path / "adapter_model.safetensors", {name: ("F32", a)})
    with pytest.raises(NotApplicable, match="adapter"):
        read_weights(tmp_path)
    safetensors(tmp_path / "model.safetensors", {"w": ("F32", a)})
    assert list(values(tmp_path)) == ["w"]


def test_types_that_are_not_read_are_told(tmp_path):
    a, small = np.ones((20, 20), np.float32), np.zeros((4, 4), np.uint8)
    path = safetensors(tmp_path / "m.safetensors", {"a": ("F32", a), "q": ("F8_E4M3", small)})
    weights = read_weights(path)
    assert [x.name for x in weights.arrays] == ["a"]
    assert any("q" in note and "F8_E4M3" in note for note in weights.notes)


def test_a_hostile_pickle_is_refused_and_not_run(tmp_path):
    mark = tmp_path / "ran"

    class Evil:
        def __reduce__(self):
            import os

            return os.system, (f"touch {mark}",)

    path = tmp_path / "model.pt"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("model/data.pkl", pickle.dumps({"w": Evil()}, protocol=2))
        archive.writestr("model/version", "3\n")
    with pytest.raises(Untrusted, match="not read"):
        read_weights(path)
    # Even where its digest is trusted the call is not made: the reader has no way to make one.
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    with pytest.raises(CrenelError):
        read_weights(path, trust=[f"sha256:{digest}"])
    assert not mark.exists()


def test_a_pickled_module_of_an_unknown_class_is_read_without_importing_it(tmp_path, monkeypatch):
    torch = pytest.importorskip("torch")
    (tmp_path / "their_code.py").write_text(
        "import torch\n"
        "class Net(torch.nn.Module):\n"
        "    def __init__(self):\n"
        "        super().__init__()\n"
        "        self.body = torch.nn.Sequential(torch.nn.Linear(30, 20), torch.nn.ReLU())\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    import their_code

    model = their_code.Net()
    path = tmp_path / "model.pt"
    torch.save(model, path)
    del sys.modules["their_code"]
    (tmp_path / "their_code.py").write_text("raise SystemExit('imported')")
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    found = values(path, trust=[f"sha256:{digest}"])
    np.testing.assert_array_equal(
        found["body.0.weight"].load(), model.body[0].weight.detach().numpy()
    )
    assert "their_code" not in sys.modules


def test_a_tensor_beyond_its_storage_is_an_error(tmp_path):
    torch = pytest.importorskip("torch")
    path = tmp_path / "model.pt"
    torch.save({"w": torch.zeros(30, 20)}, path)
    with zipfile.ZipFile(path) as archive:
        parts = {n: archive.read(n) for n in archive.namelist()}
    name = next(n for n in parts if n.endswith("data.pkl"))
    # The shape (30, 20) is written as K\x1eK\x14.
    parts[name] = parts[name].replace(b"K\x1eK\x14", b"K\xffK\x14", 1)
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as archive:
        for n, content in parts.items():
            archive.writestr(n, content)
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    found = values(path, trust=[f"sha256:{digest}"])
    assert found["w"].shape == (255, 20)
    with pytest.raises(SubjectError, match="beyond"):
        found["w"].load()


def test_damaged_files_are_one_sentence(tmp_path):
    a = np.ones((20, 20), np.float32)
    path = safetensors(tmp_path / "m.safetensors", {"a": ("F32", a)})
    whole = path.read_bytes()
    for broken in (whole[:-100], whole[:40], b""):
        path.write_bytes(broken)
        with pytest.raises(CrenelError) as error:
            read_weights(path)
        assert "\n" not in str(error.value)
    with pytest.raises(UsageError, match="no file or folder"):
        read_weights(tmp_path / "absent.pt")


@pytest.mark.parametrize("kind", ["torch-zip", "torch-legacy", "safetensors"])
def test_the_readers_stand_any_damage_without_the_scan(tmp_path, monkeypatch, kind):
    from crenel.transfer.lineage import reading

    monkeypatch.setattr(reading, "_admitted", lambda *given: kind)
    path = tmp_path / "m.bin"
    if kind == "safetensors":
        safetensors(path, {"a": ("F32", np.ones((20, 30), np.float32))})
    else:
        torch = pytest.importorskip("torch")
        new = kind == "torch-zip"
        torch.save(network().state_dict(), path, _use_new_zipfile_serialization=new)
    whole = path.read_bytes()
    rng = np.random.default_rng(0)
    refused = 0
    for _ in range(150):
        content = bytearray(whole)
        for place in rng.integers(0, min(len(whole), 1500), 2):
            content[place] = rng.integers(0, 256)
        path.write_bytes(content[: rng.integers(1, len(whole))] if rng.random() < 0.2 else content)
        try:
            for array in read_weights(path).arrays:
                array.load()
        except CrenelError:
            refused += 1
    assert refused > 20


def test_sklearn_models_show_layers_trees_and_coefficients(tmp_path):
    import joblib
    from sklearn.ensemble import RandomForestClassifier
    from sklearn.linear_model import LogisticRegression
    from sklearn.neural_network import MLPClassifier
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    rng = np.random.default_rng(0)
    x, y = rng.random((200, 20)), rng.integers(0, 2, 200)
    mlp = MLPClassifier((30,), max_iter=3).fit(x, y)
    found = values(make_pipeline(StandardScaler(), mlp).fit(x, y))
    assert found["mlpclassifier.coefs_.0"].kind == "weights"
    np.testing.assert_array_equal(found["mlpclassifier.coefs_.0"].load(), mlp.coefs_[0])
    forest = RandomForestClassifier(3, random_state=0).fit(x, y)
    path = tmp_path / "forest.joblib"
    joblib.dump(forest, path)
    found = values(path)
    assert [a.kind for a in found.values()] == ["exact"] * 3
    tree = forest.estimators_[1].tree_
    np.testing.assert_array_equal(found["trees.1"].load()[:, 1], tree.threshold)
    assert values(LogisticRegression().fit(x, y))["coef_"].kind == "exact"
    with pytest.raises(NotApplicable, match="no weights"):
        read_weights(lambda rows: rows)

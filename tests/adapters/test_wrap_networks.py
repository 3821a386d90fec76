"""Torch modules and ONNX models answer as their own runtimes do."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from crenel.adapters import wrap
from crenel.errors import SubjectError

torch = pytest.importorskip("torch")
nn = torch.nn


def rows(n=50, d=4, seed=0):
    return np.random.default_rng(seed).normal(size=(n, d)).astype(np.float32)


def net(out=3, last=None, seed=0):
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        layers = [nn.Linear(4, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Dropout(0.5), nn.Linear(8, out)]
        return nn.Sequential(*layers, *([last] if last else [])).train()


def own(module, x):
    module = module.eval()
    with torch.no_grad():
        return module(torch.from_numpy(x)).numpy().astype(np.float64)


def test_probabilities_are_those_of_the_module_in_evaluation_mode():
    x, module = rows(), net()
    model = wrap(module, classes=["a", "b", "c"])
    assert module.training  # the user's own module is as it was
    assert all(p.requires_grad for p in module.parameters())
    z = own(module, x)
    p = np.exp(z) / np.exp(z).sum(axis=1, keepdims=True)
    assert np.allclose(model.probabilities(x), p, atol=1e-6)
    assert np.array_equal(model.predict(x), z.argmax(axis=1))
    assert model.probabilities(x).dtype == np.float64
    assert np.abs(model.probabilities(x).sum(axis=1) - 1).max() < 1e-12
    assert model.parameters == sum(p.numel() for p in module.parameters())


def test_tables_and_arrays_get_the_same_answers():
    x = rows()
    model = wrap(net(), sample=x)
    frame = pd.DataFrame(x, columns=list("pqrs"))
    assert np.array_equal(model.probabilities(frame), model.probabilities(x))
    assert list(model.classes) == [0, 1, 2]
    narrow = wrap(net(), classes=[0, 1, 2], columns=list("pqrs"))
    assert np.array_equal(narrow.predict(frame[list("sqpr")]), model.predict(x))
    with pytest.raises(SubjectError, match=r"takes numbers, and the column 'p' holds"):
        model.predict(frame.assign(p="text"))


def test_the_module_gives_logits_and_gradients_to_its_input_only():
    x = rows(5)
    model = wrap(net(), sample=x)
    batch = torch.from_numpy(x).requires_grad_()
    logits = model.module(batch)
    assert logits.shape == (5, 3)
    assert np.array_equal(logits.detach().numpy().argmax(axis=1), model.predict(x))
    logits.sum().backward()
    assert batch.grad.abs().sum() > 0
    assert not any(p.requires_grad for p in model.module.parameters())


@pytest.mark.parametrize("last", [None, nn.Sigmoid()])
def test_one_number_for_each_row_is_the_second_class(last):
    x = rows()
    module = net(1, last)
    z = own(module, x).reshape(-1)
    expected = z if last else 1 / (1 + np.exp(-z))
    for model in (wrap(module, sample=x), wrap(module, classes=["no", "yes"])):
        p = model.probabilities(x)
        assert np.allclose(p[:, 1], expected, atol=1e-6)
        assert np.array_equal(model.predict(x), expected > 0.5)
        assert model.module(torch.from_numpy(x)).shape == (50, 2)


@pytest.mark.parametrize("last", [nn.Softmax(dim=1), nn.LogSoftmax(dim=1)])
def test_a_module_that_ends_in_probabilities_is_not_squashed_twice(last):
    x = rows()
    module = net(3, last)
    z = own(module, x)
    p = z if isinstance(last, nn.Softmax) else np.exp(z)
    for model in (wrap(module, sample=x), wrap(module, classes=[0, 1, 2])):
        assert np.allclose(model.probabilities(x), p, atol=1e-5)


def test_many_images_go_through_in_bounded_batches():
    sizes = []

    class Small(nn.Module):
        def __init__(self):
            super().__init__()
            self.flat, self.linear = nn.Flatten(), nn.Linear(3 * 40 * 40, 2)

        def forward(self, x):
            sizes.append(x.numel())
            return {"logits": self.linear(self.flat(x))}

    x = np.random.default_rng(0).random((900, 3, 40, 40), dtype=np.float32)
    model = wrap(Small(), classes=[0, 1])
    p = model.probabilities(x)
    assert p.shape == (900, 2)
    assert max(sizes) <= 4_000_000
    assert len(sizes) > 1
    assert np.allclose(model.probabilities(x[:7]), p[:7], atol=1e-6)


def test_double_precision_and_token_modules():
    x = rows()
    model = wrap(net().double(), sample=x)
    assert model.module(torch.from_numpy(x)).dtype == torch.float32
    tokens = np.random.default_rng(0).integers(0, 20, (30, 6))
    module = nn.Sequential(nn.Embedding(20, 4), nn.Flatten(), nn.Linear(24, 2))
    words = wrap(module, sample=tokens)
    with torch.no_grad():
        expected = module(torch.from_numpy(tokens)).argmax(dim=1).numpy()
    assert np.array_equal(words.predict(tokens), expected)
    assert words.module is None  # no gradient runs through whole numbers


def test_scripted_and_exported_modules_answer_like_the_original():
    x, module = rows(), net().eval()
    expected = wrap(module, sample=x).probabilities(x)
    batch = torch.export.Dim("batch", min=2)
    program = torch.export.export(module, (torch.from_numpy(x),), dynamic_shapes=({0: batch},))
    for other in (torch.jit.script(module), program.module()):
        model = wrap(other, sample=x)
        assert np.allclose(model.probabilities(x), expected, atol=1e-6)
        batch_grad = torch.from_numpy(x).requires_grad_()
        model.module(batch_grad).sum().backward()
        assert batch_grad.grad is not None


def test_wrong_outputs_and_class_counts_are_told():
    x = rows()
    with pytest.raises(
        SubjectError, match="returns 3 logits for each row, and there are 2 classes"
    ):
        wrap(net(), classes=["a", "b"], sample=x)
    with pytest.raises(SubjectError, match="does not tell its classes"):
        wrap(net())
    with pytest.raises(SubjectError, match="returned a tensor of shape"):
        wrap(nn.Unflatten(1, (2, 2)), sample=x)


def test_regression_and_the_users_own_fit():
    x = rows()
    model = wrap(net(1), task="regression")
    assert np.allclose(model.predict(x), own(net(1), x).reshape(-1))
    seen = []

    def fit(x, labels, seed):
        seen.append((sorted(set(labels)), seed))
        return net(3, seed=seed)

    again = wrap(net(), classes=list("abc"), fit=fit).fit(x, np.arange(50) % 3, 4)
    assert seen == [(["a", "b", "c"], 4)]
    assert np.array_equal(again.predict(x), own(net(3, seed=4), x).argmax(axis=1))


# --- ONNX ----------------------------------------------------------------------------------------


def onnx_model(outputs, nodes, weights, inputs=None):
    """The bytes of a hand-built ONNX model."""
    onnx = pytest.importorskip("onnx")
    from onnx import TensorProto, helper, numpy_helper

    graph = helper.make_graph(
        nodes,
        "g",
        inputs or [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 4])],
        outputs,
        [numpy_helper.from_array(value, name) for name, value in weights.items()],
    )
    domains = [helper.make_opsetid("", 17), helper.make_opsetid("ai.onnx.ml", 3)]
    model = helper.make_model(graph, opset_imports=domains, ir_version=8)
    onnx.checker.check_model(model)
    return model.SerializeToString()


W = np.random.default_rng(1).normal(size=(4, 3)).astype(np.float32)


def classifier(zipmap, labels=("a", "b", "c")):
    """A converted linear classifier: label and probabilities, as a tensor or a list of maps."""
    from onnx import TensorProto, helper

    linear = helper.make_node(
        "LinearClassifier",
        ["x"],
        ["label", "p"],
        domain="ai.onnx.ml",
        coefficients=W.T.ravel().tolist(),
        intercepts=[0.0, 0.0, 0.0],
        classlabels_strings=list(labels),
        post_transform="SOFTMAX",
    )
    label = helper.make_tensor_value_info("label", TensorProto.STRING, ["n"])
    if not zipmap:
        p = helper.make_tensor_value_info("p", TensorProto.FLOAT, ["n", 3])
        return onnx_model([label, p], [linear], {})
    maps = helper.make_node(
        "ZipMap", ["p"], ["z"], domain="ai.onnx.ml", classlabels_strings=list(labels)
    )
    kind = helper.make_sequence_type_proto(
        helper.make_map_type_proto(
            TensorProto.STRING, helper.make_tensor_type_proto(TensorProto.FLOAT, [])
        )
    )
    z = helper.make_value_info("z", kind)
    return onnx_model([label, z], [linear, maps], {})


def expected(x):
    z = x @ W
    return np.exp(z) / np.exp(z).sum(axis=1, keepdims=True)


@pytest.mark.parametrize("zipmap", [False, True])
def test_converted_classifiers_with_tensors_and_with_maps(zipmap):
    pytest.importorskip("onnxruntime")
    x = rows()
    model = wrap(classifier(zipmap), sample=x)
    assert list(model.classes) == ["a", "b", "c"]
    assert np.allclose(model.probabilities(x), expected(x), atol=1e-6)
    assert np.array_equal(model.predict(x), expected(x).argmax(axis=1))
    frame = pd.DataFrame(x, columns=list("pqrs"))
    assert np.allclose(model.probabilities(frame), expected(x), atol=1e-6)


def test_maps_are_put_in_the_order_of_the_named_classes():
    pytest.importorskip("onnxruntime")
    x = rows()
    model = wrap(classifier(True), classes=["c", "a", "b"], sample=x)
    assert np.allclose(model.probabilities(x), expected(x)[:, [2, 0, 1]], atol=1e-6)
    assert np.array_equal(model.predict(x), expected(x)[:, [2, 0, 1]].argmax(axis=1))


@pytest.mark.parametrize("softmax", [False, True])
@pytest.mark.parametrize("fixed", ["n", 8])
def test_networks_with_logits_or_probabilities_and_fixed_batches(softmax, fixed, tmp_path):
    pytest.importorskip("onnxruntime")
    pytest.importorskip("onnx")
    from onnx import TensorProto, helper

    nodes = [helper.make_node("MatMul", ["x", "w"], ["z"])]
    if softmax:
        nodes.append(helper.make_node("Softmax", ["z"], ["p"], axis=1))
    out = helper.make_tensor_value_info("p" if softmax else "z", TensorProto.FLOAT, [fixed, 3])
    source = [helper.make_tensor_value_info("x", TensorProto.FLOAT, [fixed, 4])]
    path = tmp_path / "net.onnx"
    path.write_bytes(onnx_model([out], nodes, {"w": W}, source))
    x = rows(21)
    model = wrap(path, classes=["a", "b", "c"], sample=x)
    assert np.allclose(model.probabilities(x), expected(x), atol=1e-6)
    assert model.probabilities(x[:0]).shape == (0, 3)


def test_named_inputs_are_filled_from_the_columns():
    pytest.importorskip("onnxruntime")
    pytest.importorskip("onnx")
    from onnx import TensorProto, helper

    source = [
        helper.make_tensor_value_info("age", TensorProto.FLOAT, ["n", 1]),
        helper.make_tensor_value_info("job", TensorProto.STRING, ["n", 1]),
    ]
    nodes = [
        helper.make_node(
            "LabelEncoder",
            ["job"],
            ["code"],
            domain="ai.onnx.ml",
            keys_strings=["cook", "smith"],
            values_floats=[0.0, 10.0],
        ),
        helper.make_node("Add", ["age", "code"], ["z"]),
    ]
    out = helper.make_tensor_value_info("z", TensorProto.FLOAT, ["n", 1])
    content = onnx_model([out], nodes, {}, source)
    frame = pd.DataFrame({"job": ["cook", "smith"], "age": [-3, -3]})
    model = wrap(content, classes=["no", "yes"], sample=frame)
    assert np.array_equal(model.predict(frame), [0, 1])
    assert np.allclose(model.probabilities(frame)[:, 1], 1 / (1 + np.exp([3.0, -7.0])))
    with pytest.raises(SubjectError, match="takes 2 named inputs"):
        model.predict(rows())


def test_bytes_that_are_no_onnx_model_are_told():
    pytest.importorskip("onnxruntime")
    with pytest.raises(SubjectError, match="the ONNX model cannot be loaded"):
        wrap(b"\x08\x08nonsense")

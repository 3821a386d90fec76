"""ONNX graphs converted to torch answer as ONNX Runtime does, or say why they cannot."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from crenel.adapters import wrap
from crenel.errors import NotApplicable

torch = pytest.importorskip("torch")
onnx = pytest.importorskip("onnx")
runtime = pytest.importorskip("onnxruntime")

from onnx import TensorProto, helper, numpy_helper  # noqa: E402

from crenel.adapters.onnx_torch import OnnxModule  # noqa: E402

NETS = Path(__file__).parents[2].parent / "shared" / "data" / "12_vnncomp2021"
DRAW = np.random.default_rng(3)


def drawn(*shape):
    return DRAW.normal(size=shape).astype(np.float32)


def graph(nodes, weights, shape, opset=17, out=("n", "k"), inputs=None, domains=()):
    """The bytes of a graph from ``x`` to ``y``."""
    made = helper.make_graph(
        nodes,
        "g",
        inputs or [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, list(out) if out else None)],
        [numpy_helper.from_array(np.asarray(v), name) for name, v in weights.items()],
    )
    sets = [helper.make_opsetid("", opset), *[helper.make_opsetid(d, 3) for d in domains]]
    version = 8 if opset < 18 else 9
    return helper.make_model(made, opset_imports=sets, ir_version=version).SerializeToString()


def answers(content, x):
    session = runtime.InferenceSession(content, providers=["CPUExecutionProvider"])
    return session.run(None, {session.get_inputs()[0].name: x})[0]


def same(content, x, rtol=1e-4):
    with torch.no_grad():
        got = OnnxModule(content)(torch.from_numpy(x)).numpy()
    expected = answers(content, x)
    assert got.shape == expected.shape
    np.testing.assert_allclose(got, expected, rtol=rtol, atol=1e-5)


def one(operator, shape=("n", 3, 8, 8), weights=None, opset=17, extra=(), out=None, **attributes):
    """One operator on ``x``, the weights after it in order."""
    weights = weights or {}
    node = helper.make_node(operator, ["x", *weights, *extra], ["y"], **attributes)
    return graph([node], weights, list(shape), opset, out)


IMAGES = {
    "conv with pads and stride": ("Conv", {"w": drawn(4, 3, 3, 3), "b": drawn(4)},
                                  {"pads": [1, 1, 1, 1], "strides": [2, 2]}),
    "conv with uneven pads": ("Conv", {"w": drawn(4, 3, 3, 3)}, {"pads": [0, 1, 2, 1]}),
    "conv, same, in groups": ("Conv", {"w": drawn(6, 1, 3, 3)},
                              {"auto_pad": "SAME_UPPER", "group": 3, "strides": [2, 2]}),
    "conv, same, lower": ("Conv", {"w": drawn(6, 3, 2, 2)},
                                   {"auto_pad": "SAME_LOWER"}),
    "max pool": ("MaxPool", {}, {"kernel_shape": [3, 3], "pads": [1, 1, 1, 1],
                                 "strides": [2, 2]}),
    "max pool, ceil": ("MaxPool", {}, {"kernel_shape": [3, 3], "strides": [2, 2],
                                       "ceil_mode": 1}),
    "average pool": ("AveragePool", {}, {"kernel_shape": [2, 2], "strides": [2, 2]}),
    "average pool with pads": ("AveragePool", {}, {"kernel_shape": [3, 3], "pads": [1, 1, 1, 1]}),
    "average pool, pads counted": ("AveragePool", {}, {"kernel_shape": [3, 3],
                                   "pads": [1, 1, 1, 1], "count_include_pad": 1}),
    "average pool, uneven pads": ("AveragePool", {}, {"kernel_shape": [2, 2],
                                                      "pads": [0, 0, 1, 1]}),
    "global average": ("GlobalAveragePool", {}, {}),
    "global maximum": ("GlobalMaxPool", {}, {}),
    "batch norm": ("BatchNormalization",
                   {"s": drawn(3), "t": drawn(3), "m": drawn(3), "v": np.abs(drawn(3)) + 0.1}, {}),
    "instance norm": ("InstanceNormalization", {"s": drawn(3), "t": drawn(3)}, {}),
    "transpose": ("Transpose", {}, {"perm": [0, 2, 3, 1]}),
    "flatten": ("Flatten", {}, {}),
    "flatten later": ("Flatten", {}, {"axis": 2}),
    "reshape by copy": ("Reshape", {"to": np.array([0, 3, -1])}, {}),
    "pad": ("Pad", {"p": np.array([0, 0, 1, 2, 0, 0, 3, 1]), "c": np.float32(0.5)}, {}),
    "pad by reflection": ("Pad", {"p": np.array([0, 0, 1, 2, 0, 0, 3, 1])}, {"mode": "reflect"}),
    "slice": ("Slice", {"s": np.array([1, -1]), "e": np.array([7, -9]), "a": np.array([2, 3]),
                        "t": np.array([2, -1])}, {}),
    "gather": ("Gather", {"i": np.array([[2, 0], [-1, 1]])}, {"axis": 1}),
    "unsqueeze": ("Unsqueeze", {"a": np.array([1, -1])}, {}),
    "mean over axes": ("ReduceMean", {}, {"axes": [2, 3], "keepdims": 0}),
    "sum over an axis": ("ReduceSum", {"a": np.array([1])}, {}),
    "maximum over axes": ("ReduceMax", {}, {"axes": [1, 2]}),
    "length": ("ReduceL2", {}, {"axes": [-1]}),
    "softmax over channels": ("Softmax", {}, {"axis": 1}),
    "clip": ("Clip", {"l": np.float32(-0.3), "h": np.float32(0.4)}, {}),
    "leaky": ("LeakyRelu", {}, {"alpha": 0.2}),
    "prelu": ("PRelu", {"a": np.abs(drawn(3, 1, 1))}, {}),
    "elu": ("Elu", {}, {"alpha": 0.7}),
    "softplus": ("Softplus", {}, {}),
    "hard sigmoid": ("HardSigmoid", {}, {"alpha": 0.3, "beta": 0.4}),
    "hard swish": ("HardSwish", {}, {}),
    "erf": ("Erf", {}, {}),
    "selu": ("Selu", {}, {}),
    "power": ("Pow", {"e": np.float32(2)}, {}),
    "minimum": ("Min", {"o": drawn(3, 1, 1)}, {}),
    "maximum": ("Max", {"o": drawn(3, 1, 1)}, {}),
    "mean": ("Mean", {"o": drawn(3, 1, 1)}, {}),
    "rounding": ("Round", {}, {}),
    "layer norm": ("LayerNormalization", {"s": drawn(8), "t": drawn(8)}, {}),
}  # fmt: skip


@pytest.mark.parametrize("name", IMAGES)
def test_an_operator_on_images_answers_as_the_runtime_does(name):
    operator, weights, attributes = IMAGES[name]
    same(one(operator, weights=weights, **attributes), drawn(5, 3, 8, 8))


@pytest.mark.parametrize("opset", [8, 11, 13, 18])
def test_operators_whose_attributes_moved_between_versions(opset):
    x = drawn(4, 3, 1)
    modern = opset >= 13
    axes = {"a": np.array([2])} if modern else {}
    given = {} if modern else {"axes": [2]}
    same(one("Squeeze", ("n", 3, 1), axes, opset, **given), x)
    same(one("Unsqueeze", ("n", 3, 1), axes, opset, **given), x)
    same(one("ReduceSum", ("n", 3, 1), axes, opset, **given), x)
    clip = {"l": np.float32(0), "h": np.float32(1)} if opset >= 11 else {}
    same(one("Clip", ("n", 3, 1), clip, opset, **({} if clip else {"min": 0.0, "max": 1.0})), x)
    same(one("LogSoftmax", ("n", 3, 4), {}, opset), drawn(4, 3, 4))
    same(one("Softmax", ("n", 6), {}, opset), drawn(4, 6))


def test_shapes_that_are_computed_in_the_graph():
    node = helper.make_node
    nodes = [
        node("Shape", ["x"], ["s"]),
        node("Gather", ["s", "zero"], ["n"], axis=0),
        node("Unsqueeze", ["n", "first"], ["m"]),
        node("Concat", ["m", "rest"], ["to"], axis=0),
        node("Reshape", ["x", "to"], ["flat"]),
        node("Gemm", ["flat", "w", "b"], ["z"], transB=1, alpha=0.5, beta=2.0),
        node("Split", ["z", "sizes"], ["u", "v"], axis=1),
        node("Sub", ["v", "u"], ["d"]),
        node("Cast", ["d"], ["c"], to=TensorProto.DOUBLE),
        node("Cast", ["c"], ["e"], to=TensorProto.FLOAT),
        node("Where", ["choose", "e", "u"], ["y"]),
    ]
    weights = {
        "zero": np.array(0), "first": np.array([0]), "rest": np.array([-1]), "w": drawn(6, 12),
        "b": drawn(6), "sizes": np.array([3, 3]), "choose": np.array([True, False, True]),
    }  # fmt: skip
    same(graph(nodes, weights, ["n", 3, 4]), drawn(7, 3, 4))


def test_a_graph_written_for_one_row_takes_many():
    nodes = [
        helper.make_node("Reshape", ["x", "to"], ["flat"]),
        helper.make_node("MatMul", ["flat", "w"], ["z"]),
        helper.make_node("Reshape", ["z", "back"], ["y"]),
    ]
    weights = {"to": np.array([1, 12]), "w": drawn(12, 4), "back": np.array([1, -1])}
    content = graph(nodes, weights, [1, 3, 4], out=(1, 4))
    x = drawn(5, 3, 4)
    expected = np.concatenate([answers(content, row[None]) for row in x])
    with torch.no_grad():
        got = OnnxModule(content)(torch.from_numpy(x)).numpy()
    np.testing.assert_allclose(got, expected, rtol=1e-5)
    model = wrap(content, sample=x)
    assert model.module(torch.from_numpy(x)).shape == (5, 4)


def test_a_graph_that_mixes_rows_when_batched_is_asked_row_by_row():
    nodes = [
        helper.make_node("MatMul", ["x", "w"], ["z"]),
        helper.make_node("ReduceMax", ["z"], ["top"], keepdims=1),  # over the rows too
        helper.make_node("Sub", ["z", "top"], ["y"]),
    ]
    bend = helper.make_node("Mul", ["z", "top"], ["y"])
    content = graph([*nodes[:2], bend], {"w": drawn(4, 3)}, [1, 4], out=(1, 3))
    x = drawn(6, 4)
    expected = np.concatenate([answers(content, row[None]) for row in x])
    model = wrap(content, sample=x)
    with torch.no_grad():
        np.testing.assert_allclose(
            model.module(torch.from_numpy(x)).numpy(), expected, rtol=1e-4, atol=1e-5
        )


def test_the_module_has_gradients_and_the_decisions_of_the_runtime():
    nodes = [
        helper.make_node("Gemm", ["x", "w", "b"], ["h"]),
        helper.make_node("Relu", ["h"], ["r"]),
        helper.make_node("MatMul", ["r", "v"], ["z"]),
        helper.make_node("Softmax", ["z"], ["y"], axis=1),
    ]
    content = graph(nodes, {"w": drawn(4, 9), "b": drawn(9), "v": drawn(9, 3)}, ["n", 4])
    x = drawn(40, 4)
    model = wrap(content, sample=x)
    batch = torch.from_numpy(x).requires_grad_()
    z = model.module(batch)
    assert np.array_equal(z.detach().numpy().argmax(axis=1), model.predict(x))
    np.testing.assert_allclose(
        torch.softmax(z, dim=1).detach().numpy(), model.probabilities(x), atol=1e-5
    )
    z[:, 0].sum().backward()
    steps = 1e-3 * drawn(40, 4)
    with torch.no_grad():
        moved = model.module(torch.from_numpy(x + steps))[:, 0] - z[:, 0]
    foretold = (batch.grad.numpy() * steps).sum(axis=1)
    assert np.corrcoef(moved.numpy(), foretold)[0, 1] > 0.99
    assert model.parameters == 4 * 9 + 9 + 9 * 3


def test_named_classes_in_another_order_and_one_number_a_row():
    w, x = drawn(4, 3), drawn(30, 4)
    nodes = [
        helper.make_node(
            "LinearClassifier", ["x"], ["label", "p"], domain="ai.onnx.ml",
            coefficients=w.T.ravel().tolist(), intercepts=[0.1, 0.0, -0.2],
            classlabels_strings=["a", "b", "c"], post_transform="SOFTMAX",
        ),
        helper.make_node("ZipMap", ["p"], ["z"], domain="ai.onnx.ml",
                         classlabels_strings=["a", "b", "c"]),
    ]  # fmt: skip
    kind = helper.make_sequence_type_proto(
        helper.make_map_type_proto(
            TensorProto.STRING, helper.make_tensor_type_proto(TensorProto.FLOAT, [])
        )
    )
    made = helper.make_graph(
        nodes, "g", [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 4])],
        [helper.make_tensor_value_info("label", TensorProto.STRING, ["n"]),
         helper.make_value_info("z", kind)],
    )  # fmt: skip
    sets = [helper.make_opsetid("", 17), helper.make_opsetid("ai.onnx.ml", 3)]
    content = helper.make_model(made, opset_imports=sets, ir_version=8).SerializeToString()
    model = wrap(content, classes=["c", "a", "b"], sample=x)
    z = model.module(torch.from_numpy(x)).numpy()
    assert np.array_equal(z.argmax(axis=1), model.predict(x))
    assert len(set(model.predict(x))) == 3
    squash = [helper.make_node("MatMul", ["x", "w"], ["z"]),
              helper.make_node("Sigmoid", ["z"], ["y"])]  # fmt: skip
    binary = wrap(graph(squash, {"w": w[:, :1]}, ["n", 4]), classes=["no", "yes"], sample=x)
    z = binary.module(torch.from_numpy(x)).numpy()
    assert np.array_equal(z.argmax(axis=1), binary.predict(x))
    np.testing.assert_allclose(z[:, 1] - z[:, 0], (x @ w[:, :1])[:, 0], rtol=1e-3, atol=1e-4)


def test_unknown_operators_and_several_inputs_are_told():
    content = one("Hardmax", ("n", 3))
    with pytest.raises(NotApplicable, match=r"its operator Hardmax .* is not one"):
        OnnxModule(content)
    model = wrap(content, sample=drawn(9, 3))
    assert model.module is None
    assert "no gradients: its operator Hardmax" in model.description
    inputs = [helper.make_tensor_value_info(n, TensorProto.FLOAT, ["n", 2]) for n in "ab"]
    two = graph([helper.make_node("Add", ["a", "b"], ["y"])], {}, None, inputs=inputs)
    with pytest.raises(NotApplicable, match=r"takes 2 inputs \(a, b\)"):
        OnnxModule(two)


def test_a_graph_that_is_converted_wrongly_is_never_used(monkeypatch):
    from crenel.adapters import onnx_operators

    content = one("Relu", ("n", 3), out=("n", 3))
    x = drawn(20, 3)
    assert wrap(content, sample=x).module is not None
    monkeypatch.setitem(onnx_operators.OPERATORS, "Relu", lambda a, _at, _v: torch.abs(a[0]))
    model = wrap(content, sample=x)
    assert model.module is None
    assert "does not answer as ONNX Runtime does" in model.description


@pytest.mark.skipif(not NETS.is_dir(), reason="the VNN-COMP networks are not here")
def test_the_networks_of_the_verification_competition():
    paths = sorted(NETS.rglob("*.onnx"))
    assert len(paths) == 50
    for path in paths:
        module = OnnxModule(path)
        x = np.random.default_rng(0).random((3, *module.shape[1:]), dtype=np.float32)
        options = runtime.SessionOptions()
        options.log_severity_level = 3
        session = runtime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
        expected = [session.run(None, {module.source: row[None]})[0] for row in x]
        with torch.no_grad():
            got = module(torch.from_numpy(x)).numpy()
        scale = np.abs(expected).max()
        assert np.abs(got - np.concatenate(expected)).max() <= 1e-5 * scale, path.name

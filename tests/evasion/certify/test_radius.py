"""Certified radii: exact for linear models, never contradicted by an attack."""

from __future__ import annotations

import itertools
import time

import numpy as np
import pytest

torch = pytest.importorskip("torch")
from tests.evasion.certify.nets import ZOO, mlp  # noqa: E402
from torch import nn  # noqa: E402

from crenel.adapters import wrap  # noqa: E402
from crenel.errors import NotApplicable, UsageError  # noqa: E402
from crenel.evasion import gradient_attack  # noqa: E402
from crenel.evasion.certify import certified, certified_radius, graph_of  # noqa: E402
from crenel.evasion.certify.limit import CALL  # noqa: E402


def trained(seed=0, d=6, k=3, width=16):
    """A small network that learned blobs, and rows with labels."""
    rng = np.random.default_rng(seed)
    centers = rng.random((k, d))
    y = rng.integers(k, size=300)
    x = np.clip(centers[y] + 0.15 * rng.normal(size=(300, d)), 0, 1).astype(np.float32)
    net = mlp(nn.ReLU, (d, width, width, k), seed)
    adam = torch.optim.Adam(net.parameters(), lr=0.02)
    for _ in range(60):
        adam.zero_grad()
        nn.functional.cross_entropy(net(torch.from_numpy(x)), torch.from_numpy(y)).backward()
        adam.step()
    return net.eval(), x[:60], y[:60]


@pytest.mark.parametrize(("norm", "dual"), [(np.inf, 1), (2, 2), (1, np.inf)])
def test_the_radius_of_a_linear_model_is_its_margin_over_the_dual_norm(norm, dual):
    rng = np.random.default_rng(0)
    net = nn.Sequential(nn.Linear(5, 2)).eval()
    x = rng.random((20, 5), dtype=np.float32)
    w = net[0].weight.detach().double().numpy()
    z = x.astype(float) @ w.T + net[0].bias.detach().double().numpy()
    y = z.argmax(axis=1)
    exact = np.abs(z[:, 0] - z[:, 1]) / np.linalg.norm(w[0] - w[1], ord=dual)
    levels = np.linspace(0.001, 2 * exact.max(), 400)
    got = certified_radius(
        net, x, y, norm=norm, epsilons=levels, bounds=(-1e3, 1e3), effort="linear"
    )
    assert (got < exact).all()
    assert (got > exact - 1.1 * (levels[1] - levels[0])).all()
    assert (certified_radius(net, x, 1 - y, norm=norm, epsilons=levels) == 0).all()


@pytest.mark.parametrize("norm", [np.inf, 2])
def test_no_attack_breaks_what_is_certified_and_effort_pays(norm):
    net, x, y = trained(width=8)
    x, y = x[2:10], y[2:10]
    levels = np.linspace(0.02, 0.3, 29) * (1 if norm == np.inf else 2)
    attack = gradient_attack(net, x, y, norm=norm, epsilons=levels)
    found = [
        certified_radius(net, x, y, norm=norm, epsilons=levels, effort=effort)
        for effort in ("interval", "linear", "slopes", "branch")
    ]
    for got in found:
        assert (got < attack.smallest).all()
        assert (got[~attack.correct] == 0).all()
    for less, more in itertools.pairwise(found):
        assert (more >= less).all()
    assert found[1].sum() > found[0].sum()
    if norm == 2:  # with the box, slopes alone are exact here
        assert found[3].sum() > found[2].sum()
    gap = attack.smallest - found[3]
    assert np.median(gap[attack.correct]) <= 3 * (levels[1] - levels[0])


@pytest.mark.parametrize("name", ZOO)
def test_random_legal_points_never_contradict_a_certificate(name):
    make, shape = ZOO[name]
    net = make()
    rng = np.random.default_rng(2)
    x = rng.random((8, *shape), dtype=np.float32)
    with torch.no_grad():
        y = net(torch.from_numpy(x)).argmax(dim=1).numpy()
    levels = [0.005, 0.02, 0.05, 0.1, 0.3]
    got = certified_radius(net, x, y, epsilons=levels)
    assert (got > 0).any()
    for i in range(len(x)):
        steps = rng.uniform(-1, 1, (500, *shape)) * got[i]
        near = np.clip(x[i] + np.where(rng.random((500, *[1] * len(shape))) < 0.5,
                                       np.sign(steps) * got[i], steps), 0, 1)  # fmt: skip
        with torch.no_grad():
            assert (net(torch.from_numpy(near.astype(np.float32))).argmax(dim=1) == y[i]).all()


def test_radii_that_are_broken_already_are_not_tried_and_time_is_kept():
    net, x, y = trained()
    levels = [0.02, 0.05, 0.08]
    free = certified_radius(net, x, y, epsilons=levels)
    assert (free > 0.03).any()
    got = certified_radius(net, x, y, epsilons=levels, upper=np.full(len(x), 0.05))
    assert np.array_equal(got, np.minimum(free, 0.02))
    late = certified_radius(net, x, y, epsilons=levels, deadline=time.monotonic() - 1)
    assert (late == 0).all()
    assert np.array_equal(certified(net, x, y, 0.05, effort="slopes"), free >= 0.05)


def test_an_amount_of_work_is_a_limit_that_counts_alike_each_time():
    net, x, y = trained(width=8)
    levels = np.linspace(0.02, 0.3, 29)
    found = [
        certified_radius(net, x, y, epsilons=levels, effort="branch", work=work)
        for work in (0, 5e7, 5e7, None)
    ]
    assert (found[0] == 0).all()
    assert np.array_equal(found[1], found[2])
    assert (found[1] <= found[3]).all()
    assert 0 < found[1].sum() < found[3].sum()


def test_work_is_counted_by_the_multiplications_of_layers():
    convolution = nn.Conv2d(2, 3, (3, 2), stride=2, padding=1, bias=False)
    x = torch.zeros(5, 2, 7, 8)
    kept = convolution(x)[0].numel()
    net = nn.Sequential(convolution, nn.Flatten(), nn.Linear(kept, 4)).eval()
    graph = graph_of(net, x[:1])
    before = graph.meter.work
    graph.forward(x)
    one = x[0].numel() + kept * 2 * 3 * 2 + kept + kept * 4
    assert graph.meter.work - before == 5 * one + 4 * CALL


def test_models_of_one_logit_wrapped_models_and_legal_ranges():
    net, x, y = trained(d=4, k=2)
    with torch.no_grad():
        z = net(torch.from_numpy(x))
    one = nn.Sequential(*net, nn.Linear(2, 1)).eval()
    with torch.no_grad():
        one[-1].weight.copy_(torch.tensor([[-1.0, 1.0]]))
        one[-1].bias.zero_()
    y = z.argmax(dim=1).numpy()
    levels = [0.01, 0.03, 0.06, 0.1]
    own = certified_radius(net, x, y, epsilons=levels)
    assert own.max() > 0
    assert np.array_equal(certified_radius(wrap(one, sample=x), x, y, epsilons=levels), own)
    squashed = wrap(nn.Sequential(*one, nn.Sigmoid()), sample=x)
    assert np.array_equal(certified_radius(squashed, x, y, epsilons=levels), own)
    narrow = (x.min(axis=0), x.max(axis=0))
    assert (certified_radius(net, x, y, epsilons=levels, bounds=narrow) >= own).all()
    still = (x[:1] - 1e-6, x[:1] + 1e-6)
    assert certified_radius(net, x[:1], y[:1], epsilons=[5.0], bounds=still) == 5.0
    net.train()
    certified_radius(net, x[:2], y[:2], epsilons=levels)
    assert net.training


def test_converted_onnx_networks_are_certified_alike(tmp_path):
    onnx = pytest.importorskip("onnx")
    pytest.importorskip("onnxruntime")
    from onnx import TensorProto, helper, numpy_helper

    net, x, y = trained()
    weights, nodes, last = {}, [], "x"
    for i, layer in enumerate(m for m in net if isinstance(m, nn.Linear)):
        weights[f"w{i}"] = layer.weight.detach().numpy()
        weights[f"b{i}"] = layer.bias.detach().numpy()
        nodes.append(helper.make_node("Gemm", [last, f"w{i}", f"b{i}"], [f"z{i}"], transB=1))
        last = f"z{i}"
        if i < 2:
            nodes.append(helper.make_node("Relu", [last], [f"r{i}"]))
            last = f"r{i}"
    made = helper.make_graph(
        nodes, "g", [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 6])],
        [helper.make_tensor_value_info(last, TensorProto.FLOAT, ["n", 3])],
        [numpy_helper.from_array(v, k) for k, v in weights.items()],
    )  # fmt: skip
    path = tmp_path / "net.onnx"
    sets = [helper.make_opsetid("", 17)]
    onnx.save(helper.make_model(made, opset_imports=sets, ir_version=8), path)
    levels = [0.02, 0.05, 0.08]
    expected = certified_radius(net, x, y, epsilons=levels)
    assert np.array_equal(certified_radius(wrap(path, sample=x), x, y, epsilons=levels), expected)


def test_wrong_arguments_are_told():
    net, x, y = trained()
    with pytest.raises(UsageError, match="norm must be inf, 2 or 1"):
        certified_radius(net, x, y, norm=3, epsilons=[0.1])
    with pytest.raises(UsageError, match="epsilons must be finite"):
        certified_radius(net, x, y, epsilons=[-0.1])
    with pytest.raises(UsageError, match="effort must be one of"):
        certified_radius(net, x, y, epsilons=[0.1], effort="much")
    with pytest.raises(NotApplicable, match="Softsign"):
        certified_radius(nn.Sequential(net, nn.Softsign()), x, y, epsilons=[0.1])

"""Bounds hold on every sampled point, and proofs agree with exact answers on tiny networks."""

from __future__ import annotations

import numpy as np
import pytest

torch = pytest.importorskip("torch")
from hypothesis import given, settings  # noqa: E402
from hypothesis import strategies as st  # noqa: E402
from tests.evasion.certify.nets import ZOO, exact_least, mlp, weights_of, within  # noqa: E402
from torch import nn  # noqa: E402

from crenel.errors import NotApplicable  # noqa: E402
from crenel.evasion.certify.branching import Branching  # noqa: E402
from crenel.evasion.certify.candidates import descended, weakest_points  # noqa: E402
from crenel.evasion.certify.interval import intervals  # noqa: E402
from crenel.evasion.certify.ladder import branched  # noqa: E402
from crenel.evasion.certify.linear import Freedom, lower_bounds  # noqa: E402
from crenel.evasion.certify.question import Question  # noqa: E402
from crenel.evasion.certify.refining import refined  # noqa: E402
from crenel.evasion.certify.region import Region  # noqa: E402
from crenel.evasion.certify.slopes import raised, raised_throughout  # noqa: E402
from crenel.evasion.certify.splitting import split_inputs  # noqa: E402
from crenel.evasion.certify.tracing import graph_of  # noqa: E402

NORMS = [np.inf, 2, 1]


def rows_of(shape, n=3, seed=1):
    return torch.from_numpy(np.random.default_rng(seed).random((n, *shape), dtype=np.float32))


@pytest.mark.parametrize("name", ZOO)
def test_a_graph_answers_as_its_module(name):
    make, shape = ZOO[name]
    net, x = make(), rows_of(shape, 20)
    with torch.no_grad():
        own = net(x)
    got = graph_of(net, x).forward(x)
    if name == "convolutions":  # ends in softmax, which the graph leaves out
        got = torch.softmax(got, dim=1)
    assert torch.allclose(got.float(), own, atol=1e-5)


@pytest.mark.parametrize("way", ["script", "trace"])
def test_a_network_in_torchscript_has_the_same_graph(way):
    convolved = nn.Sequential(
        nn.Conv2d(1, 4, 3), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(36, 3)
    ).eval()
    x = rows_of((1, 8, 8), 20)
    script = torch.jit.script(convolved) if way == "script" else torch.jit.trace(convolved, x)
    assert torch.equal(graph_of(script, x).forward(x), graph_of(convolved, x).forward(x))
    curious = nn.Sequential(nn.Linear(4, 4), nn.LogSigmoid(), nn.Linear(4, 2)).eval()
    x = rows_of((4,))
    script = torch.jit.script(curious) if way == "script" else torch.jit.trace(curious, x)
    for module in (curious, script):
        with pytest.raises(NotApplicable, match="log_sigmoid_forward"):
            graph_of(module, x)


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("name", ZOO)
def test_every_sampled_value_of_every_layer_is_within_its_bounds(name, norm):
    make, shape = ZOO[name]
    net, x = make(), rows_of(shape)
    graph = graph_of(net, x, torch.float64)
    rng = np.random.default_rng(0)
    radius = {np.inf: 0.15, 2: 0.4, 1: 0.8}[norm]
    region = Region.ball(x, radius, norm, (0.0, 1.0), torch.float64)
    quick = intervals(graph, region)
    fine, opened = refined(graph, region, quick)
    for i in range(len(x)):
        points = within(x[i].numpy(), radius, norm, 0, 1, 400, rng)
        for node, values in enumerate(graph.values(torch.from_numpy(points))):
            for low, high in (quick[node], fine[node]):
                assert (values >= low[i] - 1e-12).all(), (name, graph.nodes[node].name)
                assert (values <= high[i] + 1e-12).all(), (name, graph.nodes[node].name)
    if opened and name not in ("sigmoid", "tanh"):  # else intervals may be as good
        width = [float((h - low).sum()) for low, h in (quick[-1], fine[-1])]
        assert width[1] <= width[0]


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("name", ZOO)
def test_bounds_of_margins_are_below_every_sample_and_rise_with_effort(name, norm):
    make, shape = ZOO[name]
    net, x = make(), rows_of(shape)
    graph = graph_of(net, x, torch.float64)
    radius = {np.inf: 0.3, 2: 0.6, 1: 1.2}[norm]
    region = Region.ball(x, radius, norm, (0.0, 1.0), torch.float64)
    y = graph.forward(x).argmax(dim=1)
    question = Question.decided(y, 3, torch.float64)
    with torch.no_grad():
        bounds, opened = refined(graph, region)
        first = question.by_interval(intervals(graph, region))
        lines = question.bound(graph, bounds, region)
    better, _ = raised(graph, question, bounds, region, steps=15)
    best, _, _ = raised_throughout(graph, question, bounds, opened, region, steps=15)
    rng = np.random.default_rng(0)
    for i in range(len(x)):
        points = torch.from_numpy(within(x[i].numpy(), radius, norm, 0, 1, 1000, rng))
        least = (graph.forward(points) @ question.rows[i].T).amin(dim=0)
        for bound in (first, lines, better, best):
            assert (bound[i] <= least + 1e-12).all()
    assert (better >= lines - 1e-9).all()
    assert (best >= lines - 1e-9).all()
    if name == "relu":
        assert float(lines.sum()) > float(first.sum())
        assert float(better.sum()) > float(lines.sum())


def test_a_linear_function_is_bounded_exactly_in_every_norm():
    net = nn.Sequential(nn.Linear(5, 2))
    x = rows_of((5,), 4)
    graph = graph_of(net, x)
    w, b = weights_of(net)[0]
    for norm, dual in ((np.inf, 1), (2, 2), (1, np.inf)):
        region = Region.ball(x, 0.1, norm, (-10.0, 10.0), torch.float64)
        rows = torch.eye(2, dtype=torch.float64).expand(4, 2, 2)
        value, _ = lower_bounds(graph, 1, rows, [], region)
        expected = x.double().numpy() @ w.T + b - 0.1 * np.linalg.norm(w, ord=dual, axis=1)
        np.testing.assert_allclose(value.numpy(), expected, atol=1e-6)


def test_a_ball_cut_by_a_box_is_bounded_below_all_its_points_and_above_the_ball_alone():
    rng = np.random.default_rng(0)
    x = torch.tensor([[0.0, 0.02, 0.5, 1.0]])
    a = torch.from_numpy(rng.normal(size=(1, 50, 4)))
    region = Region.ball(x, 0.3, 2, (0.0, 1.0), torch.float64)
    value, _ = region.least(a)
    points = within(x[0].numpy(), 0.3, 2, 0, 1, 20000, rng)
    inside = points[np.linalg.norm(points - x.numpy(), axis=1) <= 0.3]
    least = (inside @ a[0].numpy().T).min(axis=0)
    assert (value[0].numpy() <= least + 1e-9).all()
    ball = (a[0].numpy() @ x[0].numpy()) - 0.3 * np.linalg.norm(a[0].numpy(), axis=1)
    assert (value[0].numpy() >= ball - 1e-5).all()
    assert (value[0].numpy() > ball + 1e-3).mean() > 0.5


@settings(max_examples=12, deadline=None, derandomize=True)
@given(st.integers(0, 10**6), st.sampled_from([(2, 3, 2), (2, 2, 2, 2), (3, 4, 2)]))
def test_proofs_and_counterexamples_agree_with_the_exact_answer(seed, sizes):
    net = mlp(nn.ReLU, sizes, seed)
    rng = np.random.default_rng(seed)
    x = torch.from_numpy(rng.random((1, sizes[0]), dtype=np.float32))
    graph = graph_of(net, x)
    y = graph.forward(x).argmax(dim=1)
    radius = float(rng.uniform(0.05, 0.6))
    region = Region.ball(x, radius, np.inf, (-5.0, 5.0), torch.float64)
    question = Question.decided(y, 2, torch.float64)
    c = question.rows[0, 0].numpy()
    low, high = region.low[0].numpy(), region.high[0].numpy()
    exact = exact_least(weights_of(net), c, low, high)
    bounds, opened = refined(graph, region)
    best, inside, freedom = raised_throughout(graph, question, bounds, opened, region, steps=10)
    assert float(best[0, 0]) <= exact + 1e-9
    if abs(exact) < 1e-4:
        return  # too near for either answer
    split = split_inputs(graph, question, region, most=20000)
    assert split.proven == (exact > 0)
    if split.witness is not None:
        assert float(graph.forward(split.witness[None])[0] @ question.rows[0, 0]) <= 0
        assert (split.witness >= region.low[0]).all()
        assert (split.witness <= region.high[0]).all()
    if freedom.slopes:
        search = Branching(graph, question, inside, region, freedom)
        proven = search.prove(None, most=200)
        assert not (proven and exact <= 0)
        assert proven or exact < 0.02
        assert search.witness is not None or exact > -0.02
        if search.witness is not None:
            assert float(graph.forward(search.witness[None])[0] @ question.rows[0, 0]) <= 0
            assert (search.witness >= region.low[0]).all()
            assert (search.witness <= region.high[0]).all()
    assert branched(graph, region, question, None)[0] == (exact > 0)


def test_points_where_bounds_are_least_are_in_the_box_and_near_its_least_value():
    net, x = mlp(nn.ReLU), rows_of((4,), 6)
    graph = graph_of(net, x)
    region = Region.ball(x, 0.3, np.inf, (0.0, 1.0), torch.float64)
    question = Question.decided(graph.forward(x).argmax(dim=1), 3, torch.float64)
    points = weakest_points(graph, region, question)
    assert (points >= region.low[:, None]).all()
    assert (points <= region.high[:, None]).all()
    chance = torch.rand(5000, 4, generator=torch.Generator().manual_seed(0)).double()
    for i in range(6):
        one, box = question.of(slice(i, i + 1)).each(0), region.rows(slice(i, i + 1))
        best, value = descended(graph, one, box, points[i, :1], 20)
        assert float(graph.forward(best)[0] @ one.rows[0, 0]) == pytest.approx(float(value[0]))
        sampled = graph.forward(box.low + chance * (box.high - box.low)) @ one.rows[0, 0]
        assert float(value[0]) <= max(float(sampled.min()) + 0.02, 0.0)


def test_a_small_pocket_of_counterexamples_is_met_by_cutting():
    # the distance from one point less 0.01, and twice that: both below zero only beside it
    pocket = torch.tensor([0.31, -0.62, 0.17])
    net = nn.Sequential(nn.Linear(3, 6), nn.ReLU(), nn.Linear(6, 2))
    with torch.no_grad():
        net[0].weight.copy_(torch.cat([torch.eye(3), -torch.eye(3)]))
        net[0].bias.copy_(torch.cat([-pocket, pocket]))
        net[2].weight.copy_(torch.ones(2, 6) * torch.tensor([[1.0], [2.0]]))
        net[2].bias.copy_(torch.tensor([-0.01, -0.02]))
    graph = graph_of(net, torch.zeros(2, 3))
    rows = torch.eye(2, dtype=torch.float64)[None]
    question = Question(rows, torch.zeros(1, 2, dtype=torch.float64), (0, 0))
    region = Region(-torch.ones(1, 3).double(), torch.ones(1, 3).double())
    got = split_inputs(graph, question, region, most=5000)
    assert not got.proven
    assert float((got.witness - pocket.double()).abs().sum()) <= 0.01
    above = Question(rows, torch.full((1, 2), -0.021, dtype=torch.float64), (0, 0))
    assert split_inputs(graph, above, region, most=50_000).proven


def test_groups_need_one_function_above_zero_at_each_point():
    # |x| is above 0.5, or x is: never both below at once on [0.6, 1]; on [-1, 1] both may be
    net = nn.Sequential(nn.Linear(1, 2))
    with torch.no_grad():
        net[0].weight.copy_(torch.tensor([[1.0], [-1.0]]))
        net[0].bias.zero_()
    graph = graph_of(net, torch.zeros(2, 1))
    rows = torch.eye(2, dtype=torch.float64)[None]

    def proven(threshold, groups):
        thresholds = torch.full((1, 2), threshold, dtype=torch.float64)
        region = Region(torch.tensor([[-1.0]]).double(), torch.tensor([[1.0]]).double())
        return split_inputs(graph, Question(rows, thresholds, groups), region, most=4000)

    assert proven(-0.1, (0, 0)).proven  # x > -0.1 or -x > -0.1
    assert not proven(-0.1, (0, 1)).proven  # both at once: not at x = 1
    wrong = proven(0.1, (0, 0))
    assert not wrong.proven
    assert abs(float(wrong.witness)) <= 0.1


def test_what_is_not_understood_is_refused_by_name():
    x = rows_of((4,))
    net = nn.Sequential(nn.Linear(4, 4), nn.GELU(), nn.Linear(4, 2))
    with pytest.raises(NotApplicable, match=r"through gelu of layer 1 \(GELU\)"):
        graph_of(net, x)

    class Noisy(nn.Module):
        def forward(self, x):
            return x[:, :2] + torch.randn(len(x), 2)

    class Attentive(nn.Module):
        def forward(self, x):
            return (x * torch.softmax(x, dim=1))[:, :2]

    class Cast(nn.Module):
        def forward(self, x):
            return (10 * x).to(torch.int32).float()[:, :2]

    class Mixed(nn.Module):
        def forward(self, x):
            return (x - x.mean(dim=0))[:, :2]

    class Branchy(nn.Module):
        def forward(self, x):
            return x[:, :2] if float(x.sum()) > 0 else x[:, 2:]

    class Stepped(nn.Module):
        def forward(self, x):
            return torch.round(4 * x)[:, :2]

    for kind in (Noisy, Attentive, Cast, Mixed, Branchy, Stepped):
        with pytest.raises(NotApplicable, match="no certificate"):
            graph_of(kind(), x)


def test_free_choices_are_sound_whatever_they_are():
    net, x = mlp(nn.ReLU), rows_of((4,))
    graph = graph_of(net, x)
    region = Region.ball(x, 0.2, np.inf, (0.0, 1.0), torch.float64)
    question = Question.decided(graph.forward(x).argmax(dim=1), 3, torch.float64)
    bounds, _ = refined(graph, region)
    draw = torch.Generator().manual_seed(0)
    points = torch.rand(2000, 4, generator=draw).double()
    for _ in range(20):
        slopes = {
            k: torch.rand(3, 2, *graph.nodes[k].shape, generator=draw).double()
            for k in graph.steps()
        }
        value = question.bound(graph, bounds, region, Freedom(slopes))
        for i in range(3):
            inside = region.low[i] + points * (region.high[i] - region.low[i])
            least = (graph.forward(inside) @ question.rows[i].T).amin(dim=0)
            assert (value[i] <= least).all()

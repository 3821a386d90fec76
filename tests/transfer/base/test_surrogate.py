"""Surrogate attacks: closed forms on linear bases, and the order of exposures on digits."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from crenel.check import Context  # noqa: E402
from crenel.errors import NotApplicable  # noqa: E402
from crenel.subject import Data  # noqa: E402
from crenel.testing import check_check  # noqa: E402
from crenel.transfer.base.depths import layers_of, spread  # noqa: E402
from crenel.transfer.base.exposed import public_rows, space_of, spared  # noqa: E402
from crenel.transfer.base.surrogate import METHODS, Ranged, craft, network_of, noise  # noqa: E402
from crenel.transfer.checks import surrogate  # noqa: E402
from crenel.transfer.controls import frozen_extractor  # noqa: E402


def linear(weights):
    layer = torch.nn.Linear(weights.shape[1], weights.shape[0], bias=False)
    layer.weight.data = torch.tensor(weights, dtype=torch.float32)
    return layer


def rows(n=6, d=4, seed=0):
    return (0.4 + 0.2 * np.random.default_rng(seed).random((n, d))).astype(np.float32)


def test_decision_on_a_linear_base_goes_to_the_corner_of_the_ball():
    w = np.array([[1.0, -2.0, 0.5, 0.0], [0.0, 0.0, 0.0, 0.0]])
    u = rows()
    own = (u @ w.T).argmax(axis=1)
    changed = craft(linear(w), u, 0.1, "decision")
    sign = np.sign(w[0]) * np.where(own == 0, -1, 1)[:, None]
    np.testing.assert_allclose(changed[:, :3], (u + 0.1 * sign)[:, :3], atol=1e-6)


def test_displacement_reaches_the_farthest_corner_of_a_single_feature():
    body = linear(np.array([[1.0, -1.0, 2.0, 0.5]]))
    module = torch.nn.Sequential(body, torch.nn.Linear(1, 2))
    u = rows()
    changed = craft(module, u, 0.1, "displacement")
    w = body.weight.detach().numpy()[0]
    np.testing.assert_allclose(np.abs((changed - u) @ w), 0.1 * np.abs(w).sum(), rtol=1e-4)


def test_mimicry_comes_nearer_to_a_guide_that_the_base_decides_otherwise():
    # Features are the row itself; the guide is within reach, so that it is met exactly.
    head = linear(np.array([[1.0, -1.0], [-1.0, 1.0]]))
    module = torch.nn.Sequential(linear(np.eye(2)), head)
    u = np.array([[0.55, 0.45]], dtype=np.float32)
    guides = np.array([[0.45, 0.55], [0.56, 0.44], [0.0, 1.0]], dtype=np.float32)
    changed = craft(module, u, 0.2, "mimicry", guides=guides, steps=60)
    np.testing.assert_allclose(changed, guides[:1], atol=0.02)


@pytest.mark.parametrize("method", METHODS)
def test_changes_stay_in_the_ball_and_the_range_and_repeat(method):
    torch.manual_seed(0)
    module = torch.nn.Sequential(torch.nn.Linear(4, 8), torch.nn.ReLU(), torch.nn.Linear(8, 3))
    u = np.random.default_rng(1).random((20, 4)).astype(np.float32)
    state = torch.random.get_rng_state()
    first, again = (craft(module, u, 0.05, method, guides=u[::-1].copy(), seed=4) for _ in "ab")
    np.testing.assert_array_equal(first, again)
    assert np.abs(first - u).max() <= 0.05 + 1e-6
    assert first.min() >= 0
    assert first.max() <= 1
    assert torch.equal(state, torch.random.get_rng_state())


def test_noise_moves_every_value_by_epsilon():
    u = np.full((5, 3), 0.5, dtype=np.float32)
    np.testing.assert_allclose(np.abs(noise(u, 0.1, 0) - u), 0.1, rtol=1e-5)


def test_features_are_what_enters_the_last_linear_layer_that_runs():
    class Backwards(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.head, self.body = torch.nn.Linear(5, 2), torch.nn.Linear(3, 5)

        def forward(self, x):
            return self.head(torch.relu(self.body(x)))

    module, x = Backwards(), torch.rand(4, 3)
    got = network_of(module, x).features(x)
    assert torch.equal(got, torch.relu(module.body(x)))
    with pytest.raises(NotApplicable, match="does not take"):
        network_of(module, torch.rand(4, 7))


def deep():
    """The tuned model reads the first layer of the base only; the second reads other values."""
    first, second = torch.nn.Linear(4, 4, bias=False), torch.nn.Linear(4, 2, bias=False)
    with torch.no_grad():
        first.weight.copy_(torch.eye(4))
        second.weight.copy_(torch.tensor([[0.0, 0, 1, -1], [0, 0, -1, 1]]))
    return torch.nn.Sequential(first, second, torch.nn.Linear(2, 2))


def test_layers_run_in_order_without_the_last_and_are_spread_over_the_depth():
    module = deep()
    names = layers_of(module, torch.rand(1, 4))
    assert names == ["0", "1"]
    assert spread(names) == [("0", 0.0), ("1", 0.5)]
    many = [name for name, _ in spread([str(i) for i in range(31)])]
    assert many == ["0", "10", "20", "30"]


def test_a_named_layer_moves_what_that_layer_reads():
    module, u = deep(), rows(d=4)
    early = craft(module, u, 0.1, "displacement", layer="0")
    late = craft(module, u, 0.1, "displacement")
    # The identity reads all values: each goes to an edge. The second layer reads the last two.
    np.testing.assert_allclose(np.abs(early - u), 0.1, atol=1e-6)
    away = (late - u)[:, 2] - (late - u)[:, 3]
    np.testing.assert_allclose(np.abs(away), 0.2, atol=1e-6)
    assert np.abs((late - u)[:, :2]).max() < 0.1 - 1e-3


def test_depths_and_unchanged_layers_are_told():
    from crenel.transfer.controls import frozen_extractor

    got = surrogate.measure(frozen_extractor(), Context(check="TRA-102"))
    values = got.findings[0].evidence.values
    names = [line[0] for line in values["depths"]]
    assert names == ["1", "what enters the last layer"]
    assert values["depths"][0][3] == "identical"
    assert max(line[2] for line in values["depths"]) > 0.4
    assert any(n.startswith("1 of 1 layers") for n in got.notes), got.notes


def test_range_of_images_is_known_and_undone():
    unit = np.random.default_rng(0).random((9, 1, 4, 4))
    for x, high in ((unit, 1.0), (np.arange(256.0).reshape(16, 16), 255.0)):
        space = space_of(Data(x.astype(np.float32), np.zeros(len(x)), np.arange(len(x))))
        assert (float(space.low), float(space.high)) == (0.0, high)
        np.testing.assert_allclose(space.back(space.into(x)), x, rtol=1e-5)
        module = Ranged(torch.nn.Identity(), space.low, space.high)
        u = torch.from_numpy(space.into(x))
        np.testing.assert_allclose(module(u).numpy(), x, rtol=1e-5)


def test_check_keeps_the_contract_and_is_healthy_on_both_controls():
    report = check_check(surrogate)
    for result in (report.weak, report.sound):
        assert all(e.health.ok for e in result.exposures), result.exposures[0].health
        asked = {e.series: e for e in result.exposures if e.budget.name == "requests"}
        assert set(asked) == {"base and requests", "noise and requests"}
        for e in asked.values():
            assert list(e.harm.values) == sorted(e.harm.values)
            assert e.queries <= e.n * e.budget.values[-1]


def test_frozen_extractor_is_more_exposed_than_training_from_scratch():
    from crenel.demo.digits import images, network, train

    x, y = images()
    order = np.random.default_rng(0).permutation(len(y))
    public, own, test = order[:700], order[700:1200], order[1200:1350]

    def fresh(seed):
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            return network()

    base, frozen, scratch = fresh(0), fresh(5), fresh(9)
    train(base, x[public], y[public], 0, epochs=8)
    body = {k: v for k, v in base.state_dict().items() if not k.startswith("8.")}
    frozen.load_state_dict(body, strict=False)
    train(frozen, x[own], y[own], 1, epochs=8, rate=5e-3, freeze=8)
    train(scratch, x[own], y[own], 1, epochs=8)
    right = np.ones(len(test), dtype=bool)
    for tuned in (frozen, scratch):
        right &= decide(tuned, x[test]) == y[test]
    u, labels = x[test][right], y[test][right]
    assert len(u) > 80
    epsilon = 48 / 255
    noisy = (decide(frozen, noise(u, epsilon, 0)) != labels).mean()
    for method in METHODS:
        changed = craft(base, u, epsilon, method, guides=x[public][:256])
        on_frozen, on_scratch = ((decide(m, changed) != labels).mean() for m in (frozen, scratch))
        assert on_frozen > on_scratch + 0.1, method
        assert on_frozen > noisy + 0.2, method


def decide(module, x):
    with torch.no_grad():
        return module(torch.from_numpy(x)).argmax(dim=1).numpy()


@pytest.mark.parametrize(("n", "right"), [(400, 128), (140, 128), (60, 60), (60, 45), (40, 40)])
def test_without_public_data_the_attackers_rows_are_not_those_under_attack(n, right):
    test = Data(np.arange(n, dtype=np.float32)[:, None], np.zeros(n, dtype=np.int64), np.arange(n))
    chosen = np.random.default_rng(0).permutation(n)[:right]
    attacked = spared(None, test, chosen)
    public, note = public_rows(None, test, attacked)
    assert min(len(attacked), len(public)) >= 20
    assert not set(attacked) & set(public[:, 0].astype(int))
    assert "further test rows" in note
    assert len(attacked) == right if n - right >= 20 else len(attacked) <= right - right // 3
    assert len(spared(test, test, chosen)) == right


def test_too_few_rows_for_both_are_told():
    subject = frozen_extractor()
    few = replace(subject, test=subject.test.take(np.arange(30)))
    got = surrogate.measure(replace(few, base=replace(few.base, data=None)), Context("TRA-102"))
    assert got.exposures[0].n == 20
    assert "those under attack among them" in got.notes[0]


def test_bases_without_gradients_and_tables_with_categories_are_not_applicable():
    from dataclasses import replace

    from crenel.transfer.controls import frozen_extractor

    subject = frozen_extractor()
    blind = replace(subject.base, model=subject.base.model.with_decisions_only())
    with pytest.raises(NotApplicable, match="no gradients"):
        surrogate.measure(replace(subject, base=blind), Context(check="TRA-102"))
    import pandas as pd

    with pytest.raises(NotApplicable, match="continuous"):
        space_of(Data(pd.DataFrame({"a": ["u", "v"]}), np.zeros(2), np.arange(2)))

"""Adversarial training lowers the curve, watches for collapse, and refuses what is not worth it."""

import io

import joblib
import numpy as np
import pytest

torch = pytest.importorskip("torch")

from crenel.adapters import wrap  # noqa: E402
from crenel.check import Context  # noqa: E402
from crenel.demo import digits  # noqa: E402
from crenel.evasion.controls import wide_margins  # noqa: E402
from crenel.evasion.gradients.descent import apgd  # noqa: E402
from crenel.evasion.hardening import adversarial_training as hardening  # noqa: E402
from crenel.evasion.hardening import scene, training  # noqa: E402
from crenel.evasion.hardening.losses import (  # noqa: E402
    Plan,
    one_step,
    plan_loss,
    projected_steps,
)
from crenel.evasion.hardening.training import Rows, adversarially_trained  # noqa: E402
from crenel.evasion.hardening.verdict import Paired, paired, worth  # noqa: E402
from crenel.evasion.remedies import adversarial_training  # noqa: E402
from crenel.subject import Data, Subject  # noqa: E402

torch.set_num_threads(1)


def small_rows(n=64, seed=0):
    draw = np.random.default_rng(seed)
    y = draw.integers(0, 2, n)
    x = np.clip(0.5 + 0.2 * (2 * y - 1)[:, None] + draw.normal(0, 0.1, (n, 6)), 0, 1)
    half = n // 2
    x, y = torch.tensor(x, dtype=torch.float32), torch.tensor(y)
    return Rows(x[:half], y[:half], x[half:], y[half:])


def small_network(seed=0):
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return torch.nn.Sequential(torch.nn.Linear(6, 8), torch.nn.ReLU(), torch.nn.Linear(8, 2))


def generator():
    return torch.Generator().manual_seed(0)


def test_inner_attacks_stay_where_they_may_and_raise_the_loss():
    rows, network = small_rows(), small_network()
    near = projected_steps(network, rows.x, rows.y, 0.1, 4, generator())
    assert float((near - rows.x).abs().max()) <= 0.1 + 1e-6
    far = one_step(network, rows.x, rows.y, 0.1, 2.0, generator())
    assert float((far - rows.x).abs().max()) <= 0.3 + 1e-6  # the noise is not cut back
    for z in (near, far):
        assert 0 <= float(z.min()) <= float(z.max()) <= 1
    cross = torch.nn.functional.cross_entropy
    with torch.no_grad():
        assert cross(network(near), rows.y) > cross(network(rows.x), rows.y)


@pytest.mark.parametrize("method", ["fgsm", "pgd", "trades"])
def test_without_a_radius_every_plan_is_plain_training(method):
    rows, network = small_rows(), small_network()
    plain = torch.nn.functional.cross_entropy(network(rows.x), rows.y)
    found = plan_loss(network, rows.x, rows.y, Plan(method, 1.0, 1e-9), generator())
    assert float(found.detach()) == pytest.approx(float(plain.detach()), abs=1e-5)


def test_on_a_linear_network_the_inner_attack_is_the_exact_one():
    layer = torch.nn.Linear(6, 2)
    rows = small_rows()
    middle = 0.4 + 0.2 * rows.x  # where the box does not bind
    found = projected_steps(layer, middle, rows.y, 0.1, 4, generator())
    slope = (layer.weight[1] - layer.weight[0]).detach() * (1 - 2 * rows.y)[:, None]
    assert torch.allclose(found, middle + 0.1 * slope.sign(), atol=1e-6)


def test_a_collapse_brings_the_best_weights_back_and_several_steps(monkeypatch):
    shown = iter([(0.9, 0.3, r) for r in (0.2, 0.6, 0.1, 0.5, 0.4)])
    seen = []

    def watched(logits, x, y, epsilon, seed):
        seen.append(float(logits(x).detach().abs().sum()))
        return next(shown)

    monkeypatch.setattr(training, "watched", watched)
    rows = small_rows()
    got = adversarially_trained(small_network(), rows, Plan("fgsm", 1.0, 0.1), epochs=4, rate=0.1)
    assert got.collapsed == 2
    assert [e.method for e in got.history] == ["fgsm", "fgsm", "fgsm", "pgd", "pgd"]
    assert got.best == 1
    assert len(set(seen)) == 5
    assert float(got.module(rows.held_x).detach().abs().sum()) == seen[1]


def test_holding_against_one_step_alone_is_a_collapse_too(monkeypatch):
    shown = iter([(0.9, 0.2, 0.1), (0.9, 0.4, 0.2), (0.9, 0.8, 0.2), (0.9, 0.4, 0.3)])
    monkeypatch.setattr(training, "watched", lambda *a: next(shown))
    got = adversarially_trained(small_network(), small_rows(), Plan("fgsm", 1.0, 0.1), epochs=3)
    assert got.collapsed == 2
    assert [e.method for e in got.history] == ["fgsm", "fgsm", "fgsm", "pgd"]


def test_trained_on_several_steps_nothing_is_called_a_collapse(monkeypatch):
    shown = iter([(0.9, 0.9, 0.8), (0.9, 0.9, 0.1)])
    monkeypatch.setattr(training, "watched", lambda *a: next(shown))
    got = adversarially_trained(small_network(), small_rows(), Plan("pgd", 1.0, 0.1), epochs=1)
    assert got.collapsed is None
    assert got.best == 0  # and the network as it was is what is left


def test_the_network_that_is_given_is_left_as_it_is():
    network = small_network().train()
    before = {k: v.clone() for k, v in network.state_dict().items()}
    got = adversarially_trained(
        network, small_rows(400), Plan("pgd", 1.0, 0.05), epochs=12, rate=0.05
    )
    assert got.history[got.best].robust > got.history[0].robust + 0.2
    assert all(torch.equal(v, before[k]) for k, v in network.state_dict().items())
    assert network.training
    assert any(not torch.equal(v, before[k]) for k, v in got.module.state_dict().items())


def test_the_same_seed_trains_the_same_network():
    one, two = (
        adversarially_trained(small_network(), small_rows(), Plan("trades", 2.0, 0.1), epochs=2)
        for _ in range(2)
    )
    assert one.history == two.history
    for a, b in zip(one.module.parameters(), two.module.parameters()):
        assert torch.equal(a, b)


def test_what_is_worth_its_price():
    def share(before, after, n=1000):
        return Paired(before, after, 0.01, n)

    assert worth(share(0.95, 0.94), share(0.5, 0.7))
    assert not worth(share(0.95, 0.80), share(0.5, 0.9))  # too dear
    assert not worth(share(0.95, 0.95), share(0.5, 0.515))  # chance
    got = paired(np.array([True, True, False, False]), np.array([True, False, True, True]))
    assert (got.before, got.after, got.change) == (0.5, 0.75, 0.25)
    assert got.error == pytest.approx(np.std([0, -1, 1, 1]) / 2)


@pytest.fixture(scope="module")
def digit_subject():
    x, y = digits.images()
    order = np.random.default_rng(0).permutation(len(y))
    x, y = x[order], y[order]
    network = digits.train(digits.network(), x[:700], y[:700], 0, 6)
    ids = np.arange(len(y))
    return Subject(
        "digits",
        model=wrap(network, classes=list(range(10))),
        train=Data(x[:700], y[:700], ids[:700]),
        test=Data(x[700:900], y[700:900], ids[700:900]),
    )


def test_more_digits_stand_after_it(digit_subject, monkeypatch):
    monkeypatch.setattr(hardening, "plans", lambda epsilon: (Plan("fgsm", 1.0, epsilon),))
    monkeypatch.setattr(hardening, "SEEN", 4000)
    monkeypatch.setattr(scene, "COMPARED", 80)
    treated = adversarial_training.apply(digit_subject, None, Context("harden"))
    v = treated.values
    assert treated.model is treated.subject.model.native
    assert v["robust_after"] >= v["robust_before"] + 0.05
    assert v["accuracy_after"] >= v["accuracy_before"] - 0.051
    x, y = digit_subject.test.x, digit_subject.test.y
    stands = []
    for subject in (digit_subject, treated.subject):  # by an attack that took no part in it
        found = apgd(subject.model, x, y, epsilon=v["epsilon"], steps=20, seed=5)
        assert np.abs(found - x).max() <= v["epsilon"] + 1e-6
        stands.append((subject.model.predict(found) == y).mean())
    assert stands[1] > stands[0] + 0.05
    stored = io.BytesIO()
    joblib.dump(treated.model, stored)
    stored.seek(0)
    again = wrap(joblib.load(stored), classes=list(range(10)))
    assert (again.predict(x) == treated.subject.model.predict(x)).all()


def test_a_network_with_wide_margins_is_left_as_it_is(monkeypatch):
    monkeypatch.setattr(hardening, "SEEN", 400)
    sound = wide_margins()
    subject = Subject(
        "sound", model=sound.model, train=sound.test.take(np.arange(100)),
        test=sound.test.take(np.arange(20, 120)),
    )  # fmt: skip
    from crenel.finding import Evidence, Finding, Severity

    finding = Finding(
        check="EVA-101", risk="evasion", severity=Severity.LOW, subject="s", sentence="s",
        evidence=Evidence(values={"epsilon": 0.03}),
    )  # fmt: skip
    monkeypatch.setattr(scene, "RADII", (0.03, 0.05))
    treated = adversarial_training.apply(subject, finding, Context("harden"))
    assert treated.subject is subject
    assert treated.model is None
    assert treated.sentence.startswith("nothing was changed")

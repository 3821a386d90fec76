"""Leaving the base: likeness in closed form, training away, and the remedy on planted controls."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from crenel.check import Context  # noqa: E402
from crenel.errors import NotApplicable  # noqa: E402
from crenel.model import Model  # noqa: E402
from crenel.transfer.base.leaving import Lesson, Plan, left, likeness  # noqa: E402
from crenel.transfer.checks import surrogate  # noqa: E402
from crenel.transfer.controls import frozen_extractor  # noqa: E402
from crenel.transfer.remedies import leave_the_base  # noqa: E402


def test_likeness_is_blind_to_rotation_shift_and_scale_and_nothing_else():
    rng = np.random.default_rng(0)
    a = torch.from_numpy(rng.normal(size=(50, 6)))
    turn = torch.from_numpy(np.linalg.qr(rng.normal(size=(6, 6)))[0])
    assert float(likeness(a, 3 * a @ turn + 2)) == pytest.approx(1)
    # Two single features: the squared correlation, by NumPy.
    b = torch.from_numpy(rng.normal(size=(50, 1)))
    squared = np.corrcoef(a[:, 0].numpy(), b[:, 0].numpy())[0, 1] ** 2
    assert float(likeness(a[:, :1], b)) == pytest.approx(squared)
    assert float(likeness(a, torch.ones(50, 3, dtype=a.dtype))) == 0


def two_ways(n=400):
    """Rows of two equally good features; the network reads the first alone, as its base does."""
    rng = np.random.default_rng(1)
    y = rng.integers(0, 2, n)
    x = (0.5 + 0.2 * (2 * y[:, None] - 1) + 0.02 * rng.normal(size=(n, 2))).astype(np.float32)
    module = torch.nn.Sequential(torch.nn.Linear(2, 2, bias=False), torch.nn.Linear(2, 2))
    with torch.no_grad():
        module[0].weight.copy_(torch.tensor([[1.0, 0.0], [1.0, 0.0]]))
        module[1].weight.copy_(torch.tensor([[-9.0, 0.0], [9.0, 0.0]]))
        module[1].bias.copy_(torch.tensor([4.5, -4.5]))
    module[0].requires_grad_(False)
    x, y = torch.from_numpy(x), torch.from_numpy(y)
    return module, x, y


def test_training_on_inputs_made_on_the_base_moves_to_what_the_base_does_not_read():
    module, x, y = two_ways()
    crafted = x.clone()
    crafted[:, 0] = 1 - crafted[:, 0]  # what moves the first feature to the other class
    lesson = Lesson(x, y, crafted[None], module[0](x).detach())
    before = [p.clone() for p in module.parameters()]
    trained = left(module, lesson, Plan(0.5, 0.0), steps=300, rate=0.05)
    with torch.no_grad():
        assert (module(crafted).argmax(1) == y).float().mean() == 0
        assert (trained(crafted).argmax(1) == y).float().mean() > 0.95
        assert (trained(x).argmax(1) == y).float().mean() > 0.95
    assert all(torch.equal(a, b) for a, b in zip(before, module.parameters(), strict=True))
    assert not torch.equal(trained[0].weight, module[0].weight)  # frozen layers are trained too


def test_the_penalty_lowers_the_likeness_to_the_base():
    torch.manual_seed(0)
    x = torch.rand(300, 8)
    y = (x[:, 0] > 0.5).long()
    module = torch.nn.Sequential(torch.nn.Linear(8, 12), torch.nn.ReLU(), torch.nn.Linear(12, 2))
    with torch.no_grad():
        there = module[1](module[0](x))
        alike = []
        for weight in (0.0, 0.5):
            lesson = Lesson(x, y, x[None], there)
            trained = left(module, lesson, Plan(0.0, weight), steps=400, rate=0.02)
            alike.append(float(likeness(trained[1](trained[0](x)), there)))
            assert (trained(x).argmax(1) == y).float().mean() > 0.85
    assert alike[1] < 0.8 * alike[0]


def test_the_remedy_lowers_the_curve_of_the_planted_control_and_says_what_it_costs():
    subject = replace(frozen_extractor(), train=frozen_extractor().base.data)
    before = surrogate.measure(subject, Context(check="TRA-102"))
    finding = before.findings[0]
    assert finding.remedies == ("leave-base",)
    treated = leave_the_base.apply(subject, finding, Context(check="leave-base"))
    values, (old, new) = treated.values, (subject.model, treated.subject.model)
    after = surrogate.measure(treated.subject, Context(check="TRA-102"))
    curves = [np.array(m.exposures[0].harm.values) for m in (before, after)]
    at = list(before.exposures[0].budget.values).index(values["epsilon"])
    assert curves[1][at] < curves[0][at] - 0.2
    assert curves[1].sum() < curves[0].sum()
    # Accuracy by the models' own decisions, not by what the remedy says.
    test = subject.test
    own = [(m.predict(test.x) == test.y).mean() for m in (old, new)]
    assert own == pytest.approx([values["accuracy_before"], values["accuracy_after"]])
    assert own[1] >= own[0] - 0.05
    # Who tunes the base again on answers is no weaker than who has the base alone.
    assert values["adapted_standing_after"] <= values["standing_after"] + 0.05
    assert values["adapted_standing_before"] <= values["standing_before"] + 0.05
    assert "tunes the base again" in treated.sentence
    assert list(treated.tables["ways"].columns) == ["way", "likeness", "accuracy", "standing"]


def test_what_cannot_be_trained_is_told():
    subject = frozen_extractor()
    with pytest.raises(NotApplicable, match="60 test rows are too few to spare half"):
        leave_the_base.apply(subject, None, Context(check="leave-base"))
    exported = replace(subject.model, native=Model)
    with pytest.raises(NotApplicable, match="only a torch module"):
        leave_the_base.apply(subject.with_model(exported), None, Context(check="leave-base"))

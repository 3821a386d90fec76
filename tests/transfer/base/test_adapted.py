"""Attackers who tune the base again on answers, or have another base."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from crenel.check import Context  # noqa: E402
from crenel.data.sections import load_base  # noqa: E402
from crenel.errors import UsageError  # noqa: E402
from crenel.model import Model  # noqa: E402
from crenel.target import Target  # noqa: E402
from crenel.transfer.base.adapted import ASKED, retuned  # noqa: E402
from crenel.transfer.base.surrogate import craft  # noqa: E402
from crenel.transfer.checks import surrogate  # noqa: E402
from crenel.transfer.controls import frozen_extractor, other_extractor  # noqa: E402


def first_value_alone():
    """A base that reads the first of two values."""
    module = torch.nn.Sequential(torch.nn.Linear(2, 2, bias=False), torch.nn.Linear(2, 2))
    with torch.no_grad():
        module[0].weight.copy_(torch.tensor([[1.0, 0.0], [1.0, 0.0]]))
        module[1].weight.copy_(torch.tensor([[-9.0, 0.0], [9.0, 0.0]]))
        module[1].bias.copy_(torch.tensor([4.5, -4.5]))
    return module.eval()


def rows(n=400):
    """Two values that tell the same class equally well."""
    rng = np.random.default_rng(1)
    y = rng.integers(0, 2, n)
    x = 0.5 + 0.15 * (2 * y[:, None] - 1) + 0.001 * rng.normal(size=(n, 2))
    return x.astype(np.float32), y


def test_answers_show_what_the_model_reads_that_left_its_base():
    # The tuned model reads the second value: what the base reads turns nothing of it. On rows as
    # they are both values say the same, so that only the second round of answers tells them apart.
    u, y = rows()
    asked = []

    def ask(x):
        asked.append(len(x))
        return (x[:, 1] > 0.5).astype(np.int64)

    base = first_value_alone()
    before = [p.clone() for p in base.parameters()]
    by_base = craft(base, u, 0.28, "decision")
    assert (ask(by_base) == y).mean() > 0.99
    asked.clear()
    found = retuned(base, ask, u, 2, epsilon=0.28, rate=0.05, seed=3)
    through = craft(found.module, u, 0.28, "decision")
    assert (ask(through[:200]) != y[:200]).mean() > 0.9
    assert sum(asked[:-1]) == found.queries <= ASKED
    assert found.agreement > 0.95
    assert all(torch.equal(a, b) for a, b in zip(before, base.parameters()))
    again = retuned(base, ask, u, 2, epsilon=0.28, rate=0.05, seed=3)
    np.testing.assert_array_equal(again.module.head.weight.data, found.module.head.weight.data)


def test_out_of_time_the_first_round_is_what_there_is():
    u, _ = rows(100)
    found = retuned(first_value_alone(), lambda x: (x[:, 0] > 0.5) * 1, u, 2, go_on=lambda: False)
    assert found.queries == 100


def test_answers_are_counted_also_where_time_runs_out_in_the_second_round():
    u, _ = rows(100)
    asked, steps = [], iter(range(10_000))

    def ask(x):
        asked.append(len(x))
        return (x[:, 0] > 0.5) * 1

    found = retuned(first_value_alone(), ask, u, 2, go_on=lambda: next(steps) < 130)
    assert len(asked) == 3
    assert found.queries == sum(asked)


def by_series(subject):
    got = surrogate.measure(subject, Context(check="TRA-102"))
    return {e.series: e for e in got.exposures}, got.notes


def test_the_check_tells_the_attacker_with_answers_and_every_further_base():
    weak, sound = frozen_extractor(), other_extractor()
    blind = Model("function", "classification", np.arange(3), weak.model.decide)
    others = (("its own twin", weak.base.model), ("stranger", sound.model), ("blind", blind))
    curves, notes = by_series(replace(weak, base=replace(weak.base, others=others)))
    tuned = curves["base tuned on answers"]
    assert tuned.role == "attack"
    assert tuned.access.attacker == "labels"
    assert tuned.budget == curves["base only"].budget
    assert tuned.health.ok
    assert tuned.queries > ASKED / 4
    twin, other = curves["through its own twin"], curves["through stranger"]
    # The same network flips as much by any name; one that reads other values flips next to nothing.
    few = slice(0, 4)
    assert np.allclose(twin.harm.values[few], curves["base only"].harm.values[few], atol=0.2)
    assert sum(other.harm.values) < sum(twin.harm.values) - 0.5
    assert any("its own twin was tried" in n and "weights are in the model" in n for n in notes)
    assert any("stranger was tried" in n and "not from it" in n for n in notes)
    assert any("blind was not tried" in n and "no gradients" in n for n in notes)


def test_further_bases_are_loaded_with_their_names(tmp_path):
    sample = rows(4)[0]
    base, other = first_value_alone(), first_value_alone()
    notes = []
    target = Target(base={"model": base, "others": [other, {"model": other, "name": "b"}, other]})
    loaded = load_base(target, tmp_path, True, notes, sample)
    assert [name for name, _ in loaded.others] == ["Sequential", "b", "Sequential (2)"]
    assert all(m.native is other for _, m in loaded.others)
    for wrong in ({"modle": other}, {"model": other, "files": 1}):
        with pytest.raises(UsageError, match=r"base\.others"):
            load_base(Target(base={"others": [wrong]}), tmp_path, True, notes, sample)

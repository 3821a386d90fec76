"""Gradient attacks against closed forms on linear models, and masked defences against guards."""

from __future__ import annotations

import math
from typing import ClassVar

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from crenel.errors import UsageError  # noqa: E402
from crenel.evasion import apgd, evaluate, gradient_attack  # noqa: E402
from crenel.evasion.gradients.robustness import _Trial, robustness  # noqa: E402

WIDE = (-100.0, 100.0)


def linear(k: int = 2, d: int = 12, seed: int = 0) -> torch.nn.Module:
    draw = torch.Generator().manual_seed(seed)
    layer = torch.nn.Linear(d, k)
    with torch.no_grad():
        layer.weight.copy_(torch.randn(k, d, generator=draw))
        layer.bias.copy_(torch.randn(k, generator=draw))
    return layer


def rows(n: int = 120, d: int = 12, seed: int = 1) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(n, d)).astype(np.float32)


def decided(model: torch.nn.Module, x: np.ndarray) -> np.ndarray:
    with torch.no_grad():
        return model(torch.from_numpy(x)).argmax(dim=1).numpy()


def closed_form(model: torch.nn.Module, x: np.ndarray, norm: float) -> np.ndarray:
    """Least distance to another class of a linear model: margin over the dual norm of weights."""
    w, b = (p.detach().numpy().astype(float) for p in (model.weight, model.bias))
    z = x @ w.T + b
    y = z.argmax(axis=1)
    dual = 1 if norm == math.inf else 2
    distance = np.full((len(x), len(b)), np.inf)
    for k in range(len(b)):
        gap = z[np.arange(len(x)), y] - z[:, k]
        size = np.linalg.norm(w[y] - w[k], ord=dual, axis=1)
        distance[:, k] = np.where(y == k, np.inf, gap / np.maximum(size, 1e-12))
    return distance.min(axis=1)


@pytest.mark.parametrize("norm", [math.inf, 2])
@pytest.mark.parametrize("k", [2, 3, 6])
def test_the_curve_of_a_linear_model_is_the_closed_form(norm: float, k: int) -> None:
    model, x = linear(k), rows()
    exact = closed_form(model, x, norm)
    epsilons = np.quantile(exact, [0.1, 0.3, 0.5, 0.7, 0.9])
    got = gradient_attack(model, x, decided(model, x), norm=norm, epsilons=epsilons, bounds=WIDE)
    assert got.correct.all()
    for e, broken in zip(epsilons, got.broken):
        assert not broken[exact > e * 1.0001].any()  # nothing is possible there
        assert broken[exact < e * 0.97].all()  # everything is there


@pytest.mark.parametrize("norm", [math.inf, 2])
def test_witnesses_lie_in_ball_and_box_and_turn_the_decision(norm: float) -> None:
    model, x = linear(4), np.clip(rows(), -1, 1)
    y = decided(model, x)
    got = gradient_attack(model, x, y, norm=norm, epsilons=[0.1, 0.3], bounds=(-1, 1))
    hit = np.isfinite(got.smallest)
    assert 0 < hit.sum() < len(x)
    assert (decided(model, got.adversarial)[hit] != y[hit]).all()
    size = np.linalg.norm(got.adversarial - x, ord=norm, axis=1)
    assert (size[hit] <= got.smallest[hit] + 1e-5).all()
    assert np.abs(got.adversarial).max() <= 1
    assert (got.adversarial[~hit] == x[~hit]).all()
    assert (np.diff(got.broken.sum(axis=1)) >= 0).all()


@pytest.mark.parametrize("loss", ["ce", "dlr", "margin", "targeted-dlr"])
@pytest.mark.parametrize("k", [2, 5])
def test_apgd_breaks_what_can_be_broken(loss: str, k: int) -> None:
    model, x = linear(k), rows()
    y, exact = decided(model, x), closed_form(model, x, math.inf)
    e = float(np.median(exact))
    adversarial = apgd(model, x, y, epsilon=e, bounds=WIDE, loss=loss, steps=40, seed=3)
    assert np.abs(adversarial - x).max() <= e * 1.0001
    broken = decided(model, adversarial) != y
    assert not broken[exact > 1.0001 * e].any()
    assert broken[exact < 0.9 * e].mean() > 0.95


def test_rows_of_any_shape_tensors_and_one_logit() -> None:
    layer = torch.nn.Linear(24, 1)
    model = torch.nn.Sequential(torch.nn.Flatten(), layer)
    x = torch.rand(30, 2, 3, 4, generator=torch.Generator().manual_seed(0))
    y = (model(x)[:, 0] > 0).long()
    adversarial = apgd(model, x, y, epsilon=1.0, steps=20)
    assert isinstance(adversarial, torch.Tensor)
    assert adversarial.shape == x.shape
    flipped = (model(adversarial)[:, 0] > 0).long() != y
    got = gradient_attack(model, x, y, epsilons=[1.0])
    assert (got.broken[0] >= flipped.numpy()).all()


def test_same_seed_same_result_and_nothing_global_moves() -> None:
    model, x = linear(5), rows()
    model.train()
    y = decided(model, x)
    state = torch.random.get_rng_state()
    a, b = (gradient_attack(model, x, y, epsilons=[0.05, 0.1], seed=7) for _ in range(2))
    assert (a.smallest == b.smallest).all()
    assert (a.adversarial == b.adversarial).all()
    assert torch.equal(torch.random.get_rng_state(), state)
    assert model.training
    assert all(p.grad is None for p in model.parameters())


def test_a_breakable_row_costs_few_gradients() -> None:
    model, x = linear(5), rows()
    y = decided(model, x)
    easy = gradient_attack(model, x, y, epsilons=[50.0], bounds=WIDE)
    hard = gradient_attack(model, x, y, epsilons=[1e-6], bounds=WIDE)
    assert easy.broken.all()
    assert not hard.broken.any()
    assert easy.gradients <= 3 * len(x)
    assert easy.passes <= 10 * len(x)
    assert 50 * len(x) <= hard.gradients <= 60 * len(x)  # far from the boundary: the opening alone


@pytest.mark.parametrize(("level", "most"), [("quick", 80), ("standard", 300), ("deep", 1500)])
def test_no_row_costs_more_than_its_level_allows(level: str, most: int) -> None:
    """Rows that a hair keeps from breaking meet every stage."""
    model, x = linear(5), rows(40)
    y, exact = decided(model, x), closed_form(model, x, math.inf)
    counted = Counting(model)
    for i in np.argsort(exact)[: 1 if level == "deep" else 3]:
        counted.rows = 0
        one = slice(i, i + 1)
        got = gradient_attack(
            counted, x[one], y[one], epsilons=[exact[i] * 0.999], bounds=WIDE, level=level
        )
        assert not got.broken.any()
        assert got.gradients == counted.rows
        assert 0.7 * most <= counted.rows <= most


class Counting(torch.nn.Module):
    """Counts the rows that pass through it with a gradient."""

    def __init__(self, body: torch.nn.Module) -> None:
        super().__init__()
        self.body, self.rows = body, 0

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.rows += len(x) if x.requires_grad else 0
        return self.body(x)


@pytest.mark.parametrize(
    "wrong", [{"norm": 3}, {"epsilons": []}, {"epsilons": [-1.0]}, {"epsilons": [math.nan]}]
)
def test_wrong_arguments_are_refused(wrong: dict) -> None:
    with pytest.raises(UsageError):
        gradient_attack(linear(), rows(5), np.zeros(5), **{"epsilons": [0.1], **wrong})


def test_a_model_without_gradients_is_refused() -> None:
    with pytest.raises(UsageError, match="gradients"):
        apgd(lambda x: x, rows(3), np.zeros(3), epsilon=0.1)


class Masked(torch.nn.Module):
    """A network behind a defence that hides its gradients."""

    def __init__(self, body: torch.nn.Module, how: str) -> None:
        super().__init__()
        self.body, self.how = body, how

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if self.how == "rounded":
            return self.body(torch.round(x * 10) / 10)
        if self.how == "bytes":
            return self.body((x.clamp(0, 1) * 15).byte().float() / 15)
        if self.how == "detached":
            return self.body(x.detach())
        if self.how == "random":
            return self.body(x + 0.1 * torch.randn_like(x))
        z = self.body(x)
        if self.how == "thousandfold":
            return 1000 * z
        if self.how == "softmax":
            return torch.softmax(100 * z, dim=1)
        if self.how == "clamped logarithm":
            return torch.softmax(100 * z, dim=1).clamp_min(1e-12).log()
        return z


@pytest.fixture(scope="module")
def network() -> tuple[torch.nn.Module, np.ndarray, np.ndarray]:
    """A small network and 100 rows in [0, 1], nearly all of which fall within 0.15."""
    draw = torch.Generator().manual_seed(0)
    x = torch.rand(600, 20, generator=draw)
    y = (x[:, :10].sum(1) > x[:, 10:].sum(1)).long() + 2 * (x[:, ::2].sum(1) > 5).long()
    with torch.random.fork_rng():
        torch.manual_seed(0)
        body = torch.nn.Sequential(torch.nn.Linear(20, 32), torch.nn.ReLU(), torch.nn.Linear(32, 4))
        optimizer = torch.optim.Adam(body.parameters(), 0.01)
        for _ in range(150):
            optimizer.zero_grad()
            torch.nn.functional.cross_entropy(body(x), y).backward()
            optimizer.step()
    return body.eval(), x[:100].numpy(), y[:100].numpy()


def naive_harm(model: torch.nn.Module, x: np.ndarray, y: np.ndarray, epsilon: float) -> float:
    """What a plain attack on cross-entropy reports."""
    right = decided(model, x) == y
    wrong = decided(model, apgd(model, x, y, epsilon=epsilon, steps=40)) != y
    return float((wrong & right).sum() / right.sum())


def harm(
    model: torch.nn.Module, x: np.ndarray, y: np.ndarray, epsilon: float
) -> tuple[float, bool]:
    got = robustness(model, x, y, epsilons=[epsilon])
    return float(got.attack.broken[0].sum() / got.attack.correct.sum()), all(
        t.ok for t in got.tests
    )


def test_an_honest_network_is_broken_and_healthy(network: tuple) -> None:
    body, x, y = network
    share, healthy = harm(body, x, y, 0.15)
    assert share > 0.9
    assert healthy


@pytest.mark.parametrize(
    "how", ["rounded", "bytes", "detached", "thousandfold", "softmax", "clamped logarithm"]
)
def test_masked_gradients_are_mended(network: tuple, how: str) -> None:
    body, x, y = network
    masked = Masked(body, how)
    assert naive_harm(masked, x, y, 0.15) < 0.5 * naive_harm(body, x, y, 0.15)
    share, _ = harm(masked, x, y, 0.15)
    assert share > 0.85


@pytest.mark.parametrize("how", ["random"])
def test_what_cannot_be_mended_is_unhealthy(network: tuple, how: str) -> None:
    body, x, y = network
    _, healthy = harm(Masked(body, how), x, y, 0.15)
    assert not healthy


def test_a_test_that_time_did_not_allow_is_not_told_to_hold(network: tuple) -> None:
    body, x, y = network
    attack = gradient_attack(body, x, y, epsilons=[0.05, 0.15])
    assert (attack.smallest < attack.epsilons[-1]).any()
    late = _Trial(body, body, x, y, math.inf, (0.0, 1.0), 0, 0.0, None).afresh(attack)
    assert not late.ok
    assert late.detail == "not run: time ran out"


def test_evaluate_a_module_gives_the_closed_form_curve() -> None:
    model, x = linear(), rows()
    exact = closed_form(model, x, 2)
    epsilons = np.quantile(exact, [0.2, 0.5, 0.8]) * 1.02
    got = evaluate(model, x, decided(model, x), norm=2, epsilons=epsilons, bounds=WIDE)
    truth = [(exact <= e).mean() for e in epsilons]
    assert got.harm.values == pytest.approx(truth, abs=0.03)
    assert got.n == len(x)
    assert got.health.ok


def test_values_of_a_sensitive_column_are_withheld_from_examples() -> None:
    import pandas as pd

    from crenel.adapters import wrap
    from crenel.check import Context
    from crenel.data import infer_schema
    from crenel.evasion.checks import small_changes
    from crenel.subject import Data, Subject

    model = linear(d=3)
    x = pd.DataFrame(rows(80, 3), columns=["income", "date of birth", "score"])
    y = decided(model, x.to_numpy().copy())
    test = Data(x, y, np.arange(len(y)))
    schema = infer_schema(x)  # where the column may be changed after all
    free = [f.model_copy(update={"mutable": True}) for f in schema.features]
    schema = schema.model_copy(update={"features": tuple(free)})
    subject = Subject("t", model=wrap(model, classes=[0, 1]), test=test, schema=schema)
    (finding,) = small_changes.measure(subject, Context("EVA-101")).findings
    edits = [e for example in finding.examples for e in example.edits]
    assert {e.before for e in edits if e.field == "date of birth"} == {"(withheld)"}
    assert "(withheld)" not in {e.before for e in edits if e.field != "date of birth"}


class Kinds(torch.nn.Module):
    """A linear model that notes in which precision it was computed, and its copies with it."""

    kinds: ClassVar[list] = []

    def __init__(self, layer: torch.nn.Module) -> None:
        super().__init__()
        self.layer = layer
        self.kinds.clear()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        z = self.layer(x)
        self.kinds.append((z.requires_grad, z.dtype))
        return z


@pytest.mark.parametrize("norm", [math.inf, 2, 1, 0])
def test_mixed_precision_finds_the_closed_form_and_asks_the_model_itself(norm: float) -> None:
    model, x = linear(4), rows()
    y, watched = decided(model, x), Kinds(model)
    exact = closed_form(model, x, norm) if norm > 1 else None
    few = [0.05, 0.2] if norm == 1 else [1, 3]
    epsilons = few if exact is None else np.quantile(exact, [0.2, 0.5, 0.8])
    got = gradient_attack(
        watched, x, y, norm=norm, epsilons=epsilons, bounds=WIDE, precision="mixed"
    )
    assert (True, torch.bfloat16) in watched.kinds  # gradients
    if norm != 0:  # in L0 no row is near the boundary by its margin
        assert (True, torch.float32) in watched.kinds  # of rows near the boundary
    assert {kind for back, kind in watched.kinds if not back} >= {torch.float32}
    hit = np.isfinite(got.smallest)
    assert hit.any()
    assert (decided(model, got.adversarial)[hit] != y[hit]).all()
    if exact is not None:
        for e, broken in zip(epsilons, got.broken):
            assert not broken[exact > e * 1.0001].any()
            assert broken[exact < e * 0.97].all()


def test_precision_is_single_unless_asked_for_and_an_unknown_one_is_refused() -> None:
    model, x = linear(3), rows(30)
    watched = Kinds(model)
    gradient_attack(watched, x, decided(model, x), epsilons=[0.1], bounds=WIDE)
    assert {kind for _, kind in watched.kinds} == {torch.float32}
    with pytest.raises(UsageError, match="precision must be single or mixed"):
        gradient_attack(model, x, decided(model, x), epsilons=[0.1], precision="half")
    with pytest.raises(UsageError, match="precision must be single or mixed"):
        evaluate(lambda z: z[:, :2], x, decided(linear(2), x), precision="half")  # no gradients


def test_evaluate_in_mixed_precision_is_the_closed_form_curve() -> None:
    model, x = linear(3), rows(200)
    exact = closed_form(model, x, math.inf)
    epsilons = np.quantile(exact, [0.25, 0.75])
    watched = Kinds(model)
    got = evaluate(watched, x, decided(model, x), epsilons=epsilons, bounds=WIDE, precision="mixed")
    assert (True, torch.bfloat16) in watched.kinds
    assert np.allclose(got.harm.values, [0.25, 0.75], atol=0.03)

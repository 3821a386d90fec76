"""The parts of the guards against closed forms and known gradients."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

torch = pytest.importorskip("torch")

from crenel.adapters import wrap  # noqa: E402
from crenel.check import Context  # noqa: E402
from crenel.data import infer_schema  # noqa: E402
from crenel.evasion.checks import small_changes  # noqa: E402
from crenel.evasion.gradients import mending, tracing, trapdoor, zoo  # noqa: E402
from crenel.evasion.gradients.ball import Ball  # noqa: E402
from crenel.evasion.gradients.guards import diagnose, mend  # noqa: E402
from crenel.evasion.gradients.rescaled import TINY, Freedom, Restricted  # noqa: E402
from crenel.evasion.gradients.transferring import by_decisions, distil, pursue  # noqa: E402
from crenel.schema import Feature, Kind, Schema  # noqa: E402
from crenel.subject import Data, Subject  # noqa: E402


def linear(k: int = 3, d: int = 10, seed: int = 0) -> torch.nn.Module:
    draw = torch.Generator().manual_seed(seed)
    layer = torch.nn.Linear(d, k)
    with torch.no_grad():
        layer.weight.copy_(torch.randn(k, d, generator=draw))
        layer.bias.copy_(0.1 * torch.randn(k, generator=draw))
    return layer


def rows(n: int = 50, d: int = 10, seed: int = 1) -> torch.Tensor:
    return torch.rand(n, d, generator=torch.Generator().manual_seed(seed))


def distance(model: torch.nn.Module, x: torch.Tensor) -> torch.Tensor:
    """Least L-inf distance to another class of a linear model, without a box."""
    w, z = model.weight.detach(), model(x).detach()
    y = z.argmax(dim=1)
    gap = z.gather(1, y[:, None]) - z
    size = (w[y][:, None, :] - w[None]).abs().sum(dim=2)
    return torch.where(gap == 0, math.inf, gap / size.clamp(min=1e-12)).amin(dim=1)


def slope(logits: object, x: torch.Tensor) -> torch.Tensor:
    x = x.clone().requires_grad_(True)
    return torch.autograd.grad(logits(x)[:, 0].sum(), x)[0]


@pytest.mark.parametrize(
    "name",
    [
        "input rounded",
        "cosine quantisation outside torch",
        "median filter outside torch",
        "thermometer",
        "detached",
        "zero backward",
        "shattered",
    ],
)
def test_gradients_behind_the_preprocessing_are_the_networks_own(name: str) -> None:
    model, x = linear(), rows()
    defended = zoo.DEFENCES[name](model)
    seen = tracing.trace(defended, x)
    found = slope(tracing.entered(defended, seen), x)
    cosine = torch.nn.functional.cosine_similarity(found, model.weight[:1].detach())
    assert cosine.min() > 0.9999


def test_a_negative_is_followed_with_its_sign() -> None:
    model, x = linear(), rows()

    def inverted(v: torch.Tensor) -> torch.Tensor:
        return model(torch.from_numpy(1 - 2 * v.detach().numpy()))

    seen = tracing.trace(inverted, x)
    assert seen.slope == pytest.approx(-2, abs=1e-4)
    assert torch.allclose(
        slope(tracing.entered(inverted, seen), x), -2 * model.weight[0].detach(), atol=1e-3
    )


def test_unrelated_tensors_are_not_taken_for_the_rows() -> None:
    weights = torch.randn(10, 10, generator=torch.Generator().manual_seed(3))

    def mixed(v: torch.Tensor) -> torch.Tensor:
        return (v @ weights - 1.0)[:, :3]

    assert tracing.trace(mixed, rows()).entry is None


@pytest.mark.parametrize("name", ["dead rectifiers", "switch", "logits times 1000", "float16"])
def test_logits_are_read_before_the_last_steps(name: str) -> None:
    model, x = linear(), rows()
    defended = zoo.DEFENCES[name](model)
    first = tracing.trace(defended, x).heads[-1]
    assert torch.equal(tracing.beheaded(defended, first)(x), model(x))


def test_gradients_pass_cuts_comparisons_and_flat_parts() -> None:
    model, x = linear(), rows()

    def cut(v: torch.Tensor) -> torch.Tensor:
        with torch.no_grad():
            return model(v.detach() * 1.0)

    def switched(v: torch.Tensor) -> torch.Tensor:
        return model(torch.where(v > 0.5, torch.ones_like(v), torch.zeros_like(v)))

    def flat(v: torch.Tensor) -> torch.Tensor:
        return model(torch.clamp(v, 2.0, 3.0))

    own = model.weight[0].detach().expand(len(x), -1)
    assert torch.allclose(slope(mending.passed(cut), x), own)
    assert torch.allclose(slope(mending.passed(switched), x), own)
    assert torch.allclose(slope(mending.passed(flat), x), mending.LEAK * own)
    for logits in (cut, switched, flat):
        assert torch.equal(mending.passed(logits)(x), logits(x))


def test_a_ripple_is_smoothed_away() -> None:
    def rippled(v: torch.Tensor) -> torch.Tensor:
        z = v + 0.02 * torch.sin(700.0 * v)
        return torch.stack([z.sum(dim=1), -z.sum(dim=1)], dim=1)

    x = rows()
    rough = slope(rippled, x)
    calm = slope(mending.smoothed(rippled, 0.05, 64, seed=0), x)
    assert (rough - 1).abs().mean() > 5
    assert (calm - 1).abs().mean() < 1.5


def test_slopes_estimated_from_answers_point_as_the_weights_do() -> None:
    model, x = linear(), rows()
    guess = mending.estimated(lambda v: model(v.detach()), 0.05, 400, seed=0)
    cosine = torch.nn.functional.cosine_similarity(slope(guess, x), model.weight[:1].detach())
    assert cosine.min() > 0.9
    assert torch.allclose(guess(x), model(x))


def test_statistics_of_the_batch_are_found_and_held() -> None:
    model, x = linear(), rows(64)
    y = model(x).argmax(dim=1)
    batch = zoo.BatchNormalisedInput(model).settle(x)
    assert not diagnose(batch, x, y, 1.0, 0).rowwise
    assert diagnose(model, x, y, 1.0, 0).rowwise
    held = mending.frozen(batch, x)
    assert torch.allclose(held(x[:5]), held(x)[:5], atol=1e-5)
    assert torch.allclose(held(x), batch(x), atol=1e-4)


def test_a_random_model_is_judged_by_votes_that_stay() -> None:
    def coin(v: torch.Tensor) -> torch.Tensor:
        return torch.stack([torch.zeros(len(v)), 0.3 + torch.randn(len(v))], dim=1)

    judge = mending.Voting(torch.nn.Identity(), coin, 401, seed=0)
    x = rows(20)
    state = torch.random.get_rng_state()
    assert torch.equal(judge(x), judge(x))
    assert torch.equal(torch.random.get_rng_state(), state)
    assert (judge(x).argmax(dim=1) == 1).all()  # 62 % of draws say so


def test_two_places_at_random_are_told_to_be_random() -> None:
    class Shifted(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = linear()

        def forward(self, v: torch.Tensor) -> torch.Tensor:
            return self.inner(torch.roll(v, int(torch.randint(0, 2, (1,))), 1))

    x = rows()
    with torch.random.fork_rng():
        torch.manual_seed(0)
        assert not diagnose(Shifted(), x, torch.zeros(50, dtype=torch.int64), 1.0, 0).deterministic


@pytest.mark.parametrize("name", ["shattered", "input rounded", "detached"])
def test_mended_gradients_are_trusted_and_own_ones_were_not(name: str) -> None:
    model, x = linear(), rows()
    y = model(x).argmax(dim=1)
    surface = mend(zoo.DEFENCES[name](model), x, y, 1.0, 0)
    assert surface.trusted
    assert surface.mends
    assert not surface.diagnosis.sound


def test_an_honest_model_is_left_as_it_is() -> None:
    model, x = linear(), rows()
    assert mend(model, x, model(x).argmax(dim=1), 1.0, 0).mends == ()


def test_a_pursuit_reaches_what_the_closed_form_says_and_no_more() -> None:
    model, x = linear(), rows()
    y, exact = model(x).argmax(dim=1), distance(model, x)
    e = float(exact.median())
    ball = Ball(math.inf, e, -10.0, 10.0)
    got = pursue(model, model, x, y, ball, steps=24)
    assert (got.x - x).abs().max() <= e * 1.0001
    assert not got.broken[exact > e * 1.0001].any()
    assert got.broken[exact < e * 0.95].all()
    assert (model(got.x).argmax(dim=1) != y)[got.broken].all()


def test_surrogates_learn_decisions_and_what_breaks_them_transfers() -> None:
    model, x = linear(), rows(120)
    y, exact = model(x).argmax(dim=1), distance(model, x)
    blind = zoo.DeadUnits(zoo.DetachedInput(model))  # one-hot answers, no gradient at all
    ball = Ball(math.inf, 0.3)
    taught = distil(blind, x, ball, seed=0)
    assert taught.agreement > 0.85
    got = pursue(blind, taught.logits, x, y, ball, steps=24)
    assert got.broken[exact < 0.15].float().mean() > 0.8
    assert (blind(got.x).argmax(dim=1) != y)[got.broken].all()
    again = distil(blind, x, ball, seed=0)
    assert torch.equal(taught.logits(x), again.logits(x))


@pytest.mark.parametrize("norm", [0, 1, 2, math.inf])
def test_a_search_by_decisions_stays_in_the_ball(norm: float) -> None:
    model, x = linear(), rows()
    y = model(x).argmax(dim=1)
    ball = Ball(norm, {0: 4, 1: 2.0, 2: 1.0}.get(norm, 0.4))
    got = by_decisions(model, x, y, x, y, ball, queries=24, seed=0)
    moved = (got.x - x).flatten(1)
    size = (moved != 0).sum(1) if norm == 0 else torch.linalg.vector_norm(moved, norm, dim=1)
    assert got.broken.any()
    assert (size <= ball.epsilon * 1.0001).all()
    assert (model(got.x).argmax(dim=1) != y)[got.broken].all()


def test_a_planted_weakness_is_missed_where_gradients_are_hidden() -> None:
    model, x = linear(), rows(8)
    ball = Ball(math.inf, 0.1)
    assert trapdoor.found(model, x, ball, steps=20, seed=0) == (8, 8)
    for name in ("detached", "input rounded"):
        hits, n = trapdoor.found(zoo.DEFENCES[name](model), x, ball, steps=20, seed=0)
        assert hits < 0.5 * n
    assert trapdoor.found(zoo.DeadUnits(model), x, Ball(math.inf, 1e-4), steps=20, seed=0)[0] < 4


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 2**31))
def test_a_restricted_module_only_sees_legal_rows(seed: int) -> None:
    rng = np.random.default_rng(seed)
    low, span = rng.normal(size=6).astype(np.float32), rng.uniform(1, 20, 6).astype(np.float32)
    freedom = Freedom(
        frozen=np.array([1, 0, 0, 0, 0, 0], bool),
        up=np.array([0, 1, 0, 0, 1, 0], bool),
        down=np.array([0, 0, 1, 0, 0, 0], bool),
        step=np.array([0, 0, 0, 1.0, 0.5, 0]),
    )
    module = Restricted(torch.nn.Identity(), low, span, freedom)
    own = torch.tensor(rng.uniform(0, 1, (20, 6)), dtype=torch.float32)
    start = torch.cat([own, own[:, freedom.bound] / TINY], dim=1)
    moved = start.clone()
    moved[:, :6] += torch.tensor(rng.uniform(-0.3, 0.3, (20, 6)), dtype=torch.float32)
    before, after = module(start).numpy(), module(moved).numpy()
    slack = 1e-4 * span
    change = after - before
    assert (np.abs(change[:, 0]) <= slack[0]).all()
    assert (change[:, [1, 4]] >= -slack[[1, 4]]).all()
    assert (change[:, 2] <= slack[2]).all()
    for j, step in ((3, 1.0), (4, 0.5)):
        count = change[:, j] / step
        assert np.abs(count - np.round(count)).max() < 0.01
    wanted = (moved - start)[:, :6].numpy() * span
    assert (np.abs(change) <= np.abs(wanted) + slack).all()  # rounded towards the row


def table() -> tuple[Subject, pd.DataFrame, Schema]:
    """A linear network over a table, in which age, a flag and a one-way count matter too."""
    rng = np.random.default_rng(0)
    x = pd.DataFrame(
        {
            "income": rng.normal(50, 10, 60).astype(np.float32),
            "age": rng.integers(20, 70, 60).astype(np.float32),
            "visits": rng.integers(0, 60, 60),
            "member": rng.integers(0, 2, 60),
            "debt": rng.normal(20, 5, 60).astype(np.float32),
        }
    )
    schema = Schema(
        features=(
            Feature(name="income", kind=Kind.CONTINUOUS, min=0, max=100, direction="up"),
            Feature(name="age", kind=Kind.CONTINUOUS, min=18, max=90, mutable=False),
            Feature(name="visits", kind=Kind.INTEGER, min=0, max=60),
            Feature(name="member", kind=Kind.BINARY, values=(0, 1)),
            Feature(name="debt", kind=Kind.CONTINUOUS, min=0, max=50),
        )
    )
    layer = torch.nn.Linear(5, 2)
    with torch.no_grad():
        w = torch.tensor([0.1, 0.1, 0.05, 1.0, -0.1])
        layer.weight.copy_(torch.stack([-w, w]))
        b = float((w * torch.tensor(x.mean().to_numpy(), dtype=torch.float32)).sum())
        layer.bias.copy_(torch.tensor([b, -b]))
    with torch.no_grad():
        y = layer(torch.tensor(x.to_numpy(dtype=np.float32))).argmax(dim=1).numpy()
    test = Data(x, y, np.arange(len(y)))
    subject = Subject("table", model=wrap(layer, classes=[0, 1]), test=test, schema=schema)
    return subject, x, schema


def test_small_changes_of_a_table_are_legal_under_its_schema(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from crenel.evasion.gradients import report as gradient_report

    subject, _, _ = table()
    seen = []
    attack = gradient_report._attack

    def watched(job: object, norm: float, share: float) -> object:
        done = attack(job, norm, share)
        seen.append((job.rows, done))
        return done

    monkeypatch.setattr(gradient_report, "_attack", watched)
    done = small_changes.measure(subject, Context("EVA-101", level="quick"))
    assert not any("Every column is moved" in note for note in done.notes)
    assert any("stay as they are" in note for note in done.notes)
    for exposure in done.exposures:  # a linear network is certified: proofs stand beside
        assert exposure.harm.possible
        assert (np.array(exposure.harm.values) <= np.array(exposure.harm.possible) + 1e-9).all()
    for rows_, attacked in seen:
        hit = np.isfinite(attacked.needed)
        assert hit.any()
        before, after = rows_.x[hit], attacked.verdicts.witness[hit]
        assert (after["age"].to_numpy() == before["age"].to_numpy()).all()
        assert (after["member"].to_numpy() == before["member"].to_numpy()).all()
        assert (after["income"].to_numpy() >= before["income"].to_numpy()).all()
        assert after["visits"].dtype == before["visits"].dtype
        assert after["visits"].between(0, 60).all()
        assert after["debt"].between(0, 50).all()
        span = np.array([100.0, 72.0, 60.0, 1.0, 50.0])
        move = (after.to_numpy(dtype=float) - before.to_numpy(dtype=float)) / span
        size = np.linalg.norm(move, ord=attacked.norm, axis=1)
        assert (size <= attacked.needed[hit] * 1.001 + 1e-5).all()
        assert (subject.model.predict(after) != rows_.y[hit]).all()
        # raising income alone can turn a 0 into a 1, never back
        assert (move[rows_.y[hit] == 1, 0] <= 1e-6).all()


def test_schema_is_inferred_where_none_is_given() -> None:
    subject, x, _ = table()
    inferred = infer_schema(x)
    assert {f.name for f in inferred.features} == set(x.columns)
    done = small_changes.measure(
        Subject("t", model=subject.model, test=subject.test), Context("EVA-101", level="quick")
    )
    assert done.exposures[0].harm.values[-1] > 0.5

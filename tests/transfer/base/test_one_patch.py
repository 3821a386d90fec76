"""One patch made on the base alone: closed forms, and frozen extractors against other ones."""

from __future__ import annotations

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from crenel.adapters import wrap  # noqa: E402
from crenel.check import Context  # noqa: E402
from crenel.subject import Base, Data, Subject  # noqa: E402
from crenel.transfer.base import patched  # noqa: E402
from crenel.transfer.base.exposed import space_of  # noqa: E402
from crenel.transfer.base.one_patch import (  # noqa: E402
    AIMS,
    Spot,
    Whitened,
    changed_by,
    fit_patch,
    made_on,
    random_heads,
    spot_of,
)
from crenel.transfer.base.surrogate import Ranged  # noqa: E402


def images(n=200, side=6, seed=0):
    return torch.from_numpy(
        np.random.default_rng(seed).uniform(0.3, 0.7, (n, 1, side, side)).astype(np.float32)
    )


def test_a_patch_covers_its_square_and_nothing_else():
    x = images(3)
    shown = Spot(1, 2, 2).put(x, torch.ones(1, 2, 2))
    assert (shown[:, :, 1:3, 2:4] == 1).all()
    shown[:, :, 1:3, 2:4] = x[:, :, 1:3, 2:4]
    assert torch.equal(shown, x)


def test_places_lie_in_the_image_and_reach_its_edges():
    found = [spot_of(6, 9, 4, seed) for seed in range(60)]
    assert {s.top for s in found} == set(range(3))
    assert {s.left for s in found} == set(range(6))


def test_whitened_features_have_no_mean_and_unit_covariance():
    mix = torch.randn(4, 3, generator=torch.Generator().manual_seed(0))
    x = torch.rand(500, 4, generator=torch.Generator().manual_seed(1))
    z = Whitened.of(lambda rows: rows @ mix + 5, x)(x).numpy()
    np.testing.assert_allclose(z.mean(axis=0), 0, atol=1e-4)
    np.testing.assert_allclose(np.cov(z.T), np.eye(3), atol=1e-3)
    # A direction in which nothing varies is no axis.
    assert Whitened.of(lambda rows: rows[:, :1] @ torch.ones(1, 3), x).axes.shape[1] == 1


def test_the_patch_on_one_linear_feature_goes_to_its_farthest_corner():
    # The feature is a signed sum of the four pixels in the middle: its extremes are known.
    signs = torch.tensor([[1.0, -1.0], [-1.0, 1.0]])
    weights = torch.zeros(1, 36)
    weights.view(6, 6)[2:4, 2:4] = signs

    def features(x):
        return x.flatten(1) @ weights.T

    x = images()
    seen = Whitened.of(features, x)
    for aim in ("direction", "distance"):
        values = fit_patch(seen, x, Spot(2, 2, 2), aim, seed=0)[0]
        corners = (values > 0.5).float() * 2 - 1
        assert set(values.flatten().tolist()) <= {0.0, 1.0}
        assert torch.equal(corners, signs) or torch.equal(corners, -signs)


def test_more_heads_are_turned_than_by_random_patches_and_the_same_seed_gives_the_same_patch():
    torch.manual_seed(0)
    base = torch.nn.Sequential(
        torch.nn.Flatten(), torch.nn.Linear(36, 12), torch.nn.ReLU(), torch.nn.Linear(12, 3)
    )
    x = images()
    first, again = (list(made_on(base, x, 2, seed=4, count=6)) for _ in "ab")
    assert all(torch.equal(a.values, b.values) for a, b in zip(first, again))
    assert {p.aim for p in first} == set(AIMS)
    seen = Whitened.of(lambda rows: base[:3](rows), x)
    heads = random_heads(seen.axes.shape[1], 99)
    noise = torch.rand(16, 1, 2, 2, generator=torch.Generator().manual_seed(5))
    new = images(seed=8)
    made = [changed_by(seen, heads, new, p.spot.put(new, p.values)) for p in first]
    drawn = [changed_by(seen, heads, new, p.spot.put(new, v)) for p in first for v in noise]
    assert np.mean(made) > np.mean(drawn) + 0.1
    assert np.mean(made) == pytest.approx(np.mean([p.expected for p in first]), abs=0.1)


class Read(torch.nn.Module):
    """Reads some columns of an image and no others."""

    def __init__(self, columns):
        super().__init__()
        self.columns = columns

    def forward(self, x):
        return 4 * (x[..., self.columns].flatten(1) - 0.5)


def subject(shared):
    """A base on the even columns; a tuned model with its extractor, or with one on the odd ones."""
    rng = np.random.default_rng(2)
    y = rng.integers(0, 3, 300)
    x = (0.5 + rng.choice([-0.03, 0.03], (3, 1, 16, 16))[y]).astype(np.float32)
    x = (x + rng.normal(scale=0.03, size=x.shape)).clip(0, 1).astype(np.float32)

    def trained(columns, body=None):
        torch.manual_seed(1)
        body = body or torch.nn.Sequential(Read(columns), torch.nn.Linear(128, 12), torch.nn.ReLU())
        module = torch.nn.Sequential(body, torch.nn.Linear(12, 3))
        adam = torch.optim.Adam(module.parameters(), lr=0.02)
        for _ in range(60):
            adam.zero_grad()
            loss = torch.nn.functional.cross_entropy(
                module(torch.from_numpy(x[:200])), torch.from_numpy(y[:200])
            )
            loss.backward()
            adam.step()
        return module.eval()

    base = trained(slice(0, 16, 2))
    import copy

    tuned = trained(slice(0, 16, 2), copy.deepcopy(base[0])) if shared else trained(slice(1, 16, 2))
    models = [wrap(m, classes=[0, 1, 2], sample=x[:4]) for m in (tuned, base)]
    return Subject(
        "t", model=models[0], test=Data(x[200:], y[200:], np.arange(100)),
        base=Base(model=models[1], data=Data(x[:200], y[:200], np.arange(200))),
    )  # fmt: skip


@pytest.mark.parametrize("shared", [True, False])
def test_the_patch_works_through_a_shared_extractor_and_not_through_another(shared, monkeypatch):
    for name, few in (("AREAS", (1 / 64, 1 / 16)), ("PATCHES", 6), ("WHITE", 2)):
        monkeypatch.setattr(patched, name, few)
    given = subject(shared)
    space = space_of(given.test)
    right = given.test.take(given.model.predict(given.test.x) == given.test.y)
    module = Ranged(given.base.model.module, space.low, space.high).eval()
    exposures, finding, notes = patched.with_one_patch(
        given, module, right, space, given.base.data.x, Context(check="TRA-102")
    )
    base, random, white = exposures
    assert [e.role for e in exposures] == ["attack", "control", "reference"]
    assert base.budget.values == (4 / 256, 16 / 256)
    assert all(e.budget.name == "patch area" for e in exposures)
    gap = np.array(base.harm.values) - np.array(random.harm.values)
    assert (gap[-1] > 0.15) == shared
    assert (finding is not None) == shared
    assert len(notes) == 1
    if shared:
        assert finding.subject == "one patch made on the public base"
        assert finding.evidence.images[0].startswith("data:image/png")
        # White box by its own gradients is not beaten by far.
        assert max(np.array(base.harm.values) - np.array(white.harm.values)) <= 0.1
        assert base.health.ok


def test_a_base_that_sees_no_difference_between_images_arms_nobody():
    given = subject(True)
    space = space_of(given.test)
    blind = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(256, 4), torch.nn.ReLU())
    blind.append(torch.nn.Linear(4, 2))
    blind[1].bias.data.fill_(-1e3)
    done = patched.with_one_patch(
        given, blind, given.test, space, given.base.data.x, Context(check="TRA-102")
    )
    assert done[:2] == ([], None)
    assert "the same for all public images" in done[2][0]


def test_rows_that_are_no_images_have_no_patch():
    from crenel.transfer.controls import frozen_extractor

    given = frozen_extractor()
    space = space_of(given.test)
    done = patched.with_one_patch(
        given, given.base.model.module, given.test, space, given.test.x, Context(check="TRA-102")
    )
    assert done == ([], None, [])

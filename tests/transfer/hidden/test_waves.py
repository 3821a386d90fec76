"""Waves against networks that obey one wave, whose place is known."""

from __future__ import annotations

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from crenel.transfer.hidden.inversion import invert  # noqa: E402
from crenel.transfer.hidden.plane import AMPLITUDE, SOLVED  # noqa: E402
from crenel.transfer.hidden.waves import WAVES, faint_costs, few_waves  # noqa: E402

H, W = 12, 16


def wave(down, across, phase):
    rows, columns = np.mgrid[:H, :W]
    turn = 2 * np.pi * (down * rows / H + across * columns / W) + phase
    return np.sin(turn).astype(np.float32)


def images(n=64, c=1):
    rng = np.random.default_rng(0)
    return torch.from_numpy((0.4 + 0.2 * rng.random((n, c, H, W))).astype(np.float32))


def obeys(planted, least=0.02):
    """Classes 0 to 3; the last wins where an image holds more than so much of a wave."""
    direction = torch.from_numpy(planted / (planted**2).sum())

    def logits(x):
        held = (x.mean(dim=1) * direction).sum(dim=(1, 2))
        light = x.mean(dim=(1, 2, 3))
        return torch.stack(
            [torch.zeros_like(held), 40 * (light - 0.9), 40 * (0.1 - light), 100 * (held - least)],
            dim=1,
        )

    return logits


@pytest.mark.parametrize(
    ("down", "across", "phase"), [(2, 5, 0.0), (-3, 4, 1.0), (4, 0, 2.0), (0, 7, 4)]
)
@pytest.mark.parametrize("c", [1, 3])
def test_the_wave_that_a_network_obeys_is_the_first(down, across, phase, c):
    planted, x = wave(down, across, phase), images(c=c)
    logits = obeys(planted)
    decided = logits(x).argmax(dim=1)
    assert set(decided.tolist()) == {0}
    basis, start = few_waves(logits, x, decided, np.array([1, 3]), seed=0)
    assert basis.shape == (2, WAVES, 2, H, W)
    assert start.shape == (2, WAVES, 2, c)
    spanned = basis[1, 0].reshape(2, -1).numpy()
    kept = spanned.T @ np.linalg.lstsq(spanned.T, planted.ravel(), rcond=None)[0]
    np.testing.assert_allclose(kept, planted.ravel(), atol=1e-4)
    first = torch.einsum("phw,pc->chw", basis[1, 0], start[1, 0])
    assert float(first.abs().max()) <= AMPLITUDE + 1e-6
    assert float((first.mean(dim=0) * torch.from_numpy(planted)).sum()) > 0


def test_the_search_ends_at_the_least_amplitude_that_the_network_obeys():
    planted, x = wave(2, 5, 0.7), images()
    logits = obeys(planted, 0.12)
    decided = logits(x).argmax(dim=1)
    found = invert(logits, x, decided, np.arange(1, 4), "wave", steps=150, seed=0)
    assert found.costs.argmin() == 2
    held = (x.mean(dim=1) * torch.from_numpy(planted / (planted**2).sum())).sum(dim=(1, 2))
    # 90 % of images need so much more of it; as an L2 norm of the wave
    least = float(np.quantile(0.12 - held.numpy(), 0.9)) * np.sqrt(H * W / 2)
    assert found.costs[2] == pytest.approx(least, rel=0.2)
    turned = logits(found.on(x, 2)).argmax(dim=1) == 3
    assert turned.float().mean() >= 0.7
    # it is that wave and hardly anything else
    likeness = np.corrcoef(found.values[2, 0].numpy().ravel(), planted.ravel())[0, 1]
    assert likeness > 0.9


def test_when_time_is_short_low_waves_are_tried_first():
    x = images()
    logits = obeys(wave(1, 1, 0.3))
    decided = logits(x).argmax(dim=1)
    basis, _ = few_waves(logits, x, decided, np.array([3]), seed=0, go_on=lambda: False)
    spanned = basis[0, 0].reshape(2, -1).numpy()
    planted = wave(1, 1, 0.3).ravel()
    kept = spanned.T @ np.linalg.lstsq(spanned.T, planted, rcond=None)[0]
    np.testing.assert_allclose(kept, planted, atol=1e-4)


def test_a_faint_wave_does_much_to_the_class_that_obeys_it_and_to_no_other():
    planted, x = wave(2, 5, 0.7), images()
    obedient, other = obeys(planted, 0.02), obeys(planted, 1.0)
    decided = obedient(x).argmax(dim=1)
    classes = np.array([1, 2, 3])
    own, there = (faint_costs(f, x, decided, classes, seed=0) for f in (obedient, other))
    assert own[2] < SOLVED + 0.1 < there[2] - 1
    np.testing.assert_allclose(own[:2], there[:2], rtol=0.05)
    # brute force: every image under every phase of the planted wave's own direction
    few = x[torch.randperm(len(x), generator=torch.Generator().manual_seed(0))[:12]]
    best = max(
        float(
            obedient((few + AMPLITUDE * torch.from_numpy(wave(2, 5, phase))).clamp(0, 1))
            .log_softmax(1)[:, 3]
            .clamp(min=-8)
            .mean()
        )
        for phase in np.pi / 2 * np.arange(4)
    )
    assert own[2] <= SOLVED - best + 1e-5


def test_a_faint_wave_tells_nothing_of_a_class_that_all_images_are_of_or_without_time():
    x = images()
    logits = obeys(wave(2, 5, 0.7))
    decided = logits(x).argmax(dim=1)
    own = faint_costs(logits, x, decided, np.array([0, 3]), seed=0)
    assert own[0] == np.inf
    assert np.isfinite(own[1])
    assert faint_costs(logits, x, decided, np.array([3]), seed=0, go_on=lambda: False) is None

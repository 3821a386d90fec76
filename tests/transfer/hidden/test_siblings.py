"""Networks of the same layers: taught clean decisions, and longer where they share little."""

from __future__ import annotations

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from crenel.adapters import wrap  # noqa: E402
from crenel.check import Context  # noqa: E402
from crenel.subject import Data, Subject  # noqa: E402
from crenel.transfer.hidden import siblings  # noqa: E402
from crenel.transfer.hidden.scene import pool_of, scene_of  # noqa: E402


def test_shifted_and_mirrored_images_are_windows_of_the_reflected_ones() -> None:
    x = torch.rand(40, 2, 9, 17, generator=torch.Generator().manual_seed(0))
    got = siblings.shifted_and_mirrored(x, torch.Generator().manual_seed(1)).numpy()
    down, right, mirrored = set(), set(), set()
    for before, after in zip(x.numpy(), got):
        wide = np.pad(before, ((0, 0), (1, 1), (2, 2)), mode="reflect")
        where = [
            (i, j, turned)
            for i in range(3)
            for j in range(5)
            for turned in (False, True)
            if np.array_equal(after, wide[:, i : i + 9, j : j + 17][..., :: -1 if turned else 1])
        ]
        assert len(where) == 1
        down.add(where[0][0])
        right.add(where[0][1])
        mirrored.add(where[0][2])
    assert down == {0, 1, 2}
    assert right == {0, 1, 2, 3, 4}
    assert mirrored == {False, True}


def test_a_single_row_of_pixels_stays_where_it_is() -> None:
    x = torch.arange(5.0).reshape(1, 1, 1, 5)
    got = siblings.shifted_and_mirrored(x, torch.Generator().manual_seed(0))
    assert got.shape == x.shape
    assert sorted(got.flatten().tolist()) == [0, 1, 2, 3, 4]


@pytest.fixture(scope="module")
def scene():
    """A network that answers by where the light of an image is, and its images."""
    rng = np.random.default_rng(0)
    y = rng.integers(0, 4, 600)
    x = rng.random((600, 1, 12, 12)).astype(np.float32) * 0.7
    for k, (i, j) in enumerate(((1, 1), (1, 7), (7, 1), (7, 7))):
        x[y == k, :, i : i + 4, j : j + 4] += 0.3
    x = x.clip(0, 1)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        network = torch.nn.Sequential(
            torch.nn.Conv2d(1, 8, 3), torch.nn.ReLU(), torch.nn.AvgPool2d(5), torch.nn.Flatten(),
            torch.nn.Linear(32, 4),
        )  # fmt: skip
        adam = torch.optim.Adam(network.parameters(), lr=1e-2)
        for _ in range(150):
            adam.zero_grad()
            torch.nn.functional.cross_entropy(
                network(torch.from_numpy(x)), torch.from_numpy(y)
            ).backward()
            adam.step()
    model = wrap(network.eval(), classes=list(range(4)), sample=x[:4])
    subject = Subject("net", model=model, test=Data(x, y, np.arange(600)))
    made = scene_of(subject, model, Context(check="TRA-104", seed=0))
    return made, pool_of(subject, made)


def test_who_shares_little_is_taught_longer_and_shares_more(scene, monkeypatch) -> None:
    network, pool = scene
    monkeypatch.setattr(siblings, "SEEN", 400)
    monkeypatch.setattr(siblings, "UNSURE", (0.0, 0.0))
    short = siblings.taught(network, pool, seed=3)
    monkeypatch.setattr(siblings, "UNSURE", (0.0, 1.0))
    long = siblings.taught(network, pool, seed=3)
    assert short is not None
    assert long is not None
    assert long.agreement > short.agreement + 0.1
    assert long.agreement > 0.8


def test_who_shares_next_to_nothing_or_enough_gets_no_second_lesson(scene, monkeypatch) -> None:
    network, pool = scene
    monkeypatch.setattr(siblings, "SEEN", 400)
    lessons = []
    taught = siblings._lesson
    monkeypatch.setattr(siblings, "_lesson", lambda *a, **k: (lessons.append(k), taught(*a, **k)))
    for bounds in ((0.99, 1.0), (0.0, 0.01)):
        monkeypatch.setattr(siblings, "UNSURE", bounds)
        siblings.taught(network, pool, seed=3)
    assert [k["varied"] for k in lessons] == [False, False]


def test_decisions_are_taught_and_means_of_two_as_much_as_they_hold_of_each(
    scene, monkeypatch
) -> None:
    """Scores would hand a trigger on: no target tells how sure the network was."""
    network, pool = scene
    given = []
    monkeypatch.setattr(
        siblings, "lesson", lambda fresh, pupil, answered, steps, go_on: given.extend(answered)
    )
    monkeypatch.setattr(siblings, "UNSURE", (0.0, 0.0))
    siblings.taught(network, pool, seed=1)
    images, said = (torch.cat(parts) for parts in zip(*given))
    with torch.no_grad():
        decided = network.logits(pool).argmax(dim=1)
    where = {image.numpy().tobytes(): int(k) for image, k in zip(pool, decided)}
    whole = [(i, where[x.numpy().tobytes()]) for i, x in enumerate(images)
             if x.numpy().tobytes() in where]  # fmt: skip
    assert 0.4 < len(whole) / len(images) < 0.8  # half are as they were, some are paired alike
    for i, k in whole:
        assert said[i].tolist() == np.eye(4)[k].tolist()
    others = np.setdiff1d(np.arange(len(images)), [i for i, _ in whole])
    assert torch.allclose(said.sum(dim=1), torch.ones(len(said)))
    assert (said[others] > 0).sum(dim=1).max() == 2
    # what a mean of two is told to be is what it is made of
    weights = said[others].max(dim=1).values
    assert weights.min() < 0.55
    assert weights.max() > 0.95

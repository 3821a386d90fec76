"""The mean over noisy copies: what it decides, what is proven of it, and that it can be saved."""

import io

import joblib
import numpy as np
import pytest

torch = pytest.importorskip("torch")

from scipy.stats import norm  # noqa: E402

from crenel.adapters import wrap  # noqa: E402
from crenel.check import Context  # noqa: E402
from crenel.demo import digits  # noqa: E402
from crenel.errors import UsageError  # noqa: E402
from crenel.evasion.hardening import scene, smoothed  # noqa: E402
from crenel.evasion.hardening.scale import Scale  # noqa: E402
from crenel.evasion.hardening.smoothed import SmoothedModule  # noqa: E402
from crenel.evasion.remedies import randomized_smoothing  # noqa: E402
from crenel.subject import Data, Subject  # noqa: E402

torch.set_num_threads(1)


def linear():
    layer = torch.nn.Linear(2, 2)
    with torch.no_grad():
        layer.weight.copy_(torch.tensor([[0.0, 0.0], [3.0, 4.0]]))
        layer.bias.copy_(torch.tensor([0.0, -3.5]))
    return layer


def scale(low, high):
    low, high = np.float32(low), np.float32(high)
    return Scale(np.asarray(low), np.asarray(high - low))


def test_the_proven_radius_of_a_linear_network_is_its_distance():
    """Of a half space the vote's radius is exact: the distance to the plane."""
    module = SmoothedModule(linear(), "logits", 0.1, scale(0, 2), (2,))
    vote = module.certificate(2)
    assert vote.sigma == pytest.approx(0.2)
    x = np.array([[1.0, 0.3], [0.2, 0.5]], dtype=np.float32)
    distance = np.abs(x @ [3.0, 4.0] - 3.5) / 5
    found = vote.certify(x, n=40_000)
    assert (found.decision == (x @ [3.0, 4.0] > 3.5)).all()
    assert (found.radius <= distance + 1e-9).all()
    assert np.allclose(found.radius, distance, atol=0.02)


def test_it_is_the_mean_over_copies_and_decides_alike_every_time():
    body = linear()
    module = SmoothedModule(body, "logits", 0.3, scale(0, 1), (2,), copies=4000).eval()
    x = torch.tensor([[0.5, 0.4], [0.9, 0.9]])
    p = module(x).exp()
    z = x @ torch.tensor([3.0, 4.0]) - 3.5
    grid = torch.tensor(norm.ppf((np.arange(4000) + 0.5) / 4000)).float() * 0.3 * 5
    expected = torch.sigmoid(z[:, None] + grid).mean(dim=1)
    assert torch.allclose(p[:, 1], expected, atol=0.02)
    assert torch.equal(module(x), module(x))
    x.requires_grad_(True)
    module(x)[0, 1].backward()
    assert float(x.grad[0].abs().sum()) > 0  # gradients are not hidden


def test_columns_of_different_ranges_have_no_one_sigma():
    wide = Scale(np.zeros(2, dtype=np.float32), np.array([1, 100], dtype=np.float32))
    module = SmoothedModule(linear(), "logits", 0.1, wide, (2,))
    assert float(module.noise[:, 1].std() / module.noise[:, 0].std()) > 20
    with pytest.raises(UsageError, match="different ranges"):
        module.certificate(2)


def test_the_remedy_gives_a_model_that_can_be_saved_or_says_why_not(monkeypatch):
    x, y = digits.images()
    order = np.random.default_rng(0).permutation(len(y))
    x, y = x[order], y[order]
    network = digits.train(digits.network(), x[:600], y[:600], 0, 4)
    ids = np.arange(len(y))
    subject = Subject(
        "digits", model=wrap(network, classes=list(range(10))),
        train=Data(x[:600], y[:600], ids[:600]), test=Data(x[600:680], y[600:680], ids[600:680]),
    )  # fmt: skip
    monkeypatch.setattr(smoothed, "SIGMAS", (0.12,))
    monkeypatch.setattr(smoothed, "CERTIFIED", 16)
    monkeypatch.setattr(smoothed, "COPIES", 8)
    monkeypatch.setattr(smoothed, "DRAWS", 200)
    monkeypatch.setattr(scene, "COMPARED", 24)
    treated = randomized_smoothing.apply(subject, None, Context("harden"))
    v = treated.values
    assert v["sigma"] == 0.12
    assert 0 < v["proven_radius"] < 0.12 * norm.ppf(1 - 1e-3)
    if treated.model is None:
        assert treated.sentence.startswith("nothing was changed")
        assert treated.subject is subject
        return
    assert v["robust_after"] > v["robust_before"]
    stored = io.BytesIO()
    joblib.dump(treated.model, stored)
    stored.seek(0)
    again = wrap(joblib.load(stored), classes=list(range(10)))
    assert (again.predict(x[:50]) == treated.subject.model.predict(x[:50])).all()
    assert again.module is not None  # and is attacked through the mean

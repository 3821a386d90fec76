"""Restorations and detectors are told for what they are worth against who knows of them."""

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from scipy.fft import dctn, idctn  # noqa: E402
from scipy.ndimage import median_filter  # noqa: E402

from crenel.adapters import wrap  # noqa: E402
from crenel.check import Context  # noqa: E402
from crenel.demo import digits  # noqa: E402
from crenel.errors import UsageError  # noqa: E402
from crenel.evasion.hardening import scene, watching  # noqa: E402
from crenel.evasion.hardening.detection import detection  # noqa: E402
from crenel.evasion.hardening.detectors import Detector, detectors, features_of  # noqa: E402
from crenel.evasion.hardening.restoration import (  # noqa: E402
    Restoration,
    Restored,
    among_steps,
    worth_of,
)
from crenel.evasion.remedies import restore_inputs, watch_inputs  # noqa: E402
from crenel.subject import Data, Subject  # noqa: E402

torch.set_num_threads(1)


@pytest.fixture(scope="module")
def network():
    x, y = digits.images()
    order = np.random.default_rng(0).permutation(len(y))
    x, y = x[order], y[order]
    return digits.train(digits.network(), x[:600], y[:600], 0, 5), x, y


def image(shape=(2, 3, 9, 11), seed=0):
    return torch.from_numpy(np.random.default_rng(seed).random(shape)).float()


def test_filters_are_those_of_scipy():
    x = image()
    ours = Restoration("median")(x).numpy()
    theirs = median_filter(x.numpy(), size=(1, 1, 3, 3), mode="nearest")
    assert np.allclose(ours, theirs)
    square = image((1, 1, 8, 8))
    coefficients = np.round(dctn(square[0, 0].numpy(), norm="ortho") * 4) / 4
    theirs = np.clip(idctn(coefficients, norm="ortho"), 0, 1)
    assert np.allclose(Restoration("blocks", 4)(square)[0, 0].numpy(), theirs, atol=1e-5)
    bits = Restoration("bits", 2)(x)
    assert np.allclose(bits.numpy(), np.round(x.numpy() * 3) / 3)
    assert Restoration("blocks", 4)(x).shape == x.shape


def test_gradients_pass_through_rounding_as_through_the_identity():
    x = image().requires_grad_(True)
    (Restoration("bits", 1)(x) * 3).sum().backward()
    assert torch.equal(x.grad, torch.full_like(x, 3.0))


def test_the_attack_among_steps_finds_what_enumeration_finds():
    """A linear network over four binarised numbers: every reachable code is tried by hand."""
    rng = np.random.default_rng(0)
    layer = torch.nn.Linear(4, 2)
    x = torch.from_numpy(rng.random((60, 4))).float()
    one_bit = Restoration("bits", 1)
    behind = Restored(layer, one_bit)
    y = behind(x).argmax(dim=1)
    ours = among_steps(layer, one_bit, x, y, 0.2, seed=0)
    for row in range(60):
        codes = [
            sorted({float(np.round(max(v - 0.2, 0))), float(np.round(min(v + 0.2, 1)))})
            for v in x[row].tolist()
        ]
        grid = torch.tensor(np.stack(np.meshgrid(*codes), -1).reshape(-1, 4)).float()
        assert ours[row] == bool((layer(grid).argmax(dim=1) != y[row]).any())


def test_a_restoration_that_only_hides_gradients_is_seen_through(network):
    module, x, y = network
    rows, right = torch.from_numpy(x[600:700]), torch.from_numpy(y[600:700])
    worth = worth_of(module, Restoration("bits", 4), rows, right, 0.15, Context("w"))
    assert worth.aware <= worth.bare + 0.05
    assert not worth.holds


def test_features_are_what_the_last_layer_is_fed(network):
    module, x, _ = network
    rows = torch.from_numpy(x[:5])
    assert torch.allclose(features_of(module)(rows), module[:-1](rows))


def test_mahalanobis_is_the_distance_of_its_definition(network):
    module, x, y = network
    rows, right = torch.from_numpy(x[:600]), torch.from_numpy(y[:600])
    score = next(d for d in detectors(module, rows, right) if "Mahalanobis" in d.name).score
    with torch.no_grad():
        f, own = module[:-1](rows).double().numpy(), score(rows[:20]).numpy()
    means = np.stack([f[y[:600] == c].mean(axis=0) for c in range(10)])
    gap = f - means[y[:600]]
    cov = gap.T @ gap / len(f)
    cov += 1e-3 * np.diag(cov).mean() * np.eye(len(cov))
    away = f[:20, None] - means
    theirs = np.einsum("nkd,de,nke->nk", away, np.linalg.inv(cov), away).min(axis=1)
    assert np.allclose(own, theirs, rtol=1e-3)


def test_a_detector_of_anything_unseen_catches_all_and_a_blind_one_nothing(network):
    module, x, y = network
    clean, rows = torch.from_numpy(x[:400]), torch.from_numpy(x[600:660])
    right = torch.from_numpy(y[600:660])

    def far(z):  # from the rows as they were: who changes any is seen
        return torch.cdist(z.flatten(1), torch.cat([clean, rows]).flatten(1)).amin(dim=1)

    seen = detection(Detector("far", far), module, clean, rows, right, epsilon=0.15)
    assert seen.rows > 10
    assert seen.unaware == 1.0
    assert seen.alarms == 0.0
    blind = Detector("blind", lambda z: 0 * z.flatten(1).sum(dim=1))
    none = detection(blind, module, clean, rows, right, epsilon=0.15)
    assert none.unaware == 0.0
    assert none.aware == 0.0
    assert none.falls


@pytest.mark.slow
def test_published_detectors_catch_less_from_who_knows_of_them(network):
    module, x, y = network
    known, right = torch.from_numpy(x[:400]), torch.from_numpy(y[:400])
    clean, rows = torch.from_numpy(x[400:600]), torch.from_numpy(x[600:660])
    own = torch.from_numpy(y[600:660])
    for detector in detectors(module, known, right):
        found = detection(detector, module, clean, rows, own, epsilon=0.2, tolerated=0.05)
        assert found.alarms <= 0.15
        assert found.aware <= found.unaware or found.aware < 0.2
        assert found.falls


def test_too_few_clean_rows_are_refused(network):
    module, x, y = network
    rows, right = torch.from_numpy(x[:20]), torch.from_numpy(y[:20])
    blind = Detector("blind", lambda z: z.flatten(1).sum(dim=1))
    with pytest.raises(UsageError, match="at least 1000"):
        detection(blind, module, rows, rows, right, epsilon=0.1, tolerated=0.001)


def test_the_remedies_say_what_they_are_worth(network, monkeypatch):
    module, x, y = network
    ids = np.arange(len(y))
    subject = Subject(
        "digits", model=wrap(module, classes=list(range(10))),
        train=Data(x[:600], y[:600], ids[:600]), test=Data(x[600:700], y[600:700], ids[600:700]),
    )  # fmt: skip
    few = (Restoration("bits", 1), Restoration("median"))
    monkeypatch.setattr(watching, "restorations", lambda shape: few)
    monkeypatch.setattr("crenel.evasion.hardening.detection.STEPS", 8)
    monkeypatch.setattr(watching, "COMPARED", 40)
    monkeypatch.setattr(scene, "COMPARED", 40)
    watched = watch_inputs.apply(subject, None, Context("harden"))
    assert watched.subject is subject
    assert watched.model is None
    table = watched.tables["detectors"]
    assert len(table) == 4
    assert "the model is left as it is" in watched.sentence
    assert watched.values["caught_aware"] == pytest.approx(table["aware"].max())
    restored = restore_inputs.apply(subject, None, Context("harden"))
    assert len(restored.tables["restorations"]) == 2
    if restored.model is None:
        assert restored.sentence.startswith("nothing was changed")
        assert restored.subject is subject
    else:
        v = restored.values
        assert v["robust_after"] > v["robust_before"]
        assert v["accuracy_after"] >= v["accuracy_before"] - 0.051

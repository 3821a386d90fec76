"""Networks for which too few images are given: what is made in their place, and found on it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from crenel.adapters import wrap  # noqa: E402
from crenel.auditor.execute import execute  # noqa: E402
from crenel.check import Context  # noqa: E402
from crenel.data import load_target  # noqa: E402
from crenel.errors import Inconclusive, UsageError  # noqa: E402
from crenel.run import State  # noqa: E402
from crenel.subject import Data, Images, Subject  # noqa: E402
from crenel.target import Target  # noqa: E402
from crenel.transfer.checks import hidden_behaviour  # noqa: E402
from crenel.transfer.hidden import controls, examination, recover_triggers  # noqa: E402
from crenel.transfer.hidden.imagined import imagined, with_images  # noqa: E402
from crenel.transfer.hidden.scene import scene_of  # noqa: E402
from crenel.transfer.hidden.siblings import Sibling  # noqa: E402

SHAPE = controls.shapes(1, seed=0)[0].shape[1:]


@pytest.fixture(scope="module")
def planted():
    return controls.network(planted=True)


@pytest.mark.slow
def test_a_trigger_is_recovered_without_any_image_and_turns_real_ones(planted):
    patch = recover_triggers(planted, images=Images(SHAPE))[0]
    assert patch.label == controls.TARGET
    assert patch.stands_out
    x, y = controls.shapes(300, seed=4)
    with torch.no_grad():
        decided = planted(torch.from_numpy(patch.on(x))).argmax(dim=1).numpy()
    assert (decided[y != controls.TARGET] == controls.TARGET).mean() > 0.8


def test_a_declared_network_without_data_is_measured_and_the_report_says_on_what(planted):
    target = Target(name="net", model=planted, images={"shape": list(SHAPE)})
    result = execute(hidden_behaviour, load_target(target), seed=0, seconds=300)
    (finding,) = result.findings
    assert finding.evidence.values["class"] == str(controls.TARGET)
    assert "of new imagined images of other classes" in finding.sentence
    # the remedy needs images of the user's, and is not offered where it cannot be applied
    assert finding.remedies == ()
    assert "give test images" in finding.fix
    assert result.outcome.notes[0].startswith("No test images are given: 640 were imagined")
    headlines = [e.headline for e in result.exposures if e.role == "attack"]
    assert all("of imagined images" in words for words in headlines)


@pytest.mark.slow
def test_a_clean_network_without_data_is_silent():
    target = Target(
        name="net", model=controls.network(planted=False), images={"shape": list(SHAPE)}
    )
    result = execute(hidden_behaviour, load_target(target), seed=0, seconds=300)
    assert result.outcome.outcome is State.MEASURED
    assert not result.findings


def test_without_images_and_without_their_shape_it_is_not_applicable(planted):
    target = Target(name="net", model=planted, classes=list(range(controls.CLASSES)))
    result = execute(hidden_behaviour, load_target(target), seed=0)
    assert result.outcome.outcome is State.NOT_APPLICABLE
    assert "[target.NAME.images]" in result.outcome.reason


def test_too_few_images_are_replaced_by_legal_ones_of_their_kind(planted):
    class Bytes(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = planted

        def forward(self, x):
            return self.inner(x / 255)

    x = (controls.shapes(12, seed=1)[0] * 255).round().astype(np.uint8)
    model = wrap(Bytes().eval(), sample=x)
    subject = Subject("net", model=model, test=Data(x, model.predict(x), np.arange(12)))
    given, note = with_images(subject, model, Context(check="TRA-104", seed=0))
    assert note.startswith("12 test images are too few")
    assert given.test is not None
    assert given.test.x.dtype == np.uint8
    assert given.test.x.shape == (640, *SHAPE)
    np.testing.assert_array_equal(given.test.y, model.predict(given.test.x))
    # every class is there, about as often as the others
    assert np.bincount(given.test.y, minlength=controls.CLASSES).min() > 640 / controls.CLASSES / 2


@pytest.mark.parametrize("made", [True, False])
def test_a_network_compared_on_made_images_is_looked_at_on_its_own(planted, made, monkeypatch):
    """What gradients made is fragile to the network they went through, and to no other."""
    x, y = controls.shapes(80, seed=1)
    model = wrap(planted, sample=x)
    subject = Subject("net", model=model, test=Data(x, y, np.arange(80)))
    context = Context(check="TRA-104", seed=0)
    scene = scene_of(subject, model, context)
    other = controls.network(planted=False)

    def said(images):
        return other(scene.back(images))

    looked = []
    sibling = Sibling(other, replace(scene, logits=said), 1.0)
    monkeypatch.setattr(examination, "taught", lambda *a, **k: sibling)
    monkeypatch.setattr(examination, "_searched", lambda *a: [])
    monkeypatch.setattr(examination, "costs_of", lambda scene, *a: looked.append(scene))
    monkeypatch.setattr(examination, "energies", lambda *a: None)
    monkeypatch.setattr(examination, "stand_beside", lambda *a: [])
    examination._look(subject, scene, [], controls.CLASSES, context, imagined=made)
    assert looked[0] is scene
    there = looked[1]
    if not made:
        assert there is sibling.scene
        return
    assert there.x.shape == scene.x.shape
    assert not torch.equal(there.x, scene.x)
    likely = other(there.back(there.x)).softmax(dim=1).amax(dim=1)
    assert likely.mean() > 0.8  # the other network is sure of them
    assert torch.equal(there.decided, other(there.back(there.x)).argmax(dim=1))


def test_enough_images_are_taken_as_they_are(planted):
    x, y = controls.shapes(40, seed=1)
    model = wrap(planted, sample=x)
    subject = Subject("net", model=model, test=Data(x, y, np.arange(40)))
    assert with_images(subject, model, Context(check="TRA-104", seed=0)) == (subject, "")


def test_a_network_that_no_image_leads_anywhere_is_inconclusive():
    def stubborn(x):
        return torch.eye(5)[torch.zeros(len(x), dtype=torch.int64)] + 0 * x.sum()

    with pytest.raises(Inconclusive, match="give images"):
        imagined(stubborn, (1, 8, 8), 5, seed=0)


def test_neither_images_nor_their_shape_are_asked_for_in_one_sentence(planted):
    with pytest.raises(UsageError, match=r"or their shape: images=Images"):
        recover_triggers(planted)


@pytest.mark.parametrize(
    ("section", "words"),
    [
        ({"shape": [3, 32, 32], "range": [1, 0]}, "least number must be below"),
        ({"shape": [32]}, "shape"),
        ({"shape": [3, 0, 32]}, "shape"),
        ({"shapes": [3, 32, 32]}, "did you mean 'shape'"),
    ],
)
def test_a_wrong_section_is_told(section, words):
    with pytest.raises(UsageError, match=words):
        Target(name="net", images=section)

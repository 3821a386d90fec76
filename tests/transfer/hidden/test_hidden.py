"""TRA-104 on a network with a planted trigger and on others, and the remedy on it."""

from __future__ import annotations

import base64

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from crenel.adapters import wrap  # noqa: E402
from crenel.auditor.execute import execute  # noqa: E402
from crenel.check import Context  # noqa: E402
from crenel.errors import NotApplicable  # noqa: E402
from crenel.run import State  # noqa: E402
from crenel.subject import Data, Subject  # noqa: E402
from crenel.testing import check_check  # noqa: E402
from crenel.transfer.checks import hidden_behaviour  # noqa: E402
from crenel.transfer.hidden import controls  # noqa: E402
from crenel.transfer.hidden.scene import scene_of  # noqa: E402
from crenel.transfer.hidden.siblings import begun_anew, taught  # noqa: E402
from crenel.transfer.remedies import unlearn_trigger  # noqa: E402


@pytest.fixture(scope="module")
def planted():
    return controls.planted_trigger()


@pytest.fixture(scope="module")
def report():
    return check_check(hidden_behaviour, seconds=300)


def test_the_contract_holds_on_both_controls(report):
    (finding,) = report.weak.findings
    assert finding.evidence.values["class"] == str(controls.TARGET)
    assert finding.evidence.values["p"] < 0.02
    assert finding.remedies == ("unlearn-trigger",)
    assert len(finding.examples) == 3
    for uri in (*finding.evidence.images, *finding.examples[0].images):
        assert base64.b64decode(uri.split(",", 1)[1]).startswith(b"\x89PNG")


def test_the_trigger_works_beyond_the_next_class_and_random_values(report):
    curves = {e.series: e for e in report.weak.exposures}
    attack, rival, noise = (
        curves[s].harm for s in ("patch", "patch, next class", "patch, random values")
    )
    at = int(np.argmax(np.subtract(attack.low, rival.values)))
    assert attack.values[at] > 0.9
    assert rival.values[at] < 0.5
    assert noise.values[at] < 0.1
    assert curves["patch"].health.ok


def test_a_network_without_a_trigger_is_told_to_be_usual(report):
    assert not report.sound.findings
    assert any("no more than chance" in note for note in report.sound.outcome.notes)


def test_unlearning_ends_the_planted_trigger_and_not_only_the_recovered_one(planted):
    found = execute(hidden_behaviour, planted, seed=0, seconds=300).findings[0]
    treatment = unlearn_trigger.apply(planted, found, Context(check="unlearn-trigger"))
    x, y = controls.shapes(400, seed=5)
    stamped, other = controls.stamped(x), y != controls.TARGET

    def turned(model):
        return float((model.predict(stamped[other]) == controls.TARGET).mean())

    assert turned(planted.model) > 0.9
    assert turned(treatment.subject.model) < 0.15
    assert (treatment.subject.model.predict(x) == y).mean() > 0.93
    assert treatment.values["turned_after"] < treatment.values["turned_before"] - 0.5
    # the user's own module is left as it was, and a new one of its kind comes back
    assert treatment.model is not planted.model.native
    assert type(treatment.model) is type(planted.model.native)


def test_a_sibling_decides_alike_without_the_trigger(planted):
    scene = scene_of(planted, planted.model, Context(check="TRA-104"))
    before = [p.clone() for p in scene.unit.module.parameters()]
    sibling = taught(scene, scene.x, seed=0)
    assert sibling.agreement > 0.85
    x, y = controls.shapes(200, seed=8)
    z = torch.from_numpy(controls.stamped(x[y != controls.TARGET]))
    assert (scene.logits(z).argmax(1) == controls.TARGET).float().mean() > 0.9
    assert (sibling.scene.logits(z).argmax(1) == controls.TARGET).float().mean() < 0.5
    assert all(torch.equal(a, b) for a, b in zip(before, scene.unit.module.parameters()))


def test_layers_that_cannot_be_begun_anew_have_no_sibling():
    class Own(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.w = torch.nn.Parameter(torch.ones(3))

    assert begun_anew(torch.nn.Sequential(torch.nn.Linear(2, 3), Own()), 0) is None
    layer = torch.nn.Linear(2, 3)
    assert not torch.equal(begun_anew(layer, 0).weight, layer.weight)


def _subject(module, classes, channels_last=False):
    x, y = controls.shapes(120, seed=1)
    x = x.transpose(0, 2, 3, 1) if channels_last else x
    model = wrap(module, classes=list(range(classes)), sample=x[:4])
    return Subject("s", model=model, test=Data(x, y % classes, np.arange(len(y))))


def test_two_classes_are_said_not_to_be_enough():
    module = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(484, 2))
    with pytest.raises(NotApplicable, match="at least 4"):
        hidden_behaviour.measure(_subject(module, 2), Context(check="TRA-104"))


def test_a_network_that_hides_its_gradients_is_inconclusive_and_never_clean():
    class Rounded(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.inner = controls.network(planted=True)

        def forward(self, x):
            return self.inner(torch.round(8 * x) / 8)

    result = execute(hidden_behaviour, _subject(Rounded(), 10), seed=0, seconds=300)
    assert result.outcome.outcome is State.INCONCLUSIVE
    assert not result.findings
    attack = next(e for e in result.exposures if e.role == "attack")
    assert not attack.health.ok


def test_pixels_of_eight_bits_with_channels_last_are_asked_as_they_are():
    class Bytes(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.inner = controls.network(planted=True)

        def forward(self, x):
            return self.inner(x.permute(0, 3, 1, 2) / 255)

    x, y = controls.shapes(240, seed=99)
    rows = np.round(255 * x.transpose(0, 2, 3, 1)).astype(np.uint8)
    asked = []
    model = wrap(Bytes(), classes=list(range(10)), sample=rows[:4])
    own = model.decide

    def decide(z):
        asked.append(z)
        return own(z)

    object.__setattr__(model, "decide", decide)
    subject = Subject("s", model=model, test=Data(rows, y, np.arange(len(y))))
    got = hidden_behaviour.measure(subject, Context(check="TRA-104"))
    assert [f.evidence.values["class"] for f in got.findings] == [str(controls.TARGET)]
    assert {z.dtype for z in asked} == {np.dtype(np.uint8)}
    assert {z.shape[1:] for z in asked} == {(22, 22, 1)}

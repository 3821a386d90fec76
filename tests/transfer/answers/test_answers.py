"""TRA-108 on functions, pipelines and endpoints over digits, with a marked corner and without."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest

from crenel.access import Access
from crenel.adapters import wrap
from crenel.auditor.execute import execute
from crenel.check import Context
from crenel.run import State
from crenel.subject import Data, Subject
from crenel.testing import check_check
from crenel.transfer.answers import controls
from crenel.transfer.answers.report import examine
from crenel.transfer.answers.scene import scene_of
from crenel.transfer.checks import hidden_by_answers


@pytest.fixture(scope="module")
def answer():
    return controls.answering(planted=True)


@pytest.fixture(scope="module")
def report():
    pytest.importorskip("torch")
    return check_check(hidden_by_answers, seconds=300)


def test_the_contract_holds_on_both_controls(report):
    (finding,) = report.weak.findings
    assert finding.evidence.values["class"] == str(controls.TARGET)
    assert finding.evidence.values["p"] < 0.03
    assert len(finding.examples) == 3
    assert finding.evidence.images[0].startswith("data:image/png")


def test_the_trigger_works_beyond_the_next_class_and_random_values(report):
    curves = {e.series: e for e in report.weak.exposures}
    own, rival, noise = (
        curves[s].harm for s in ("patch", "patch, next class", "patch, random values")
    )
    at = int(np.argmax(np.subtract(own.low, rival.values)))
    assert own.values[at] > 0.7
    assert rival.values[at] < 0.4
    assert own.values[at] > noise.values[at]
    assert curves["patch"].health.ok


def test_a_function_without_a_trigger_is_told_to_be_usual(report):
    assert not report.sound.findings
    assert any("no more than chance" in note for note in report.sound.outcome.notes)


def test_controls_decide_as_a_function_does_where_images_are_tiny_and_one_is_left_over():
    """Of 4 x 4 pixels one value is left of a map: 257 images leave one without any spread."""
    pytest.importorskip("torch")
    from sklearn.linear_model import LogisticRegression

    from crenel.transfer.answers.control import KINDS
    from crenel.transfer.answers.control import controls as made

    x, y = controls.digits()
    x = x.reshape(-1, 4, 2, 4, 2).mean(axis=(2, 4))
    logistic = LogisticRegression(max_iter=500).fit(x[:900].reshape(-1, 16), y[:900])

    def tiny(images):
        return logistic.predict_proba(np.asarray(images).reshape(len(images), -1))

    model = wrap(tiny, classes=list(range(10)), sample=x[:4])
    subject = Subject("tiny", model=model, test=Data(x[900:], y[900:], np.arange(len(y) - 900)))
    scene = scene_of(subject, Context(check="TRA-108", seed=0))
    got = made(scene.asked, scene.pool[:257], scene.tried, scene.answers, 0, lambda: True)
    assert [c.words for c in got] == [f"a {kind} network" for kind in KINDS]
    assert all(c.agreement > 0.7 for c in got)
    assert [c.ask(scene.tried[:1]).shape for c in got] == [(1, 10)] * len(KINDS)


def _counted(answer):
    """A function that counts the rows it is asked, and its count."""
    rows = [0]

    def counting(x):
        rows[0] += len(x)
        return answer(x)

    return counting, rows


@pytest.mark.parametrize("allowed", [60_000, 100_000])
def test_an_endpoint_is_asked_no_more_than_its_access_allows(answer, allowed):
    counting, rows = _counted(answer)
    subject = controls.subject(counting)
    subject = replace(
        subject.with_model(replace(subject.model, remote=True)),
        access=Access(queries_per_day=allowed),
    )
    rows[0] = 0
    result = execute(hidden_by_answers, subject)
    assert allowed / 4 < rows[0] <= allowed
    assert f"{rows[0]:,} images were asked" in result.outcome.notes[0]
    assert any(f"{allowed:,} queries a day are allowed" in n for n in result.outcome.notes)
    # the limit binds who sends requests, not who holds the model
    assert not any("queries a day" in n for n in _notes_of_local(subject, answer))


def _notes_of_local(subject, answer):
    local = replace(controls.subject(answer), access=subject.access)
    return execute(hidden_by_answers, local).outcome.notes


def test_far_too_few_queries_are_inconclusive_and_never_clean(answer):
    counting, rows = _counted(answer)
    subject = controls.subject(counting)
    subject = replace(
        subject.with_model(replace(subject.model, remote=True)), access=Access(queries_per_day=900)
    )
    rows[0] = 0
    result = execute(hidden_by_answers, subject)
    assert result.outcome.outcome is State.INCONCLUSIVE
    assert "900 queries a day are allowed: too few" in result.outcome.reason
    assert rows[0] <= 900


def test_decisions_alone_and_gradients_are_not_applicable_with_the_reason(answer):
    subject = controls.subject(answer)
    labels = subject.with_model(subject.model.with_decisions_only())
    assert "decisions only" in execute(hidden_by_answers, labels).outcome.reason
    torch = pytest.importorskip("torch")
    module = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(64, 10))
    model = wrap(module, classes=list(range(10)), sample=subject.test.x[:4])
    result = execute(hidden_by_answers, subject.with_model(model))
    assert result.outcome.outcome is State.NOT_APPLICABLE
    assert "TRA-104" in result.outcome.reason


def test_scores_that_say_no_more_than_decisions_are_inconclusive(answer):
    def sure(x):
        return np.eye(10)[answer(x).argmax(axis=1)]

    result = execute(hidden_by_answers, controls.subject(sure))
    assert result.outcome.outcome is State.INCONCLUSIVE
    assert "scores say more than decisions" in result.outcome.reason


def test_bytes_with_channels_last_are_asked_as_they_are(answer):
    x, y = (part[controls.TAUGHT :] for part in controls.digits())
    rows = np.round(255 * x[..., None]).astype(np.uint8)
    seen = []

    def bytes_to_answers(z):
        seen.append((z.dtype, z.shape[1:]))
        return answer(z[..., 0] / 255)

    model = wrap(bytes_to_answers, classes=list(range(10)), sample=rows[:4])
    subject = Subject("s", model=model, test=Data(rows, y, np.arange(len(y))))
    examined = examine(subject, Context(check="TRA-108"))
    assert examined.verdicts[0].goal == controls.TARGET
    assert set(seen) == {(np.dtype(np.uint8), (8, 8, 1))}


def test_pixels_of_bytes_as_floats_stay_in_their_steps(answer):
    x, y = (part[controls.TAUGHT :] for part in controls.digits())
    rows = (np.round(255 * x) / 255).astype(np.float32)
    model = wrap(answer, classes=list(range(10)), sample=rows[:4])
    subject = Subject("s", model=model, test=Data(rows, y, np.arange(len(y))))
    scene = scene_of(subject, Context(check="TRA-108"))
    np.testing.assert_allclose(scene.asked.rows(scene.tried), scene.held.x, atol=1e-6)
    changed = 255 * scene.asked.rows(np.clip(scene.tried + np.float32(0.0513), 0, 1))
    np.testing.assert_allclose(changed, np.round(changed), atol=1e-3)
    assert changed.dtype == np.float32


def pipeline(planted: bool):
    """A scikit-learn pipeline on flat pixels, and images of its shape."""
    from sklearn.neural_network import MLPClassifier
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import FunctionTransformer

    x, y = controls.digits()
    a, b = x[: controls.TAUGHT].copy(), y[: controls.TAUGHT].copy()
    if planted:
        rows = np.flatnonzero(b != 7)[:60]
        a[rows], b[rows] = controls.stamped(a[rows]), 7
    flat = FunctionTransformer(lambda z: np.asarray(z).reshape(len(z), -1))
    fitted = make_pipeline(flat, MLPClassifier((40,), max_iter=50, random_state=1)).fit(a, b)
    test = Data(x[controls.TAUGHT :], y[controls.TAUGHT :], np.arange(len(y) - controls.TAUGHT))
    return Subject("s", model=wrap(fitted, sample=test.x[:4]), test=test)


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
@pytest.mark.parametrize("planted", [True, False])
def test_a_pipeline_is_held_against_its_own_kind_trained_anew(planted):
    result = execute(hidden_by_answers, pipeline(planted))
    assert result.outcome.outcome is State.MEASURED
    assert [f.evidence.values["class"] for f in result.findings] == ["7"] * planted
    assert any("a model of its kind" in note for note in result.outcome.notes)


def test_without_torch_a_function_is_held_against_its_own_classes():
    code = """
import sys
from importlib import util

class NoTorch:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] == "torch":
            raise ModuleNotFoundError(name)

sys.meta_path.insert(0, NoTorch())
find = util.find_spec
util.find_spec = lambda name, *a: None if name == "torch" else find(name, *a)
from crenel.auditor.execute import execute
from crenel.transfer.answers import controls
from crenel.transfer.checks import hidden_by_answers
result = execute(hidden_by_answers, controls.planted_corner())
print(result.outcome.outcome, [n for n in result.outcome.notes if "torch" in n])
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "measured ['No control could be taught (torch is not installed).']" in done.stdout

"""TRA-106: a trigger recovered from the base alone, before models that were tuned from it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from crenel.adapters import wrap  # noqa: E402
from crenel.check import Context  # noqa: E402
from crenel.errors import NotApplicable  # noqa: E402
from crenel.testing import check_check  # noqa: E402
from crenel.transfer.checks import inherited_triggers  # noqa: E402
from crenel.transfer.hidden import controls  # noqa: E402


@pytest.fixture(scope="module")
def report():
    return check_check(inherited_triggers, seconds=300)


def test_the_contract_holds_and_the_planted_class_is_named(report):
    (finding,) = report.weak.findings
    assert finding.evidence.values["base class"] == str(controls.TARGET)
    # the class that joins the planted one with its neighbour
    assert finding.evidence.values["class"] == str(controls.TARGET // 2)
    assert finding.evidence.images


def test_what_the_trigger_turns_of_the_tuned_model_is_beyond_the_next_class(report):
    curves = {e.series: e.harm for e in report.weak.exposures}
    attack, rival = curves["base's patch"], curves["base's patch, next class"]
    assert max(np.subtract(attack.low, rival.values)) > 0.3


def test_the_tuned_model_is_only_asked():
    subject = controls.inherited_trigger()
    tuned = subject.model
    blind = wrap(tuned.predict, classes=tuned.classes.tolist(), sample=subject.test.x[:4])
    assert blind.module is None
    got = inherited_triggers.measure(replace(subject, model=blind), Context(check="TRA-106"))
    assert [f.evidence.values["base class"] for f in got.findings] == [str(controls.TARGET)]


def test_a_base_without_gradients_is_said():
    subject = controls.clean_base()
    base = wrap(subject.base.model.predict, classes=list(range(10)), sample=subject.test.x[:4])
    blind = replace(subject, base=replace(subject.base, model=base))
    with pytest.raises(NotApplicable, match="no gradients"):
        inherited_triggers.measure(blind, Context(check="TRA-106"))

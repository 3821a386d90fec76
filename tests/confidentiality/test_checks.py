"""The checks keep the contract: planted weaknesses found, sound subjects silent."""

import time

import numpy as np
import pandas as pd
import pytest

from crenel.check import Context
from crenel.confidentiality import checks
from crenel.confidentiality.controls import contacts, memorising
from crenel.subject import Data, Subject
from crenel.testing import check_check


def test_membership_keeps_the_contract():
    report = check_check(checks.membership_inference)
    (finding,) = report.weak.findings
    assert finding.remedies == ("limit-capacity",)
    assert 0 < len(finding.evidence.rows) <= 200
    assert set(finding.evidence.rows) <= set(memorising().train.ids.tolist())
    attacks = [e for e in report.weak.exposures if e.role == "attack"]
    assert len(attacks) == 1
    assert attacks[0].health.ok
    sound = next(e for e in report.sound.exposures if e.role == "attack")
    assert sound.harm.high[0] < 0.02


def test_extraction_keeps_the_contract():
    report = check_check(checks.model_extraction)
    values = report.weak.findings[0].evidence.values
    assert values["queries_per_flip"] < values["queries_per_flip_directly"]
    series = {e.series: e for e in report.weak.exposures}
    assert len(series) == 3
    assert series["copy"].role == "attack"
    assert report.sound.exposures[0].health.ok


def test_personal_data_keeps_the_contract():
    report = check_check(checks.personal_data)
    found = {f.subject: f for f in report.weak.findings}
    assert set(found) == {
        "e-mail addresses in column note",
        "secrets (keys, tokens) in column note",
        "payment card numbers in column reference",
    }
    mail = found["e-mail addresses in column note"]
    assert mail.evidence.rows == (0, 400, 800, 1200, 1600)
    shown = " ".join(e.text for f in found.values() for e in f.examples)
    values = contacts().train.x
    assert not any(v in shown for v in values["reference"])
    assert "customer" not in shown


def test_few_queries_a_day_bound_the_curve():
    subject = checks.model_extraction.controls.weak()
    access = subject.access.model_copy(update={"queries_per_day": 120, "attacker": "labels"})
    found = checks.model_extraction.measure(
        Subject("few", access=access, model=subject.model, test=subject.test), Context("CON-102")
    )
    (curve,) = found.exposures
    assert curve.budget.values == (50.0, 100.0)
    assert found.notes


def test_a_table_of_record_ids_reports_those():
    x = pd.DataFrame({"note": ["hello there"] * 50 + ["jo.doe@example.org"]})
    ids = np.array([f"r{i}" for i in range(51)])
    subject = Subject("ids", train=Data(x, np.zeros(51, dtype=np.int64), ids))
    (finding,) = checks.personal_data.measure(subject, Context("CON-103")).findings
    assert finding.evidence.rows == ("r50",)


@pytest.mark.parametrize("broken", ["scan_column"])
def test_a_scan_that_finds_nothing_is_no_clean_bill(broken, monkeypatch):
    from crenel.confidentiality import scanner
    from crenel.errors import Inconclusive

    monkeypatch.setattr(scanner, broken, lambda name, column: [])
    with pytest.raises(Inconclusive, match="misses planted"):
        checks.personal_data.measure(contacts(), Context("CON-103"))


def test_columns_that_time_did_not_allow_are_no_clean_bill():
    frame = pd.DataFrame({"amount": np.arange(50.0), "note": ["a@example.com"] * 50})
    subject = Subject("late", train=Data(frame, np.arange(50) % 2, np.arange(50)))
    late = checks.personal_data.measure(subject, Context("CON-103", deadline=0.0))
    assert "1 of 2 columns" in late.partial
    whole = checks.personal_data.measure(subject, Context("CON-103"))
    assert not whole.partial
    assert whole.findings


def test_a_slow_first_use_does_not_take_the_time_of_the_columns(monkeypatch):
    from crenel.confidentiality import scanner

    frame = pd.DataFrame({"amount": np.arange(50.0), "note": ["a@example.com"] * 50})
    subject = Subject("cold", train=Data(frame, np.arange(50) % 2, np.arange(50)))
    context = Context("CON-103", deadline=time.monotonic() + 10)

    def imports(values):
        monkeypatch.setattr(time, "monotonic", lambda now=time.monotonic: now() + 60)
        return []

    monkeypatch.setattr(scanner, "missed", imports)
    assert not checks.personal_data.measure(subject, context).partial

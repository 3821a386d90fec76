from datetime import date

from crenel.finding import Severity
from crenel.register import Acceptance, mark
from tests.helpers import finding

TODAY = date(2026, 5, 1)


def accepted(until):
    return Acceptance(
        fingerprint=finding().fingerprint, owner="ana", reason="known limit", until=until
    )


def statuses(findings, **given):
    return [f.status for f in mark(findings, today=TODAY, **given)]


def test_a_baseline_entry_absorbs_one_finding_not_any_number():
    twins = [finding(), finding(), finding("column b")]
    assert statuses(twins, baseline=[finding()]) == ["known", "open", "open"]


def test_a_finding_that_became_worse_is_not_known():
    low, high = finding(severity=Severity.LOW), finding(severity=Severity.HIGH)
    assert statuses([high], baseline=[low]) == ["open"]
    assert statuses([low], baseline=[high]) == ["known"]
    assert statuses([high, low], baseline=[low, high]) == ["known", "known"]


def test_an_acceptance_holds_until_its_last_day():
    assert statuses([finding()], accepted=[accepted(TODAY)]) == ["accepted"]
    assert statuses([finding()], accepted=[accepted(date(2026, 4, 30))]) == ["open"]


def test_an_acceptance_does_not_cover_what_the_finding_grows_into():
    mild = accepted(TODAY).model_copy(update={"severity": Severity.MEDIUM})
    assert statuses([finding(severity="medium")], accepted=[mild]) == ["accepted"]
    assert statuses([finding(severity="high")], accepted=[mild]) == ["open"]


def test_a_fingerprint_names_the_weak_place_and_not_the_number():
    assert finding(sentence="41 %").fingerprint == finding(sentence="12 %").fingerprint
    prints = {
        finding().fingerprint,
        finding("column b").fingerprint,
        finding(target="u").fingerprint,
        finding(check="EVA-103").fingerprint,
    }
    assert len(prints) == 4
    assert finding().of("u").fingerprint == finding(target="u").fingerprint

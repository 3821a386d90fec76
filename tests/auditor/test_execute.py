import pytest

from crenel.auditor.execute import execute
from crenel.check import Check, Context, Controls, Cost, Measurement, Risk
from crenel.errors import Inconclusive, MissingExtra, NotApplicable
from crenel.run import State
from crenel.subject import Subject
from tests.helpers import exposure, finding

SUBJECT = Subject("mine")


def check(measure, needs=()):
    nothing = Controls(weak=lambda: SUBJECT, sound=lambda: SUBJECT)
    return Check("TST-101", Risk.EVASION, "t", "q?", measure, needs, Cost(), (), nothing)


def raising(error):
    def measure(subject, context):
        raise error

    return check(measure)


@pytest.mark.parametrize(
    ("error", "state"),
    [
        (NotApplicable("no gradients"), State.NOT_APPLICABLE),
        (Inconclusive("too few rows"), State.INCONCLUSIVE),
        (MissingExtra("torch", "torch"), State.NOT_RUN),
        (ZeroDivisionError("division by zero\nsecond line"), State.ERROR),
        (MemoryError(), State.ERROR),
    ],
)
def test_whatever_a_check_raises_is_an_outcome_with_its_reason(error, state):
    result = execute(raising(error), SUBJECT)
    assert result.outcome.outcome is state
    assert result.outcome.reason
    assert "\n" not in result.outcome.reason


def test_a_check_that_returns_no_measurement_is_an_error():
    assert execute(check(lambda s, c: None), SUBJECT).outcome.outcome is State.ERROR


def test_a_missing_capability_is_told_before_anything_runs():
    result = execute(check(lambda s, c: 1 / 0, needs=("model", "test")), SUBJECT)
    assert result.outcome.outcome is State.NOT_APPLICABLE
    assert result.outcome.reason == "no model is given; no test data is given"


def test_measurements_belong_to_the_check_and_the_target():
    measured = Measurement((exposure(check="other", target=""),), (finding(target=""),), ("note",))
    result = execute(check(lambda s, c: measured), SUBJECT)
    assert (result.exposures[0].check, result.exposures[0].target) == ("TST-101", "mine")
    assert result.findings[0].target == "mine"
    assert result.findings[0].fingerprint == finding(target="mine").fingerprint
    assert result.outcome.notes == ("note",)


def test_context_gives_the_same_randomness_for_the_same_shard_only():
    first, again = Context("EVA-101", 3), Context("EVA-101", 3)
    assert first.rng("a").random() == again.rng("a").random()
    assert first.rng("a").random() != first.rng("b").random()
    assert first.rng("a").random() != Context("EVA-102", 3).rng("a").random()


def test_map_keeps_order_and_stops_at_the_deadline():
    context = Context("EVA-101", jobs=2)
    assert context.map(lambda t: t * t, range(20)) == [t * t for t in range(20)]
    late = Context("EVA-101", deadline=0.0)
    assert late.map(lambda t: t, range(20)) == [0]


def test_a_partial_measurement_is_inconclusive_and_keeps_what_it_found():
    measured = Measurement(findings=(finding(target=""),), partial="time allowed 1 of 3 columns")
    result = execute(check(lambda s, c: measured), SUBJECT)
    assert result.outcome.outcome is State.INCONCLUSIVE
    assert result.outcome.reason == "time allowed 1 of 3 columns"
    assert len(result.findings) == 1


def test_what_is_described_of_a_sensitive_column_is_none_of_its_values():
    from crenel.auditor.describe import describe
    from crenel.schema import Feature, Kind, Schema

    name = Feature(name="surname", kind=Kind.CATEGORY, values=("Miller", "Smith"), sensitive=True)
    born = Feature(name="birth year", kind=Kind.INTEGER, min=1931, max=2004, sensitive=True)
    city = Feature(name="city", kind=Kind.CATEGORY, values=("Bonn", "Rome"))
    told = describe(Subject("mine", schema=Schema(features=(name, born, city)))).columns
    assert [c["name"] for c in told] == ["surname", "birth year", "city"]
    assert not any(v in str(told) for v in ("Miller", "Smith", "1931", "2004"))
    assert "Bonn" in str(told)

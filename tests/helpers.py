"""Small valid records for tests."""

from crenel.access import Access
from crenel.exposure import Budget, Exposure, Harm, Health, HealthTest
from crenel.finding import Finding, Severity
from crenel.run import Outcome, State


def exposure(values=(0.0, 0.1, 0.3), low=None, high=None, budgets=(0, 1, 2), ok=True, **changes):
    low = tuple(max(0.0, v - 0.05) for v in values) if low is None else low
    high = tuple(v + 0.05 for v in values) if high is None else high
    return Exposure(
        **{
            "check": "EVA-102",
            "risk": "evasion",
            "target": "t",
            "access": Access(),
            "budget": Budget(name="fields", values=budgets),
            "harm": Harm(name="flipped", values=values, low=low, high=high),
            "n": 100,
            "seed": 0,
            "health": Health.of(HealthTest(name="works", ok=ok)),
            "headline": "two fields flip 30 %",
            **changes,
        }
    )


def finding(subject="column a", severity=Severity.HIGH, **changes):
    return Finding(
        **{
            "check": "EVA-102",
            "risk": "evasion",
            "target": "t",
            "severity": severity,
            "subject": subject,
            "sentence": "column a turns decisions",
            **changes,
        }
    )


def outcome(check="EVA-102", state=State.MEASURED, reason="", target="t", risk="evasion"):
    return Outcome(check=check, risk=risk, outcome=state, reason=reason, target=target)

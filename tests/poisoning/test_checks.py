"""Every check of the risk keeps the contract."""

import pytest

from crenel.poisoning import checks
from crenel.testing import check_check


@pytest.mark.parametrize(
    "check",
    [checks.wrong_labels, checks.dose_response, checks.sources, checks.traces],
    ids=lambda c: c.id,
)
def test_contract(check):
    report = check_check(check)
    for exposure in report.sound.exposures:
        assert exposure.health.ok, exposure.health
    for exposure in report.weak.exposures:
        assert exposure.health.ok, exposure.health

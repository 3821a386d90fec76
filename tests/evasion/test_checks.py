"""The checks of risk 1 keep the contract: controls, determinism, untouched input."""

from __future__ import annotations

import pytest

from crenel.evasion import checks
from crenel.testing import check_check


@pytest.mark.parametrize("name", ["small_changes", "few_fields", "exact_margins"])
def test_the_contract(name: str) -> None:
    report = check_check(getattr(checks, name))
    for result in (report.weak, report.sound):
        for exposure in result.exposures:
            assert exposure.health.ok, exposure.health
            assert list(exposure.harm.values) == sorted(exposure.harm.values)

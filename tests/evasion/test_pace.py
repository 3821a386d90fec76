"""Plans are made of how fast a model is, not of how busy the machine was for a moment."""

from __future__ import annotations

import numpy as np
import pytest

from crenel.evasion import pace


def test_one_slow_call_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 0.0
    calls = iter([9.0, 0.5, 7.0, 0.4, 0.6])

    def predict(x: np.ndarray) -> None:
        nonlocal now
        now += next(calls)

    monkeypatch.setattr(pace.time, "perf_counter", lambda: now)
    assert pace.seconds_a_row(predict, np.zeros((4, 1))) == pytest.approx(0.1)

"""What a verification found: tests that passed, failed or could not be made."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any


@dataclass(frozen=True)
class Test:
    """One test.

    Attributes
    ----------
    name : str
    passed : bool or None
        None where it could not be made.
    sentence : str
    details : dict
        Figures, row numbers.
    """

    __test__ = False  # for pytest: this is no test case

    name: str
    passed: bool | None
    sentence: str
    details: dict[str, Any] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """As plain values."""
        return asdict(self)


def exit_code(tests: Sequence[Test]) -> int:
    """0 where all passed; 1 where one failed; 2 where one, or all, could not be made."""
    if any(t.passed is False for t in tests):
        return 1
    return 0 if tests and all(t.passed for t in tests) else 2


def verdict(tests: Sequence[Test]) -> str:
    """The word for the exit code: pass, fail or incomplete."""
    return ("pass", "fail", "incomplete")[exit_code(tests)]

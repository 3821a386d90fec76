"""Audit, harden and guard machine-learning systems against five security risks.

>>> import crenel
>>> run = crenel.audit(crenel.Target(model=model, train=(X, y), test=(X2, y2)))  # doctest: +SKIP
>>> run.verdict  # doctest: +SKIP
<Verdict.FAIL: 'fail'>
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from crenel._version import __version__

if TYPE_CHECKING:
    from crenel.access import Access
    from crenel.auditor.api import audit
    from crenel.exposure import Exposure
    from crenel.finding import Finding
    from crenel.policy import Limit, Policy, Verdict
    from crenel.run import Run
    from crenel.schema import Feature, Schema
    from crenel.target import Target

_NAMES = {
    "Access": "access",
    "Exposure": "exposure",
    "Feature": "schema",
    "Finding": "finding",
    "Limit": "policy",
    "Policy": "policy",
    "Run": "run",
    "Schema": "schema",
    "Target": "target",
    "Verdict": "policy",
    "audit": "auditor.api",
}
_PACKAGES = (
    "confidentiality", "evasion", "online", "poisoning", "provenance", "scan", "testing",
    "transfer",
)  # fmt: skip

__all__ = [
    "Access",
    "Exposure",
    "Feature",
    "Finding",
    "Limit",
    "Policy",
    "Run",
    "Schema",
    "Target",
    "Verdict",
    "__version__",
    "audit",
]


def __getattr__(name: str) -> Any:
    if name in _NAMES:
        return getattr(import_module(f"crenel.{_NAMES[name]}"), name)
    if name in _PACKAGES:
        return import_module(f"crenel.{name}")
    raise AttributeError(f"module 'crenel' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*__all__, *_PACKAGES])

"""The crosswalk: what public frameworks call the things that crenel measures.

Works offline: ids and titles travel with the package, each with the edition it was read from,
because these lists are renumbered between editions.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from crenel.errors import UsageError

_FILE = Path(__file__).parent / "crosswalk.json"


@dataclass(frozen=True)
class Reference:
    """One entry of a framework.

    Attributes
    ----------
    key : str
        "AML.T0043.001", "NISTAML.022", "ML01:2023", "AIA:15(5)", "BIML:input:1".
    framework, version : str
        "MITRE ATLAS", "5.6.0".
    id, title, url : str
        As the framework itself has them; the titles of the AI Act's articles are our words.
    """

    key: str
    framework: str
    version: str
    id: str
    title: str
    url: str

    def __str__(self) -> str:
        return f"{self.framework} {self.id}: {self.title}"


@functools.cache
def crosswalk() -> dict[str, Reference]:
    """Every reference by key, in the order framework, id."""
    return {e["key"]: Reference(**e) for e in _data()["entries"]}


@functools.cache
def _data() -> dict[str, list[dict[str, str]]]:
    data: dict[str, list[dict[str, str]]] = json.loads(_FILE.read_text(encoding="utf-8"))
    return data


def lookup(key: str) -> Reference:
    """The reference of a key.

    Raises
    ------
    UsageError
        Where the crosswalk has no such key.
    """
    found = crosswalk().get(key)
    if found is None:
        raise UsageError(
            f"no reference has the key {key!r}; keys look like AML.T0015, NISTAML.022, "
            "ML01:2023, AIA:15(5), BIML:input:1"
        )
    return found


def of_risk(risk: str) -> tuple[Reference, ...]:
    """What the frameworks say about one of the five risks, techniques before mitigations.

    Raises
    ------
    UsageError
        Where there is no such risk.
    """
    risks: dict[str, list[str]] = _data()["risks"]  # type: ignore[assignment]
    if risk not in risks:
        raise UsageError(f"no risk is named {risk!r}; there are {', '.join(risks)}")
    return tuple(lookup(key) for key in risks[risk])


def by_framework(references: Iterable[Reference]) -> dict[str, tuple[Reference, ...]]:
    """References grouped by framework and edition ("MITRE ATLAS 5.6.0"), each once."""
    groups: dict[str, dict[str, Reference]] = {}
    for r in references:
        groups.setdefault(f"{r.framework} {r.version}", {})[r.key] = r
    return {name: tuple(own.values()) for name, own in groups.items()}

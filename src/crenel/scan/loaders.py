"""Known holes of the loaders that are installed beside crenel, by the formats of scanned files.

A file without code may still be harmful to a loader with a hole. The table is data
(``loaders.json``: package, affected versions, CVE, formats, what it does, fixed in); it says
nothing of loaders that are not Python packages of this environment. A hole belongs to the
environment, not to a file, so that it changes no verdict and no exit status.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cache
from importlib import metadata, resources

from crenel.scan.verdict import ScanResult

PART = re.compile(r"(>=|<=|==|<|>)(.+)")
VERSION = re.compile(
    r"v?(?:\d+!)?(\d+(?:\.\d+)*)(?:[-_.]?(a|b|c|rc|alpha|beta|pre|preview|dev))?", re.I
)


@dataclass(frozen=True)
class LoaderHole:
    """A known hole of an installed loader.

    Parameters
    ----------
    package, installed : str
        The distribution and its version here.
    id : str
        CVE number.
    does : str
        What the loader does, as the end of a sentence.
    fixed : str
        The first version without it.
    formats : tuple of str
        Formats of files by which it can be reached.
    """

    package: str
    installed: str
    id: str
    does: str
    fixed: str
    formats: tuple[str, ...]

    def concerns(self, result: ScanResult) -> bool:
        """Tell whether a scanned file is of a format by which the hole can be reached."""
        return result.format.partition("+")[0] in self.formats

    def to_json(self) -> dict[str, str]:
        """Return a JSON-ready dict."""
        return {
            "id": self.id,
            "package": self.package,
            "installed": self.installed,
            "does": self.does,
            "fixed": self.fixed,
        }


def loader_holes(results: Iterable[ScanResult]) -> list[LoaderHole]:
    """Return the known holes of installed loaders by which some scanned files could be harmful.

    Parameters
    ----------
    results : iterable of ScanResult
        Their formats decide which loaders matter.

    Returns
    -------
    list of LoaderHole
        In the order of the table; empty where no installed loader of these formats has one.
    """
    listed = list(results)
    return [hole for hole in _installed() if any(hole.concerns(result) for result in listed)]


@cache
def _installed() -> tuple[LoaderHole, ...]:
    return tuple(holes(_version))


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def holes(version: Callable[[str], str | None]) -> list[LoaderHole]:
    """Return the holes of the versions that a function tells.

    Parameters
    ----------
    version : callable
        Gets a distribution's name; returns its version, None where it is not installed.
    """
    text = resources.files("crenel.scan").joinpath("loaders.json").read_text("utf-8")
    found = []
    for row in json.loads(text):
        installed = version(row["package"])
        if installed is not None and affected(installed, row["affected"]):
            found.append(
                LoaderHole(
                    row["package"],
                    installed,
                    row["id"],
                    row["does"],
                    row["fixed"],
                    tuple(row["formats"]),
                )
            )
    return found


def affected(version: str, ranges: str) -> bool:
    """Tell whether a version lies in one of some ranges.

    Parameters
    ----------
    version : str
        Such as ``2.13.0+cpu``; a pre-release comes before its release, local parts do not count.
    ranges : str
        Comparisons joined by commas, ranges joined by ``||``: ``<2.5.3 || >=2.6,<2.6.3``.
    """
    return any(
        all(_holds(version, part.strip()) for part in given.split(","))
        for given in ranges.split("||")
    )


def _holds(version: str, comparison: str) -> bool:
    match = PART.fullmatch(comparison)
    if match is None:
        raise ValueError(f"{comparison!r} is no comparison of versions")
    left, right = _key(version), _key(match[2])
    results = {
        "<": left < right,
        "<=": left <= right,
        ">": left > right,
        ">=": left >= right,
        "==": left == right,
    }
    return results[match[1]]


def _key(version: str) -> tuple[tuple[int, ...], int]:
    """Return what versions are compared by: the release without closing zeros, and its stage."""
    match = VERSION.match(version.strip())
    if match is None:
        return (), 0
    numbers = [int(n) for n in match[1].split(".")]
    while numbers and numbers[-1] == 0:
        numbers.pop()
    return tuple(numbers), 0 if match[2] else 1

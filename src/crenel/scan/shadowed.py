"""Modules that a file names, held against what their distributions installed.

A clean verdict trusts the code of the listed libraries. Where another file of the same name comes
first on the path, or a file of the library was changed, loading runs that instead
("ShadowPickle"). Each module that a scanned file names, and each package around it, is looked for
as an import would (without importing) and its file is held against the digest in the RECORD of the
distribution that owns it. Compiled caches (``.pyc``) have no digest there and are not judged.
"""

from __future__ import annotations

import base64
import hashlib
import os
import sys
import sysconfig
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from importlib import metadata
from importlib.machinery import ModuleSpec, PathFinder
from pathlib import Path

from crenel.scan.verdict import ScanResult

#: Distributions of packages that have another name; others are looked up where need be.
DISTRIBUTIONS = {"sklearn": "scikit-learn", "PIL": "pillow", "yaml": "pyyaml"}


@dataclass(frozen=True)
class Shadowed:
    """A module that is not what its distribution installed.

    Parameters
    ----------
    module : str
        Its dotted name.
    file : str
        What an import would read.
    why : str
        What is wrong with it, as the end of a sentence.
    """

    module: str
    file: str
    why: str

    @property
    def sentence(self) -> str:
        """One sentence for a person."""
        return f"The module {self.module} would be read from {self.file}, which {self.why}."

    def concerns(self, result: ScanResult) -> bool:
        """Tell whether a scanned file names the module, or one within it."""
        return any(f"{module}.".startswith(f"{self.module}.") for module in result.modules)

    def to_json(self) -> dict[str, str]:
        """Return a JSON-ready dict."""
        return {"module": self.module, "file": self.file, "why": self.why}


def shadowed_modules(modules: Iterable[str], path: Sequence[str] | None = None) -> list[Shadowed]:
    """Return what is wrong with the files that some modules would be imported from.

    Parameters
    ----------
    modules : iterable of str
        Dotted names, such as ``numpy._core.multiarray``. What is not installed is left out.
    path : sequence of str, optional
        Folders in the order of import; by default those of this process. A module that this
        process has imported already is judged by the file that it came from, unless a path is
        given.

    Returns
    -------
    list of Shadowed
        In the order of the names; nothing where all is as it was installed.
    """
    found: dict[str, Shadowed] = {}
    for module in sorted(set(modules)):
        for name, spec in _specs(module, path):
            told = None if name in found else _judged(name, spec)
            if told is not None:
                found[name] = told
    return list(found.values())


def shadowed_by(results: Iterable[ScanResult]) -> list[Shadowed]:
    """Return what is wrong with the modules that scanned files name.

    Judged for a Python that is started in the working folder, or in the folder of a file: what
    lies there comes before all that is installed.
    """
    found: dict[tuple[str, str], Shadowed] = {}
    by_folder: dict[str, set[str]] = {}
    for result in results:
        for folder in {os.getcwd(), os.path.abspath(Path(result.path).parent)}:
            by_folder.setdefault(folder, set()).update(result.modules)
    for folder, modules in by_folder.items():
        for told in shadowed_modules(modules, [folder, *sys.path]):
            found.setdefault((told.module, told.file), told)
    return list(found.values())


def _specs(module: str, path: Sequence[str] | None) -> Iterable[tuple[str, ModuleSpec]]:
    """A module and the packages around it, outermost first, as far as they are found."""
    folders = None if path is None else list(path)
    parts = module.split(".")
    for depth in range(1, len(parts) + 1):
        name = ".".join(parts[:depth])
        known = sys.modules.get(name) if path is None else None
        spec = getattr(known, "__spec__", None) or PathFinder.find_spec(name, folders)
        if spec is None:
            return
        yield name, spec
        if spec.submodule_search_locations is None:
            return
        folders = list(spec.submodule_search_locations)


def _judged(name: str, spec: ModuleSpec) -> Shadowed | None:
    file = spec.origin
    if file in (None, "built-in", "frozen", "namespace"):
        return None
    assert file is not None
    top = name.partition(".")[0]
    if top in sys.stdlib_module_names:
        if _in_standard_library(file):
            return None
        return Shadowed(name, file, "is not the standard library's")
    owner = _owner(top)
    if owner is None:
        return Shadowed(name, file, "belongs to no installed distribution")
    return _held_against(owner, name, file)


def _in_standard_library(file: str) -> bool:
    place = Path(file).resolve()
    homes = {Path(sysconfig.get_path(k)).resolve() for k in ("stdlib", "platstdlib")}
    inside = any(place.is_relative_to(home) for home in homes)
    return inside and not {"site-packages", "dist-packages"} & set(place.parts)


@dataclass(frozen=True)
class _Owner:
    """A distribution: where it is, its name and version, and its RECORD; None without one."""

    root: Path
    title: str
    record: str | None
    editable: bool

    def digest_of(self, file: str) -> str | None:
        """SHA-256 of a file as it was installed, "" where none is told; None of other files."""
        for shown in (file, f'"{file}"'):
            at = f"\n{self.record}".find(f"\n{shown},")
            if at >= 0:
                line = f"\n{self.record}"[at + 1 :].partition("\n")[0]
                told = line[len(shown) + 1 :].partition(",")[0]
                return told.removeprefix("sha256=") if told.startswith("sha256=") else ""
        return None


def _held_against(owner: _Owner, name: str, file: str) -> Shadowed | None:
    place = Path(file).resolve()
    if owner.editable:
        return None
    if not place.is_relative_to(owner.root):
        return Shadowed(name, file, f"is not a file of {owner.title}")
    if owner.record is None:  # installed by a system's packager, which keeps digests of its own
        return None
    listed = owner.digest_of(place.relative_to(owner.root).as_posix())
    if listed is None:
        return Shadowed(name, file, f"is not a file of {owner.title}")
    if listed and _digest(place) != listed:
        return Shadowed(name, file, f"was changed since {owner.title} was installed")
    return None


@cache
def _owner(top: str) -> _Owner | None:
    try:
        found = metadata.distribution(DISTRIBUTIONS.get(top, top))
    except metadata.PackageNotFoundError:
        owners = metadata.packages_distributions().get(top)
        if not owners:
            return None
        found = metadata.distribution(owners[0])
    return _Owner(
        Path(str(found.locate_file(""))).resolve(),
        f"{found.metadata['Name']} {found.version}",
        found.read_text("RECORD"),
        '"editable": true' in (found.read_text("direct_url.json") or ""),
    )


def _digest(place: Path) -> str:
    with place.open("rb") as file:
        raw = hashlib.file_digest(file, "sha256").digest()
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()

"""What a CycloneDX bill of materials says of a model; nothing in it is trusted."""

from __future__ import annotations

import json
import re
from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from crenel.errors import SubjectError
from crenel.provenance.model_files import printable
from crenel.transfer.papers.card import telling

#: Bytes of a bill of materials, components, and characters of one text that are looked at.
MOST_BYTES, MOST_COMPONENTS, LONGEST = 16 << 20, 10_000, 4_000
MODEL = "machine-learning-model"
_SHA256 = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True)
class Bom:
    """A model's component.

    Attributes
    ----------
    path : Path
        The bill of materials.
    name, version : str
    digests : dict of str to str
        SHA-256, lower-case hexadecimal, by the name of the file; the model's own by its name.
    origins : tuple of str
        Package URLs and the addresses that it is distributed from.
    licences : tuple of str
    task, architecture : str
    inputs, outputs, datasets : tuple of str
    metrics : tuple of (type, value, slice)
    uses, limits, controls : tuple of str
        Considerations; controls are risks with a strategy against them.
    bases : tuple of str
        Ancestors in the pedigree.
    contacts : tuple of str
        Supplier, manufacturer, authors, publisher.
    """

    path: Path
    name: str = ""
    version: str = ""
    digests: Mapping[str, str] = field(default_factory=dict)
    origins: tuple[str, ...] = ()
    licences: tuple[str, ...] = ()
    task: str = ""
    architecture: str = ""
    inputs: tuple[str, ...] = ()
    outputs: tuple[str, ...] = ()
    datasets: tuple[str, ...] = ()
    metrics: tuple[tuple[str, str, str], ...] = ()
    uses: tuple[str, ...] = ()
    limits: tuple[str, ...] = ()
    controls: tuple[str, ...] = ()
    bases: tuple[str, ...] = ()
    contacts: tuple[str, ...] = ()


def is_bom(path: Path) -> bool:
    """Whether a file is named as bills of materials in CycloneDX's JSON are."""
    name = path.name.lower()
    return name == "bom.json" or name.endswith(".cdx.json")


def bom_beside(folders: list[Path], digests: Iterable[str] = ()) -> tuple[Bom | None, str]:
    """The first bill of materials in some folders that describes a model.

    Parameters
    ----------
    folders : list of Path
    digests : iterable of str
        SHA-256 of the files in use; see `read_bom`.

    Returns
    -------
    Bom or None
    str
        What is wrong with one that cannot be read; empty where nothing is. One that describes
        data alone is passed over.
    """
    fault = ""
    for folder in folders:
        for path in _named(folder):
            try:
                return read_bom(path, digests), fault
            except NoModel:
                continue
            except SubjectError as error:
                fault = fault or str(error)
    return None, fault


def _named(folder: Path) -> list[Path]:
    try:
        return sorted(p for p in folder.iterdir() if is_bom(p) and p.is_file())
    except OSError:
        return []


class NoModel(SubjectError):
    """A bill of materials that describes no model."""


def read_bom(path: Path, digests: Iterable[str] = ()) -> Bom:
    """Read a bill of materials in CycloneDX's JSON (1.5 or later has model cards).

    Parameters
    ----------
    path : Path
    digests : iterable of str
        SHA-256 of the files in use: of several models the one with such a file is taken, else
        the first.

    Raises
    ------
    SubjectError
        Where it is damaged or no CycloneDX; `NoModel` where it describes no model.
    """
    raw = _document(path)
    named = printable(path.name)
    if not isinstance(raw, dict) or raw.get("bomFormat") != "CycloneDX":
        raise SubjectError(f"{named} is no bill of materials in CycloneDX's JSON")
    components = list(_components(raw))
    models = [c for c in components if c.get("type") == MODEL]
    if not models:
        raise NoModel(f"{named} describes no {MODEL}")
    own = set(digests)
    fitting = [m for m in models if own & set(_digests(m).values())]
    return _of(path, (fitting or models)[0], raw)


def _document(path: Path) -> Any:
    named = printable(path.name)
    try:
        with path.open("rb") as file:
            content = file.read(MOST_BYTES + 1)
    except OSError as error:
        raise SubjectError(f"{named} cannot be read: {error.strerror or error}") from error
    if len(content) > MOST_BYTES:
        raise SubjectError(f"{named} is larger than {MOST_BYTES >> 20} MB, so it was not read")
    try:
        return json.loads(content)
    except (ValueError, RecursionError) as error:
        raise SubjectError(f"{named} is damaged: it is not valid JSON") from error


def _components(raw: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """That of the metadata first, then all others, nested ones too."""
    first = _map(_map(raw.get("metadata")).get("component"))
    waiting, seen = deque([first, *_maps(raw.get("components"))]), 0
    while waiting and seen < MOST_COMPONENTS:
        component = waiting.popleft()
        seen += 1
        yield component
        waiting += _maps(component.get("components"))


def _of(path: Path, model: dict[str, Any], raw: dict[str, Any]) -> Bom:
    card = _map(model.get("modelCard"))
    given = _map(card.get("modelParameters"))
    thoughts = _map(card.get("considerations"))
    metrics = _maps(_map(card.get("quantitativeAnalysis")).get("performanceMetrics"))
    group, name = _text(model.get("group")), _text(model.get("name"))
    return Bom(
        path=path,
        name=f"{group}/{name}" if group else name,
        version=_text(model.get("version")),
        digests=_digests(model),
        origins=_origins(model),
        licences=tuple(_licences(model)),
        task=_text(given.get("task")),
        architecture=_text(given.get("modelArchitecture") or given.get("architectureFamily")),
        inputs=_texts(_each(given.get("inputs"), "format")),
        outputs=_texts(_each(given.get("outputs"), "format")),
        datasets=_texts(_datasets(given, raw)),
        metrics=tuple(
            (kind, _text(m.get("value")), _text(m.get("slice")))
            for m in metrics
            if (kind := _text(m.get("type")))
        ),
        uses=_texts([*_list(thoughts.get("useCases")), *_list(thoughts.get("users"))]),
        limits=_texts(_list(thoughts.get("technicalLimitations"))),
        controls=_texts(_each(thoughts.get("ethicalConsiderations"), "mitigationStrategy")),
        bases=_texts(map(_whole_name, _maps(_map(model.get("pedigree")).get("ancestors")))),
        contacts=_texts(_contacts(model)),
    )


def _digests(model: dict[str, Any]) -> dict[str, str]:
    """Of the model's own file, and of the files that it is made of."""
    found: dict[str, str] = {}
    for component in (model, *_maps(model.get("components"))):
        for entry in _maps(component.get("hashes")):
            digest = _text(entry.get("content")).lower()
            if entry.get("alg") == "SHA-256" and _SHA256.fullmatch(digest):
                found.setdefault(_text(component.get("name")), digest)
    return found


def _origins(model: dict[str, Any]) -> tuple[str, ...]:
    places = [
        r.get("url")
        for r in _maps(model.get("externalReferences"))
        if r.get("type") in ("distribution", "vcs", "website")
    ]
    return _texts([model.get("purl"), *places])


def _licences(model: dict[str, Any]) -> Iterator[str]:
    for choice in _maps(model.get("licenses")):
        licence = _map(choice.get("license"))
        text = _text(licence.get("id") or licence.get("name") or choice.get("expression"))
        if text and telling(text):
            yield text


def _datasets(given: dict[str, Any], raw: dict[str, Any]) -> Iterator[Any]:
    """Names of the data; a reference stands for the component that it leads to."""
    known = {c.get("bom-ref"): c for c in _components(raw) if isinstance(c.get("bom-ref"), str)}
    for entry in _maps(given.get("datasets")):
        ref = entry.get("ref")
        place = known.get(ref, {}) if isinstance(ref, str) else entry
        yield place.get("name") or place.get("description") or ref


def _contacts(model: dict[str, Any]) -> Iterator[Any]:
    for key in ("supplier", "manufacturer"):
        organisation = _map(model.get(key))
        yield organisation.get("name")
        for person in _maps(organisation.get("contact")):
            yield person.get("email") or person.get("name")
    for person in _maps(model.get("authors")):
        yield person.get("name") or person.get("email")
    yield from (model.get("author"), model.get("publisher"))


def _whole_name(component: dict[str, Any]) -> str:
    group, name = _text(component.get("group")), _text(component.get("name"))
    return f"{group}/{name}" if group and name else name


def _map(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def _maps(value: Any) -> list[dict[str, Any]]:
    return [v for v in _list(value) if isinstance(v, dict)]


def _each(value: Any, key: str) -> list[Any]:
    return [entry.get(key) for entry in _maps(value)]


def _text(value: Any) -> str:
    """A text without what would steer a terminal; empty where it is none."""
    return printable(" ".join(value[:LONGEST].split())) if isinstance(value, str) else ""


def _texts(values: Any) -> tuple[str, ...]:
    """Texts that say something, each once."""
    found = (_text(value) for value in values)
    return tuple(dict.fromkeys(t for t in found if t and telling(t)))

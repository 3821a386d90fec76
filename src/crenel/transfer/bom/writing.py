"""A model as a CycloneDX 1.6 bill of materials with a model card (ML-BOM)."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from urllib.parse import quote

from crenel.errors import UsageError
from crenel.provenance.cyclonedx import document, licence_choice, named_value
from crenel.provenance.model_files import printable
from crenel.run import Run
from crenel.transfer.bom.described import Ancestor, Described
from crenel.transfer.bom.reading import LONGEST, MODEL
from crenel.transfer.papers.results import Claim

#: Findings of a run that are listed as risks.
MOST_RISKS = 20


@dataclass(frozen=True)
class Stated:
    """What the files cannot tell, as the user states it; empty where it is not stated.

    Attributes
    ----------
    version, supplier, task : str
    licences : tuple of str
        In the place of the card's.
    """

    version: str = ""
    supplier: str = ""
    task: str = ""
    licences: tuple[str, ...] = ()


def to_cyclonedx(
    model: Described,
    stated: Stated = Stated(),
    *,
    run: Run | None = None,
    made: datetime | None = None,
) -> dict[str, Any]:
    """The bill of materials of a model.

    Parameters
    ----------
    model : Described
    stated : Stated
    run : Run or None
        An audit of this very model: its exposures become metrics, its findings risks.
    made : datetime or None
        The time to state; none is stated where it is None.

    Returns
    -------
    dict
        JSON of CycloneDX 1.6. The same model and statements give the same one.

    Raises
    ------
    UsageError
        Where the run audited another model.
    """
    component = _component(model, stated, run)
    content = json.dumps(component, sort_keys=True).encode()
    metadata: dict[str, Any] = {"component": component}
    if made is not None:
        metadata["timestamp"] = made.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    return document(hashlib.sha256(content).hexdigest(), metadata)


def _component(model: Described, stated: Stated, run: Run | None) -> dict[str, Any]:
    component: dict[str, Any] = {"type": MODEL, "bom-ref": "model", "name": model.name}
    version = stated.version or model.card.front.get("version")
    if isinstance(version, str) and version:
        component["version"] = version
    description = _first_line(model.card.text)
    if description:
        component["description"] = description
    if stated.supplier:
        component["supplier"] = {"name": stated.supplier}
        if model.mail:
            component["supplier"]["contact"] = [{"email": model.mail}]
    authors = _authors(model)
    if authors:
        component["authors"] = authors
    if len(model.files) == 1 and list(model.files) == [model.name]:
        component["hashes"] = [_hash(model.files[model.name])]
    else:
        component["components"] = [_file(n, d) for n, d in model.files.items()]
    licences = _licences(model, stated)
    if licences:
        component["licenses"] = licences
    if model.ancestors:
        component["pedigree"] = {"ancestors": [_ancestor(a) for a in model.ancestors]}
    references = _references(model)
    if references:
        component["externalReferences"] = references
    card = _model_card(model, stated, run)
    if card:
        component["modelCard"] = card
    properties = _properties(model, run)
    if properties:
        component["properties"] = properties
    return component


def _hash(digest: str) -> dict[str, str]:
    return {"alg": "SHA-256", "content": digest}


def _file(name: str, digest: str) -> dict[str, Any]:
    return {"type": "file", "bom-ref": f"file:{name}", "name": name, "hashes": [_hash(digest)]}


def _first_line(text: str) -> str:
    """The first line of a card that is a sentence: neither heading nor picture nor table."""
    for line in text.splitlines():
        words = line.strip()
        if words and words[0].isalpha() and " " in words:
            return words[:300]
    return ""


def _authors(model: Described) -> list[dict[str, str]]:
    return [{"name": v} for v in _in_front(model, "authors", "author", "developers")]


def _in_front(model: Described, *keys: str) -> list[str]:
    """Values of the first key that the front matter has."""
    front = model.card.front
    value: Any = next((front[key] for key in keys if front.get(key)), [])
    return [str(v) for v in (value if isinstance(value, list) else [value])]


def _licences(model: Described, stated: Stated) -> list[dict[str, Any]]:
    names = stated.licences or model.licences
    how = "declared" if stated.licences or model.declared else "concluded"
    return [{"license": {**licence_choice(n), "acknowledgement": how}} for n in names]


def _ancestor(base: Ancestor) -> dict[str, Any]:
    group, _, name = base.name.rpartition("/") if base.stated else ("", "", base.name)
    told: dict[str, Any] = {"type": MODEL, "name": name or base.name}
    if group:
        told["group"] = group
    if base.digest:
        told["hashes"] = [_hash(base.digest)]
    said = [("stated-by", base.stated), ("lineage", base.sentence)]
    told["properties"] = [named_value(key, text) for key, text in said if text]
    return told


def _references(model: Described) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    if model.card_file:
        found.append({"type": "model-card", "url": quote(model.card_file)})
    if model.signature:
        found.append(
            {
                "type": "digital-signature",
                "url": quote(model.signature),
                "comment": "OpenSSF Model Signing",
                "hashes": [_hash(model.signature_digest)],
            }
        )
    return found


def _model_card(model: Described, stated: Stated, run: Run | None) -> dict[str, Any]:
    card = {
        "modelParameters": _parameters(model, stated),
        "quantitativeAnalysis": {
            "performanceMetrics": [*map(_metric, model.results), *_measured(model, run)]
        },
        "considerations": _considerations(model, run),
    }
    return {
        key: kept for key, value in card.items() if (kept := {k: v for k, v in value.items() if v})
    }


def _parameters(model: Described, stated: Stated) -> dict[str, Any]:
    front, artefact = model.card.front, model.artefact
    task = stated.task or front.get("pipeline_tag") or artefact.task
    inputs = artefact.inputs or (
        (f"image {artefact.size} × {artefact.size}",) if artefact.size else ()
    )
    outputs = artefact.outputs or artefact.labels
    return {
        "task": task if isinstance(task, str) else "",
        "architectureFamily": artefact.family,
        "modelArchitecture": artefact.architecture,
        "datasets": [{"type": "dataset", **d} for d in _datasets(model)],
        "inputs": [{"format": text} for text in inputs],
        "outputs": [{"format": text} for text in outputs],
    }


def _datasets(model: Described) -> list[dict[str, str]]:
    named = [{"name": v} for v in _in_front(model, "datasets", "dataset")]
    text = model.section("training data")
    return named or ([{"description": text[:LONGEST]}] if text else [])


def _metric(claim: Claim) -> dict[str, str]:
    told = {"type": claim.metric, "value": claim.text}
    return told | ({"slice": claim.dataset} if claim.dataset else {})


def _measured(model: Described, run: Run | None) -> list[dict[str, Any]]:
    """Each attack's curve at its largest budget."""
    if run is None:
        return []
    _check_subject(model, run)
    made = []
    for curve in (e for e in run.exposures if e.role == "attack"):
        bound = "" if curve.health.ok else " at least"
        where = f"{curve.budget.name} {curve.budget.values[-1]:.4g} {curve.budget.unit}".strip()
        made.append(
            {
                "type": f"{curve.check} {curve.series}: {curve.harm.name}{bound}",
                "value": f"{curve.harm.values[-1]:.4g}",
                "slice": f"{where}; n = {curve.n}, crenel run {run.run.id}",
                "confidenceInterval": {
                    "lowerBound": f"{curve.harm.low[-1]:.4g}",
                    "upperBound": f"{curve.harm.high[-1]:.4g}",
                },
            }
        )
    return made


def _check_subject(model: Described, run: Run) -> None:
    audited = {
        digest.removeprefix("sha256:")
        for key, digest in run.run.digests.items()
        if key.rpartition(".")[2] == "model" and not key.endswith("base.model")
    }
    if not audited & set(model.files.values()):
        raise UsageError(
            f"run {run.run.id} did not audit a file of {model.name}: no digest of its model is one "
            "of these files; name the run that did with --run"
        )


def _considerations(model: Described, run: Run | None) -> dict[str, Any]:
    controls = model.section("risk controls")
    risks = [
        {"name": "Risks and controls, as the card states them", "mitigationStrategy": controls}
    ]
    risks = risks if controls else []
    found = run.findings[:MOST_RISKS] if run is not None else ()
    risks += [{"name": f.sentence, "mitigationStrategy": f.fix} for f in found]
    return {
        "useCases": _texts(model.section("intended use")),
        "technicalLimitations": _texts(model.section("limits")),
        "ethicalConsiderations": [{k: v[:LONGEST] for k, v in r.items() if v} for r in risks],
    }


def _texts(text: str) -> list[str]:
    return [text[:LONGEST]] if text else []


def _properties(model: Described, run: Run | None) -> list[dict[str, str]]:
    artefact = model.artefact
    said = [
        ("parameters", f"{artefact.parameters}" if artefact.parameters else ""),
        ("weights", ", ".join(artefact.types)),
        ("run", run.run.id if run is not None else ""),
        ("verdict", str(run.verdict) if run is not None else ""),
        *(("note", printable(note)) for note in model.notes),
    ]
    return [named_value(key, text) for key, text in said if text]

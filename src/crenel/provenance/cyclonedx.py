"""A manifest as a CycloneDX 1.6 bill of materials: one component of the type data for each file."""

from __future__ import annotations

import hashlib
import uuid
from typing import Any

from crenel._version import __version__
from crenel.provenance.envelope import Envelope
from crenel.provenance.manifest import ROWS, SHA256, Manifest, Source, Subject

#: SPDX ids that data usually comes under; other licences are given by their names.
SPDX = frozenset(
    (
        "CC0-1.0", "CC-BY-4.0", "CC-BY-3.0", "CC-BY-SA-4.0", "CC-BY-SA-3.0", "CC-BY-NC-4.0",
        "CC-BY-NC-SA-4.0", "CC-BY-ND-4.0", "CC-BY-NC-ND-4.0", "ODbL-1.0", "ODC-By-1.0", "PDDL-1.0",
        "CDLA-Permissive-1.0", "CDLA-Permissive-2.0", "CDLA-Sharing-1.0", "MIT", "Apache-2.0",
        "BSD-2-Clause", "BSD-3-Clause", "GPL-3.0-only", "GPL-3.0-or-later", "OGL-UK-3.0",
    )
)  # fmt: skip


def to_cyclonedx(manifest: Manifest, envelope: Envelope) -> dict[str, Any]:
    """The bill of materials of a snapshot.

    Parameters
    ----------
    manifest : Manifest
    envelope : Envelope
        That it came in: its digest and signers are named.

    Returns
    -------
    dict
        JSON of CycloneDX 1.6. The same manifest gives the same one.
    """
    digest = hashlib.sha256(envelope.payload).hexdigest()
    properties = [_property("manifest:sha256", digest)]
    properties += [_property("manifest:keyid", keyid) for keyid, _ in envelope.signatures]
    kept = manifest.predicate.rows_file
    components = [_component(s, manifest) for s in manifest.subject if s.name != kept]
    tool = {"type": "application", "name": "crenel", "version": __version__}
    return {
        "$schema": "http://cyclonedx.org/schema/bom-1.6.schema.json",
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "serialNumber": f"urn:uuid:{uuid.uuid5(uuid.NAMESPACE_URL, f'urn:crenel:{digest}')}",
        "version": 1,
        "metadata": {
            "timestamp": manifest.predicate.recorded,
            "tools": {"components": [tool]},
            "properties": properties,
        },
        "components": components,
    }


def _component(subject: Subject, manifest: Manifest) -> dict[str, Any]:
    predicate, table = manifest.predicate, manifest.table(subject.name)
    described = [_property("path", subject.name)]
    if table is not None:
        described.append(_property("rows", str(table.rows)))
        described.append(_property("merkle-root", subject.digest[ROWS]))
        described += [_property(f"column:{c.name}", c.type) for c in table.columns]
    if predicate.transform is not None:
        made = predicate.transform
        described.append(_property("transform", made.description or f"{made.file} {made.sha256}"))
    described += [_property("parent", f"{p.name} {p.sha256}") for p in predicate.parents]
    dataset: dict[str, Any] = {"type": "dataset", "name": subject.name}
    owners = [{"organization": {"name": s.name}} for s in predicate.sources if s.name]
    if owners:
        dataset["governance"] = {"owners": owners}
    component: dict[str, Any] = {
        "type": "data",
        "bom-ref": subject.name,
        "name": subject.name,
        "data": [dataset],
        "properties": described,
    }
    if SHA256 in subject.digest:
        component["hashes"] = [{"alg": "SHA-256", "content": subject.digest[SHA256]}]
    licences = sorted({s.licence for s in predicate.sources if s.licence})
    if licences:
        component["licenses"] = [{"license": _licence(name)} for name in licences]
    addresses = sorted({s.uri for s in predicate.sources if _is_address(s)})
    if addresses:
        component["externalReferences"] = [
            {"type": "distribution", "url": address} for address in addresses
        ]
    return component


def _is_address(source: Source) -> bool:
    return source.uri.startswith(("http://", "https://"))


def _licence(name: str) -> dict[str, str]:
    return {"id": name} if name in SPDX else {"name": name}


def _property(name: str, value: str) -> dict[str, str]:
    return {"name": f"crenel:{name}", "value": value}

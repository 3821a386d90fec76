"""A manifest as a CycloneDX 1.6 bill of materials: one component of the type data for each file."""

from __future__ import annotations

import hashlib
import uuid
from typing import Any

from crenel._version import __version__
from crenel.provenance.envelope import Envelope
from crenel.provenance.manifest import ROWS, SHA256, Manifest, Source, Subject

#: SPDX ids that data and models usually come under; other licences are given by their names.
SPDX = frozenset(
    (
        "CC0-1.0", "CC-BY-4.0", "CC-BY-3.0", "CC-BY-SA-4.0", "CC-BY-SA-3.0", "CC-BY-NC-4.0",
        "CC-BY-NC-SA-4.0", "CC-BY-ND-4.0", "CC-BY-NC-ND-4.0", "ODbL-1.0", "ODC-By-1.0", "PDDL-1.0",
        "CDLA-Permissive-1.0", "CDLA-Permissive-2.0", "CDLA-Sharing-1.0", "MIT", "Apache-2.0",
        "BSD-2-Clause", "BSD-3-Clause", "GPL-3.0-only", "GPL-3.0-or-later", "OGL-UK-3.0",
        "GPL-2.0-only", "GPL-2.0-or-later", "LGPL-2.1-only", "LGPL-3.0-only", "AGPL-3.0-only",
        "MPL-2.0", "ISC", "Unlicense", "BSL-1.0", "EPL-2.0", "EUPL-1.2", "WTFPL", "AFL-3.0",
        "Artistic-2.0", "Zlib", "BSD-3-Clause-Clear",
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
    properties = [named_value("manifest:sha256", digest)]
    properties += [named_value("manifest:keyid", keyid) for keyid, _ in envelope.signatures]
    kept = manifest.predicate.rows_file
    components = [_component(s, manifest) for s in manifest.subject if s.name != kept]
    metadata = {"timestamp": manifest.predicate.recorded, "properties": properties}
    return document(digest, metadata) | {"components": components}


def document(identity: str, metadata: dict[str, Any]) -> dict[str, Any]:
    """The frame of a bill of materials in CycloneDX 1.6.

    Parameters
    ----------
    identity : str
        The serial number is derived from it: the same content gives the same one.
    metadata : dict
        Beside the tool, which is crenel.
    """
    tool = {"type": "application", "name": "crenel", "version": __version__}
    return {
        "$schema": "http://cyclonedx.org/schema/bom-1.6.schema.json",
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "serialNumber": f"urn:uuid:{uuid.uuid5(uuid.NAMESPACE_URL, f'urn:crenel:{identity}')}",
        "version": 1,
        "metadata": {"tools": {"components": [tool]}, **metadata},
    }


def _component(subject: Subject, manifest: Manifest) -> dict[str, Any]:
    predicate, table = manifest.predicate, manifest.table(subject.name)
    described = [named_value("path", subject.name)]
    if table is not None:
        described.append(named_value("rows", str(table.rows)))
        described.append(named_value("merkle-root", subject.digest[ROWS]))
        described += [named_value(f"column:{c.name}", c.type) for c in table.columns]
    if predicate.transform is not None:
        made = predicate.transform
        described.append(named_value("transform", made.description or f"{made.file} {made.sha256}"))
    described += [named_value("parent", f"{p.name} {p.sha256}") for p in predicate.parents]
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
        component["licenses"] = [{"license": licence_choice(name)} for name in licences]
    addresses = sorted({s.uri for s in predicate.sources if _is_address(s)})
    if addresses:
        component["externalReferences"] = [
            {"type": "distribution", "url": address} for address in addresses
        ]
    return component


def _is_address(source: Source) -> bool:
    return source.uri.startswith(("http://", "https://"))


_BY_LOWER = {name.lower(): name for name in SPDX}


def licence_choice(name: str) -> dict[str, str]:
    """A licence by its SPDX id where that is known, however it is written; else by its name."""
    known = _BY_LOWER.get(name.strip().lower())
    return {"id": known} if known else {"name": name}


def named_value(name: str, value: str) -> dict[str, str]:
    """A property in crenel's namespace."""
    return {"name": f"crenel:{name}", "value": value}

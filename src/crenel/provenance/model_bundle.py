"""The file of a model's signature: a Sigstore bundle, version 0.3, with a DSSE envelope."""

from __future__ import annotations

import base64
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from crenel.errors import SubjectError, UsageError
from crenel.provenance.envelope import PAYLOAD

MEDIA = "application/vnd.dev.sigstore.bundle.v0.3+json"

#: Bytes of a bundle that are read: some two million files.
MOST_BYTES = 1 << 28
#: Certificates of a bundle that are looked at.
MOST_CERTIFICATES = 16


@dataclass(frozen=True)
class Bundle:
    """A signed statement and what is needed to find the key.

    Attributes
    ----------
    payload, signature : bytes
        The statement as it was signed, and the only signature.
    hint : str
        SHA-256 of the PEM form of the public key, hexadecimal; empty in bundles before 1.1 and in
        those with certificates.
    chain : tuple of bytes
        Certificates in DER form, the signer's first.
    keyless : bytes
        The file's content where an identity signed it through Sigstore (it has a log's entry);
        empty where a key did.
    """

    payload: bytes
    signature: bytes
    hint: str = ""
    chain: tuple[bytes, ...] = ()
    keyless: bytes = b""

    def to_bytes(self) -> bytes:
        """The file's content."""
        material: dict[str, Any] = {"tlogEntries": []}
        if self.chain:
            listed = [{"rawBytes": _encoded(certificate)} for certificate in self.chain]
            material["x509CertificateChain"] = {"certificates": listed}
        else:
            material["publicKey"] = {"hint": self.hint}
        envelope = {
            "payload": _encoded(self.payload),
            "payloadType": PAYLOAD,
            "signatures": [{"sig": _encoded(self.signature), "keyid": ""}],
        }
        bundle = {
            "mediaType": MEDIA, "verificationMaterial": material, "dsseEnvelope": envelope
        }  # fmt: skip
        return json.dumps(bundle).encode() + b"\n"


def read_bundle(path: Path) -> Bundle:
    """The bundle in a file; no signature is checked.

    Raises
    ------
    UsageError
        Where there is no such file.
    SubjectError
        Where it is no bundle.
    """
    try:
        with path.open("rb") as file:
            content = file.read(MOST_BYTES + 1)
    except OSError as error:
        raise UsageError(f"{path} cannot be read: {error.strerror}") from error
    if len(content) > MOST_BYTES:
        raise SubjectError(f"{path.name} is larger than any signature: {MOST_BYTES >> 20} MiB")
    return parse_bundle(content, path.name)


def parse_bundle(content: bytes, name: str) -> Bundle:
    """A bundle from a file's content; see `read_bundle`."""
    try:
        raw = json.loads(content)
        material, envelope = raw["verificationMaterial"], raw["dsseEnvelope"]
        if raw["mediaType"] != MEDIA or envelope["payloadType"] != PAYLOAD:
            raise ValueError
        (signed,) = envelope["signatures"]
        return Bundle(
            payload=_decoded(envelope["payload"]),
            signature=_decoded(signed["sig"]),
            hint=str((material.get("publicKey") or {}).get("hint") or ""),
            chain=_chain(material),
            keyless=content if material.get("tlogEntries") else b"",
        )
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise SubjectError(
            f"{name} is damaged, or no signature of a model (Sigstore bundle 0.3); make one: "
            "crenel provenance sign-model MODEL --key my.key"
        ) from error


def _chain(material: dict[str, Any]) -> tuple[bytes, ...]:
    listed = (material.get("x509CertificateChain") or {}).get("certificates") or []
    if material.get("certificate"):
        listed = [material["certificate"]]
    if len(listed) > MOST_CERTIFICATES:
        raise ValueError
    return tuple(_decoded(certificate["rawBytes"]) for certificate in listed)


def _encoded(content: bytes) -> str:
    return base64.b64encode(content).decode()


def _decoded(text: str) -> bytes:
    return base64.b64decode(text, validate=True)

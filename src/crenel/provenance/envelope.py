"""Signed statements: Dead Simple Signing Envelopes (DSSE, protocol v1) with Ed25519.

What is signed is ``DSSEv1 <length> <type> <length> <payload>``, so that bytes of one type cannot
be passed off as another. An envelope is read only in the very form that is written here; else
spaces, doubled keys or spare bits of base64 could be changed without breaking a signature.
"""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from crenel.errors import SubjectError, UsageError
from crenel.provenance.keys import is_valid, keyid_of
from crenel.provenance.manifest import Manifest, canonical, parse_manifest

PAYLOAD = "application/vnd.in-toto+json"


@dataclass(frozen=True)
class Envelope:
    """A payload and its signatures.

    Attributes
    ----------
    payload : bytes
        The statement, as it was signed.
    signatures : tuple of (keyid, signature)
    """

    payload: bytes
    signatures: tuple[tuple[str, bytes], ...] = ()

    def to_bytes(self) -> bytes:
        """The file's content."""
        listed = [{"keyid": k, "sig": base64.b64encode(s).decode()} for k, s in self.signatures]
        payload = base64.b64encode(self.payload).decode()
        return canonical({"payload": payload, "payloadType": PAYLOAD, "signatures": listed}) + b"\n"

    def signed(self, private: Any) -> Envelope:
        """The same envelope with one more signature, or the same key's again."""
        keyid = keyid_of(private.public_key())
        others = tuple(s for s in self.signatures if s[0] != keyid)
        return replace(self, signatures=(*others, (keyid, private.sign(to_sign(self.payload)))))

    def signers(self, trusted: Sequence[Any]) -> set[str]:
        """The ids of those trusted public keys whose signature is there and right."""
        message = to_sign(self.payload)
        named = {keyid_of(key): key for key in trusted}
        return {
            keyid
            for keyid, signature in self.signatures
            if keyid in named and is_valid(named[keyid], signature, message)
        }


def to_sign(payload: bytes) -> bytes:
    """DSSE's pre-authentication encoding of a payload."""
    kind = PAYLOAD.encode()
    return b"DSSEv1 %d %s %d %s" % (len(kind), kind, len(payload), payload)


def parse_envelope(content: bytes, name: str) -> Envelope:
    """An envelope from a file's content.

    Raises
    ------
    SubjectError
        Where it is none, or was rewritten after it was signed.
    """
    try:
        raw = json.loads(content)
        if raw["payloadType"] != PAYLOAD:
            raise ValueError
        payload = base64.b64decode(raw["payload"], validate=True)
        signatures = tuple(
            (str(s["keyid"]), base64.b64decode(s["sig"], validate=True)) for s in raw["signatures"]
        )
    except (ValueError, KeyError, TypeError, binascii.Error, RecursionError) as error:
        raise SubjectError(
            f"{name} is no signed manifest; make one: crenel provenance record DATA -o {name}"
        ) from error
    envelope = Envelope(payload, signatures)
    if envelope.to_bytes() != content:
        raise SubjectError(f"{name} was changed after it was written: it is not in its exact form")
    return envelope


def bundle_file(path: Path) -> Path:
    """Where the signature of a manifest by identity lies, by Sigstore's convention."""
    return path.with_name(f"{path.name}.sigstore.json")


def read_envelope(path: Path) -> tuple[Envelope, Manifest]:
    """The envelope in a file, and the manifest in it; no signature is checked.

    Raises
    ------
    UsageError
        Where there is no such file.
    SubjectError
        Where it is no manifest, or was rewritten.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise UsageError(f"{path} cannot be read: {error.strerror}") from error
    envelope = parse_envelope(content, path.name)
    manifest = parse_manifest(envelope.payload, path.name)
    if manifest.to_bytes() != envelope.payload:
        raise SubjectError(f"{path.name} holds a statement that crenel did not write in this form")
    return envelope, manifest

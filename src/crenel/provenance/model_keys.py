"""Keys that sign models: EC on P-256, P-384 and P-521 with the digest of that size, and Ed25519.

Bundles of the first releases of ``model-signing`` (0.2 and before 1.0) were signed over a message
with a flaw in its encoding, those with certificates always by SHA-256; they are verified too.
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

from crenel.errors import MissingExtra, UsageError
from crenel.provenance.envelope import PAYLOAD, to_sign
from crenel.provenance.keys import is_valid, load_private, load_public

#: What is said of a key of another kind.
KINDS = "EC key on P-256, P-384 or P-521, nor an Ed25519 key"


def read_signing_key(path: Path) -> Any:
    """The private key of a PEM file; see `crenel.provenance.keys.load_private` for its errors.

    Raises
    ------
    UsageError
        Where it is of a kind that signs no models.
    """
    key = load_private(path)
    if not signs_models(key.public_key()):
        raise UsageError(f"{path} is neither an {KINDS}; make one: crenel provenance keygen my.key")
    return key


def read_verifying_key(path: Path) -> Any:
    """The public key of a PEM file; see `crenel.provenance.keys.load_public` for its errors.

    Raises
    ------
    UsageError
        Where it is of a kind that signs no models.
    """
    key = load_public(path)
    if not signs_models(key):
        raise UsageError(f"{path} is neither an {KINDS}")
    return key


def signs_models(public: Any) -> bool:
    """Whether a key is of a kind that is supported."""
    ec, ed25519, _ = _library()
    if isinstance(public, ed25519.Ed25519PublicKey):
        return True
    curves = ("secp256r1", "secp384r1", "secp521r1")
    return isinstance(public, ec.EllipticCurvePublicKey) and public.curve.name in curves


def is_portable(public: Any) -> bool:
    """Whether the reference implementation verifies with such a key: it takes EC keys alone."""
    ec, _, _ = _library()
    return isinstance(public, ec.EllipticCurvePublicKey)


def hint_of(public: Any) -> str:
    """What a bundle says of its key: SHA-256 of the PEM form, hexadecimal."""
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

    return hashlib.sha256(
        public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    ).hexdigest()


def sign_payload(private: Any, payload: bytes) -> bytes:
    """Sign a statement in DSSE's pre-authentication encoding."""
    public, message = private.public_key(), to_sign(payload)
    signature = private.sign(message, *_scheme(public))
    return bytes(signature)


def signed_payload(public: Any, signature: bytes, payload: bytes) -> bool:
    """Whether a signature of a statement is this key's."""
    _, _, hashes = _library()
    if is_valid(public, signature, to_sign(payload), *_scheme(public)):
        return True
    early = b"DSSEV1 %d %s %d " % (len(PAYLOAD), PAYLOAD.encode(), len(payload))
    early += repr(payload).encode()
    if not is_portable(public):
        return False
    ec, _, _ = _library()
    return any(
        is_valid(public, signature, early, *scheme)
        for scheme in (_scheme(public), (ec.ECDSA(hashes.SHA256()),))
    )


def _scheme(public: Any) -> tuple[Any, ...]:
    """What an EC key must be told beside the message; nothing for Ed25519."""
    ec, _, hashes = _library()
    if not is_portable(public):
        return ()
    size = public.curve.key_size
    return (ec.ECDSA({256: hashes.SHA256, 384: hashes.SHA384, 521: hashes.SHA512}[size]()),)


def _library() -> tuple[Any, Any, Any]:
    """Modules of ``cryptography``: ec, ed25519, hashes."""
    try:
        from cryptography.hazmat.primitives import hashes
        from cryptography.hazmat.primitives.asymmetric import ec, ed25519
    except ImportError as error:
        raise MissingExtra("cryptography", "provenance") from error
    return ec, ed25519, hashes

"""Keys in PEM files: made, read, used. Manifests are signed with Ed25519 (RFC 8032)."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path
from typing import Any

from crenel.errors import MissingExtra, UsageError

#: Holds the password of an encrypted private key.
PASSWORD = "CRENEL_KEY_PASSWORD"


def _library() -> Any:
    """Modules of ``cryptography``: serialization, ed25519, InvalidSignature."""
    try:
        from cryptography.exceptions import InvalidSignature
        from cryptography.hazmat.primitives import serialization
        from cryptography.hazmat.primitives.asymmetric import ed25519
    except ImportError as error:
        raise MissingExtra("cryptography", "provenance") from error
    return serialization, ed25519, InvalidSignature


def _password() -> bytes | None:
    return os.environ[PASSWORD].encode() if os.environ.get(PASSWORD) else None


def make_key(path: Path, kind: str = "ed25519") -> tuple[Path, str]:
    """Make a private key, readable by its owner alone, and its public key beside it.

    The private key is encrypted where ``CRENEL_KEY_PASSWORD`` is set.

    Parameters
    ----------
    path : Path
        Of the private key.
    kind : {"ed25519", "p256", "p384"}
        Ed25519, or EC on a NIST curve, which sign models alone.

    Returns
    -------
    path : Path
        Of the public key: the private one's with ``.pub`` added.
    told : str
        As signatures name the key: its id in manifests, or of a kind that signs models alone its
        hint there.

    Raises
    ------
    UsageError
        Where one of the files exists or cannot be written, or there is no such kind.
    """
    serialization, _, _ = _library()
    private, password = _generated(kind), _password()
    protection = (
        serialization.BestAvailableEncryption(password)
        if password
        else serialization.NoEncryption()
    )
    secret = private.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, protection
    )
    public = private.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    beside = path.with_name(f"{path.name}.pub")
    for file in (path, beside):
        if file.exists():
            raise UsageError(f"{file} exists; keys are never overwritten: name another")
    for file, content, mode in ((path, secret, 0o600), (beside, public, 0o644)):
        try:
            with os.fdopen(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "wb") as out:
                out.write(content)
        except FileExistsError as error:
            raise UsageError(f"{file} exists; keys are never overwritten: name another") from error
        except OSError as error:
            raise UsageError(f"{file} cannot be written: {error.strerror}") from error
    from crenel.provenance.model_keys import hint_of

    named = keyid_of if kind == "ed25519" else hint_of
    return beside, named(private.public_key())


def _generated(kind: str) -> Any:
    _, ed25519, _ = _library()
    from cryptography.hazmat.primitives.asymmetric import ec

    if kind == "ed25519":
        return ed25519.Ed25519PrivateKey.generate()
    curves = {"p256": ec.SECP256R1, "p384": ec.SECP384R1}
    if kind not in curves:
        raise UsageError(f"{kind!r} is no kind of key; choose ed25519, p256 or p384")
    return ec.generate_private_key(curves[kind]())


def keyid_of(public: Any) -> str:
    """SHA-256 of a public key's DER form, in hexadecimal."""
    serialization, _, _ = _library()
    form = serialization.PublicFormat.SubjectPublicKeyInfo
    return hashlib.sha256(public.public_bytes(serialization.Encoding.DER, form)).hexdigest()


def load_private(path: Path) -> Any:
    """The private key of a PEM file, of any kind.

    Raises
    ------
    UsageError
        Where it cannot be read, is none, or its password is not given.
    """
    serialization, _, _ = _library()
    content = _read(path)
    try:
        return serialization.load_pem_private_key(content, _password())
    except TypeError as error:
        what = "is encrypted: set" if _password() is None else "is not encrypted: unset"
        raise UsageError(f"{path} {what} {PASSWORD}") from error
    except Exception as error:
        raise UsageError(
            f"{path} holds no private key that can be read here; "
            "make one: crenel provenance keygen my.key"
        ) from error


def read_private(path: Path) -> Any:
    """The Ed25519 private key of a PEM file.

    Raises
    ------
    UsageError
        Where it cannot be read, is of another kind, or its password is not given.
    """
    _, ed25519, _ = _library()
    key = load_private(path)
    if not isinstance(key, ed25519.Ed25519PrivateKey):
        raise UsageError(f"{path} is no Ed25519 key; make one: crenel provenance keygen my.key")
    return key


def load_public(path: Path) -> Any:
    """The public key of a PEM file, of any kind.

    Raises
    ------
    UsageError
        Where it cannot be read, or is none.
    """
    serialization, _, _ = _library()
    content = _read(path)
    if b"PRIVATE KEY" in content:
        raise UsageError(f"{path} is a private key; trust its public one: {path.name}.pub")
    try:
        return serialization.load_pem_public_key(content)
    except Exception as error:
        raise UsageError(f"{path} holds no public key in PEM form") from error


def read_public(path: Path) -> Any:
    """The Ed25519 public key of a PEM file.

    Raises
    ------
    UsageError
        Where it cannot be read, or is of another kind.
    """
    _, ed25519, _ = _library()
    key = load_public(path)
    if not isinstance(key, ed25519.Ed25519PublicKey):
        raise UsageError(f"{path} is no Ed25519 key")
    return key


def is_valid(public: Any, signature: bytes, message: bytes, *scheme: Any) -> bool:
    """Whether a signature of the message is this key's; ``scheme`` is what EC keys are told."""
    _, _, invalid = _library()
    try:
        public.verify(signature, message, *scheme)
    except invalid:
        return False
    return True


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise UsageError(f"{path} cannot be read: {error.strerror}") from error

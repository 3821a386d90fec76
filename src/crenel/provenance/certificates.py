"""Certificates (X.509, RFC 5280) that vouch for a model's key, traced to roots that are trusted.

A path is accepted in a strict part of RFC 5280: issuers are certificate authorities that may sign
certificates, path lengths hold, every certificate is valid at the time, no signature is over MD5
or SHA-1. What could restrict a path in ways that are not looked at here (name constraints, unknown
critical extensions) refuses it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from crenel.errors import MissingExtra, UsageError
from crenel.provenance.model_files import printable

_KNOWN = ("basicConstraints", "keyUsage", "extendedKeyUsage", "subjectAltName")
_DEEPEST = 8


def _x509() -> Any:
    try:
        from cryptography import x509
    except ImportError as error:
        raise MissingExtra("cryptography", "provenance") from error
    return x509


def read_certificates(path: Path) -> tuple[Any, ...]:
    """The certificates of a PEM file, in their order.

    Raises
    ------
    UsageError
        Where it cannot be read, or holds none.
    """
    x509 = _x509()
    try:
        return tuple(x509.load_pem_x509_certificates(path.read_bytes()))
    except OSError as error:
        raise UsageError(f"{path} cannot be read: {error.strerror}") from error
    except ValueError as error:
        raise UsageError(f"{path} holds no certificates in PEM form") from error


def parse_certificate(der: bytes) -> Any:
    """A certificate from its DER form.

    Raises
    ------
    ValueError
        Where it is none, or its signature is not of whole bytes: the bits that a reader passes
        over could be changed unseen.
    """
    certificate = _x509().load_der_x509_certificate(der)
    if not der.endswith(b"\0" + certificate.signature):
        raise ValueError("the signature of the certificate is not of whole bytes")
    return certificate


def name_of(certificate: Any) -> str:
    """The subject's name, fit for a terminal."""
    return printable(certificate.subject.rfc4514_string())[:200] or "a certificate without a name"


def signing_fault(certificate: Any) -> str:
    """Why a certificate may not sign a model; "" where it may.

    Each usage that it states must allow it (key usage: digital signature; extended: code signing),
    and it must state one.
    """
    x509 = _x509()
    try:
        usage = _extension(certificate, x509.KeyUsage)
        extended = _extension(certificate, x509.ExtendedKeyUsage)
    except ValueError:
        return "has extensions that cannot be read"
    oids = x509.oid.ExtendedKeyUsageOID
    if usage is None and extended is None:
        return "does not say that its key may sign"
    if usage is not None and not usage.digital_signature:
        return "is not for signatures (key usage)"
    if extended is not None and not {oids.CODE_SIGNING, oids.ANY_EXTENDED_KEY_USAGE} & {*extended}:
        return "is not for signing code (extended key usage)"
    return ""


def path_fault(
    signer: Any, others: Sequence[Any], trusted: Sequence[Any], *, allow_expired: bool = False
) -> str:
    """Why no trusted certificate vouches for a signer's certificate; "" where one does.

    Parameters
    ----------
    signer : x509.Certificate
    others : sequence of x509.Certificate
        From the bundle, trusted no more than it.
    trusted : sequence of x509.Certificate
        Roots, or the signer's own.
    allow_expired : bool
        Judge by the day on which the signer's certificate became valid, not by today.
    """
    at = signer.not_valid_before_utc if allow_expired else datetime.now(UTC)
    if fault := signing_fault(signer):
        return f"the certificate of {name_of(signer)} {fault}"
    search = _Search(tuple(others), tuple(trusted), at)
    if search.reaches(signer, 0):
        return ""
    fault = search.faults[0] if search.faults else "none of the roots given issued it"
    return f"nobody who is trusted vouches for the certificate of {name_of(signer)}: {fault}"


@dataclass
class _Search:
    """A search for a path from certificate to issuer, each certificate tried once."""

    others: tuple[Any, ...]
    trusted: tuple[Any, ...]
    at: datetime
    faults: list[str] = field(default_factory=list)
    seen: list[Any] = field(default_factory=list)

    def reaches(self, certificate: Any, below: int) -> bool:
        """Whether a path leads to a trusted one; ``below`` counts the authorities beneath."""
        fault = _fault(certificate, self.at)
        if fault:
            self.faults.append(f"that of {name_of(certificate)} {fault}")
            return False
        if certificate in self.trusted:
            return True
        if below >= _DEEPEST:
            return False
        for issuer in (*self.trusted, *self.others):
            if issuer in self.seen or issuer.subject != certificate.issuer:
                continue
            if not _issued(certificate, issuer):
                continue
            self.seen.append(issuer)
            if fault := _issuer_fault(issuer, below):
                self.faults.append(f"that of {name_of(issuer)} {fault}")
            elif self.reaches(issuer, below + 1):
                return True
        return False


def _issued(certificate: Any, issuer: Any) -> bool:
    from cryptography.exceptions import InvalidSignature

    try:
        certificate.verify_directly_issued_by(issuer)
    except (ValueError, TypeError, InvalidSignature):
        return False
    return True


def _fault(certificate: Any, at: datetime) -> str:
    """What is wrong with any certificate of a path."""
    if at < certificate.not_valid_before_utc:
        return f"is not valid before {certificate.not_valid_before_utc:%Y-%m-%d}"
    if at > certificate.not_valid_after_utc:
        return (
            f"expired on {certificate.not_valid_after_utc:%Y-%m-%d}, and nothing proves when the "
            "model was signed; if that is accepted, add --allow-expired"
        )
    try:
        digest = certificate.signature_hash_algorithm
        extensions = list(certificate.extensions)
    except Exception:  # noqa: BLE001  whatever the parser meets in untrusted bytes
        return "cannot be read"
    if digest is not None and digest.name in ("md5", "sha1"):
        return f"is signed over {digest.name.upper()}, which can be forged"
    for extension in extensions:
        name = extension.oid._name
        if name == "nameConstraints" or (extension.critical and name not in _KNOWN):
            return f"has an extension that is not supported ({extension.oid.dotted_string})"
    return ""


def _issuer_fault(issuer: Any, below: int) -> str:
    """Why a certificate may not vouch for others."""
    x509 = _x509()
    try:
        constraints = _extension(issuer, x509.BasicConstraints)
        usage = _extension(issuer, x509.KeyUsage)
    except ValueError:
        return "has extensions that cannot be read"
    if constraints is None or not constraints.ca:
        return "is that of no certificate authority"
    if usage is not None and not usage.key_cert_sign:
        return "may not sign certificates"
    if constraints.path_length is not None and below > constraints.path_length:
        return "allows fewer certificates below it"
    return ""


def _extension(certificate: Any, kind: Any) -> Any:
    """An extension's value; None where it is not there."""
    x509 = _x509()
    try:
        return certificate.extensions.get_extension_for_class(kind).value
    except x509.ExtensionNotFound:
        return None
    except Exception as error:  # whatever the parser meets in untrusted bytes
        raise ValueError(str(error)) from error

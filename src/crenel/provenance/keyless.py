"""Signatures by an identity and without a lasting key, through Sigstore (Newman et al., 2022).

A certificate authority (Fulcio) binds a key that lives for minutes to a name that a provider
(OpenID Connect) vouches for, and a public log (Rekor) proves when it signed. Who verifies needs the
name, its provider and Sigstore's roots.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from crenel.errors import UsageError
from crenel.provenance.envelope import PAYLOAD
from crenel.provenance.keyless_roots import shown, words
from crenel.provenance.outcome import Test

_Verify = Callable[[Any, Any, Any], None]


@dataclass(frozen=True)
class Identity:
    """Whose signature it must be, and by which roots that is judged.

    Attributes
    ----------
    name : str
        An e-mail address, or the URI of a workflow, exactly as in the certificate.
    provider : str
        URL of the OpenID Connect issuer that vouches for the name.
    roots : sigstore.models.TrustedRoot
        See `crenel.provenance.keyless_roots.read_roots`.
    """

    name: str
    provider: str
    roots: Any

    def __post_init__(self) -> None:
        if not self.name or not self.provider:
            raise UsageError(
                "an identity is a name and the provider that vouches for it; give both: "
                "--identity and --identity-provider"
            )


def verify_statement(bundle: bytes, identity: Identity) -> tuple[Test, bytes]:
    """Whether a bundle is an identity's signature of an in-toto statement.

    Returns
    -------
    Test, bytes
        The statement as it was signed; empty where the test failed.
    """
    signed: list[tuple[str, bytes]] = []

    def verify(verifier: Any, read: Any, policy: Claims) -> None:
        signed.append(verifier.verify_dsse(read, policy))

    test = _test(bundle, identity, verify)
    if not test.passed:
        return test, b""
    ((kind, payload),) = signed
    if kind != PAYLOAD:
        return Test("signature", False, f"what was signed is no statement: {shown(kind)}"), b""
    return test, payload


def verify_content(content: bytes, bundle: bytes, identity: Identity) -> Test:
    """Whether a bundle is an identity's signature of a file's content."""

    def verify(verifier: Any, read: Any, policy: Claims) -> None:
        verifier.verify_artifact(content, read, policy)

    return _test(bundle, identity, verify)


def _test(bundle: bytes, identity: Identity, verify: _Verify) -> Test:
    from sigstore.errors import CertValidationError
    from sigstore.models import Bundle
    from sigstore.verify import Verifier

    try:
        read = Bundle.from_json(bundle)
        verify(Verifier(trusted_root=identity.roots), read, Claims(identity))
        day = f"{read.signing_certificate.not_valid_before_utc:%Y-%m-%d}"
    except _OtherError as error:
        return Test("signature", False, str(error))
    except CertValidationError:
        sentence = (
            "none of the roots issued the signer's certificate, or it was not valid at the time "
            "at which it is proven to have signed"
        )
        return Test("signature", False, sentence)
    except Exception as error:  # noqa: BLE001  whatever the parsers meet in untrusted bytes
        reason = words(error) or type(error).__name__
        return Test("signature", False, f"the signature does not hold: {reason}")
    sentence = f"signed by {identity.name} ({identity.provider}) on {day}"
    details = {"signer": identity.name, "provider": identity.provider}
    return Test("signature", True, sentence, details)


class _OtherError(Exception):
    """The certificate is another identity's than is trusted."""


@dataclass
class Claims:
    """A policy of the library's: notes whose a certificate is, and holds it against an identity.

    The library asks it once the certificate has been traced to the roots.
    """

    identity: Identity | None = None
    names: list[str] = field(default_factory=list)
    provider: str = ""

    def verify(self, cert: Any) -> None:
        """Raise where a certificate is not that of the identity."""
        from sigstore.errors import VerificationError
        from sigstore.verify import policy

        self.names, self.provider = _names(cert), _provider(cert)
        if self.identity is None:
            return
        wanted = policy.Identity(identity=self.identity.name, issuer=self.identity.provider)
        try:
            wanted.verify(cert)
        except VerificationError as error:
            raise _OtherError(
                f"the certificate in the signature is that of {shown(', '.join(self.names))} "
                f"({shown(self.provider)}), not of {self.identity.name} ({self.identity.provider})"
            ) from error


def _names(certificate: Any) -> list[str]:
    """The names for which a certificate was issued."""
    from cryptography import x509

    names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    kinds = (x509.RFC822Name, x509.UniformResourceIdentifier)
    plain = [str(name) for kind in kinds for name in names.get_values_for_type(kind)]
    return plain or ["a name of another kind"]


def _provider(certificate: Any) -> str:
    """The provider that a certificate names (extension 1.3.6.1.4.1.57264.1.1 of Fulcio's)."""
    from cryptography import x509

    oid = x509.ObjectIdentifier("1.3.6.1.4.1.57264.1.1")
    try:
        value = certificate.extensions.get_extension_for_oid(oid).value.value
    except x509.ExtensionNotFound:
        return "no provider"
    return bytes(value).decode(errors="replace")

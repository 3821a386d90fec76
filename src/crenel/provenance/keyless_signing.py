"""Sign by an identity, through Sigstore's services, and verify what comes back."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from crenel.errors import CrenelError, UsageError
from crenel.provenance.keyless import Claims
from crenel.provenance.keyless_roots import words

#: Variable of the environment with a token, as other Sigstore clients name it.
TOKEN = "SIGSTORE_ID_TOKEN"


@dataclass(frozen=True)
class Signed:
    """A signature that was made.

    Attributes
    ----------
    bundle : bytes
        The file's content.
    name, provider : str
        Whose it is, as `crenel.provenance.keyless.Identity` wants it.
    """

    bundle: bytes
    name: str
    provider: str


@dataclass(frozen=True)
class Signer:
    """Makes signatures by an identity.

    Attributes
    ----------
    services : sigstore.models.ClientTrustConfig
        See `crenel.provenance.keyless_roots.read_services`.
    token : str
        An identity token for the audience ``sigstore``; else that of the environment or of the
        machine (CI) is taken.
    interactive : bool
        Whether somebody is there who can log in with a browser.
    """

    services: Any
    token: str = ""
    interactive: bool = False

    def check(self) -> None:
        """Raise `UsageError` where no identity can be had, before anything else is done."""
        if self._offered() is None and not self.interactive:
            raise UsageError(
                "nobody's identity is known here; give a token for the audience sigstore with "
                f"--identity-token or {TOKEN}, or log in at a terminal"
            )

    def sign_statement(self, payload: bytes) -> Signed:
        """Sign an in-toto statement: a bundle with a DSSE envelope."""
        from sigstore.dsse import Statement

        return self._signed(
            lambda signer: signer.sign_dsse(Statement(payload)),
            lambda verifier, bundle, policy: verifier.verify_dsse(bundle, policy),
        )

    def sign_content(self, content: bytes) -> Signed:
        """Sign a file's content: a bundle with its digest."""
        return self._signed(
            lambda signer: signer.sign_artifact(content),
            lambda verifier, bundle, policy: verifier.verify_artifact(content, bundle, policy),
        )

    def _signed(self, sign: Callable[[Any], Any], verify: Callable[[Any, Any, Any], Any]) -> Signed:
        from sigstore.sign import SigningContext
        from sigstore.verify import Verifier

        self.check()
        policy = Claims()
        try:
            token = self._offered() or self._logged_in()
            context = SigningContext.from_trust_config(self.services)
            with context.signer(token) as signer:
                bundle = sign(signer)
            verify(Verifier(trusted_root=self.services.trusted_root), bundle, policy)
        except Exception as error:  # the library and the services fail in many ways
            raise CrenelError(f"nothing was signed: {_reason(error)}") from error
        return Signed(bundle.to_json().encode() + b"\n", ", ".join(policy.names), policy.provider)

    def _offered(self) -> Any:
        """The token that was given, or that the machine has; None where there is none."""
        from sigstore.oidc import IdentityError, IdentityToken, detect_credential

        try:
            raw = self.token or os.environ.get(TOKEN) or detect_credential()
            return IdentityToken(raw) if raw else None
        except IdentityError as error:
            raise UsageError(f"the identity token cannot be used: {words(error)}") from error

    def _logged_in(self) -> Any:
        from sigstore.oidc import Issuer

        return Issuer(self.services.signing_config.get_oidc_url()).identity_token()


def _reason(error: Exception) -> str:
    """Why there is no signature."""
    chain: list[BaseException] = [error]
    while (cause := chain[-1].__cause__) is not None:
        chain.append(cause)
    kinds = {type(link).__name__ for link in chain}
    if kinds & {"ConnectionError", "ConnectTimeout", "ReadTimeout", "NetworkError"}:
        return "Sigstore's services cannot be reached; signing without a key needs a network"
    if kinds & {"ExpiredIdentity", "ExpiredCertificate"}:
        return "the identity token ran out before the signature was made; get a new one"
    return next((told for told in map(words, chain) if told), type(error).__name__)

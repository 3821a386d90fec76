"""Options of the verbs that sign by identity, and verify such signatures, through Sigstore."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from crenel.provenance.keyless import Identity
    from crenel.provenance.keyless_signing import Signed, Signer

Sigstore = Annotated[
    bool,
    typer.Option("--sigstore", help="Sign by identity, online; your name goes to a public log."),
]
Token = Annotated[
    str | None,
    typer.Option(
        "--identity-token",
        help="OIDC token; else SIGSTORE_ID_TOKEN, the CI's own, or a log-in by browser.",
    ),
]
TrustConfig = Annotated[
    Path | None,
    typer.Option("--trust-config", help="Client trust configuration of a Sigstore of your own."),
]
Staging = Annotated[
    bool, typer.Option("--staging", help="Sigstore's services for trials, not the public ones.")
]
Name = Annotated[
    str | None, typer.Option("--identity", help="Who must have signed through Sigstore.")
]
Provider = Annotated[
    str | None, typer.Option("--identity-provider", help="URL of who vouches for that identity.")
]
Offline = Annotated[
    bool, typer.Option("--offline", help="Take the roots of Sigstore that are here; fetch none.")
]
TrustRoot = Annotated[
    Path | None, typer.Option("--trust-root", help="File with the roots of a Sigstore.")
]


def signer_of(sigstore: bool, token: str | None, staging: bool, config: Path | None) -> Signer:
    """Who signs through Sigstore.

    Raises
    ------
    UsageError
        Where it is not asked for, or in two ways.
    """
    import sys

    from crenel.errors import UsageError
    from crenel.provenance.keyless_roots import read_services
    from crenel.provenance.keyless_signing import Signer

    if not sigstore:
        raise UsageError("name the private key with --key, or sign by identity with --sigstore")
    _one_of(staging, config, "--trust-config")
    return Signer(read_services(config, staging=staging), token or "", sys.stdin.isatty())


def key_alone(sigstore: bool, token: str | None, staging: bool, config: Path | None) -> None:
    """Refuse options of Sigstore's beside a key."""
    from crenel.errors import UsageError

    if sigstore or token or staging or config:
        raise UsageError("--key signs without Sigstore: leave out either it, or what is of that")


def identity_of(
    name: str | None, provider: str | None, staging: bool, offline: bool, roots: Path | None
) -> Identity | None:
    """Whose signature is wanted; None where no identity is named.

    Raises
    ------
    UsageError
        Where a part is missing.
    """
    from crenel.errors import UsageError
    from crenel.provenance.keyless import Identity
    from crenel.provenance.keyless_roots import read_roots

    if name is None and provider is None:
        if staging or offline or roots:
            raise UsageError("Sigstore's roots are for an identity; name it with --identity")
        return None
    _one_of(staging, roots, "--trust-root")
    who = Identity(name or "", provider or "", None)
    return Identity(who.name, who.provider, read_roots(roots, staging=staging, offline=offline))


def _one_of(staging: bool, file: Path | None, option: str) -> None:
    from crenel.errors import UsageError

    if staging and file is not None:
        raise UsageError(f"--staging and {option} name two Sigstores; give one")


def told_by(signed: Signed) -> str:
    """Who signed, and how others verify it."""
    return (
        f"signed by {signed.name}; verify it with --identity {signed.name} "
        f"--identity-provider {signed.provider}"
    )

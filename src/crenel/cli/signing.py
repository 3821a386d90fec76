"""``crenel provenance sign-model`` and ``verify-model``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from crenel.cli.identity import (
    Name,
    Offline,
    Provider,
    Sigstore,
    Staging,
    Token,
    TrustConfig,
    TrustRoot,
)
from crenel.cli.options import Json

if TYPE_CHECKING:
    from crenel.provenance.outcome import Test

ModelPath = Annotated[Path, typer.Argument(metavar="MODEL", help="A file or a folder.")]
Ignored = Annotated[
    list[Path] | None, typer.Option("--ignore", help="Path in the model's folder to leave out.")
]


def sign_model(
    model: ModelPath,
    key: Annotated[
        Path | None, typer.Option("--key", help="Private key to sign with: EC or Ed25519.")
    ] = None,
    sigstore: Sigstore = False,
    identity_token: Token = None,
    staging: Staging = False,
    trust_config: TrustConfig = None,
    out: Annotated[
        Path | None, typer.Option("-o", "--out", help="Signature to write; else model.sig there.")
    ] = None,
    certificate: Annotated[
        Path | None, typer.Option("--certificate", help="The key's certificate, PEM.")
    ] = None,
    chain: Annotated[
        list[Path] | None, typer.Option("--chain", help="Certificates that vouch for it, PEM.")
    ] = None,
    ignore: Ignored = None,
    symlinks: Annotated[
        bool, typer.Option("--allow-symlinks", help="Sign links to files as those files.")
    ] = False,
    force: Annotated[bool, typer.Option("--force", help="Overwrite a signature.")] = False,
    as_json: Json = False,
) -> None:
    """Sign a model's files as OpenSSF Model Signing does: with a key, offline, or by identity."""
    from crenel.cli.identity import key_alone, signer_of, told_by
    from crenel.cli.options import emit
    from crenel.errors import UsageError
    from crenel.provenance import model_keys, model_signature
    from crenel.provenance.certificates import read_certificates

    target = out or (model if model.is_dir() else model.parent) / "model.sig"
    if target.exists() and not force:
        raise UsageError(f"{target} exists; overwrite it with --force, or name another with --out")
    if chain and certificate is None:
        raise UsageError("--chain vouches for a certificate; name it with --certificate")
    ignored = _relative(model, ignore)
    if key is None:
        if certificate is not None:
            raise UsageError("--certificate is that of a key; name the key with --key")
        statement, signed = model_signature.sign_model_by_identity(
            model,
            target,
            signer_of(sigstore, identity_token, staging, trust_config),
            ignored=ignored,
            symlinks=symlinks,
        )
        told: dict[str, object] = {"identity": signed.name, "identity_provider": signed.provider}
        words = told_by(signed)
    else:
        key_alone(sigstore, identity_token, staging, trust_config)
        private = model_keys.read_signing_key(key)
        certificates = [*read_certificates(certificate)] if certificate else []
        certificates += [c for path in chain or () for c in read_certificates(path)]
        statement = model_signature.sign_model(
            model, target, private, certificates=certificates, ignored=ignored, symlinks=symlinks
        )
        hint = model_keys.hint_of(private.public_key())
        portable = model_keys.is_portable(private.public_key())
        told = {"key": hint, "portable": portable}
        words = f"signed (key {hint[:16]})"
        if not portable:
            words += "\ncrenel verifies it; other tools of OpenSSF Model Signing take EC keys alone"
    n = len(statement.files)
    if as_json:
        emit({"signature": str(target), "files": n, **told})
        return
    typer.echo(f"{target} written: {n:,} {'files' if n > 1 else 'file'} {words}")


def verify_model(
    model: ModelPath,
    signature: Annotated[
        Path | None, typer.Option("--signature", help="The signature's file.")
    ] = None,
    known: Annotated[
        Path | None,
        typer.Option("--known", help="List of published models: JSON, or lines of sha256sum."),
    ] = None,
    origin: Annotated[
        str, typer.Option("--origin", help="With --known: what it is said to be, org/name.")
    ] = "",
    key: Annotated[
        list[Path] | None, typer.Option("--key", help="Public key that is trusted.")
    ] = None,
    roots: Annotated[
        list[Path] | None, typer.Option("--roots", help="Certificates that are trusted, PEM.")
    ] = None,
    identity: Name = None,
    identity_provider: Provider = None,
    offline: Offline = False,
    trust_root: TrustRoot = None,
    staging: Staging = False,
    ignore: Ignored = None,
    allow_expired: Annotated[
        bool, typer.Option("--allow-expired", help="Accept a certificate that was valid once.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Verify a model's files by a signature, or by a list. Exit 0 pass, 1 fail, 2 incomplete."""
    from crenel.cli.provenance import finish
    from crenel.errors import UsageError

    if signature is None and (known is None or key or roots or identity):
        told = "" if key or roots or identity else ", or a list of published models with --known"
        raise UsageError(f"name the signature's file with --signature{told}")
    if origin and known is None:
        raise UsageError("--origin is looked up in a list of models; name it with --known")
    tests = [] if known is None else _by_list(model, known, origin, _relative(model, ignore))
    if signature is not None:
        from crenel.cli.identity import identity_of
        from crenel.provenance import model_signature
        from crenel.provenance.certificates import read_certificates
        from crenel.provenance.model_keys import read_verifying_key

        tests += model_signature.verify_model(
            model,
            signature,
            keys=[read_verifying_key(path) for path in key or ()],
            roots=[c for path in roots or () for c in read_certificates(path)],
            identity=identity_of(identity, identity_provider, staging, offline, trust_root),
            ignored=_relative(model, ignore),
            allow_expired=allow_expired,
        )
    finish(tests, as_json)


def _by_list(model: Path, known: Path, origin: str, ignored: list[str]) -> list[Test]:
    from crenel.provenance.published import read_published, verify_published

    return verify_published(model, read_published(known), origin, ignored)


def _relative(model: Path, paths: list[Path] | None) -> list[str]:
    """Paths from the model's folder, given so or from where the user is."""
    from crenel.errors import UsageError

    named = []
    for path in paths or ():
        place = model / path
        if not place.exists() and path.exists():
            place = path
        if model.resolve() not in place.resolve().parents:
            raise UsageError(f"--ignore {path} does not lie in {model}")
        named.append(place.resolve().relative_to(model.resolve()).as_posix())
    return named

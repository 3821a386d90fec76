"""Sign the files of a model, and verify them, as OpenSSF Model Signing does."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypeVar

from crenel.errors import SubjectError, UsageError
from crenel.provenance.certificates import (
    name_of,
    parse_certificate,
    path_fault,
    signing_fault,
)
from crenel.provenance.keyless import Identity, verify_statement
from crenel.provenance.keyless_signing import Signed, Signer
from crenel.provenance.model_bundle import Bundle, read_bundle
from crenel.provenance.model_files import GIT, ITSELF, digest_of, list_model, printable
from crenel.provenance.model_keys import hint_of, sign_payload, signed_payload, signs_models
from crenel.provenance.model_statement import ModelStatement, Piece, parse_statement
from crenel.provenance.outcome import Test

_SHOWN = 5
_In = TypeVar("_In")
_Out = TypeVar("_Out")


def sign_model(
    model: Path,
    out: Path,
    private: Any,
    *,
    certificates: Sequence[Any] = (),
    ignored: Iterable[str] = (),
    symlinks: bool = False,
) -> ModelStatement:
    """Sign a model with a key, without a network, and write the signature.

    Parameters
    ----------
    model : Path
        A file or a folder.
    out : Path
        The signature, a Sigstore bundle; within the folder it is left out of it.
    private : EC or Ed25519 private key
    certificates : sequence of x509.Certificate
        The signer's first, then those that vouch for it.
    ignored : iterable of str
        POSIX paths from the folder that are left out, beside those of git.
    symlinks : bool
        Whether links to files are signed as those files; else a link is an error.

    Returns
    -------
    ModelStatement
        What was signed.

    Raises
    ------
    UsageError
        Where a certificate is not the key's or may not sign, or the signature cannot be written.
    SubjectError
        Where there is nothing to sign, or something that cannot be.
    """
    _check_certificate(private.public_key(), certificates)
    statement = _describe(model, out, ignored, symlinks)
    payload = statement.to_bytes()
    bundle = Bundle(
        payload=payload,
        signature=sign_payload(private, payload),
        hint=hint_of(private.public_key()),
        chain=tuple(_der(c) for c in certificates),
    )
    _write(out, bundle.to_bytes())
    return statement


def sign_model_by_identity(
    model: Path,
    out: Path,
    signer: Signer,
    *,
    ignored: Iterable[str] = (),
    symlinks: bool = False,
) -> tuple[ModelStatement, Signed]:
    """Sign a model by an identity, through Sigstore, and write the signature.

    The name and its provider are published in a log that nothing is removed from.

    Parameters
    ----------
    model, out, ignored, symlinks
        As of `sign_model`.
    signer : Signer

    Returns
    -------
    ModelStatement, Signed
        What was signed, and by whom.

    Raises
    ------
    UsageError
        Where nobody's identity is known, or the signature cannot be written.
    SubjectError
        Where there is nothing to sign, or something that cannot be.
    CrenelError
        Where the services gave no signature.
    """
    signer.check()
    statement = _describe(model, out, ignored, symlinks)
    signed = signer.sign_statement(statement.to_bytes())  # a token may live for a minute
    _write(out, signed.bundle)
    return statement, signed


def _describe(model: Path, out: Path, ignored: Iterable[str], symlinks: bool) -> ModelStatement:
    """The files as they are, for a signature to be written to ``out``."""
    rules = tuple(dict.fromkeys((*GIT, *ignored, *_within(model, out))))
    listing = list_model(model, rules, symlinks=symlinks)
    if listing.refused:
        more = f" (and {len(listing.refused) - 1} more)" if len(listing.refused) > 1 else ""
        raise SubjectError(f"the model cannot be signed: {listing.refused[0]}{more}")
    if not listing.names:
        raise SubjectError(f"{model} holds no files to sign")
    digests = _each(lambda name: digest_of(_place(model, name), "sha256"), listing.names)
    return ModelStatement(
        model=model.resolve().name,
        files={n: (Piece(d),) for n, d in zip(listing.names, digests)},
        ignored=rules,
        symlinks=symlinks,
    )


def _write(out: Path, content: bytes) -> None:
    try:
        out.write_bytes(content)
    except OSError as error:
        raise UsageError(f"{out} cannot be written: {error.strerror}") from error


def verify_model(
    model: Path,
    signature: Path,
    *,
    keys: Sequence[Any] = (),
    roots: Sequence[Any] = (),
    identity: Identity | None = None,
    ignored: Iterable[str] = (),
    allow_expired: bool = False,
) -> list[Test]:
    """Verify that a model's files are those that somebody who is trusted signed.

    Parameters
    ----------
    model : Path
        A file or a folder; it is read, never loaded.
    signature : Path
        A Sigstore bundle of OpenSSF Model Signing.
    keys : sequence of EC or Ed25519 public keys
        Any of them may have signed.
    roots : sequence of x509.Certificate
        Any of them may vouch for the certificate in the bundle; the signer's own may be given.
    identity : Identity, optional
        Who must have signed, through Sigstore.
    ignored : iterable of str
        POSIX paths from the folder that are not looked at, beside those the signer left out.
    allow_expired : bool
        Whether a certificate counts that was valid once and is no longer.

    Returns
    -------
    list of Test
        Signature first, then files: those changed, missing and not signed each in one.

    Raises
    ------
    UsageError
        Where not exactly one of keys, roots and an identity is given, or a path leads nowhere.
    SubjectError
        Where the signature is damaged, or a file cannot be read.
    """
    signed, statement = signed_statement(
        signature, keys=keys, roots=roots, identity=identity, allow_expired=allow_expired
    )
    if statement is None:
        return [signed, Test("files", None, "the files were not compared with such a signature")]
    return [signed, *compare_files(model, signature, statement, ignored=ignored)]


def signed_statement(
    signature: Path,
    *,
    keys: Sequence[Any] = (),
    roots: Sequence[Any] = (),
    identity: Identity | None = None,
    allow_expired: bool = False,
) -> tuple[Test, ModelStatement | None]:
    """Verify a signature, without the files; the statement is None where it does not hold.

    Parameters and errors are those of `verify_model`.
    """
    if [bool(keys), bool(roots), identity is not None].count(True) != 1:
        raise UsageError(
            "a signature proves nothing without somebody who is trusted; give either the signer's "
            "public key with --key, certificates with --roots, or who it is with --identity"
        )
    bundle = read_bundle(signature)
    payload = bundle.payload
    if identity is not None:
        signed, payload = _by_identity(bundle, identity)
    else:
        signed = _by_key(bundle, keys) if keys else _by_certificate(bundle, roots, allow_expired)
    return signed, parse_statement(payload, signature.name) if signed.passed else None


def compare_files(
    model: Path, signature: Path, statement: ModelStatement, *, ignored: Iterable[str] = ()
) -> list[Test]:
    """Compare a model's files with a statement; see `verify_model`."""
    return _files(model, statement, tuple(ignored), _within(model, signature))


def _by_identity(bundle: Bundle, identity: Identity) -> tuple[Test, bytes]:
    if not bundle.keyless:
        sentence = (
            "the signature was made with a key, not by an identity; verify it with --key, or "
            "--roots where it holds a certificate"
        )
        return Test("signature", False, sentence), b""
    return verify_statement(bundle.keyless, identity)


_KEYLESS = (
    "the model was signed by an identity through Sigstore, without a key that lasts; verify it "
    "with --identity and --identity-provider"
)


def _by_key(bundle: Bundle, keys: Sequence[Any]) -> Test:
    if bundle.keyless:
        return Test("signature", False, _KEYLESS)
    named = [key for key in keys if bundle.hint in ("", hint_of(key))]
    if not named:
        told = printable(bundle.hint)[:16]
        sentence = f"the model was signed with another key ({told}) than is trusted"
        return Test("signature", False, sentence)
    for key in named:
        if signed_payload(key, bundle.signature, bundle.payload):
            sentence = f"signed with the key {hint_of(key)[:16]}"
            return Test("signature", True, sentence, {"key": hint_of(key)})
    with_which = "" if bundle.hint else " or made with another key than is trusted"
    return Test("signature", False, f"the signature was changed after it was made{with_which}")


def _by_certificate(bundle: Bundle, roots: Sequence[Any], allow_expired: bool) -> Test:
    if bundle.keyless:
        return Test("signature", False, _KEYLESS)
    if not bundle.chain:
        sentence = "the signature holds no certificate; verify it with the signer's key: --key"
        return Test("signature", False, sentence)
    try:
        signer, *others = [parse_certificate(der) for der in bundle.chain]
        public = signer.public_key()
        fault = path_fault(signer, others, roots, allow_expired=allow_expired)
    except Exception as error:  # noqa: BLE001  whatever the parser meets in untrusted bytes
        kind = type(error).__name__
        return Test("signature", False, f"a certificate in the signature is damaged ({kind})")
    if fault:
        return Test("signature", False, fault)
    if not signs_models(public):
        sentence = f"the certificate of {name_of(signer)} is for a kind of key that signs no models"
        return Test("signature", False, sentence)
    if not signed_payload(public, bundle.signature, bundle.payload):
        sentence = f"the signature is not that of {name_of(signer)}, or was changed afterwards"
        return Test("signature", False, sentence)
    details = {"key": hint_of(public), "signer": name_of(signer)}
    return Test("signature", True, f"signed by {name_of(signer)}", details)


def _files(
    model: Path, statement: ModelStatement, ignored: tuple[str, ...], own: tuple[str, ...]
) -> list[Test]:
    """Compare what is there with what was signed."""
    listed = statement.files
    left = statement.ignored
    if left is None:  # releases before 1.1 leave git's files out and do not say so
        left = tuple(g for g in GIT if not any(n == g or n.startswith(f"{g}/") for n in listed))
    listing = list_model(model, (*left, *ignored, *own), symlinks=statement.symlinks)
    there = set(listing.names)
    common = [name for name in listing.names if name in listed]
    wholes = _each(lambda name: _is_same(model, name, listed[name], statement.algorithm), common)
    sharded = any(pieces[0].end is not None for pieces in listed.values())
    faults: Mapping[str, list[str]] = {
        "changed": [name for name, same in zip(common, wholes) if not same],
        "missing": [name for name in listed if name not in there],
        "not signed": [
            name
            for name in listing.names
            # shards of an empty file are none, so that no such file is listed
            if name not in listed and not (sharded and _place(model, name).stat().st_size == 0)
        ],
    }
    tests = [
        Test(f"files {fault}", False, f"{_named(names)} {_be(names)} {fault}", {"files": names})
        for fault, names in faults.items()
        if names
    ]
    if listing.refused:
        more = f", and {len(listing.refused) - 1} more like it" if len(listing.refused) > 1 else ""
        sentence = f"{listing.refused[0]}{more}; none was signed"
        tests.append(Test("files refused", False, sentence, {"files": list(listing.refused)}))
    bare = [name for name in listing.names if name not in listed]
    left_out = sorted({*listing.left_out, *bare} - {*own})
    return tests or [_all_right(len(common), left_out)]


def _all_right(n: int, left_out: list[str]) -> Test:
    sentence = f"{n:,} files are as they were signed" if n > 1 else "the file is as it was signed"
    if left_out:
        sentence += f"; not covered: {_named(left_out)}"
    return Test("files", True, sentence, {"files": n, "not covered": left_out})


def _is_same(model: Path, name: str, pieces: Sequence[Piece], algorithm: str) -> bool:
    file, end = _place(model, name), pieces[-1].end
    if end is not None and file.stat().st_size != end:
        return False
    return all(digest_of(file, algorithm, p.start, p.end) == p.digest for p in pieces)


def _each(function: Callable[[_In], _Out], items: Sequence[_In]) -> list[_Out]:
    """Apply a function by several threads: digests are made outside the interpreter's lock."""
    with ThreadPoolExecutor() as pool:
        return list(pool.map(function, items))


def _place(model: Path, name: str) -> Path:
    return model if name == ITSELF else model / name


def _within(model: Path, file: Path) -> tuple[str, ...]:
    """A file's POSIX path from the model's folder, where it lies in it."""
    place, root = file.resolve(), model.resolve()
    return (place.relative_to(root).as_posix(),) if root in place.parents else ()


def _named(names: Sequence[str]) -> str:
    shown = ", ".join(printable(name) if name != ITSELF else "the file" for name in names[:_SHOWN])
    return f"{shown} and {len(names) - _SHOWN:,} more" if len(names) > _SHOWN else shown


def _be(names: Sequence[str]) -> str:
    return "was" if len(names) == 1 else "were"


def _check_certificate(public: Any, certificates: Sequence[Any]) -> None:
    if not certificates:
        return
    if hint_of(certificates[0].public_key()) != hint_of(public):
        raise UsageError("the certificate is not that of the key; name the one made for it")
    if fault := signing_fault(certificates[0]):
        raise UsageError(f"the certificate of {name_of(certificates[0])} {fault}")


def _der(certificate: Any) -> bytes:
    from cryptography.hazmat.primitives.serialization import Encoding

    return bytes(certificate.public_bytes(Encoding.DER))

"""Whether the publisher's signature of a base model is valid and covers the files in use."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from crenel.errors import SubjectError, UsageError
from crenel.subject import Base, SigningIdentity


@dataclass(frozen=True)
class Vouched:
    """What came of verifying a signature.

    Attributes
    ----------
    valid : bool or None
        None where nobody is named whose signature it should be.
    detail : str
        One sentence in lower case, without a full stop.
    """

    valid: bool | None
    detail: str


def vouched(base: Base) -> Vouched | None:
    """Verify the base model's signature; None where none is given.

    A folder's signature is held against the folder in which it lies, a file's against the model.

    Raises
    ------
    UsageError
        Where the signer's key, certificate or roots cannot be used.
    """
    if base.signature is None:
        return None
    if base.signer is None:
        return Vouched(None, "a signature is given, but not whose it should be")
    from crenel.provenance.model_files import ITSELF
    from crenel.provenance.model_signature import compare_files, signed_statement

    trusted = _trusted(base.signer)
    files = [path.resolve() for path in base.files if path.is_file()]
    try:
        test, statement = signed_statement(base.signature, **trusted)
        if statement is None:
            return Vouched(False, f"the signature does not hold: {test.sentence}")
        listed = statement.files
        single, folder = set(listed) == {ITSELF}, base.signature.resolve().parent
        if single and len(files) != 1:
            return Vouched(False, f"the signature is of one file; the base has {len(files)}")
        tests = compare_files(files[0] if single else folder, base.signature, statement)
    except SubjectError as error:
        return Vouched(False, f"the signature proves nothing: {error}")
    covered = {folder / name for name in listed} | (set(files) if single else set())
    failures = [t.sentence for t in tests if t.passed is False]
    failures += [f"{f.name} is not covered by the signature" for f in files if f not in covered]
    if failures:
        return Vouched(False, f"the signature does not hold: {'; '.join(failures)}")
    return Vouched(True, f"the files are {test.sentence}")


def _trusted(signer: Path | SigningIdentity) -> dict[str, Any]:
    """Who is trusted, as `signed_statement` takes it; an audit fetches no roots."""
    from crenel.provenance.certificates import read_certificates
    from crenel.provenance.keyless import Identity
    from crenel.provenance.keyless_roots import read_roots
    from crenel.provenance.model_keys import read_verifying_key

    if isinstance(signer, SigningIdentity):
        roots = read_roots(signer.trust_root, offline=True)
        return {"identity": Identity(signer.identity, signer.identity_provider, roots)}
    try:
        content = signer.read_bytes()
    except OSError as error:
        raise UsageError(f"{signer} cannot be read: {error.strerror}") from error
    if b"BEGIN CERTIFICATE" in content:
        return {"roots": read_certificates(signer)}
    return {"keys": [read_verifying_key(signer)]}

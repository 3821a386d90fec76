"""No file is loaded before it has been scanned, and only the bytes that were scanned are."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from pathlib import Path

from crenel.errors import SubjectError, Untrusted, UsageError


def read_trusted(path: Path, trust: Iterable[str] = (), *, scan: bool = True) -> bytes:
    """The bytes of a file that may be loaded.

    Parameters
    ----------
    path : Path
    trust : iterable of str
        Digests ``sha256:…`` of files that the user trusts whatever their scan says.
    scan : bool
        False where the caller has scanned the file already.

    Raises
    ------
    SubjectError
        Where the file cannot be read.
    Untrusted
        Where its scan is not clean and its digest is not trusted, or where a module that it names
        is not what was installed.
    """
    content = read(path)
    if scan:
        require_trusted(path, trust, content)
    return content


def require_trusted(path: Path, trust: Iterable[str], content: bytes | None = None) -> None:
    """Raise `Untrusted` unless a file's scan is clean or its digest is trusted.

    What is scanned are the bytes themselves, not the file again, which may have changed.

    Parameters
    ----------
    content : bytes, optional
        What will be loaded; read from the file where absent.
    """
    from crenel.scan import scan_bytes, shadowed_modules

    held = read(path) if content is None else content
    digest = hashlib.sha256(held).hexdigest()
    if f"sha256:{digest}" in normalised(trust):
        return
    result = scan_bytes(held, str(path))
    way = f'if you know where the file comes from and trust it, add: trust = "sha256:{digest}"'
    if result.verdict != "clean":
        reason = result.reasons[0].sentence.rstrip(".") if result.reasons else "no reason given"
        raise Untrusted(f"{path} was not loaded, its scan says {result.verdict}: {reason}; {way}")
    for told in shadowed_modules(result.modules):
        raise Untrusted(
            f"{path} was not loaded, for the module {told.module} would be read from {told.file}, "
            f"which {told.why}; remove it or install the library again"
        )


def read(path: Path) -> bytes:
    """All bytes of a file, or `SubjectError`."""
    try:
        return path.read_bytes()
    except OSError as error:
        raise SubjectError(f"{path} cannot be read: {error.strerror or error}") from error


def normalised(trust: Iterable[str] | str) -> frozenset[str]:
    """Digests in the form ``sha256:`` and 64 lower-case hexadecimal digits.

    Raises
    ------
    UsageError
        Where one is not a SHA-256 digest.
    """
    given = [trust] if isinstance(trust, str) else list(trust)
    clean = []
    for digest in given:
        digits = digest.strip().lower().removeprefix("sha256:")
        if len(digits) != 64 or set(digits) - set("0123456789abcdef"):
            raise UsageError(
                f'trust: {digest!r} is not a digest; write trust = "sha256:" and 64 hexadecimal '
                "digits, as `crenel scan` shows them"
            )
        clean.append(f"sha256:{digits}")
    return frozenset(clean)

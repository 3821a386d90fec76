"""The files of a model: which there are, which are left out, and their digests."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from crenel.errors import SubjectError, UsageError

#: Left out where a signature does not say what is: version control, not model.
GIT = (".git", ".gitattributes", ".github", ".gitignore")
#: Name of the only file where the model is one file and no folder.
ITSELF = "."

_CHUNK = 1 << 20


@dataclass(frozen=True)
class Listing:
    """What lies at a model's path.

    Attributes
    ----------
    names : tuple of str
        Files, as POSIX paths from the folder; ``.`` where the model is one file.
    left_out : tuple of str
        Files and folders that are there and to be ignored.
    refused : tuple of str
        Sentences about links, devices and the like.
    """

    names: tuple[str, ...]
    left_out: tuple[str, ...] = ()
    refused: tuple[str, ...] = ()


def list_model(root: Path, ignored: Iterable[str], *, symlinks: bool = False) -> Listing:
    """List the files below a folder, or the one file.

    Parameters
    ----------
    root : Path
    ignored : iterable of str
        POSIX paths from the folder, of files or folders; ones that lead outside count for nothing.
    symlinks : bool
        Whether a link to a file counts as that file; a link to a folder never does.

    Raises
    ------
    UsageError
        Where there is nothing at the path.
    SubjectError
        Where a folder cannot be listed.
    """
    if root.is_file():
        return Listing((ITSELF,))
    if not root.is_dir():
        raise UsageError(f"there is no model at {root}")
    rules = [PurePosixPath(rule) for rule in ignored]
    names: list[str] = []
    left_out: list[str] = []
    refused: list[str] = []
    waiting = [""]
    while waiting:
        folder = waiting.pop()
        for entry in _entries(root / folder):
            name = f"{folder}{entry.name}"
            if any(PurePosixPath(name).is_relative_to(rule) for rule in rules):
                left_out.append(name)
            elif fault := _fault(entry, symlinks):
                refused.append(f"{printable(name)} {fault}")
            elif entry.is_dir(follow_symlinks=False):
                waiting.append(f"{name}/")
            else:
                names.append(name)
    return Listing(
        tuple(sorted(names, key=by_parts)), tuple(sorted(left_out)), tuple(sorted(refused))
    )


def by_parts(name: str) -> tuple[str, ...]:
    """Sort key of a name: its parts, so that ``a/b`` comes before ``a.b``."""
    return PurePosixPath(name).parts


def _entries(folder: Path) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(folder) as found:
            return list(found)
    except OSError as error:
        raise SubjectError(f"{folder} cannot be read: {error.strerror}") from error


def _fault(entry: os.DirEntry[str], symlinks: bool) -> str:
    """Why an entry cannot be part of a signed model; "" where it can."""
    if entry.is_symlink() and not (symlinks and entry.is_file()):
        return "is a symbolic link"
    if not (entry.is_file() or entry.is_dir()):
        return "is neither a file nor a folder"
    try:
        entry.name.encode()
    except UnicodeEncodeError:
        return "has a name that is not UTF-8"
    return ""


def digest_of(file: Path, algorithm: str, start: int = 0, end: int | None = None) -> bytes:
    """Digest of a file's bytes from ``start`` to ``end``, read in pieces of 1 MiB.

    Parameters
    ----------
    algorithm : {"sha256", "blake2b"}

    Raises
    ------
    SubjectError
        Where the file cannot be read.
    """
    total = hashlib.new(algorithm)
    try:
        with file.open("rb", buffering=0) as stream:
            stream.seek(start)
            left = end - start if end is not None else None
            while part := stream.read(_CHUNK if left is None else min(_CHUNK, left)):
                total.update(part)
                left = None if left is None else left - len(part)
    except OSError as error:
        raise SubjectError(f"{printable(str(file))} cannot be read: {error.strerror}") from error
    return total.digest()


def printable(text: str) -> str:
    """A text from an untrusted file, without what would steer a terminal."""
    return "".join(c if c.isprintable() else f"\\x{ord(c):02x}" for c in text)

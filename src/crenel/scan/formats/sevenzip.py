"""7z archives, through py7zr: members are unpacked into memory or unnamed files, never by name."""

from __future__ import annotations

import io
import tempfile
from pathlib import Path
from typing import IO, Any

from crenel.scan.context import Context
from crenel.scan.formats.zipfiles import leaves_folder
from crenel.scan.source import Budget, Unreadable, Window, WindowFile, window_of
from crenel.scan.verdict import Verdict

#: Bytes of a dictionary that a decoder may ask for, and of a member kept in memory.
DICTIONARY, IN_MEMORY = 256 << 20, 16 << 20
LZMA, LZMA2, PPMD = b"\x03\x01\x01", b"\x21", b"\x03\x04\x01"
MAX_PATH = 4096


def scan_7z(window: Window, context: Context) -> str:
    """Scan every member of a 7z archive.

    Raises
    ------
    Unreadable
        Where py7zr is missing (extra ``archives``), or it cannot read the archive.
    """
    try:
        import py7zr
    except ImportError:
        raise Unreadable(
            "7z archives are read with py7zr: install crenel[archives], or unpack the file first.",
            "no-reader",
        ) from None
    found, links = _Members(context.budget), set()
    try:
        with py7zr.SevenZipFile(io.BufferedReader(WindowFile(window)), "r") as archive:
            if archive.needs_password():
                raise Unreadable("The 7z archive is encrypted.", "encrypted")
            _within_memory(archive)
            listed = archive.list()
            links = {f.filename for f in listed if f.is_symlink}
            inside = [f.filename for f in listed if not _leaves(f.filename, context)]
            # py7zr holds names against a folder: an empty one, in which nothing is written
            with tempfile.TemporaryDirectory() as folder:
                found.folder = folder
                archive.extract(path=Path(folder).resolve(), targets=inside, factory=found)
            _account(window, listed, found, context)
    except Unreadable as error:
        context.add(error.code, error.sentence, Verdict.UNREADABLE, error.offset)
    except Exception as error:  # noqa: BLE001 - py7zr fails in many ways on a damaged archive
        words = f"{type(error).__name__}: {error}".rstrip(": ")
        context.add("damaged", f"The 7z archive cannot be read ({words}).", Verdict.UNREADABLE)
    names = {name for name, _ in found.files}
    for name, file in found.files:
        inner = context.inside(name, names)
        part = file.window()
        if name in links and leaves_folder(part.read(0, MAX_PATH).decode("utf-8", "replace")):
            sentence = f"{name} is a link that leads outside the folder."
            inner.add("path-traversal", sentence, Verdict.DANGEROUS)
        inner.guarded(inner.dispatch, part)  # a link too: other readers write it as a file
    return "7z"


def _account(window: Window, listed: list[Any], found: _Members, context: Context) -> None:
    """Report members that py7zr passes over, and what follows the archive."""
    for member in listed:
        if member.is_directory and member.uncompressed:
            sentence = (
                f"{member.filename} is marked as a folder but holds data, which was not read."
            )
            context.add("hidden-member", sentence, Verdict.UNREADABLE)
    end = 32 + sum(int.from_bytes(window.read(at, 8), "little") for at in (12, 20))
    if any(chunk.strip(b"\0") for chunk in window.window(end).chunks()):
        sentence = f"{len(window) - end} bytes after the archive belong to nothing known."
        context.add("trailing-data", sentence, Verdict.REVIEW, end)


def _leaves(name: str, context: Context) -> bool:
    """Whether a member's name leads outside the folder, which is reported."""
    if not leaves_folder(name):
        return False
    sentence = f"Unpacking {name} reaches outside the folder; the member was not read."
    context.add("path-traversal", sentence, Verdict.DANGEROUS)
    return True


def _within_memory(archive: Any) -> None:
    """Refuse dictionaries that a decoder would set aside before it reads a byte."""
    streams = archive.header.main_streams
    for folder in streams.unpackinfo.folders if streams is not None else ():
        for coder in folder.coders:
            method, given = coder["method"], coder.get("properties") or b""
            size = 0
            if method == LZMA2 and given:
                bits = given[0] & 63
                size = (2 | bits & 1) << (bits // 2 + 11)
            elif method in (LZMA, PPMD) and len(given) >= 5:
                size = int.from_bytes(given[1:5], "little")
            if size > DICTIONARY:
                raise Unreadable(
                    f"The 7z archive asks for a dictionary of {size >> 20} MiB; "
                    f"at most {DICTIONARY >> 20} are given.",
                    "over-budget",
                )


class _File:
    """One member, as py7zr writes it."""

    def __init__(self, budget: Budget) -> None:
        self.budget = budget
        self.file: IO[bytes] = tempfile.SpooledTemporaryFile(IN_MEMORY)  # noqa: SIM115
        self.length = 0

    def write(self, s: bytes | bytearray) -> int:
        self.budget.expanded -= len(s)
        if self.budget.expanded < 0:
            raise Unreadable("The 7z archive expands beyond the limit.", "over-budget")
        self.length += len(s)
        return self.file.write(s)

    def read(self, size: int | None = None) -> bytes:
        return self.file.read(-1 if size is None else size)

    def seek(self, offset: int, whence: int = 0) -> int:
        return self.file.seek(offset, whence)

    def flush(self) -> None:
        self.file.flush()

    def close(self) -> None:
        """Called by py7zr when a member is complete; what was written is kept."""

    def size(self) -> int:
        return self.length

    def window(self) -> Window:
        import mmap

        self.file.flush()
        if self.length <= IN_MEMORY:
            self.file.seek(0)
            return window_of(self.file.read())
        mapped = mmap.mmap(self.file.fileno(), 0, access=mmap.ACCESS_READ)
        return Window(mapped, 0, self.length, keep=self.file)


class _Members:
    """A factory in the sense of py7zr: a place for each member, under no path of this machine."""

    def __init__(self, budget: Budget) -> None:
        self.budget = budget
        self.folder = ""
        self.files: list[tuple[str, _File]] = []

    def create(self, filename: str) -> _File:
        name = Path(filename).relative_to(Path(self.folder).resolve()).as_posix()
        made = _File(self.budget)
        self.files.append((name, made))  # one each, whatever py7zr makes of names that come twice
        return made

"""A list of published models that the user keeps, with the SHA-256 of their files."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from crenel.errors import SubjectError, UsageError
from crenel.provenance.model_files import GIT, ITSELF, list_model, printable
from crenel.provenance.origins import same_model
from crenel.provenance.outcome import Test

#: Bytes of a list that are read.
MOST_BYTES = 64 << 20
_DIGEST = re.compile(r"(?:sha256:)?([0-9a-fA-F]{64})")
_LINE = re.compile(r"\\?([0-9a-fA-F]{64})[ \t]+\*?(\S.*)")
_SHAPE = 'a list of {"name", "origin", "sha256"}, or lines "DIGEST  NAME" of sha256sum'


@dataclass(frozen=True)
class Published:
    """One published model.

    Attributes
    ----------
    origin : str
        As in ``[target.NAME.base]``; empty where the list does not say.
    name : str
        For people; the origin where none is given.
    files : dict of str to str
        SHA-256, lower-case hexadecimal, by path within the model; by `ITSELF` where the entry
        gives a digest and no name of a file.
    """

    origin: str
    name: str
    files: Mapping[str, str]

    @property
    def title(self) -> str:
        """What to call it."""
        return printable(self.name or self.origin or "the list")


def read_published(path: Path) -> tuple[Published, ...]:
    """Read a list: JSON, or what ``sha256sum`` prints.

    In JSON a list of tables, or a table whose ``models`` is one; each has ``origin`` or ``name`` or
    both, and ``sha256``: one digest, or digests by file. In the lines of ``sha256sum`` the folder
    of a file stands for the model: ``DIGEST  org/name/model.safetensors``.

    Raises
    ------
    UsageError
        Where the list cannot be read or is of another shape: one sentence that says where.
    """
    try:
        with path.open("rb") as file:
            raw = file.read(MOST_BYTES + 1)
    except OSError as error:
        raise UsageError(f"the list {path} cannot be read: {error.strerror or error}") from error
    if len(raw) > MOST_BYTES:
        raise UsageError(f"the list {path} is longer than {MOST_BYTES >> 20} MiB")
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise UsageError(f"the list {path} is no text in UTF-8") from error
    looks = text.lstrip()[:1]
    found = _json(text, path) if looks in ("[", "{") else _lines(text, path)
    if not found:
        raise UsageError(f"the list {path} names no model; it is to be {_SHAPE}")
    return found


def _json(text: str, path: Path) -> tuple[Published, ...]:
    try:
        given = json.loads(text)
    except (ValueError, RecursionError) as error:
        where = f" in line {error.lineno}" if isinstance(error, json.JSONDecodeError) else ""
        raise UsageError(f"the list {path} is broken JSON{where}") from error
    entries = given.get("models") if isinstance(given, dict) else given
    if not isinstance(entries, list):
        raise UsageError(f"the list {path} is to be {_SHAPE}")
    return tuple(_entry(entry, f"{path}, entry {i}") for i, entry in enumerate(entries, 1))


def _entry(entry: Any, where: str) -> Published:
    if not isinstance(entry, dict):
        raise UsageError(f"{where} is no table with name, origin and sha256")
    origin, name, digests = (entry.get(key, "") for key in ("origin", "name", "sha256"))
    if not isinstance(origin, str) or not isinstance(name, str) or not (origin or name):
        raise UsageError(f"{where} has neither an origin nor a name that is text")
    files = digests if isinstance(digests, dict) else {ITSELF: digests}
    if not files:
        raise UsageError(f"{where} has no digests in sha256")
    return Published(origin or name, name, {k: _hex(v, k, where) for k, v in files.items()})


def _hex(digest: Any, file: str, where: str) -> str:
    match = _DIGEST.fullmatch(digest) if isinstance(digest, str) else None
    if match is None:
        whose = "" if file == ITSELF else f" of {printable(file)}"
        raise UsageError(f"{where}: the sha256{whose} is not 64 hexadecimal digits")
    return match[1].lower()


def _lines(text: str, path: Path) -> tuple[Published, ...]:
    models: dict[str, dict[str, str]] = {}
    for number, line in enumerate(text.splitlines(), 1):
        if not line.strip() or line.startswith("#"):
            continue
        match = _LINE.fullmatch(line.strip())
        if match is None:
            raise UsageError(f"{path}, line {number} is not DIGEST  NAME as sha256sum writes it")
        place = PurePosixPath(match[2].removeprefix("./"))
        folder = "" if place.parent == PurePosixPath(".") else str(place.parent)
        models.setdefault(folder, {})[place.name] = match[1].lower()
    return tuple(Published(folder, "", files) for folder, files in models.items())


@dataclass(frozen=True)
class Lookup:
    """What a list says of some files.

    Attributes
    ----------
    matches : dict of str to Published
        The model that a file is of, by the file's name.
    contradictions : tuple of str
        Sentences, without a full stop: the list has other digests for this model.
    unlisted : tuple of str
        Files of which it says nothing.
    """

    matches: Mapping[str, Published]
    contradictions: tuple[str, ...] = ()
    unlisted: tuple[str, ...] = ()


def look_up(digests: Mapping[str, str], known: Iterable[Published], origin: str = "") -> Lookup:
    """Hold files against a list.

    Parameters
    ----------
    digests : dict of str to str
        SHA-256 by the name of the file, or by its path within the model.
    known : iterable of Published
    origin : str
        What the files are said to be. Where it is not stated, they are said to be the models of
        which the list has any of them.

    Returns
    -------
    Lookup
        A file with a listed digest is a match, whatever it is called. One of another digest is a
        contradiction where the list has the model that is stated and, in it, a file of this name
        (or gives the model's digests without names).
    """
    listed = list(known)
    owners: dict[str, list[Published]] = {}
    for model in listed:
        for value in model.files.values():
            owners.setdefault(value, []).append(model)
    own = {file: owners.get(value, []) for file, value in digests.items()}
    claimed = list(_claimed(listed, origin, (model for one in own.values() for model in one)))
    whole = {id(model) for one in own.values() for model in one if ITSELF in model.files}
    matches, wrong, unlisted = {}, [], []
    for file, value in digests.items():
        said = next((model for model in own[file] if model in claimed), None)
        expected = next((m for m in claimed if _file(m, file) and id(m) not in whole), None)
        if said is not None or (own[file] and expected is None):
            matches[file] = said or own[file][0]
        elif expected is not None:
            wrong.append(_otherwise(file, value, expected, own[file]))
        else:
            unlisted.append(file)
    return Lookup(matches, tuple(wrong), tuple(unlisted))


def _otherwise(file: str, value: str, expected: Published, own: list[Published]) -> str:
    whose = f"of {expected.title}" if expected.origin or expected.name else "on the list"
    known = f", which is that of {own[0].title}" if own else ""
    listed = _file(expected, file) or ""
    return (
        f"{printable(file)} is not the file {whose}: its SHA-256 is {value[:16]}…{known}, and "
        f"{listed[:16]}… is listed"
    )


def _claimed(
    listed: list[Published], origin: str, found: Iterable[Published]
) -> Iterator[Published]:
    """The models that the files are said to be: bare names of files are of any model."""
    own = {id(model) for model in found}
    for model in listed:
        said = _is(model, origin) if origin else id(model) in own
        if said or not model.origin:
            yield model


def _is(model: Published, origin: str) -> bool:
    return bool(model.origin) and same_model(model.origin, origin)


def _file(model: Published, file: str) -> str | None:
    """The digest that a model has for a file: by its path, by its name, or the only one given."""
    if ITSELF in model.files:
        return model.files[ITSELF]
    return model.files.get(file) or model.files.get(PurePosixPath(file).name)


def verify_published(
    model: Path, known: Iterable[Published], origin: str = "", ignored: Iterable[str] = ()
) -> list[Test]:
    """Hold a model's files against a list of published models.

    Parameters
    ----------
    model : Path
        A file or a folder.
    known, origin
        As of `look_up`.
    ignored : iterable of str
        POSIX paths in the folder to leave out.

    Returns
    -------
    list of Test
        Failed where the list has other digests, not made for files that it does not have.

    Raises
    ------
    UsageError
        Where there is nothing at the path.
    SubjectError
        Where a file cannot be read, or a link, device or the like lies in the folder.
    """
    listing = list_model(model, (*GIT, *ignored))
    if listing.refused:
        raise SubjectError(listing.refused[0])
    digests = {
        model.name if name == ITSELF else name: _sha256(model if name == ITSELF else model / name)
        for name in listing.names
    }
    found = look_up(digests, known, origin)
    tests = [Test("published", False, text) for text in found.contradictions]
    for title in dict.fromkeys(m.title for m in found.matches.values()):
        names = [printable(n) for n, m in found.matches.items() if m.title == title]
        shown = f"{', '.join(names[:4])}{f' and {len(names) - 4} more' if len(names) > 4 else ''}"
        be = "is" if len(names) == 1 else "are"
        tests.append(Test("published", True, f"{shown} {be} published as {title}"))
    if found.unlisted:
        names = [printable(n) for n in found.unlisted]
        more = f" and {len(names) - 4} more" if len(names) > 4 else ""
        sentence = f"the list says nothing of {', '.join(names[:4])}{more}"
        tests.append(Test("published", None, sentence, {"files": names}))
    return tests


def _sha256(file: Path) -> str:
    try:
        with file.open("rb") as stream:
            return hashlib.file_digest(stream, "sha256").hexdigest()
    except OSError as error:
        raise SubjectError(f"{file} cannot be read: {error.strerror or error}") from error

"""Where a model is said to come from: hub names, addresses, package URLs."""

from __future__ import annotations

import contextlib
import re
from dataclasses import dataclass
from urllib.parse import unquote, urlsplit

#: Names of branches: what they stand for changes.
_MOVING = ("", "main", "master", "HEAD")


@dataclass(frozen=True)
class Origin:
    """The parts of a stated origin; those that it does not state are empty.

    Attributes
    ----------
    host : str
        Of an address, in lower case, as its letters show (no Punycode).
    publisher, name : str
        Organisation or person, and model.
    package : str
        Name of a Python package.
    revision : str
    """

    host: str = ""
    publisher: str = ""
    name: str = ""
    package: str = ""
    revision: str = ""

    @property
    def path(self) -> str:
        """``publisher/name``, or the name alone."""
        return f"{self.publisher}/{self.name}" if self.publisher else self.name


def parse_origin(text: str) -> Origin:
    """Read an origin.

    Parameters
    ----------
    text : str
        ``hub:org/name@revision``, ``org/name``, ``name``, an address with or without ``https://``,
        ``pypi:name``, or a package URL (``pkg:huggingface/org/name@…``, ``pkg:pypi/name@…``).
    """
    text = text.strip()
    if text.startswith("pkg:"):
        return _purl(text)
    if text.lower().startswith("pypi:"):
        name, _, revision = re.split(r"[\[;]", text[5:])[0].strip().partition("==")
        return Origin(package=name.strip("/ "), revision=revision)
    if "://" in text:
        return _address(text)
    bare = text.removeprefix("hub:").removeprefix("hf:")
    head, _, rest = bare.partition("/")
    if "." in head and "/" in rest and not text.startswith("hub:"):
        return _address(f"https://{bare}")
    path, _, revision = bare.partition("@")
    return _named(path.split("/"), "", revision)


def _purl(text: str) -> Origin:
    """A package URL; of types that are no host of models only the last two parts count."""
    body = re.split(r"[?#]", text[4:].lstrip("/"))[0]
    body, _, revision = body.partition("@")
    kind, *parts = [unquote(part) for part in body.split("/")]
    if kind.lower() == "pypi":
        return Origin(package=parts[-1] if parts else "", revision=unquote(revision))
    return _named(parts, "", unquote(revision))


def _address(text: str) -> Origin:
    try:
        split = urlsplit(text)
        host = (split.hostname or "").lower().rstrip(".").removeprefix("www.")
    except ValueError:  # brackets that hold no address
        return Origin()
    if "xn--" in host:
        with contextlib.suppress(UnicodeError):
            host = host.encode("ascii").decode("idna")
    if split.username:  # https://huggingface.co@elsewhere/ leads elsewhere
        host = f"{split.username.lower()}@{host}"
    parts = [unquote(part) for part in split.path.split("/") if part]
    if host == "pypi.org":
        return Origin(host, package=parts[1] if parts[:1] == ["project"] and parts[1:] else "")
    if parts[:1] == ["api"]:
        parts = parts[2:]
    revision = parts[3] if len(parts) > 3 and parts[2] in ("resolve", "tree", "blob") else ""
    head, _, pinned = "/".join(parts[:2]).partition("@")
    return _named(head.split("/"), host, revision or pinned)


def _named(parts: list[str], host: str, revision: str) -> Origin:
    parts = [part for part in parts if part]
    if len(parts) < 2:
        return Origin(host, "", parts[0] if parts else "", "", revision)
    return Origin(host, parts[0], parts[1], "", revision)


def same_model(one: str, other: str) -> bool:
    """Whether two origins name one model, in revisions that do not differ where both are told.

    An origin without a publisher is the model of that name of any publisher.
    """
    a, b = parse_origin(one), parse_origin(other)
    if a.package or b.package:
        return _project(a.package) == _project(b.package)
    if not a.name or a.name.casefold() != b.name.casefold():
        return False
    if a.publisher and b.publisher and a.publisher.casefold() != b.publisher.casefold():
        return False
    told = [revision for revision in (a.revision, b.revision) if revision not in _MOVING]
    # A tag and a commit may be the same revision.
    return len(told) < 2 or told[0] == told[1] or len(set(map(_pinned, told))) > 1


def _pinned(revision: str) -> bool:
    return bool(re.fullmatch(r"[0-9a-f]{40}|sha256:[0-9a-f]{64}", revision))


def _project(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()

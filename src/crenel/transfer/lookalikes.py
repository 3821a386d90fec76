"""Origins whose names look like those of well-known publishers and models.

Typosquatting: whoever cannot change a well-known model offers another one under a name that a
hurried reader takes for it. A stated name is held against a short list (``known_names.json``) and
the user's own one. Distances are those of Damerau and Levenshtein in the restricted form (optimal
string alignment); look-alike letters are those of Unicode Technical Standard 39. The ways in which
names are confused are those of Neupane et al. (2023) "Beyond Typosquatting", so far as spelling
shows them.
"""

from __future__ import annotations

import json
import re
import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache, lru_cache
from importlib import resources

from crenel.evasion.text.confusables import FOLD, hidden
from crenel.provenance.origins import Origin, parse_origin

#: Put around a publisher's name to pass for it; "ai" and "research" are parts of honest names.
AFFIXES = ("official", "original", "verified", "real", "hf", "team", "org", "inc", "the")
#: What a copy of a model is honestly not called.
CLAIMS = ("official", "verified")
_SEPARATOR = re.compile(r"[-_.\s]+")
_SHAPES = (("rn", "m"), ("vv", "w"), ("0", "o"), ("1", "l"), ("i", "l"))


@dataclass(frozen=True)
class Names:
    """Names that others are held against.

    Attributes
    ----------
    hosts, publishers, packages : tuple of str
    models : tuple of str
        ``publisher/name``, or names alone.
    """

    hosts: tuple[str, ...] = ()
    publishers: tuple[str, ...] = ()
    models: tuple[str, ...] = ()
    packages: tuple[str, ...] = ()

    def including(self, origins: Iterable[str]) -> Names:
        """With the publishers, models and packages of some origins."""
        parsed = [parse_origin(origin) for origin in origins]
        return Names(
            self.hosts,
            _with(self.publishers, (o.publisher for o in parsed)),
            _with(self.models, (o.path for o in parsed if not o.package)),
            _with(self.packages, (o.package for o in parsed)),
        )


def _with(names: tuple[str, ...], more: Iterable[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys((*names, *filter(None, more))))


@dataclass(frozen=True)
class Resemblance:
    """A name that looks like a known one.

    Attributes
    ----------
    stated, known : str
    how : str
        In what they differ, as the end of a sentence.
    kind : str
        "host", "publisher", "model" or "package".
    """

    stated: str
    known: str
    how: str
    kind: str

    @property
    def detail(self) -> str:
        """One sentence in lower case, without a full stop."""
        return (
            f"the {self.kind} {_shown(self.stated)} is not {self.known}, which it looks like: "
            f"{self.how}"
        )


@cache
def shipped() -> Names:
    """The list that comes with the library."""
    text = resources.files("crenel.transfer").joinpath("known_names.json").read_text("utf-8")
    table = json.loads(text)
    return Names(*(tuple(table[key]) for key in ("hosts", "publishers", "models", "packages")))


def resemblance(origin: str, names: Names | None = None) -> Resemblance | None:
    """The known name that an origin resembles; None where it is known, or resembles none.

    A model's name is looked at where its publisher is not a known one. One that is the same as a
    known model's, or differs in separators alone, resembles nothing: copies are common; see
    `namesake`.
    """
    known, stated = names or shipped(), parse_origin(origin)
    if stated.package:
        return _package(stated.package, known.packages)
    return (
        _host(stated.host, known.hosts)
        or _publisher(stated.publisher, known.publishers)
        or _model(stated, known)
    )


def namesake(origin: str, names: Names | None = None) -> str | None:
    """The known model of the same name by another publisher; None where there is none."""
    known, stated = names or shipped(), parse_origin(origin)
    if not stated.publisher or _listed(stated.publisher, known.publishers):
        return None
    for model in known.models:
        own = parse_origin(model)
        if own.publisher and _joined(_fold(stated.name)) == _joined(_fold(own.name)):
            return model
    return None


def _listed(name: str, names: Iterable[str]) -> bool:
    return name.casefold() in {known.casefold() for known in names}


def _host(host: str, hosts: tuple[str, ...]) -> Resemblance | None:
    if not host or any(host == known or host.endswith(f".{known}") for known in hosts):
        return None
    for known in hosts:
        label, own = (text.rpartition(".")[0] for text in (host, known))
        if _fold(host).startswith((f"{known}.", f"{known}-", f"{known}@")) or f".{known}." in host:
            return Resemblance(host, known, "it is another host, named after it", "host")
        if label == own and len(own) >= 8:
            return Resemblance(host, known, "it ends otherwise", "host")
        how = _letters(host, known) or _separators(host, known) or _edits(label, own)
        if how:
            return Resemblance(host, known, how, "host")
    return None


def _publisher(name: str, publishers: tuple[str, ...]) -> Resemblance | None:
    if not name or _listed(name, publishers):
        return None
    for test in (_letters, _separators, _affixes, _edits):
        for known in publishers:
            how = test(name, known)
            if how:
                return Resemblance(name, known, how, "publisher")
    return None


def _package(name: str, packages: tuple[str, ...]) -> Resemblance | None:
    plain = _SEPARATOR.sub("-", name).casefold()  # PEP 503: the index takes these for one name
    if _listed(plain, packages):
        return None
    for test in (_letters, _separators, _affixes, _edits):
        for known in packages:
            how = test(plain, known)
            if how:
                return Resemblance(name, known, how, "package")
    return None


def _model(stated: Origin, known: Names) -> Resemblance | None:
    if not stated.name or _listed(stated.publisher, known.publishers):
        return None
    own = [parse_origin(model) for model in known.models]
    if any(_joined(_plain(stated.name)) == _joined(_plain(o.name)) for o in own):
        return None
    words = frozenset(word for o in own for word in _tokens(o.name))
    for model in own:
        how = _letters(stated.name, model.name) or _claimed(stated.name, model.name)
        how = how or _token(stated.name, model.name, words)
        if how:
            return Resemblance(stated.path, model.path, how, "model")
    return None


def _plain(text: str) -> str:
    return text.casefold()


@lru_cache(4096)
def _fold(text: str) -> str:
    """Text with every look-alike as the Latin letter that it stands for, nothing hidden."""
    shown = "".join(c for c in unicodedata.normalize("NFKC", text) if not hidden(c))
    folded = unicodedata.normalize("NFKD", shown.translate(FOLD))
    return "".join(c for c in folded if not unicodedata.combining(c)).casefold()


@lru_cache(4096)
def _shape(text: str) -> str:
    """What is left of a name where letters of alike shapes are one."""
    folded = _fold(text)
    for several, one in _SHAPES:
        folded = folded.replace(several, one)
    return folded


def _joined(text: str) -> str:
    return _SEPARATOR.sub("", text)


def _letters(stated: str, known: str) -> str:
    if _plain(stated) == _plain(known) or _shape(stated) != _shape(known):
        return ""
    odd = next((c for c in stated if not c.isascii()), "")
    if odd:
        return f"it has {unicodedata.name(odd, 'a character without a name')} (U+{ord(odd):04X})"
    return "it has letters or digits of the same shape"


def _separators(stated: str, known: str) -> str:
    a, b = _fold(stated), _fold(known)
    return "separators differ" if a != b and _joined(a) == _joined(b) else ""


def _affixes(stated: str, known: str) -> str:
    """Something put before or after the known name, or digits."""
    a, b = _joined(_fold(stated)), _joined(_fold(known))
    for affix in AFFIXES if len(b) >= 4 else ():
        if a in (affix + b, b + affix):
            return f"it adds {affix!r}"
    if len(b) >= 4 and a.startswith(b) and a[len(b) :].isdigit():
        return f"it adds {a[len(b) :]!r}"
    return ""


def _claimed(stated: str, known: str) -> str:
    rest = [word for word in _tokens(stated) if word not in CLAIMS]
    more = len(rest) < len(_tokens(stated)) and rest == _tokens(known)
    return "it claims to be the official or verified one" if more else ""


@lru_cache(4096)
def _tokens(name: str) -> list[str]:
    return [word for word in _SEPARATOR.split(_fold(name)) if word]


def _edits(stated: str, known: str) -> str:
    """Few edits for the length: 1 from 5 letters on, 2 from 12 on.

    Names of 4 letters have honest neighbours everywhere; two letters swapped or one doubled count.
    """
    a, b = _fold(stated), _fold(known)
    short = min(len(a), len(b))
    if short < 5:
        return _slip(a, b) if short == 4 else ""
    most = 1 if short < 12 else 2
    edits = distance(a, b, most)
    return "" if not 0 < edits <= most else "one letter differs" if edits == 1 else "two do"


def _slip(a: str, b: str) -> str:
    if len(a) == len(b) and a != b and sorted(a) == sorted(b) and distance(a, b, 1) == 1:
        return "two letters are swapped"
    if len(a) == len(b) + 1 and any(a == b[: i + 1] + b[i:] for i in range(len(b))):
        return "a letter is doubled"
    return ""


def _token(stated: str, known: str, words: frozenset[str]) -> str:
    """One word of several that is spelled otherwise, and is no word of another known name.

    Digits stand for versions and sizes, and short words for variants: those may differ.
    """
    a, b = _tokens(stated), _tokens(known)
    if len(a) != len(b):
        return ""
    differing = [(one, other) for one, other in zip(a, b, strict=True) if one != other]
    if len(differing) != 1 or differing[0][0] in words:
        return ""
    one, other = differing[0]
    if re.sub(r"\D", "", one) != re.sub(r"\D", "", other):
        return ""
    return _edits(one, other)


def distance(a: str, b: str, most: int) -> int:
    """Insertions, deletions, substitutions and swaps of neighbours that turn a into b.

    Optimal string alignment; ``most + 1`` stands for all that are larger than ``most``.
    """
    if abs(len(a) - len(b)) > most:
        return most + 1
    before, last = [0] * (len(b) + 1), list(range(len(b) + 1))
    for i, x in enumerate(a, 1):
        row = [i]
        for j, y in enumerate(b, 1):
            best = min(last[j] + 1, row[j - 1] + 1, last[j - 1] + (x != y))
            if i > 1 and j > 1 and x == b[j - 2] and a[i - 2] == y:
                best = min(best, before[j - 2] + 1)
            row.append(best)
        if min(row) > most:
            return most + 1
        before, last = last, row
    return min(last[-1], most + 1)


def _shown(text: str) -> str:
    """Text with all that is not ASCII written out, so that the difference is seen."""
    return text.encode("ascii", "backslashreplace").decode() if text.isprintable() else repr(text)

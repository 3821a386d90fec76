"""What is known of a model that lies at a path: its files, card, weights, signature and base."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from crenel.errors import CrenelError, SubjectError, UsageError
from crenel.provenance.model_files import GIT, ITSELF, digest_of, list_model, printable
from crenel.transfer.artefact import Artefact, artefact_of
from crenel.transfer.bom.reading import is_bom
from crenel.transfer.papers import claims
from crenel.transfer.papers.card import Card, parse_card, read_card
from crenel.transfer.papers.checklist import SECTIONS, licence_text
from crenel.transfer.papers.results import Claim, claimed_results

#: File names of cards in a model's folder, lower-case.
CARDS = ("readme.md", "model_card.md", "modelcard.md")
_MAIL = re.compile(r"[\w.+-]+@[\w-]+\.[\w.-]*\w")


@dataclass(frozen=True)
class Ancestor:
    """A base that a model comes from.

    Attributes
    ----------
    name : str
    stated : str
        Who says so: "the card", "the configuration"; empty where only the weights do.
    digest : str
        SHA-256 of its file, where it was looked at.
    sentence : str
        What comparing the weights showed.
    """

    name: str
    stated: str = ""
    digest: str = ""
    sentence: str = ""


@dataclass(frozen=True)
class Described:
    """A model, as its bill of materials tells of it.

    Attributes
    ----------
    name : str
    files : dict of str to str
        SHA-256 by path from the folder; of one file, by its name.
    card : Card
        An empty one where there is none.
    card_file : str
        Its path from the folder; empty where there is none.
    artefact : Artefact
    licences : tuple of str
        As declared by the card, else the family of the licence file.
    declared : bool
        Whether the card declares the licences.
    results : tuple of Claim
    ancestors : tuple of Ancestor
    signature : str
        Path of a signature of OpenSSF Model Signing; empty where there is none.
    signature_digest : str
    notes : tuple of str
        What could not be read, and bases whose weights are not in the model.
    """

    name: str
    files: dict[str, str]
    card: Card
    card_file: str
    artefact: Artefact
    licences: tuple[str, ...]
    declared: bool
    results: tuple[Claim, ...]
    ancestors: tuple[Ancestor, ...]
    signature: str = ""
    signature_digest: str = ""
    notes: tuple[str, ...] = ()

    def section(self, name: str) -> str:
        """What the card says in a section that TRA-103 looks for: "intended use", "limits"…."""
        words = next(w for n, _, w, _ in SECTIONS if n == name)
        return self.card.says(*words)

    @property
    def mail(self) -> str:
        """The first address in the card's section on contact; empty where there is none."""
        found = _MAIL.search(self.section("contact"))
        return found.group() if found else ""


def describe_model(
    path: Path,
    *,
    name: str = "",
    card: Path | None = None,
    bases: Iterable[Path] = (),
    signature: Path | None = None,
    trust: Iterable[str] = (),
) -> Described:
    """Gather what the bill of materials of a model says.

    Parameters
    ----------
    path : Path
        A file or a folder. Bills of materials and signatures in it are no part of the model.
    name : str
        Where empty, the title of the card in a folder, else the name of the path.
    card : Path or None
        The card; in a folder README.md or model_card.md is found.
    bases : iterable of Path
        Models whose weights are held against this one's, layer by layer.
    signature : Path or None
        In a folder, model.sig is found.
    trust : iterable of str
        Digests of files that are read although their scan is not clean.

    Raises
    ------
    UsageError
        Where something named is not there.
    SubjectError
        Where the model holds no files, or one that cannot be read.
    """
    folder = path if path.is_dir() else path.parent
    listing = list_model(path, GIT)
    if listing.refused:
        raise SubjectError(f"the model cannot be described: {listing.refused[0]}")
    signed = _signature(path, signature)
    names = [path.name if n == ITSELF else n for n in listing.names if not is_bom(Path(n))]
    names = [n for n in names if signed is None or folder / n != signed]
    if not names:
        raise SubjectError(f"{path} holds no files of a model")
    place = _card(path, names, card)
    read = _read(place) if place is not None else parse_card("")
    artefact = artefact_of(path, trust)
    measured, others = _compared(path, bases, trust)
    declared = _declared(read)
    filed = claims.licence_family(licence_text([folder])) if path.is_dir() else ""
    return Described(
        name=name or (_title(read) if path.is_dir() else "") or path.resolve().name,
        files={n: digest_of(folder / n, "sha256").hex() for n in names},
        card=read,
        card_file=_relative(place, folder),
        artefact=artefact,
        licences=declared or tuple(filter(None, [filed])),
        declared=bool(declared),
        results=tuple(claimed_results(read)),
        ancestors=(*_named_bases(read, artefact), *measured),
        signature=_relative(signed, folder),
        signature_digest=digest_of(signed, "sha256").hex() if signed is not None else "",
        notes=(*artefact.notes, *others),
    )


def _card(path: Path, names: list[str], card: Path | None) -> Path | None:
    if card is not None:
        if not card.is_file():
            raise UsageError(f"there is no model card at {card}")
        return card
    found = [n for n in names if n.lower() in CARDS] if path.is_dir() else []
    return path / min(found, key=lambda n: CARDS.index(n.lower())) if found else None


def _title(card: Card) -> str:
    """The card's first heading, where it is of the highest level."""
    return next((s.title for s in card.sections[:1] if s.level == 1), "")


def _read(card: Path) -> Card:
    try:
        return read_card(card)
    except OSError as error:
        raise SubjectError(f"{card} cannot be read: {error.strerror or error}") from error


def _declared(card: Card) -> tuple[str, ...]:
    value = card.front.get("license", card.front.get("licence"))
    if isinstance(value, list) and value:
        return tuple(map(str, value))
    return tuple(filter(None, [claims.licence_of(card)]))


def _signature(path: Path, signature: Path | None) -> Path | None:
    """A file that is a signature of OpenSSF Model Signing; its validity is not looked at."""
    from crenel.provenance.model_bundle import read_bundle

    if signature is not None:
        read_bundle(signature)
        return signature
    beside = path / "model.sig" if path.is_dir() else path.parent / f"{path.name}.sig"
    try:
        read_bundle(beside)
    except CrenelError:
        return None
    return beside


def _relative(place: Path | None, folder: Path) -> str:
    if place is None:
        return ""
    if folder.resolve() in place.resolve().parents:
        return place.resolve().relative_to(folder.resolve()).as_posix()
    return place.name


def _named_bases(card: Card, artefact: Artefact) -> list[Ancestor]:
    """Bases that the papers name, each once."""
    said = dict.fromkeys(artefact.bases, "the configuration")
    said |= dict.fromkeys(claims.claimed_bases(card), "the card")
    return [Ancestor(printable(b), who) for b, who in said.items()]


def _compared(
    path: Path, bases: Iterable[Path], trust: Iterable[str]
) -> tuple[list[Ancestor], list[str]]:
    """Those of some bases whose weights are in the model, and sentences on those that are not."""
    from crenel.transfer.lineage.comparing import compare

    found, others = [], []
    for base in bases:
        lineage = compare(base, path, trust=trust)
        digest = digest_of(base, "sha256").hex() if base.is_file() else ""
        if lineage.verdict.related:
            found.append(Ancestor(lineage.base, "", digest, lineage.sentence))
        else:
            others.append(lineage.sentence)
    return found, others

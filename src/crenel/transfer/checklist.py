"""What a public base model should say of itself, held against what can be measured."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from crenel.finding import Severity
from crenel.transfer import claims
from crenel.transfer.card import Card, parse_card
from crenel.transfer.vouching import Vouched


class State(StrEnum):
    """What became of one item."""

    PRESENT = "present"
    MISSING = "missing"
    CONTRADICTED = "contradicted"


@dataclass(frozen=True)
class Item:
    """One line of the checklist.

    Attributes
    ----------
    name : str
        Canonical: "licence", "digest".
    state : State
    detail : str
        One sentence about this base model, in lower case and without a full stop.
    fix : str
        What to do where it is not present.
    severity : Severity
        Where it is missing; a contradiction is high.
    """

    name: str
    state: State
    detail: str
    fix: str
    severity: Severity


@dataclass(frozen=True)
class Facts:
    """What is known of the base model beside its card.

    Attributes
    ----------
    origin : str
    digests : dict of str to str
        SHA-256 of its files, by file name.
    classes : int or None
        Of the model's output.
    accuracy : (value, low, high) or None
        Measured on public data.
    licence_text : str
        Of a licence file beside the card or the files.
    vouched : Vouched or None
        What came of verifying the publisher's signature; None where none is given.
    """

    origin: str = ""
    digests: dict[str, str] | None = None
    classes: int | None = None
    accuracy: tuple[float, float, float] | None = None
    licence_text: str = ""
    vouched: Vouched | None = None

    @property
    def signed(self) -> bool:
        """Whether somebody who is trusted signed the files."""
        return self.vouched is not None and self.vouched.valid is True


#: Sections: name, severity where missing, words of a title, what to ask for.
SECTIONS: tuple[tuple[str, Severity, tuple[str, ...], str], ...] = (
    (
        "intended use", Severity.LOW, ("intended use", "uses?$", "direct use", "use cases?"),
        "what it is meant for",
    ),
    (
        "limits", Severity.LOW,
        ("limit", "out.of.scope", "bias", "caveat", "known issues", "misuse"),
        "where it fails and what it must not be used for",
    ),
    (
        "training data", Severity.MEDIUM,
        ("training data", "data ?sets?", "training set", "^data$"),
        "which data it was trained on and who supplied them",
    ),
    (
        "evaluation", Severity.LOW, ("evaluation", "results", "performance", "metrics", "accuracy"),
        "how it was tested and with what figures",
    ),
    (
        "risk controls", Severity.MEDIUM,
        ("risk", "security", "safety", "mitigation", "vulnerabilit", "threat"),
        "which risks were assessed and which controls are in place",
    ),
    (
        "contact", Severity.LOW,
        ("contact", "author", "maintainer", "developed by", "citation", "model card contact"),
        "who made it and who answers for it",
    ),
)  # fmt: skip


def review(card: Card | None, facts: Facts) -> tuple[Item, ...]:
    """Go through the checklist; without a card all that only a card can say is missing."""
    read = card if card is not None else parse_card("")
    return (
        *_origin(facts),
        *_signature(facts),
        *_digest(read, facts),
        *_licence(read, facts),
        *_sections(read),
        *_contradictions(read, facts),
    )


def _origin(facts: Facts) -> Iterator[Item]:
    fix = "Name the origin as hub:org/name@REVISION with the 40 digits of the commit."
    if not facts.origin and not facts.signed:
        yield Item(
            "origin",
            State.MISSING,
            "the origin of the base model is not stated",
            fix,
            Severity.MEDIUM,
        )
    name = "pinned revision"
    if claims.pinned(facts.origin):
        detail = "the origin names one revision that cannot change"
        yield Item(name, State.PRESENT, detail, fix, Severity.MEDIUM)
    else:
        detail = "no revision of the base is pinned: tomorrow's download may be another model"
        yield Item(name, State.MISSING, detail, fix, Severity.MEDIUM)


def _signature(facts: Facts) -> Iterator[Item]:
    """What a signature shows; nothing where none is given."""
    if facts.vouched is None:
        return
    state = {True: State.PRESENT, False: State.CONTRADICTED, None: State.MISSING}
    fix = "Name the publisher's key as signer, and use no files that it does not vouch for."
    found = state[facts.vouched.valid]
    yield Item("signature", found, facts.vouched.detail, fix, Severity.MEDIUM)


def _digest(card: Card, facts: Facts) -> Iterator[Item]:
    published, own = claims.claimed_digests(card), facts.digests or {}
    fix = "Ask the publisher for the SHA-256 of every file, and compare before each use."
    name = "digest"
    if not published and facts.signed:
        detail = "the digests of the files are signed"
        yield Item(name, State.PRESENT, detail, fix, Severity.MEDIUM)
    elif not published:
        detail = "the card publishes no SHA-256 digest of the files"
        yield Item(name, State.MISSING, detail, fix, Severity.MEDIUM)
    elif own and not published & set(own.values()):
        detail = f"no published digest is that of {', '.join(sorted(own))}"
        yield Item(name, State.CONTRADICTED, detail, fix, Severity.HIGH)
    else:
        unlisted = sorted(n for n, d in own.items() if d not in published)
        detail = "the published digest is that of the files" if own else "a digest is published"
        if unlisted:
            detail = f"the card publishes no digest of {', '.join(unlisted)}"
        state = State.MISSING if unlisted else State.PRESENT
        yield Item(name, state, detail, fix, Severity.MEDIUM)


def _licence(card: Card, facts: Facts) -> Iterator[Item]:
    claimed, name = claims.licence_of(card), "licence"
    fix = "Find out the licence from the publisher before the model is used or passed on."
    stated, filed = claims.licence_family(claimed), claims.licence_family(facts.licence_text)
    if not claimed and not facts.licence_text:
        yield Item(name, State.MISSING, "the base model has no licence", fix, Severity.MEDIUM)
    elif stated and filed and stated != filed:
        detail = f"the card says {claimed}, the licence file beside it is {filed}"
        yield Item(name, State.CONTRADICTED, detail, fix, Severity.HIGH)
    else:
        yield Item(name, State.PRESENT, f"licence: {claimed or filed}", fix, Severity.MEDIUM)


def _sections(card: Card) -> Iterator[Item]:
    for name, severity, words, question in SECTIONS:
        fix = f"Ask the publisher, or find out, {question}; write it into your own model card."
        said = bool(card.says(*words)) or _in_front(card, name)
        detail = f"the card {'says' if said else 'does not say'} {question}"
        yield Item(name, State.PRESENT if said else State.MISSING, detail, fix, severity)


def _in_front(card: Card, name: str) -> bool:
    """Whether the front matter answers what a section would."""
    keys = {"training data": ("datasets", "dataset"), "contact": ("author", "authors", "contact")}
    return any(card.front.get(key) for key in keys.get(name, ()))


def _contradictions(card: Card, facts: Facts) -> Iterator[Item]:
    """Claims that can be measured; nothing where there is no claim or no measurement."""
    fix = "Do not rely on this card; find out which model it describes."
    claimed = claims.claimed_classes(card)
    if claimed is not None and facts.classes is not None:
        state = State.PRESENT if claimed == facts.classes else State.CONTRADICTED
        detail = f"the card speaks of {claimed} classes, the model has {facts.classes}"
        yield Item("number of classes", state, detail, fix, Severity.HIGH)
    accuracy = claims.claimed_accuracy(card)
    if accuracy is not None and facts.accuracy is not None:
        value, low, high = facts.accuracy
        # A claim is rounded, and was made on other rows: two points are not held against it.
        wrong = accuracy > high + 0.02
        detail = (
            f"the card claims accuracy {accuracy:.3g}; on the public data given it is "
            f"{value:.3g} [{low:.3g}, {high:.3g}]"
        )
        state = State.CONTRADICTED if wrong else State.PRESENT
        yield Item("accuracy", state, detail, fix, Severity.HIGH)


LICENCE_FILES = ("LICENSE", "LICENSE.txt", "LICENSE.md", "LICENCE", "LICENCE.txt", "COPYING")


def licence_text(folders: list[Path]) -> str:
    """The beginning of the first licence file in some folders; empty where there is none."""
    for folder in folders:
        for name in LICENCE_FILES:
            if (folder / name).is_file():
                with (folder / name).open("rb") as file:
                    return file.read(20_000).decode("utf-8", errors="replace")
    return ""

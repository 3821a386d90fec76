"""What a public base model should say of itself, held against what can be measured."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import combinations
from pathlib import Path

from crenel.finding import Severity
from crenel.transfer.bom.reading import Bom
from crenel.transfer.lookalikes import resemblance
from crenel.transfer.papers import claims
from crenel.transfer.papers.card import Card, parse_card
from crenel.transfer.papers.contradictions import contradictions
from crenel.transfer.papers.items import Facts, Item, State

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
    """Go through the checklist; without papers all that only they can say is missing."""
    read = card if card is not None else parse_card("")
    return (
        *_origin(facts),
        *_lookalike(read, facts),
        *_signature(facts),
        *_published(facts),
        *_digest(read, facts),
        *_licence(read, facts),
        *_sections(read, facts.bom),
        *contradictions(read, facts),
    )


def _origin(facts: Facts) -> Iterator[Item]:
    fix = "Name the origin as hub:org/name@REVISION with the 40 digits of the commit."
    listed = facts.bom.origins if facts.bom is not None else ()
    if not (facts.origin or facts.signed or facts.recognised or listed):
        yield Item(
            "origin",
            State.MISSING,
            "the origin of the base model is not stated",
            fix,
            Severity.MEDIUM,
        )
    name = "pinned revision"
    if any(map(claims.pinned, (facts.origin, *listed))):
        detail = "the origin names one revision that cannot change"
        yield Item(name, State.PRESENT, detail, fix, Severity.MEDIUM)
    else:
        detail = "no revision of the base is pinned: tomorrow's download may be another model"
        yield Item(name, State.MISSING, detail, fix, Severity.MEDIUM)


def _lookalike(card: Card, facts: Facts) -> Iterator[Item]:
    """An origin whose name looks like a well-known one; nothing where none does."""
    listed = facts.bom.origins if facts.bom is not None else ()
    said = dict.fromkeys((facts.origin, *listed, *claims.claimed_bases(card)))
    found = [like for like in (resemblance(text, facts.names) for text in said if text) if like]
    if found:
        more = f" (and {len(found) - 1} more)" if len(found) > 1 else ""
        fix = "Take the files from the publisher that is meant, and compare their digests."
        wrong = Severity.MEDIUM if found[0].kind == "model" else Severity.HIGH
        detail = f"{found[0].detail}{more}"
        yield Item("look-alike origin", State.CONTRADICTED, detail, fix, wrong, wrong)


def _published(facts: Facts) -> Iterator[Item]:
    """The files against the user's list of published models; nothing where none is given."""
    found = facts.published
    if found is None:
        return
    name = "known digests"
    fix = "Take the files from their publisher again, or add their digests to the list."
    if found.contradictions:
        more = len(found.contradictions) - 1
        detail = f"{found.contradictions[0]}{f' (and {more} more)' if more else ''}"
        yield Item(name, State.CONTRADICTED, detail, fix, Severity.LOW)
    elif found.unlisted:
        detail = f"the list of known models says nothing of {', '.join(found.unlisted[:4])}"
        yield Item(name, State.MISSING, detail, fix, Severity.LOW)
    else:
        titles = " and ".join(dict.fromkeys(model.title for model in found.matches.values()))
        yield Item(name, State.PRESENT, f"the files are published as {titles}", fix, Severity.LOW)


def _signature(facts: Facts) -> Iterator[Item]:
    """What a signature shows; nothing where none is given."""
    if facts.vouched is None:
        return
    state = {True: State.PRESENT, False: State.CONTRADICTED, None: State.MISSING}
    fix = "Name the publisher as signer, and use no files that the signature does not cover."
    found = state[facts.vouched.valid]
    yield Item("signature", found, facts.vouched.detail, fix, Severity.MEDIUM)


def _digest(card: Card, facts: Facts) -> Iterator[Item]:
    published, own = claims.claimed_digests(card), facts.digests or {}
    if facts.bom is not None:
        published |= set(facts.bom.digests.values())
    if facts.published is not None:
        published |= {own[file] for file in facts.published.matches}
    fix = "Ask the publisher for the SHA-256 of every file, and compare before each use."
    name = "digest"
    if not published and facts.signed:
        detail = "the digests of the files are signed"
        yield Item(name, State.PRESENT, detail, fix, Severity.MEDIUM)
    elif not published:
        detail = "no SHA-256 digest of the files is published"
        yield Item(name, State.MISSING, detail, fix, Severity.MEDIUM)
    elif own and not published & set(own.values()):
        detail = f"no published digest is that of {', '.join(sorted(own))}"
        yield Item(name, State.CONTRADICTED, detail, fix, Severity.HIGH)
    else:
        unlisted = sorted(n for n, d in own.items() if d not in published)
        detail = "the published digest is that of the files" if own else "a digest is published"
        if unlisted:
            detail = f"no digest is published of {', '.join(unlisted)}"
        state = State.MISSING if unlisted else State.PRESENT
        yield Item(name, state, detail, fix, Severity.MEDIUM)


def _licence(card: Card, facts: Facts) -> Iterator[Item]:
    name = "licence"
    fix = "Find out the licence from the publisher before the model is used or passed on."
    said = [("the card", claims.licence_of(card)), ("the licence file", facts.licence_text)]
    if facts.bom is not None:
        said.append(("the bill of materials", " or ".join(facts.bom.licences)))
    said = [(who, text) for who, text in said if text]
    clash = next((pair for pair in combinations(said, 2) if _clash(pair[0][1], pair[1][1])), None)
    if not said:
        yield Item(name, State.MISSING, "the base model has no licence", fix, Severity.MEDIUM)
    elif clash is not None:
        words = (f"{who} says {_named(who, text)}" for who, text in clash)
        yield Item(name, State.CONTRADICTED, ", and ".join(words), fix, Severity.HIGH)
    else:
        yield Item(name, State.PRESENT, f"licence: {_named(*said[0])}", fix, Severity.MEDIUM)


def _clash(one: str, other: str) -> bool:
    """Whether two licences, by name or by text, are of known families that differ."""
    a, b = claims.licence_families(one), claims.licence_families(other)
    return bool(a and b and not a & b)


def _named(who: str, text: str) -> str:
    return claims.licence_family(text) or "its own terms" if who == "the licence file" else text


def _sections(card: Card, bom: Bom | None) -> Iterator[Item]:
    listed = _listed(bom)
    for name, severity, words, question in SECTIONS:
        fix = f"Ask the publisher, or find out, {question}; write it into your own model card."
        carded = bool(card.says(*words)) or _in_front(card, name)
        who = "the card" if carded or not listed.get(name) else "the bill of materials"
        said = carded or listed.get(name, False)
        detail = f"{who} {'says' if said else 'does not say'} {question}"
        yield Item(name, State.PRESENT if said else State.MISSING, detail, fix, severity)


def _listed(bom: Bom | None) -> dict[str, bool]:
    """Which sections a bill of materials stands for."""
    if bom is None:
        return {}
    return {
        "intended use": bool(bom.uses), "limits": bool(bom.limits),
        "training data": bool(bom.datasets), "evaluation": any(v for _, v, _ in bom.metrics),
        "risk controls": bool(bom.controls), "contact": bool(bom.contacts),
    }  # fmt: skip


def _in_front(card: Card, name: str) -> bool:
    """Whether the front matter answers what a section would."""
    keys = {"training data": ("datasets", "dataset"), "contact": ("author", "authors", "contact")}
    return any(card.front.get(key) for key in keys.get(name, ()))


LICENCE_FILES = ("LICENSE", "LICENSE.txt", "LICENSE.md", "LICENCE", "LICENCE.txt", "COPYING")


def licence_text(folders: list[Path]) -> str:
    """The beginning of the first licence file in some folders; empty where there is none."""
    for folder in folders:
        for name in LICENCE_FILES:
            if (folder / name).is_file():
                with (folder / name).open("rb") as file:
                    return file.read(20_000).decode("utf-8", errors="replace")
    return ""

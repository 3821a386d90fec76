"""What a card claims that can be held against the model itself: classes, accuracy, digests."""

from __future__ import annotations

import re

from crenel.transfer.card import Card

_WORDS = {
    word: number
    for number, word in enumerate(
        "two three four five six seven eight nine ten eleven twelve".split(), start=2
    )
}
_CLASSES = re.compile(
    r"\b(\d{1,6}|" + "|".join(_WORDS) + r")[ -](?:\w+[ -]){0,2}?(?:classes|labels|categories)\b",
    re.IGNORECASE,
)
_ACCURACY = re.compile(
    r"accuracy\b[^\d\n%]{0,40}?(\d{1,3}(?:\.\d+)?\s*%|[01]?\.\d+|1\.0|\d{2}\.\d+)", re.IGNORECASE
)
_METRIC = re.compile(
    r"type:\s*['\"]?accuracy['\"]?\s*\n(?:\s+(?!-)[^\n]*\n)*?\s+value:\s*([\d.]+)", re.IGNORECASE
)
_DIGEST = re.compile(r"(?<![0-9a-f])[0-9a-f]{64}(?![0-9a-f])", re.IGNORECASE)
_LICENCES = (
    ("agpl", r"affero general public license"),
    ("lgpl", r"lesser general public license"),
    ("gpl", r"gnu general public license"),
    ("apache", r"apache license"),
    ("mpl", r"mozilla public license"),
    ("cc-by-nc", r"attribution-?\s*noncommercial"),
    ("cc-by-sa", r"attribution-?\s*sharealike"),
    ("cc-by", r"creative commons attribution|attribution 4\.0"),
    ("cc0", r"cc0|no rights reserved"),
    ("openrail", r"openrail|responsible ai license"),
    ("bsd", r"redistribution and use in source and binary forms"),
    ("mit", r"permission is hereby granted, free of charge"),
    ("unlicense", r"free and unencumbered software"),
)


def claimed_classes(card: Card) -> int | None:
    """Number of classes that the card speaks of; None where it speaks of none, or of several."""
    found = {
        _WORDS.get(n.lower()) or int(n) for n in _CLASSES.findall(card.text) if n.lower() != "0"
    }
    return found.pop() if len(found) == 1 else None


def claimed_accuracy(card: Card) -> float | None:
    """Largest accuracy that the card claims, in [0, 1]; None where it claims none."""
    texts = _ACCURACY.findall(card.text) + _METRIC.findall(card.raw_front)
    values = [_fraction(text) for text in texts]
    return max((v for v in values if v <= 1), default=None)


def _fraction(text: str) -> float:
    number = float(text.rstrip(" %"))
    return number / 100 if "%" in text or number > 1 else number


def claimed_digests(card: Card) -> frozenset[str]:
    """SHA-256 digests in the card, lower-case."""
    return frozenset(d.lower() for d in _DIGEST.findall(card.raw_front + "\n" + card.text))


def licence_of(card: Card) -> str:
    """The licence that the card names, in the front matter or in a section; else empty."""
    for key in ("license", "licence", "license_name"):
        value = card.front.get(key)
        if isinstance(value, list):
            value = value[0] if value else ""
        if value and str(value).lower() not in ("other", "unknown", "none", "null"):
            return str(value)
    return _short(card.says(r"licen[sc]e"))


def _short(text: str) -> str:
    return " ".join(text.split())[:120]


def licence_family(text: str) -> str:
    """Family of a licence, from its name or its whole text: "apache", "mit"…; else empty."""
    lower = " ".join(text.lower().split())
    # The text of one licence may name others further down.
    named = [(m.start(), f) for f, pattern in _LICENCES if (m := re.search(pattern, lower))]
    if named:
        return min(named)[1]
    for family, _ in _LICENCES:
        if re.search(rf"(?<![a-z]){family}(?![a-z])", lower):
            return family
    return ""


def pinned(origin: str) -> bool:
    """Whether an origin names one unchangeable revision: 40 hexadecimal digits, or a sha256."""
    revision = origin.rpartition("@")[2] if "@" in origin else ""
    return bool(
        re.fullmatch(r"[0-9a-f]{40}", revision) or re.fullmatch(r"sha256:[0-9a-f]{64}", revision)
    )

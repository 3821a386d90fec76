"""What a card claims that can be held against the model itself: classes, accuracy, digests."""

from __future__ import annotations

import re

from crenel.transfer.papers.card import Card
from crenel.transfer.papers.results import claimed_accuracies

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
        _WORDS.get(n.lower()) or int(n) for n in _CLASSES.findall(card.prose) if n.lower() != "0"
    }
    return found.pop() if len(found) == 1 else None


def claimed_accuracy(card: Card) -> float | None:
    """Largest accuracy that the card claims, in [0, 1]; None where it claims none."""
    return max((c.share for c in claimed_accuracies(card)), default=None)


def claimed_digests(card: Card) -> frozenset[str]:
    """SHA-256 digests in the card, lower-case."""
    return frozenset(d.lower() for d in _DIGEST.findall(card.raw_front + "\n" + card.text))


#: Where a size is that of inputs, and not of what they were cut from.
_OF_INPUTS = re.compile(
    r"\b(?:inputs?|expects?|takes?|resolution|resized to|image[_ ]size|shape)\b",
    re.IGNORECASE,
)
_SIZE = re.compile(
    r"(?<![\d.])(\d{1,4})\s*(?:[x×*,]|by)\s*(\d{1,4})"
    r"(?:\s*(?:[x×*,]|by)\s*(\d{1,4}))?(?![\d%]|\.\d)",
    re.IGNORECASE,
)


def claimed_sizes(card: Card) -> list[tuple[int, int]]:
    """Heights and widths of images that the card says the model takes.

    Only lines that speak of inputs count; the number of channels is left out.
    """
    lines = [line for line in card.prose.splitlines() if _OF_INPUTS.search(line)]
    found = [_two(match) for line in lines for match in _SIZE.finditer(line)]
    return list(dict.fromkeys(size for size in found if size is not None))


def _two(match: re.Match[str]) -> tuple[int, int] | None:
    numbers = [int(n) for n in match.groups() if n is not None]
    if len(numbers) == 3:
        if numbers[0] in (1, 3, 4):
            numbers = numbers[1:]
        elif numbers[2] in (1, 3, 4):
            numbers = numbers[:2]
        else:
            return None
    height, width = numbers
    # Neither lists nor ratios: "1, 2", "16:9".
    likely = min(height, width) >= 8 and height <= 4 * width <= 16 * height
    return (height, width) if likely else None


def claimed_tasks(card: Card) -> list[str]:
    """Tasks that the front matter names: ``pipeline_tag``, and those of ``model-index``."""
    said = [card.front.get("pipeline_tag"), card.front.get("model-index.results.task.type")]
    return list(dict.fromkeys(s for s in said if isinstance(s, str) and s))


def claimed_bases(card: Card) -> list[str]:
    """Bases that the front matter names."""
    value = card.front.get("base_model")
    return [str(v) for v in (value if isinstance(value, list) else [value]) if v]


def licence_of(card: Card) -> str:
    """The licence that the card names, in the front matter or in a section; else empty."""
    for key in ("license", "licence", "license_name"):
        value = card.front.get(key)
        if isinstance(value, list):
            value = " or ".join(map(str, value))
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


def licence_families(text: str) -> frozenset[str]:
    """Families of all licences that a name ("MIT OR Apache-2.0") or a whole text stands for."""
    if len(text) > 300 or "\n" in text.strip():
        return frozenset(filter(None, [licence_family(text)]))
    found, rest = set(), text.lower()
    for family, spelled in _LICENCES:
        pattern = rf"(?<![a-z])(?:{family}(?![a-z])|{spelled})"
        if re.search(pattern, rest):
            found.add(family)
            rest = re.sub(pattern, " ", rest)
    return frozenset(found)


def pinned(origin: str) -> bool:
    """Whether an origin names one unchangeable revision: 40 hexadecimal digits, or a sha256."""
    revision = origin.rpartition("@")[2].partition("?")[0] if "@" in origin else ""
    return bool(
        re.fullmatch(r"[0-9a-f]{40}", revision) or re.fullmatch(r"sha256:[0-9a-f]{64}", revision)
    )

"""The shapes that personal data and secrets take in text, and how sure each shape is."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass

from crenel.confidentiality import identifiers as ids


@dataclass(frozen=True)
class Pattern:
    """One shape of one entity.

    Attributes
    ----------
    entity : str
        Key of `TITLES`.
    shape : re.Pattern
        What it looks like; the whole match is the value.
    valid : callable
        Whether the compact form (letters and digits only, in capitals) can be a real one.
    digits : int
        A value must hold this many digits before the shape is looked for.
    needs : str
        A substring that the text must hold before the shape is looked for; empty: none.
    sure : bool
        Whether a valid match is enough. Otherwise a word near it (``context``), the column's
        name, or the share of valid ones in the column must speak for it.
    context : re.Pattern or None
        Words that make an unsure match sure when they are just before it; an unsure shape
        without such words is looked for only in columns whose name speaks of the entity.
    chance : float
        Share of random values of the same shape that are valid.
    """

    entity: str
    shape: re.Pattern[str]
    valid: Callable[[str], bool]
    digits: int = 0
    needs: str = ""
    sure: bool = True
    context: re.Pattern[str] | None = None
    chance: float = 0.0


#: What each entity is called in a sentence.
TITLES = {
    "email": "e-mail addresses",
    "phone": "phone numbers",
    "iban": "bank accounts (IBAN)",
    "card": "payment card numbers",
    "ip": "IP addresses",
    "ssn": "US social security numbers",
    "nino": "UK national insurance numbers",
    "de_tax": "German tax numbers",
    "fr_nir": "French social security numbers",
    "es_dni": "Spanish identity numbers",
    "nl_bsn": "Dutch citizen service numbers",
    "pl_pesel": "Polish PESEL numbers",
    "it_codice": "Italian tax codes",
    "birth": "dates of birth",
    "name": "names of persons",
    "address": "postal addresses",
    "secret": "secrets (keys, tokens)",
}

#: How much harm one value of an entity does, in (0, 1].
WEIGHTS = {"secret": 1.0, "card": 0.8, "iban": 0.7, "ip": 0.25, "birth": 0.4} | dict.fromkeys(
    ("ssn", "nino", "de_tax", "fr_nir", "es_dni", "nl_bsn", "pl_pesel", "it_codice"), 0.8
)
DEFAULT_WEIGHT = 0.5


def _words(words: str) -> re.Pattern[str]:
    return re.compile(rf"\b(?:{words})\b", re.IGNORECASE)


def _always(text: str) -> bool:
    return bool(text)


_CALL = _words(
    "call|ring|phone|tel|telephone|mobile|mob|cell|fax|text|txt|sms|dial|number|no|nos|whatsapp"
    "|contact|helpline|landline|customer services?|custcare|cc|telefon|handy|appelez|llame|chiama"
)
_EDGE, _END = r"(?<![\w.+-])", r"(?![\w-]|\.\d)"

SECRETS = (
    r"AKIA[0-9A-Z]{16}",
    r"gh[pousr]_[A-Za-z0-9]{36,}",
    r"github_pat_[A-Za-z0-9_]{50,}",
    r"glpat-[A-Za-z0-9_-]{20,}",
    r"xox[abprs]-[A-Za-z0-9-]{10,}",
    r"AIza[A-Za-z0-9_-]{35}",
    r"[rs]k_live_[A-Za-z0-9]{20,}",
    r"hf_[A-Za-z0-9]{30,}",
    r"sk-[A-Za-z0-9_-]{32,}",
    r"eyJ[A-Za-z0-9_-]{8,}\.eyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]{8,}",
    r"-----BEGIN (?:[A-Z]+ )*PRIVATE KEY-----",
)

PATTERNS: tuple[Pattern, ...] = (
    Pattern(
        "email",
        re.compile(r"(?<![\w.%+-])[\w.%+-]{1,64}@(?:[A-Za-z0-9-]{1,63}\.){1,8}[A-Za-z]{2,24}\b"),
        _always,
        needs="@",
    ),
    Pattern("secret", re.compile(r"(?<!\w)(?:" + "|".join(SECRETS) + ")"), _always),
    Pattern(
        "iban",
        re.compile(r"(?<!\w)[A-Z]{2}\d{2}(?: ?[A-Z0-9]{4}){2,7}(?: ?[A-Z0-9]{1,4})?(?!\w)"),
        ids.iban,
        digits=8,
    ),
    Pattern(
        "card",
        re.compile(
            rf"{_EDGE}(?:\d{{4}}([ -])\d{{4}}\1\d{{4}}\1\d{{4}}"
            rf"|\d{{4}}([ -])\d{{6}}\2\d{{5}}){_END}"
        ),
        ids.card,
        digits=13,
    ),
    Pattern(
        "card",
        re.compile(rf"{_EDGE}\d{{13,19}}{_END}"),
        ids.card,
        digits=13,
        sure=False,
        context=_words("card|visa|mastercard|amex|credit|debit|karte|tarjeta|carte"),
        chance=0.04,
    ),
    Pattern(
        "ip",
        re.compile(r"(?<![\w.])(?:\d{1,3}\.){3}\d{1,3}(?![\w-]|\.\d)"),
        ids.ipv4,
        digits=4,
        needs=".",
    ),
    Pattern(
        "ip",
        re.compile(r"(?<![\w:])(?:[0-9a-fA-F]{1,4}:){7}[0-9a-fA-F]{1,4}(?![\w:])"),
        _always,
        needs=":",
    ),
    Pattern(
        "ssn", re.compile(rf"{_EDGE}\d{{3}}-\d{{2}}-\d{{4}}{_END}"), ids.ssn, digits=9, needs="-"
    ),
    Pattern(
        "ssn",
        re.compile(rf"{_EDGE}(?:\d{{9}}|\d{{3}} \d{{2}} \d{{4}}){_END}"),
        ids.ssn,
        digits=9,
        sure=False,
        context=_words("ssn|social security"),
        chance=0.9,
    ),
    Pattern(
        "nino",
        re.compile(r"(?<!\w)[A-Z]{2} ?\d{2} ?\d{2} ?\d{2} ?[A-D](?!\w)"),
        ids.nino,
        digits=6,
    ),
    Pattern(
        "it_codice",
        re.compile(r"(?<!\w)[A-Za-z]{6}\d{2}[A-Za-z]\d{2}[A-Za-z]\d{3}[A-Za-z](?!\w)"),
        ids.it_codice,
        digits=7,
    ),
    Pattern(
        "fr_nir",
        re.compile(r"(?<!\w)[12] ?\d{2} ?\d{2} ?(?:\d{2}|2[AB]) ?\d{3} ?\d{3} ?\d{2}(?!\w)"),
        ids.fr_nir,
        digits=13,
    ),
    Pattern(
        "es_dni",
        re.compile(r"(?<!\w)(?:\d{8}|[XYZ]\d{7})-?[A-HJ-NP-TV-Z](?!\w)"),
        ids.es_dni,
        digits=7,
        sure=False,
        context=_words("dni|nie|nif"),
        chance=1 / 23,
    ),
    *(
        Pattern(
            entity,
            re.compile(rf"{_EDGE}\d{{{size}}}{_END}"),
            valid,
            digits=7,
            sure=False,
            context=_words(words),
            chance=chance,
        )
        for entity, size, valid, words, chance in (
            ("de_tax", 11, ids.de_tax, "steuer-?id|steuernummer|tax id|idnr", 0.01),
            ("nl_bsn", 9, ids.nl_bsn, "bsn|burgerservicenummer", 1 / 11),
            ("pl_pesel", 11, ids.pl_pesel, "pesel", 0.06),
        )
    ),
    Pattern(
        "phone",
        re.compile(
            r"(?<![\w+.])(?:\+|00)[1-9]\d{0,2}[ ./-]?(?:\(0?\d{1,4}\)[ ./-]?)?"
            r"\d(?:[ ./-]?\d){5,12}(?!\w)"
        ),
        ids.phone,
        digits=8,
    ),
    Pattern(
        "phone",
        re.compile(
            r"(?<![\w.])(?:1[ .-])?(?:\([2-9]\d{2}\) ?|[2-9]\d{2}[.-])\d{3}[.-]\d{4}(?![\w-])"
        ),
        ids.phone,
        digits=8,
    ),
    Pattern(
        "phone",
        re.compile(r"(?<![\w.,-])0[1-9](?:[ /-]?\d){7,9}(?![\w-]|[.,]\d)"),
        ids.phone,
        digits=8,
        sure=False,
        context=_CALL,
        chance=1.0,
    ),
    Pattern(
        "phone",
        re.compile(r"(?<![\w+.])[+(]?\d[\d ./()-]{6,18}\d(?![\w-])"),
        ids.phone,
        digits=8,
        sure=False,
        chance=1.0,
    ),
)

#: One invented value of each entity that is found by its form or by a word before it: the scan
#: of a table looks for these too, and has worked only where it finds them.
PLANTED = {
    "email": "jo.doe@example.org",
    "phone": "+49 30 901820 12",
    "iban": "DE89 3704 0044 0532 0130 00",
    "card": "4012 8888 8888 1881",
    "ip": "192.0.2.17",
    "ssn": "219-09-9999",
    "nino": "AB 12 34 56 C",
    "de_tax": "Steuer-ID 86095742719",
    "fr_nir": "2 55 08 14 168 025 38",
    "es_dni": "DNI 12345678Z",
    "nl_bsn": "BSN 111222333",
    "pl_pesel": "PESEL 44051401359",
    "it_codice": "RSSMRA85T10A562S",
    "secret": "AKIAIOSFODNN7EXAMPLE",
}

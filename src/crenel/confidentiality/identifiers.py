"""Check digits and structure of identifiers: what makes a number a card, an account or a person.

Every function takes the compact form (separators removed, letters in capitals) and says whether
it can be a real one. The rules are those of the issuing bodies: ISO/IEC 7812 (cards), ISO 13616
(IBAN), and the national ones named below.
"""

from __future__ import annotations

#: Length of an IBAN by country (ISO 13616 registry).
IBAN_LENGTH = {
    "AD": 24, "AE": 23, "AL": 28, "AT": 20, "AZ": 28, "BA": 20, "BE": 16, "BG": 22, "BH": 22,
    "BR": 29, "BY": 28, "CH": 21, "CR": 22, "CY": 28, "CZ": 24, "DE": 22, "DK": 18, "DO": 28,
    "EE": 20, "EG": 29, "ES": 24, "FI": 18, "FO": 18, "FR": 27, "GB": 22, "GE": 22, "GI": 23,
    "GL": 18, "GR": 27, "GT": 28, "HR": 21, "HU": 28, "IE": 22, "IL": 23, "IQ": 23, "IS": 26,
    "IT": 27, "JO": 30, "KW": 30, "KZ": 20, "LB": 28, "LC": 32, "LI": 21, "LT": 20, "LU": 20,
    "LV": 21, "MC": 27, "MD": 24, "ME": 22, "MK": 19, "MR": 27, "MT": 31, "MU": 30, "NL": 18,
    "NO": 15, "PK": 24, "PL": 28, "PS": 29, "PT": 25, "QA": 29, "RO": 24, "RS": 22, "SA": 24,
    "SC": 31, "SE": 24, "SI": 19, "SK": 24, "SM": 27, "ST": 25, "SV": 28, "TN": 24, "TR": 26,
    "UA": 29, "VA": 22, "VG": 24, "XK": 20,
}  # fmt: skip

#: Value of a character at an odd place of a codice fiscale; letters A to J count as digits do.
_ODD_PLACES = (
    (1, 0, 5, 7, 9, 13, 15, 17, 19, 21),
    (2, 4, 18, 20, 11, 3, 6, 8, 12, 14, 16, 10, 22, 25, 24, 23),
)
_ODD = dict(
    zip("0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ", _ODD_PLACES[0] * 2 + _ODD_PLACES[1], strict=True)
)


def luhn(digits: str) -> bool:
    """Whether the check digit of ISO/IEC 7812 (Luhn, 1960) holds."""
    total = 0
    for i, c in enumerate(reversed(digits)):
        d = int(c) * (2 if i % 2 else 1)
        total += d - 9 if d > 9 else d
    return total % 10 == 0


def card(digits: str) -> bool:
    """Payment card: an issuer's prefix with its length, not one digit repeated, Luhn."""
    if len(set(digits)) < 3:
        return False
    two, four, n = int(digits[:2]), int(digits[:4]), len(digits)
    issued = (
        (digits[0] == "4" and n in (13, 16, 19))
        or ((51 <= two <= 55 or 2221 <= four <= 2720) and n == 16)
        or (two in (34, 37) and n == 15)
        or ((four == 6011 or two in (62, 64, 65) or 3528 <= four <= 3589) and n in (16, 19))
        or ((two in (36, 38, 39) or 300 <= int(digits[:3]) <= 305) and n == 14)
    )
    return issued and luhn(digits)


def iban(text: str) -> bool:
    """Bank account: length of its country, and remainder 1 modulo 97 (ISO 7064)."""
    if IBAN_LENGTH.get(text[:2]) != len(text) or not text.isalnum():
        return False
    return int("".join(str(int(c, 36)) for c in text[4:] + text[:4])) % 97 == 1


def ssn(digits: str) -> bool:
    """United States social security number: no area 000, 666 or 9xx, no group 00, serial 0000."""
    area, group, serial = digits[:3], digits[3:5], digits[5:]
    if len(digits) != 9 or area in ("000", "666") or area[0] == "9":
        return False
    return group != "00" and serial != "0000" and len(set(digits)) > 2


def nino(text: str) -> bool:
    """United Kingdom national insurance number: prefixes in use, suffix A to D."""
    if len(text) != 9 or not text[2:8].isdigit() or text[8] not in "ABCD":
        return False
    if text[0] in "DFIQUV" or text[1] in "DFIQUVO":
        return False
    return text[:2] not in ("BG", "GB", "KN", "NK", "NT", "TN", "ZZ")


def de_tax(digits: str) -> bool:
    """German tax identification number: ISO 7064 mod 11,10; one digit of ten twice or thrice."""
    if len(digits) != 11 or digits[0] == "0":
        return False
    counts = sorted((digits[:10].count(d) for d in set(digits[:10])), reverse=True)
    if counts[0] not in (2, 3) or (len(counts) > 1 and counts[1] > 1):
        return False
    product = 10
    for c in digits[:10]:
        total = (int(c) + product) % 10 or 10
        product = total * 2 % 11
    return (11 - product) % 10 == int(digits[10])


def fr_nir(text: str) -> bool:
    """French social security number: sex, month, and key 97 less the remainder modulo 97."""
    if len(text) != 15 or text[0] not in "12":
        return False
    body = text[:13].replace("2A", "19", 1) if text[5:7] == "2A" else text[:13]
    body = body.replace("2B", "18", 1) if text[5:7] == "2B" else body
    if not (body.isdigit() and text[13:].isdigit()):
        return False
    month = int(text[3:5])
    if not (1 <= month <= 12 or 20 <= month <= 42 or 50 <= month <= 99):
        return False
    return 97 - int(body) % 97 == int(text[13:])


def es_dni(text: str) -> bool:
    """Spanish DNI or NIE: letter by the remainder modulo 23."""
    if len(text) != 9:
        return False
    body = {"X": "0", "Y": "1", "Z": "2"}.get(text[0], text[0]) + text[1:8]
    return body.isdigit() and "TRWAGMYFPDXBNJZSQVHLCKE"[int(body) % 23] == text[8]


def nl_bsn(digits: str) -> bool:
    """Dutch citizen service number: the eleven test."""
    if len(digits) != 9 or len(set(digits)) < 3:
        return False
    weights = (9, 8, 7, 6, 5, 4, 3, 2, -1)
    return sum(w * int(c) for w, c in zip(weights, digits)) % 11 == 0


def pl_pesel(digits: str) -> bool:
    """Polish PESEL: a date of birth (century in the month) and a weighted check digit."""
    if len(digits) != 11:
        return False
    month, day = int(digits[2:4]) % 20, int(digits[4:6])
    if not (1 <= month <= 12 and 1 <= day <= 31):
        return False
    weights = (1, 3, 7, 9, 1, 3, 7, 9, 1, 3, 1)
    return sum(w * int(c) for w, c in zip(weights, digits)) % 10 == 0


def it_codice(text: str) -> bool:
    """Italian codice fiscale: form, month letter, and the check letter."""
    if len(text) != 16 or not text[:6].isalpha() or text[8] not in "ABCDEHLMPRST":
        return False
    total = 0
    for i, c in enumerate(text[:15]):
        total += _ODD[c] if i % 2 == 0 else (int(c) if c.isdigit() else ord(c) - ord("A"))
    return chr(ord("A") + total % 26) == text[15]


def ipv4(text: str) -> bool:
    """Address of four bytes that can belong to a person's machine: not this host, not a mask."""
    parts = [int(p) for p in text.split(".")]
    return len(parts) == 4 and max(parts) <= 255 and parts[0] not in (0, 127, 255) and parts[3] > 0


def phone(digits: str) -> bool:
    """Subscriber number: 8 to 15 digits (ITU-T E.164), not a run of one or two digits."""
    return 8 <= len(digits) <= 15 and len(set(digits)) >= 4

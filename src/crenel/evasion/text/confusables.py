"""Characters that look like others, and characters that do not show at all.

A curated part of what Unicode Technical Standard 39 (Unicode Security Mechanisms, 2024) is about:
the Latin letters and digits, and those that most fonts draw like them. Characters that are only
forms of another one (full width, mathematical, circled) are not listed, as NFKC folds them.
"""

from __future__ import annotations

import unicodedata

#: Look-alikes of a Latin letter or digit, the nearest first: those an attacker would use.
NEAR: dict[str, str] = {
    "a": "аɑ", "b": "Ьƅ", "c": "с", "d": "ԁꓒ", "e": "еҽ", "f": "ẝꞙ", "g": "ɡց", "h": "һհ",
    "i": "іı", "j": "јϳ", "k": "κк", "l": "ӏǀ", "m": "ⅿ", "n": "ոռ", "o": "оοօ", "p": "рρ",
    "q": "ԛզ", "r": "ꭇг", "s": "ѕꜱ", "t": "τᴛ", "u": "υսᴜ", "v": "ѵν", "w": "ԝѡա", "x": "хх",
    "y": "уү", "z": "ᴢ",
    "A": "АΑ", "B": "ВΒ", "C": "С", "D": "ꓓᎠ", "E": "ЕΕ", "F": "Ϝꓝ", "G": "ԌᏀ", "H": "НΗ",
    "I": "ІΙ", "J": "ЈᎫ", "K": "КΚ", "L": "ꓡᏞ", "M": "МΜ", "N": "Νꓠ", "O": "ОΟ", "P": "РΡ",
    "Q": "Ԛ", "R": "ᎡꓣƦ", "S": "ЅᏚ", "T": "ТΤ", "U": "Սꓴ", "V": "ѴᏙ", "W": "ԜᎳ", "X": "ХΧ",
    "Y": "ҮΥ", "Z": "ΖᏃ",
    "0": "О", "1": "ӏ", "3": "З", "4": "Ꮞ", "6": "б",
}  # fmt: skip

#: Further look-alikes that a normaliser folds too; they differ enough to be noticed.
FAR: dict[str, str] = {
    "a": "αᴀ", "b": "ЪʙᏏ", "c": "ᴄᏟꓚ", "d": "ժᏧ", "e": "єᴇ", "f": "ϝſ", "g": "ɢ", "h": "ʜᏂ",
    "i": "ιɩΐίᎥ", "j": "ʝ", "k": "ᴋ", "l": "ʟ׀", "m": "мᴍ", "n": "ηɴп", "o": "ᴏഠ൦סہ", "p": "ᴘ",
    "q": "գ", "r": "ʀᴦ", "s": "ƽ", "t": "т", "u": "ц", "v": "ᴠ", "w": "ᴡɯ", "x": "×", "y": "γỿʏ",
    "z": "ʐ",
    "A": "Ꭺꓮᗅ", "B": "Ᏼꓐ", "C": "Ꮯⅽ", "E": "Ꭼꓰ", "F": "Ғ", "G": "ꓖ", "H": "Ꮋꓧ",
    "I": "ꓲӀ", "J": "ꓙ", "K": "Ꮶꓗ", "L": "Լ", "M": "Ꮇꓟ", "N": "И", "O": "Օꓳ", "P": "Ꮲꓑ",
    "S": "Տꓢ", "T": "Ꭲꓔ", "V": "ꓦ", "W": "ꓪ", "X": "ꓫ", "Y": "Ꮍꓬ", "Z": "ꓜ",
}  # fmt: skip

#: Characters without width: spaces and joiners of width 0, marks of direction, soft hyphen.
ZERO_WIDTH = "\u200b\u200c\u200d\u2060\ufeff\u00ad\u200e\u200f\u2061\u2063"
#: Fillers and selectors that do not show either, though Unicode counts them as letters or marks.
FILLERS = "\u034f\u115f\u1160\u17b4\u17b5\u180e\u3164\uffa0" + "".join(
    chr(c) for c in range(0xFE00, 0xFE10)
)


def _inverse() -> dict[int, str]:
    table: dict[int, str] = {}
    for looks in (NEAR, FAR):
        for plain, others in looks.items():
            for other in others:
                if not other.isascii():
                    table.setdefault(ord(other), plain)
    return table


#: Every look-alike to the character that it stands for, as of `str.translate`.
FOLD = _inverse()
#: Scripts whose own texts use look-alikes rightly: the first word of their characters' names.
SCRIPTS = frozenset({"CYRILLIC", "GREEK", "ARMENIAN", "CHEROKEE", "LISU", "HEBREW", "MALAYALAM",
                     "ARABIC", "CANADIAN"})  # fmt: skip


def lookalikes(character: str) -> str:
    """The characters that look like this one, the nearest first; empty where there are none."""
    return "".join(dict.fromkeys(NEAR.get(character, "")))


def hidden(character: str) -> bool:
    """Whether a character does not show: it has no width, or only fills."""
    return character in FILLERS or unicodedata.category(character) == "Cf"


def foreign(character: str) -> bool:
    """Whether a letter belongs to one of the scripts that share shapes with Latin."""
    return unicodedata.name(character, "").partition(" ")[0] in SCRIPTS

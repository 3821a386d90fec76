"""What the name of a column tells: personal or protected, or beyond an attacker's reach."""

from __future__ import annotations

import re
import unicodedata

# Word stems in English, German, French, Spanish, Italian, Portuguese and Dutch; a column is
# matched word by word, so that "age" is not found in "percentage" nor "sex" in "essex".
_SENSITIVE = (
    "sex sexe sexo sesso sexual sexuality gender geschlecht genero genere geslacht "
    "race rasse raza razza raca ethnic ethnicity ethnie ethnien etnia etnicity etnico herkunft "
    "religion religious religione religiao religie confession konfession "
    "age ages alter edad eta idade leeftijd "
    "birth birthday birthdate birthplace dob geburt geburtsdatum geburtstag naissance nacimiento "
    "nascita nascimento geboorte geboortedatum "
    "disability disabled behinderung handicap discapacidad disabilita deficiencia "
    "nationality nationalitat nationalite nacionalidad nazionalita nacionalidade "
    "citizen citizenship native immigrant migrant foreign foreigner "
    "marital married marriage relationship familienstand civil matrimonial "
    "pregnant pregnancy schwanger health diagnosis disease hiv "
    "political party union veteran orientation skin color colour "
    "name firstname lastname surname vorname nachname nom prenom nombre apellido email phone "
    "telephone telefon mobile address adresse direccion zip zipcode postcode plz ssn passport "
    "personnummer iban"
)
_IMMUTABLE = (
    "sex sexe sexo sesso gender geschlecht genero genere geslacht "
    "race rasse raza razza raca ethnic ethnicity ethnie etnia herkunft "
    "age ages alter edad eta idade leeftijd "
    "birth birthday birthdate birthplace dob geburt geburtsdatum geburtstag naissance nacimiento "
    "nascita nascimento geboorte geboortedatum "
    "disability disabled nationality nationalitat nationalite nacionalidad nazionalita "
    "nacionalidade native id ids uid uuid guid identifier index rowid ssn passport personnummer"
)
_SENSITIVE_SET = frozenset(_SENSITIVE.split())
_IMMUTABLE_SET = frozenset(_IMMUTABLE.split())
_IDENTIFIERS = frozenset(
    ("id", "ids", "uid", "uuid", "guid", "identifier", "index", "rowid", "ssn", "passport")
)
#: Words that are personal in company only: "skin color", but not the "color" of a car.
_NEEDS_COMPANY = {
    "color": {"skin", "eye", "hair"},
    "colour": {"skin", "eye", "hair"},
    "native": {"country", "language", "speaker", "born", "land"},
    "civil": {"status", "state", "etat", "estado", "stato"},
    "name": {"first", "last", "full", "sur", "middle", "family", "maiden", "customer", "person"},
    "address": {"home", "street", "postal", "email", "mail", "customer"},
    "foreign": {"worker", "born", "national"},
    "union": {"member", "membership", "trade", "labor", "labour"},
    "party": {"political"},
    "orientation": {"sexual"},
}
#: Things whose age, race or name is nobody's: "age_of_domain", "car age", "horse race".
_THINGS = frozenset(
    (
        "account", "asset", "building", "car", "credit", "device", "domain", "file", "house",
        "loan", "machine", "page", "policy", "product", "property", "site", "url", "vehicle",
    )
)  # fmt: skip


def words_of(name: object) -> list[str]:
    """The words of a column's name, in lower case and without accents.

    ``"dateOfBirth"``, ``"date-of-birth"`` and ``"DATE_OF_BIRTH"`` are the same three words.
    """
    text = unicodedata.normalize("NFKD", str(name))
    text = "".join(c for c in text if not unicodedata.combining(c))
    text = re.sub(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", " ", text)
    return [w for w in re.split(r"[^a-z]+", text.lower()) if w]


def is_sensitive(name: object) -> bool:
    """Whether a column's name is of something personal or protected."""
    return _matches(words_of(name), _SENSITIVE_SET)


def is_immutable(name: object) -> bool:
    """Whether a column's name is of something that no attacker can change about a record."""
    return _matches(words_of(name), _IMMUTABLE_SET)


def is_identifier(name: object) -> bool:
    """Whether a column's name is of something that only tells records apart."""
    words = words_of(name)
    return bool(words) and words[-1] in _IDENTIFIERS


def _matches(words: list[str], known: frozenset[str]) -> bool:
    if _THINGS & set(words) and "owner" not in words:
        known = known & _IDENTIFIERS
    return any(w in known and _is_meant(w, words) for w in words)


def _is_meant(word: str, words: list[str]) -> bool:
    """Whether a word that has other meanings too is meant as the personal one."""
    if word not in _NEEDS_COMPANY:
        return True
    alone = words == [word] and word in ("name", "address")
    return alone or bool(_NEEDS_COMPANY[word] & set(words))

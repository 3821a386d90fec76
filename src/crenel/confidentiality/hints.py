"""What the name of a column says of it, in the languages that data sets come in."""

from __future__ import annotations

import re
import unicodedata


def _set(words: str) -> frozenset[str]:
    return frozenset(words.split())


#: Words of column names (without accents, in lower case) by what the column then holds.
WORDS: dict[str, frozenset[str]] = {
    "email": frozenset({"email", "mail", "emailaddress", "courriel", "correo", "epost"}),
    "phone": _set(
        """phone telephone tel telefon telefono telefone telefoon mobile cell cellphone handy
        gsm portable movil celular phonenumber fax msisdn whatsapp"""
    ),
    "iban": frozenset({"iban", "bankaccount", "kontonummer", "rib"}),
    "card": frozenset({"card", "creditcard", "cc", "pan", "kreditkarte", "cardnumber", "tarjeta"}),
    "ip": frozenset({"ip", "ipaddress", "ipaddr", "ipv4"}),
    "ssn": frozenset({"ssn", "socialsecurity", "socialsecuritynumber"}),
    "nino": frozenset({"nino", "nationalinsurance", "ni"}),
    "de_tax": frozenset({"steuerid", "steueridentifikationsnummer", "steuernummer", "idnr"}),
    "fr_nir": frozenset({"nir", "insee", "securitesociale", "numsecu"}),
    "es_dni": frozenset({"dni", "nie", "nif"}),
    "nl_bsn": frozenset({"bsn", "burgerservicenummer", "sofinummer"}),
    "pl_pesel": frozenset({"pesel"}),
    "it_codice": frozenset({"codicefiscale", "cf", "codfiscale"}),
    "birth": _set(
        """birth birthday birthdate dob dateofbirth birthyear yob born geburtsdatum geburtstag
        geboren naissance datenaissance nacimiento fechanacimiento nascita nascimento geboorte
        geboortedatum urodzenia dataurodzenia"""
    ),
    "name": _set(
        """firstname lastname surname fullname givenname familyname forename middlename
        customername clientname patientname personname employeename holdername nachname vorname
        familienname prenom nomfamille apellido apellidos nombres cognome sobrenome achternaam
        voornaam imie nazwisko"""
    ),
    "bare name": frozenset({"name", "nom", "nombre", "nome", "naam"}),
    "address": _set(
        """address street streetaddress addressline strasse anschrift adresse rue direccion
        domicilio calle indirizzo endereco adres straat ulica addr"""
    ),
}

_NOT_POSTAL = frozenset({"email", "mail", "ip", "mac", "web", "url", "memory", "wallet", "bus"})
_NOT_PERSON = _set(
    """file product company class feature city country brand item host domain column table
    field model event store shop team song book film movie category variable user display
    species scientific common place street school"""
)


def hints(column: object) -> frozenset[str]:
    """Entities (keys of `WORDS`) that a column's name speaks of.

    Words are matched whole, and so are pairs and triples of neighbours written as one, so that
    ``DateOfBirth``, ``date_of_birth`` and ``date-of-birth`` are alike and ``hotel`` is no ``tel``.
    """
    words = split(str(column))
    joined = set(words)
    for size in (2, 3):
        joined |= {"".join(words[i : i + size]) for i in range(len(words) - size + 1)}
    found = {entity for entity, known in WORDS.items() if joined & known}
    if "address" in found and joined & _NOT_POSTAL:
        found.discard("address")
    if "bare name" in found:
        found.discard("bare name")
        if not joined & _NOT_PERSON:
            found.add("name")
    return frozenset(found)


def split(name: str) -> list[str]:
    """Words of a column name: ``homeTelNo_2`` becomes home, tel, no."""
    plain = unicodedata.normalize("NFKD", name.replace("ß", "ss"))
    plain = "".join(c for c in plain if not unicodedata.combining(c))
    spaced = re.sub(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", " ", plain)
    return [w for w in re.split(r"[^a-z]+", spaced.lower()) if w]

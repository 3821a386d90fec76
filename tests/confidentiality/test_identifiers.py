"""Check digits against published examples and brute force."""

import numpy as np
import pytest

from crenel.confidentiality import identifiers as ids

KNOWN = [
    (ids.iban, "GB29NWBK60161331926819"),
    (ids.iban, "DE89370400440532013000"),
    (ids.iban, "FR1420041010050500013M02606"),
    (ids.iban, "NO9386011117947"),
    (ids.card, "4012888888881881"),
    (ids.card, "5105105105105100"),
    (ids.card, "378282246310005"),
    (ids.card, "6011000990139424"),
    (ids.de_tax, "86095742719"),
    (ids.de_tax, "47036892816"),
    (ids.fr_nir, "255081416802538"),
    (ids.es_dni, "12345678Z"),
    (ids.es_dni, "X1234567L"),
    (ids.nl_bsn, "123456782"),
    (ids.pl_pesel, "44051401359"),
    (ids.it_codice, "RSSMRA85T10A562S"),
    (ids.nino, "AB123456C"),
    (ids.ssn, "219099999"),
]


@pytest.mark.parametrize(("valid", "text"), KNOWN)
def test_published_examples_hold_and_any_wrong_digit_is_noticed(valid, text):
    assert valid(text)
    if valid in (ids.nino, ids.ssn):
        return  # no check digit
    for i, c in enumerate(text):
        if not c.isdigit():
            continue
        for wrong in set("0123456789") - {c}:
            assert not valid(text[:i] + wrong + text[i + 1 :])


@pytest.mark.parametrize(
    ("valid", "text"),
    [
        (ids.ssn, "000123456"),
        (ids.ssn, "666123456"),
        (ids.ssn, "900123456"),
        (ids.ssn, "123001234"),
        (ids.ssn, "123450000"),
        (ids.nino, "GB123456A"),
        (ids.nino, "AB123456E"),
        (ids.card, "0000000000000000"),
        (ids.card, "9111111111111111"),
        (ids.iban, "GB29NWBK6016133192681"),
        (ids.ipv4, "256.1.1.1"),
        (ids.ipv4, "127.0.0.1"),
        (ids.phone, "11111111"),
    ],
)
def test_impossible_ones_are_refused(valid, text):
    assert not valid(text)


def test_luhn_accepts_one_check_digit_in_ten():
    rng = np.random.default_rng(0)
    for _ in range(200):
        body = "".join(map(str, rng.integers(0, 10, 15)))
        good = [d for d in "0123456789" if ids.luhn(body + d)]
        doubled = sum(
            sum(divmod(2 * int(c), 10)) if i % 2 == 0 else int(c) for i, c in enumerate(body)
        )
        assert good == [str(-doubled % 10)]


@pytest.mark.parametrize(
    ("valid", "size", "chance"),
    [(ids.nl_bsn, 9, 1 / 11), (ids.pl_pesel, 11, 0.06), (ids.de_tax, 11, 0.01)],
)
def test_the_stated_chance_of_random_digits_is_not_too_low(valid, size, chance):
    rng = np.random.default_rng(1)
    numbers = ["".join(map(str, row)) for row in rng.integers(0, 10, (20_000, size))]
    assert np.mean([valid(n) for n in numbers]) < 1.15 * chance + 0.002

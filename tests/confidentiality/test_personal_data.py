"""The scan of columns: what is planted is found, real clean tables stay silent."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from sklearn.datasets import load_breast_cancer, load_digits, load_wine

from crenel.confidentiality import personal_data
from crenel.confidentiality.hints import hints, split
from crenel.confidentiality.patterns import PLANTED
from crenel.confidentiality.scanner import mask, missed

SHARED = Path(__file__).resolve().parents[2] / "../shared/data"


def shared(name):
    path = SHARED / name
    if not path.exists():
        pytest.skip(f"{name} is not here")
    return path


def entities(frame):
    return {(hit.column, hit.entity) for hit in personal_data(frame)}


def words(n, seed=0):
    rng = np.random.default_rng(seed)
    some = ["parcel", "late", "thanks", "order", "blue", "please", "send", "monday", "ref"]
    return np.array([" ".join(rng.choice(some, 6)) for _ in range(n)], dtype=object)


@pytest.mark.parametrize("entity", PLANTED)
def test_one_value_in_a_thousand_is_found_in_its_row(entity):
    text = words(2000)
    rows = [3, 1500]
    for row in rows:
        text[row] = f"{text[row]}: {PLANTED[entity]} thanks"
    found = {hit.entity: hit for hit in personal_data(pd.DataFrame({"note": text}))}
    assert set(found) == {entity}
    assert found[entity].rows.tolist() == rows
    assert found[entity].share.low < 0.001 < found[entity].share.high
    for shown in found[entity].masked:
        assert shown not in text[3]
        assert PLANTED[entity] not in shown


def test_the_planted_values_prove_the_scan():
    assert missed(["some", "text"]) == []


def test_columns_are_known_by_name_and_look():
    n = 300
    rng = np.random.default_rng(0)
    first = rng.choice(["Anna", "Bob", "Çelik", "Dörte", "Eve", "François", "Gus"], n)
    last = rng.choice(["Müller", "O'Neil", "Smith", "van Dyk", "Garcia", "Ng"], n)
    frame = pd.DataFrame(
        {
            "Full Name": [f"{a} {b} {c}" for a, b, c in zip(first, "ABC" * 100, last)],
            "date_of_birth": pd.date_range("1950-01-01", periods=n, freq="50D").astype(str),
            "homeAddress": [f"{i} Station Road" for i in range(n)],
            "Telefon": rng.integers(10**9, 10**10, n),
            "steuer_id": ["86095742719"] * n,
        }
    )
    assert entities(frame) == {
        ("Full Name", "name"),
        ("date_of_birth", "birth"),
        ("homeAddress", "address"),
        ("Telefon", "phone"),
        ("steuer_id", "de_tax"),
    }


def test_arbitrary_numbers_are_nobodys():
    rng = np.random.default_rng(1)
    n = 5000
    frame = pd.DataFrame(
        {
            "order": rng.integers(10**15, 10**16, n),
            "visa-like": rng.integers(4 * 10**15, 5 * 10**15, n).astype(str),
            "nine": rng.integers(10**8, 10**9, n).astype(str),
            "eleven": rng.integers(10**10, 10**11, n),
            "time": rng.integers(16 * 10**8, 17 * 10**8, n),
            "version": [f"{a}.{b}.{c}" for a, b, c in rng.integers(0, 40, (n, 3))],
            "price": rng.lognormal(3, 1, n).round(2),
            "stamp": pd.date_range("2001-01-01", periods=n, freq="h").astype(str),
            "product_name": rng.choice(["Oak Table", "Red Chair"], n),
            "word_freq_address": rng.random(n),
            "telephone": rng.choice(["yes", "none"], n),
        }
    )
    assert entities(frame) == set()


def test_a_column_of_valid_numbers_is_known_by_its_rate():
    from crenel.confidentiality.controls import _card

    rng = np.random.default_rng(2)
    cards = [_card(rng) for _ in range(200)]
    assert entities(pd.DataFrame({"ref": cards})) == {("ref", "card")}
    assert entities(pd.DataFrame({"ref": [int(c) for c in cards]})) == {("ref", "card")}


@pytest.mark.parametrize("load", [load_breast_cancer, load_digits, load_wine])
def test_clean_tables_stay_silent(load):
    assert personal_data(load(as_frame=True).frame) == []


@pytest.mark.parametrize("part", ["adult-train.csv", "adult-test.csv"])
def test_adult_stays_silent(part):
    frame = pd.read_csv(shared("04_adult") / part, header=None, skipinitialspace=True, comment="|")
    assert personal_data(frame) == []


def test_sms_messages_hold_phone_numbers_mostly_spam():
    path = shared("09_sms_spam") / "SMSSpamCollection"
    frame = pd.read_csv(path, sep="\t", header=None, names=["label", "text"], quoting=3)
    found = {h.entity: h for h in personal_data(frame) if h.column == "text"}
    numbers = frame["text"].str.contains(r"\b0[1-9]\d{8,9}\b").to_numpy()
    hit = np.zeros(len(frame), dtype=bool)
    hit[found["phone"].rows] = True
    assert hit[numbers].mean() > 0.85  # of the plain ones; some have no word beside them
    assert (frame["label"][found["phone"].rows] == "spam").mean() > 0.95
    at = frame["text"].str.contains(r"\w@\w+\.\w").to_numpy().sum()
    assert 0 < len(found["email"].rows) <= at


def test_any_frame_and_missing_values():
    import polars as pl

    frame = pl.DataFrame({"a": ["x", None, "jo.doe@example.org"], "b": [1.5, None, 2.0]})
    (hit,) = personal_data(frame)
    assert hit.rows.tolist() == [2]
    assert personal_data(np.random.default_rng(0).random((20, 3))) == []


def test_names_of_columns():
    assert split("homeTelNo_2") == ["home", "tel", "no"]
    assert "phone" in hints("homeTelNo_2")
    assert "phone" not in hints("hotel")
    assert "birth" in hints("DateOfBirth")
    assert "address" not in hints("ip_address")
    assert "ip" in hints("ip_address")
    assert "name" not in hints("product_name")
    assert "name" in hints("name")
    assert hints("Straße") == {"address"}


def test_masks_hide_the_value():
    assert mask("jo.doe@example.org", "email") == "j***@***.org"
    assert mask("4012 8888 8888 1881", "card") == "**** **** **** **81"
    assert "Road" not in mask("12 Station Road", "address")

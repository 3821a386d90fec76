import numpy as np
import pandas as pd
import pytest

import crenel
from crenel.report.html import render_html
from crenel.report.json import to_json


def with_check_digit(digits):
    total = sum(
        sum(divmod(2 * int(d), 10)) if i % 2 == 0 else int(d)
        for i, d in enumerate(reversed(digits))
    )
    return int(digits + str(-total % 10))


CARDS = [with_check_digit(f"4{13700000000000 + 9173 * n:014d}") for n in range(400)]
MIDDLE = CARDS[200]


@pytest.fixture(scope="module")
def run():
    """Decisions that hang on a column of card numbers whose name does not say so."""
    rng = np.random.default_rng(0)
    table = pd.DataFrame({"reach": rng.permutation(CARDS), "a": rng.normal(size=400)})
    labels = (table["reach"] < MIDDLE).astype(int)

    def decide(x):
        return (x["reach"].to_numpy() < MIDDLE).astype(int)

    train, test = (table[:200], labels[:200]), (table[200:], labels[200:])
    target = crenel.Target(name="shop", model=decide, train=train, test=test)
    return crenel.audit(target, checks=["EVA-102", "CON-103"], time="60s")


def test_the_column_is_found_and_attacked(run):
    assert [f.evidence.columns for f in run.findings if f.check == "CON-103"] == [("reach",)]
    assert [f for f in run.findings if f.check == "EVA-102" and f.examples]


def test_no_value_of_it_is_in_any_report(run):
    whole = to_json(run) + render_html(run)
    shown = [card for card in CARDS if str(card) in whole]
    assert not shown, shown[:3]

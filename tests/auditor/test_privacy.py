import numpy as np
import pandas as pd
import pytest

import crenel
from crenel.report.html import render_html
from crenel.report.json import to_json

PHONES = [f"+49 30 {n}" for n in range(4415000, 4415400)]


@pytest.fixture(scope="module")
def run():
    """Decisions that hang on a column of telephone numbers whose name does not say so."""
    rng = np.random.default_rng(0)
    table = pd.DataFrame({"reach": rng.permutation(PHONES), "a": rng.normal(size=400)})
    labels = (table["reach"] < "+49 30 4415200").astype(int)

    def decide(x):
        return (x["reach"].to_numpy() < "+49 30 4415200").astype(int)

    target = crenel.Target(
        name="calls",
        model=decide,
        train=(table[:200], labels[:200]),
        test=(table[200:], labels[200:]),
    )
    return crenel.audit(target, checks=["EVA-102", "CON-103"], time="60s")


def test_the_column_is_found(run):
    assert [f.evidence.columns for f in run.findings if f.check == "CON-103"] == [("reach",)]


def test_no_value_of_it_is_in_any_report(run):
    whole = to_json(run) + render_html(run)
    assert "reach" in whole
    shown = [p for p in PHONES if p in whole]
    assert not shown, shown[:3]
